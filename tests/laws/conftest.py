"""A folder with small files and models for the commands."""

import pytest

from tests.laws.commands import SIZES, write_workspace


@pytest.fixture(scope="package")
def small_workspace(tmp_path_factory):
    """Return the folder; the presets are small ones."""
    folder = tmp_path_factory.mktemp("workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        write_workspace(folder)
        yield folder


@pytest.fixture
def small_presets(monkeypatch):
    monkeypatch.setattr("minibert.models.config.PRESETS", SIZES)

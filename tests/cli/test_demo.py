"""`minibert demo`."""

from tests.cli.helpers import assert_refused


def test_demo_refuses_zero_steps_and_creates_no_folder(tmp_path, capsys):
    assert_refused(
        capsys, ["demo", "--out", tmp_path / "x", "--steps", 0], "steps: expected at least 1"
    )
    assert not (tmp_path / "x").exists()

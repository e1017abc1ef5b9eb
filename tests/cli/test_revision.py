"""A revision of a name on the hub, in Python and on the command line; nothing is downloaded."""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import minibert
from minibert import AutoConfig, AutoModel, AutoTokenizer, BertModel, FeatureExtractor
from minibert.cli import COMMANDS, build_parser, main
from minibert.cli.revision import NAMES, pin_model
from minibert.models.hub import PRETRAINED, find_folder, pinned
from minibert.models.replaced_tokens import GeneratorAndDiscriminator

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Replace the hub by the pre-trained model; return the list of what is asked for."""
    asked = []

    def snapshot_download(name, allow_patterns, **options):
        asked.append((name, options))
        return PRETRAINED / "tiny"

    stub = SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", stub)
    monkeypatch.chdir(tmp_path)
    return asked


def test_names_have_a_revision(asked):
    for revision in (COMMIT, "main", "refs/pr/1", "v1.0"):
        find_folder(f"owner/name@{revision}")
        assert asked.pop() == ("owner/name", {"revision": revision})
    find_folder("owner/name")
    assert asked.pop() == ("owner/name", {})
    Path("owner").mkdir()
    Path("owner/name@main").mkdir()
    assert find_folder("owner/name@main") == Path("owner/name@main")
    assert asked == []


@pytest.mark.parametrize(
    "kind", [BertModel, AutoModel, AutoConfig, AutoTokenizer, FeatureExtractor]
)
def test_from_pretrained_takes_a_revision(asked, kind):
    kind.from_pretrained("owner/name", revision=COMMIT)
    assert asked
    assert {options["revision"] for _, options in asked} == {COMMIT}


def test_a_generator_has_the_revision_of_its_discriminator(asked):
    with pytest.raises(FileNotFoundError, match="expected the generator of the model in"):
        GeneratorAndDiscriminator.from_pretrained("owner/name", revision=COMMIT)
    assert asked == [("owner/name", {"revision": COMMIT})]


@pytest.mark.parametrize(
    ("name", "revision", "message"),
    [
        ("tiny", "main", "revision: expected a name on the hub with it, owner/name, got tiny"),
        ("here/model", "main", "owner/name, got here/model"),  # a folder
        ("owner/name@main", "main", "owner/name, got owner/name@main"),
        ("owner/name", "../main", "expected a commit, a branch or a tag, got '../main'"),
        ("owner/name", "", "expected a commit, a branch or a tag, got ''"),
    ],
)
def test_other_revisions_are_refused(asked, name, revision, message):
    Path("here/model").mkdir(parents=True)
    for kind in (BertModel, AutoTokenizer):
        with pytest.raises(ValueError, match=message):
            kind.from_pretrained(name, revision=revision)
    assert asked == []
    assert pinned(name, None) == name


def test_all_commands_that_read_a_model_have_the_option():
    commands = next(a for a in build_parser()._actions if a.choices).choices
    for name in COMMANDS:
        commands[name].load()
        found = {action.dest for action in commands[name]._actions}
        assert ("revision" in found) == bool(found & {*NAMES}), name


def test_the_command_line_asks_for_the_revision(asked, capsys):
    words = ["fill-mask", "owner/name", "a [MASK]", "--revision", COMMIT]
    assert main(words) == 0
    assert {options["revision"] for _, options in asked} == {COMMIT}
    assert main(["tokenize", "owner/name", "a", "--revision", "v1"]) == 0
    assert asked[-1] == ("owner/name", {"revision": "v1"})
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["fill-mask", "tiny", "a [MASK]", "--revision", "v1"])
    assert stop.value.code == 2
    assert "revision: expected a name on the hub with it" in capsys.readouterr().err
    with pytest.raises(ValueError, match="owner/name, got none"):
        pin_model(argparse.Namespace(model=None, revision="v1"))


@pytest.mark.parity
def test_a_revision_is_found_in_the_cache_of_the_hub(tmp_path):
    """In the layout of huggingface_hub: two commits, of which `main` names the second."""
    pytest.importorskip("huggingface_hub")
    home = tmp_path / "hub" / "models--owner--name"
    for commit in (COMMIT, COMMIT[::-1]):
        shutil.copytree(PRETRAINED / "tiny", home / "snapshots" / commit)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(COMMIT[::-1])
    code = (
        "import sys; from minibert.models.hub import find_folder; print(find_folder(sys.argv[1]))"
    )
    environment = {
        **os.environ,
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(Path(minibert.__file__).parents[1]),
    }

    def found(name):
        command = [sys.executable, "-c", code, name]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert Path(found("owner/name").stdout.strip()).name == COMMIT[::-1]
    assert Path(found("owner/name@main").stdout.strip()).name == COMMIT[::-1]
    assert Path(found(f"owner/name@{COMMIT}").stdout.strip()).name == COMMIT
    other = found("owner/name@" + "f" * 40)
    assert "nor is it on the hub or in its cache" in other.stderr

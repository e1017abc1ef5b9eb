"""`minibert exercises`."""

import importlib.util

from minibert.exercises import read_exercises
from tests.cli.helpers import assert_refused, run


def test_exercises_writes_the_exercises_and_says_how_to_grade_them(tmp_path, capsys):
    folder = tmp_path / "my files"
    assert run(["exercises", folder]) == 0
    printed = capsys.readouterr().out
    assert f"{folder}: {len(read_exercises())} exercises" in printed
    assert f"pytest '{folder}'" in printed
    assert (folder / "ex04_linear_backward.py").is_file()
    assert (folder / "test_ex04_linear_backward.py").is_file()


def test_exercises_refuses_a_folder_with_content_and_a_file(tmp_path, capsys):
    path = tmp_path / "file"
    path.write_text("")
    assert_refused(
        capsys, ["exercises", tmp_path], "expected an empty folder, got one that", "file"
    )
    assert_refused(capsys, ["exercises", path], "expected an empty folder, got a file")
    assert_refused(capsys, ["exercises", path / "new"], path)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_exercises_names_the_extra_when_pytest_or_hypothesis_is_missing(
    tmp_path, capsys, monkeypatch
):
    find_spec = importlib.util.find_spec
    for missing, names in (
        (["hypothesis"], "hypothesis"), (["pytest", "hypothesis"], "pytest and hypothesis")
    ):  # fmt: skip

        def find(name, missing=missing):
            return None if name in missing else find_spec(name)

        monkeypatch.setattr(importlib.util, "find_spec", find)
        assert run(["exercises", tmp_path / "new"]) == 1
        error = capsys.readouterr().err
        assert error == f"minibert: the exercises need {names}: the extra minibert[test]\n"
    assert not (tmp_path / "new").exists()


def test_exercises_fills_the_current_folder_if_it_is_empty(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["exercises", "."]) == 0
    assert (tmp_path / "ex01_false_pass_cotangent.py").is_file()
    assert "pytest ." in capsys.readouterr().out

"""`minibert.exercises`: solutions pass, untouched files are unsolved, mistakes get their hints."""

import errno
import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from minibert.exercises import FILES, read_exercises, write_exercises
from tests.exercises.catalogue import CATALOGUE, complete

NAMES = [exercise.path.stem for exercise in read_exercises()]
MISTAKES = [(name, hint) for name in NAMES for hint in CATALOGUE[name].mistakes]
SAMPLE = [(name, next(iter(CATALOGUE[name].mistakes))) for name in NAMES]  # of the default run
PAGE = Path(__file__).parents[2] / "docs" / "exercises.md"
FEW = 2  # examples of Hypothesis in the default run


def grading_of(name):
    """Return the test of an exercise (function); it is called with the learner's path."""
    module = importlib.import_module(f"minibert.exercises.files.test_{name}")
    [test] = [value for key, value in vars(module).items() if key.startswith("test_")]
    return test


def failure(name, path, **options):
    """Return the message of a file that fails its test (str); None: it passes."""
    try:
        grading_of(name)(path, **options)
    except pytest.fail.Exception as error:
        return str(error)
    return None


def attempt(name, code, folder):
    """Write an exercise's file with the code in place, and return its path (Path)."""
    path = folder / f"{name}.py"
    path.write_text(complete(name, code), encoding="utf-8")
    return path


def check_mistake(name, hint, folder):
    path = attempt(name, CATALOGUE[name].mistakes[hint], folder)
    message = failure(name, path)
    assert message is not None, "it passed"
    assert message.startswith(path.name)
    assert hint in message, message
    assert len(message.splitlines()) <= 2, message


def test_every_exercise_has_a_test_a_solution_and_at_least_two_mistakes():
    assert {path.stem.removeprefix("test_") for path in FILES.glob("*ex*.py")} == {*NAMES}
    assert {*CATALOGUE} == {*NAMES}
    assert all(len(entry.mistakes) >= 2 for entry in CATALOGUE.values())


def test_exercises_are_in_the_order_of_the_chapters():
    chapters = [exercise.chapter for exercise in read_exercises()]
    assert chapters == sorted(chapters)
    assert {*chapters} == {*range(1, 16)}


@pytest.mark.parametrize("name", NAMES)
def test_an_exercise_as_written_is_not_solved_yet(name):
    message = failure(name, FILES / f"{name}.py")
    title = next(exercise for exercise in read_exercises() if exercise.path.stem == name).title
    assert message.startswith(f"{name}.py: not solved yet. Chapter ")
    assert title in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_solution_passes_a_few_examples(name, tmp_path):
    assert failure(name, attempt(name, CATALOGUE[name].solution, tmp_path), examples=FEW) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_solution_passes(name, tmp_path):
    assert failure(name, attempt(name, CATALOGUE[name].solution, tmp_path)) is None


@pytest.mark.parametrize(("name", "hint"), SAMPLE)
def test_a_mistake_gets_its_hint(name, hint, tmp_path):
    check_mistake(name, hint, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "hint"), [pair for pair in MISTAKES if pair not in SAMPLE])
def test_every_other_mistake_gets_its_hint(name, hint, tmp_path):
    check_mistake(name, hint, tmp_path)


def test_files_that_cannot_be_graded_get_one_line(tmp_path):
    name = "ex03_linear_forward"
    path = tmp_path / f"{name}.py"
    assert failure(name, path) == f"{name}.py: no such file; `minibert exercises` writes it"
    path.write_text("def linear_forward(x, weight, bias)\n    return x\n")
    assert failure(name, path).startswith(f"{name}.py: line 1: SyntaxError: ")
    path.write_text("x = 1 / 0\n")
    assert failure(name, path) == f"{name}.py:1: ZeroDivisionError: division by zero"
    path.write_text("import sys\nsys.exit('done')\n")
    assert failure(name, path) == f"{name}.py:2: SystemExit: done"
    path.write_text("def linear_forward(x, weight, bias):\n    exit()\n")
    assert failure(name, path) == f"{name}.py:2: SystemExit: None"
    path.write_text("x = '\0'\n")
    assert failure(name, path).startswith(f"{name}.py: SyntaxError: source code ")
    path.write_text("def linear(x, weight, bias):\n    return x\n")
    assert failure(name, path) == f"{name}.py: expected a function linear_forward, found none"
    path.write_text("def linear_forward(x, weight, bias):\n    return [1.0]\n")
    assert failure(name, path) == f"{name}.py: out: expected an array, got list"


def test_a_function_that_is_not_repeatable_is_named(tmp_path):
    name = "ex27_longest_match"
    once = "CALLS.append(word)\nif len(CALLS) == 20:\n    return []\n"
    path = attempt(name, once + dedent(CATALOGUE[name].solution), tmp_path)
    path.write_text(path.read_text(encoding="utf-8") + "\n\nCALLS = []\n", encoding="utf-8")
    expected = f"{name}.py: two calls with the same inputs gave different results"
    assert failure(name, path) == expected


def test_the_attempts_in_the_documentation_get_the_messages_shown_there(tmp_path):
    page = PAGE.read_text(encoding="utf-8")
    codes = re.findall(r"```python\n(.*?)\n```", page, re.DOTALL)
    messages = re.findall(r"```text\n(.*?)\n```", page, re.DOTALL)
    name = "ex06_softmax_backward"
    path, got = tmp_path / f"{name}.py", []
    for code in codes:  # the later definition of a function replaces the earlier one
        path.write_text((FILES / path.name).read_text("utf-8") + "\n\n" + code, "utf-8")
        got.append(failure(name, path))
    assert got == [*messages, None]


def test_a_backward_that_writes_to_its_inputs_is_wrong(tmp_path):
    code = "x, weight = cache\nx *= 1.5\nreturn dout @ weight, dout.T @ x / 1.5, dout.sum(axis=0)"
    name = "ex04_linear_backward"
    message = failure(name, attempt(name, code, tmp_path))
    assert "expected the backward to leave it unchanged" in message


def test_an_error_of_the_grading_itself_keeps_its_traceback(tmp_path):
    from minibert.exercises.grading import verdict

    path = attempt("ex03_linear_forward", "return x", tmp_path)
    with pytest.raises(ZeroDivisionError):
        verdict(path, lambda learner: 1 / 0)


def test_the_folder_is_graded_by_pytest(tmp_path):
    folder = tmp_path / "new"
    exercises = write_exercises(folder)
    assert [exercise.path for exercise in exercises] == [folder / f"{name}.py" for name in NAMES]
    attempt(NAMES[2], CATALOGUE[NAMES[2]].solution, folder)
    attempt(NAMES[3], CATALOGUE[NAMES[3]].mistakes["it is transposed"], folder)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", folder, "-p", "no:cacheprovider"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"\n1 of {len(NAMES)} exercises are solved\n" in done.stdout, done.stdout
    assert done.stdout.count("not solved yet") == len(NAMES) - 2
    assert done.stdout.count("Hint: ") == 1
    lines = done.stdout.splitlines()
    assert f"{NAMES[2]}.py: solved" in lines
    order = [line.split(".py")[0] for line in lines if line.startswith("ex")]
    assert order == NAMES
    assert "Traceback" not in done.stdout + done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"new"}


@pytest.mark.slow
def test_a_folder_of_solutions_passes(tmp_path):
    folder = tmp_path / "new"
    write_exercises(folder)
    for name in NAMES:
        attempt(name, CATALOGUE[name].solution, folder)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert f"{len(NAMES)} of {len(NAMES)} exercises are solved" in done.stdout


def test_the_readme_lists_every_exercise(tmp_path):
    write_exercises(tmp_path / "new")
    readme = (tmp_path / "new" / "README.md").read_text(encoding="utf-8")
    for exercise in read_exercises():
        assert f"| {exercise.chapter} | `{exercise.path.name}` | {exercise.title} |" in readme


def test_the_readme_quotes_the_name_of_the_folder(tmp_path):
    write_exercises(tmp_path / "my {0} files")
    readme = (tmp_path / "my {0} files" / "README.md").read_text(encoding="utf-8")
    assert "\n    pytest 'my {0} files'\n" in readme
    assert "`pytest 'my {0} files' -k ex04`" in readme


@pytest.mark.parametrize("exists", [True, False])
def test_a_failed_write_leaves_no_part_of_the_exercises(tmp_path, monkeypatch, exists):
    folder, copied, original = tmp_path / "new", [], shutil.copyfile
    if exists:
        folder.mkdir()

    def copy_five(source, target):
        if len(copied) == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        copied.append(original(source, target))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", copy_five)
        with pytest.raises(OSError, match="No space left"):
            write_exercises(folder)
    assert list(tmp_path.rglob("*")) == [folder] * exists
    assert len(write_exercises(folder)) == len(NAMES)


def test_the_documentation_lists_every_exercise_beside_its_chapter():
    page = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[(\d+)\]\(course/(\d+)-\S+\) \| (ex\d+) \| (.*) \|$", page, re.M)
    assert [(int(number), int(file), stem, title) for number, file, stem, title in rows] == [
        (each.chapter, each.chapter, each.path.stem[:4], each.title) for each in read_exercises()
    ]


def test_every_chapter_names_its_exercises_at_its_end():
    for path in sorted((PAGE.parent / "course").glob("*.md"))[1:]:
        last = path.read_text(encoding="utf-8").splitlines()[-1]
        own = [
            each.path.stem[:4] for each in read_exercises() if each.chapter == int(path.name[:2])
        ]
        assert f"Exercises: [{', '.join(own)}](../exercises.md#the-exercises)." in last, path.name


def test_a_folder_with_content_and_a_file_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    write_exercises(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"empty: expected an empty folder, got one that contains"):
        write_exercises(tmp_path / "empty")
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(ValueError, match=r"file: expected an empty folder, got a file"):
        write_exercises(path)

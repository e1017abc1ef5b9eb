"""Arguments of commands on small files, and checks of their output."""

from minibert.cli import main

TEXTS = ["the cat sat on the mat", "a dog ran under the tree", "then it was red and big"]


def run(arguments):
    """Run the command line in this process and return its exit status (int)."""
    return main([str(argument) for argument in arguments])


def pretrain_arguments(folder, out, *more):
    """Return the arguments of a short `minibert pretrain` into `folder / out` (list)."""
    return [
        "pretrain",
        folder / "corpus.txt",
        "--tokenizer",
        folder / "tokenizer",
        "--length",
        16,
        "--steps",
        12,
        "--batch-size",
        4,
        "--out",
        folder / out,
        *more,
    ]


def finetune_arguments(folder, out, *more):
    """Return the arguments of a short `minibert finetune` into `folder / out` (list)."""
    rows = folder / "labelled.tsv"
    return [
        "finetune",
        rows,
        "--dev",
        rows,
        "--epochs",
        2,
        "--batch-size",
        8,
        "--out",
        folder / out,
        *more,
    ]


def assert_refused(capsys, arguments, *parts, status=2):
    """Run a command that fails; check its status and its one line on stderr, with `parts` in it."""
    capsys.readouterr()
    assert run(arguments) == status
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1, error
    assert error.startswith("minibert: ")
    for part in parts:
        assert str(part) in error, error


def write_lines(path, *lines):
    """Write lines to a file and return its path (Path)."""
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path

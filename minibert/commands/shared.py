"""What several sub-commands share: reading rows, printing scores, reporting cuts."""

import sys
from collections.abc import Iterator, Sequence

from minibert.data.tables import Row, read_rows
from minibert.files import read_lines
from minibert.training.metrics import Scores


def print_scores(scores: Scores) -> None:
    """Print a classifier's scores beside the majority class."""
    print(scores.table())
    print(f"{scores}; always the commonest class: {scores.majority:.1%}")


def read(options, path, *, labelled) -> Sequence[Row]:
    """Read a table by the columns that the options name."""
    return read_rows(path, options.text, options.label, options.pair, labelled=labelled)


def lines_of(options) -> Iterator[str]:
    """Yield the texts that the options give: arguments, or lines of files, or of standard input.

    Raises:
        ValueError: both texts and files are given, or nothing comes.
    """
    texts, files = getattr(options, "texts", []), options.file
    if texts and files:
        raise ValueError("expected texts or --file, got both")
    if texts:
        yield from texts
    elif files:
        for path in files:
            yield from read_lines(path)
    else:
        line = None
        for line in sys.stdin:
            yield line.rstrip("\r\n")
        if line is None:
            raise ValueError("standard input: expected lines of text, got none")


def report_cut(tokenizer, texts, pairs, model, file=None) -> None:
    """Print how many texts are too long for the model's positions, if any are."""
    longest = model.config.max_position_embeddings
    cut = tokenizer.count_truncated(texts, pairs, max_length=longest)
    if cut:
        message = f"{cut:,} of {len(texts):,} texts are longer than {longest} tokens and are cut"
        print(message, file=file)


def interactive() -> bool:
    """Whether somebody is there to watch a progress bar."""
    return sys.stderr.isatty()

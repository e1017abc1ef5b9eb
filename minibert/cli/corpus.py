"""`minibert corpus`: write the built-in texts to files."""

import argparse

from minibert.cli.output import is_interactive
from minibert.data.builtin.corpus import write_builtin
from minibert.io.atomic import settled
from minibert.io.locks import ensure_writable

DESCRIPTION = """
train.txt and held_out.txt contain one paragraph per line, with a blank line between documents.
labelled/train.tsv, dev.tsv and test.tsv contain texts, labelled with the module they document.
"""
EXAMPLE = "minibert corpus --out corpus"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `minibert corpus`."""
    parser.add_argument("--out", type=settled, required=True, help="new folder for the texts")


def run(options: argparse.Namespace) -> None:
    """Write the built-in texts and print their sizes."""
    ensure_writable(options.out)
    texts, labelled = write_builtin(options.out, progress=is_interactive())
    for name, documents in (("train", texts.train), ("held_out", texts.held_out)):
        characters = sum(len(paragraph) for document in documents for paragraph in document)
        print(
            f"{options.out / name}.txt: {len(documents):,} documents, "
            f"{characters / 1e6:.1f} M characters"
        )
    for name, rows in labelled.items():
        classes = len({label for label, _ in rows})
        print(f"{options.out / 'labelled' / name}.tsv: {len(rows):,} texts, {classes} classes")

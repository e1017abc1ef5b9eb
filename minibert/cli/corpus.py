"""`minibert corpus`: write the built-in texts to files."""

import argparse

from minibert.cli.output import interactive
from minibert.data.builtin.corpus import write_builtin
from minibert.files import claim


def run(options: argparse.Namespace) -> None:
    """Write the built-in texts."""
    claim(options.out)
    texts, labelled = write_builtin(options.out, progress=interactive())
    for name, side in (("train", texts.train), ("held_out", texts.held_out)):
        letters = sum(len(paragraph) for document in side for paragraph in document)
        print(
            f"{options.out / name}.txt: {len(side):,} documents, {letters / 1e6:.1f} M characters"
        )
    for name, rows in labelled.items():
        classes = len({label for label, _ in rows})
        print(f"{options.out / 'labelled' / name}.tsv: {len(rows):,} texts, {classes} classes")

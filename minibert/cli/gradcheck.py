"""`minibert gradcheck`: check every gradient against finite differences."""

import argparse
from pathlib import Path

from minibert.io.outputs import ensure_output, output_file
from minibert.testing import cases

DESCRIPTION = """
Prints one line per function, layer and model, with its largest error. Failures are first, the
lowest layer first: a model that contains a wrong layer fails, too.
"""
EXAMPLE = "minibert gradcheck --all --out gradients.md"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `minibert gradcheck`."""
    parser.add_argument(
        "--all",
        action="store_true",
        help="also check every model with every option; takes a few minutes",
    )
    parser.add_argument(
        "--out", type=Path, help="also write a Markdown table of every gradient to this file"
    )


def run(options: argparse.Namespace) -> None:
    """Check every gradient and print the errors.

    Raises:
        ArithmeticError: a gradient is wrong, or could not be confirmed.
    """
    if options.out:
        ensure_output(options.out)
    results = cases.report(cases.cases(every=options.all))
    if options.out:
        with output_file(options.out) as path:
            path.write_text(cases.markdown(results), encoding="utf-8")
    if any(rows is None for _, rows in results):
        raise ArithmeticError("a gradient disagrees with its forward pass")

"""`minibert gradcheck`: check every gradient against differences of the forward pass."""

import argparse

from minibert.files import replacing
from minibert.testing import cases as proofs


def run(options: argparse.Namespace) -> None:
    """Prove every gradient."""
    results = proofs.report(proofs.cases(every=options.all))
    if options.out:
        with replacing(options.out) as path:
            path.write_text(proofs.markdown(results), encoding="utf-8")
    if any(rows is None for _, rows in results):
        raise ArithmeticError("a gradient disagrees with its forward pass")

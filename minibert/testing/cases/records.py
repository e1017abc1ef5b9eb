"""What one proof is, and what they all share: how dropout is replayed, which gradients are zero."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minibert.gradcheck import Row

ZEROS = ("self.key.bias",)  # softmax ignores what is added to all of a row's scores


@dataclass(frozen=True)
class Case:
    """One thing to prove.

    Attributes:
        what: a function, a layer, a model with its task.
        how: on what inputs, under which option; empty: as it comes.
        check: proves it; takes the options of `check_pair`, such as how many `entries` to try.
    """

    what: str
    how: str
    check: Callable[..., list[Row]]

    @property
    def name(self) -> str:
        """Both in one line."""
        return f"{self.what}, {self.how}" if self.how else self.what


def numbers(*shape, seed=0):
    """Return standard normal numbers of a shape."""
    return np.random.default_rng(seed).standard_normal(shape)


def replayed():
    """Return the generator of the dropout, anew for each call."""
    return np.random.default_rng(5)

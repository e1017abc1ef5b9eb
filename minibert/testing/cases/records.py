"""A verified case, and the helpers that all cases share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert.gradcheck import GradientResult

ZEROS = ("self.key.bias",)  # softmax ignores a number that is added to all scores of a query


@dataclass(frozen=True)
class Case:
    """One gradient check.

    Attributes:
        subject: a function, a layer or a model.
        variant: the kind of input or the option; empty: the default.
        check: checks the gradients; takes options of `check_pair`, such as `entries`.
        output: computes the output for a value of `keep`; None: the forward has no such argument.
    """

    subject: str
    variant: str
    check: Callable[..., list[GradientResult]]
    output: Callable[[bool], Any] | None = None

    @property
    def name(self) -> str:
        """Subject and variant in one line (str)."""
        return f"{self.subject}, {self.variant}" if self.variant else self.subject


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Draw standard normal numbers of a shape."""
    return np.random.default_rng(seed).standard_normal(shape)


def dropout_rng() -> np.random.Generator:
    """Return a new generator of dropout masks, in the same state at each call."""
    return np.random.default_rng(5)

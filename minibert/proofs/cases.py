"""What one proof is, and what they all share: how accurate, how dropout is replayed."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minibert.gradcheck import Row

TOLERANCE, MODEL_TOLERANCE = 1e-7, 1e-6
ZEROS = ("self.key.bias",)  # softmax ignores what is added to all of a row's scores


@dataclass(frozen=True)
class Case:
    """One thing to prove: its name, and the check that proves it."""

    name: str
    check: Callable[[], list[Row]]


def numbers(*shape, seed=0):
    """Return standard normal numbers of a shape."""
    return np.random.default_rng(seed).standard_normal(shape)


def replayed():
    """Return the generator of the dropout, anew for each call."""
    return np.random.default_rng(5)


def added(params, backward):
    """Return what `backward(grads)` does, and what it adds to gradients that aren't zero before."""
    grads = params.zeros_like()
    grads.vector[:] = 1
    dx = backward(grads)
    grads.vector[:] -= 1
    return dx, grads

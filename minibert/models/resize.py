"""Resize the tables of a model: rows are added or cut."""

import numpy as np

from minibert.parameters import Parameters
from minibert.specs import Specs


def resized(params: Parameters, specs: Specs) -> Parameters:
    """Return the parameters with the shapes of `specs`, which may have other first axes.

    A new row is the mean of the old rows. A new token then has about an average logit; a random row
    may have the highest one, and change all probabilities (Hewitt, 2021).

    Args:
        params: the old parameters.
        specs: the new declarations of the same names.
    """
    new = Parameters(specs, dtype=params.vector.dtype)
    for name, array in new.items():
        old = params[name]
        kept = min(len(old), len(array))
        array[:kept] = old[:kept]
        array[kept:] = old.mean(axis=0, dtype=np.float64)
    return new

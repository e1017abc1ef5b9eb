"""Chapter 4: write the forward of a layer norm."""

import numpy as np  # noqa: F401 (for your code)


def layer_norm_forward(x, weight, bias, eps):
    """Give each row mean 0 and variance 1, then scale and shift it.

        x̂ = (x - mean(x)) / sqrt(var(x) + eps),   out = x̂ · weight + bias

    Mean and variance are those of a row; the variance divides by D, not D - 1.

    Args:
        x (N, D): the rows.
        weight (D,): the scale.
        bias (D,): the shift.
        eps: added to the variance.

    Returns:
        out (N, D).
    """
    raise NotImplementedError

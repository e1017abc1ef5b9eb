"""The fixed table of sinusoidal positions."""

import numpy as np

from minibert.typing import Array


def sinusoidal_positions(length: int, width: int, base: float = 10000) -> Array:
    """Return the fixed position table of the first transformer, (length, width) in float64.

        table[t, 2i] = sin(t / base^(2i/D)),   table[t, 2i+1] = cos(t / base^(2i/D))

    Vaswani et al. (2017), section 3.5.

    Args:
        length: the number of positions.
        width: D, even.
        base: 10,000 in the paper; the wavelengths go from 2π to almost 2π times the base.
    """
    positions = np.arange(length)[:, None]  # (length, 1)
    angles = positions / base ** (np.arange(0, width, 2) / width)  # (length, D/2)
    table = np.empty((length, width))
    table[:, 0::2] = np.sin(angles)
    table[:, 1::2] = np.cos(angles)
    return table

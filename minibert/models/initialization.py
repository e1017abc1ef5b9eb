"""The initial values of parameters."""

from collections.abc import Iterable

import numpy as np

from minibert.parameters import Parameters


def initialize(params: Parameters, names: Iterable[str], std: float, seed: int) -> None:
    """Set the initial values of the parameters `names`, which are zero so far, as declared.

    Normal ones have the standard deviation `std` (Devlin et al., 2019, and their code), times the
    declared gain. They are drawn in the order of the layout from one generator.
    """
    rng = np.random.default_rng(seed)
    for name in names:
        array, spec = params[name], params.specs[name]
        if spec.init == "ones":
            array[:] = 1
        elif spec.init == "normal":
            array[:] = rng.normal(0, std * spec.gain, array.shape)
        if spec.zero_row is not None:
            array[spec.zero_row] = 0

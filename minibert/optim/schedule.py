"""Learning-rate schedules."""


def linear_schedule(step: int, total: int, warmup: int, peak: float) -> float:
    """Return the learning rate of one step: linear warm-up, then linear decay to 0.

    >>> [linear_schedule(step, 6, 2, 1.0) for step in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]

    Args:
        step: from 0 to total - 1.
        total: the number of steps.
        warmup: the number of steps in which the rate rises.
        peak: the largest rate.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (total - step) / (total - warmup)

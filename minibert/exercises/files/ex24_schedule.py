"""Chapter 12: write the schedule of the learning rate: warm-up, then linear decay."""


def linear_schedule(step, total, warmup, peak):
    """Return the learning rate of one step.

    In the first `warmup` steps it rises in a straight line from peak / warmup to peak. Then it
    falls in a straight line: it is peak in step `warmup`, and would be 0 in step `total`.

        total 6, warmup 2, peak 1:   0.5, 1, 1, 0.75, 0.5, 0.25

    Args:
        step: from 0 to total - 1.
        total: the number of steps.
        warmup: the number of steps in which the rate rises, less than total; may be 0.
        peak: the largest rate.

    Returns:
        the rate, a number.
    """
    raise NotImplementedError

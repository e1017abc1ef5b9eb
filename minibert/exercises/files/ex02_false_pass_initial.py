"""Chapter 1: choose parameters for which a gradient check finds two errors."""


def scale_forward(x, weight, bias):
    """Shift and scale each row of x (N, D): out = (x + bias) · weight."""
    return (x + bias) * weight, (x, weight, bias)


def scale_backward(dout, cache):
    """Wrong on purpose: dx lacks the factor weight, dweight the term bias; leave it unchanged."""
    x, weight, _ = cache
    dx = dout
    dweight = (dout * x).sum(axis=0)  # (N, D) -> (D,)
    dbias = (dout * weight).sum(axis=0)  # (N, D) -> (D,)
    return dx, dweight, dbias


def choose_parameters(D):
    """Return parameters with which a gradient check finds the errors of dx and of dweight.

    With the usual initial values, weight = 1 and bias = 0, it passes. The check tries every
    element, and every element must show the error.

    Args:
        D: the number of columns.

    Returns:
        weight (D,), bias (D,).
    """
    raise NotImplementedError

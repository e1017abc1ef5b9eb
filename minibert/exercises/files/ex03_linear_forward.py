"""Chapter 2: write the forward of a linear map."""


def linear_forward(x, weight, bias):
    """Map each row of x: out = x Wᵀ + b.

    Args:
        x (N, I): the rows.
        weight (O, I): W; each of its rows makes one output.
        bias (O,): b, added to every row.

    Returns:
        out (N, O).
    """
    raise NotImplementedError

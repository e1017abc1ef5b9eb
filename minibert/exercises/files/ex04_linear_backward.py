"""Chapter 2: write the backward of a linear map."""


def linear_forward(x, weight, bias):
    """Map each row of x (N, I): out = x Wᵀ + b; weight is (O, I), bias (O,)."""
    out = x @ weight.T + bias  # (N, I) @ (I, O) + (O,) -> (N, O)
    return out, (x, weight)


def linear_backward(dout, cache):
    """Undo out = x Wᵀ + b.

    Of out = A B, the gradients are dA = dout Bᵀ and dB = Aᵀ dout. The bias is added to every row.

    Args:
        dout (N, O): the gradient of out.
        cache: x (N, I) and weight (O, I).

    Returns:
        dx (N, I), dweight (O, I), dbias (O,).
    """
    raise NotImplementedError

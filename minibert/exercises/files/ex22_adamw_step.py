"""Chapter 11: write one step of AdamW."""

import numpy as np  # noqa: F401 (for your code)


def adamw_step(p, g, m, v, step, rate, beta1, beta2, eps, decay):
    """Take one step against the gradient.

        m ← β₁ m + (1 - β₁) g,   v ← β₂ v + (1 - β₂) g²
        m̂ = m / (1 - β₁ᵗ),   v̂ = v / (1 - β₂ᵗ)
        p ← p - rate · (m̂ / (√v̂ + eps) + decay · p)

    Args:
        p (D,): the parameters.
        g (D,): their gradient.
        m, v (D,): the running means of g and of g².
        step: t = 1, 2, 3, ...
        rate: the learning rate.
        beta1, beta2: β₁ and β₂.
        eps: keeps the division from 0.
        decay: the weight decay.

    Returns:
        p, m, v (D,): the new ones.
    """
    raise NotImplementedError

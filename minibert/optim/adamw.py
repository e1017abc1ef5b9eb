"""AdamW on the flat parameter vector."""

import math
from collections.abc import Mapping
from functools import partial

import numpy as np

from minibert.optim.base import Job, Piece, load_arrays, pieces, run_jobs, spans
from minibert.parameters import Parameters
from minibert.typing import Array


class AdamW:
    """Adam with decoupled weight decay.

        m ← β₁ m + (1 - β₁) g,   v ← β₂ v + (1 - β₂) g²
        p ← p - η · (m̂ / (√v̂ + ε) + λ p),   m̂ = m / (1 - β₁ᵗ),   v̂ = v / (1 - β₂ᵗ)

    Loshchilov and Hutter (2019), algorithm 2, with λ scaled by η alone, as in PyTorch. Biases and
    the weights of norms do not decay (Devlin et al., 2019, and their code).

    Args:
        params: the parameters to train; their vector is updated in place.
        betas: (β₁, β₂).
        eps: ε.
        weight_decay: λ.
        rates: factors of η by parameter name; 1 where none is given. A parameter with the factor 0
            does not change.

    Attributes:
        first (P,): the first moment m.
        second (P,): the second moment v.
        step: t, the number of updates so far.
    """

    def __init__(
        self,
        params: Parameters,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        rates: Mapping[str, float] | None = None,
    ):
        self.params, self.betas, self.eps, self.weight_decay = params, betas, eps, weight_decay
        self.first = np.zeros_like(params.vector)
        self.second = np.zeros_like(params.vector)
        self.step = 0
        self.spans = list(spans(params, rates or {}))

    def jobs(self, gradient: Array, rate: float, scale: float = 1.0) -> list[Job]:
        """Begin one update: add 1 to `step`, return its independent parts.

        Args:
            gradient (P,): g, the gradient of the loss.
            rate: η, the learning rate.
            scale: factor of g; see `clip_scale`.
        """
        self.step += 1
        own = (piece._replace(rate=piece.rate * rate) for piece in pieces(self.spans))
        return [partial(self._update, gradient, scale, piece) for piece in own]

    def update(self, gradient: Array, rate: float, scale: float = 1.0, threads: int = 1) -> None:
        """Take one step against the gradient.

        Args:
            gradient (P,): g, the gradient of the loss.
            rate: η, the learning rate.
            scale: factor of g; see `clip_scale`.
            threads: number of threads.
        """
        run_jobs(self.jobs(gradient, rate, scale), threads)

    def _update(self, gradient: Array, scale: float, piece: Piece) -> None:
        """Update one piece of the vector; η and both bias corrections make two factors."""
        where, decays, rate = piece
        beta1, beta2 = self.betas
        root = math.sqrt(1 - beta2**self.step)
        m, v, p = self.first[where], self.second[where], self.params.vector[where]
        g, change = np.empty((2, m.size), m.dtype)
        np.multiply(gradient[where], scale, out=g)
        m *= beta1
        np.multiply(g, 1 - beta1, out=change)
        m += change
        v *= beta2
        g *= g
        g *= 1 - beta2
        v += g
        np.sqrt(v, out=g)
        g += self.eps * root  # √v̂ + ε, except for the factor √(1 - β₂ᵗ)
        np.divide(m, g, out=change)
        change *= rate * root / (1 - beta1**self.step)
        if decays:
            p *= 1 - rate * self.weight_decay
        p -= change

    def state(self) -> dict[str, Array]:
        """Return both moments by name."""
        return {"first": self.first, "second": self.second}

    def load(self, state: Mapping[str, Array]) -> None:
        """Read both moments.

        Raises:
            ValueError: an array is missing, unknown or of another shape or dtype; nothing changed.
        """
        load_arrays(self, self.state(), state)

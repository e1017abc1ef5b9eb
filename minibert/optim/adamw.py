"""AdamW on the flat vector, and the learning rate's rise and fall."""

import math
from collections import deque
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import groupby

import numpy as np

from minibert.parameters import Parameters
from minibert.runtime.threads import in_order

# An update is a dozen passes over pieces of this many numbers, which a core's caches hold.
PIECE = 131_072


class AdamW:
    """Adam with decoupled weight decay.

        m ← β₁ m + (1 - β₁) g,   v ← β₂ v + (1 - β₂) g²
        p ← p - η · (m̂ / (√v̂ + ε) + λ p),   m̂ = m / (1 - β₁ᵗ),   v̂ = v / (1 - β₂ᵗ)

    Loshchilov and Hutter (2019), algorithm 2, with λ scaled by η alone, as PyTorch does. Biases and
    layer norms don't decay (Devlin et al., 2019, and their code).

    Args:
        params: what to train; its vector is updated in place.
        betas: (β₁, β₂).  eps: ε.  weight_decay: λ.
        rates: η is multiplied by these numbers, by the parameters' names, and by 1 where none is
            given; a parameter whose number is 0 stays as it is.

    Attributes:
        first, second: the moments m and v, (P,) each.
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

    def update(
        self, gradient: np.ndarray, rate: float, scale: float = 1.0, threads: int = 1
    ) -> None:
        """Take one step against `gradient`.

        Args:
            gradient: g, (P,).
            rate: η, the learning rate.
            scale: g is multiplied by this first; see `clip_scale`.
            threads: how many share the pieces.
        """
        self.step += 1
        pieces = [
            (slice(start, min(start + PIECE, span.stop)), decays, own * rate)
            for span, decays, own in self.spans
            for start in range(span.start, span.stop, PIECE)
        ]
        work = partial(self._update, gradient, scale)
        deque(in_order(work, pieces, threads, ahead=len(pieces)), maxlen=0)

    def _update(self, gradient, scale, place):
        """Update one piece; η and the corrections meet in two numbers instead of in passes."""
        piece, decays, rate = place
        beta1, beta2 = self.betas
        root = math.sqrt(1 - beta2**self.step)
        m, v, p = self.first[piece], self.second[piece], self.params.vector[piece]
        g, change = np.empty((2, m.size), m.dtype)
        np.multiply(gradient[piece], scale, out=g)
        m *= beta1
        np.multiply(g, 1 - beta1, out=change)
        m += change
        v *= beta2
        g *= g
        g *= 1 - beta2
        v += g
        np.sqrt(v, out=g)
        g += self.eps * root  # √v̂ + ε, but for the factor √(1 - β₂ᵗ)
        np.divide(m, g, out=change)
        change *= rate * root / (1 - beta1**self.step)
        if decays:
            p *= 1 - rate * self.weight_decay
        p -= change


def spans(params: Parameters, rates: Mapping[str, float]) -> Iterator[tuple[slice, bool, float]]:
    """Yield the spans of the vector that learn, in order: whether they decay, and their rates.

    Neighbours that agree are one span.
    """
    kinds = {
        name: (not name.endswith(("bias", "LayerNorm.weight")), rates.get(name, 1.0))
        for name in params
    }
    for (decays, rate), names in groupby(params, key=kinds.__getitem__):
        slices = [params.slices[name] for name in names]
        if rate:
            yield slice(slices[0].start, slices[-1].stop), decays, rate


def clip_scale(gradient: np.ndarray, longest: float) -> tuple[float, float]:
    """Return the gradient's norm, and the factor that shortens it to at most `longest`.

    Pascanu, Mikolov and Bengio (2013), algorithm 1.
    """
    with np.errstate(over="ignore"):
        squared, largest = float(np.dot(gradient, gradient)), 1.0
    if not np.finfo(gradient.dtype).tiny < squared < math.inf:  # squares that float32 can't hold
        largest = float(np.abs(gradient).max(initial=0)) or 1.0
        squared = float(np.dot(gradient / largest, gradient / largest))
    norm = largest * math.sqrt(squared)
    return norm, min(1.0, longest / norm) if norm > 0 else 1.0


def linear_schedule(step: int, total: int, warmup: int, peak: float) -> float:
    """Return the learning rate of step `step`: up in a straight line, then down to zero.

    >>> [linear_schedule(step, 6, 2, 1.0) for step in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]

    Args:
        step: from 0 to total - 1.
        total: the number of steps.
        warmup: how many of them rise.
        peak: the largest rate.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (total - step) / (total - warmup)

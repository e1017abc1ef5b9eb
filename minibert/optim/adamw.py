"""AdamW on the flat parameter vector."""

import math
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from minibert.optim.base import Job, Piece, load_arrays, pieces, run_jobs, spans
from minibert.parameters import Parameters
from minibert.typing import Array

# A table is updated by rows while more than this share of them is idle: to gather rows and to write
# them back takes as long as half of an update.
MOSTLY_IDLE = 0.5


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
        step: the number of updates so far.
        start: the number of updates before those of these moments; t is that of the others.
    """

    takes_rows = True

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
        self.step = self.start = 0
        self.rates = dict(rates or {})
        self.spans = list(spans(params, self.rates))
        self._idle: dict[str, Array] = {}  # by table: the rows without moments (V,)

    def jobs(
        self,
        gradient: Array,
        rate: float,
        scale: float = 1.0,
        rows: Mapping[str, Array] | None = None,
    ) -> list[Job]:
        """Begin one update: add 1 to `step`, return its independent parts.

        A row without gradient and moments only decays. So a table that is given by `rows` is
        updated faster, with the same result in every bit.

        Args:
            gradient (P,): g, the gradient of the loss.
            rate: η, the learning rate.
            scale: factor of g; see `clip_scale`.
            rows: for tables most of whose rows have no gradient, the numbers of the rows with one.
        """
        self.step += 1
        tables = self._idle_rows(rows or {})
        jobs: list[Job] = []
        for span in self.spans:
            idle = tables.get(span.where.start)  # (V,)
            width = 1 if idle is None else (span.where.stop - span.where.start) // len(idle)
            for piece in pieces([span._replace(rate=span.rate * rate)], width):
                first = (piece.where.start - span.where.start) // width
                last = (piece.where.stop - span.where.start) // width
                own = None if idle is None else np.flatnonzero(~idle[first:last])
                jobs.append(partial(self._update, gradient, scale, piece, own, width))
        return jobs

    def update(self, gradient: Array, rate: float, scale: float = 1.0, threads: int = 1) -> None:
        """Take one step against the gradient.

        Args:
            gradient (P,): g, the gradient of the loss.
            rate: η, the learning rate.
            scale: factor of g; see `clip_scale`.
            threads: number of threads.
        """
        run_jobs(self.jobs(gradient, rate, scale), threads)

    def _idle_rows(self, rows: Mapping[str, Array]) -> dict[int, Array]:
        """Return which rows have no moments (V,), of the tables where it pays, by their start."""
        slices = self.params.slices
        if rows.keys() != self._idle.keys():
            self._idle = {
                name: self._idle[name] if name in self._idle else self._without_moments(name)
                for name in rows
            }
            self.spans = list(spans(self.params, self.rates, alone=rows))
        for name, ids in rows.items():
            self._idle[name][ids] = False
        mostly_idle = {name for name, idle in self._idle.items() if idle.mean() > MOSTLY_IDLE}
        return {slices[name].start: self._idle[name] for name in mostly_idle}

    def _without_moments(self, name: str) -> Array:
        """Return which rows of a table have moments that are zero, (V,)."""
        rows = len(self.params[name])
        moments = (each[self.params.slices[name]] for each in (self.first, self.second))
        # (V·D,) -> (V, D) -> (V,)
        first, second = (each.reshape(rows, -1).any(axis=1) for each in moments)
        return np.asarray(~(first | second))

    def _update(
        self, gradient: Array, scale: float, piece: Piece, rows: Array | None, width: int
    ) -> None:
        """Update one piece of the vector: all of it, or some rows of this width.

        The other rows only decay.
        """
        where, decays, rate = piece
        every = [each[where] for each in (gradient, self.first, self.second, self.params.vector)]
        if decays:
            every[-1] *= 1 - rate * self.weight_decay
        if rows is None:
            self._move(every, scale, rate)
            return
        tables = [each.reshape(-1, width) for each in every]  # (n·D,) -> (n, D)
        own = [table[rows] for table in tables]
        self._move(own, scale, rate)
        for table, changed in zip(tables[1:], own[1:], strict=True):
            table[rows] = changed

    def _move(self, arrays: Sequence[Array], scale: float, rate: float) -> None:
        """Update m and v, and then p, which has already decayed.

        Factors are put together, because each is a pass over the piece: η and both bias corrections
        are one factor, and g is multiplied by √(1 - β₂) before it is squared.
        """
        (gradient, m, v, p), (beta1, beta2) = arrays, self.betas
        t = self.step - self.start
        root, share = math.sqrt(1 - beta2**t), math.sqrt(1 - beta2)
        g, change = np.empty((2, *m.shape), m.dtype)
        np.multiply(gradient, scale * (1 - beta1), out=change)
        m *= beta1
        m += change
        np.multiply(gradient, scale * share, out=g)
        g *= g
        v *= beta2
        v += g
        np.sqrt(v, out=g)
        g += self.eps * root  # √v̂ + ε, except for the factor √(1 - β₂ᵗ)
        np.divide(m, g, out=change)
        change *= rate * root / (1 - beta1**t)
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
        self._idle = {}

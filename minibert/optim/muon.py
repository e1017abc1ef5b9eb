"""Muon: momentum, orthogonalized, for the matrices of the blocks; AdamW for the other parameters.

A gradient's largest singular values belong to a few directions, and an update by it moves the
weight along these alone. Muon sets all singular values to about 1, so that every direction moves
equally far. That is the steepest descent under the spectral norm, as the sign of the gradient (and
about Adam) is under the largest number; Bernstein and Newhouse (2024).
"""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import numpy as np

from minibert.optim.adamw import AdamW
from minibert.optim.base import Job, load_arrays, run_jobs
from minibert.parameters import Parameters
from minibert.runtime.blas import one_blas_thread
from minibert.typing import Array

# a, b and c of φ(σ) = a σ + b σ³ + c σ⁵. Jordan et al. (2024) chose a large slope a at 0, so that
# five steps are enough for small σ, and let φ end near 1 instead of at 1.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
STEPS = 5

# Factors of the learning rate by name, as in PyTorch: of the shape (rows, columns).
ADJUSTMENTS: dict[str, Callable[[int, int], float]] = {
    # An orthogonal matrix has numbers of size 1 / √max(rows, columns), an update by AdamW of about
    # 0.2 to 0.4. So the rate that is right for AdamW is right here; Liu et al. (2025), section 2.2.
    "match_rms_adamw": lambda rows, columns: 0.2 * math.sqrt(max(rows, columns)),
    # Jordan et al. (2024): the rate is Muon's own, about 0.02.
    "original": lambda rows, columns: math.sqrt(max(1, rows / columns)),
}


def orthogonalize(matrix: Array, steps: int = STEPS) -> Array:
    """Return a matrix with the same singular vectors, and singular values near 1.

        M = U Σ Vᵀ,   X₀ = M / ‖M‖,   Xₖ₊₁ = a Xₖ + b (Xₖ Xₖᵀ) Xₖ + c (Xₖ Xₖᵀ)² Xₖ

    Newton and Schulz's iteration computes U Vᵀ without a decomposition, by products alone. Since
    X Xᵀ X = U Σ³ Vᵀ, every step is U φ(Σ) Vᵀ with φ(σ) = a σ + b σ³ + c σ⁵: it keeps U and Vᵀ, and
    moves each singular value by itself. The Frobenius norm ‖M‖ is at least the largest of them, so
    all of X₀'s are from 0 to 1, where φ, applied again and again, leads to about 0.7 to 1.2. Five
    steps bring σ / ‖M‖ ≥ 0.002 there; what is smaller grows at most 3.4445 times a step.

    The result does not depend on the scale of M, and 0 remains 0. Jordan et al. (2024), "Muon: An
    optimizer for hidden layers in neural networks"; Bernstein and Newhouse (2024), "Old optimizer,
    new norm: An anthology".

    >>> orthogonalize(np.diag([100.0, 1.0])).round(2)
    array([[0.7, 0. ],
           [0. , 0.7]])

    Args:
        matrix (m, n): M.
        steps: number of iterations.

    Returns:
        X (m, n), near U Vᵀ.
    """
    (a, b, c), is_tall = COEFFICIENTS, len(matrix) > matrix.shape[1]
    # First by the largest number, because the squares in the norm over- or underflow.
    largest = max(matrix.max(), -matrix.min()) or 1
    x = matrix / largest
    x /= max(float(np.linalg.norm(x)), 1.0)  # 1 only for 0
    if is_tall:  # X Xᵀ is the smaller of the two Gram matrices; φ is odd, so it works on Xᵀ as well
        x = x.T  # (m, n) -> (n, m)
    gram, factor = np.empty((2, len(x), len(x)), x.dtype)
    after = np.empty_like(x)
    for _ in range(steps):
        np.matmul(x, x.T, out=gram)  # (m, n) @ (n, m) -> (m, m), with m ≤ n
        np.matmul(gram, gram, out=factor)  # (m, m) @ (m, m) -> (m, m)
        factor *= c
        gram *= b
        factor += gram
        factor.flat[:: len(x) + 1] += a  # the diagonal: a I + b X Xᵀ + c (X Xᵀ)²
        np.matmul(factor, x, out=after)  # (m, m) @ (m, n) -> (m, n)
        x, after = after, x
    return x.T if is_tall else x


def hidden_matrices(params: Parameters) -> list[str]:
    """Return the names of the matrices inside blocks, which Muon updates by default.

    These are the two-dimensional parameters that decay, of depth 1 and above. Embeddings have depth
    0 and heads none; a table of relative positions does not decay.

    >>> from minibert.specs import ParameterSpec
    >>> table, weight = ParameterSpec((9, 4), depth=0), ParameterSpec((4, 4), depth=1)
    >>> hidden_matrices(Parameters({"words": table, "query": weight, "head": (2, 4)}))
    ['query']
    """
    return [
        name
        for name, spec in params.specs.items()
        if len(spec.shape) == 2 and spec.decay and (spec.depth or 0) >= 1
    ]


class Muon:
    """Momentum with orthogonalized updates for hidden matrices, AdamW for the rest.

        M ← μ M + (1 - μ) G,   O = orthogonalize(μ M + (1 - μ) G)
        W ← W - η (s O + λ W),   s = 0.2 √max(rows, columns)

    Jordan et al. (2024), with the weight decay and the factor s of Liu et al. (2025), "Muon is
    scalable for LLM training", section 2.2; the same as `torch.optim.Muon`, except that a gradient
    of any size is normalized, where PyTorch divides by 10⁻⁷ at least. Query, key and value are
    orthogonalized separately, because they are three maps.

    An update of a matrix takes some twenty times as long as AdamW's. That is little next to the
    gradients of a batch of thousands of tokens, and much next to those of a few short texts.

    Args:
        params: the parameters to train; their vector is updated in place.
        momentum: μ.
        nesterov: whether the momentum looks ahead by one gradient, as above; False: O is that of M.
        ns_steps: number of iterations of `orthogonalize`.
        betas: (β₁, β₂) of AdamW.
        eps: ε of AdamW.
        weight_decay: λ of both.
        rates: factors of η by parameter name; 1 where none is given. A parameter with the factor 0
            does not change.
        matrices: names of the parameters that Muon updates; None: `hidden_matrices`.
        adjust: the factor s: "match_rms_adamw" as above, so that one η is right for both halves, or
            "original", √max(1, rows / columns).

    Attributes:
        adamw: the optimizer of the other parameters.
        momentum (P,): M of the matrices, and AdamW's first moment of the others: both are moving
            averages of the gradient.
        step: the number of updates so far.

    Raises:
        ValueError: a number is out of its range, or a name is not that of a matrix.
    """

    takes_rows = True

    def __init__(
        self,
        params: Parameters,
        *,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_steps: int = STEPS,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        rates: Mapping[str, float] | None = None,
        matrices: Iterable[str] | None = None,
        adjust: str = "match_rms_adamw",
    ):
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum: expected 0 or more and less than 1, got {momentum}")
        if ns_steps < 1:
            raise ValueError(f"ns_steps: expected at least 1, got {ns_steps}")
        if adjust not in ADJUSTMENTS:
            raise ValueError(f"adjust: expected one of {', '.join(ADJUSTMENTS)}, got {adjust!r}")
        self.params, self.mu, self.nesterov = params, momentum, nesterov
        self.ns_steps, self.adjust, self.weight_decay = ns_steps, adjust, weight_decay
        self.matrices = _checked(params, hidden_matrices(params) if matrices is None else matrices)
        self.rates = dict(rates or {})
        others = {**self.rates, **dict.fromkeys(self.matrices, 0.0)}
        self.adamw = AdamW(params, betas=betas, eps=eps, weight_decay=weight_decay, rates=others)
        self.momentum = self.adamw.first

    @property
    def step(self) -> int:
        """The number of updates so far, which is AdamW's too."""
        return self.adamw.step

    @step.setter
    def step(self, number: int) -> None:
        self.adamw.step = number

    @property
    def start(self) -> int:
        """The number of updates before those of AdamW's moments."""
        return self.adamw.start

    @start.setter
    def start(self, number: int) -> None:
        self.adamw.start = number

    def jobs(
        self,
        gradient: Array,
        rate: float,
        scale: float = 1.0,
        rows: Mapping[str, Array] | None = None,
    ) -> list[Job]:
        """Begin one update: add 1 to `step`, return its independent parts, a matrix in each.

        Args:
            gradient (P,): G, the gradient of the loss.
            rate: η, the learning rate.
            scale: factor of G; see `clip_scale`.
            rows: as for `AdamW.jobs`.
        """
        rows = {name: ids for name, ids in (rows or {}).items() if name not in self.matrices}
        others = self.adamw.jobs(gradient, rate, scale, rows)
        own: list[Job] = [
            partial(self._update, gradient, scale, rate * factor, name)
            for name in self.matrices
            if (factor := self.rates.get(name, 1.0))
        ]
        return own + others  # the long ones first, so that the short ones fill the gaps at the end

    def update(self, gradient: Array, rate: float, scale: float = 1.0, threads: int = 1) -> None:
        """Take one step against the gradient.

        Args:
            gradient (P,): G, the gradient of the loss.
            rate: η, the learning rate.
            scale: factor of G; see `clip_scale`.
            threads: number of threads.
        """
        run_jobs(self.jobs(gradient, rate, scale), threads)

    @one_blas_thread()
    def _update(self, gradient: Array, scale: float, rate: float, name: str) -> None:
        """Update one matrix and its momentum."""
        spec, where, weight = self.params.specs[name], self.params.slices[name], self.params[name]
        # (m·n,) -> (m, n)
        g, m = (each[where].reshape(spec.shape) for each in (gradient, self.momentum))
        change = g * (scale * (1 - self.mu))
        m *= self.mu
        m += change
        if self.nesterov:
            change += self.mu * m
        out = orthogonalize(change if self.nesterov else m, self.ns_steps)
        out *= rate * ADJUSTMENTS[self.adjust](*spec.shape)
        if spec.decay:
            weight *= 1 - rate * self.weight_decay
        weight -= out

    def state(self) -> dict[str, Array]:
        """Return the momentum and AdamW's second moment by name."""
        return {"momentum": self.momentum, "second": self.adamw.second}

    def load(self, state: Mapping[str, Array]) -> None:
        """Read the momentum and AdamW's second moment.

        Raises:
            ValueError: an array is missing, unknown or of another shape or dtype; nothing changed.
        """
        load_arrays(self, self.state(), state)
        self.adamw.load(self.adamw.state())  # it forgets which rows were idle


def _checked(params: Parameters, matrices: Iterable[str]) -> tuple[str, ...]:
    """Return distinct names of matrices.

    Raises:
        ValueError: there is none, or one is unknown, not two-dimensional, or a table of embeddings.
    """
    names = tuple(dict.fromkeys(matrices))
    if not names:
        raise ValueError("matrices: expected the name of a matrix at least, got none")
    for name in names:
        spec = params.specs.get(name)
        if spec is None:
            got = "which is unknown"
        elif len(spec.shape) != 2:
            got = f"of shape {spec.shape}"
        elif spec.depth == 0 or spec.zero_row is not None:
            got = "a table of embeddings"
        else:
            continue
        raise ValueError(f"matrices: expected names of matrices, got {name!r}, {got}")
    return names

"""Multinomial logistic regression: the linear classifier on vectors that do not change.

The loss is convex, so its minimum does not depend on a start, a learning rate or the order of the
texts. Newton's method finds it to the last digits; the Hessian (C·r, C·r) is never formed, because
conjugate gradients only need its products with vectors (Nocedal and Wright, 2006, section 7.1).
"""

from typing import NamedTuple

import numpy as np

from minibert.functional import softmax_forward
from minibert.runtime.blas import one_blas_thread
from minibert.typing import Array

TOLERANCE = 1e-10  # of the gradient of the mean loss, its largest entry
MAX_STEPS = 100  # of Newton; ten are usual
MAX_HALVINGS = 40  # of a step
SUFFICIENT = 1e-4  # share of the decrease that the gradient promises
SMALL = 1e-12  # singular values below this share of the largest one are rounding errors


class LinearClassifier(NamedTuple):
    """Weights (C, D) and biases (C,): the logits of vectors x (S, D) are x Wᵀ + b."""

    weight: Array
    bias: Array

    def logits(self, vectors: Array) -> Array:
        """Return the logits (S, C) of vectors (S, D)."""
        return vectors @ self.weight.T + self.bias  # (S, D) @ (D, C) -> (S, C)


@one_blas_thread()  # the bits depend on BLAS's threads
def logistic_regression(
    vectors: Array, ids: Array, classes: int, *, C: float = 1.0, weights: Array | None = None
) -> LinearClassifier:
    """Return the weights of the logistic regression with the smallest loss.

        loss(W, b) = -Σ_i s_i log softmax(W x_i + b)[id_i] + |W|² / (2 C)

    It is that of scikit-learn's `LogisticRegression`, which for two classes penalizes the only
    difference that counts, W₁ - W₀, instead of both rows, so twice as much; as it is done here.

    >>> found = logistic_regression(np.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.0]]), [0, 1, 1], 2)
    >>> found.logits(np.array([[0.0, 2.0], [2.0, 0.0]])).argmax(axis=1).tolist()
    [0, 1]

    Args:
        vectors (S, D): x, one for each text.
        ids (S,): the classes, from 0.
        classes: the number of classes.
        C: the inverse strength of the penalty, scikit-learn's name.
        weights (S,): s, how much each text counts; None: ones.

    Raises:
        ValueError: the vectors are not finite, or C is not more than 0.
    """
    x = np.asarray(vectors, np.float64)
    if not np.isfinite(x).all():
        raise ValueError("vectors: expected finite numbers, got NaN or infinity")
    if not C > 0:
        raise ValueError(f"C: expected more than 0, got {C}")
    ids = np.asarray(ids)
    share = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    share = share / share.sum()  # so the loss is a mean
    penalty = (2 if classes == 2 else 1) / (C * (len(x) if weights is None else np.sum(weights)))
    # The minimum is in the span of the texts (its penalty is smaller than that of any other with
    # the same logits), so there are at most S unknown columns instead of D.
    left, values, right = np.linalg.svd(x, full_matrices=False)
    kept = values > SMALL * values.max(initial=0.0)
    reduced = left[:, kept] * values[kept]  # (S, r)
    problem = _Problem(reduced, np.eye(classes)[ids], share[:, None], penalty)
    solution = _minimize(problem, np.zeros((classes, reduced.shape[1] + 1)))
    return LinearClassifier(solution[:, :-1] @ right[kept], solution[:, -1])  # (C, r) @ (r, D)


class _Problem(NamedTuple):
    """The loss of parameters (C, r + 1), weights and biases, with its derivatives."""

    x: Array  # (S, r)
    targets: Array  # (S, C)
    share: Array  # (S, 1), adds up to 1
    penalty: float

    def logits(self, solution: Array) -> Array:
        return self.x @ solution[:, :-1].T + solution[:, -1]  # (S, r) @ (r, C) -> (S, C)

    def loss(self, solution: Array) -> float:
        z = self.logits(solution)
        z = z - z.max(axis=1, keepdims=True)
        logs = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        fit = -(self.share * self.targets * logs).sum()
        return float(fit + 0.5 * self.penalty * np.square(solution[:, :-1]).sum())

    def derivatives(self, solution: Array) -> tuple[Array, Array]:
        """Return the gradient (C, r + 1) and the probabilities (S, C)."""
        p, _ = softmax_forward(self.logits(solution))
        gradient = self._pull(self.share * (p - self.targets))
        gradient[:, :-1] += self.penalty * solution[:, :-1]
        return gradient, p

    def curvature(self, p: Array, direction: Array) -> Array:
        """Return the Hessian's product with a direction (C, r + 1)."""
        dz = p * self.logits(direction)
        product = self._pull(self.share * (dz - p * dz.sum(axis=1, keepdims=True)))
        product[:, :-1] += self.penalty * direction[:, :-1]
        return product

    def _pull(self, dz: Array) -> Array:
        # (C, S) @ (S, r) -> (C, r), and (S, C) -> (C,)
        return np.column_stack([dz.T @ self.x, dz.sum(axis=0)])


def _minimize(problem: _Problem, solution: Array) -> Array:
    """Return the minimum (C, r + 1), by Newton's method with halved steps."""
    loss = problem.loss(solution)
    for _ in range(MAX_STEPS):
        gradient, p = problem.derivatives(solution)
        if abs(gradient).max() <= TOLERANCE:
            break
        direction = _newton_direction(problem, p, gradient)
        slope = float((gradient * direction).sum())
        size = 1.0
        for _ in range(MAX_HALVINGS):
            new = problem.loss(solution + size * direction)
            if new <= loss + SUFFICIENT * size * slope:
                break
            size /= 2
        else:  # the loss cannot be told from its minimum
            solution = solution + direction
            break
        solution, loss = solution + size * direction, new
    return solution


def _newton_direction(problem: _Problem, p: Array, gradient: Array) -> Array:
    """Return d with Hessian · d = -gradient, by conjugate gradients."""
    d = np.zeros_like(gradient)
    residual = -gradient
    search, power = residual, float(np.square(residual).sum())
    # Coarse far from the minimum and exact near it: Newton's convergence stays quadratic.
    goal = power * min(0.25, np.sqrt(power)) ** 2
    for _ in range(gradient.size):
        if power <= goal:
            break
        product = problem.curvature(p, search)
        size = power / float((search * product).sum())
        d = d + size * search
        residual = residual - size * product
        before, power = power, float(np.square(residual).sum())
        search = residual + power / before * search
    return d

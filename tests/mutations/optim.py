"""Bugs in Muon."""

import numpy as np

from minibert.optim import Muon, hidden_matrices, muon, orthogonalize
from tests.mutations.checks import example
from tests.mutations.mutation import Everywhere, Place, mutation
from tests.optim import test_muon

RIGHT_UPDATE, RIGHT_JOBS, RIGHT_STATE = Muon._update, Muon.jobs, Muon.state


def iterated(matrix, steps, coefficients=muon.COEFFICIENTS, norm=np.linalg.norm):
    """Newton-Schulz without care for scale and shape."""
    a, b, c = coefficients
    with np.errstate(all="ignore"):
        x = matrix / (norm(matrix) or 1)
        for _ in range(steps):
            gram = x @ x.T  # (m, n) @ (n, m) -> (m, m)
            x = a * x + (b * gram + c * gram @ gram) @ x  # (m, m) @ (m, n) -> (m, n)
    return x


def coefficients_swapped(matrix, steps=5):
    a, b, c = muon.COEFFICIENTS
    return iterated(matrix, steps, (a, c, b))


def coefficients_of_the_cubic(matrix, steps=5):
    return iterated(matrix, steps, (1.5, -0.5, 0.0))


def divided_by_the_largest_number(matrix, steps=5):
    return iterated(matrix, steps, norm=lambda m: np.abs(m).max())


def squares_that_underflow(matrix, steps=5):
    return iterated(matrix, steps)


def products_of_the_larger_side(matrix, steps=5):
    return (
        iterated(matrix.T, steps).T
        if matrix.shape[0] < matrix.shape[1]
        else iterated(matrix, steps)
    )


def momentum_not_applied(self, gradient, *rest):
    self.momentum[:] = 0
    RIGHT_UPDATE(self, gradient / (1 - self.mu), *rest)


def without_nesterov(self, *arguments):
    nesterov, self.nesterov = self.nesterov, False
    RIGHT_UPDATE(self, *arguments)
    self.nesterov = nesterov


def coupled_decay(self, gradient, scale, rate, name):
    """Add the decay to the gradient, where the orthogonalization loses its size."""
    decay, self.weight_decay = self.weight_decay, 0.0
    RIGHT_UPDATE(self, gradient + decay / scale * self.params.vector, scale, rate, name)
    self.weight_decay = decay


def clipping_forgotten(self, gradient, scale, rate, name):
    RIGHT_UPDATE(self, gradient, 1.0, rate, name)


def decay_with_the_adjusted_rate(self, gradient, scale, rate, name):
    decay = self.weight_decay
    self.weight_decay *= muon.ADJUSTMENTS[self.adjust](*self.params.shapes[name])
    RIGHT_UPDATE(self, gradient, scale, rate, name)
    self.weight_decay = decay


def not_adjusted_to_the_shape(self, *arguments):
    with_adjustments = dict(muon.ADJUSTMENTS)
    muon.ADJUSTMENTS.update(dict.fromkeys(with_adjustments, lambda rows, columns: 1.0))
    RIGHT_UPDATE(self, *arguments)
    muon.ADJUSTMENTS.update(with_adjustments)


def every_matrix(params):
    return [name for name, shape in params.shapes.items() if len(shape) == 2]


def frozen_matrices_too(self, *arguments, **options):
    self.rates = {name: rate or 1.0 for name, rate in self.rates.items()}
    return RIGHT_JOBS(self, *arguments, **options)


def momentum_not_stored(self):
    return {name: each * (name != "momentum") for name, each in RIGHT_STATE(self).items()}


EQUATIONS = example(
    test_muon.test_muon_follows_the_equations,
    seed=0, steps=4, momentum=0.95, nesterov=True, weight_decay=0.5, scale=0.25,
)  # fmt: skip
POLYNOMIAL = example(
    test_muon.test_orthogonalize_applies_the_polynomial_to_every_singular_value,
    shape=(4, 6), steps=5, seed=0,
)  # fmt: skip

MUTATIONS = [
    mutation(
        "Muon's coefficients swapped", Everywhere(orthogonalize), coefficients_swapped, POLYNOMIAL
    ),
    mutation(
        "the cubic iteration instead of Muon's",
        Everywhere(orthogonalize),
        coefficients_of_the_cubic,
        example(
            test_muon.test_singular_values_end_near_1, shape=(48, 48), dtype=np.float64
        ),
    ),
    mutation(
        "singular values above 1 at the start",
        Everywhere(orthogonalize),
        divided_by_the_largest_number,
        POLYNOMIAL,
    ),
    mutation(
        "orthogonalization divides by a norm that underflows",
        Everywhere(orthogonalize),
        squares_that_underflow,
        example(
            test_muon.test_orthogonalize_does_not_depend_on_the_scale, scale=1e-30, shape=(4, 6)
        ),
    ),
    mutation(
        "orthogonalization without the transpose",
        Everywhere(orthogonalize),
        products_of_the_larger_side,
        example(
            test_muon.test_orthogonalize_multiplies_on_the_smaller_side, shape=(3, 3000)
        ),
    ),
    mutation("Muon without momentum", Place(Muon, "_update"), momentum_not_applied, EQUATIONS),
    mutation("Muon without Nesterov's step", Place(Muon, "_update"), without_nesterov, EQUATIONS),
    mutation("Muon's decay in the gradient", Place(Muon, "_update"), coupled_decay, EQUATIONS),
    mutation(
        "Muon's decay by the adjusted rate",
        Place(Muon, "_update"),
        decay_with_the_adjusted_rate,
        EQUATIONS,
    ),
    mutation("Muon without clipping", Place(Muon, "_update"), clipping_forgotten, EQUATIONS),
    mutation(
        "Muon's rate not adjusted to the shape",
        Place(Muon, "_update"),
        not_adjusted_to_the_shape,
        example(
            test_muon.test_match_rms_adamw_makes_an_update_of_about_a_fifth_of_the_rate
        ),
    ),
    mutation(
        "embeddings and heads orthogonalized",
        Everywhere(hidden_matrices),
        every_matrix,
        example(test_muon.test_hidden_matrices_are_those_of_blocks),
    ),
    mutation(
        "Muon moves frozen matrices",
        Place(Muon, "jobs"),
        frozen_matrices_too,
        example(test_muon.test_rates_scale_the_learning_rate_and_0_keeps_a_matrix),
    ),
    mutation(
        "Muon's momentum not stored",
        Place(Muon, "state"),
        momentum_not_stored,
        example(test_muon.test_a_run_with_muon_is_resumed_to_the_same_bits),
    ),
]  # fmt: skip

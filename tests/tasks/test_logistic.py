"""Logistic regression: the minimum of its loss, whatever the start, the threads and the width."""

import numpy as np
import pytest

from minibert.runtime.blas import one_blas_thread
from minibert.tasks.logistic import logistic_regression


def problem(size=30, width=7, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((classes, width))
    ids = np.arange(size) % classes
    return centres[ids] + rng.standard_normal((size, width)), ids


def loss_of(parameters, x, ids, C, weights, halved):
    weight, bias = parameters[:, :-1], parameters[:, -1]
    logits = x @ weight.T + bias
    logits -= logits.max(axis=1, keepdims=True)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -(weights * logs[np.arange(len(x)), ids]).sum() + halved * (weight**2).sum() / (2 * C)


@pytest.mark.parametrize(("classes", "width", "C"), [(3, 7, 1.0), (4, 50, 10.0), (2, 5, 0.1)])
def test_the_gradient_of_the_loss_is_zero_at_the_solution(classes, width, C):
    """Centred differences of the loss, in random directions, at random weights of the texts."""
    x, ids = problem(width=width, classes=classes)
    weights = np.random.default_rng(1).uniform(0.5, 2, len(x))
    found = logistic_regression(x, ids, classes, C=C, weights=weights)
    solution = np.column_stack([found.weight, found.bias])
    rng, halved = np.random.default_rng(2), 2 if classes == 2 else 1
    for _ in range(10):
        step = 1e-5 * rng.standard_normal(solution.shape)
        up, down = (loss_of(solution + s * step, x, ids, C, weights, halved) for s in (1, -1))
        middle = loss_of(solution, x, ids, C, weights, halved)
        assert up > middle < down
        assert abs(up - down) < 1e-4 * (up + down - 2 * middle)


def test_a_text_with_weight_two_counts_like_two_texts():
    x, ids = problem()
    weights = np.where(np.arange(len(x)) < 5, 2.0, 1.0)
    once = logistic_regression(x, ids, 3, weights=weights)
    twice = logistic_regression(np.r_[x, x[:5]], np.r_[ids, ids[:5]], 3)
    np.testing.assert_allclose(once.weight, twice.weight, atol=1e-8)
    np.testing.assert_allclose(once.bias, twice.bias, atol=1e-8)


def test_columns_that_repeat_and_vectors_of_zeros_have_a_solution():
    x, ids = problem()
    found = logistic_regression(np.c_[x, x], ids, 3)
    np.testing.assert_allclose(found.weight[:, :7], found.weight[:, 7:], atol=1e-8)
    none = logistic_regression(np.zeros((6, 4)), [0, 0, 0, 0, 1, 1], 2)
    assert not none.weight.any()
    assert none.bias[0] - none.bias[1] == pytest.approx(np.log(2))


def test_separable_texts_without_much_penalty_are_separated():
    x = np.array([[0.0], [1.0], [2.0], [3.0]])
    found = logistic_regression(x, [0, 0, 1, 1], 2, C=1e6)
    assert found.logits(x).argmax(axis=1).tolist() == [0, 0, 1, 1]
    assert np.isfinite(found.weight).all()


def test_the_bits_do_not_depend_on_the_threads_of_blas():
    x, ids = problem(size=200, width=300)
    free = logistic_regression(x, ids, 3)
    with one_blas_thread():
        held = logistic_regression(x, ids, 3)
    assert free.weight.tobytes() == held.weight.tobytes()


@pytest.mark.parametrize(
    ("vectors", "C", "message"),
    [([[np.nan], [1.0]], 1.0, "vectors: expected finite numbers"), ([[0.0], [1.0]], 0, "C: exp")],
)
def test_logistic_regression_refuses_bad_input(vectors, C, message):
    with pytest.raises(ValueError, match=message):
        logistic_regression(np.array(vectors), [0, 1], 2, C=C)

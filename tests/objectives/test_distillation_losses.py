"""Laws of the losses of distillation."""

import numpy as np
import pytest

from minibert.functional import (
    binary_cross_entropy_backward,
    binary_cross_entropy_forward,
    cross_entropy_backward,
    cross_entropy_forward,
)
from minibert.objectives.distillation_losses import (
    COSINE_EPS,
    binary_kl_divergence_backward,
    binary_kl_divergence_forward,
    cosine_embedding_backward,
    cosine_embedding_forward,
    kl_divergence_backward,
    kl_divergence_forward,
    soft_squared_error_forward,
)

M, C, D = 5, 7, 6
RNG = np.random.default_rng(0)
STUDENT, TEACHER = 2 * RNG.standard_normal((M, C)), 2 * RNG.standard_normal((M, C))
X, Y = RNG.standard_normal((M, D)), RNG.standard_normal((M, D))
SOME = np.array([True, False, True, True, False])


def kl(student, teacher, temperature, *more):
    loss, cache = kl_divergence_forward(student, teacher, temperature, *more)
    return loss, kl_divergence_backward(cache)


def binary(student, teacher, temperature, *more):
    loss, cache = binary_kl_divergence_forward(student, teacher, temperature, *more)
    return loss, binary_kl_divergence_backward(cache)


def cosine(x, target, *more):
    loss, cache = cosine_embedding_forward(x, target, *more)
    return loss, cosine_embedding_backward(cache)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_a_student_equal_to_its_teacher_has_no_loss_and_no_gradient(dtype, temperature):
    loss, dlogits = kl(STUDENT.astype(dtype), STUDENT.astype(dtype), temperature)
    assert loss == 0
    assert not dlogits.any()
    assert dlogits.dtype == dtype
    loss, dlogits = binary(STUDENT.astype(dtype), STUDENT.astype(dtype), temperature)
    assert loss == 0
    assert not dlogits.any()
    loss, dx = cosine(X.astype(dtype), X.astype(dtype))
    rounding = max(10 * np.finfo(dtype).eps, COSINE_EPS)
    assert abs(loss) < rounding
    np.testing.assert_allclose(dx, 0, atol=rounding)


def test_another_student_has_a_loss_above_0():
    assert kl(STUDENT, TEACHER, 2.0)[0] > 0.1
    assert kl(STUDENT, STUDENT + RNG.standard_normal((M, 1)), 2.0)[0] == pytest.approx(0, abs=1e-12)
    assert 0.1 < cosine(X, Y)[0] < 2


def test_a_low_temperature_has_the_limit_of_hard_targets():
    """T² times the cross-entropy of the teacher's most probable class, at logits / T."""
    hard = TEACHER.argmax(axis=-1)
    decided = TEACHER + np.eye(C)[hard]  # no other class is within 1 of it
    loss, dlogits = kl(STUDENT, decided, 0.01)
    expected, cache = cross_entropy_forward(STUDENT / 0.01, hard)
    assert loss == pytest.approx(1e-4 * expected, rel=1e-6)
    np.testing.assert_allclose(dlogits, 0.01 * cross_entropy_backward(cache), atol=1e-8)
    loss, dlogits = kl(STUDENT, 1e3 * decided, 1.0)  # a teacher without doubts
    expected, cache = cross_entropy_forward(STUDENT, hard)
    assert loss == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(dlogits, cross_entropy_backward(cache), atol=1e-12)


def test_of_yes_or_no_questions_a_sure_teacher_is_binary_cross_entropy():
    sure = 1e3 * np.sign(TEACHER)
    loss, dlogits = binary(STUDENT, sure, 1.0)
    expected, cache = binary_cross_entropy_forward(STUDENT, (sure > 0).astype(float))
    assert loss == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(dlogits, binary_cross_entropy_backward(cache), atol=1e-12)


def test_the_temperature_changes_no_squared_error():
    results = [soft_squared_error_forward(STUDENT, TEACHER, T)[0] for T in (1.0, 7.0)]
    assert results[0] == results[1] == pytest.approx(np.square(STUDENT - TEACHER).mean())


def test_a_high_temperature_has_the_limit_of_equal_logits():
    """Hinton et al. (2015), section 2.1: half the squared distance of centred logits, over C."""
    centred = [each - each.mean(axis=-1, keepdims=True) for each in (STUDENT, TEACHER)]
    errors = centred[0] - centred[1]
    loss, dlogits = kl(STUDENT, TEACHER, 1e3)
    assert loss == pytest.approx((errors**2).sum() / (2 * C * M), rel=1e-2)
    np.testing.assert_allclose(dlogits, errors / (C * M), atol=1e-3)


def test_the_length_of_a_vector_changes_nothing_and_the_gradient_is_orthogonal_to_it():
    loss, dx = cosine(X, Y)
    scaled, dscaled = cosine(3 * X, 0.1 * Y)
    assert scaled == pytest.approx(loss, rel=1e-9)
    np.testing.assert_allclose(3 * dscaled, dx, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(np.einsum("nd,nd->n", dx, X), 0, atol=1e-10)
    assert cosine(X, -X)[0] == pytest.approx(2)


@pytest.mark.parametrize(
    ("function", "own", "other"),
    [
        (lambda s, t, *more: kl(s, t, 2.0, *more), STUDENT, TEACHER),
        (lambda s, t, *more: binary(s, t, 2.0, *more), STUDENT[:, 0], TEACHER[:, 0]),
        (cosine, X, Y),
    ],
    ids=["kl", "binary", "cosine"],
)
def test_rows_that_do_not_count_change_nothing_and_parts_add_up(function, own, other):
    loss, gradient = function(own, other, SOME)
    alone, gradient_alone = function(own[SOME], other[SOME])
    assert loss == pytest.approx(alone, rel=1e-12)
    np.testing.assert_allclose(gradient[SOME], gradient_alone, rtol=1e-12)
    assert not gradient[~SOME].any()
    parts = [function(own[a], other[a], None, M) for a in (slice(2), slice(2, M))]
    assert sum(part for part, _ in parts) == pytest.approx(function(own, other)[0], rel=1e-12)
    assert function(own, other, np.zeros(M, bool))[0] == 0


def test_extreme_numbers_are_finite_in_float32():
    large = np.array([[3e4, -3e4, 0], [88.0, 89.0, 90.0]], np.float32)
    for compare in (kl, binary):
        loss, dlogits = compare(large, large[:, ::-1].copy(), 1.0)
        assert np.isfinite(loss)
        assert np.isfinite(dlogits).all()
    zeros = np.zeros((2, 3), np.float32)
    loss, dx = cosine(zeros, zeros)
    assert loss == pytest.approx(1)
    assert not dx.any()

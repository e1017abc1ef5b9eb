"""Laws of the losses on vectors, and their values from plain loops."""

import numpy as np
import pytest

from minibert.functional import cross_entropy_forward
from minibert.objectives.embedding_losses import (
    contrastive_backward,
    contrastive_forward,
    cosine_scores_backward,
    cosine_scores_forward,
    distance_backward,
    distance_forward,
    ranking_backward,
    ranking_forward,
    triplet_backward,
    triplet_forward,
)

B, S, D = 5, 7, 6
RNG = np.random.default_rng(0)
A, P, N = (RNG.standard_normal((B, D)) for _ in range(3))
VECTORS, LABELS = RNG.standard_normal((S, D)), np.array([2, 0, 2, 1, 0, 2, 3])
SCORES = np.linspace(-0.5, 1, B)


def cos(x, y):
    return x @ y / (np.linalg.norm(x) * np.linalg.norm(y))


def ranking(a, p, *further, **options):
    """Return the loss of anchors and the candidates, and the gradient of each array."""
    loss, cache = ranking_forward(a, np.concatenate([p, *further]), **options)
    danchors, dcandidates = ranking_backward(cache)
    return loss, [danchors, *np.split(dcandidates, 1 + len(further))]


def cosine_scores(a, p, scores=SCORES, **options):
    loss, cache = cosine_scores_forward(a, p, scores, **options)
    return loss, list(cosine_scores_backward(cache))


def triplet(a, p, n, **options):
    loss, cache = triplet_forward(a, p, n, **options)
    return loss, list(triplet_backward(cache))


def cosine_triplet(a, p, n, **options):
    return triplet(a, p, n, margin=0.5, distance="cosine", **options)


def contrastive(vectors, labels=LABELS, **options):
    loss, cache = contrastive_forward(vectors, labels, **options)
    return loss, [contrastive_backward(cache)]


LOSSES = {
    "ranking": (ranking, [A, P]),
    "ranking, hard negatives": (ranking, [A, P, N]),
    "cosine": (cosine_scores, [A, P]),
    "triplet": (triplet, [A, P, N]),
    "triplet, cosine": (cosine_triplet, [A, P, N]),
    "contrastive": (contrastive, [VECTORS]),
}
EACH = pytest.mark.parametrize("name", LOSSES)
COSINES = pytest.mark.parametrize("name", [name for name in LOSSES if name != "triplet"])


# Values.


def test_ranking_is_the_cross_entropy_of_the_right_candidate():
    candidates = np.concatenate([P, N])
    scores = np.array([[cos(a, c) for c in candidates] for a in A]) / 0.2
    expected, _ = cross_entropy_forward(scores, np.arange(B))
    assert ranking(A, P, N, temperature=0.2)[0] == pytest.approx(expected, rel=1e-12)


def test_ranking_of_equal_vectors_is_the_logarithm_of_the_number_of_candidates():
    same = np.tile(A[:1], (B, 1))
    assert ranking(same, same, same)[0] == pytest.approx(np.log(2 * B), rel=1e-12)


def test_an_excluded_candidate_has_no_influence_and_the_right_one_is_never_excluded():
    excluded = np.zeros((B, 2 * B), bool)
    excluded[:, B + 1] = excluded[0, 0] = True
    loss, (da, dp, dn) = ranking(A, P, N, excluded=excluded)
    rest = np.arange(B) != 1
    expected, (da_rest, dp_rest, dn_rest) = ranking_of_some(rest)
    assert loss == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(da, da_rest, atol=1e-14)
    np.testing.assert_allclose(dp, dp_rest, atol=1e-14)
    np.testing.assert_allclose(dn[rest], dn_rest, atol=1e-14)
    assert not dn[1].any()
    everything, gradients = ranking(A, P, excluded=np.ones((B, B), bool))
    assert everything == 0
    assert not any(gradient.any() for gradient in gradients)


def ranking_of_some(rest):
    loss, cache = ranking_forward(A, np.concatenate([P, N[rest]]))
    danchors, dcandidates = ranking_backward(cache)
    return loss, (danchors, *np.split(dcandidates, [B]))


def test_cosine_scores_is_the_mean_squared_error_of_the_cosines():
    expected = np.mean([(cos(*pair) - s) ** 2 for *pair, s in zip(A, P, SCORES, strict=True)])
    assert cosine_scores(A, P)[0] == pytest.approx(expected, rel=1e-12)
    reached = np.array([cos(*pair) for pair in zip(A, P, strict=True)])
    loss, gradients = cosine_scores(A, P, reached)
    assert loss < 1e-30
    np.testing.assert_allclose(gradients, 0, atol=1e-15)


@pytest.mark.parametrize("margin", [0.1, 1.0, 5.0])
def test_triplet_is_the_mean_hinge_of_the_distances(margin):
    norm = np.linalg.norm
    own = [max(norm(a - p) - norm(a - n) + margin, 0) for a, p, n in zip(A, P, N, strict=True)]
    assert triplet(A, P, N, margin=margin)[0] == pytest.approx(np.mean(own), rel=1e-12)
    own = [max(cos(a, n) - cos(a, p) + margin, 0) for a, p, n in zip(A, P, N, strict=True)]
    loss, _ = triplet(A, P, N, margin=margin, distance="cosine")
    assert loss == pytest.approx(np.mean(own), rel=1e-12)


def test_a_triplet_whose_negative_is_far_has_no_gradient():
    loss, gradients = triplet(A, A + 0.01, A + 100, margin=1.0)
    assert loss == 0
    assert not any(gradient.any() for gradient in gradients)


def test_contrastive_is_the_mean_over_texts_with_a_positive():
    own = []
    for i in range(S):
        others = [j for j in range(S) if j != i]
        total = sum(np.exp(cos(VECTORS[i], VECTORS[j]) / 0.2) for j in others)
        right = [cos(VECTORS[i], VECTORS[j]) / 0.2 for j in others if LABELS[j] == LABELS[i]]
        if right:
            own.append(-np.mean([score - np.log(total) for score in right]))
    assert len(own) == 5
    loss, _ = contrastive(VECTORS, temperature=0.2)
    assert loss == pytest.approx(np.mean(own), rel=1e-12)


def test_contrastive_without_equal_labels_or_with_one_text_is_zero():
    for vectors, labels in ((VECTORS, np.arange(S)), (VECTORS[:1], LABELS[:1])):
        loss, (dvectors,) = contrastive(vectors, labels)
        assert loss == 0
        assert not dvectors.any()


# Laws.


@EACH
def test_the_order_of_the_rows_changes_nothing(name):
    loss_of, arrays = LOSSES[name]
    order = np.random.default_rng(1).permutation(len(arrays[0]))
    given = {"contrastive": LABELS, "cosine": SCORES}
    more = [given[name][order]] if name in given else []
    loss, gradients = loss_of(*arrays)
    other, permuted = loss_of(*(array[order] for array in arrays), *more)
    assert other == pytest.approx(loss, rel=1e-12)
    for gradient, own in zip(gradients, permuted, strict=True):
        np.testing.assert_allclose(own, gradient[order], atol=1e-13)


@COSINES
def test_the_length_of_a_vector_changes_nothing_and_its_gradient_is_orthogonal(name):
    loss_of, arrays = LOSSES[name]
    loss, gradients = loss_of(*arrays)
    factors = 1 + np.arange(len(arrays[0]))[:, None]
    scaled, smaller = loss_of(*(factors * array for array in arrays))
    assert scaled == pytest.approx(loss, rel=1e-12)
    for array, gradient, own in zip(arrays, gradients, smaller, strict=True):
        np.testing.assert_allclose(factors * own, gradient, atol=1e-12)
        np.testing.assert_allclose(np.einsum("nd,nd->n", gradient, array), 0, atol=1e-12)


@EACH
def test_rotated_vectors_have_the_same_loss(name):
    loss_of, arrays = LOSSES[name]
    rotation, _ = np.linalg.qr(RNG.standard_normal((D, D)))
    loss, gradients = loss_of(*arrays)
    other, rotated = loss_of(*(array @ rotation for array in arrays))
    assert other == pytest.approx(loss, rel=1e-12)
    for gradient, own in zip(gradients, rotated, strict=True):
        np.testing.assert_allclose(own, gradient @ rotation, atol=1e-12)


def test_a_shift_of_all_vectors_does_not_change_euclidean_triplets():
    loss, gradients = triplet(A, P, N)
    assert triplet(A + 1, P + 1, N + 1)[0] == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(sum(gradients), 0, atol=1e-13)


@EACH
def test_a_denominator_divides_loss_and_gradient(name):
    loss_of, arrays = LOSSES[name]
    loss, gradients = loss_of(*arrays)
    own = 5  # the rows, or the texts with a positive
    other, scaled = loss_of(*arrays, denominator=2 * own)
    assert other == pytest.approx(loss / 2, rel=1e-12)
    for gradient, half in zip(gradients, scaled, strict=True):
        np.testing.assert_allclose(half, gradient / 2, rtol=1e-12)


@EACH
def test_float32_is_near_float64_and_stays_float32(name):
    loss_of, arrays = LOSSES[name]
    exact, exact_gradients = loss_of(*arrays)
    loss, gradients = loss_of(*(array.astype(np.float32) for array in arrays))
    assert loss == pytest.approx(exact, rel=1e-5)
    for gradient, expected in zip(gradients, exact_gradients, strict=True):
        assert gradient.dtype == np.float32
        np.testing.assert_allclose(gradient, expected, atol=1e-5 * np.abs(expected).max())


@EACH
def test_zero_and_extreme_vectors_have_finite_losses_and_gradients(name):
    loss_of, arrays = LOSSES[name]
    for factor in (0.0, 1e-30, 1e18):
        own = [(factor * array).astype(np.float32) for array in arrays]
        loss, gradients = loss_of(*own)
        assert np.isfinite(loss)
        assert all(np.isfinite(gradient).all() for gradient in gradients)
        if factor == 0:
            assert not any(gradient.any() for gradient in gradients)


def test_equal_vectors_have_the_distance_zero_and_a_gradient_of_zero():
    for kind in ("euclidean", "cosine"):
        distances, cache = distance_forward(A, A.copy(), kind)
        np.testing.assert_allclose(distances, 0, atol=1e-15)
        for gradient in distance_backward(np.ones((B, 1)), cache):
            np.testing.assert_allclose(gradient, 0, atol=1e-15)

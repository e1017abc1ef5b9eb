"""Losses on the vectors of texts: ranking, cosine similarity, triplets and labels.

Each is a sum over anchors or pairs, divided by a denominator, as in `cross_entropy`. Where a cosine
is compared, the length of a vector changes nothing, and a vector of zeros has the cosine 0 with all
others and the gradient 0.
"""

from typing import Literal, NamedTuple

import numpy as np

from minibert.models.pooling import NormalizeCache, normalize_backward, normalize_forward
from minibert.typing import Array

Distance = Literal["euclidean", "cosine"]


class RankingCache(NamedTuple):
    """What `ranking_backward` needs."""

    anchors: NormalizeCache
    candidates: NormalizeCache
    shares: Array  # (B, Q), softmax of the scores
    scale: float  # 1 / (temperature · n)


def ranking_forward(
    anchors: Array,
    candidates: Array,
    temperature: float = 0.05,
    excluded: Array | None = None,
    denominator: float | None = None,
) -> tuple[float, RankingCache]:
    """Compare each anchor with all candidates of a batch, of which one is right.

        loss = -(1/n) Σ_i log softmax(s_i)_i,   s_ij = cos(a_i, c_j) / temperature

    Multiple negatives ranking: the right candidates of other anchors are negatives at no cost.
    Henderson et al. (2017), section 4.4; with cosines and a temperature, Gao, Yao and Chen (2021),
    eq. 1.

    Args:
        anchors (B, D): a.
        candidates (Q, D): c, Q >= B: candidate i is the right one of anchor i, and those from B on
            are negatives of all anchors.
        temperature: more than 0. sentence-transformers' `scale` is its reciprocal.
        excluded (B, Q), bool: pairs that are not compared, such as an anchor and a text equal to
            its right candidate; the right candidate itself cannot be excluded. None: there are
            none.
        denominator: n; None: B.

    Returns:
        loss in nats, a float64 number, and the cache that `ranking_backward` needs.
    """
    B = len(anchors)
    n = max(B, 1) if denominator is None else denominator
    (a, anchor_cache), (c, candidate_cache) = map(normalize_forward, (anchors, candidates))
    scores = a @ c.T / a.dtype.type(temperature)  # (B, D) @ (D, Q) -> (B, Q)
    if excluded is not None:
        scores[excluded & (np.eye(*scores.shape) == 0)] = -np.inf
    log_shares = _log_softmax(scores)
    loss = -float(np.diag(log_shares).astype(np.float64).sum()) / n
    scale = 1 / (temperature * n)
    return loss, RankingCache(anchor_cache, candidate_cache, np.exp(log_shares), scale)


def ranking_backward(cache: RankingCache) -> tuple[Array, Array]:
    """Gradient of `ranking_forward`: danchors (B, D) and dcandidates (Q, D).

    By the scores it is (softmax(s) - the one-hot rows of the right candidates) / n, as in
    cross-entropy; from there it passes a product of matrices and the normalization of both sides.
    """
    anchors, candidates, shares, scale = cache
    dscores = (shares - np.eye(*shares.shape, dtype=shares.dtype)) * shares.dtype.type(scale)
    danchors = dscores @ candidates.unit  # (B, Q) @ (Q, D) -> (B, D)
    dcandidates = dscores.T @ anchors.unit  # (Q, B) @ (B, D) -> (Q, D)
    return normalize_backward(danchors, anchors), normalize_backward(dcandidates, candidates)


class CosineScoresCache(NamedTuple):
    """What `cosine_scores_backward` needs."""

    first: NormalizeCache
    second: NormalizeCache
    dcosine: Array  # (B, 1)


def cosine_scores_forward(
    first: Array, second: Array, scores: Array, denominator: float | None = None
) -> tuple[float, CosineScoresCache]:
    """Compare the cosines of pairs with scores.

        loss = (1/n) Σ_i (cos(x_i, y_i) - s_i)²

    Reimers and Gurevych (2019), section 3, the regression objective. Of pairs from labels, s is 1
    for equal labels and 0 for others: Tunstall et al. (2022), section 3.

    Args:
        first (B, D), second (B, D): x and y.
        scores (B,): s, from -1 to 1.
        denominator: n; None: B.

    Returns:
        loss, a float64 number, and the cache that `cosine_scores_backward` needs.
    """
    n = max(len(first), 1) if denominator is None else denominator
    (x, first_cache), (y, second_cache) = map(normalize_forward, (first, second))
    error = np.einsum("bd,bd->b", x, y)[:, None] - scores[:, None]  # (B, 1)
    loss = float(np.square(error, dtype=np.float64).sum()) / n
    return loss, CosineScoresCache(first_cache, second_cache, 2 / n * error)


def cosine_scores_backward(cache: CosineScoresCache) -> tuple[Array, Array]:
    """Gradient of `cosine_scores_forward`: dfirst and dsecond, (B, D) each.

    By the cosine it is 2 (cos - s) / n, and cos = x̂ · ŷ of the normalized vectors.
    """
    first, second, dcosine = cache
    dcosine = dcosine.astype(first.unit.dtype)
    dfirst = normalize_backward(dcosine * second.unit, first)
    return dfirst, normalize_backward(dcosine * first.unit, second)


class TripletCache(NamedTuple):
    """What `triplet_backward` needs: the gradient by the distances, and each distance's cache."""

    active: Array  # (B, 1), 1/n where the loss of a triplet is above 0
    positive: "DistanceCache"
    negative: "DistanceCache"


def triplet_forward(
    anchors: Array,
    positives: Array,
    negatives: Array,
    margin: float = 5.0,
    distance: Distance = "euclidean",
    denominator: float | None = None,
) -> tuple[float, TripletCache]:
    """Compare each anchor's distances to a positive and a negative text.

        loss = (1/n) Σ_i max(d(a_i, p_i) - d(a_i, q_i) + margin, 0)

    Reimers and Gurevych (2019), section 3, the triplet objective; with a margin of 1 there.

    Args:
        anchors (B, D), positives (B, D), negatives (B, D): a, p and q.
        margin: by how much a negative text is to be farther.
        distance: `euclidean`, or `cosine`, which is 1 - cos and at most 2.
        denominator: n; None: B.

    Returns:
        loss, a float64 number, and the cache that `triplet_backward` needs.
    """
    n = max(len(anchors), 1) if denominator is None else denominator
    positive, positive_cache = distance_forward(anchors, positives, distance)
    negative, negative_cache = distance_forward(anchors, negatives, distance)
    losses = np.maximum(positive - negative + margin, 0)  # (B, 1)
    loss = float(losses.astype(np.float64).sum()) / n
    return loss, TripletCache((losses > 0) / n, positive_cache, negative_cache)


def triplet_backward(cache: TripletCache) -> tuple[Array, Array, Array]:
    """Gradient of `triplet_forward`: of anchors, positives and negatives, (B, D) each.

    A triplet whose negative is farther by the margin has none.
    """
    danchors, dpositives = distance_backward(cache.active, cache.positive)
    dfarther, dnegatives = distance_backward(-cache.active, cache.negative)
    return danchors + dfarther, dpositives, dnegatives


class EuclideanCache(NamedTuple):
    """What `distance_backward` needs of a Euclidean distance: the normalized difference."""

    difference: NormalizeCache


class CosineCache(NamedTuple):
    """What `distance_backward` needs of a cosine distance: both normalized vectors."""

    x: NormalizeCache
    y: NormalizeCache


DistanceCache = EuclideanCache | CosineCache


def distance_forward(x: Array, y: Array, kind: Distance) -> tuple[Array, DistanceCache]:
    """Return the distances (B, 1) of vectors x and y (B, D), and the cache.

    Args:
        x (B, D), y (B, D): the vectors.
        kind: `euclidean` or `cosine`.
    """
    if kind == "euclidean":
        _, cache = normalize_forward(x - y)
        return cache.lengths, EuclideanCache(cache)
    (unit_x, x_cache), (unit_y, y_cache) = map(normalize_forward, (x, y))
    return 1 - np.einsum("bd,bd->b", unit_x, unit_y)[:, None], CosineCache(x_cache, y_cache)


def distance_backward(dout: Array, cache: DistanceCache) -> tuple[Array, Array]:
    """Gradient of `distance_forward`, given dout (B, 1): dx and dy, (B, D) each.

    Of a Euclidean distance, dx is the unit vector from y to x, and 0 where both are equal; of a
    cosine distance it is that of -x̂ · ŷ.
    """
    if isinstance(cache, EuclideanCache):
        dx = dout.astype(cache.difference.unit.dtype) * cache.difference.unit
        return dx, -dx
    x, y = cache
    dcosine = -dout.astype(x.unit.dtype)
    return normalize_backward(dcosine * y.unit, x), normalize_backward(dcosine * x.unit, y)


class ContrastiveCache(NamedTuple):
    """What `contrastive_backward` needs."""

    vectors: NormalizeCache
    dscores: Array  # (S, S)


def positives_of(labels: Array) -> Array:
    """Return which texts have the label of another one, (S, S) booleans; none is its own."""
    same: Array = labels[:, None] == labels[None, :]  # (S, S)
    np.fill_diagonal(same, False)
    return same


def contrastive_forward(
    vectors: Array, labels: Array, temperature: float = 0.05, denominator: float | None = None
) -> tuple[float, ContrastiveCache]:
    """Compare each text of a batch with all others: those of equal labels are right.

        loss = -(1/n) Σ_i (1/|P_i|) Σ_{p in P_i} log softmax(s_i)_p,   s_ij = cos(x_i, x_j) / τ,

    where P_i are the other texts with the label of text i, and the softmax is over all texts but i.
    Khosla et al. (2020), eq. 2. A text whose label no other one has is only a negative.

    Args:
        vectors (S, D): x.
        labels (S,): integers.
        temperature: τ, more than 0.
        denominator: n; None: the number of texts with a positive, at least 1.

    Returns:
        loss in nats, a float64 number, and the cache that `contrastive_backward` needs.
    """
    positives = positives_of(labels)  # (S, S)
    counts = positives.sum(axis=1, keepdims=True)  # (S, 1), |P_i|
    n = max(int((counts > 0).sum()), 1) if denominator is None else denominator
    unit, cache = normalize_forward(vectors)
    scores = unit @ unit.T / unit.dtype.type(temperature)  # (S, D) @ (D, S) -> (S, S)
    np.fill_diagonal(scores, -np.inf)
    if len(scores) < 2:  # there is nothing to compare
        return 0.0, ContrastiveCache(cache, np.zeros_like(scores))
    log_shares = _log_softmax(scores)
    targets = (positives / np.maximum(counts, 1)).astype(unit.dtype)  # (S, S), rows of sum 1 or 0
    compared = np.where(positives, log_shares, 0) * targets  # without the -inf of the diagonal
    loss = -float(compared.astype(np.float64).sum()) / n
    dscores = np.where(counts > 0, np.exp(log_shares), 0) - targets
    dscores *= unit.dtype.type(1 / (temperature * n))
    return loss, ContrastiveCache(cache, dscores)


def contrastive_backward(cache: ContrastiveCache) -> Array:
    """Gradient of `contrastive_forward`: dvectors (S, D).

    By s_ij it is (softmax(s_i)_j - [j in P_i] / |P_i|) / n. A score contains two vectors of the
    same array, so the gradient by the normalized vectors is (ds + dsᵀ) x̂ / τ.
    """
    vectors, dscores = cache
    dunit = (dscores + dscores.T) @ vectors.unit  # (S, S) @ (S, D) -> (S, D)
    return normalize_backward(dunit, vectors)


def _log_softmax(scores: Array) -> Array:
    """Return s - log Σ exp(s) of each row (B, Q); scores are consumed."""
    scores -= scores.max(axis=-1, keepdims=True)
    scores -= np.log(np.exp(scores).sum(axis=-1, keepdims=True))
    return scores

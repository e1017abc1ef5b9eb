"""`check_objective` accepts objectives that do not depend on the shards, and rejects others."""

import numpy as np
import pytest

from minibert.gradcheck import GradientError, check_objective
from minibert.parameters import Parameters

B, D = 5, 3
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((B, D)), RNG.standard_normal((B, D))


def make_params():
    rng = np.random.default_rng(1)
    return Parameters({"weight": (D, D), "shift": (D,)}, rng.standard_normal(D * D + D))


def cut(*sizes):
    """Return shards of these sizes; each knows the places of its rows in the whole batch."""
    stops = np.cumsum(sizes)
    return [np.arange(stop - size, stop) for size, stop in zip(sizes, stops, strict=True)]


class Regression:
    """One phase: the mean squared error of a linear function."""

    def __init__(self, params):
        self.params = params

    def count(self, rows):
        return len(rows)

    def loss_and_grads(self, rows, extra, rng, grads, denominator):
        assert extra is None
        kept = 1.0 if rng is None else (rng.random((len(rows), D)) < 0.5) / 0.5
        x = X[rows] * kept
        off = x @ self.params["weight"] + self.params["shift"] - Y[rows]
        grads["weight"] += 2 * x.T @ off / denominator
        grads["shift"] += 2 * off.sum(axis=0) / denominator
        return (off**2).sum() / denominator


class InBatchNegatives:
    """Two phases: each row must find its own key among the keys of the whole batch."""

    two_phase = True

    def __init__(self, params):
        self.params = params

    def count(self, rows):
        return len(rows)

    def embed(self, rows, rng):
        kept = 1.0 if rng is None else (rng.random((len(rows), D)) < 0.5) / 0.5
        x = X[rows] * kept
        return x, np.tanh(x @ self.params["weight"] + self.params["shift"])

    def first(self, rows, rng):
        return self.embed(rows, rng)[1]

    def between(self, parts):
        starts = np.cumsum([0, *map(len, parts)])
        return [(np.concatenate(parts), int(start)) for start in starts[:-1]]  # (B, D) each

    def loss_and_grads(self, rows, extra, rng, grads, denominator):
        x, keys = self.embed(rows, rng)
        every, start = extra
        rows = np.arange(start, start + len(rows))
        scores = Y @ every.T  # (B, D) @ (D, B) -> (B, B)
        scores -= scores.max(axis=1, keepdims=True)
        log_probabilities = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        dscores = (np.exp(log_probabilities) - np.eye(B)) / denominator
        down = dscores[:, rows].T @ Y * (1 - keys**2)  # of this shard's embeddings before tanh
        grads["weight"] += x.T @ down
        grads["shift"] += down.sum(axis=0)
        return -log_probabilities[rows, rows].sum() / denominator, grads


OBJECTIVES = pytest.mark.parametrize("kind", [Regression, InBatchNegatives])


@OBJECTIVES
@pytest.mark.parametrize("sizes", [(2, 3), (1, 1, 3), (4, 1)])
@pytest.mark.parametrize("dropout_seed", [None, 3])
def test_check_objective_accepts_objectives_independent_of_the_shards(kind, sizes, dropout_seed):
    params = make_params()
    before = params.vector.copy()
    results = check_objective(
        kind(params), params, np.arange(B), cut(*sizes), dropout_seed=dropout_seed
    )
    assert [result.name for result in results] == ["weight", "shift"]
    assert all(result.error < 1e-7 for result in results)
    assert (params.vector == before).all()


def message_of(kind, error=GradientError, params=None, parts=None):
    params = make_params() if params is None else params
    with pytest.raises(error) as caught:
        check_objective(kind(params), params, np.arange(B), cut(2, 3) if parts is None else parts)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_check_objective_rejects_a_mean_over_the_shard():
    class OwnMean(Regression):
        def loss_and_grads(self, rows, extra, rng, grads, denominator):
            return super().loss_and_grads(rows, extra, rng, grads, len(rows))

    message = message_of(OwnMean)
    assert message.startswith("OwnMean: loss: expected ")
    assert "for any number of shards" in message
    assert message.endswith("with 2; divide by the given denominator, not by the shard's own count")


def test_check_objective_rejects_negatives_of_the_shard_only():
    class OwnNegatives(InBatchNegatives):
        two_phase = False

        def loss_and_grads(self, rows, extra, rng, grads, denominator):
            _, keys = self.embed(rows, rng)
            scores = Y[rows] @ keys.T
            return -np.trace(scores) / denominator + np.log(np.exp(scores).sum(axis=1)).sum()

    assert message_of(OwnNegatives).startswith("OwnNegatives: loss: expected ")


def test_check_objective_rejects_a_gradient_that_depends_on_the_shards():
    class OwnGradient(Regression):
        def loss_and_grads(self, rows, extra, rng, grads, denominator):
            loss = super().loss_and_grads(rows, extra, rng, grads, denominator)
            if len(rows) < B:
                grads["shift"] += [0.0, 0.1, 0.0]
            return loss

    message = message_of(OwnGradient)
    assert message.startswith("OwnGradient: shift: expected the gradient ")
    assert "at [1] for any number of shards, got " in message


def test_check_objective_rejects_a_gradient_that_disagrees_with_the_loss():
    class Half(Regression):
        def loss_and_grads(self, rows, extra, rng, grads, denominator):
            own = grads.zeros_like()
            loss = super().loss_and_grads(rows, extra, rng, own, denominator)
            own["weight"] *= 0.5
            grads.vector += own.vector
            return loss

    assert message_of(Half).startswith("Half: weight at ")


def test_check_objective_rejects_an_overwritten_gradient():
    class Overwrites(Regression):
        def loss_and_grads(self, rows, extra, rng, grads, denominator):
            own = grads.zeros_like()
            loss = super().loss_and_grads(rows, extra, rng, own, denominator)
            grads.vector[:] = own.vector
            return loss

    assert message_of(Overwrites).startswith("Overwrites: weight: expected the backward to add to")


def test_check_objective_rejects_counts_that_do_not_add_up():
    class One(Regression):
        def count(self, rows):
            return 1

    assert message_of(One) == (
        "One: count: expected the counts of 2 shards to sum to that of the whole batch, 1.0, "
        "got 2.0"
    )


@pytest.mark.parametrize(
    ("extras", "got"), [(lambda parts: [None], "1"), (lambda parts: X, "ndarray")]
)
def test_check_objective_rejects_another_number_of_extras(extras, got):
    class Wrong(Regression):
        two_phase = True

        def first(self, rows, rng):
            return None

        def between(self, parts):
            return extras(parts) if len(parts) > 1 else [None]

    assert message_of(Wrong) == (
        f"Wrong: between: expected a list with an extra for each of 2 shards, got {got}"
    )


def test_check_objective_rejects_writing_to_a_shard():
    class Writes(Regression):
        def loss_and_grads(self, rows, extra, rng, grads, denominator):
            loss = super().loss_and_grads(rows, extra, rng, grads, denominator)
            rows[:] = np.roll(rows, 1)
            return loss

    assert message_of(Writes) == "Writes: whole: expected it unchanged, got other values"


@pytest.mark.parametrize("name", ["count", "loss_and_grads", "first", "between"])
def test_check_objective_names_a_missing_method(name):
    kind = type("Part", (InBatchNegatives,), {name: None})
    assert message_of(kind, ValueError) == f"Part: expected a method {name}, found none"


def test_check_objective_refuses_a_single_part_and_float32():
    assert message_of(Regression, ValueError, parts=cut(5)) == (
        "parts: expected two or more shards, got 1"
    )
    message = message_of(Regression, ValueError, params=make_params().astype(np.float32))
    assert message == "params: expected float64, got float32"


def test_a_shard_that_counts_nothing_is_allowed():
    params = make_params()
    parts = [np.arange(3), np.arange(0), np.arange(3, B)]
    assert check_objective(Regression(params), params, np.arange(B), parts)

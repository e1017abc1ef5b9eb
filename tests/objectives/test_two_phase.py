"""A two-phase objective with in-batch negatives does not depend on shards, threads or ranks."""

import threading
from itertools import pairwise

import numpy as np
import pytest

from minibert import BertConfig, BertForSequenceClassification
from minibert.objectives import Objective
from minibert.training import AdamW, Engine, Settings, train
from minibert.training.ranks import Ranks

D = 5  # width of an embedding
CONFIG = BertConfig(
    vocab_size=40,
    hidden_size=12,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=20,
    max_position_embeddings=7,
    id2label={i: str(i) for i in range(D)},
)
PLAIN = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
B, T = 6, 7


def model(dtype=np.float32, **changes):
    return BertForSequenceClassification(
        BertConfig(**{**vars(CONFIG), **changes}), seed=1, dtype=dtype
    )


def batch():
    """Return the ids (B, 2, T) of pairs of sequences, and their mask."""
    rng = np.random.default_rng(0)
    ids = rng.integers(5, 40, (B, 2, T))
    mask = (np.arange(T) < rng.integers(3, T + 1, (B, 2))[..., None]).astype(int)
    return ids, mask


class InBatchNegatives(Objective):
    """Each first sequence must be closer to its own second one than to those of the whole batch.

    The logits of the classifier, (D,), are the embedding of a sequence.
    """

    two_phase = True

    def __init__(self, model, sizes=(B,)):
        self.model, self.cuts = model, np.cumsum(sizes)[:-1]

    def shards(self, step):
        ids, mask = batch()
        return list(zip(np.split(ids, self.cuts), np.split(mask, self.cuts), strict=True))

    def count(self, shard):
        return len(shard[0])

    def tokens(self, shard):
        return int(shard[1].sum())

    def embed(self, shard, rng):
        ids, mask = (array.reshape(-1, T) for array in shard)  # (2b, T)
        checked = self.model.check(ids, attention_mask=mask)
        out, cache = self.model.forward(checked, self.model.rows_read(checked), rng)
        return out.reshape(-1, 2, D), cache

    def first(self, shard, rng):
        return self.embed(shard, rng)[0]

    def between(self, parts):
        everything = np.concatenate(parts)  # (B, 2, D)
        starts = np.cumsum([0, *map(len, parts)])
        return [(everything, slice(a, b)) for a, b in pairwise(starts)]

    def loss_and_grads(self, shard, extra, rng, grads, denominator):
        everything, own = extra
        out, cache = self.embed(shard, rng)
        assert (out == everything[own]).all()  # the same dropout masks as in `first`
        anchors, positives = everything[:, 0], everything[:, 1]
        scores = anchors @ positives.T  # (B, B)
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        dscores = (shares - np.eye(len(shares))) / denominator
        dout = np.stack([dscores[own] @ positives, dscores[:, own].T @ anchors], axis=1)
        self.model.backward(dout.reshape(-1, D).astype(out.dtype), cache, grads)
        return float(-np.log(np.diag(shares)[own]).sum() / denominator)


class Recorder:
    """An optimizer that keeps the gradient and changes nothing."""

    def __init__(self):
        self.step, self.gradient = 0, None

    def jobs(self, gradient, rate, scale):
        self.step += 1
        self.gradient = gradient.copy()
        return []

    def state(self):
        return {}

    def load(self, state):
        pass


def one_step(objective, threads=1, **options):
    recorder = Recorder()
    engine = Engine(objective.model, recorder, seed=3, threads=threads, objective=objective,
                    **options)  # fmt: skip
    result = engine.step(objective.shards(0), 1e-2)
    return result.loss, recorder.gradient


@pytest.mark.parametrize("sizes", [(3, 3), (1, 5), (4, 1, 1), (1,) * 6])
def test_engine_gives_the_same_loss_and_gradient_for_any_number_of_shards(sizes):
    loss, gradient = one_step(InBatchNegatives(model(np.float64, **PLAIN)))
    other_loss, other = one_step(InBatchNegatives(model(np.float64, **PLAIN), sizes))
    assert other_loss == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(other, gradient, rtol=1e-12, atol=1e-12 * np.abs(gradient).max())


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_engine_gives_the_same_bits_for_any_number_of_threads(threads):
    loss, gradient = one_step(InBatchNegatives(model(), (2, 1, 3)))
    other_loss, other = one_step(InBatchNegatives(model(), (2, 1, 3)), threads)
    assert other_loss == loss
    assert (other == gradient).all()


def test_engine_computes_the_gradient_of_the_whole_two_phase_loss():
    """Along a random direction, against centred differences."""
    objective = InBatchNegatives(model(np.float64, **PLAIN), (2, 4))
    params = objective.model.params
    rng = np.random.default_rng(5)
    params.vector[:] += rng.normal(0, 0.2, params.vector.size)
    _, gradient = one_step(objective)
    direction, before, h = rng.normal(size=params.vector.size), params.vector.copy(), 1e-5
    losses = []
    for sign in (1, -1):
        params.vector[:] = before + sign * h * direction
        losses.append(one_step(objective)[0])
    assert (losses[0] - losses[1]) / (2 * h) == pytest.approx(gradient @ direction, rel=1e-6)


class ThreadRanks(Ranks):
    """Ranks that are threads of one process; `room` is what they share."""

    def __init__(self, rank, room):
        self.rank, self.size, self.room = rank, len(room["found"]), room

    def exchange(self, value):
        self.room["found"][self.rank] = value
        self.room["barrier"].wait(60)
        found = list(self.room["found"])
        self.room["barrier"].wait(60)
        return found

    def gather(self, parts):
        return [part for own in self.exchange(parts) for part in own]

    def sum_up(self, vector, loss):
        found = self.exchange((vector.copy(), loss))
        vector[:] = sum(other for other, _ in found)
        return sum(loss for _, loss in found)


@pytest.mark.parametrize(("sizes", "size"), [((2, 4), 2), ((1, 2, 3), 2), ((3, 1, 2), 3)])
def test_ranks_gather_the_first_phase_in_shard_order(sizes, size):
    loss, gradient = one_step(InBatchNegatives(model(), sizes))
    room = {"found": [None] * size, "barrier": threading.Barrier(size)}
    results = {}

    def work(rank):
        objective = InBatchNegatives(model(), sizes)
        results[rank] = one_step(objective, ranks=ThreadRanks(rank, room))

    workers = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == size
    for other_loss, other in results.values():
        assert other_loss == pytest.approx(loss, rel=1e-6)
        np.testing.assert_allclose(other, gradient, rtol=1e-4, atol=1e-6)


def test_train_lowers_the_loss_of_a_two_phase_objective(tokenizer):
    objective = InBatchNegatives(model(**PLAIN, initializer_range=0.4), (3, 3))
    before, _ = one_step(objective)
    engine = Engine(objective.model, AdamW(objective.model.params), seed=3)
    train(engine, objective, Settings(steps=30, learning_rate=3e-3, shards=2), tokenizer)
    after, _ = one_step(objective)
    assert after < 0.2 * before


@pytest.mark.parametrize("wrong", [[], [None] * 3])
def test_engine_names_the_class_whose_between_returns_too_few_or_too_many_parts(wrong):
    class Broken(InBatchNegatives):
        def between(self, parts):
            return wrong

    with pytest.raises(ValueError, match=rf"Broken\.between: expected 2 parts.*got {len(wrong)}"):
        one_step(Broken(model(), (3, 3)))

"""The objective of sentence vectors: gradient, shards, threads, ranks, caches, and duplicates."""

import pickle
import threading
from dataclasses import replace

import numpy as np
import pytest

from minibert import BertConfig, BertModel
from minibert.data.embedding_examples import EmbeddingExamples
from minibert.data.sampling import batch_indices
from minibert.gradcheck import away_from_initial, check_objective
from minibert.models.sentence import SentenceEncoder
from minibert.objectives import SentenceVectors, embeddings
from minibert.objectives.embedding_losses import ranking_forward
from minibert.objectives.embeddings import Comparison, KeptCache, wrong_negatives
from minibert.training import EmbeddingTraining, Engine
from tests.objectives.test_two_phase import Recorder, ThreadRanks

SETTINGS = EmbeddingTraining(steps=4, batch_size=5, shards=3, temperature=0.2, margin=1.0)
ROWS = [
    ["the cat sat", "a cat sat on the mat", "a dog ran"],
    ["a big tree", "the tree was big and it was red", "it was red"],
    ["it ran", "a dog ran", "the mat"],
    ["the cat sat", "it sat", "then it was red"],  # the first text of the first row
    ["red and big", "big and red", "the mat was on the tree and under it"],
]
PAIRS = [row[:2] for row in ROWS]
KINDS = {
    "ranking": (EmbeddingExamples(PAIRS), {}),
    "ranking, hard negatives": (EmbeddingExamples(ROWS), {}),
    "ranking, labels": (EmbeddingExamples(PAIRS, labels=list("abbac")), {}),
    "cosine": (EmbeddingExamples(PAIRS, scores=[0.9, -0.2, 0.5, 1, 0]), {"loss": "cosine"}),
    "triplet": (EmbeddingExamples(ROWS), {"loss": "triplet"}),
    "triplet, cosine": (EmbeddingExamples(ROWS), {"loss": "triplet", "distance": "cosine"}),
    "contrastive": (
        EmbeddingExamples([row[1:2] for row in ROWS], labels=["x", "y", "x", "y", "z"]),
        {"loss": "contrastive"},
    ),
}
EACH = pytest.mark.parametrize("name", KINDS)


def encoder_of(tokenizer, dtype, dropout=0.0, **options):
    config = BertConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=12, num_hidden_layers=2,
        num_attention_heads=3, intermediate_size=20, max_position_embeddings=16,
        hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
    )  # fmt: skip
    params = away_from_initial(BertModel(config).params, 1).astype(dtype)
    return SentenceEncoder(BertModel(config, params=params), **options)


def objective_of(name, tokenizer, dtype=np.float32, dropout=0.0, encoder=None, **changes):
    examples, fields = KINDS[name]
    encoder = encoder or encoder_of(tokenizer, dtype, dropout)
    return SentenceVectors(encoder, tokenizer, examples, replace(SETTINGS, **fields, **changes))


def one_step(objective, threads=1, **options):
    """Return the loss and the gradient of step 0."""
    recorder = Recorder()
    engine = Engine(objective.encoder.model, recorder, seed=3, threads=threads, clip=1e9,
                    objective=objective, **options)  # fmt: skip
    result = engine.step(objective.shards(0), 1e-2)
    return result.loss, recorder.gradient


@EACH
def test_the_gradient_is_the_slope_of_the_whole_loss_along_a_direction(name, tokenizer):
    """With dropout, against centred differences; the slow tests check each parameter."""
    objective = objective_of(name, tokenizer, np.float64, dropout=0.2)
    params = objective.encoder.params
    _, gradient = one_step(objective)
    direction = np.random.default_rng(5).normal(size=params.vector.size)
    before, h, losses = params.vector.copy(), 1e-5, []
    for factor in (1, -1, 2, -2):
        params.vector[:] = before + factor * h * direction
        losses.append(one_step(objective)[0])
    slope = (8 * (losses[0] - losses[1]) - (losses[2] - losses[3])) / (12 * h)
    assert gradient @ direction == pytest.approx(slope, rel=1e-6)


@pytest.mark.slow
@EACH
def test_every_gradient_is_that_of_the_loss_for_any_number_of_shards(name, tokenizer):
    objective = objective_of(name, tokenizer, np.float64, dropout=0.2)
    parts = objective.shards(0)
    objective.settings = replace(objective.settings, shards=1)
    (whole,) = objective.shards(0)
    results = check_objective(
        objective, objective.encoder.params, whole, parts, dropout_seed=3, entries=2,
        zeros=("key.bias", "pooler.dense.weight", "pooler.dense.bias"),
    )  # fmt: skip
    assert all(result.passed for result in results)


@EACH
@pytest.mark.parametrize("shards", [2, 5])
def test_loss_and_gradient_do_not_depend_on_the_number_of_shards(name, shards, tokenizer):
    loss, gradient = one_step(objective_of(name, tokenizer, np.float64, shards=1))
    other_loss, other = one_step(objective_of(name, tokenizer, np.float64, shards=shards))
    assert other_loss == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(other, gradient, atol=1e-12 * np.abs(gradient).max())


@EACH
def test_neither_threads_nor_recomputation_change_a_bit(name, tokenizer):
    results = [
        one_step(objective_of(name, tokenizer, dropout=0.2, recompute=recompute), threads)
        for threads, recompute in ((1, False), (3, False), (1, True), (3, True))
    ]
    for loss, gradient in results[1:]:
        assert loss == results[0][0]
        assert (gradient == results[0][1]).all()
    assert np.linalg.norm(results[0][1]) > 0


@pytest.mark.parametrize("size", [2, 3])
def test_ranks_compute_the_loss_of_the_whole_batch(size, tokenizer):
    loss, gradient = one_step(objective_of("ranking", tokenizer, dropout=0.2))
    room = {"found": [None] * size, "barrier": threading.Barrier(size)}
    results = {}

    class Pickling(ThreadRanks):
        """Ranks that send their values as bytes, so that nothing but values arrives."""

        def exchange(self, value):
            return [pickle.loads(found) for found in super().exchange(pickle.dumps(value))]

    def work(rank):
        objective = objective_of("ranking", tokenizer, dropout=0.2)
        results[rank] = one_step(objective, ranks=Pickling(rank, room))

    workers = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == size
    for other_loss, other in results.values():
        assert other_loss == pytest.approx(loss, rel=1e-6)
        np.testing.assert_allclose(other, gradient, atol=1e-6 * np.abs(gradient).max())


def test_a_cache_is_handed_out_once_and_never_sent():
    kept = KeptCache("cache")
    assert pickle.loads(pickle.dumps(kept)).take() is None
    assert (kept.take(), kept.take()) == ("cache", None)


def test_caches_are_kept_unless_they_are_large(tokenizer, monkeypatch):
    objective = objective_of("ranking", tokenizer)
    shard = objective.shards(0)[0]
    part = objective.first(shard, None)
    assert part.cache.take() is not None
    monkeypatch.setattr(embeddings, "KEPT_BYTES", objective.cached_bytes(10))
    shard = objective.shards(0)[0]
    assert shard.recompute
    assert objective.first(shard, None).cache.take() is None


# What is compared.


def test_a_text_that_occurs_several_times_is_computed_once(tokenizer):
    objective = objective_of("ranking, hard negatives", tokenizer)
    shards = objective.shards(0)
    texts = {text for row in ROWS for text in row}
    assert sum(len(shard.batch["input_ids"]) for shard in shards) == len(texts) < 15
    places = np.concatenate([shard.places for shard in shards])
    assert sorted(places.tolist()) == list(range(len(texts)))
    assert sum(objective.count(shard) for shard in shards) == 5
    ids = tokenizer.encode_batch(sorted(texts))["input_ids"]
    assert sum(objective.tokens(shard) for shard in shards) == (ids > 0).sum()


def test_the_loss_is_that_of_the_rows_of_the_step(tokenizer):
    objective = objective_of("ranking", tokenizer, np.float64, batch_size=3, shards=2)
    encoder = objective.encoder
    seen = []
    for step in range(2):
        indices = batch_indices(step, 5, 3, objective.settings.seed).tolist()
        seen += indices
        a, p = (
            encoder.forward(tokenizer.encode_batch([PAIRS[i][side] for i in indices]))[0]
            for side in (0, 1)
        )
        excluded = np.array([[PAIRS[i][0] == PAIRS[j][0] for j in indices] for i in indices])
        expected, _ = ranking_forward(a, p, 0.2, excluded)
        parts = [objective.first(shard, None) for shard in objective.shards(step)]
        loss = sum(extra[0] for extra in objective.between(parts)) / len(indices)
        assert loss == pytest.approx(expected, rel=1e-10)
    assert sorted(seen) == list(range(5))


def test_equal_texts_and_rows_with_equal_labels_are_no_negatives():
    #                 anchor, answer, hard negative
    texts = np.array([[0, 1, 2], [0, 3, 4], [5, 1, 0], [6, 7, 3]])
    excluded = wrong_negatives(Comparison(texts, None, None))
    candidates = [1, 3, 1, 7, 2, 4, 0, 3]  # the answers, then the hard negatives
    right = {0: {1, 3, 0}, 1: {1, 3, 0}, 2: {1, 5}, 3: {7, 6}}  # of each row; its own text too
    for i, row in enumerate(excluded):
        assert {c for c, out in zip(candidates, row, strict=True) if out} <= right[i]
        assert [c in right[i] for c in candidates] == row.tolist()
    labels = np.array([4, 4, 5, 5])
    labelled = wrong_negatives(Comparison(texts[:, :2], None, labels))
    assert labelled[2].tolist() == [True, False, True, True]
    assert labelled[0].tolist() == [True, True, True, False]  # 1 is the answer of row 0


def test_a_text_in_two_rows_gets_the_sum_of_its_gradients(tokenizer):
    objective = objective_of("cosine", tokenizer, np.float64)
    vectors = np.random.default_rng(0).standard_normal((3, 12))
    scores = np.array([0.5, -0.5])
    both = Comparison(np.array([[0, 1], [0, 2]]), scores, None)
    loss, dvectors = objective.compare(vectors, both)
    own = [objective.compare(vectors, Comparison(both.texts[i : i + 1], scores[i : i + 1], None))
           for i in range(2)]  # fmt: skip
    assert loss == pytest.approx(sum(each for each, _ in own), rel=1e-12)
    np.testing.assert_allclose(dvectors, own[0][1] + own[1][1], rtol=1e-12)


def test_contrastive_counts_the_texts_with_a_positive(tokenizer):
    objective = objective_of("contrastive", tokenizer)
    assert [objective.count(shard) for shard in objective.shards(0)] == [4, 0, 0]


def test_a_batch_that_compares_nothing_has_no_loss_and_no_gradient(tokenizer):
    for name in ("ranking", "contrastive"):
        loss, gradient = one_step(objective_of(name, tokenizer, batch_size=1, shards=1))
        assert loss == 0
        assert not gradient.any()


def test_texts_of_equal_labels_share_a_batch(tokenizer):
    texts = ["the cat", "a cat", "the dog", "a dog", "the tree", "a tree", "the mat", "a mat"]
    labels = np.array(["c", "c", "d", "d", "t", "t", "m", "m"])
    objective = SentenceVectors(
        encoder_of(tokenizer, np.float32), tokenizer,
        EmbeddingExamples([[text] for text in texts], labels=labels),
        replace(SETTINGS, loss="contrastive", batch_size=4),
    )  # fmt: skip
    assert [sum(map(objective.count, objective.shards(step))) for step in range(4)] == [4] * 4


def test_prompt_and_max_length_decide_the_tokens(tokenizer):
    examples, settings = EmbeddingExamples(PAIRS), replace(SETTINGS, batch_size=5)
    objective = SentenceVectors(
        encoder_of(tokenizer, np.float32), tokenizer, examples, settings, prompt="the dog ",
        max_length=5,
    )  # fmt: skip
    ids = np.concatenate([np.unique(each.batch["input_ids"][:, 1:3], axis=0)
                          for each in objective.shards(0)])  # fmt: skip
    prompt = tokenizer.encode("the dog").input_ids[1:3]
    assert (ids == prompt).all()
    assert max(objective.sequences.lengths) == 5


def test_vectors_of_zeros_are_refused(tokenizer):
    encoder = encoder_of(tokenizer, np.float32)
    encoder.params.vector[:] = 0
    objective = objective_of("ranking", tokenizer, encoder=encoder)
    parts = [objective.first(shard, None) for shard in objective.shards(0)]
    with pytest.raises(ValueError, match="vectors: expected a direction for each text, got zeros"):
        objective.between(parts)


@pytest.mark.parametrize(
    ("name", "loss", "message"),
    [
        ("ranking", "cosine", "expected pairs with scores for cosine, got rows of 2"),
        ("ranking", "triplet", "expected rows of 3 texts for triplet, got rows of 2"),
        ("ranking", "contrastive", "expected single texts with labels for contrastive, got rows"),
        ("cosine", "ranking", "expected rows of 2 texts or more, without scores for ranking, got"),
        ("contrastive", "ranking", "expected rows of 2 texts or more, without scores for ranking"),
        ("ranking", "sum", "expected one of ranking, cosine, triplet, contrastive, got 'sum'"),
    ],
)
def test_a_loss_that_does_not_fit_the_examples_is_refused(name, loss, message):
    with pytest.raises(ValueError, match=f"loss: {message}"):
        embeddings.require_fit(loss, KINDS[name][0], 5)


@pytest.mark.parametrize("name", ["ranking", "contrastive"])
def test_batches_of_one_row_have_nothing_to_compare(name):
    with pytest.raises(ValueError, match=f"batch_size: expected at least 2, because {name} .*t 1"):
        embeddings.require_fit(name, KINDS[name][0], 1)
    embeddings.require_fit("ranking", KINDS["ranking, hard negatives"][0], 1)


def test_evaluate_is_that_of_the_caller(tokenizer):
    examples, _ = KINDS["ranking"]
    encoder = encoder_of(tokenizer, np.float32)
    found = SentenceVectors(encoder, tokenizer, examples, SETTINGS,
                            evaluate=lambda step: (f"step {step}", {"a": 1.0}))  # fmt: skip
    assert found.evaluate(3) == ("step 3", {"a": 1.0})
    assert objective_of("ranking", tokenizer).evaluate(3) is None

"""Replaced-token detection: samples, labels, loss, gradient, shards, threads and ranks."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert import ElectraConfig
from minibert.data.corpus import pack
from minibert.functional import IGNORED
from minibert.gradcheck import away_from_initial, check_objective
from minibert.models.replaced_tokens import TABLES, GeneratorAndDiscriminator
from minibert.objectives import MaskedLM, ReplacedTokens
from minibert.objectives.replaced_tokens import replace_tokens, sample_categories
from minibert.objectives.shards import split_batch
from minibert.training import AdamW, Engine, Settings, train
from tests.laws.runs import recorded_generators
from tests.objectives.language import SENTENCES
from tests.objectives.test_two_phase import ThreadRanks

SETTINGS = Settings(steps=4, batch_size=6, shards=1, learning_rate=1e-2, seed=1)
T = 10


def models(tokenizer, dtype=np.float32, **changes):
    """Return two models of one layer that differ from their initial values in every parameter."""
    config = ElectraConfig(
        vocab_size=len(tokenizer), hidden_size=12, num_hidden_layers=1, num_attention_heads=3,
        intermediate_size=20, max_position_embeddings=T, embedding_size=10, **changes,
    )  # fmt: skip
    small = replace(config, hidden_size=6, num_attention_heads=2, intermediate_size=8)
    made = GeneratorAndDiscriminator(config, small, dtype=dtype)
    return GeneratorAndDiscriminator(config, small, params=away_from_initial(made.params, 1))


def texts(tokenizer, count=30):
    rng = np.random.default_rng(0)
    documents = [[str(text) for text in rng.choice(SENTENCES, 2)] for _ in range(count)]
    return pack(documents, tokenizer, T)


def objective_of(tokenizer, dtype=np.float32, settings=SETTINGS, held=False, **changes):
    rows = texts(tokenizer)
    return ReplacedTokens(models(tokenizer, dtype, **changes), tokenizer, rows[6:],
                          rows[:6] if held else None, settings)  # fmt: skip


def padded(objective):
    """Return the batch of a step, of which most sequences have padding."""
    ((batch, labels),) = objective.shards(0)
    lengths = np.array([T, 5, 8, T, 9, 6])[:, None]
    batch = {name: array.copy() for name, array in batch.items()}
    batch["attention_mask"][np.arange(T) >= lengths] = 0
    masked = np.where(batch["attention_mask"], labels["labels"], IGNORED)
    assert (masked != IGNORED).sum() > 4
    return batch, {**labels, "labels": masked}


def loss_of(objective, shards, grads=None, dropout_seed=None):
    """Return the loss of a step as the engine adds it, by default without dropout."""
    grads = objective.model.params.zeros_like() if grads is None else grads
    total = sum(map(objective.count, shards))
    return sum(
        objective.loss_and_grads(
            shard, None, dropout_seed and np.random.default_rng([dropout_seed, i]), grads, total
        )
        for i, shard in enumerate(shards)
    )


# Samples.


@given(st.integers(1, 400), st.integers(0, 2**32 - 1))
def test_samples_are_the_inverse_of_the_distribution_function(size, seed):
    rng = np.random.default_rng(seed)
    weights = rng.random((5, size)) * (rng.random((5, size)) < 0.5)
    weights[:, rng.integers(size)] += 0.1
    draws = rng.random(5)
    totals = np.cumsum(weights, axis=1)
    expected = [np.searchsorted(own, u * own[-1], side="right")
                for own, u in zip(totals, draws, strict=True)]  # fmt: skip
    assert sample_categories(weights, draws).tolist() == expected
    last = sample_categories(weights, np.full(5, 1 - 2.0**-53))
    assert (weights[np.arange(5), last] > 0).all()  # rounding finds no impossible category


def test_samples_have_the_probabilities_of_the_softmax():
    logits = np.random.default_rng(0).normal(size=300)
    logits[7] = 4.0
    draws = np.random.default_rng(1).random(20_000)
    weights = np.broadcast_to(np.exp(logits), (400, 300))
    found = np.concatenate([sample_categories(weights, own) for own in draws.reshape(50, 400)])
    shares = np.bincount(found, minlength=300) / len(found)
    expected = np.exp(logits) / np.exp(logits).sum()
    errors = np.sqrt(expected * (1 - expected) / len(found))
    assert (np.abs(shares - expected) < 5 * errors + 1e-4).all()
    assert shares[7] > 0.05


def test_a_sample_that_is_the_token_itself_counts_as_original():
    ids = np.array([[2, 4, 9, 4, 3, 4, 3]])  # 4 is [MASK]; the last one is a token of the text
    labels = np.array([[-100, 7, -100, 8, -100, -100, -100]])
    weights = np.zeros((3, 10))
    weights[[0, 1, 2], [7, 5, 6]] = 1.0
    replaced, is_replaced = replace_tokens(
        ids, labels, np.array([[1, 3, 5]]), weights, np.full((1, 7), 0.5)
    )
    assert replaced.tolist() == [[2, 7, 9, 5, 3, 4, 3]]
    assert is_replaced.tolist() == [[0, 0, 0, 1, 0, 0, 0]]


# Batches.


def test_a_step_masks_the_places_of_a_masked_lm_by_mask_alone(tokenizer):
    objective = objective_of(tokenizer)
    ((batch, labels),) = objective.shards(3)
    ((_, expected),) = MaskedLM(objective.model, tokenizer, objective.rows, None, SETTINGS).shards(
        3
    )
    assert (labels["labels"] == expected).all()
    assert ((batch["input_ids"] == tokenizer.mask_token_id) == (expected != IGNORED)).all()


def test_each_step_and_seed_draws_other_numbers_and_nothing_else_is_random(tokenizer):
    draws = {
        objective.shards(step)[0][1]["draws"].tobytes()
        for seed in (0, 1)
        for objective in [objective_of(tokenizer, settings=replace(SETTINGS, seed=seed))]
        for step in (0, 1)
    }
    assert len(draws) == 4
    objective = objective_of(tokenizer, held=True)
    with recorded_generators() as seeds:
        objective.shards(2)
        engine = Engine(objective.model, AdamW(objective.model.params), seed=1, threads=1,
                        objective=objective)  # fmt: skip
        engine.step(objective.shards(0), 1e-3)
        objective.metrics()
    assert {each for each in seeds if each[1] != "order"} == {
        *((1, purpose, step) for purpose in ("masking", "replacing") for step in (0, 2)),
        (1, "dropout", 0, 0),
    }


# Loss and gradient.


RATES = {"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.1}


@pytest.mark.parametrize("front", ["generator.", "shared.", "discriminator."])
def test_the_gradient_of_each_part_is_that_of_the_joint_loss(tokenizer, front):
    """In a random direction, with dropout; the samples stay the same for such small steps."""
    objective = objective_of(tokenizer, np.float64, **RATES)
    shards = split_batch(*padded(objective), 2, trim=True)
    params, grads = objective.model.params, objective.model.params.zeros_like()
    loss_of(objective, shards, grads, dropout_seed=3)
    direction, before, h = np.zeros_like(params.vector), params.vector.copy(), 1e-5
    for name in params:
        if name.startswith(front):
            part = params.slices[name]
            direction[part] = np.random.default_rng(5).normal(size=part.stop - part.start)
    losses = []
    for sign in (1, -1):
        params.vector[:] = before + sign * h * direction
        losses.append(loss_of(objective, shards, dropout_seed=3))
    assert (losses[0] - losses[1]) / (2 * h) == pytest.approx(grads.vector @ direction, rel=1e-6)


@pytest.mark.slow
def test_gradients_of_all_parameters_are_those_of_the_joint_loss_for_any_shards(tokenizer):
    objective = objective_of(tokenizer, np.float64, **RATES)
    batch, labels = padded(objective)
    results = check_objective(
        objective, objective.model.params, (batch, labels),
        split_batch(batch, labels, 3, trim=True), dropout_seed=3, entries=2, zeros=("key.bias",),
    )  # fmt: skip
    assert all(result.passed for result in results)
    assert len(results) == len(objective.model.params)


def logistic(score, label):
    return np.log1p(np.exp(-score if label else score))


def test_the_loss_is_the_generators_plus_fifty_times_the_discriminators(tokenizer):
    """Computed token by token from the outputs of both models, over real tokens alone."""
    objective = objective_of(tokenizer, np.float64)
    batch, labels = padded(objective)
    loss = loss_of(objective, [(batch, labels)])
    masked, ids = labels["labels"], batch["input_ids"].copy()
    words = []
    logits = objective.model.generator(**batch).logits
    for place in zip(*np.nonzero(masked != IGNORED), strict=True):
        shares = np.exp(logits[place]) / np.exp(logits[place]).sum()
        words.append(-np.log(shares[masked[place]]))
        ids[place] = np.flatnonzero(shares.cumsum() > labels["draws"][place])[0]
    scores = objective.model.discriminator(**{**batch, "input_ids": ids}).logits
    original = np.where(masked == IGNORED, batch["input_ids"], masked)
    found = [
        logistic(scores[place], ids[place] != original[place])
        for place in zip(*np.nonzero(batch["attention_mask"]), strict=True)
    ]
    assert (ids != original).sum() > 3
    assert len(found) == batch["attention_mask"].sum() < ids.size
    assert loss == pytest.approx(np.mean(words) + 50 * np.mean(found), rel=1e-10)
    assert objective.count((batch, labels)).tolist() == [len(words), len(found)]


def test_padding_changes_neither_loss_nor_gradient(tokenizer):
    objective = objective_of(tokenizer, np.float64)
    batch, labels = padded(objective)
    losses, vectors = [], []
    for filling in (0, 7):
        ids = np.where(batch["attention_mask"], batch["input_ids"], filling)
        grads = objective.model.params.zeros_like()
        losses.append(loss_of(objective, [({**batch, "input_ids": ids}, labels)], grads))
        vectors.append(grads.vector)
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    np.testing.assert_allclose(*vectors, rtol=1e-9, atol=1e-11)


def test_the_generator_learns_from_its_own_loss_alone(tokenizer):
    """There is no gradient through a sample: only the tables learn from both."""
    objective = objective_of(tokenizer, np.float64)
    batch, labels = padded(objective)
    grads = objective.model.params.zeros_like()
    loss_of(objective, [(batch, labels)], grads)
    _, alone = objective.model.generator.loss_and_grads(batch, labels["labels"])
    own, _ = objective.model.gradients_of(grads)
    for name, gradient in alone.items():
        is_equal = np.allclose(own[name], gradient, rtol=1e-10, atol=1e-13)
        assert is_equal == (name not in TABLES), name


# Shards, threads and ranks.


def trained(tokenizer, threads, shards=3, steps=2, **options):
    objective = objective_of(tokenizer, settings=replace(SETTINGS, shards=shards),
                             hidden_dropout_prob=0.2)  # fmt: skip
    engine = Engine(objective.model, AdamW(objective.model.params), threads=threads,
                    objective=objective, **options)  # fmt: skip
    losses = [engine.step(objective.shards(step), 1e-2).loss for step in range(steps)]
    return losses, objective.model.params.vector.copy()


def test_engine_gives_the_same_bits_for_any_number_of_threads(tokenizer):
    losses, vector = trained(tokenizer, 1)
    for threads in (2, 3):
        others, other = trained(tokenizer, threads)
        assert others == losses
        assert (other == vector).all()


def test_neither_samples_nor_loss_depend_on_the_number_of_shards(tokenizer):
    objective = objective_of(tokenizer, np.float64)
    expected, grads = None, {}
    for shards in (1, 2, 4):
        objective.settings = replace(SETTINGS, shards=shards)
        grads[shards] = objective.model.params.zeros_like()
        loss = loss_of(objective, objective.shards(0), grads[shards])
        expected = loss if expected is None else expected
        assert loss == pytest.approx(expected, rel=1e-12)
        np.testing.assert_allclose(grads[shards].vector, grads[1].vector, rtol=1e-8, atol=1e-10)


def test_ranks_train_as_one_process_does(tokenizer):
    losses, vector = trained(tokenizer, 1)
    room = {"found": [None] * 2, "barrier": threading.Barrier(2)}
    results = {}

    def work(rank):
        results[rank] = trained(tokenizer, 1, ranks=ThreadRanks(rank, room))

    workers = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for others, other in (results[0], results[1]):
        assert others == pytest.approx(losses, rel=1e-5)
        np.testing.assert_allclose(other, vector, rtol=1e-3, atol=1e-5)


# Evaluation.


def test_metrics_are_those_of_both_models_on_the_same_samples_each_time(tokenizer):
    """The discriminator has every logit below 0, then every one above it."""
    objective = objective_of(tokenizer, np.float64, held=True)
    first = objective.metrics()
    assert objective.metrics() == first
    ids, labels = objective.held_out_ids, objective.held_out_labels
    masked = (labels != IGNORED).sum() / (ids != tokenizer.pad_token_id).sum()
    assert 0.5 * masked < first.replaced <= masked
    bias = objective.model.discriminator.params["discriminator_predictions.dense_prediction.bias"]
    bias[:] = -99
    never = objective.metrics()
    assert (never.found, never.replaced) == (0, first.replaced)
    assert never.detection_accuracy == pytest.approx(1 - first.replaced)
    bias[:] = 99
    always = objective.metrics()
    assert always.found == 1
    assert always.detection_accuracy == pytest.approx(first.replaced)
    assert (always.loss, always.accuracy) == (first.loss, first.accuracy)


def test_evaluation_writes_both_losses_and_their_sum(tokenizer):
    objective = objective_of(tokenizer, held=True)
    line, figures = objective.evaluate(1)
    metrics = objective.latest
    assert figures["held_out_loss"] == metrics.loss + 50 * metrics.detection_loss
    assert figures["held_out_generator_loss"] == metrics.loss
    assert figures["held_out_discriminator_loss"] == metrics.detection_loss
    assert f"generator loss {metrics.loss:.3f}, accuracy {metrics.accuracy:.1%}; " in line
    assert f"{metrics.found:.1%} found of {metrics.replaced:.1%} replaced" in line
    assert objective_of(tokenizer).evaluate(1) is None


def test_training_lowers_both_losses(tokenizer):
    objective = objective_of(tokenizer, settings=replace(SETTINGS, steps=40, shards=2), held=True)
    before = objective.metrics()
    engine = Engine(objective.model, AdamW(objective.model.params), threads=1, objective=objective)
    train(engine, objective, objective.settings, tokenizer)
    after = objective.result()
    assert after.loss < 0.8 * before.loss
    assert after.detection_loss < 0.8 * before.detection_loss

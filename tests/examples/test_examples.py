"""Each example extends minibert without editing it, in at most 60 lines, and holds its laws."""

import copy
from pathlib import Path

import numpy as np
import pytest

import examples
from examples.causal import causal
from examples.gated import gated
from examples.in_batch_negatives import InBatchNegatives
from examples.lion import Lion
from examples.pre_norm import pre_norm
from examples.relative_bias import TABLE, relative
from examples.replaced_tokens import BertForReplacedTokens
from examples.rotary import no_positions, rotary
from examples.shared_layers import factorised, shared
from minibert import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel
from minibert.gradcheck import away_from_initial, check_model, check_objective
from minibert.parameters import Parameters
from minibert.testing import (
    assert_batch_invariant,
    assert_deterministic,
    assert_padding_invariant,
)
from minibert.training import AdamW, Engine, split_batch

FOLDER = Path(examples.__file__).parent
CONFIG = BertConfig(
    vocab_size=23,
    hidden_size=12,
    num_hidden_layers=3,
    num_attention_heads=2,
    intermediate_size=20,
    max_position_embeddings=9,
    hidden_dropout_prob=0.2,
    attention_probs_dropout_prob=0.1,
)
PARTS = {
    "pre_norm": {"block": pre_norm},
    "rotary": {"positions": rotary, "embeddings": no_positions},
    "gated": {"block": gated},
    "shared_layers": {"encoder": shared, "embeddings": factorised},
    "relative_bias": {"positions": relative},
    "causal": {"positions": causal},
}
RNG = np.random.default_rng(0)
MASK = np.array([[1] * 7, [1, 1, 1, 1, 0, 0, 0], [1] * 6 + [0]])
IDS = RNG.integers(1, 12, MASK.shape) * MASK
LABELS = np.where((RNG.random(MASK.shape) < 0.4) & (MASK == 1), IDS, -100)
LABELS[:, 1] = IDS[:, 1]
BATCH = {"input_ids": IDS, "attention_mask": MASK}

GRADCHECK = ("pre_norm", "relative_bias")  # in the default run, the others in the slow tests
each_composition = pytest.mark.parametrize("name", PARTS)


def model_of(name, kind=BertForMaskedLM, dtype=np.float64, config=CONFIG):
    """Return a model of an example's parts, away from initial values."""
    parts = PARTS.get(name, {})
    model = kind(config, dtype=np.float64, **parts)
    params = away_from_initial(Parameters(model.specs()))
    return kind(config, params=params.astype(dtype), **parts)


def test_each_example_has_at_most_60_lines_and_a_test():
    files = [path for path in FOLDER.glob("*.py") if path.name != "__init__.py"]
    assert {path.stem for path in files} == {
        *PARTS, "replaced_tokens", "in_batch_negatives", "lion"
    }  # fmt: skip
    for path in files:
        assert len(path.read_text("utf-8").splitlines()) <= 60, path


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in GRADCHECK else [pytest.mark.slow]) for n in PARTS],
)
@pytest.mark.parametrize("dropout_seed", [pytest.param(None, marks=pytest.mark.slow), 5])
def test_composition_passes_gradcheck(name, dropout_seed):
    zeros = ["key.bias"]  # it adds the same to all scores of a query
    if name == "rotary":
        zeros = []  # turned by other angles than the queries, it no longer does
    check_model(model_of(name), BATCH, LABELS, dropout_seed=dropout_seed, zeros=zeros, entries=2)


@each_composition
def test_composition_has_the_same_loss_in_training_and_prediction(name):
    model = model_of(name)
    loss, _ = model.loss_and_grads(BATCH, LABELS)
    assert model(**BATCH, labels=LABELS).loss == pytest.approx(loss, rel=1e-12)
    model32 = model.astype(np.float32)
    loss, _ = model32.loss_and_grads(BATCH, LABELS)
    assert model32(**BATCH, labels=LABELS).loss == pytest.approx(loss, rel=1e-6)


@each_composition
def test_composition_is_independent_of_padding_neighbours_and_earlier_calls(name):
    model = model_of(name)
    assert_padding_invariant(model, BATCH)
    assert_padding_invariant(model, BATCH, more=0, tolerance=0)
    assert_batch_invariant(model, BATCH)

    def trained(rng, **batch):
        loss, grads = model.loss_and_grads(batch, LABELS, rng)
        return {"loss": loss, **grads}

    assert_deterministic(trained, {**BATCH, "rng": np.random.default_rng(0)})


@each_composition
def test_composition_keeps_its_parts_when_frozen_recomputed_and_copied(name):
    model = model_of(name)
    expected, grads = model.loss_and_grads(BATCH, LABELS)
    model.gradient_checkpointing_enable()
    again = copy.deepcopy(model).astype(np.float64)
    loss, recomputed = again.loss_and_grads(BATCH, LABELS)
    assert loss == expected
    assert (recomputed.vector == grads.vector).all()
    model.freeze(1)
    model.freeze(None)
    assert model.loss_and_grads(BATCH, LABELS)[0] == expected


@each_composition
def test_composition_is_saved_by_its_parts_names_and_loaded_with_its_parts(name, tmp_path):
    model = model_of(name)
    model.save_pretrained(tmp_path)
    back = BertForMaskedLM.from_pretrained(tmp_path, dtype=np.float64, **PARTS[name])
    assert (back.params.vector == model.params.vector).all()
    assert back(**BATCH, labels=LABELS).loss == model(**BATCH, labels=LABELS).loss
    with pytest.raises(ValueError, match=r"config.json: parts: expected from_pretrained\(folder, "):
        BertForMaskedLM.from_pretrained(tmp_path)
    assert '"model_type": "minibert"' in (tmp_path / "config.json").read_text()
    # Another head on the same body.
    other = BertForSequenceClassification.from_pretrained(tmp_path, **PARTS[name])
    assert other(**BATCH).logits.shape == (3, 2)


@pytest.mark.slow
@each_composition
def test_composition_learns(name):
    model = model_of(name, dtype=np.float32)
    engine = Engine(model, AdamW(model.params), threads=1)
    losses = [engine.step([(BATCH, LABELS)], 0.01).loss for _ in range(60)]
    assert np.mean(losses[-5:]) < 0.75 * losses[0]


def test_rotary_scores_depend_on_distances_alone():
    positions = rotary(CONFIG)
    query, key = RNG.normal(size=(2, 1, 1, 3, 6))

    def scores(shift):
        keys = np.arange(3) + shift
        tables = positions.prepare(None, np.arange(20), np.dtype(float))
        return positions.turn(query, keys, tables) @ positions.turn(key, keys, tables).swapaxes(
            2, 3
        )

    np.testing.assert_allclose(scores(0), scores(11), rtol=1e-10)


def test_causal_attention_hides_later_tokens():
    model = model_of("causal")
    out = model(**BATCH, output_attentions=True)
    assert all((np.triu(weights, 1) == 0).all() for weights in out.attentions)
    changed = {**BATCH, "input_ids": np.where(np.arange(7) == 5, 20, IDS)}
    later = model(**changed).logits
    assert (later[:, :5] == out.logits[:, :5]).all()
    assert (later[0, 5] != out.logits[0, 5]).any()


def test_relative_bias_gets_the_gradients_of_all_layers_or_is_frozen_with_the_lowest():
    model, name = model_of("relative_bias"), f"bert.encoder.{TABLE}"
    _, grads = model.loss_and_grads(BATCH, LABELS)
    assert grads[name].any()
    assert model.depths()[name] == 1
    model.freeze(0)
    assert (model.loss_and_grads(BATCH, LABELS)[1][name] == grads[name]).all()
    model.freeze(1)
    assert not model.loss_and_grads(BATCH, LABELS)[1][name].any()


def test_shared_layers_have_the_parameters_of_one():
    names = list(model_of("shared_layers").params)
    assert sum("layer.0." in name for name in names) == 16
    assert not any("layer.1." in name for name in names)


def test_new_head_passes_gradcheck_and_is_saved_and_trained(tmp_path):
    labels = np.where(MASK == 1, IDS % 2, -100)
    model = model_of("head", BertForReplacedTokens)
    check_model(model, BATCH, labels, dropout_seed=3, zeros=["key.bias"], entries=2)
    loss, _ = model.loss_and_grads(BATCH, labels)
    assert model(**BATCH, labels=labels).loss == pytest.approx(loss, rel=1e-12)
    model.save_pretrained(tmp_path)
    back = BertForReplacedTokens.from_pretrained(tmp_path, dtype=np.float64, strict=True)
    assert (back.params.vector == model.params.vector).all()
    model = model.astype(np.float32)
    engine = Engine(model, AdamW(model.params), threads=1)
    losses = [engine.step(split_batch(BATCH, labels, 2), 0.01).loss for _ in range(60)]
    assert np.mean(losses[-5:]) < 0.75 * losses[0]


def pairs(*indices):
    """Return a shard of questions and answers."""
    index = np.array(indices)
    answers = {**BATCH, "input_ids": np.roll(IDS, 1, axis=0)}
    return tuple({n: a[index] for n, a in batch.items()} for batch in (BATCH, answers))


@pytest.mark.slow
def test_in_batch_negatives_do_not_depend_on_the_shards():
    config = BertConfig.from_dict({**CONFIG.to_dict(), "hidden_dropout_prob": 0.0,
                                   "attention_probs_dropout_prob": 0.0})  # fmt: skip
    model = model_of("objective", BertModel, config=config)
    objective = InBatchNegatives(model, lambda step: [pairs(0, 1), pairs(2)])
    # A key bias adds the same to all scores of a query, so its gradient is 0.
    how = {"zeros": ["key.bias"], "entries": 2}
    check_objective(objective, model.params, pairs(0, 1, 2), [pairs(0, 1), pairs(2)], **how)


def test_in_batch_negatives_train_with_the_same_bits_for_any_number_of_threads():
    vectors = []
    for threads in (1, 3):
        model = model_of("objective", BertModel, np.float32)
        objective = InBatchNegatives(model, lambda step: [pairs(0, 1), pairs(2)])
        engine = Engine(model, AdamW(model.params), threads=threads, objective=objective)
        losses = [engine.step(objective.shards(step), 0.003).loss for step in range(20)]
        assert np.mean(losses[-5:]) < 0.75 * losses[0]
        vectors.append(model.params.vector)
    assert (vectors[0] == vectors[1]).all()


def test_lion_is_its_formula_and_its_state_is_restored():
    model = model_of("optimizer", dtype=np.float32)
    optimizer = Lion(model.params, weight_decay=0.1)
    before, gradient = model.params.astype(float), RNG.normal(size=model.params.vector.shape)
    for job in optimizer.jobs(gradient.astype(np.float32), 0.01, 0.5):
        job()
    for name, spec in model.params.specs.items():
        p, g = before[name], gradient[model.params.slices[name]].reshape(spec.shape)
        expected = p - 0.01 * (np.sign(g) + (0.1 * p if spec.decay else 0))
        np.testing.assert_allclose(model.params[name], expected, atol=1e-6)
    other = Lion(model.params)
    other.load(optimizer.state())
    assert (other.moment == optimizer.moment).all()
    with pytest.raises(ValueError, match=r"moment: expected .* for Lion, got no array"):
        other.load({"first": optimizer.moment})


def test_lion_trains():
    model = model_of("optimizer", dtype=np.float32)
    engine = Engine(model, Lion(model.params), threads=1)
    losses = [engine.step([(BATCH, LABELS)], 0.003).loss for _ in range(30)]
    assert np.mean(losses[-5:]) < 0.75 * losses[0]

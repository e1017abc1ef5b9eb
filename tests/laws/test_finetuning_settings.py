"""Every field of FineTuning, Recipe and ModelSource decides what it names."""

import dataclasses
import functools
import inspect
from types import SimpleNamespace

import numpy as np
import pytest

from minibert import BertConfig, BertForSequenceClassification, WordPieceTokenizer
from minibert.models.config import PRESETS
from minibert.objectives.supervised import Supervised
from minibert.tasks import Examples, SingleLabelTask, TaggingTask
from minibert.training import FineTuning, Settings, fine_tune
from minibert.training.defaults import Recipe, finetuning_recipe, fresh_config
from minibert.training.finetuning import FineTuningRun, ModelSource
from minibert.training.history import read_history
from tests.laws.runs import changed, plain_run, recorded_generators

TEXTS = ["the cat sat", "a dog ran under it", "red", "the big tree", "it was a cat", "mat and tree"]
EXAMPLES = Examples(TEXTS, None, ["cat", "dog", "cat", "cat", "cat", "dog"])
TASK = SingleLabelTask(["cat", "dog"])
BASE = FineTuning(steps=4, batch_size=3, learning_rate=1e-2, warmup=0.5, weight_decay=0.5, clip=0.3,
                  seed=3, shards=2, evaluate_every=1, save_every=9, keep=2)  # fmt: skip
# The fields that `Settings` lacks: changed values, and what decides the run instead.
CHANGES = {
    "layer_decay": [0.5],
    "freeze": [0, 1],
    "class_weight": [(1.0, 5.0), "balanced"],
    "patience": [1, 2],
    "split_pieces": [0.5],
}
INHERITED = {field.name for field in dataclasses.fields(Settings)}


def made(tokenizer, dtype=np.float64, **changes):
    fields = {
        "vocab_size": len(tokenizer), "hidden_size": 4, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 6, "max_position_embeddings": 9,
        "initializer_range": 0.3, **TASK.config(), **changes,
    }  # fmt: skip
    return BertForSequenceClassification(BertConfig(**fields), dtype=dtype)


def depth(name):
    """Return 0 for the embeddings, i for block i, 3 above."""
    if ".embeddings." in name:
        return 0
    return int(name.split(".layer.")[1][0]) + 1 if ".layer." in name else 3


@functools.cache
def expected(tokenizer, settings):
    """Return the weights and the losses of `plain_run` with the settings."""
    model = made(tokenizer)
    model.freeze(settings.freeze)  # no dropout in what is frozen
    model.class_weights = {
        "None": None, "balanced": np.array([6 / 2 / 4, 6 / 2 / 2]), "(1.0, 5.0)": np.array([1, 5]),
    }[str(settings.class_weight)]  # fmt: skip
    lowest = 0 if settings.freeze is None else settings.freeze + 1
    rates = {name: settings.layer_decay ** (3 - depth(name)) if depth(name) >= lowest else 0.0
             for name in model.params}  # fmt: skip
    objective = Supervised(model, tokenizer, TASK, EXAMPLES, settings)
    lines = plain_run(model, objective, settings, rates=rates)
    return model.params.vector, [line["loss"] for line in lines]


def test_every_field_has_a_changed_value():
    # Of pairs, tests/training/test_few_labels.py.
    assert {*CHANGES, "strategy"} == {
        field.name for field in dataclasses.fields(FineTuning)
    } - INHERITED


@pytest.mark.parametrize("change", [
    {}, *({name: value} for name, values in CHANGES.items() for value in values
          if name != "patience"),
    {"steps": 3}, {"batch_size": 4}, {"learning_rate": 0.02}, {"warmup": 0.0},
    {"weight_decay": 0.0}, {"clip": 0.1}, {"seed": 0}, {"shards": 3},
])  # fmt: skip
def test_a_run_follows_its_settings(tokenizer, tmp_path, monkeypatch, change):
    monkeypatch.setattr("minibert.training.loop.save_checkpoint", lambda *_: None)
    settings, model = dataclasses.replace(BASE, **change), made(tokenizer)
    fine_tune(model, tokenizer, TASK, EXAMPLES, settings, run=tmp_path, threads=1)
    weights, losses = expected(tokenizer, settings)
    np.testing.assert_allclose(model.params.vector, weights, rtol=1e-8, atol=1e-10)
    steps = [line for line in read_history(tmp_path) if "loss" in line]
    np.testing.assert_allclose([line["loss"] for line in steps], losses, rtol=1e-9)
    if change:
        assert (weights != expected(tokenizer, BASE)[0]).any()


SCORES = [0.1, 0.5, 0.3, 0.4, 0.5, 0.2, 0.1, 0.0]  # of the evaluations, one for each step


@pytest.mark.parametrize(
    ("patience", "every", "steps"), [(None, 1, 8), (1, 1, 3), (2, 1, 4), (3, 1, 8), (2, 2, 6)]
)
def test_patience_decides_the_number_of_steps_and_the_kept_weights(
    tokenizer, monkeypatch, patience, every, steps
):
    settings = dataclasses.replace(BASE, steps=8, patience=patience, evaluate_every=every)
    scores = SCORES[every - 1 :: every]
    taken = []

    def metrics(*_, **options):
        taken.append(scores[len(taken)])
        return SimpleNamespace(main=taken[-1], figures=dict)

    monkeypatch.setattr(SingleLabelTask, "metrics", metrics)
    model = made(tokenizer)
    fine_tune(model, tokenizer, TASK, EXAMPLES, settings, held_out=EXAMPLES, threads=1)
    assert len(taken) == steps // every
    best = max(range(len(taken)), key=lambda i: (taken[i], i))  # of equal scores, the last one
    plain = made(tokenizer)
    objective = Supervised(plain, tokenizer, TASK, EXAMPLES, settings)
    plain_run(plain, objective, settings, until=(best + 1) * every)
    np.testing.assert_allclose(model.params.vector, plain.params.vector, rtol=1e-8, atol=1e-10)


def test_texts_are_read_with_other_splits_at_each_step_and_words_with_tags_are_not():
    tokenizer = WordPieceTokenizer.train(["catering dogma"] * 2, 99, exact=False)
    splits = dataclasses.replace(BASE, split_pieces=0.9, shards=1)
    texts = Examples(["catering dogma"] * 3, None, ["cat", "dog", "cat"])

    def ids_at(task, examples, step, settings=splits):
        model = made(tokenizer)
        ((batch, _),) = Supervised(model, tokenizer, task, examples, settings).shards(step)
        return batch["input_ids"]

    whole = ids_at(TASK, texts, 0, dataclasses.replace(splits, split_pieces=0.0))
    seen = [ids_at(TASK, texts, step) for step in range(6)]
    assert len({ids.tobytes() for ids in seen}) > 1
    assert all(9 >= ids.shape[1] > whole.shape[1] for ids in seen)  # 9 positions
    assert (ids_at(TASK, texts, 3) == seen[3]).all()
    other = dataclasses.replace(splits, seed=8)
    assert ids_at(TASK, texts, 0, other).tobytes() != seen[0].tobytes()
    tags = Examples([["catering", "dogma"]] * 3, None, [["O", "A"]] * 3)
    assert (ids_at(TaggingTask(["O", "A"]), tags, 0) == whole).all()


@pytest.mark.parametrize("seed", [0, 3])
def test_every_generator_of_a_run_is_derived_from_its_seed(tokenizer, seed):
    settings = changed(BASE, "steps", 5)
    settings = dataclasses.replace(settings, seed=seed)
    model = made(tokenizer)
    with recorded_generators() as seeds:
        fine_tune(model, tokenizer, TASK, EXAMPLES, settings, held_out=EXAMPLES)
    assert sorted(each for each in seeds if each[1] != "order") == sorted(
        (seed, "dropout", step, shard) for step in range(5) for shard in range(2)
    )
    assert {each for each in seeds if each[1] == "order"} == {
        (seed, "order", epoch) for epoch in range(3)
    }


def test_the_order_of_the_examples_follows_the_seed_and_the_epoch(tokenizer):
    def first(seed, step):
        settings = dataclasses.replace(BASE, seed=seed, shards=1)
        ((batch, _),) = Supervised(made(tokenizer), tokenizer, TASK, EXAMPLES, settings).shards(
            step
        )
        return batch["input_ids"].tobytes()

    assert len({first(seed, 0) for seed in range(6)}) > 1
    assert len({first(0, 2 * epoch) for epoch in range(6)}) > 1


# The start of a run.


@pytest.fixture
def small_tiny(monkeypatch):
    small = {**PRESETS["tiny"], "num_hidden_layers": 1, "intermediate_size": 8}
    presets = {"nano": small, "small": {**small, "hidden_size": 512, "num_attention_heads": 2}}
    monkeypatch.setattr("minibert.models.config.PRESETS", presets)


def started(tokenizer, tmp_path, source=None, **options):
    tokenizer.save_pretrained(tmp_path)
    source = source or ModelSource(tokenizer=tmp_path)
    return FineTuningRun.start(TASK, EXAMPLES, source, **options)


RECIPE = Recipe(batch_size=5, epochs=7, learning_rate=0.125, layer_decay=0.75, split_pieces=0.5)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Recipe)])
def test_each_field_of_the_recipe_arrives_in_the_settings(small_tiny, tokenizer, tmp_path, name):
    before = started(tokenizer, tmp_path).settings
    value = getattr(RECIPE, name)
    run = started(tokenizer, tmp_path, overrides=SimpleNamespace(**{name: value}))
    assert getattr(run.recipe, name) == value
    after = run.settings
    if name == "epochs":
        assert after.steps == 7  # a batch holds all examples
    elif name == "batch_size":
        assert (after.batch_size, after.steps) == (5, 2 * run.recipe.epochs)
        assert (after.evaluate_every, after.shards) == (2 * run.recipe.epochs / 20, 2)
    else:
        assert getattr(after, name) == value != getattr(before, name)


def test_the_recipe_depends_on_each_of_its_arguments():
    config = BertConfig.preset("tiny")
    arguments = inspect.signature(finetuning_recipe).parameters
    assert list(arguments) == ["examples", "config", "pretrained", "counted"]
    assert finetuning_recipe(400, config, pretrained=True) == Recipe(16, 10, 5e-4, 0.8)
    assert finetuning_recipe(9000, config, pretrained=True) == Recipe(32, 3, 5e-4, 0.8)
    assert finetuning_recipe(400, config, pretrained=False) == Recipe(32, 64, 2e-3, 1.0, 0.25)
    counted = finetuning_recipe(400, config, pretrained=False, counted=True)
    assert counted == Recipe(32, 32, 5e-4, 1.0, 0.25)
    assert finetuning_recipe(100, config, pretrained=False).epochs == 100
    assert finetuning_recipe(9000, config, pretrained=False).epochs == 5
    base = BertConfig.preset("base")
    assert finetuning_recipe(400, base, pretrained=True).learning_rate == pytest.approx(5e-5)


SOURCES = {  # field of `ModelSource`: a changed value, and what is seen of the model
    "model": (None, lambda model, tokenizer: model.config.hidden_size),
    "tokenizer": (None, lambda model, tokenizer: list(tokenizer.vocab)),
    "size": ("small", lambda model, tokenizer: model.params["bert.pooler.dense.bias"].size),
    "max_length": (5, lambda model, tokenizer: model.config.max_position_embeddings),
    "dropout": (0.5, lambda model, tokenizer: [model.head.classifier.rate,
                model.config.hidden_dropout_prob, model.config.attention_probs_dropout_prob]),
    "config": ({"hidden_act": "relu", "initializer_range": 0.5},
               lambda model, tokenizer: [model.config.hidden_act, round(float(
                   model.params["bert.pooler.dense.weight"].std()), 2)]),
}  # fmt: skip
SEEN = {"model": 4, "size": 512, "max_length": 5, "dropout": [0.5] * 3, "config": ["relu", 0.5]}


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(ModelSource)])
def test_each_field_of_the_source_decides_the_model(small_tiny, tokenizer, tmp_path, name):
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    tokenizer.save_pretrained(tmp_path / "model")
    made(tokenizer, np.float32).save_pretrained(tmp_path / "model")
    value, see = SOURCES[name]
    given = {"model": tmp_path / "model", "tokenizer": tmp_path / "tokenizer"}.get(name, value)
    before = ModelSource().load(TASK, EXAMPLES, 0)
    after = ModelSource(**{name: given}).load(TASK, EXAMPLES, 0)
    assert see(*after) != see(*before)
    assert see(*after) == SEEN.get(name, list(tokenizer.vocab))
    if name == "model":  # the dropout of fine-tuning is not that of pre-training
        loaded, _ = ModelSource(given, dropout=0.75).load(TASK, EXAMPLES, 0)
        assert loaded.config.hidden_dropout_prob == loaded.head.classifier.rate == 0.75


def test_each_argument_of_start_arrives(small_tiny, tokenizer, tmp_path):
    arguments = set(inspect.signature(FineTuningRun.start).parameters)
    assert arguments == {"task", "examples", "source", "tokenizer_examples", "seed", "overrides",
                         "evaluate_at_most", "settings", "resumes", "strategy"}  # fmt: skip
    before = started(tokenizer, tmp_path)
    seeded = started(tokenizer, tmp_path, seed=5)
    assert seeded.settings.seed == 5
    assert (seeded.model.params.vector != before.model.params.vector).any()
    pairs = started(tokenizer, tmp_path, strategy="pairs")
    assert pairs.settings.strategy == "pairs"
    resumed = started(tokenizer, tmp_path, resumes=True)
    assert (resumed.model.params.vector != before.model.params.vector).any()
    many = SimpleNamespace(batch_size=1)
    often = started(tokenizer, tmp_path, overrides=many, evaluate_at_most=4)
    assert often.settings.evaluate_every == 4
    # A run of new weights is evaluated 20 times, or after each epoch if these are fewer.
    assert started(tokenizer, tmp_path, overrides=many).settings.evaluate_every == 6 * 100 / 20
    many.epochs = 5
    assert started(tokenizer, tmp_path, overrides=many).settings.evaluate_every == 6
    assert often.settings.shards == 1
    more = Examples(["zzz zzz"] * 9, None, ["cat"] * 9)
    own = started(tokenizer, tmp_path, ModelSource(), tokenizer_examples=more)
    assert "zzz" in own.tokenizer.vocab
    assert "zzz" not in started(tokenizer, tmp_path, ModelSource()).tokenizer.vocab
    decided = {"batch_size", "learning_rate", "layer_decay", "split_pieces", "strategy", "seed",
               "tokenizer", "data"}  # fmt: skip
    values = {
        "steps": 9, "warmup": 0.2, "weight_decay": 0.3, "clip": 2.5, "shards": 3, "keep": 7,
        "evaluate_every": 8, "save_every": 6, "freeze": 1, "class_weight": "balanced",
        "patience": 4,
    }  # fmt: skip
    assert {*values} | decided == {field.name for field in dataclasses.fields(FineTuning)}
    for name, value in values.items():
        run = started(tokenizer, tmp_path, settings={name: value})
        assert getattr(run.settings, name) == value != getattr(before.settings, name), name


def test_each_field_of_a_new_configuration_can_be_changed(tokenizer):
    values = {
        "hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 6,
        "hidden_act": "relu", "hidden_dropout_prob": 0.25, "attention_probs_dropout_prob": 0.5,
        "type_vocab_size": 3, "initializer_range": 0.25, "layer_norm_eps": 0.5,
        "position_embedding_type": "sinusoidal", "classifier_dropout": 0.75,
        "problem_type": "regression", "id2label": {0: "a"},
    }  # fmt: skip
    decided = {"vocab_size", "max_position_embeddings", "pad_token_id"}  # by the other arguments
    assert {*values} | decided == {field.name for field in dataclasses.fields(BertConfig)}
    plain = fresh_config("tiny", tokenizer, 9)
    assert plain.initializer_range == 0.06
    assert fresh_config("mini", tokenizer, 9).initializer_range == 0.043
    for name, value in values.items():
        config = fresh_config("tiny", tokenizer, 9, **{name: value})
        assert getattr(config, name) == value != getattr(plain, name), name
    assert (plain.vocab_size, plain.max_position_embeddings) == (len(tokenizer), 9)

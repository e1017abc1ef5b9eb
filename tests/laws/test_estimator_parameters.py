"""Every parameter of every estimator decides what it names, in fit and in predict."""

import dataclasses
import functools
import io
from contextlib import redirect_stderr
from types import SimpleNamespace

import numpy as np
import pytest

from minibert.data.splits import stratified_split
from minibert.estimators import DEV_SHARE, PATIENCE, TextClassifier, TextRegressor, TokenTagger
from minibert.models import BertForSequenceClassification
from minibert.models.config import PRESETS, BertConfig
from minibert.tasks import TASKS
from minibert.training import Engine
from tests.conftest import small_tokenizer
from tests.laws.runs import recorded_generators
from tests.laws.test_finetuning_settings import depth

TEXTS = ["the cat sat", "a dog ran", "the big cat", "a red dog", "cat it was", "dog and tree",
         "the cat ran", "a dog"]  # fmt: skip
DATA = {
    TextClassifier: (TEXTS, ["cat" if "cat" in text else "dog" for text in TEXTS]),
    TextRegressor: (TEXTS, [float(len(text)) for text in TEXTS]),
    TokenTagger: (
        [text.split() for text in TEXTS],
        [["A" if word in ("cat", "dog") else "O" for word in text.split()] for text in TEXTS],
    ),
}
BASE = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-2}
# The changed value, what is seen, and its expected value; None: as the test of the field says.
CHANGES = {
    "model": ("a folder", "width", 4),
    "size": ("mini", "width", 12),
    "max_length": (6, "positions", 6),
    "epochs": (3, "steps", 3),
    "batch_size": (5, "sizes", [5, 3]),
    "learning_rate": (0.03, "peak", 0.03),
    "layer_decay": (0.5, "weights", None),
    "freeze": (1, "unchanged", {0, 1}),
    "early_stopping": (True, "sizes", [7]),
    "random_state": (5, "seeds", {5}),
    "threads": (0, None, None),
    "verbose": (True, "bars", {"fine-tuning", "predicting"}),
    "class_weight": ({"dog": 4}, "class_weights", [1.0, 4.0]),
    "strategy": ("pairs", "blocks", 3),  # one more, which pools
}


@pytest.fixture(autouse=True)
def small_presets(monkeypatch):
    tiny = {**PRESETS["tiny"], "hidden_size": 8, "intermediate_size": 8}
    presets = {"nano": tiny, "tiny": tiny, "mini": {**tiny, "hidden_size": 12}}
    monkeypatch.setattr("minibert.models.config.PRESETS", presets)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of a model of width 4."""
    folder, tokenizer = tmp_path_factory.mktemp("model"), small_tokenizer()
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=4, num_hidden_layers=2,
                        num_attention_heads=2, intermediate_size=6,
                        max_position_embeddings=16)  # fmt: skip
    tokenizer.save_pretrained(folder)
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


@functools.cache
def plain(kind):
    """Return what can be seen with the base parameters."""
    return observed(kind)


def observed(kind, **params):
    """Fit and predict; return what can be seen of both."""
    steps, start, original = [], {}, Engine.step

    def step(engine, shards, rate):
        if not steps:
            start.update({name: array.copy() for name, array in engine.model.params.items()})
        steps.append((sum(len(batch["input_ids"]) for batch, *_ in shards), rate))
        return original(engine, shards, rate)

    printed = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        recorded_generators() as seeds,
        redirect_stderr(printed),
    ):
        patch.setattr(Engine, "step", step)
        estimator = kind(**{**BASE, **params}).fit(*DATA[kind])
        predicted = estimator.predict(DATA[kind][0])
    model = estimator.model_
    weights = getattr(model, "class_weights", None)
    return {
        "width": model.config.hidden_size,
        "positions": model.config.max_position_embeddings,
        "blocks": model.config.num_hidden_layers,
        "steps": len(steps),
        "sizes": [size for size, _ in steps],
        "peak": max(rate for _, rate in steps),
        "weights": {
            name: array - start[name]
            for name, array in model.params.items()
            if name.startswith("bert.")  # a regressor's head is rescaled afterwards
        },
        "unchanged": {
            depth(name)
            for name, array in model.params.items()
            if (array == start[name]).all() and name.endswith("LayerNorm.weight")
        },
        "seeds": {each[0] if isinstance(each, tuple) else each for each in seeds},
        "generators": seeds,
        "bars": {name for name in ("fine-tuning", "predicting") if name in printed.getvalue()},
        "class_weights": None if weights is None else weights.tolist(),
        "predicted": predicted,
    }


CASES = [(kind, field.name) for kind in DATA for field in dataclasses.fields(kind)]


def test_every_parameter_has_a_changed_value():
    assert {name for _, name in CASES} == {*CHANGES}
    for kind in DATA:
        assert {field.name for field in dataclasses.fields(kind)} == {*kind().get_params()}


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_each_parameter_arrives(kind, name, folder):
    value, decided, after = CHANGES[name]
    if name == "threads":
        with pytest.raises(ValueError, match="threads: expected at least 1, got 0"):
            kind(**BASE, threads=0).fit(*DATA[kind])
        fitted = kind(**BASE).fit(*DATA[kind]).set_params(threads=0)
        with pytest.raises(ValueError, match="threads: expected at least 1, got 0"):
            fitted.predict(DATA[kind][0])
        return
    if name == "early_stopping":  # the split depends on the classes
        after = [8 - len(stratified_split(strata_of(kind), DEV_SHARE, 0))]
    base = plain(kind)
    other = observed(kind, **{name: folder if name == "model" else value})
    if name == "layer_decay":  # one step from the same weights
        for parameter, change in base["weights"].items():
            np.testing.assert_allclose(
                other["weights"][parameter],
                change * 0.5 ** (3 - depth(parameter)),
                atol=3e-7,  # weights from counts are up to 4, where float32 has steps of 2.4e-7
            )
        return
    assert other[decided] == after != base[decided]


def strata_of(kind):
    return DATA[kind][1] if kind is TextClassifier else [None] * len(TEXTS)


@pytest.mark.parametrize("kind", DATA)
def test_all_random_draws_follow_random_state(kind):
    """Also the split for early stopping; the first weights' generator has the seed alone."""
    for seed in (0, 5):
        found = observed(kind, random_state=seed, early_stopping=True)["generators"]
        assert {each if isinstance(each, int) else each[0] for each in found} == {seed}
        purposes = {each[1] for each in found if isinstance(each, tuple)}
        unused = {"pieces", "initialization"} if kind is TokenTagger else set()
        assert purposes == {"split", "order", "dropout", "pieces", "initialization"} - unused
        assert seed in found  # of the initial weights


@pytest.mark.parametrize("kind", DATA)
def test_early_stopping_holds_out_the_split_of_its_seed_and_has_patience(kind, monkeypatch):
    held_out, several = [], set()

    def predict(task, model, tokenizer, texts, pairs, **options):
        held_out.append(list(texts))

    def falling(*_):
        return SimpleNamespace(
            main=-float(len(held_out)), figures=dict, trivial_baseline=lambda: "zero: 0"
        )

    for task in TASKS.values():
        monkeypatch.setattr(task, "predict", predict)
        monkeypatch.setattr(task, "metrics", falling)
    for seed in range(3):
        held_out.clear()
        kind(**{**BASE, "epochs": 5}, early_stopping=True, random_state=seed).fit(*DATA[kind])
        chosen = stratified_split(strata_of(kind), DEV_SHARE, seed)
        # One evaluation is that of the model card.
        assert held_out == [[DATA[kind][0][i] for i in chosen]] * (1 + PATIENCE + 1)
        several.add(str(held_out[0]))
    assert len(several) > 1


def test_class_weight_weighs_the_loss_by_label():
    """The classes are in the order of their names, whatever the order of the mapping."""
    for weight, expected in (
        ({"dog": 4, "cat": 2}, [2.0, 4.0]), ({"cat": 3}, [3.0, 1.0]), ("balanced", [1.0, 1.0]),
    ):  # fmt: skip
        found = observed(TextClassifier, class_weight=weight)
        assert found["class_weights"] == expected


@pytest.mark.parametrize("kind", DATA)
def test_set_params_and_clone_keep_every_parameter(kind):
    values = {name: CHANGES[name][0] for name in kind().get_params()}
    made = kind(**values)
    assert made.get_params() == kind().set_params(**values).get_params() == values
    for name, value in values.items():
        assert f"{name}={value!r}" in repr(made)

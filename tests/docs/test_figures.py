"""The data of figures: what a recorded run measures, and the numbers that a drawing contains."""

import math

import numpy as np
import pytest

from docs.make.figures import adamw, masked_lm, model, training
from minibert import BertConfig, BertForMaskedLM, by_hand
from minibert.optim import AdamW
from minibert.training import Engine


def test_the_norms_of_the_layers_make_the_gradient_norm():
    config = BertConfig(11, 8, 2, 2, 16, max_position_embeddings=6)
    network = BertForMaskedLM(config, dtype=np.float64)
    ids = np.random.default_rng(0).integers(5, 11, (3, 6))
    labels = np.where(np.arange(6) == 2, ids, -100)
    engine = Engine(network, AdamW(network.params), threads=1)
    result = engine.step([({"input_ids": ids}, labels)], 1e-3)
    norms = training._layer_norms(engine)
    assert list(norms) == list(training.LAYERS)
    assert all(norm > 0 for norm in norms.values())
    assert math.hypot(*norms.values()) == pytest.approx(result.norm, rel=1e-12)


def test_updates_of_the_figure_are_those_of_by_hand():
    gradients = [1.0, -2.0, 0.0, 3.0]
    p, m, v = ({"bias": np.zeros(1)} for _ in range(3))
    for step, (g, update) in enumerate(zip(gradients, adamw.updates(gradients), strict=True), 1):
        before = p["bias"].copy()
        by_hand.adamw_update(p, {"bias": np.array([g])}, m, v, step, 1.0)
        assert before - p["bias"] == pytest.approx(update, rel=1e-12)


def test_the_numbers_of_the_map_are_those_of_its_model():
    sizes = {name: model.SIZES[name] for name in "VDFLT"}
    p = by_hand.initial_params(**sizes, C=2, std=0.1, seed=0)
    parts = ("bert.embeddings.", "bert.encoder.layer.0.", "bert.encoder.layer.1.", "cls.")
    counts = [sum(a.size for name, a in p.items() if name.startswith(part)) for part in parts]
    assert counts == [108, 302, 302, 63]
    drawing = model.model()
    for words in ("norm 2 D: 108", "block: 302", "bias V: 63", "= 775"):
        assert words in drawing


def test_the_table_s_gradients_are_of_the_rows_shown_and_of_all_rows():
    lookup, head = masked_lm.table_gradients()
    assert [bool(row.any()) for row in lookup] == [False, *[True] * 5, *[False] * 3]
    assert head.any(axis=1).all()

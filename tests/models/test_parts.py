"""A caller's parts of a model: refused in one line before anything is made, or composed."""

import re

import numpy as np
import pytest

from examples.pre_norm import pre_norm
from minibert import BertConfig, BertForMaskedLM, BertModel
from minibert.layers import Embeddings, Encoder
from minibert.models import Parts, bert_block
from minibert.models.parts import METHODS
from minibert.specs import ParameterSpec, merged

CONFIG = BertConfig(
    vocab_size=20,
    hidden_size=8,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=12,
    max_position_embeddings=6,
)


class Scale:
    """A right block: x · weight."""

    def __init__(self, config):
        self.width = config.hidden_size

    def specs(self):
        return {"weight": ParameterSpec((self.width,))}

    def forward(self, params, x, site, rng=None, keep=True):
        chosen = x if site.rows is None else np.take_along_axis(x, site.rows[..., None], axis=1)
        return chosen * params["weight"], (x, site)

    def backward(self, dout, cache, params, grads, dsite):
        x, _ = cache
        grads["weight"] += (dout * x).sum(axis=(0, 1))
        return dout * params["weight"]


class NoBackward(Scale):
    backward = None


class NoPair(Scale):
    def forward(self, params, x, site, rng=None, keep=True):
        return x * params["weight"]


class WrongShape(Scale):
    def forward(self, params, x, site, rng=None, keep=True):
        out, cache = super().forward(params, x, site)
        return out[..., :-1], cache


class WrongGradient(Scale):
    def backward(self, dout, cache, params, grads, dsite):
        return super().backward(dout, cache, params, grads, dsite)[:, :1]


class Writes(Scale):
    def forward(self, params, x, site, rng=None, keep=True):
        x *= 2
        return super().forward(params, x, site)


class State(Scale):
    def forward(self, params, x, site, rng=None, keep=True):
        self.latest = x
        return super().forward(params, x, site)


class OtherPrediction(Scale):
    def forward(self, params, x, site, rng=None, keep=True):
        out, cache = super().forward(params, x, site)
        return out if keep else out + 1, cache


class OtherRows(Scale):
    def forward(self, params, x, site, rng=None, keep=True):
        out, cache = super().forward(params, x, site)
        return out if site.rows is None else out + 1, cache


class Twice(Scale):
    def specs(self):
        return merged(self, super().specs(), super().specs())


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (NoBackward, "block: expected NoBackward to have a method backward"),
        (NoPair, r"NoPair: forward: expected a pair \(out, cache\), got ndarray"),
        (
            WrongShape,
            r"WrongShape: forward: expected out of the shape \(2, 3, 8\), got \(2, 3, 7\)",
        ),
        (WrongGradient, r"WrongGradient: backward: expected dx of the shape \(2, 3, 8\), got"),
        (Writes, "Writes: forward: expected x unchanged"),
        (State, r"State: expected no state between calls, got \['latest'\]"),
        (OtherPrediction, "OtherPrediction: forward: expected the same out with keep=False"),
        (OtherRows, "OtherRows: forward: expected the same out at site.rows"),
        (Twice, "Twice: expected distinct parameters, got 'weight' twice"),
    ],
)
def test_a_wrong_block_is_refused_in_one_line_that_names_its_class(block, message):
    with pytest.raises((TypeError, ValueError), match=message) as refused:
        BertModel(CONFIG, block=block)
    assert "\n" not in str(refused.value)


def test_a_right_block_of_ones_own_is_composed():
    assert list(BertModel(CONFIG, block=Scale).params.scope("encoder.")) == [
        "layer.0.weight",
        "layer.1.weight",
    ]


@pytest.mark.parametrize("field", ["block", "embeddings", "positions", "encoder"])
def test_a_part_without_a_method_is_refused_by_its_class_and_the_method(field):
    for method, signature in METHODS[field].items():
        others = {name: lambda self: None for name in METHODS[field] if name != method}
        lacking = type("Lacking", (), others)
        message = f"{field}: expected Lacking to have a method {signature}, found none"
        with pytest.raises(TypeError, match=re.escape(message)):
            BertModel(CONFIG, **{field: lambda config, made=lacking: made()})


def test_a_masked_lm_refuses_embeddings_without_the_table_of_its_head():
    class NoTable(Embeddings):
        def specs(self):
            return {"other": ParameterSpec((2, 8))}

    def make(config):
        return NoTable(20, 8, 2, None, 0, 1e-12)

    with pytest.raises(ValueError, match=r"embeddings: expected NoTable to declare word_embed"):
        BertForMaskedLM(CONFIG, embeddings=make)


def test_parts_that_are_not_callable_or_exclude_each_other_are_refused():
    with pytest.raises(TypeError, match="block: expected a class or function of the config"):
        Parts(block=bert_block(CONFIG))
    with pytest.raises(ValueError, match="encoder: expected it alone"):
        Parts(block=bert_block, encoder=lambda config: Encoder([]))


def test_loading_with_other_parts_than_those_saved_is_refused(tmp_path, caplog):
    BertForMaskedLM(CONFIG, block=pre_norm).save_pretrained(tmp_path / "own")
    with pytest.raises(ValueError, match=r"block=pre_norm\), got block=Scale"):
        BertForMaskedLM.from_pretrained(tmp_path / "own", block=Scale)
    BertForMaskedLM(CONFIG).save_pretrained(tmp_path / "bert")
    BertForMaskedLM.from_pretrained(tmp_path / "bert", block=lambda config: bert_block(config))
    assert "saved without" in caplog.text

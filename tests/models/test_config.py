"""BertConfig: presets, JSON, and one error per invalid field."""

import copy
import dataclasses
import json
import pickle

import pytest

from minibert import BertConfig
from minibert.models.config import PRESETS


@pytest.mark.parametrize(
    ("name", "layers", "width", "heads", "feed_forward"),
    [
        ("nano", 1, 64, 1, 256),
        ("tiny", 2, 128, 2, 512),
        ("mini", 4, 256, 4, 1024),
        ("small", 4, 512, 8, 2048),
        ("medium", 8, 512, 8, 2048),
        ("base", 12, 768, 12, 3072),
        ("large", 24, 1024, 16, 4096),
    ],
)
def test_preset_returns_the_sizes_of_its_name(name, layers, width, heads, feed_forward):
    config = BertConfig.preset(name, vocab_size=99)
    assert (config.num_hidden_layers, config.hidden_size) == (layers, width)
    assert (config.num_attention_heads, config.intermediate_size) == (heads, feed_forward)
    assert config.vocab_size == 99
    assert config.head_width == 64
    assert len(PRESETS) == 7


def test_default_config_is_bert_base():
    assert BertConfig() == BertConfig.preset("base")


def test_from_json_undoes_to_json():
    config = BertConfig.preset(
        "tiny", hidden_act="relu", classifier_dropout=0.2, id2label={0: "no", 1: "ja", 2: "é"}
    )
    assert BertConfig.from_json(config.to_json()) == config
    fields = json.loads(config.to_json())
    assert fields["model_type"] == "bert"
    assert fields["label2id"] == {"no": 0, "ja": 1, "é": 2}
    assert BertConfig.from_dict({**fields, "use_cache": True}) == config
    assert BertConfig.from_dict({"num_labels": 3}).num_labels == 3


def test_config_is_immutable_and_numbers_its_classes():
    config = BertConfig(id2label={1: "b", 0: "a"})
    assert list(config.id2label.values()) == ["a", "b"]
    assert config.label2id == {"a": 0, "b": 1}
    assert BertConfig().num_labels == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.hidden_size = 3
    with pytest.raises(TypeError):
        config.id2label[0] = "c"
    assert hash(config) == hash(BertConfig(id2label={0: "a", 1: "b"}))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_size": 100, "num_attention_heads": 3}, "hidden_size 100 is not a multiple of"),
        ({"vocab_size": 0}, "vocab_size: expected a whole number of at least 1, got 0"),
        ({"num_hidden_layers": 2.0}, "num_hidden_layers: expected a whole number .* got 2.0"),
        ({"num_hidden_layers": True}, "num_hidden_layers: expected a whole number .* got True"),
        ({"pad_token_id": 30522}, "pad_token_id: expected less than vocab_size 30522, got 30522"),
        ({"hidden_act": "swish"}, "hidden_act: expected one of gelu, gelu_new, relu, got 'swish'"),
        ({"position_embedding_type": "x"}, "position_embedding_type: expected one of absolute"),
        ({"problem_type": "x"}, "problem_type: expected one of None, single_label"),
        ({"hidden_dropout_prob": 1.0}, "hidden_dropout_prob: expected a number from 0 to below 1"),
        ({"hidden_dropout_prob": float("nan")}, "hidden_dropout_prob: .* got nan"),
        ({"classifier_dropout": -0.1}, "classifier_dropout: expected a number from 0"),
        ({"layer_norm_eps": "x"}, "layer_norm_eps: expected a number from 0"),
        ({"id2label": {}}, "id2label: expected the keys 0 to 0"),
        ({"id2label": {0: "a", 2: "b"}}, r"id2label: expected the keys 0 to 1, got \[0, 2\]"),
        ({"id2label": {0: "a", 1: "a"}}, "id2label: two classes have the same name"),
        (
            {"hidden_size": 9, "num_attention_heads": 3, "position_embedding_type": "sinusoidal"},
            "hidden_size 9 is odd",
        ),
    ],
)
def test_config_refuses_invalid_values_by_field(fields, message):
    with pytest.raises(ValueError, match=message):
        BertConfig(**fields)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected JSON: "),
        ("[1]", "expected a JSON object of fields, got list"),
        ('{"model_type": "roberta"}', "model_type: expected one of bert, got 'roberta'"),
        ('{"is_decoder": true}', "is_decoder: expected false, an encoder, got True"),
        ('{"id2label": {"a": "b"}}', "id2label: expected class names by number"),
        ('{"id2label": ["a", "b"]}', "id2label: expected class names by number"),
        ('{"id2label": {"0": ["a"]}}', "id2label: expected class names by number"),
    ],
)
def test_from_json_refuses_other_files(text, message):
    with pytest.raises(ValueError, match=message):
        BertConfig.from_json(text)


def test_preset_refuses_an_unknown_name():
    with pytest.raises(ValueError, match=r"preset: expected one of nano, tiny, .*, got 'huge'"):
        BertConfig.preset("huge")


def test_config_survives_copy_and_pickle():
    config = BertConfig.preset("mini", vocab_size=77, id2label={0: "a", 1: "b", 2: "c"})
    assert pickle.loads(pickle.dumps(config)) == copy.deepcopy(config) == config

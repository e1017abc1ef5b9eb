"""Checkpoints: there and back to the bit, other heads' checkpoints, and broken ones."""

import json
import logging

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from minibert import BertForMaskedLM, BertForSequenceClassification, BertModel
from minibert.proofs.examples import BATCH, CONFIG, D

KINDS = [BertModel, BertForMaskedLM, BertForSequenceClassification]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_there_and_back_is_bitwise(tmp_path, kind, dtype):
    model = kind(CONFIG, seed=3, dtype=dtype)
    model.save_pretrained(tmp_path / "new")
    back = kind.from_pretrained(tmp_path / "new", dtype=dtype)
    assert back.config == model.config
    assert (back.params.vector == model.params.vector).all()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]


def test_a_body_moves_to_another_head_whose_own_part_is_drawn(tmp_path, caplog):
    source = BertForMaskedLM(CONFIG, seed=3)
    source.save_pretrained(tmp_path)
    with caplog.at_level(logging.WARNING):
        model = BertForSequenceClassification.from_pretrained(tmp_path, seed=5)
    assert (model.params.scope("bert.embeddings.").vector == source.params.scope(
        "bert.embeddings.").vector).all()  # fmt: skip
    assert (model.params.scope("bert.encoder.").vector == source.params.scope(
        "bert.encoder.").vector).all()  # fmt: skip
    assert np.std(model.params["classifier.weight"]) > 0
    assert len(caplog.messages) == 1
    assert "bert.pooler.dense.weight" in caplog.messages[0]
    assert "classifier.bias" in caplog.messages[0]


def test_names_with_and_without_the_prefix(tmp_path):
    source = BertModel(CONFIG, seed=3)
    source.save_pretrained(tmp_path / "body")
    head = BertForSequenceClassification.from_pretrained(tmp_path / "body")
    assert (head.params.scope("bert.").vector == source.params.vector).all()
    head.save_pretrained(tmp_path / "head")
    back = BertModel.from_pretrained(tmp_path / "head")
    assert (back.params.vector == source.params.vector).all()


def test_other_classes_mean_another_classifier(tmp_path, caplog):
    source = BertForSequenceClassification(CONFIG, seed=3)
    source.save_pretrained(tmp_path)
    model = BertForSequenceClassification.from_pretrained(tmp_path, id2label={0: "x", 1: "y"})
    assert model.config.num_labels == 2
    assert model.params["classifier.weight"].shape == (2, D)
    assert (model.params.scope("bert.").vector == source.params.scope("bert.").vector).all()
    assert "classifier.weight" in caplog.text


def test_sinusoidal_positions_need_no_array(tmp_path):
    config = type(CONFIG)(**{**vars(CONFIG), "position_embedding_type": "sinusoidal"})
    model = BertModel(config, seed=1)
    assert not any("position" in name for name in model.params)
    model.save_pretrained(tmp_path)
    back = BertModel.from_pretrained(tmp_path)
    a, b = model(**BATCH).last_hidden_state, back(**BATCH).last_hidden_state
    assert (a == b).all()


def test_a_write_that_fails_leaves_the_old_files_whole(tmp_path, monkeypatch):
    old = BertModel(CONFIG, seed=1)
    old.save_pretrained(tmp_path)

    def full(arrays, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("minibert.models.pretrained.save_file", full)
    with pytest.raises(OSError, match="No space"):
        BertModel(CONFIG, seed=2).save_pretrained(tmp_path)
    assert (BertModel.from_pretrained(tmp_path).params.vector == old.params.vector).all()
    assert len(list(tmp_path.iterdir())) == 2


def broken(folder, how):
    BertModel(CONFIG).save_pretrained(folder)
    weights = folder / "model.safetensors"
    arrays = load_file(weights)
    if how == "cut":
        weights.write_bytes(weights.read_bytes()[:-10])
    elif how == "lacking":
        del arrays["encoder.layer.1.attention.self.key.weight"]
        save_file(arrays, weights)
    elif how == "shape":
        arrays["embeddings.LayerNorm.bias"] = np.zeros(D + 1, np.float32)
        save_file(arrays, weights)
    elif how == "json":
        (folder / "config.json").write_text("{")
    elif how == "kind":
        fields = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**fields, "model_type": "gpt2"}))
    elif how == "none":
        weights.unlink()


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("cut", ValueError, "model.safetensors: not a whole safetensors file"),
        (
            "lacking",
            ValueError,
            r"lacks 1 arrays .* encoder\.layer\.1\.attention\.self\.key\.weight",
        ),
        (
            "shape",
            ValueError,
            r"embeddings\.LayerNorm\.bias: expected the shape \(10,\) .* \(11,\)",
        ),
        ("json", ValueError, "config.json: not a JSON text"),
        ("kind", ValueError, "config.json: model_type: expected one of bert, got 'gpt2'"),
        ("none", FileNotFoundError, "model.safetensors: no such file; expected the folder of a"),
    ],
)
def test_broken_checkpoints_are_refused_in_one_line(tmp_path, how, error, message):
    broken(tmp_path, how)
    with pytest.raises(error, match=message):
        BertModel.from_pretrained(tmp_path)

"""Class names of other programs: read where they are clear, refused where a task needs them."""

import json

import numpy as np
import pytest

from minibert import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    TextClassifier,
)
from minibert.tasks import SingleLabelTask, task_for
from tests.cli.helpers import assert_refused, run

CLEAR = {
    "numbers": ({"0": 0, "1": 1}, ["0", "1"]),
    "fractions": ({"0": 0.5, "1": True}, ["0.5", "True"]),
    "one class without a name": ({"0": None}, ["LABEL_0"]),
    "one class with another number": ({"1": "stars"}, ["stars"]),
    "no names": ({}, ["LABEL_0", "LABEL_1"]),
    "null": (None, ["LABEL_0", "LABEL_1"]),
}
FAULTY = {
    "nulls": ({"0": None, "1": "a"}, "id2label: expected class names by number, got "),
    "equal names": ({"0": "a", "1": "a", "2": "b"}, "id2label: two classes have the same name"),
    "a number and its text": ({"0": 1, "1": "1"}, "id2label: two classes have the same name"),
    "keys from 1": ({"1": "a", "2": "b"}, r"id2label: expected the keys 0 to 1, got [1, 2]"),
}


@pytest.fixture
def folder(tmp_path, tokenizer):
    """Return a function that writes a classifier with these class names (path)."""

    def write(labels, **fields):
        count = fields.get("num_labels", len(labels or [0, 1]))
        names = {i: str(i) for i in range(count)}
        sizes = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8}
        config = BertConfig.preset("tiny", vocab_size=len(tokenizer), id2label=names, **sizes)
        tokenizer.save_pretrained(tmp_path)
        BertForSequenceClassification(config).save_pretrained(tmp_path)
        path = tmp_path / "config.json"
        stated = json.loads(path.read_text()) | {"id2label": labels} | fields
        path.write_text(json.dumps(stated))
        return tmp_path

    return write


@pytest.mark.parametrize("name", CLEAR)
def test_clear_names_are_read(folder, name):
    labels, expected = CLEAR[name]
    model = BertForSequenceClassification.from_pretrained(folder(labels), strict=True)
    assert list(model.config.id2label.values()) == expected
    assert task_for(model) is not None
    if len(expected) > 1:
        assert task_for(model).names == expected


@pytest.mark.parametrize("name", FAULTY)
def test_faulty_names_are_refused_only_where_a_task_needs_them(folder, capsys, name):
    labels, message = FAULTY[name]
    path = folder(labels)
    model = BertForSequenceClassification.from_pretrained(path, strict=True)
    assert model([[2, 5, 3]]).logits.shape == (1, len(labels))
    BertModel.from_pretrained(path)
    BertForMaskedLM.from_pretrained(path)
    with pytest.raises(ValueError, match="id2label") as caught:
        task_for(model)
    assert str(caught.value).startswith(f"{path / 'config.json'}: {message}")
    assert_refused(capsys, ["predict", path, "a cat"], path / "config.json", message)
    assert_refused(capsys, ["inspect", path, "a cat"], message)
    assert run(["embed", path, "a cat"]) == 0


def test_names_that_a_caller_gives_replace_faulty_ones(folder):
    path = folder({"0": "a", "1": "a"})
    model = BertForSequenceClassification.from_pretrained(path, id2label={0: "x", 1: "y"})
    assert task_for(model).names == ["x", "y"]
    texts = ["a cat", "the dog"] * 4
    classifier = TextClassifier(path, epochs=1, threads=1).fit(texts, ["LABEL_0", "LABEL_1"] * 4)
    assert set(classifier.predict(texts)) <= {"LABEL_0", "LABEL_1"}
    assert isinstance(task_for(classifier.model_), SingleLabelTask)


def test_num_labels_counts_more_than_the_names(folder):
    path = folder({"0": "a", "1": "b"}, num_labels=3)
    model = BertForSequenceClassification.from_pretrained(path, strict=True)
    assert model([[2, 5, 3]]).logits.shape == (1, 3)
    with pytest.raises(ValueError, match="expected 3 names, as num_labels states"):
        task_for(model)


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [*CLEAR, *FAULTY])
def test_the_logits_of_odd_folders_are_those_of_transformers(folder, name):
    import torch
    import transformers

    labels = (CLEAR | FAULTY)[name][0]
    if labels == {}:
        return  # a model without classes in transformers
    path = folder(labels)
    peer = transformers.BertForSequenceClassification.from_pretrained(path).eval()
    model = BertForSequenceClassification.from_pretrained(path, strict=True)
    with torch.no_grad():
        expected = peer(torch.tensor([[2, 5, 6, 3]])).logits.numpy()
    np.testing.assert_allclose(model([[2, 5, 6, 3]]).logits, expected, atol=1e-5)

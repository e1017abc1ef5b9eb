"""The strategies for few labels: the choice, runs with pairs, their bits, and what is refused."""

from types import SimpleNamespace

import numpy as np
import pytest

from minibert import (
    BertForSequenceClassification,
    ModernBertConfig,
    ModernBertForMaskedLM,
    TextClassifier,
)
from minibert.tasks import Examples, MultiLabelTask, SingleLabelTask
from minibert.training.defaults import MAX_TEXTS_PER_CLASS
from minibert.training.finetuning import FineTuning, ModelSource, chosen_strategy
from tests.conftest import small_tokenizer

TEXTS = ["a red fox", "the red hen", "one red mat", "a blue sky", "the blue sea", "one blue tree"]
LABELS = ["red"] * 3 + ["blue"] * 3
PAIRS = {"strategy": "pairs", "epochs": 2, "batch_size": 4}


@pytest.fixture(scope="module")
def fitted():
    return TextClassifier("tiny", **PAIRS).fit(TEXTS, LABELS)


def labelled(count):
    return Examples([f"text {i}" for i in range(count)], None, ["a", "b"] * (count // 2))


@pytest.mark.parametrize(
    ("count", "model", "stated", "expected"),
    [
        (2 * MAX_TEXTS_PER_CLASS, "tiny", {}, "pairs"),
        (2 * MAX_TEXTS_PER_CLASS + 2, "tiny", {}, "direct"),
        (8, None, {}, "direct"),
        (8, "tiny", {"learning_rate": 1e-3}, "direct"),
        (8, "tiny", {"learning_rate": None}, "pairs"),
    ],
)
def test_auto_is_pairs_for_few_texts_and_a_pretrained_model(count, model, stated, expected):
    task = SingleLabelTask(["a", "b"])
    source, overrides = ModelSource(model), SimpleNamespace(**stated)
    assert chosen_strategy("auto", task, labelled(count), source, overrides) == expected
    assert chosen_strategy("direct", task, labelled(count), source, overrides) == "direct"
    assert chosen_strategy("pairs", task, labelled(count), source, overrides) == "pairs"


def test_auto_is_direct_where_there_are_no_pairs():
    several = Examples(["x", "y"], None, [["a"], ["b"]])
    source = ModelSource("tiny")
    assert chosen_strategy("auto", MultiLabelTask(["a", "b"]), several, source) == "direct"
    with pytest.raises(ValueError, match=r"strategy: expected direct, because .* got pairs"):
        chosen_strategy("pairs", MultiLabelTask(["a", "b"]), several, source)
    with pytest.raises(ValueError, match="strategy: expected one of auto, pairs, direct"):
        chosen_strategy("best", MultiLabelTask(["a", "b"]), several, source)
    with pytest.raises(ValueError, match="strategy: expected pairs or direct, got 'auto'"):
        FineTuning(steps=1, strategy="auto")


def test_pairs_train_the_body_and_fit_the_classifier(fitted):
    assert fitted.score(TEXTS, LABELS) == 1
    start = BertForSequenceClassification.from_pretrained("tiny")
    name = "bert.encoder.layer.0.attention.self.query.weight"
    assert not np.array_equal(fitted.model_.params[name], start.params[name])


def test_the_bits_do_not_depend_on_the_threads_and_depend_on_the_seed(fitted):
    again = TextClassifier("tiny", threads=1, **PAIRS).fit(TEXTS, LABELS)
    assert again.model_.params.vector.tobytes() == fitted.model_.params.vector.tobytes()
    other = TextClassifier("tiny", random_state=1, **PAIRS).fit(TEXTS, LABELS)
    assert other.model_.params.vector.tobytes() != fitted.model_.params.vector.tobytes()


def test_frozen_blocks_stay_and_early_stopping_keeps_the_best_evaluation():
    start = BertForSequenceClassification.from_pretrained("tiny")
    texts, labels = TEXTS * 4, LABELS * 4
    classifier = TextClassifier("tiny", freeze=1, early_stopping=True, **PAIRS).fit(texts, labels)
    params = classifier.model_.params
    for name, depth in start.depths().items():
        if depth <= 1:
            np.testing.assert_array_equal(params[name], start.params[name])
    assert classifier.score(TEXTS, LABELS) > 0.9


def test_the_block_that_pools_is_not_one_of_those_to_freeze():
    layers = BertForSequenceClassification.from_pretrained("tiny").config.num_hidden_layers
    with pytest.raises(
        ValueError, match=f"freeze: expected 0 to {layers} layers, got {layers + 1}"
    ):
        TextClassifier("tiny", freeze=layers + 1, **PAIRS).fit(TEXTS, LABELS)


def test_a_class_with_one_text_is_predicted_for_it():
    texts, labels = [*TEXTS, "many green frogs"], [*LABELS, "green"]
    classifier = TextClassifier("tiny", class_weight="balanced", **PAIRS).fit(texts, labels)
    assert classifier.predict(["many green frogs"]).tolist() == ["green"]


def test_text_classifier_refuses_pairs_where_there_are_none():
    with pytest.raises(ValueError, match="because no two texts have the same label"):
        TextClassifier("tiny", strategy="pairs").fit(["a", "b"], [0, 1])
    with pytest.raises(ValueError, match="because the texts are pairs themselves"):
        TextClassifier("tiny", strategy="pairs").fit([("a", "b"), ("c", "d")] * 2, [0, 1, 0, 1])


@pytest.fixture(scope="module")
def modern(tmp_path_factory):
    """Return the folder of a small ModernBERT, and a classifier that was trained from it."""
    folder, tokenizer = tmp_path_factory.mktemp("modern"), small_tokenizer()
    config = ModernBertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=20, max_position_embeddings=32, pad_token_id=0, local_attention=4,
        global_attn_every_n_layers=2,
    )  # fmt: skip
    ModernBertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    changes = {"epochs": 8, "learning_rate": 3e-3, "layer_decay": 0.5, "freeze": 1}
    return folder, TextClassifier(folder, **{**PAIRS, **changes}).fit(TEXTS, LABELS)


def test_pairs_train_a_modernbert_that_reads_the_mean(modern):
    folder, fitted = modern
    model, start = fitted.model_, ModernBertForMaskedLM.from_pretrained(folder)
    assert model.config.classifier_pooling == "mean"
    assert model.config.num_hidden_layers == 2
    assert fitted.score(TEXTS, LABELS) == 1
    moved = {name for name in start.bert.specs()
             if (model.params[f"bert.{name}"] != start.params[f"bert.{name}"]).any()}  # fmt: skip
    assert moved
    assert all(name.startswith(("encoder.layer.1.", "encoder.LayerNorm")) for name in moved)
    with pytest.raises(ValueError, match="freeze: expected 0 to 2 layers, got 3"):
        TextClassifier(folder, freeze=3, **PAIRS).fit(TEXTS, LABELS)


@pytest.mark.parity
def test_transformers_opens_a_modernbert_that_pairs_have_trained(modern, tmp_path):
    import torch
    from transformers import AutoModelForSequenceClassification

    fitted = modern[1]
    fitted.save_pretrained(tmp_path)
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    batch = fitted.tokenizer_.encode_batch(TEXTS)
    with torch.no_grad():
        logits = theirs(
            input_ids=torch.tensor(batch["input_ids"]),
            attention_mask=torch.tensor(batch["attention_mask"]),
        ).logits
    np.testing.assert_allclose(fitted.model_(**batch).logits, logits.numpy(), atol=1e-4)
    assert logits.argmax(dim=1).tolist() == [1, 1, 1, 0, 0, 0]

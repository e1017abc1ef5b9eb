"""Training sentence vectors: the run, its settings, and what cannot be trained."""

import json
import os
import signal
from dataclasses import asdict, replace

import numpy as np
import pytest

from minibert import (
    AutoModel,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    FeatureExtractor,
)
from minibert.training import (
    EmbeddingExamples,
    EmbeddingTraining,
    Interrupted,
    pairs_from_labels,
    train_embeddings,
)
from minibert.training.checkpoint import checkpoints, read_state, restore_optimizer
from minibert.training.embeddings import encoder_of, optimizer_for

SIZES = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "max_position_embeddings": 12,
}  # fmt: skip
PAIRS = [
    ["the cat sat on the mat", "a cat was on a mat"],
    ["a dog ran under the tree", "the dog was under a tree"],
    ["it was red", "it is all red"],
    ["the big tree", "a tree so big"],
    ["then it ran", "it was on the run then"],
]
TEXTS = [text for row in PAIRS for text in row]
EXAMPLES = EmbeddingExamples(PAIRS)
SETTINGS = EmbeddingTraining(
    steps=12, batch_size=4, shards=2, learning_rate=2e-3, warmup=0.0, evaluate_every=6, save_every=4
)


def extractor_of(tokenizer, kind=BertModel, seed=0, **options):
    config = BertConfig(vocab_size=tokenizer.vocab_size, **SIZES)
    return FeatureExtractor(kind(config, seed=seed), tokenizer, **options)


def cosines(extractor):
    """Return the cosine of each first text with each second one."""
    first, second = (extractor([row[side] for row in PAIRS], threads=1) for side in (0, 1))
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (first, second)]
    return unit[0] @ unit[1].T


@pytest.mark.parametrize(
    ("examples", "loss"),
    [
        (EXAMPLES, "ranking"),
        (pairs_from_labels(TEXTS, list("aabbccddee"), 4), "cosine"),
        (EmbeddingExamples([[t] for t in TEXTS], labels=list("aabbccddee")),
         "contrastive"),
    ],
)  # fmt: skip
def test_training_brings_texts_that_belong_together_nearer_than_others(examples, loss, tokenizer):
    extractor = extractor_of(tokenizer)

    def margin():
        found = cosines(extractor)
        right = np.eye(len(found), dtype=bool)
        return found[right].mean() - found[~right].mean()

    before = margin()
    settings = replace(SETTINGS, loss=loss, steps=25, batch_size=10)
    train_embeddings(extractor, examples, settings, threads=1)
    assert margin() > before + 0.3


def trained(tokenizer, settings=SETTINGS, **options):
    extractor = extractor_of(tokenizer)
    train_embeddings(extractor, EXAMPLES, settings, **options)
    return extractor.model.params.vector


def test_threads_and_recomputation_do_not_change_the_weights(tokenizer):
    expected = trained(tokenizer, threads=1)
    assert (trained(tokenizer, threads=3) == expected).all()
    assert (trained(tokenizer, replace(SETTINGS, recompute=True), threads=2) == expected).all()
    assert (trained(tokenizer, replace(SETTINGS, seed=1), threads=2) != expected).any()


def test_a_resumed_run_has_the_same_bits_and_one_history(tokenizer, tmp_path):
    expected = trained(tokenizer, threads=1)
    run, calls = tmp_path / "run", []

    def evaluate(step):
        calls.append(step)
        return f"held-out {step}", {"held_out_step": float(step)}

    stops = iter([False] * 5 + [True])
    extractor = extractor_of(tokenizer)
    train_embeddings(extractor, EXAMPLES, SETTINGS, run=run, threads=2,
                     should_stop=lambda: next(stops))  # fmt: skip
    folder = checkpoints(run)[-1]
    state = read_state(folder)
    assert state["step"] == 5
    assert EmbeddingTraining(**state["settings"]) == SETTINGS
    model = AutoModel.from_pretrained(folder)
    resumed = FeatureExtractor(model, tokenizer)
    optimizer = optimizer_for(model, SETTINGS)
    restore_optimizer(folder, optimizer)
    train_embeddings(resumed, EXAMPLES, SETTINGS, optimizer=optimizer, run=run, threads=1,
                     evaluate=evaluate)  # fmt: skip
    assert (model.params.vector == expected).all()
    assert calls == [6, 12]
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 13))
    assert [line["held_out_step"] for line in lines if "held_out_step" in line] == [6.0, 12.0]


def test_pooler_head_and_frozen_blocks_stay_as_they_are(tokenizer):
    for kind, options in ((BertModel, {}), (BertForSequenceClassification, {"pooling": "cls"})):
        extractor = extractor_of(tokenizer, kind, normalize=True, **options)
        model = extractor.model
        before = {name: array.copy() for name, array in model.params.items()}
        settings = replace(SETTINGS, freeze=1, steps=2, weight_decay=0.1)
        train_embeddings(extractor, EXAMPLES, settings, threads=1)
        changed = {name for name in before if (model.params[name] != before[name]).any()}
        assert changed
        assert all("encoder.layer.1." in name for name in changed)


def test_lower_blocks_learn_more_slowly(tokenizer):
    model = extractor_of(tokenizer).model
    rates = optimizer_for(model, replace(SETTINGS, layer_decay=0.5)).rates
    assert rates["encoder.layer.1.output.dense.weight"] == 0.5  # the pooler is above it
    assert rates["encoder.layer.0.output.dense.weight"] == 0.25
    assert rates["embeddings.word_embeddings.weight"] == 0.125
    assert rates["pooler.dense.weight"] == 0


def test_a_learning_rate_that_is_too_high_ends_in_one_line(tokenizer):
    with pytest.raises(FloatingPointError, match=r"step \d+: the loss is"):
        trained(tokenizer, replace(SETTINGS, learning_rate=1e30), threads=1)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("loss", "sum", "one of ranking, cosine, triplet, contrastive, got 'sum'"),
        ("distance", "city", "one of euclidean, cosine, got 'city'"),
        ("temperature", 0, "more than 0, got 0"),
        ("margin", float("inf"), "more than 0, got inf"),
        ("layer_decay", 1.5, "more than 0 and at most 1, got 1.5"),
        ("steps", 0, "at least 1, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(name, value, expected):
    with pytest.raises(ValueError, match=f"{name}: expected {expected}"):
        EmbeddingTraining(**{**asdict(SETTINGS), name: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "max"}, r"pooling: expected mean or cls to train vectors, got \['max'\]"),
        ({"pooling": ["mean", "cls"]}, "pooling: expected mean or cls"),
        ({"layers": 1}, r"layers: expected the last one, 2 to train vectors, got \[1\]"),
        ({"projections": [np.tanh]}, "projections: expected none to train vectors, got 1"),
        ({"prompt": "a ", "include_prompt": False}, "include_prompt: expected True to train"),
    ],
)
def test_an_extractor_that_cannot_be_trained_is_refused(options, message, tokenizer):
    with pytest.raises(ValueError, match=message):
        encoder_of(extractor_of(tokenizer, **options))


def test_a_loss_that_does_not_fit_is_refused_before_anything_changes(tokenizer):
    extractor = extractor_of(tokenizer)
    with pytest.raises(ValueError, match="loss: expected pairs with scores for cosine"):
        train_embeddings(extractor, EXAMPLES, replace(SETTINGS, loss="cosine"))
    assert extractor.model.frozen is None


def test_a_signal_stops_after_a_whole_step(tokenizer, tmp_path):
    def interrupt():
        os.kill(os.getpid(), signal.SIGTERM)
        return False

    with pytest.raises(Interrupted, match=r"stopped after step 1 of 12; .* holds all of it"):
        trained(tokenizer, run=tmp_path / "run", should_stop=interrupt, threads=1)
    assert [path.name for path in checkpoints(tmp_path / "run")] == ["checkpoint-1"]

"""Fine-tuning: labels to numbers, metrics, and a classifier that learns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert import BertConfig, BertForSequenceClassification
from minibert.data.tables import Row
from minibert.training import (
    Examples,
    Settings,
    evaluate_classifier,
    predict_proba,
    train_classifier,
)
from minibert.training.metrics import count

LABELS = {"cat": 0, "dog": 1}


def examples(count, seed=0):
    rng = np.random.default_rng(seed)
    words = "the a sat ran on under mat tree big red".split()
    labels = rng.integers(0, 2, count)
    texts = []
    for label in labels:
        chosen = [*rng.choice(words, rng.integers(2, 6)), ("cat", "dog")[label]]
        texts.append(" ".join(rng.permutation(chosen)))
    return Examples(texts, None, labels)


def classifier(tokenizer, **changes):
    config = BertConfig.preset(
        "tiny",
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        max_position_embeddings=12,
        id2label={0: "cat", 1: "dog"},
        **changes,
    )
    return BertForSequenceClassification(config)


def test_a_classifier_learns_which_word_decides(tokenizer):
    model = classifier(tokenizer)
    test = examples(60, seed=1)
    settings = Settings(steps=60, batch_size=16, learning_rate=3e-3)
    train_classifier(model, tokenizer, examples(200), settings, held_out=test)
    assert evaluate_classifier(model, tokenizer, test).accuracy > 0.95


def test_probabilities_come_in_order_and_sum_to_one(tokenizer):
    model = classifier(tokenizer)
    texts = examples(70).texts
    together = predict_proba(model, tokenizer, texts)
    assert together.shape == (70, 2)
    np.testing.assert_allclose(together.sum(axis=1), 1, rtol=1e-5)
    for i in (0, 63, 64, 69):
        alone = predict_proba(model, tokenizer, [texts[i]])
        np.testing.assert_allclose(alone[0], together[i], rtol=1e-4)


def test_texts_longer_than_the_positions_are_cut(tokenizer):
    model = classifier(tokenizer)
    long = " ".join(["the cat"] * 30)
    assert tokenizer.count_truncated([long, "a cat"], max_length=12) == 1
    assert predict_proba(model, tokenizer, [long]).shape == (1, 2)


def test_rows_become_examples():
    rows = [Row("one", "dog", None, 2), Row("two", "cat", "more", 3)]
    numbered = Examples.of(rows, LABELS, "file.tsv")
    assert numbered.texts == ["one", "two"]
    assert numbered.pairs == ["", "more"]
    assert numbered.labels.tolist() == [1, 0]
    with pytest.raises(
        ValueError, match=r"file\.tsv, line 9: unknown label 'cow', expected one of"
    ):
        Examples.of([Row("moo", "cow", None, 9)], LABELS, "file.tsv")


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_scores_follow_their_definitions(answers):
    true, said = (np.array(side) for side in zip(*answers, strict=True))
    scores = count(["a", "b", "c", "d"], true, said)
    assert scores.confusion.sum() == len(answers)
    assert scores.accuracy == pytest.approx(np.mean(true == said))
    assert scores.majority == pytest.approx(max(np.mean(true == c) for c in range(4)))
    f1 = []
    for c in range(4):
        right = np.sum((true == c) & (said == c))
        if np.any((true == c) | (said == c)):
            f1.append(2 * right / (np.sum(true == c) + np.sum(said == c)))
    assert scores.macro_f1 == pytest.approx(np.mean(f1))

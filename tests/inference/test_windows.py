"""Texts longer than the model: windows, their means, and the texts that fit."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert import BertConfig, BertForSequenceClassification, BertForTokenClassification
from minibert.data.word_alignment import word_spans, word_windows
from minibert.estimators import TextClassifier, TextRegressor
from minibert.inference.windows import long_texts, map_windows
from minibert.tasks import RegressionTask, SingleLabelTask, TaggingTask
from tests.conftest import WORDS, small_tokenizer

LONGEST = 12
SHORT = ["the cat sat", "a dog", "", "then it was red"]
LONG = ["the cat sat on the mat " * 4, "a big dog ran under the tree and then it sat"]
KNOWN = [word for word in WORDS.split() if word.isalpha()]


def model_of(kind, tokenizer, longest=LONGEST, **fields):
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=12, max_position_embeddings=longest, initializer_range=0.4, **fields,
    )  # fmt: skip
    return kind(config)


def classifier(tokenizer, task, longest=LONGEST):
    return model_of(BertForSequenceClassification, tokenizer, longest, **task.config())


def plain_logits(model, tokenizer, text, pair, stride):
    """Return the mean of the logits of each window alone, weighted by its tokens (C,)."""
    longest = model.config.longest
    windows = tokenizer.encode_windows(text, pair, max_length=longest, stride=stride)
    sizes = [len(window.input_ids) for window in windows]
    logits = [
        model([window.input_ids], [window.token_type_ids]).logits[0].astype(float)
        for window in windows
    ]
    return np.average(logits, axis=0, weights=sizes), len(windows)


@pytest.mark.parametrize("stride", [None, 0, 3])
@pytest.mark.parametrize("pairs", [None, ["a mat", "the tree " * 9, "it", "x", "y", "and " * 5]])
def test_predict_is_the_mean_over_the_windows_of_a_long_text(tokenizer, pairs, stride):
    task = SingleLabelTask(["a", "b", "c"])
    model = classifier(tokenizer, task)
    texts = [*SHORT[:2], *LONG, *SHORT[2:]]
    outputs = task.predict(model, tokenizer, texts, pairs, stride=stride)
    room = (LONGEST - 2) if pairs is None else (LONGEST - 3) // 2
    used = room // 4 if stride is None else stride
    counts = []
    for i, text in enumerate(texts):
        pair = None if pairs is None else pairs[i]
        logits, count = plain_logits(model, tokenizer, text, pair, used)
        expected = np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(outputs[i], expected, rtol=2e-5)
        counts.append(count)
    assert counts.count(1) == (4 if pairs is None else 3)
    assert max(counts) > 2


def test_long_texts_do_not_change_the_bits_of_the_others(tokenizer):
    task = RegressionTask()
    model = classifier(tokenizer, task)
    texts = [*LONG, *SHORT]
    outputs = task.predict(model, tokenizer, texts)
    cut = task.predict(model, tokenizer, texts, truncate=True)
    assert outputs[2:].tolist() == cut[2:].tolist()
    assert (outputs[:2] != cut[:2]).all()
    for threads in (1, 3):
        again = task.predict(model, tokenizer, texts, threads=threads)
        assert again.tolist() == outputs.tolist()
    assert task.predict(model, tokenizer, SHORT).tolist() == (
        task.predict(model, tokenizer, SHORT, truncate=True).tolist()
    )
    assert task.predict(model, tokenizer, []).shape == (0,)


def test_windows_as_long_as_the_special_tokens_are_cut(tokenizer):
    task = RegressionTask()
    model = classifier(tokenizer, task, longest=4)
    pairs, long = ["the cat"] * len(LONG), []
    assert task.predict(model, tokenizer, LONG, pairs, long=long).tolist() == (
        task.predict(model, tokenizer, LONG, pairs, truncate=True).tolist()
    )
    assert long == [0, 1]


def test_map_windows_and_long_texts_refuse_bad_input(tokenizer):
    for stride in (-1, LONGEST - 2):
        with pytest.raises(ValueError, match="stride: expected at least 0 and less than 10"):
            map_windows(len, tokenizer, LONG, max_length=LONGEST, stride=stride)
    assert long_texts(tokenizer, [*SHORT, *LONG], max_length=LONGEST).tolist() == [4, 5]
    assert long_texts(tokenizer, [], max_length=LONGEST).tolist() == []
    with pytest.raises(TypeError, match="texts: expected several, got one string"):
        long_texts(tokenizer, "a cat", max_length=LONGEST)


@pytest.mark.parametrize("truncate", [False, True])
def test_predict_tokenizes_each_text_once(tokenizer, truncate, monkeypatch):
    task = RegressionTask()
    model, texts = classifier(tokenizer, task), [*SHORT, *LONG]
    matcher, read = tokenizer._matcher, []

    def recorded(method):
        def record(text, *others):
            read.extend([text] if isinstance(text, str) else text)
            return method(text, *others)

        return record

    for name in ("tokens", "tokens_of_batch", "ids_of_batch"):
        monkeypatch.setattr(matcher, name, recorded(getattr(matcher, name)))
    long = []
    task.predict(model, tokenizer, texts, truncate=truncate, long=long)
    assert sorted(filter(None, read)) == sorted(filter(None, texts))
    assert long == [4, 5]


@pytest.mark.parametrize("kind", [TextClassifier, TextRegressor])
def test_estimators_predict_over_windows_and_say_so(kind, caplog):
    y = [0, 1] if kind is TextClassifier else [0.5, 1.0]
    texts = ["the cat sat", "a dog ran"] * 4
    estimator = kind(epochs=1, max_length=LONGEST).fit(texts, y * 4)
    assert "windows" not in caplog.text
    predict = estimator.predict_proba if kind is TextClassifier else estimator.predict
    outputs = predict([LONG[0], "the cat"])
    assert "1 of 2 texts are longer than 12 tokens and are predicted over windows" in caplog.text
    own = estimator.task_.predict(estimator.model_, estimator.tokenizer_, [LONG[0], "the cat"])
    assert outputs.tolist() == own.tolist()


# Tagging.


@given(
    st.lists(st.sampled_from(["cat", "unrealistic", "s", "a-b", "\x00"]), max_size=20),
    st.integers(3, 16),
    st.data(),
)
def test_word_windows_overlap_by_whole_words_and_advance(words, longest, data):
    tokenizer = small_tokenizer()
    stride = data.draw(st.integers(0, longest - 3))
    sizes = [len(tokenizer.tokenize(word)) for word in words]
    windows = [(first, first + len(places), encoding)
               for encoding, first, places in word_windows(tokenizer, words, longest, stride)
              ]  # fmt: skip
    assert windows[0][0] == 0
    assert windows[-1][1] == len(words)
    for (_, stop, _), (start, _, _) in pairwise(windows):
        assert start <= stop
    for (first, end, _), (start, stop, encoding) in pairwise(windows):
        assert first < start <= end < stop
        assert sum(sizes[start:end]) <= stride
        # One more word would be too many tokens or none, or would leave no room for the next word.
        more = sum(sizes[start - 1 : end])
        most = min(stride, longest - 2 - sizes[end])
        assert start == first + 1 or more > most or more == 0
        assert len(encoding.input_ids) <= longest


def test_a_word_s_tag_is_from_the_window_with_the_most_context(tokenizer):
    task = TaggingTask(["O", "B-PET", "I-PET"])
    model = model_of(BertForTokenClassification, tokenizer, **task.config())
    words = (KNOWN * 3)[:40]
    (outputs,) = task.predict(model, tokenizer, [words], stride=4)
    windows = list(word_windows(tokenizer, words, LONGEST, 4))
    assert len(windows) > 5
    for i in range(len(words)):
        context, expected = -1, None
        for encoding, first, places in windows:
            if first <= i < first + len(places):
                place = places[i - first]
                left = np.inf if first == 0 else place
                last = first + len(places) == len(words)
                right = np.inf if last else len(encoding.input_ids) - 1 - place
                if min(left, right) > context:
                    context = min(left, right)
                    logits = model([encoding.input_ids]).logits[0, place].astype(float)
                    expected = np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(outputs[i], expected, rtol=2e-5)
    disjoint = task.predict(model, tokenizer, [words], stride=0)[0]
    assert np.abs(disjoint - outputs).max() > 1e-3
    short = words[:8]
    for options in ({}, {"stride": 0}):
        (alone,) = task.predict(model, tokenizer, [short], **options)
        assert alone.tolist() == task.predict(model, tokenizer, [short])[0].tolist()
    long = []
    task.predict(model, tokenizer, [short, words, []], long=long)
    assert long == [1]
    with pytest.raises(ValueError, match="truncate: expected false for tags"):
        task.predict(model, tokenizer, [short], truncate=True)


@given(st.text(st.sampled_from("ab é'.\u0301\x00\t中"), max_size=30))
def test_word_spans_are_those_of_the_words_of_a_text(text):
    words = small_tokenizer().words_of(text)
    spans = word_spans(text, words)
    assert [text[start:end] for start, end in spans] == words
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_word_spans_refuse_words_of_another_text():
    with pytest.raises(ValueError, match="in their order, got 'cat'"):
        word_spans("the cat sat", ["sat", "cat"])

"""Metrics on held-out sequences, the unigram baseline, and warnings about texts."""

import numpy as np
import pytest

from minibert import BertForPreTraining
from minibert.data.corpus import PackedSequences
from minibert.data.masking import mask_sequences
from minibert.data.next_sentence import next_sentence_pairs
from minibert.objectives.baselines import count_tokens, unigram_baseline
from minibert.objectives.evaluation import masked_lm_metrics, next_sentence_accuracy
from minibert.objectives.text_warnings import warn_of_text
from tests.objectives.language import small


def test_masked_lm_metrics_equal_those_of_a_call(tokenizer, packed, monkeypatch):
    rows, _ = packed
    model = small(tokenizer)
    shown, labels = mask_sequences(rows, tokenizer, np.random.default_rng(1))
    monkeypatch.setattr("minibert.objectives.evaluation.EVALUATION_ROWS", 7)
    pad = tokenizer.pad_token_id
    out = model(shown, attention_mask=(shown != pad).astype(int), labels=labels)
    measured = masked_lm_metrics(model, shown, labels, pad)
    assert measured.loss == pytest.approx(out.loss, rel=1e-5)
    places = labels != -100
    right = out.logits.argmax(axis=-1)[places] == labels[places]
    assert measured.accuracy == pytest.approx(right.mean())
    model.params["cls.predictions.bias"][0] = 1e3  # always predicts [PAD], which is never masked
    assert masked_lm_metrics(model, shown, labels, pad).accuracy == 0


def test_next_sentence_accuracy_equals_that_of_a_call(tokenizer, packed):
    model = BertForPreTraining(small(tokenizer).config)
    rng = np.random.default_rng(0)
    model.params.vector[:] += rng.normal(0, 0.3, model.params.vector.size)
    rows, pad = packed[0], tokenizer.pad_token_id
    ids, types, labels = next_sentence_pairs(rows, np.arange(len(rows)), tokenizer, rng)
    mask = (ids != pad).astype(int)
    shares = [
        float((model(ids, each, mask).seq_relationship_logits.argmax(axis=-1) == labels).mean())
        for each in (types, 0 * types)
    ]
    assert shares[0] != shares[1]  # the segments matter
    assert next_sentence_accuracy(model, ids, types, labels, pad) == pytest.approx(shares[0])


def test_unigram_baseline_is_the_cross_entropy_of_smoothed_counts(tokenizer):
    the, cat, dog = tokenizer.convert_tokens_to_ids(["the", "cat", "dog"])
    rows = np.array([[tokenizer.cls_token_id, the, the, the, cat, tokenizer.sep_token_id]])
    labels = np.array([[-100, the, cat, dog, the, -100]])
    ordinary = tokenizer.vocab_size - len(tokenizer.all_special_ids)
    total = 4 + ordinary  # one is added to each count
    expected = -np.mean(np.log(np.array([4, 2, 1, 4]) / total))
    measured = unigram_baseline(count_tokens(rows, tokenizer), labels, tokenizer)
    assert measured.loss == pytest.approx(expected)
    assert measured.accuracy == 0.5


def test_warn_of_text_names_each_reason(tokenizer, caplog):
    warn_of_text(0.1, 10**6, tokenizer, 99)
    assert not caplog.records
    warn_of_text(0.5, 100, tokenizer, 400)
    times, lines, few = (record.message for record in caplog.records)
    assert "400 times through the text" in times
    assert "50% of the lines" in lines
    assert f"100 tokens are few for a vocabulary of {len(tokenizer)} pieces" in few


def test_count_tokens_and_unigram_baseline_do_not_change_their_inputs(tokenizer, packed):
    stream = packed[0].reshape(-1)
    known = np.bincount(stream, minlength=len(tokenizer))
    kept = known.copy()
    counts = count_tokens(PackedSequences(stream, tokenizer, 16, known), tokenizer)
    assert (known == kept).all()
    assert (counts == count_tokens(packed[0], tokenizer)).all()
    before = counts.copy()
    unigram_baseline(counts, np.array([[7, -100]]), tokenizer)
    assert (counts == before).all()

"""Tokenizers with added tokens, and models with more ids than a tokenizer, in every consumer."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from minibert import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    FeatureExtractor,
    TextClassifier,
    TokenTagger,
)
from minibert.data.corpus import pack
from minibert.data.masking import mask_sequences
from minibert.data.token_cache import tokenize_corpus
from minibert.functional import IGNORED
from minibert.inspection import inspect_text
from minibert.objectives.baselines import count_tokens, unigram_baseline
from minibert.objectives.masked_lm import MaskedLM
from minibert.objectives.text_warnings import MIN_TOKENS_PER_PIECE, warn_of_text
from minibert.tokenization import WordPieceTokenizer
from minibert.training import Settings
from minibert.training.defaults import fresh_config
from minibert.training.pretraining import guess
from tests.cli.helpers import assert_refused, run, write_lines
from tests.conftest import small_tokenizer

ADDED = ["New York", "<x>"]
TEXTS = ["the cat sat in New York <x>", "a dog ran to New York", "the big red tree", "<x> it was"]
SIZES = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}


def tokenizer_with(added=ADDED):
    tokenizer = small_tokenizer()
    tokenizer.add_tokens(added)
    return tokenizer


def model_for(size, kind=BertForMaskedLM):
    return kind(BertConfig.preset("tiny", vocab_size=size, max_position_embeddings=16, **SIZES))


@pytest.fixture
def tokenizer():
    return tokenizer_with()


def folder_with(folder, size, kind=BertForMaskedLM):
    """Write a tokenizer with added tokens, and a model of `size` ids."""
    tokenizer_with().save_pretrained(folder)
    model_for(size, kind).save_pretrained(folder)
    return folder


@pytest.fixture
def corpus(tmp_path):
    """Return a file of short documents (path)."""
    return write_lines(tmp_path / "corpus.txt", *(f"{text}\n" for text in TEXTS * 40))


def test_a_new_model_has_a_row_for_each_token(tokenizer):
    assert len(tokenizer) == tokenizer.vocab_size + 2
    assert fresh_config("tiny", tokenizer, 16).vocab_size == len(tokenizer)


def test_masking_and_baselines_know_added_tokens(tokenizer):
    rows = pack([TEXTS] * 30, tokenizer, 16)
    new = tokenizer.convert_tokens_to_ids(ADDED)
    masked, noise = set(), set()
    for seed in range(60):
        ids, labels = mask_sequences(rows, tokenizer, np.random.default_rng(seed))
        masked.update(labels[labels != IGNORED])
        noise.update(ids[(labels != IGNORED) & (ids != rows) & (ids != tokenizer.mask_token_id)])
    assert set(new) <= masked
    assert set(new) <= noise
    counts = count_tokens(rows, tokenizer)
    assert counts.shape == (len(tokenizer),)
    assert (counts[new] == (rows[..., None] == new).sum(axis=(0, 1))).all()
    assert np.isfinite(unigram_baseline(counts, labels, tokenizer).loss)


def test_an_added_token_can_be_the_most_probable_one(tokenizer):
    model = model_for(len(tokenizer) + 30)
    model.params["cls.predictions.bias"][tokenizer.convert_tokens_to_ids(ADDED)] = 50, 40
    ((first, second),) = guess(model, tokenizer, "the [MASK]", 2)
    assert [first[0], second[0]] == ADDED


def test_the_warning_of_little_text_counts_added_tokens(tokenizer, caplog):
    warn_of_text(0, MIN_TOKENS_PER_PIECE * len(tokenizer), tokenizer, 1)
    assert not caplog.records
    warn_of_text(0, MIN_TOKENS_PER_PIECE * len(tokenizer) - 1, tokenizer, 1)
    assert f"a vocabulary of {len(tokenizer)} pieces" in caplog.text


def test_pretraining_needs_a_row_for_each_token(tokenizer):
    rows = pack([TEXTS] * 8, tokenizer, 16)
    settings = Settings(steps=1, batch_size=4)
    narrow = model_for(tokenizer.vocab_size)
    with pytest.raises(ValueError, match=r"tokenizer: expected at most .*\.resize_token_emb"):
        MaskedLM(narrow, tokenizer, rows, rows, settings)
    narrow.resize_token_embeddings(len(tokenizer))
    for model in (narrow, model_for(len(tokenizer) + 30)):
        objective = MaskedLM(model, tokenizer, rows, rows, settings)
        ((shard, labels), *_) = objective.shards(1)
        assert np.isfinite(model.loss_and_grads(shard, labels)[0])
        assert np.isfinite(objective.metrics().loss)


def test_a_text_with_an_unknown_id_is_refused_with_the_remedy(tokenizer, tmp_path, capsys):
    folder = folder_with(tmp_path, tokenizer.vocab_size)
    extractor = FeatureExtractor.from_pretrained(folder)
    assert np.isfinite(extractor(["the cat"])).all()  # without an added token
    with pytest.raises(ValueError, match=r"input_ids: .* resize_token_embeddings"):
        extractor(TEXTS)
    assert_refused(capsys, ["embed", folder, TEXTS[0]], "resize_token_embeddings")
    assert_refused(capsys, ["fill-mask", folder, "[MASK] New York"], "resize_token_embeddings")
    model, found = (
        BertForMaskedLM.from_pretrained(folder),
        WordPieceTokenizer.from_pretrained(folder),
    )
    model.resize_token_embeddings(len(found))
    found.save_pretrained(tmp_path / "wide")
    model.save_pretrained(tmp_path / "wide")
    assert FeatureExtractor.from_pretrained(tmp_path / "wide")(TEXTS).shape == (4, 16)
    assert run(["fill-mask", tmp_path / "wide", "[MASK] New York"]) == 0


@pytest.mark.parametrize("estimator", [TextClassifier, TokenTagger])
def test_fine_tuning_adds_the_missing_rows_and_reports_them(tmp_path, caplog, estimator):
    tokenizer = tokenizer_with()
    folder = folder_with(tmp_path, tokenizer.vocab_size)
    labels = [0, 1, 0, 1]
    texts = TEXTS
    if estimator is TokenTagger:
        texts = [["New York", "cat"], ["<x>", "dog"]] * 2
        labels = [["A", "B"], ["B", "A"]] * 2
    fitted = estimator(folder, epochs=1, batch_size=2, threads=1).fit(texts, labels)
    assert f"2 tokens are new to the model of {tokenizer.vocab_size}" in caplog.text
    assert fitted.model_.config.vocab_size == len(fitted.tokenizer_) == len(tokenizer)
    assert len(fitted.predict(texts)) == 4


@pytest.mark.parametrize("surplus", [0, 40])
def test_predicted_and_shown_tokens_are_those_of_the_tokenizer(tokenizer, surplus, monkeypatch):
    """A model may have more ids, for a round number; the highest logits are given to these."""
    model = model_for(len(tokenizer) + surplus)
    model.params["cls.predictions.bias"][len(tokenizer) :] = 9
    text = "the [MASK] in New York"
    ((best, *_), *_) = guess(model, tokenizer, text, 3)
    assert best[0] in tokenizer.vocab
    inspection = inspect_text(model, tokenizer, text, backward=True)
    names = [name for _, answers in inspection.predictions for name, _ in answers]
    assert names[0] == best[0]
    assert set(names) <= tokenizer.vocab.keys()
    assert "New York" in inspection.tokens
    assert inspect_text(model, tokenizer, text, label="New York", backward=True).score
    narrow = model_for(tokenizer.vocab_size)
    with pytest.raises(ValueError, match="label: expected a single token"):
        inspect_text(narrow, tokenizer, "the [MASK]", label="New York", backward=True)


def test_token_caches_count_added_tokens(tokenizer, corpus, tmp_path):
    found = tokenize_corpus([corpus], tokenizer, held_out=0.3, folder=tmp_path / "tokens")
    assert found.train.counts[-2:].min() > 0
    assert len(found.train.counts) == len(tokenizer)


@pytest.mark.slow
def test_pretrain_takes_added_tokens(tokenizer, corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    arguments = ["pretrain", corpus, "--tokenizer", tmp_path / "tokenizer", "--length", 16]
    arguments += ["--held-out", corpus, "--steps", 1, "--batch-size", 2]
    assert run([*arguments, "--out", tmp_path / "model"]) == 0
    model = BertForMaskedLM.from_pretrained(tmp_path / "model")
    assert model.config.vocab_size == len(tokenizer)
    saved = WordPieceTokenizer.from_pretrained(tmp_path / "model")
    assert dict(saved.vocab) == dict(tokenizer.vocab)


def test_names_on_the_hub_are_read_with_their_added_tokens(tokenizer, tmp_path, monkeypatch):
    folder = folder_with(tmp_path / "there", len(tokenizer), BertModel)
    hub = SimpleNamespace(snapshot_download=lambda name, allow_patterns: folder)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.chdir(tmp_path)
    extractor = FeatureExtractor.from_pretrained("some/model")
    assert extractor(TEXTS).shape == (4, 16)
    assert extractor.tokenizer.tokenize("New York <x>") == ADDED

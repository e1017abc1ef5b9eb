"""Round trips: save and load, encode and decode, one thread and many."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minibert import BertForMaskedLM, BertForSequenceClassification, WordPieceTokenizer
from minibert.data.masking import mask_sequences
from minibert.gradcheck import away_from_initial
from minibert.models import BertModel
from minibert.testing import batches, configs, parameters, texts, vocabularies
from minibert.testing.cases.examples import labelled_models
from minibert.tokenization import Normalizer
from minibert.training import AdamW, Engine, split_batch
from tests.properties.test_losses import batch_of, rows_of

KINDS = st.sampled_from([BertModel, BertForMaskedLM, BertForSequenceClassification])
DTYPES = st.sampled_from([np.float32, np.float64])
in_one_folder = settings(
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@in_one_folder
@given(data=st.data(), config=configs(), kind=KINDS, dtype=DTYPES)
def test_save_and_load_of_a_model_is_bitwise_exact(tmp_path, data, config, kind, dtype):
    model = kind(config, params=data.draw(parameters(kind(config).params, dtype=dtype)))
    model.save_pretrained(tmp_path)
    back = kind.from_pretrained(tmp_path, dtype=dtype, strict=True)
    assert back.config == config
    assert (back.params.vector == model.params.vector).all()
    batch = data.draw(batches(config))
    one, other = (vars(m(**batch)) for m in (model, back))
    assert all((one[name] == other[name]).all() for name in one if one[name] is not None)


@in_one_folder
@given(pieces=vocabularies(), lists=st.lists(texts(), min_size=1, max_size=3))
def test_save_and_load_of_a_tokenizer_and_offsets_of_its_tokens(tmp_path, pieces, lists):
    tokenizer = WordPieceTokenizer(pieces)
    tokenizer.save_pretrained(tmp_path)
    back = WordPieceTokenizer.from_pretrained(tmp_path)
    for text in lists:
        encoding = tokenizer.encode(text)
        assert back.encode(text) == encoding
        assert tokenizer.convert_tokens_to_ids(encoding.tokens) == encoding.input_ids
        inside = [*zip(encoding.tokens, encoding.offsets, strict=True)][1:-1]
        assert [start for _, (start, _) in inside] == sorted(start for _, (start, _) in inside)
        for token, (start, end) in inside:
            if token not in tokenizer.all_special_tokens:
                letters = token.removeprefix("##")
                made = "".join(Normalizer().normalize(text[start:end]).split())
                assert made == letters or len(made) > len(
                    letters
                )  # one character may normalize to several


@given(st.lists(st.sampled_from("a bc abc é 中 . ! '".split())).map(" ".join))
def test_decode_of_encode_returns_known_words(text):
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcé中.!'", "##b", "##c"]
    tokenizer = WordPieceTokenizer(pieces, strip_accents=False)
    assert tokenizer.decode(tokenizer.encode(text).input_ids) == text


@pytest.fixture(scope="module")
def rows(tokenizer):
    text = "the cat sat on the big red mat and then it was the dog that ran under a tree"
    return np.array([tokenizer.encode(text, max_length=8).input_ids] * 9)


@settings(max_examples=15)
@given(config=configs(), parts=st.integers(1, 5), seed=st.integers(0, 99))
def test_a_step_is_bitwise_equal_for_any_threads_and_rounds_by_shards(
    tokenizer, rows, config, parts, seed
):
    config = replace(config, vocab_size=len(tokenizer), max_position_embeddings=8)
    shown, labels = mask_sequences(rows, tokenizer, np.random.default_rng(seed))
    batch = {"input_ids": shown}

    def step(config, parts, threads, order=1):
        model = BertForMaskedLM(config, seed=seed, dtype=np.float64)
        engine = Engine(model, AdamW(model.params), seed=seed, threads=threads)
        engine.step(split_batch(batch, labels, parts)[::order], 1e-3)
        return engine.grads.vector.copy(), model.params.vector

    for alone, together in zip(step(config, parts, 1), step(config, parts, 3), strict=True):
        assert (alone == together).all()
    still = replace(
        config, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, classifier_dropout=0.0
    )
    whole = step(still, 1, 1)[0]
    for order in (1, -1):
        cut = step(still, parts, 2, order)[0]
        np.testing.assert_allclose(cut, whole, rtol=0, atol=1e-12 * np.abs(whole).max())


@pytest.mark.parametrize("task", labelled_models(), ids=lambda task: task.name)
@settings(max_examples=4)
@given(
    parts=st.integers(1, 6),
    threads=st.sampled_from([2, 3, 5, 8]),
    recomputed=st.booleans(),
    frozen=st.none() | st.integers(0, 2),
)
def test_every_head_trains_bitwise_equally_on_more_threads(
    task, parts, threads, recomputed, frozen
):
    twice = np.tile(np.arange(3), 2)
    shards = split_batch(batch_of(task, twice), rows_of(task.labels, twice), parts)

    def trained(threads):
        params = away_from_initial(task.kind(task.config).params).astype(np.float32)
        model = task.kind(task.config, params=params)
        if recomputed:
            model.gradient_checkpointing_enable()
        model.freeze(frozen)
        engine = Engine(model, AdamW(model.params), threads=threads)
        return [engine.step(shards, 1e-2) for _ in range(2)], model.params.vector

    (alone, vector), (together, other) = trained(1), trained(threads)
    assert together == alone
    assert (other == vector).all()

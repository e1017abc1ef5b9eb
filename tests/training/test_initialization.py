"""The start of pre-training from the counts of the text."""

import numpy as np
import pytest

from minibert import (
    AlbertConfig,
    AlbertForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    WordPieceTokenizer,
)
from minibert.data.masking import mask_sequences
from minibert.functional import sinusoidal_positions
from minibert.layers.embeddings import POSITIONS, WORDS
from minibert.objectives.baselines import count_tokens, unigram_baseline
from minibert.objectives.evaluation import masked_lm_metrics
from minibert.training import initialization
from minibert.training.initialization import (
    attend_to_neighbours,
    count_embeddings,
    initialize_from_text,
    text_embeddings,
)

WORD, POSITION = f"bert.embeddings.{WORDS}", f"bert.embeddings.{POSITIONS}"
V = 40


@pytest.fixture
def tokenizer():
    """A tokenizer of `V` pieces."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return WordPieceTokenizer([*special, *(f"w{i}" for i in range(V - 5))])


def config(**changes):
    """A small configuration with as many tokens as the tokenizer."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
             "intermediate_size": 24, "max_position_embeddings": 12}  # fmt: skip
    rates = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return BertConfig(**{"vocab_size": V, **sizes, **rates, "initializer_range": 0.1, **changes})


def text(count=4000, seed=0):
    """Ids of a random text whose tokens have different frequencies and neighbours."""
    rng = np.random.default_rng(seed)
    ids = [5]
    for draw in rng.random(count - 1):
        ids.append(5 + (2 * (ids[-1] - 5) + int(3 * draw**2)) % (V - 5))
    return np.array(ids)


def plain_information(ids, size):
    """The positive mutual information of all pairs, with one expression for each formula."""
    counts = np.zeros((size, size))
    for t, word in enumerate(ids):
        for s in range(max(t - 2, 0), min(t + 3, len(ids))):
            counts[word, ids[s]] += s != t
    joint = counts / counts.sum()
    smooth = counts.sum(axis=0) ** 0.75
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = joint / (joint.sum(axis=1)[:, None] * (smooth / smooth.sum()))
        return np.where(joint > 0, np.maximum(np.log(ratio), 0), 0)


def test_count_embeddings_factorize_the_mutual_information():
    ids = text(600)
    M = plain_information(ids, V)
    E = count_embeddings(ids, V, V, np.random.default_rng(0)).astype(np.float64)
    left, values, _ = np.linalg.svd(M)
    np.testing.assert_allclose(E @ E.T, left * values @ left.T, atol=2e-4)


def test_fewer_dimensions_keep_the_largest_singular_values():
    ids = text(600)
    left, values, _ = np.linalg.svd(plain_information(ids, V))
    E = count_embeddings(ids, V, 6, np.random.default_rng(0)).astype(np.float64)
    expected = left[:, :6] * values[:6] @ left[:, :6].T
    assert np.linalg.norm(E @ E.T - expected) < 0.02 * np.linalg.norm(expected)


def test_words_with_equal_neighbours_are_similar():
    rng = np.random.default_rng(1)
    ids = np.array(
        [token for _ in range(2000) for token in (5 + rng.integers(5), 10, 15 + rng.integers(9))]
    )
    E = count_embeddings(ids, V, 8, rng)
    E = E / np.maximum(np.linalg.norm(E, axis=1, keepdims=True), 1e-9)
    same, other = E[5:10] @ E[5:10].T, E[5:10] @ E[15:24].T
    assert same.min() > 1.5 * other.max()


def test_a_token_that_never_occurs_has_the_vector_0(tokenizer):
    ids = text()
    ids = np.where(ids == 17, 18, ids)
    absent = count_embeddings(ids, V, 8, np.random.default_rng(0))[17]
    np.testing.assert_allclose(absent, 0, atol=1e-12)
    model = BertForMaskedLM(config(), seed=3)
    initialize_from_text(model, ids, tokenizer)
    assert model.params[WORD][18].any()
    assert not model.params[WORD][17].any()
    assert not model.params[WORD][tokenizer.pad_token_id].any()


@pytest.mark.parametrize("limit", [V * 7, V * V, 1])
def test_only_the_most_frequent_neighbours_are_counted_in_a_large_vocabulary(monkeypatch, limit):
    monkeypatch.setattr(initialization, "MAX_COUNTS", limit)
    ids = text()
    column = initialization._columns(np.bincount(ids, minlength=V))
    table = initialization._count([initialization._pairs(ids)], column)
    assert table.shape == (V, min(max(limit // V, 1), V))
    assert np.isfinite(count_embeddings(text(), V, 16, np.random.default_rng(0))).all()


def test_a_long_text_is_sampled_evenly(monkeypatch):
    monkeypatch.setattr(initialization, "MAX_TOKENS", 100)
    monkeypatch.setattr(initialization, "BLOCK", 10)
    ids = np.arange(10_007, dtype=np.int32)
    sample = initialization._sample(ids)
    assert (len(sample), sample[0], sample[-1]) == (100, 0, 10_006)
    assert np.ptp(np.diff(sample.reshape(10, 10)[:, 0])) <= 1
    np.testing.assert_array_equal(np.diff(sample.reshape(10, 10), axis=1), 1)
    assert len(initialization._sample(ids[:99])) == 99


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_each_head_attends_most_to_its_neighbour(heads):
    sizes = {"hidden_size": 64, "num_attention_heads": heads, "initializer_range": 1e-3}
    model = BertForMaskedLM(config(**sizes), seed=0)
    table = sinusoidal_positions(12, 64, base=12)
    attend_to_neighbours(model)
    for layer in range(2):
        query_weight, key_weight = (
            model.params[f"bert.encoder.layer.{layer}.attention.self.{role}.weight"]
            for role in ("query", "key")
        )
        query, key = table @ query_weight.T, table @ key_weight.T
        for k in range(heads):
            part, shift = slice(k * 64 // heads, (k + 1) * 64 // heads), (-1, 1, -2, 2)[k]
            inside = np.arange(max(-shift, 0), 12 - max(shift, 0))
            copied = np.abs(key_weight[part]).argmax(axis=1)  # the columns that the head reads
            assert set(copied // 2 % heads) == {k}  # its share of the frequencies, low and high
            scores = query[inside, part] @ key[:, part].T
            np.testing.assert_array_equal(scores.argmax(axis=1), inside + shift)


def test_the_first_loss_is_about_that_of_counting(tokenizer):
    ids = text()
    rows = np.concatenate(
        [np.full((300, 1), 2), ids[:3000].reshape(300, 10), np.full((300, 1), 3)], 1
    )
    held_out, labels = mask_sequences(rows, tokenizer, np.random.default_rng(0))
    counting = unigram_baseline(count_tokens(rows, tokenizer), labels, tokenizer).loss
    model = BertForMaskedLM(config(), seed=0)
    random = masked_lm_metrics(model, held_out, labels, 0).loss
    initialize_from_text(model, ids, tokenizer)
    assert masked_lm_metrics(model, held_out, labels, 0).loss < counting + 0.5 * (random - counting)


def test_the_other_parts_begin_as_stated(tokenizer):
    ids = text()
    model, before = (BertForMaskedLM(config(), seed=0) for _ in range(2))
    initialize_from_text(model, ids, tokenizer)
    changed = {name for name in model.params if (model.params[name] != before.params[name]).any()}
    fixed = {name for name in model.params if "value" in name or "intermediate" in name}
    assert fixed
    assert not changed & fixed
    transform = "cls.predictions.transform.dense.weight"
    np.testing.assert_allclose(
        model.params[transform] - before.params[transform], np.eye(16), atol=1e-6
    )
    counts = np.bincount(ids, minlength=V) + 1
    bias = model.params["cls.predictions.bias"]
    np.testing.assert_allclose(np.exp(bias - bias[7]), counts / counts[7], rtol=1e-5)
    expected = 0.1 * np.sqrt(2) * sinusoidal_positions(12, 16, base=12)
    np.testing.assert_allclose(model.params[POSITION], expected, atol=1e-7)


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": 15, "num_attention_heads": 1},
        {"hidden_size": 15, "num_attention_heads": 3},
        {"hidden_size": 12, "num_attention_heads": 4},
        {"position_embedding_type": "sinusoidal"},
        {"max_position_embeddings": 1},
        {"hidden_size": 64},
    ],
)
@pytest.mark.parametrize("count", [1, 2, 3, 50])
def test_any_sizes_and_any_text_give_finite_weights(tokenizer, changes, count):
    model = BertForMaskedLM(config(**changes), seed=0)
    initialize_from_text(model, text()[:count], tokenizer)
    assert np.isfinite(model.params.vector).all()


def albert(**changes):
    """Return an ALBERT with the sizes of `config`, and narrow tables of 8 units."""
    fields = {
        n: v for n, v in vars(config()).items() if n not in ("id2label", "classifier_dropout")
    }
    return AlbertForMaskedLM(AlbertConfig(**{**fields, "embedding_size": 8, **changes}), seed=0)


def test_the_first_loss_of_narrow_tables_is_about_that_of_counting(tokenizer):
    ids = text()
    rows = np.pad(ids[:3000].reshape(300, 10), ((0, 0), (1, 1)), constant_values=3)
    held_out, labels = mask_sequences(rows, tokenizer, np.random.default_rng(0))
    counting = unigram_baseline(count_tokens(rows, tokenizer), labels, tokenizer).loss
    model = albert()
    random = masked_lm_metrics(model, held_out, labels, 0).loss
    initialize_from_text(model, ids, tokenizer)
    assert masked_lm_metrics(model, held_out, labels, 0).loss < counting + 0.5 * (random - counting)


def test_the_maps_of_narrow_tables_begin_with_the_identity(tokenizer):
    model, before = albert(), albert()
    initialize_from_text(model, text(), tokenizer)
    for name, shape in (("bert.embeddings.project.weight", (16, 8)),
                        ("cls.predictions.transform.dense.weight", (8, 16))):  # fmt: skip
        added = model.params[name] - before.params[name]
        np.testing.assert_allclose(added, np.eye(*shape), atol=1e-6)
    query = "bert.encoder.layer.0.0.attention.self.query.weight"
    added = model.params[query] - before.params[query]
    assert added[:, :8].any()
    assert not added[:, 8:].any()  # the units without positions
    for sizes in ({"embedding_size": 24}, {"embedding_size": 3}, {"embedding_size": 1}):
        model = albert(**sizes)
        initialize_from_text(model, text(), tokenizer)
        assert np.isfinite(model.params.vector).all()


def test_the_embeddings_have_the_configured_spread(tokenizer):
    model = BertForMaskedLM(config(), seed=0)
    initialize_from_text(model, text(), tokenizer)
    for name, rows in ((WORD, slice(5, V)), (POSITION, slice(None))):
        lengths = np.linalg.norm(model.params[name][rows], axis=1)
        np.testing.assert_allclose(lengths, 0.1 * np.sqrt(16), rtol=1e-5)


def test_equal_seeds_give_equal_bits_and_others_do_not(tokenizer):
    vectors = []
    for seed in (0, 0, 1):
        model = BertForMaskedLM(config(), seed=0)
        initialize_from_text(model, text(), tokenizer, seed)
        vectors.append(model.params.vector.tobytes())
    assert vectors[0] == vectors[1] != vectors[2]


def sets_of_ids(count=50, seed=0):
    """Random sets of the tokens from 5 to 17, of different sizes."""
    rng = np.random.default_rng(seed)
    return [rng.choice(np.arange(5, 18), rng.integers(1, 9), replace=False) for _ in range(count)]


@pytest.mark.parametrize("at_once", [1, 60, 10**6])
def test_text_embeddings_factorize_the_mutual_information_of_tokens_of_a_text(monkeypatch, at_once):
    monkeypatch.setattr(initialization, "PAIRS_AT_ONCE", at_once)
    sets = sets_of_ids()
    X = np.zeros((len(sets), V))
    for row, ids in zip(X, sets, strict=True):
        row[ids] = 1
    counts = X.T @ X * (1 - np.eye(V))
    smooth = counts.sum(axis=0) ** 0.75
    with np.errstate(divide="ignore", invalid="ignore"):
        joint, single = counts / counts.sum(), counts.sum(axis=1) / counts.sum()
        ratio = joint / (single[:, None] * (smooth / smooth.sum()))
        M = np.where(joint > 0, np.maximum(np.log(ratio), 0), 0)
    left, values, _ = np.linalg.svd(M)
    E = text_embeddings(sets, V, V, np.random.default_rng(0)).astype(np.float64)
    np.testing.assert_allclose(E @ E.T, left * values @ left.T, atol=2e-4)
    np.testing.assert_allclose(E[18:], 0, atol=1e-6)

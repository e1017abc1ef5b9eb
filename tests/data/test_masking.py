"""mask_tokens: number and choice of targets, replacements, special tokens."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert.data.masking import mask_sequences, mask_tokens

SPECIAL, MASK, VOCAB = [0, 1, 2, 3, 4], 4, 30


def random_ids(rng, count, length):
    """Return padded sequences (count, length) of random ids."""
    ids = rng.integers(5, VOCAB, (count, length))
    ids[:, 0] = 2
    for i, end in enumerate(rng.integers(1, length, count)):
        ids[i, end] = 3
        ids[i, end + 1 :] = 0
    return ids


@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(2, 40))
def test_mask_tokens_chooses_the_exact_number_of_ordinary_tokens(seed, count, length):
    rng = np.random.default_rng(seed)
    ids = random_ids(rng, count, length)
    input_ids, labels = mask_tokens(ids, SPECIAL, MASK, VOCAB, rng)
    target = labels != -100
    assert not np.isin(ids[target], SPECIAL).any()
    assert (labels[target] == ids[target]).all()
    assert (input_ids[~target] == ids[~target]).all()
    assert not np.isin(input_ids[target], [0, 1, 2, 3]).any()
    ordinary = (~np.isin(ids, SPECIAL)).sum(axis=1)
    expected = [max(1, round(0.15 * n)) if n else 0 for n in ordinary]
    assert target.sum(axis=1).tolist() == expected


@given(st.integers(0, 2**32))
@settings(max_examples=5)
def test_mask_tokens_replaces_80_10_10_per_cent_of_targets(seed):
    rng = np.random.default_rng(seed)
    ids = rng.integers(5, VOCAB, (1000, 100))
    input_ids, labels = mask_tokens(ids, SPECIAL, MASK, VOCAB, rng)
    target = labels != -100
    masked = (input_ids == MASK)[target].mean()
    kept = (input_ids == ids)[target].mean()
    noise = 1 - masked - kept
    # With 15,000 draws the standard deviation is 0.0033 for the first fraction and 0.0026 for the
    # others; six are allowed. One noise token of 25 equals the original token.
    assert masked == pytest.approx(0.8, abs=0.02)
    assert kept == pytest.approx(0.1 + 0.1 / 25, abs=0.016)
    assert noise == pytest.approx(0.1 - 0.1 / 25, abs=0.016)


def test_mask_tokens_labels_unsigned_ids_with_minus_100():
    ids = np.arange(5, 25, dtype=np.uint8)[None]
    _, labels = mask_tokens(ids, SPECIAL, MASK, VOCAB, np.random.default_rng(0))
    assert (labels == -100).sum() == 17


def test_mask_tokens_draws_noise_uniformly():
    rng = np.random.default_rng(1)
    ids = np.full((2000, 100), 5)
    input_ids, labels = mask_tokens(ids, SPECIAL, MASK, VOCAB, rng)
    counts = np.bincount(input_ids[(labels != -100) & (input_ids != MASK)], minlength=VOCAB)[6:]
    assert counts.min() > 0.7 * counts.mean()
    assert counts.max() < 1.3 * counts.mean()


def test_mask_tokens_chooses_positions_uniformly():
    rng = np.random.default_rng(2)
    ids = np.tile(np.arange(5, 25), (5000, 1))
    _, labels = mask_tokens(ids, SPECIAL, MASK, VOCAB, rng)
    share = (labels != -100).mean(axis=0)
    assert share == pytest.approx(np.full(20, 0.15), abs=0.025)


def test_mask_tokens_depends_on_the_generator():
    ids = np.tile(np.arange(5, 25), (8, 1))
    one, again, other = (
        mask_tokens(ids, SPECIAL, MASK, VOCAB, np.random.default_rng(seed))[1] for seed in (0, 0, 1)
    )
    assert (one == again).all()
    assert (one != other).any()


def test_mask_tokens_draws_noise_from_the_first_to_the_last_ordinary_token():
    ids = np.full((300, 100), 9)
    input_ids, _ = mask_tokens(ids, SPECIAL, MASK, VOCAB, np.random.default_rng(3))
    assert set(np.unique(input_ids)) == {MASK, *range(5, VOCAB)}


def test_mask_sequences_takes_special_ids_from_the_tokenizer(tokenizer):
    ids = np.array([tokenizer.encode("the cat sat on the big red mat").input_ids] * 20)
    input_ids, labels = mask_sequences(ids, tokenizer, np.random.default_rng(0))
    special, mask_id = tokenizer.all_special_ids, tokenizer.mask_token_id
    again = mask_tokens(ids, special, mask_id, len(tokenizer), np.random.default_rng(0))
    assert (input_ids == again[0]).all()
    assert (labels == again[1]).all()
    assert (input_ids == mask_id).any()


@given(st.integers(0, 2**32), st.floats(0, 1))
def test_mask_tokens_masks_the_given_share(seed, share):
    ids = np.full((3, 20), 9)
    _, labels = mask_tokens(ids, SPECIAL, MASK, VOCAB, np.random.default_rng(seed), share)
    assert ((labels != -100).sum(axis=1) == max(1, round(share * 20))).all()

"""The masking: how many, which, what they become, and never a special token."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert.data.masking import mask_sequences, mask_tokens

SPECIAL, MASK, VOCAB = [0, 1, 2, 3, 4], 4, 30


def rows(rng, count, length):
    ids = rng.integers(5, VOCAB, (count, length))
    ids[:, 0] = 2
    for i, end in enumerate(rng.integers(1, length, count)):
        ids[i, end] = 3
        ids[i, end + 1 :] = 0
    return ids


@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(2, 40))
def test_targets_are_ordinary_tokens_and_their_number_is_exact(seed, count, length):
    rng = np.random.default_rng(seed)
    ids = rows(rng, count, length)
    shown, labels = mask_tokens(ids, SPECIAL, MASK, VOCAB, rng)
    target = labels != -100
    assert not np.isin(ids[target], SPECIAL).any()
    assert (labels[target] == ids[target]).all()
    assert (shown[~target] == ids[~target]).all()
    assert not np.isin(shown[target], [0, 1, 2, 3]).any()
    ordinary = (~np.isin(ids, SPECIAL)).sum(axis=1)
    expected = [max(1, round(0.15 * n)) if n else 0 for n in ordinary]
    assert target.sum(axis=1).tolist() == expected


@given(st.integers(0, 2**32))
@settings(max_examples=5)
def test_four_in_five_targets_are_hidden_one_in_ten_is_noise_one_in_ten_stays(seed):
    rng = np.random.default_rng(seed)
    ids = rng.integers(5, VOCAB, (1000, 100))
    shown, labels = mask_tokens(ids, SPECIAL, MASK, VOCAB, rng)
    target = labels != -100
    hidden = (shown == MASK)[target].mean()
    kept = (shown == ids)[target].mean()
    noise = 1 - hidden - kept
    # 15,000 draws: a standard deviation is 0.0033 for the first share, 0.0026 for the others, and
    # six of them are allowed. Noise hits the token itself once in 25 draws.
    assert hidden == pytest.approx(0.8, abs=0.02)
    assert kept == pytest.approx(0.1 + 0.1 / 25, abs=0.016)
    assert noise == pytest.approx(0.1 - 0.1 / 25, abs=0.016)


def test_labels_of_unsigned_ids_can_be_ignored():
    ids = np.arange(5, 25, dtype=np.uint8)[None]
    _, labels = mask_tokens(ids, SPECIAL, MASK, VOCAB, np.random.default_rng(0))
    assert (labels == -100).sum() == 17


def test_noise_is_drawn_from_all_ordinary_tokens_alike():
    rng = np.random.default_rng(1)
    ids = np.full((2000, 100), 5)
    shown, labels = mask_tokens(ids, SPECIAL, MASK, VOCAB, rng)
    counts = np.bincount(shown[(labels != -100) & (shown != MASK)], minlength=VOCAB)[6:]
    assert counts.min() > 0.7 * counts.mean()
    assert counts.max() < 1.3 * counts.mean()


def test_every_token_is_a_target_equally_often():
    rng = np.random.default_rng(2)
    ids = np.tile(np.arange(5, 25), (5000, 1))
    _, labels = mask_tokens(ids, SPECIAL, MASK, VOCAB, rng)
    share = (labels != -100).mean(axis=0)
    assert share == pytest.approx(np.full(20, 0.15), abs=0.025)


def test_other_generators_mask_otherwise_and_the_same_one_alike():
    ids = np.tile(np.arange(5, 25), (8, 1))
    one, again, other = (
        mask_tokens(ids, SPECIAL, MASK, VOCAB, np.random.default_rng(seed))[1] for seed in (0, 0, 1)
    )
    assert (one == again).all()
    assert (one != other).any()


def test_every_ordinary_token_can_be_noise_from_the_first_to_the_last():
    ids = np.full((300, 100), 9)
    shown, _ = mask_tokens(ids, SPECIAL, MASK, VOCAB, np.random.default_rng(3))
    assert set(np.unique(shown)) == {MASK, *range(5, VOCAB)}


def test_a_tokenizer_says_what_is_special(tokenizer):
    rows = np.array([tokenizer.encode("the cat sat on the big red mat").input_ids] * 20)
    shown, labels = mask_sequences(rows, tokenizer, np.random.default_rng(0))
    special, mask_id = tokenizer.all_special_ids, tokenizer.mask_token_id
    again = mask_tokens(rows, special, mask_id, len(tokenizer), np.random.default_rng(0))
    assert (shown == again[0]).all()
    assert (labels == again[1]).all()
    assert (shown == mask_id).any()


@given(st.integers(0, 2**32), st.floats(0, 1))
def test_the_share_of_targets_is_the_one_that_is_asked_for(seed, share):
    ids = np.full((3, 20), 9)
    _, labels = mask_tokens(ids, SPECIAL, MASK, VOCAB, np.random.default_rng(seed), share)
    assert ((labels != -100).sum(axis=1) == max(1, round(share * 20))).all()

"""mask_words: all pieces of a word or none, and the stated share of the tokens in expectation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert.data.whole_words import choose_words, continuing_pieces, mask_words, word_starts
from minibert.tokenization import (
    AddedToken,
    ByteLevelBPETokenizer,
    UnigramTokenizer,
    WordPieceTokenizer,
)

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrst"
PIECES = [*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
TOKENIZER = WordPieceTokenizer(PIECES)
CONTINUES = continuing_pieces(TOKENIZER)
FIRST, FOLLOWING = 5, 5 + len(LETTERS)  # the ids of "a" and "##a"
MASK = TOKENIZER.mask_token_id


def sequence(rng, sizes, length):
    """Return the ids (T,) of [CLS], words of these numbers of pieces, [SEP] and padding."""
    ids = [TOKENIZER.cls_token_id]
    for size in sizes:
        ids += [rng.integers(FIRST, FOLLOWING), *rng.integers(FOLLOWING, len(PIECES), size - 1)]
    return [*ids[: length - 1], TOKENIZER.sep_token_id, *[0] * (length - 1 - len(ids))]


def batches():
    """Return a strategy of a seed and of the sizes of the words of several sequences."""
    return st.tuples(
        st.integers(0, 2**32), st.lists(st.lists(st.integers(1, 6), max_size=12), min_size=1)
    )


def masked(seed_and_sizes, share=0.3):
    """Return ids, the masked input, labels, and the number of each token's word, (B, T) each."""
    seed, sizes = seed_and_sizes
    rng = np.random.default_rng(seed)
    ids = np.array([sequence(rng, each, 30) for each in sizes])
    starts = word_starts(ids, CONTINUES, ~np.isin(ids, TOKENIZER.all_special_ids))
    shown, labels = mask_words(ids, TOKENIZER, CONTINUES, rng, share)
    return ids, shown, labels, starts.cumsum(axis=1)


@given(batches(), st.floats(0.01, 0.99))
@settings(max_examples=30)
def test_the_pieces_of_a_word_are_targets_together_and_special_tokens_never(batch, share):
    ids, shown, labels, words = masked(batch, share)
    is_target, is_special = labels != -100, np.isin(ids, TOKENIZER.all_special_ids)
    assert not (is_target & is_special).any()
    assert (labels[is_target] == ids[is_target]).all()
    assert (shown[~is_target] == ids[~is_target]).all()
    for row in range(len(ids)):
        for word in set(words[row][~is_special[row]]):
            own = (words[row] == word) & ~is_special[row]
            assert is_target[row][own].all() == is_target[row][own].any()
            is_mask = shown[row][own] == MASK
            assert is_mask.all() == is_mask.any()


@given(batches(), st.floats(0.01, 0.99))
@settings(max_examples=30)
def test_the_number_of_targets_is_near_the_share(batch, share):
    ids, _, labels, words = masked(batch, share)
    is_ordinary = ~np.isin(ids, TOKENIZER.all_special_ids)
    for row in range(len(ids)):
        count = is_ordinary[row].sum()
        expected = max(1, round(share * count)) if count else 0
        longest = np.bincount(words[row][is_ordinary[row]], minlength=1).max()
        # An end of the arc adds or leaves out a part of a word.
        assert abs((labels[row] != -100).sum() - expected) <= 2 * max(longest - 1, 0)


@pytest.mark.parametrize("sizes", [[1] * 10, [1, 3, 1, 5], [6, 1, 1, 1, 1], [2] * 7, [9]])
@pytest.mark.parametrize("share", [0.15, 0.4])
def test_every_token_is_a_target_with_the_stated_probability(sizes, share):
    rng, count = np.random.default_rng(sum(sizes)), 20_000
    ids = np.tile(sequence(rng, sizes, sum(sizes) + 2), (count, 1))
    _, labels = mask_words(ids, TOKENIZER, CONTINUES, rng, share)
    expected = max(1, round(share * sum(sizes))) / sum(sizes)
    found = (labels != -100).mean(axis=0)[1:-1]
    # Five standard deviations of a share of 20,000 draws.
    assert found == pytest.approx(np.full(sum(sizes), expected), abs=5 * 0.5 / count**0.5)


def test_words_are_chosen_apart_and_not_as_one_stretch():
    """Of 20 words two are chosen; if all pairs are as likely, 2 (n - 1) / (n (n - 1)) touch."""
    starts = np.ones((20_000, 20), bool)
    chosen = choose_words(starts, starts, np.random.default_rng(0), 0.1)
    assert (chosen.sum(axis=1) == 2).all()
    touch = (chosen[:, 1:] & chosen[:, :-1]).any(axis=1)
    assert touch.mean() == pytest.approx(2 / 20, abs=0.01)


def test_a_word_becomes_masks_noise_or_itself_in_80_10_10_per_cent():
    rng = np.random.default_rng(0)
    ids = np.tile(sequence(rng, [2] * 50, 102), (500, 1))
    shown, labels = mask_words(ids, TOKENIZER, CONTINUES, rng, 0.3)
    first = (labels != -100)[:, 1:-1:2]
    shown, ids = (each[:, 1:-1].reshape(500, 50, 2)[first] for each in (shown, ids))
    # Of about 7,500 words: the standard deviations are 0.0046 and 0.0035; five are allowed.
    assert (shown == MASK).all(axis=1).mean() == pytest.approx(0.8, abs=0.023)
    assert (shown == ids).all(axis=1).mean() == pytest.approx(0.1, abs=0.018)
    assert not (shown == MASK).any(axis=1)[(shown != MASK).any(axis=1)].any()


def test_mask_words_depends_on_the_generator_alone():
    ids = np.array([sequence(np.random.default_rng(1), [1, 2, 3] * 3, 30)] * 8)
    one, again, other = (
        mask_words(ids, TOKENIZER, CONTINUES, np.random.default_rng(seed))[1] for seed in (0, 0, 1)
    )
    assert (one == again).all()
    assert (one != other).any()


def test_word_starts_begin_a_word_after_a_special_token_and_where_a_word_was_cut():
    a, rest, unknown = FIRST, FOLLOWING, TOKENIZER.unk_token_id
    ids = np.array([[2, rest, rest, a, a, rest, unknown, rest, 3, rest, 3, 0]])
    starts = word_starts(ids, CONTINUES, ~np.isin(ids, TOKENIZER.all_special_ids))
    assert starts.astype(int).tolist() == [[0, 1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0]]


def test_continuing_pieces_are_those_with_the_prefix_except_added_tokens():
    tokenizer = WordPieceTokenizer(PIECES, added_tokens=["##b", AddedToken("##new")])
    continues = continuing_pieces(tokenizer)
    names = tokenizer.convert_ids_to_tokens(np.flatnonzero(continues))
    assert names == [f"##{letter}" for letter in LETTERS if letter != "b"]
    assert len(continues) == len(tokenizer) == len(PIECES) + 1


def test_a_tokenizer_without_a_prefix_is_refused():
    tokenizer = WordPieceTokenizer([*SPECIAL, "a"], continuing_subword_prefix="")
    with pytest.raises(ValueError, match="whole_words: expected a tokenizer whose pieces tell"):
        continuing_pieces(tokenizer)


def relatives():
    """Return a byte-level BPE and a Unigram tokenizer of the words "low" and "lower"."""
    texts = ["low lower low\nlow"] * 3
    bpe = ByteLevelBPETokenizer.train(texts, 5 + 256 + 2)  # l-o and lo-w
    special = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    pieces = [("▁low", -1.0), ("er", -1.0), ("▁", -3.0), ("low", -4.0), ("<mask>", 0.0)]
    return bpe, UnigramTokenizer([*special, *pieces])


@pytest.mark.parametrize("number", [0, 1])
def test_words_of_bpe_and_unigram_begin_at_spaces_and_after_special_tokens(number):
    tokenizer = relatives()[number]
    continues = continuing_pieces(tokenizer)
    encoding = tokenizer.encode("low lower<mask>low low")
    ids = np.array([encoding.input_ids])
    starts = word_starts(ids, continues, ~np.isin(ids, tokenizer.all_special_ids))[0]
    begins = {encoding.offsets[i][0] for i in np.flatnonzero(starts)}
    assert begins == {0, 4, 15, 19}
    words = np.where(np.isin(ids[0], tokenizer.all_special_ids), -1, starts.cumsum())
    _, labels = mask_words(ids, tokenizer, continues, np.random.default_rng(0), 0.5)
    masked = [(labels[0, words == word] >= 0) for word in range(1, 5)]
    assert all(targets.all() or not targets.any() for targets in masked)
    assert 0 < sum(targets.all() for targets in masked) < 4


def test_added_tokens_and_line_breaks_of_bpe_begin_words():
    tokenizer = relatives()[0]
    tokenizer.add_tokens(["er"])
    continues = continuing_pieces(tokenizer)
    ids = tokenizer.convert_tokens_to_ids(["low", "Ġ", "Ċ", "er", "e", "<mask>"])
    assert continues[ids].tolist() == [True, False, False, False, True, False]


def test_a_batch_without_an_ordinary_token_has_no_target():
    ids = np.array([[2, 3, 0, 0], [2, 1, 3, 0]])
    shown, labels = mask_words(ids, TOKENIZER, CONTINUES, np.random.default_rng(0))
    assert (shown == ids).all()
    assert (labels == -100).all()

"""Whole-word masking: all pieces of a word are targets, or none of them.

A masked piece between pieces of the same word is easily guessed from them, without reading the
sentence. The authors of BERT published models that were trained with whole words masked.
"""

import numpy as np
from numpy.typing import ArrayLike

from minibert.data.masking import MASKED_SHARE, replace_targets
from minibert.tokenization import PreTrainedTokenizer
from minibert.typing import Array, Rng


def continuing_pieces(tokenizer: PreTrainedTokenizer) -> Array:
    """Return which tokens continue a word, (V,), bool; the tokenizer knows its pieces.

    Raises:
        ValueError: all ordinary pieces continue a word, so no piece tells where one begins.
    """
    continues = tokenizer.continuing_pieces()
    is_ordinary = np.ones(len(tokenizer), bool)
    is_ordinary[tokenizer.all_special_ids] = False
    if is_ordinary.any() and continues[is_ordinary].all():
        raise ValueError(
            "whole_words: expected a tokenizer whose pieces tell where a word begins, got one "
            "whose pieces all continue words"
        )
    return continues


def word_starts(ids: ArrayLike, continues: Array, is_ordinary: Array) -> Array:
    """Return where words start (B, T), bool.

    The rest of a word that was cut, at the start of a sequence or after a special token, is a word.

    >>> continues = np.array([False, False, True])
    >>> ids, is_ordinary = np.array([[0, 2, 1, 2, 2, 1, 0]]), np.array([[0, 1, 1, 1, 1, 1, 0]]) > 0
    >>> word_starts(ids, continues, is_ordinary).astype(int).tolist()
    [[0, 1, 1, 0, 0, 1, 0]]

    Args:
        ids (B, T), int: token ids.
        continues (V,), bool: as `continuing_pieces` returns it.
        is_ordinary (B, T), bool: which tokens are not special.
    """
    after_ordinary = np.zeros_like(is_ordinary)
    after_ordinary[:, 1:] = is_ordinary[:, :-1]
    return is_ordinary & ~(continues[np.asarray(ids)] & after_ordinary)


def first_tokens(starts: Array) -> Array:
    """Return the position of the first token of each token's word, (B, T), int.

    >>> first_tokens(np.array([[0, 1, 0, 1, 0, 0]]) > 0).tolist()
    [[0, 1, 1, 3, 3, 3]]
    """
    return np.maximum.accumulate(np.where(starts, np.arange(starts.shape[1]), 0), axis=1)


def choose_words(starts: Array, is_ordinary: Array, rng: Rng, share: float) -> Array:
    """Return the tokens of words chosen at random, (B, T), bool.

    The n ordinary tokens of a sequence are laid around a circle, word by word in random order. An
    arc of m = max(1, round(share · n)) tokens begins at a random token of the circle, and one token
    of each word, also random, represents it. A word is chosen if the arc contains that token. So
    each token is chosen with the probability m / n, whatever the length of its word, and the number
    of chosen tokens differs from m by parts of two words at most.

    Args:
        starts (B, T), bool: as `word_starts` returns it.
        is_ordinary (B, T), bool: which tokens are not special.
        rng: random generator.
        share: fraction of the ordinary tokens to choose.
    """
    counts = is_ordinary.sum(axis=1, keepdims=True)  # n, (B, 1)
    room = np.maximum(counts, 1)
    arc = np.where(counts > 0, np.maximum(1, np.rint(share * counts)), 0)  # m, (B, 1)
    first = first_tokens(starts)
    words = starts.ravel().cumsum().reshape(starts.shape)  # the number of each token's word (B, T)
    sizes = np.bincount(words[is_ordinary], minlength=words.max(initial=0) + 1)[words]
    keys, offsets = rng.random((2, *starts.shape))
    # A stable sort by the keys of the words leaves the tokens of each in order, side by side.
    keys = np.where(is_ordinary, np.take_along_axis(keys, first, axis=1), 2.0)
    ranks = np.argsort(np.argsort(keys, axis=1, kind="stable"), axis=1)  # (B, T)
    begin = np.floor(rng.random((len(starts), 1)) * room)
    shown = ranks + np.floor(offsets * sizes)  # at the start of a word: the token for it
    is_chosen = (shown - begin) % room < arc
    return np.asarray(np.take_along_axis(is_chosen, first, axis=1) & is_ordinary)


def mask_words(
    ids: ArrayLike,
    tokenizer: PreTrainedTokenizer,
    continues: Array,
    rng: Rng,
    share: float = MASKED_SHARE,
) -> tuple[Array, Array]:
    """Return masked input ids (B, T) and labels (B, T), with whole words as targets.

    As `mask_tokens`, except that a word's pieces are targets together, and that one draw decides
    whether all of them become [MASK], random tokens or stay; the code of Devlin et al. (2019) draws
    for each piece. The expected number of targets is that of `mask_tokens`.

    >>> from minibert import WordPieceTokenizer
    >>> pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "un", "##aff", "##able"]
    >>> tokenizer, rng = WordPieceTokenizer(pieces), np.random.default_rng(1)
    >>> ids = np.array([[2, 5, 6, 7, 8, 5, 5, 3]])
    >>> shown, labels = mask_words(ids, tokenizer, continuing_pieces(tokenizer), rng, 0.5)
    >>> shown.tolist(), labels.tolist()
    ([[2, 5, 4, 4, 4, 5, 5, 3]], [[-100, -100, 6, 7, 8, -100, -100, -100]])

    Args:
        ids (B, T), int: token ids of `tokenizer`.
        tokenizer: supplies the special ids, the id of [MASK] and V.
        continues (V,), bool: as `continuing_pieces` returns it.
        rng: random generator; equal generators choose equal targets.
        share: fraction of the ordinary tokens that become targets.
    """
    ids = np.asarray(ids, np.int64)
    special = tokenizer.all_special_ids
    is_ordinary = ~np.isin(ids, special)  # (B, T)
    starts = word_starts(ids, continues, is_ordinary)
    is_target = choose_words(starts, is_ordinary, rng, share)
    draw = np.take_along_axis(rng.random(ids.shape), first_tokens(starts), axis=1)  # one per word
    return replace_targets(
        ids, is_target, draw, special, tokenizer.mask_token_id, len(tokenizer), rng
    )

"""Texts that are longer than a model: overlapping windows, and the mean of their logits.

Each window has the special tokens around its part of the text, and shares `stride` tokens with the
next one, so that a phrase at a cut is whole in one of them. The logits of the text are the mean of
the logits of its windows w, weighted by their numbers of tokens n:

    logits = Σ n_w · logits_w / Σ n_w

So a number is the mean of the windows' numbers; the probabilities of classes are proportional to
the weighted geometric mean of the windows' probabilities, as if the windows were independent
witnesses (a product of experts: Hinton, 2002), tempered by the number of the witnesses.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from minibert.data.ragged import RaggedSequences
from minibert.inference.batched import are_empty, map_in_order, map_texts
from minibert.tokenization import Encoding, PreTrainedTokenizer
from minibert.tokenization.framing import sides_of, with_pairs

SHARED = 4  # two neighbouring windows share one quarter of a window by default


def room_for_text(tokenizer: PreTrainedTokenizer, max_length: int, pairs: bool = False) -> int:
    """Return the number of tokens in a window without the special ones (int).

    Args:
        tokenizer: the model's tokenizer.
        max_length: in tokens, special ones included.
        pairs: whether a sequence contains two texts.
    """
    return max_length - sum(tokenizer.encode("", "" if pairs else None).special_tokens_mask)


def long_texts(
    tokenizer: PreTrainedTokenizer,
    texts: Sequence[str],
    pairs: Sequence[str] | None = None,
    *,
    max_length: int,
) -> np.ndarray:
    """Return the indices of the texts, or pairs, that have more than `max_length` tokens.

    Args:
        tokenizer: the model's tokenizer.
        texts: S texts.
        pairs: S second texts, or None.
        max_length: in tokens, special ones included.

    Raises:
        TypeError, ValueError: as `WordPieceTokenizer.encode_batch`.
    """
    if not len(texts):
        return np.zeros(0, int)
    lengths = [tokenizer.ids_of_batch(side)[1] for side in sides_of(texts, pairs)]  # (S,) each
    room = room_for_text(tokenizer, max_length, pairs is not None)
    found: np.ndarray = np.flatnonzero(np.sum(lengths, axis=0) > room)
    return found


def checked_stride(stride: int | None, room: int) -> int:
    """Return the number of tokens that two windows share; by default one quarter of their room.

    >>> checked_stride(None, 126), checked_stride(0, 126)
    (31, 0)

    Args:
        stride: the number; None: the default.
        room: the number of tokens in a window without the special ones.

    Raises:
        ValueError: it is negative, or the windows would not advance.
    """
    if stride is None:
        return room // SHARED
    if not 0 <= stride < room:
        raise ValueError(f"stride: expected at least 0 and less than {room}, the tokens of text in "
                         f"a window, got {stride}")  # fmt: skip
    return stride


def map_windows(
    function: Callable[[list[Mapping[str, np.ndarray]]], np.ndarray],
    tokenizer: PreTrainedTokenizer,
    texts: Sequence[str],
    pairs: Sequence[str] | None = None,
    *,
    max_length: int,
    stride: int | None = None,
    truncate: bool = False,
    long: list[int] | None = None,
    **options: Any,
) -> np.ndarray:
    """Apply a function to all texts, and to all windows of long ones; return the means (S, ...).

    Each text is tokenized once. The first windows of all texts are computed as `map_texts` does,
    and the others after all of them, so the results of texts that fit are bitwise those of
    `map_texts`. Of a pair, the longer text is cut into windows; if both are longer than half of a
    window, both are, and each window of one meets each window of the other.

    Args:
        function, tokenizer, texts, pairs, options: as in `map_texts`.
        max_length: in tokens; longer texts are cut into windows.
        stride: the number of tokens that a window shares with the next one; None: one quarter.
        truncate: leave all windows but the first one out.
        long: receives the indices of the texts that are longer than `max_length`.

    Raises:
        TypeError, ValueError: as `WordPieceTokenizer.encode_batch`, or the stride is out of range.
    """
    # A cut pair has at least half of the room for each text.
    room = room_for_text(tokenizer, max_length, pairs is not None) // (1 if pairs is None else 2)
    shared = checked_stride(stride, room) if room >= 1 else 0
    if room < 1 or are_empty(texts, pairs):
        if long is not None:
            long.extend(long_texts(tokenizer, texts, pairs, max_length=max_length).tolist())
        return map_texts(function, tokenizer, texts, pairs, max_length=max_length, **options)
    counts: list[int] = []  # of each text's windows

    def all_windows() -> Iterator[Encoding]:
        for text, pair in with_pairs(texts, pairs):
            windows = tokenizer.encode_windows(text, pair, max_length=max_length, stride=shared)
            counts.append(len(windows))
            yield from windows[:1] if truncate else windows

    def results_of(chosen: np.ndarray) -> np.ndarray:
        return map_in_order(function, sequences.select(chosen), tokenizer.pad_token_id, **options)

    sequences = RaggedSequences(all_windows())
    found = np.flatnonzero(np.array(counts) > 1)
    if long is not None:
        long.extend(found.tolist())
    owners = np.repeat(np.arange(len(counts)), 1 if truncate else counts)  # (W,) each one's text
    is_first = np.diff(owners, prepend=-1) > 0  # (W,)
    results = results_of(np.flatnonzero(is_first))
    if truncate or not len(found):
        return results
    weights, others = sequences.lengths, np.flatnonzero(~is_first)
    return _weighted_means(
        results, weights[is_first], results_of(others), weights[others], owners[others]
    )


def _weighted_means(
    results: np.ndarray,
    weights: np.ndarray,
    windows: np.ndarray,
    window_weights: np.ndarray,
    owners: np.ndarray,
) -> np.ndarray:
    """Return the means of first results (S, ...) and of further windows (W, ...), by text.

    Args:
        results (S, ...): of each text's first window.
        weights (S,): of the first windows.
        windows (W, ...): results of further windows.
        window_weights (W,): their weights.
        owners (W,): the text of each, ascending.
    """
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    texts = owners[starts]
    rest = (-1, *(1,) * (results.ndim - 1))  # a weight for each result of any shape
    sums = np.add.reduceat(windows * window_weights.reshape(rest).astype(float), starts)
    sums += results[texts] * weights[texts].reshape(rest)
    totals = np.add.reduceat(window_weights, starts) + weights[texts]
    means = results.copy()
    means[texts] = sums / totals.reshape(rest)
    return means

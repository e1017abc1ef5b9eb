"""Align words with tokens and characters: windows of words, first tokens, spans in a line."""

from collections.abc import Iterator, Sequence

import numpy as np

from minibert.tokenization import Encoding, PreTrainedTokenizer


def word_windows(
    tokenizer: PreTrainedTokenizer, words: Sequence[str], longest: int, stride: int = 0
) -> Iterator[tuple[Encoding, int, np.ndarray]]:
    """Encode words in windows of at most `longest` tokens.

    A word is never split between windows. Only a word that is longer than a window is truncated.

    Args:
        tokenizer: encodes the words.
        words: words of one text.
        longest (int): maximum number of tokens per window, with [CLS] and [SEP].
        stride (int): maximum number of tokens that a window shares with the next one, as whole
            words; fewer if the next word would not fit otherwise.

    Yields:
        the window's encoding, the index of its first word, and the position (W,) of the first token
        of each of its words, 0 for a word without tokens.

    Raises:
        TypeError: `words` is not a list of strings.
    """
    if isinstance(words, str) or not all(isinstance(word, str) for word in words):
        raise TypeError(f"words: expected a list of strings, got {words!r:.80}")
    encoding, owners = _encode_words(tokenizer, words, None)
    ends = np.bincount(owners, minlength=len(words)).cumsum()  # number of tokens up to each word
    start = 0
    while not start or start < len(words):
        limit = longest - 2 + (ends[start - 1] if start else 0)
        stop = max(int(np.searchsorted(ends, limit, side="right")), start + 1)
        if start or stop < len(words) or len(encoding.input_ids) > longest:
            encoding, owners = _encode_words(tokenizer, words[start:stop], longest)
        positions = np.zeros(len(words[start:stop]), int)
        words_with_tokens, first_tokens = np.unique(owners, return_index=True)
        positions[words_with_tokens] = first_tokens + 1  # after [CLS]
        yield encoding, start, positions
        start = stop if stop >= len(words) else _next_start(ends, start, stop, longest - 2, stride)


def _next_start(ends: np.ndarray, start: int, stop: int, room: int, stride: int) -> int:
    """Return the index of the first word of the window after that of the words `start` to `stop`.

    Args:
        ends (W,): number of tokens up to each word, included.
        start, stop: the window.
        room: tokens of text in a window.
        stride: the number of tokens to share.
    """
    shared = min(stride, room - int(ends[stop] - ends[stop - 1]))  # so that the next word fits
    if shared < 1:
        return stop
    # The last word that is not shared: the tokens after it are at most `shared`.
    last = int(np.searchsorted(ends, ends[stop - 1] - shared))
    return min(max(last, start) + 1, stop)


def _encode_words(
    tokenizer: PreTrainedTokenizer, words: Sequence[str], longest: int | None
) -> tuple[Encoding, np.ndarray]:
    """Encode words joined by spaces; also return each token's word index (T - 2,)."""
    encoding = tokenizer.encode(" ".join(words), max_length=longest)
    word_starts = np.cumsum([0, *[len(word) + 1 for word in words]])[:-1]
    token_starts = np.array([start for start, _ in encoding.offsets[1:-1]], int)
    # A token may begin with the space before its word.
    return encoding, np.searchsorted(word_starts - 1, token_starts, side="right") - 1


def word_spans(text: str, words: Sequence[str]) -> list[tuple[int, int]]:
    """Return start and end of each word's characters `text[start:end]` (list of pairs).

    >>> word_spans("Ann's  cat", ["Ann", "'", "s", "cat"])
    [(0, 3), (3, 4), (4, 5), (7, 10)]

    Args:
        text: the text.
        words: words in the order of the text, none of which overlaps another, as `words_of` returns
            them; or that were joined with blanks.

    Raises:
        ValueError: a word is not in the text after the one before it.
    """
    spans, end = [], 0
    for word in words:
        start = text.find(word, end)
        if start < 0:
            raise ValueError(f"words: expected the words of the text in their order, got {word!r}")
        end = start + len(word)
        spans.append((start, end))
    return spans

"""Words that come one by one, as those that have tags do: encoded, and found again."""

from collections.abc import Iterator, Sequence

import numpy as np

from minibert.tokenization import Encoding, WordPieceTokenizer


def word_windows(
    tokenizer: WordPieceTokenizer, words: Sequence[str], longest: int
) -> Iterator[tuple[Encoding, int, np.ndarray]]:
    """Encode words, in as many windows as they need; none is cut, unless it needs one by itself.

    Yields:
        a window's encoding, the number of its first word, and the place of each of its words' first
        token, 0 for a word that has none.

    Raises:
        TypeError: words are not a list of strings.
    """
    if isinstance(words, str) or not all(isinstance(word, str) for word in words):
        raise TypeError(f"words: expected a list of strings, got {words!r:.80}")
    encoding, owners = _words_encoded(tokenizer, words, None)
    ends = np.bincount(owners, minlength=len(words)).cumsum()  # tokens up to the end of each word
    start = 0
    while not start or start < len(words):
        room = longest - 2 + (ends[start - 1] if start else 0)
        stop = max(int(np.searchsorted(ends, room, side="right")), start + 1)
        if start or stop < len(words) or len(encoding.input_ids) > longest:
            encoding, owners = _words_encoded(tokenizer, words[start:stop], longest)
        places = np.zeros(len(words[start:stop]), int)
        with_tokens, first = np.unique(owners, return_index=True)
        places[with_tokens] = first + 1  # [CLS] stands before them
        yield encoding, start, places
        start = stop


def _words_encoded(tokenizer, words, longest):
    """Encode words joined by blanks; return also the number of the word that each token is of."""
    encoding = tokenizer.encode(" ".join(words), max_length=longest)
    starts = np.cumsum([0, *[len(word) + 1 for word in words]])[:-1]
    begins = np.array([begin for begin, _ in encoding.offsets[1:-1]], int)
    return encoding, np.searchsorted(starts, begins, side="right") - 1

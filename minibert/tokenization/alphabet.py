"""Choose the letters of a vocabulary."""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal

# Letters of a vocabulary, if its texts have as many. Chinese and Japanese have more: further ones
# are added, but not the rarest, because a foreign symbol in much text is not worth a piece.
LETTERS, RARE = 1000, 1e-6  # and the share of all letters below which a further one is dropped

AlphabetLimit = int | Literal["auto"] | None
log = logging.getLogger("minibert")


def choose_alphabet(
    words: Mapping[str, int], limit: AlphabetLimit, initial: Iterable[str], room: int
) -> list[str]:
    """Return the letters of a vocabulary, sorted; report the letters that are dropped.

    Args:
        words: count of each word.
        limit (int, "auto" or None): maximum number of letters; None for no limit; "auto" for 1,000,
            or as many as fit into the vocabulary and are at least a millionth of the text.
        initial: letters that are included first.
        room: number of pieces that the vocabulary can hold.

    Raises:
        ValueError: the limit is below 1, or an initial letter is not a single character.
    """
    initial = list(initial)
    number = automatic_limit(words, initial, room) if limit == "auto" else limit
    letters = select_alphabet(words, number, initial)
    known, found = set(letters), {letter for word in words for letter in word}
    if dropped := len(found - known):
        lost = sum(count for word, count in words.items() if not known.issuperset(word))
        log.warning(
            "alphabet: %s of %s characters are dropped, and %.2g %% of the words become unknown; a "
            "larger limit_alphabet or vocab_size keeps more",
            f"{dropped:,}", f"{len(found):,}", 100 * lost / sum(words.values()),
        )  # fmt: skip
    return letters


def automatic_limit(words: Mapping[str, int], initial: Iterable[str], room: int) -> int:
    """Return the number of letters that `choose_alphabet` keeps by default.

    A letter needs two pieces if it also continues words.
    """
    continuing = {letter for word in words for letter in word[1:]}
    ranked = _ranked(words, initial)
    total, pieces = sum(ranked.values()), 0
    for number, (letter, count) in enumerate(ranked.items()):
        pieces += 1 + (letter in continuing)
        if number >= LETTERS and (count < RARE * total or pieces > room):
            return number
    return max(len(ranked), 1)


def select_alphabet(
    words: Mapping[str, int], limit: int | None = None, initial: Iterable[str] = ""
) -> list[str]:
    """Return the most frequent letters of words, sorted; ties in code point order.

    >>> select_alphabet({"cab": 2, "ad": 1}, limit=3, initial="z")
    ['a', 'b', 'z']

    Args:
        words: count of each word.
        limit (int or None): maximum number of letters; None for no limit.
        initial: letters that are included first.

    Raises:
        ValueError: the limit is below 1, or an initial letter is not a single character.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit_alphabet: expected at least 1, got {limit}")
    return sorted(list(_ranked(words, initial))[:limit])


def _ranked(words: Mapping[str, int], initial: Iterable[str]) -> dict[str, int]:
    """Return the count of each letter: the initial letters, then by frequency."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for letter in word:
            counts[letter] += count
    ranked = {}
    for letter in initial:
        if len(letter) != 1:
            raise ValueError(f"initial_alphabet: expected single letters, got {letter!r}")
        ranked[letter] = counts[letter]
    others = sorted(counts.keys() - ranked.keys(), key=lambda letter: (-counts[letter], letter))
    return ranked | {letter: counts[letter] for letter in others}

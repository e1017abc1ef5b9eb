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
    ranked = rank_letters(words, initial)
    if limit == "auto":
        limit = automatic_limit(words, ranked, room)
    elif limit is not None and limit < 1:
        raise ValueError(f"limit_alphabet: expected at least 1, got {limit}")
    letters = sorted(list(ranked)[:limit])
    known, found = set(letters), {letter for letter, count in ranked.items() if count}
    if dropped := len(found - known):
        lost = sum(count for word, count in words.items() if not known.issuperset(word))
        log.warning(
            "alphabet: %s of %s characters are dropped, and %.2g %% of the words become unknown; a "
            "larger limit_alphabet or vocab_size keeps more",
            f"{dropped:,}", f"{len(found):,}", 100 * lost / sum(words.values()),
        )  # fmt: skip
    return letters


def automatic_limit(words: Mapping[str, int], ranked: Mapping[str, int], room: int) -> int:
    """Return the number of letters that `choose_alphabet` keeps by default.

    A letter needs two pieces if it also continues words.

    Args:
        words: count of each word.
        ranked: count of each letter, as `rank_letters` returns it.
        room: number of pieces that the vocabulary can hold.
    """
    continuing = {letter for word in words for letter in word[1:]}
    total, pieces = sum(ranked.values()), 0
    for number, (letter, count) in enumerate(ranked.items()):
        pieces += 1 + (letter in continuing)
        if number >= LETTERS and (count < RARE * total or pieces > room):
            return number
    return max(len(ranked), 1)


def rank_letters(words: Mapping[str, int], initial: Iterable[str]) -> dict[str, int]:
    """Return the count of each letter: the initial letters, then by frequency and code point.

    >>> rank_letters({"cab": 2, "ad": 1}, "z")
    {'z': 0, 'a': 3, 'b': 2, 'c': 2, 'd': 1}

    Raises:
        ValueError: an initial letter is not a single character.
    """
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

"""Learning a vocabulary: start from letters, and join the commonest pair again and again."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from minibert.tokenization.normalizer import chunks
from minibert.tokenization.vocabulary import CONTINUES


def learn_vocabulary(
    texts: Iterable[str],
    vocab_size: int,
    *,
    words_of: Callable[[str], Iterable[str]],
    special_tokens: Sequence[str],
    min_frequency: int = 2,
    limit_alphabet: int = 1000,
    progress: bool = False,
) -> list[str]:
    """Learn the pieces of a WordPiece vocabulary.

    Words begin as their letters, those after the first marked with `##`. The pair of neighbours
    that occurs most often becomes a piece, until there are `vocab_size`. WordPiece is from Schuster
    and Nakajima (2012), section 3.1, who choose by likelihood; the choice by frequency is of
    Sennrich et al. (2016), algorithm 1, and is what Hugging Face's trainer does. Only the words'
    counts matter, so the texts may come in any order.

    >>> texts = ["low low low low low", "lower lower", "newest newest"]
    >>> learn_vocabulary(texts, 17, words_of=str.split, special_tokens=["[UNK]"])
    ['[UNK]', 'e', 'l', 'n', 'o', 'r', 's', 't', 'w', \
'##e', '##o', '##r', '##s', '##t', '##w', '##ow', 'low']

    Args:
        texts: gone through once.
        vocab_size: V, the number of pieces, special tokens and letters included.
        words_of: cuts a chunk, text without white space, into words.
        special_tokens: the first pieces.
        min_frequency: the rarest pair to join.
        limit_alphabet: the most letters to know; the rarest are left out, with all their words.
        progress: show bars.

    Returns:
        special tokens, letters that begin a word, letters that continue one, both sorted, then
        joined pieces in the order of joining.

    Raises:
        TypeError: `texts` holds something that is not a string, or is one itself.
        ValueError: the texts can't give so many pieces, or not so few; it says how many they can.
    """
    if isinstance(texts, str):
        raise TypeError("texts: expected several, got one string; put it in a list")
    counts = count_words(_bar(texts, progress, desc="counting words", unit=" texts"), words_of)
    letters = commonest_letters(counts, limit_alphabet)
    known = set(letters)
    words = {word: count for word, count in counts.items() if known.issuperset(word)}
    continuing = sorted({CONTINUES + letter for word in words for letter in word[1:]})
    vocabulary = dict.fromkeys([*special_tokens, *letters, *continuing])
    if vocab_size < len(vocabulary):
        raise ValueError(
            f"vocab_size: expected at least {len(vocabulary)}, the special tokens and letters of "
            f"these texts, got {vocab_size}"
        )
    joins = _bar(
        joined_pieces(words, min_frequency),
        progress,
        desc="joining pairs",
        total=vocab_size - len(vocabulary),
    )
    while len(vocabulary) < vocab_size:
        piece = next(joins, None)
        if piece is None:
            raise ValueError(
                f"vocab_size: expected at most {len(vocabulary)}, all that these texts give with "
                f"min_frequency {min_frequency}, got {vocab_size}; bring more text or ask for fewer"
            )
        vocabulary[piece] = None  # a piece that two different pairs make counts once
    joins.close()
    return list(vocabulary)


def count_words(texts: Iterable[str], words_of: Callable[[str], Iterable[str]]) -> Counter[str]:
    """Count the words of texts, cutting each different chunk into words only once."""
    counts: Counter[str] = Counter()
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts[{number}]: expected a string, got {type(text).__name__}")
        counts.update(chunks(text))
    words: Counter[str] = Counter()
    for chunk, count in counts.items():
        for word in words_of(chunk):
            words[word] += count
    return words


def commonest_letters(words: Mapping[str, int], limit: int) -> list[str]:
    """Return the commonest letters of counted words, sorted; of equally common ones, the first.

    >>> commonest_letters({"cab": 2, "ad": 1}, 2)
    ['a', 'b']
    """
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for letter in word:
            counts[letter] += count
    return sorted(sorted(counts, key=lambda letter: (-counts[letter], letter))[:limit])


def joined_pieces(words: Mapping[str, int], min_frequency: int) -> Iterator[str]:
    """Join the commonest pair of neighbouring pieces everywhere, and yield what it makes; repeat.

    Of equally common pairs, the one that sorts first is joined.

    >>> list(joined_pieces({"low": 5, "lower": 2}, min_frequency=2))
    ['##ow', 'low', '##er', 'lower']

    Args:
        words: how often each word occurs.
        min_frequency: the rarest pair to join; with none left, the end.
    """
    splits = [[word[0], *(CONTINUES + letter for letter in word[1:])] for word in words]
    frequencies = list(words.values())
    counts: Counter[tuple[str, str]] = Counter()
    places: defaultdict[tuple[str, str], set[int]] = defaultdict(set)  # the words with that pair
    for i, split in enumerate(splits):
        for pair in pairwise(split):
            counts[pair] += frequencies[i]
            places[pair].add(i)
    # Counts change, a heap's entries can't: a changed pair is pushed again, and an entry whose
    # count is no longer true is passed over when it comes up.
    heap = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(heap)
    while heap:
        negative, pair = heapq.heappop(heap)
        if -negative < min_frequency:
            return
        if -negative != counts[pair]:
            continue
        piece = pair[0] + pair[1].removeprefix(CONTINUES)
        yield piece
        changes: Counter[tuple[str, str]] = Counter()
        for i in places.pop(pair):
            before, after = splits[i], _join(splits[i], pair, piece)
            for gone in pairwise(before):
                changes[gone] -= frequencies[i]
            for come in pairwise(after):
                changes[come] += frequencies[i]
                if piece in come:  # other pairs know this word already
                    places[come].add(i)
            splits[i] = after
        for other, change in changes.items():
            counts[other] += change
            if change and counts[other]:
                heapq.heappush(heap, (-counts[other], other))


def _join(split, pair, piece):
    out: list[str] = []
    for part in split:
        if out and part == pair[1] and out[-1] == pair[0]:
            out[-1] = piece
        else:
            out.append(part)
    return out


def _bar(items, progress, **options):
    if not progress:
        return iter(items)
    from tqdm import tqdm  # only here: it takes longer to import than many a corpus to learn

    return iter(tqdm(items, **options))

"""Learning a vocabulary: start from letters, and join the commonest pair again and again."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence


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

    Words begin as their characters, those after the first marked with `##`. The pair of neighbours
    that occurs most often becomes a piece, until there are `vocab_size` (Sennrich et al., 2016,
    algorithm 1, with WordPiece's marks). Of equally frequent pairs the one that sorts first is
    joined, so the same words give the same vocabulary in whatever order they come.

    Args:
        texts: gone through once.
        vocab_size: the number of pieces, special tokens and characters included.
        words_of: cuts a text into words.
        special_tokens: the first pieces.
        min_frequency: the rarest pair to join.
        limit_alphabet: the most characters to know; rarer ones are left out.
        progress: show a bar.

    Returns:
        special tokens, characters in order, then the joined pieces in the order of joining.

    Raises:
        ValueError: the texts don't have so many pieces; it says how many they have.
    """
    from tqdm import tqdm  # here, for it costs more to import than to use

    counts: Counter[str] = Counter()
    for text in tqdm(texts, desc="counting words", unit="text", disable=not progress):
        counts.update(words_of(text))
    letters: Counter[str] = Counter()
    for word, count in counts.items():
        for letter in word:
            letters[letter] += count
    kept = set(sorted(letters, key=lambda c: (-letters[c], c))[:limit_alphabet])
    words = sorted(word for word in counts if kept.issuperset(word))
    frequencies = [counts[word] for word in words]
    splits = [[word[0], *("##" + c for c in word[1:])] for word in words]
    vocabulary = dict.fromkeys(special_tokens)
    vocabulary.update(dict.fromkeys(sorted({piece for pieces in splits for piece in pieces})))
    if len(vocabulary) > vocab_size:
        raise ValueError(
            f"vocab_size: expected at least {len(vocabulary)}, the special tokens and characters "
            f"of these texts, got {vocab_size}"
        )

    pairs: Counter[tuple[str, str]] = Counter()
    places: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for i, pieces in enumerate(splits):
        for pair in zip(pieces, pieces[1:], strict=False):
            pairs[pair] += frequencies[i]
            places[pair].add(i)
    # A heap of (-count, pair); an entry whose count is out of date is skipped when it comes up.
    heap = [(-count, pair) for pair, count in pairs.items()]
    heapq.heapify(heap)
    bar = tqdm(
        total=vocab_size, initial=len(vocabulary), desc="joining pairs", disable=not progress
    )
    with bar:
        while len(vocabulary) < vocab_size and heap:
            negative, pair = heapq.heappop(heap)
            if -negative != pairs[pair]:
                continue
            if -negative < min_frequency:
                break
            joined = pair[0] + pair[1].removeprefix("##")
            bar.update(joined not in vocabulary)
            vocabulary[joined] = None
            changed: set[tuple[str, str]] = set()
            for i in places.pop(pair):
                old = splits[i]
                new = _join(old, pair, joined)
                for before in zip(old, old[1:], strict=False):
                    pairs[before] -= frequencies[i]
                    changed.add(before)
                for after in zip(new, new[1:], strict=False):
                    pairs[after] += frequencies[i]
                    places[after].add(i)
                    changed.add(after)
                splits[i] = new
            for other in changed:
                if pairs[other] > 0:
                    heapq.heappush(heap, (-pairs[other], other))
                else:
                    del pairs[other]
                    places.pop(other, None)
    if len(vocabulary) < vocab_size:
        raise ValueError(
            f"vocab_size: these texts have {len(vocabulary)} pieces at a min_frequency of "
            f"{min_frequency}, got {vocab_size}; ask for fewer, or bring more text"
        )
    return list(vocabulary)


def _join(pieces, pair, joined):
    out = []
    for piece in pieces:
        if out and (out[-1], piece) == pair:
            out[-1] = joined
        else:
            out.append(piece)
    return out

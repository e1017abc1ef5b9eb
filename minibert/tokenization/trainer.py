"""Learning a vocabulary: start from letters, and join the best pair again and again."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import add
from typing import Literal, get_args

from minibert.tokenization.normalizer import Normalizer

Score = Literal["frequency", "likelihood"]


def learn_vocabulary(
    texts: Iterable[str],
    vocab_size: int,
    *,
    normalizer: Normalizer,
    special_tokens: Sequence[str],
    score: Score = "frequency",
    min_frequency: int = 2,
    limit_alphabet: int | None = 1000,
    initial_alphabet: Iterable[str] = "",
    longest_word: int = 100,
    prefix: str = "##",
    exact: bool = True,
    progress: bool = False,
) -> list[str]:
    """Learn the pieces of a WordPiece vocabulary.

    Words begin as their letters, those after the first marked with `##`. The best pair of
    neighbours becomes a piece, wherever it stands, and so on until there are `vocab_size` pieces.
    Take the five words low, low, low, lower and newer. They begin as l ##o ##w, three times, as
    l ##o ##w ##e ##r, and as n ##e ##w ##e ##r. The pairs l ##o and ##o ##w both occur four times;
    the one with the older first piece is joined, and lo becomes a piece. Now lo ##w occurs four
    times: low becomes one. Of what is left, low ##e, n ##e, ##e ##w, ##w ##e and ##e ##r, only the
    last occurs twice: ##er is the third. Then nothing is left that occurs more than once.

    >>> words = "low low low lower newer"
    >>> learn_vocabulary([words], 14, normalizer=Normalizer(), special_tokens=["[UNK]"])
    ['[UNK]', 'e', 'l', 'n', 'o', 'r', 'w', '##e', '##o', '##r', '##w', 'lo', 'low', '##er']

    Only the words' counts matter, so the texts may come in any order.

    Args:
        texts: gone through once.
        vocab_size: V, the number of pieces, special tokens and letters included.
        normalizer: cuts a text into words.
        special_tokens: the first pieces.
        score: which pair is best; see `joined_pieces`.
        min_frequency: the rarest pair to join.
        limit_alphabet: the most letters to know; the rarest are left out, with all their words, so
            that no neighbours are joined that never stood side by side. None: no limit.
        initial_alphabet: letters to know even if they are rare, or absent.
        longest_word: a longer word isn't counted, in characters.
        prefix: begins a piece that continues a word.
        exact: whether texts that give fewer pieces are refused.
        progress: show bars.

    Returns:
        special tokens, letters that begin a word, letters that continue one, both sorted, then
        joined pieces in the order of joining.

    Raises:
        TypeError: `texts` holds something that is not a string, or is one itself.
        ValueError: the texts can't give so many pieces, or not so few; it says how many they can.
            Or the score is unknown, or the initial alphabet holds more than letters.
    """
    if isinstance(texts, str):
        raise TypeError("texts: expected several, got one string; put it in a list")
    if score not in get_args(Score):
        raise ValueError(f"score: expected {' or '.join(get_args(Score))}, got {score!r}")
    texts = _bar(texts, progress, desc="counting words", unit=" texts")
    counted = count_words(texts, normalizer)
    # Words that are too long to be cut would only teach pieces that are never used.
    counts = {word: count for word, count in counted.items() if len(word) <= longest_word}
    letters = commonest_letters(counts, limit_alphabet, initial_alphabet)
    known = set(letters)
    words = {word: count for word, count in counts.items() if known.issuperset(word)}
    continuing = sorted({letter for word in words for letter in word[1:]})
    vocabulary = dict.fromkeys(
        [*special_tokens, *letters, *(prefix + letter for letter in continuing)]
    )
    if vocab_size < len(vocabulary):
        raise ValueError(
            f"vocab_size: expected at least {len(vocabulary)}, the special tokens and letters of "
            f"these texts, got {vocab_size}"
        )
    joins = joined_pieces(words, score, min_frequency, prefix)
    for _ in _bar(range(vocab_size - len(vocabulary)), progress, desc="joining pairs"):
        # A piece that two different pairs make counts once.
        piece = next((piece for piece in joins if piece not in vocabulary), None)
        if piece is None and not exact:
            break
        if piece is None:
            raise ValueError(
                f"vocab_size: expected at most {len(vocabulary)}, all that these texts give with "
                f"min_frequency {min_frequency}, got {vocab_size}; bring more text or ask for fewer"
            )
        vocabulary[piece] = None
    return list(vocabulary)


def count_words(texts: Iterable[str], normalizer: Normalizer) -> Counter[str]:
    """Count the words of texts, cutting each different chunk into words only once.

    Raises:
        TypeError: one of them is not a string.
    """
    counts: Counter[str] = Counter()
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts[{number}]: expected a string, got {type(text).__name__}")
        counts.update(normalizer.chunks(text))
    words: Counter[str] = Counter()
    for chunk, count in counts.items():
        for word in normalizer.words(chunk):
            words[word] += count
    return words


def commonest_letters(
    words: Mapping[str, int], limit: int | None = None, initial: Iterable[str] = ""
) -> list[str]:
    """Return the commonest letters of counted words, sorted; of equally common ones, the first.

    >>> commonest_letters({"cab": 2, "ad": 1}, limit=3, initial="z")
    ['a', 'b', 'z']

    Args:
        words: how often each word occurs.
        limit: the most letters; None: all.
        initial: letters that come before all others.

    Raises:
        ValueError: the limit leaves no letter, or an initial letter isn't a single one.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit_alphabet: expected at least 1, got {limit}")
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for letter in word:
            counts[letter] += count
    always = list(dict.fromkeys(initial))
    for letter in always:
        if len(letter) != 1:
            raise ValueError(f"initial_alphabet: expected single letters, got {letter!r}")
        del counts[letter]
    others = sorted(counts, key=lambda letter: (-counts[letter], letter))
    return sorted([*always, *others][:limit])


def joined_pieces(
    words: Mapping[str, int],
    score: Score = "frequency",
    min_frequency: int = 2,
    prefix: str = "##",
) -> Iterator[str]:
    """Join the best pair of neighbouring pieces everywhere, and yield what it makes; repeat.

    Best is, by `score`, the pair that occurs most often (`frequency`: Sennrich et al., 2016,
    algorithm 1, and Hugging Face's trainer), or the pair ab with the highest

        count(ab) / (count(a) · count(b))

    which raises the likelihood of the text most if its pieces are independent (`likelihood`:
    Schuster and Nakajima, 2012, section 3.1). Of equally good pairs, the one with the older first
    piece is joined, and of those, the one with the older second piece: letters that begin a word
    are oldest, then those that continue one, both sorted, then what was joined, in that order.

    >>> list(joined_pieces({"low": 3, "lower": 1, "newer": 1}))
    ['lo', 'low', '##er']
    >>> next(joined_pieces({"low": 3, "lower": 1, "newer": 1}, "likelihood"))
    '##er'

    Args:
        words: how often each word occurs.
        score: what makes a pair the best.
        min_frequency: the rarest pair to join; with none left, the end.
        prefix: begins a piece that continues a word.
    """
    min_frequency = max(min_frequency, 1)  # a pair that doesn't occur can't be joined
    # Each piece is one character of an alphabet that grows, and a word a string of them. Then
    # joining a pair is `replace`, as in Gage (1994), who first joined pairs of bytes.
    symbols: dict[str, str] = {}  # of each piece's text

    def symbol(piece: str) -> str:
        return symbols.setdefault(piece, chr(len(symbols)))

    for letter in sorted({word[0] for word in words}):
        symbol(letter)
    for letter in sorted({letter for word in words for letter in word[1:]}):
        symbol(prefix + letter)
    spelled = [
        symbols[word[0]] + "".join(symbols[prefix + letter] for letter in word[1:])
        for word in words
    ]
    frequencies = list(words.values())
    counts: Counter[str] = Counter()  # of each pair
    places: defaultdict[str, set[int]] = defaultdict(set)  # the words with that pair
    uses: Counter[str] = Counter()  # of each piece
    for i, word in enumerate(spelled):
        for piece in word:
            uses[piece] += frequencies[i]
        for pair in map(add, word, word[1:]):
            counts[pair] += frequencies[i]
            places[pair].add(i)
    # Two different fractions with denominators below 2^2b are at least 2^-4b apart. Times 2^4b,
    # they still are different when rounded down: integers stand for them exactly.
    shift = 4 * uses.total().bit_length()
    beside: defaultdict[str, set[str]] = defaultdict(set)  # the pairs with that piece

    def rank(pair: str) -> int:
        if score == "frequency":
            return -counts[pair]
        return -((counts[pair] << shift) // (uses[pair[0]] * uses[pair[1]]))

    if score == "likelihood":
        for pair in counts:
            beside[pair[0]].add(pair)
            beside[pair[1]].add(pair)
    # Ranks change, a heap's entries can't: a changed pair is pushed again, and an entry whose rank
    # is no longer true is passed over when it comes up.
    heap = [(rank(pair), pair) for pair, count in counts.items() if count >= min_frequency]
    heapq.heapify(heap)
    texts = list(symbols)
    while heap:
        ranked, pair = heapq.heappop(heap)
        if counts[pair] < min_frequency or ranked != rank(pair):
            continue
        left, right = pair[0], pair[1]
        text = texts[ord(left)] + texts[ord(right)].removeprefix(prefix)
        piece = symbol(text)
        if len(symbols) > len(texts):
            texts.append(text)
        yield text
        changes: defaultdict[str, int] = defaultdict(int)
        for i in places.pop(pair):
            before, frequency = spelled[i], frequencies[i]
            spelled[i] = after = before.replace(pair, piece)
            joined = frequency * (len(before) - len(after))
            uses[left] -= joined
            uses[right] -= joined
            uses[piece] += joined
            for gone in map(add, before, before[1:]):
                changes[gone] -= frequency
            for come in map(add, after, after[1:]):
                changes[come] += frequency
                if piece in come:  # other pairs know this word already
                    places[come].add(i)
        changed = {other for other, change in changes.items() if change}
        for other in changed:
            counts[other] += changes[other]
        if score == "likelihood":  # that of a pair rises when its parts become rarer
            for other in changed:
                beside[other[0]].add(other)
                beside[other[1]].add(other)
            changed |= beside[left] | beside[right] | beside[piece]
        for other in changed:
            if counts[other] >= min_frequency:
                heapq.heappush(heap, (rank(other), other))


def _bar(items, progress, **options):
    if not progress:
        return iter(items)
    from tqdm import tqdm  # only here: it takes longer to import than many a corpus to learn

    return iter(tqdm(items, **options))

"""Learn a WordPiece vocabulary: start from letters and merge the best pair repeatedly."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import add
from typing import Any, Literal, TypeVar, get_args

from minibert.tokenization.alphabet import AlphabetLimit, choose_alphabet
from minibert.tokenization.normalizer import Normalizer

Score = Literal["frequency", "likelihood"]
# Characters of a chunk whose words are counted at once: it rarely occurs twice, and a text without
# white space would be kept as a whole.
LONGEST_CHUNK = 10_000
Item = TypeVar("Item")


def learn_vocabulary(
    texts: Iterable[str],
    vocab_size: int,
    *,
    normalizer: Normalizer,
    special_tokens: Sequence[str],
    score: Score = "frequency",
    min_frequency: int = 2,
    limit_alphabet: AlphabetLimit = "auto",
    initial_alphabet: Iterable[str] = "",
    longest_word: int = 100,
    prefix: str = "##",
    exact: bool = True,
    progress: bool = False,
) -> list[str]:
    """Return the pieces (list of str) of a WordPiece vocabulary learned from texts.

    A word is first split into its letters, those after the first marked with `##`. The best pair of
    neighbouring pieces is merged to a piece in all words, until there are `vocab_size` pieces. For
    example, the five words low, low, low, lower and newer are first l ##o ##w (three times),
    l ##o ##w ##e ##r, and n ##e ##w ##e ##r. The pairs l ##o and ##o ##w both occur four times; the
    pair with the older first piece is merged, so lo becomes a piece. Then lo ##w occurs four times,
    and low becomes a piece. Of the pairs low ##e, n ##e, ##e ##w, ##w ##e and ##e ##r, only the
    last occurs twice: ##er is the third piece. No other pair occurs more than once.

    >>> words = "low low low lower newer"
    >>> learn_vocabulary([words], 14, normalizer=Normalizer(), special_tokens=["[UNK]"])
    ['[UNK]', 'e', 'l', 'n', 'o', 'r', 'w', '##e', '##o', '##r', '##w', 'lo', 'low', '##er']

    Only the counts of the words matter, so the order of the texts does not.

    Args:
        texts: the texts; iterated once.
        vocab_size (int): V, the number of pieces, special tokens and letters included.
        normalizer: splits a text into words.
        special_tokens: the first pieces.
        score: criterion of the best pair; see `merge_pairs`.
        min_frequency (int): minimum count of a pair to merge.
        limit_alphabet (int, "auto" or None): maximum number of letters, None for no limit; see
            `choose_alphabet`. Words with other letters are dropped, so that no pair is merged
            across a missing letter.
        initial_alphabet: letters to include even if they are rare or absent.
        longest_word (int): maximum number of characters; longer words are dropped.
        prefix: marks a piece that continues a word.
        exact (bool): raise an error if the texts yield fewer than `vocab_size` pieces.
        progress (bool): show progress bars on stderr.

    Returns:
        special tokens; letters that begin a word, sorted; letters that continue a word, sorted;
        merged pieces in the order of merging.

    Raises:
        TypeError: `texts` is a string or contains something else than strings.
        ValueError: the texts yield fewer pieces, or more letters, than `vocab_size`; the score is
            unknown; or the initial alphabet contains more than single letters.
    """
    if isinstance(texts, str):
        raise TypeError("texts: expected several, got one string; put it in a list")
    if score not in get_args(Score):
        raise ValueError(f"score: expected {' or '.join(get_args(Score))}, got {score!r}")
    texts = progress_bar(texts, progress, desc="counting words", unit=" texts")
    counts = count_words(texts, normalizer, longest_word)
    room = vocab_size - len(set(special_tokens))
    letters = choose_alphabet(counts, limit_alphabet, initial_alphabet, room)
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
    merges = merge_pairs(words, score, min_frequency, prefix)
    for _ in progress_bar(range(vocab_size - len(vocabulary)), progress, desc="merging pairs"):
        # Two different pairs may merge to the same piece, which counts once.
        piece = next((piece for piece in merges if piece not in vocabulary), None)
        if piece is None and not exact:
            break
        if piece is None:
            hint = "" if len(words) == len(counts) else ", raise limit_alphabet"
            raise ValueError(
                f"vocab_size: expected at most {len(vocabulary)}, all that these texts give with "
                f"min_frequency {min_frequency}, got {vocab_size}; add text{hint} or reduce "
                "vocab_size"
            )
        vocabulary[piece] = None
    return list(vocabulary)


def count_words(texts: Iterable[str], normalizer: Normalizer, longest_word: int) -> Counter[str]:
    """Return the counts of the words of texts; each different chunk is split only once.

    A word of more than `longest_word` characters is not counted: it becomes the unknown token, so
    its pieces would never be used.

    Raises:
        TypeError: a text is not a string.
    """
    words: Counter[str] = Counter()

    def add(chunk: str, count: int) -> None:
        for word in normalizer.words(chunk):
            if len(word) <= longest_word:
                words[word] += count

    def chunks() -> Iterator[list[str]]:
        for index, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"texts[{index}]: expected a string, got {type(text).__name__}")
            found = normalizer.chunks(text)
            if len(text) > LONGEST_CHUNK:
                for chunk in found:
                    if len(chunk) > LONGEST_CHUNK:
                        add(chunk, 1)
                found = [chunk for chunk in found if len(chunk) <= LONGEST_CHUNK]
            yield found

    counts = Counter(chain.from_iterable(chunks()))
    for chunk, count in counts.items():
        add(chunk, count)
    return words


def merge_pairs(
    words: Mapping[str, int],
    score: Score = "frequency",
    min_frequency: int = 2,
    prefix: str = "##",
) -> Iterator[str]:
    """Merge the best pair of neighbouring pieces repeatedly; yield each merged piece.

    By `score`, the best pair is the most frequent one (`frequency`: Sennrich et al., 2016,
    algorithm 1, and Hugging Face's trainer), or the pair ab with the highest

        count(ab) / (count(a) · count(b))

    which increases the likelihood of the text most if its pieces are independent (`likelihood`:
    Schuster and Nakajima, 2012, section 3.1). Of equally good pairs, the pair with the older first
    piece is merged, then the pair with the older second piece. Letters that begin a word are the
    oldest, then letters that continue one, both sorted, then merged pieces in the order of merging.

    >>> list(merge_pairs({"low": 3, "lower": 1, "newer": 1}))
    ['lo', 'low', '##er']
    >>> next(merge_pairs({"low": 3, "lower": 1, "newer": 1}, "likelihood"))
    '##er'

    Args:
        words: count of each word.
        score: criterion of the best pair.
        min_frequency (int): minimum count of a pair to merge.
        prefix: marks a piece that continues a word.
    """
    for first, second in merge_steps(words, score, min_frequency, prefix):
        yield first + second.removeprefix(prefix)


def merge_steps(
    words: Mapping[str, int],
    score: Score = "frequency",
    min_frequency: int = 2,
    prefix: str = "##",
    letters: Iterable[str] = (),
) -> Iterator[tuple[str, str]]:
    """Yield the two pieces of each merge of `merge_pairs`; `letters` are the oldest, in order."""
    min_frequency = max(min_frequency, 1)  # a pair with count 0 does not occur
    spelled = _SpelledWords(words, prefix, letters)
    counts, uses = spelled.pair_counts, spelled.piece_counts
    # Two different fractions with denominators below 2^2b differ by at least 2^-4b. Multiplied by
    # 2^4b and rounded down, they remain different, so integers represent the scores exactly.
    shift = 4 * uses.total().bit_length()
    pairs_with: defaultdict[str, set[str]] = defaultdict(set)  # the pairs that contain a piece

    def rank(pair: str) -> int:
        if score == "frequency":
            return -counts[pair]
        return -((counts[pair] << shift) // (uses[pair[0]] * uses[pair[1]]))

    if score == "likelihood":
        for pair in counts:
            pairs_with[pair[0]].add(pair)
            pairs_with[pair[1]].add(pair)
    # Ranks change, but entries of a heap cannot: a changed pair is pushed again, and an entry with
    # an outdated rank is skipped.
    heap = [(rank(pair), pair) for pair, count in counts.items() if count >= min_frequency]
    heapq.heapify(heap)
    while heap:
        ranked, pair = heapq.heappop(heap)
        if counts[pair] < min_frequency or ranked != rank(pair):
            continue
        yield spelled.texts[ord(pair[0])], spelled.texts[ord(pair[1])]
        piece, changed = spelled.merge(pair)
        if score == "likelihood":  # the score of a pair also rises when its pieces become rarer
            for other in changed:
                pairs_with[other[0]].add(other)
                pairs_with[other[1]].add(other)
            changed |= pairs_with[pair[0]] | pairs_with[pair[1]] | pairs_with[piece]
        for other in changed:
            if counts[other] >= min_frequency:
                heapq.heappush(heap, (rank(other), other))


class _SpelledWords:
    """Words as strings of symbols, one per piece, with the counts of pieces and pairs.

    A piece is represented by one character of a growing alphabet, and a pair by two. So merging a
    pair is `str.replace`, as in Gage (1994), who first merged pairs of bytes. Symbols are numbered
    by the age of their pieces, which orders pairs of equal rank.
    """

    def __init__(self, words: Mapping[str, int], prefix: str, letters: Iterable[str] = ()):
        self.prefix = prefix
        self.symbols: dict[str, str] = {}  # by text of the piece
        for letter in letters:
            self._symbol(letter)
        for letter in sorted({word[0] for word in words}):
            self._symbol(letter)
        others = sorted(set().union(*(word[1:] for word in words)))
        continuing = {ord(letter): self._symbol(prefix + letter) for letter in others}
        self.texts = list(self.symbols)  # by code point of the symbol
        self.words = [self._symbol(word[0]) + word[1:].translate(continuing) for word in words]
        self.frequencies = list(words.values())
        self.pair_counts: Counter[str] = Counter()
        self.piece_counts: Counter[str] = Counter()
        self.words_with: defaultdict[str, set[int]] = defaultdict(set)  # word indices by pair
        uses, counts, words_with = self.piece_counts, self.pair_counts, self.words_with
        for i, (word, frequency) in enumerate(zip(self.words, self.frequencies, strict=True)):
            for piece in word:
                uses[piece] += frequency
            for pair in map(add, word, word[1:]):
                counts[pair] += frequency
                words_with[pair].add(i)

    def text_of(self, pair: str) -> str:
        """Return the text of the piece that merging a pair creates."""
        return self.texts[ord(pair[0])] + self.texts[ord(pair[1])].removeprefix(self.prefix)

    def merge(self, pair: str) -> tuple[str, set[str]]:
        """Merge a pair in all words; return its symbol and the changed pairs."""
        text = self.text_of(pair)
        piece = self._symbol(text)
        if len(self.symbols) > len(self.texts):
            self.texts.append(text)
        words, uses, words_with = self.words, self.piece_counts, self.words_with
        changes: defaultdict[str, int] = defaultdict(int)
        total = 0  # how often the pair is merged
        for i in words_with.pop(pair):
            before, frequency = words[i], self.frequencies[i]
            words[i] = after = before.replace(pair, piece)
            merges = len(before) - len(after)
            total += merges * frequency
            if merges == 1:  # the usual case: only the neighbours of the pair change
                start = before.index(pair)
                changes[pair] -= frequency
                if start:
                    changes[before[start - 1 : start + 1]] -= frequency
                    new = after[start - 1 : start + 1]
                    changes[new] += frequency
                    words_with[new].add(i)
                if start + 1 < len(after):
                    changes[before[start + 1 : start + 3]] -= frequency
                    new = after[start : start + 2]
                    changes[new] += frequency
                    words_with[new].add(i)
                continue
            for old in map(add, before, before[1:]):
                changes[old] -= frequency
            for new in map(add, after, after[1:]):
                changes[new] += frequency
                if piece in new:  # the word is already stored for all other pairs
                    words_with[new].add(i)
        uses[pair[0]] -= total
        uses[pair[1]] -= total
        uses[piece] += total
        changed = {other for other, change in changes.items() if change}
        for other in changed:
            self.pair_counts[other] += changes[other]
        return piece, changed

    def _symbol(self, piece: str) -> str:
        return self.symbols.setdefault(piece, chr(len(self.symbols)))


def progress_bar(items: Iterable[Item], progress: bool, **options: Any) -> Iterable[Item]:
    """Return an iterator of items that shows a bar on stderr if `progress` is true."""
    if not progress:
        return iter(items)
    from tqdm import tqdm  # imported here, because the import takes longer than a small corpus

    return iter(tqdm(items, **options))

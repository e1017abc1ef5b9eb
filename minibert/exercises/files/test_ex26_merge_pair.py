"""Is the pair merged that minibert's trainer merges?"""

from collections import Counter
from itertools import islice, pairwise

from hypothesis import strategies as st

from minibert.exercises.grading import exercise, grade, several
from minibert.tokenization.trainer import merge_pairs

STEPS = 3
EXAMPLES = (
    {"ab": 5, "cd": 1, "cde": 1},  # the most frequent pair is in few words
    {"axxx": 2, "cd": 3},  # it is twice in one word
    {"ba": 2, "ab": 2},  # two are equally frequent
    {"xababab": 2},  # it is merged three times in one word
    {"xaaaa": 1},  # it overlaps with itself
)
WORDS = st.dictionaries(st.text("ab", min_size=2, max_size=6), st.integers(1, 4), min_size=1)


def most_frequent(words, pieces, weigh=True, repeats=True, by_age=True):
    """Return the best pair, or what a wrong way to count gives."""
    counts: Counter[tuple[str, str]] = Counter()
    for word, count in words.items():
        pairs = list(pairwise(word))
        for pair in pairs if repeats else dict.fromkeys(pairs):
            counts[pair] += count if weigh else 1
    if by_age:
        return max(counts, key=lambda pair: (counts[pair], *(-pieces.index(p) for p in pair)))
    return max(counts, key=counts.__getitem__)


def text_of(pair):
    return pair[0] + pair[1].removeprefix("##")


def merged(word, pair, times=None):
    """Return a word with a pair merged, from left to right."""
    new, i = [], 0
    while i < len(word):
        is_pair = word[i : i + 2] == pair and times != 0
        new.append(text_of(pair) if is_pair else word[i])
        i += 2 if is_pair else 1
        times = times if times is None or not is_pair else times - 1
    return tuple(new)


@exercise(*({"counts": counts} for counts in EXAMPLES), counts=WORDS, examples=30)
def test_merge_pair(learner, counts):
    words = {(word[0], *("##" + letter for letter in word[1:])): n for word, n in counts.items()}
    pieces = sorted({word[0] for word in words}) + sorted({p for word in words for p in word[1:]})
    for expected in islice(merge_pairs(counts, min_frequency=1), STEPS):
        piece, new_words = several(learner.merge_pair(dict(words), list(pieces)), "piece", "words")
        best = most_frequent(words, pieces)
        grade(
            piece,
            expected,
            {
                "## remains inside the new piece: only its beginning tells that it continues a "
                "word": best[0] + best[1],
                "each word is counted once; a pair counts as often as its word": text_of(
                    most_frequent(words, pieces, weigh=False)
                ),
                "a pair that occurs twice in a word is counted once": text_of(
                    most_frequent(words, pieces, repeats=False)
                ),
                "of equally frequent pairs, the one with the older pieces is merged": text_of(
                    most_frequent(words, pieces, by_age=False)
                ),
            },
            name=f"the new piece of {words}",
        )
        new = {merged(word, best): n for word, n in words.items()}
        grade(
            new_words,
            new,
            {
                "the words are as before: merge the pair in them": words,
                "only the first pair of a word is merged": {
                    merged(word, best, times=1): n for word, n in words.items()
                },
            },
            name=f"the words after merging {best[0]} {best[1]} in {words}",
        )
        words = new
        pieces = list(dict.fromkeys([*pieces, expected]))

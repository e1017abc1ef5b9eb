"""Is a word split as minibert's vocabulary splits it?"""

from hypothesis import strategies as st

from minibert.exercises.grading import exercise, grade
from minibert.tokenization.vocabulary import Vocabulary

EXAMPLES = (
    {"word": "abc", "pieces": ["a", "ab", "##b", "##c", "##bc"]},  # two splits
    {"word": "abd", "pieces": ["a", "##b", "##c"]},  # no split
    {"word": "ab", "pieces": ["a", "b"]},  # b begins a word and does not continue one
    {"word": "abc", "pieces": ["a", "ab", "##bc"]},  # a split, which greedy matching does not find
)
PIECES = st.lists(st.text("ab", min_size=1, max_size=3), max_size=4)


def split(word, pieces, ends=reversed, prefix="##", unknown=lambda found: ["[UNK]"]):
    """Return the split, or what a wrong way to match gives."""
    found: list[str] = []
    start = 0
    while start < len(word):
        mark = prefix if start else ""
        stops = ends(range(start + 1, len(word) + 1))
        stop = next((stop for stop in stops if mark + word[start:stop] in pieces), None)
        if stop is None:
            return unknown(found)
        found.append(mark + word[start:stop])
        start = stop
    return found


@exercise(
    *EXAMPLES,
    word=st.text("ab", min_size=1, max_size=6),
    pieces=st.tuples(PIECES, PIECES).map(
        lambda pair: list(dict.fromkeys([*pair[0], *("##" + piece for piece in pair[1])]))
    ),
    examples=50,
)
def test_longest_match(learner, word, pieces):
    vocabulary = Vocabulary(pieces)
    found = vocabulary.split_word(word)
    grade(
        learner.longest_match(word, list(pieces)),
        ["[UNK]"] if found is None else [vocabulary.pieces[i] for i, _ in found],
        {
            "the shortest piece is taken; try the longest first": split(word, pieces, ends=iter),
            "## is missing: a piece inside a word is stored with ##": split(
                word, pieces, prefix=""
            ),
            "the pieces before the failure are kept; the whole word is unknown": split(
                word, pieces, unknown=lambda found: found
            ),
            "only the rest is unknown; the whole word is": split(
                word, pieces, unknown=lambda found: [*found, "[UNK]"]
            ),
            "an unknown word is [UNK], not an empty list": [],
            "an unknown word is [UNK], not None": None,
        },
        name=f"the split of {word!r} by {pieces}",
    )

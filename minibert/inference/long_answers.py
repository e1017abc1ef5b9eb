"""Answers in texts that are too long for the memory: overlapping parts, of which the best counts.

A part is to a text what a window is to a part: two neighbours share more text than a window has, so
each answer is whole in one of them, with its context. A span that two parts find has the higher of
its scores, and the score of no answer is that of the part where it is lowest.
"""

from collections.abc import Iterable, Iterator
from functools import reduce
from typing import Any

from minibert.inference.question_answering import Answer, QuestionAnswerer
from minibert.io.text import LONGEST_LINE

SHARED = 1 << 16  # characters that two parts share; a window of 8,192 tokens has room for fewer


def answer_parts(
    answerer: QuestionAnswerer, question: str, pieces: Iterable[str], *, top_k: int, **options: Any
) -> list[Answer]:
    """Return the best answers to a question in a text of any length, the most probable first.

    Those in a text of at most 4 million characters are those of the answerer.

    Args:
        answerer: reads the parts.
        question: the question.
        pieces: the text, in pieces of any length.
        top_k, options: as the answerer takes them.

    Returns:
        The answers; none if the text is blank.

    Raises:
        TypeError, ValueError, FloatingPointError: as the answerer.
    """

    def answers_of(offset: int, part: str) -> list[Answer]:
        (answers,) = answerer([question], [part], top_k=top_k, **options)
        return [
            one._replace(start=one.start + offset, end=one.end + offset) if one.end else one
            for one in answers
        ]

    def better(one: list[Answer], other: list[Answer]) -> list[Answer]:
        best: dict[tuple[int, int], Answer] = {}
        for found in sorted([*one, *other], key=_order):
            best.setdefault(found[2:], found)
        nones = [found for found in (*one, *other) if not found.end]
        best.pop((0, 0), None)
        # Where a part lacks it, `top_k` answers of that part are better.
        if len(nones) == 2:
            best[0, 0] = min(nones)
        return sorted(best.values(), key=_order)[:top_k]

    parts = overlapping_parts(pieces)
    found = (answers_of(offset, part) for offset, part in parts if part.strip())
    return reduce(better, found, next(found, []))


def overlapping_parts(
    pieces: Iterable[str], longest: int = LONGEST_LINE, shared: int = SHARED
) -> Iterator[tuple[int, str]]:
    """Yield a text in overlapping parts, cut before white space where there is some.

    >>> list(overlapping_parts(["one two three ", "four"], longest=14, shared=4))
    [(0, 'one two three'), (7, ' three four')]

    Args:
        pieces: the text, in pieces of any length.
        longest: of a part in characters; more than three times as many as are shared.
        shared: the number of characters that two parts share; up to twice as many to find the
            places to cut.

    Yields:
        the position of a part's first character in the text, and the part.
    """
    offset, length, held = 0, 0, list[str]()
    for piece in pieces:
        held.append(piece)
        length += len(piece)
        while length > longest:
            text = "".join(held)
            end = _place_to_cut(text, longest - shared, longest)
            yield offset, text[:end]
            start = _place_to_cut(text, end - 2 * shared, end - shared)
            offset, length, held = offset + start, length - start, [text[start:]]
    yield offset, "".join(held)


def _place_to_cut(text: str, first: int, last: int) -> int:
    """Return the last position of white space from `first` to `last`; without one, `last`."""
    places = (place for place in range(last, first - 1, -1) if text[place].isspace())
    return next(places, last)


def _order(found: Answer) -> tuple[float, int, int]:
    """The highest score first; of equals, the one that starts first."""
    return -found.score, found.start, found.end

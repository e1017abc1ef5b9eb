"""Named entities: spans from tags, and the metrics of predicted spans.

A tag is O, or a mark and the kind of its entity, `B-PER`; a mark alone is of the kind `_`. The
schemes share one rule, that of the CoNLL evaluation (Tjong Kim Sang and De Meulder, 2003) and, by
default, of seqeval: two neighbouring words are in one entity if the first is marked as its begin or
inside, the second as its inside or end, and their kinds are equal. So each scheme may be mixed with
others, and inconsistent predictions are counted too:

- IOB1, IOB2: B begin (in IOB1 only after an entity of the same kind), I inside;
- IOBES, BILOU, BMES, BMEWO: also E or L end, S, U or W a single word, and M for I.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from minibert.tasks.metrics import F1Metrics

OUTSIDE = "O"
# From the mark of a tag to its role: begin, inside, end or single.
ROLES = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S", "W": "S"}
TAG = re.compile(rf"([{''.join(ROLES)}])(?:-(.*))?", re.DOTALL)


class Entity(NamedTuple):
    """A span of words, from `start` to before `end`, with its kind."""

    kind: str
    start: int
    end: int


def parse_tag(tag: str) -> tuple[str, str] | None:
    """Return the role and the kind that a tag marks; None for O and for any other tag.

    >>> parse_tag("I-PER"), parse_tag("L-PER"), parse_tag("B"), parse_tag("O"), parse_tag("NOUN")
    (('I', 'PER'), ('E', 'PER'), ('B', '_'), None, None)
    """
    found = TAG.fullmatch(tag)
    return (ROLES[found[1]], found[2] or "_") if found else None


def stray_tags(tags: Iterable[str]) -> list[str]:
    """Return the tags that are neither O nor the mark of an entity."""
    return [tag for tag in tags if tag != OUTSIDE and parse_tag(tag) is None]


def marks_entities(tags: Iterable[str]) -> bool:
    """Whether a set of tags marks entities: half of them or more do, with a kind or as B and I.

    >>> marks_entities(["O", "B-PER", "I-PER"]), marks_entities(["B", "I"])
    (True, True)
    >>> marks_entities(["NOUN", "VERB", "O"]), marks_entities(["N", "V", "S", "O"])
    (False, False)
    """
    names = {tag for tag in tags if tag != OUTSIDE}
    marks = names.difference(stray_tags(names))
    return any(tag in "BI" or "-" in tag for tag in marks) and 2 * len(marks) >= len(names)


def find_entities(tags: Sequence[str]) -> list[Entity]:
    """Return the entities (list of `Entity`) that the tags of a text mark.

    A tag that continues no entity of its kind begins one; a tag that marks nothing counts as O.

    >>> [tuple(each) for each in find_entities(["B-PER", "I-PER", "O", "B-LOC", "B-LOC", "I-ORG"])]
    [('PER', 0, 2), ('LOC', 3, 4), ('LOC', 4, 5), ('ORG', 5, 6)]
    >>> [tuple(each) for each in find_entities(["B-PER", "L-PER", "U-PER", "U-PER", "O"])]
    [('PER', 0, 2), ('PER', 2, 3), ('PER', 3, 4)]
    """
    found: list[Entity] = []
    start = 0
    previous = None
    for i, (mark, following) in enumerate(pairwise([*map(parse_tag, tags), None])):
        if mark is not None:
            if not _is_continued(previous, mark):
                start = i
            if not _is_continued(mark, following):
                found.append(Entity(mark[1], start, i + 1))
        previous = mark
    return found


def _is_continued(mark: tuple[str, str] | None, following: tuple[str, str] | None) -> bool:
    """Whether the entity of a mark contains the following word too."""
    if mark is None or following is None:
        return False
    return mark[0] in "BI" and following[0] in "IE" and mark[1] == following[1]


def entity_metrics(
    actual: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> F1Metrics:
    """Return the metrics of entities; a prediction is correct if kind, start and end are.

    Args:
        actual: the tags of each text's words.
        predicted: the predicted tags of each text's words.
    """
    pairs = [
        (set(find_entities(a)), set(find_entities(b)))
        for a, b in zip(actual, predicted, strict=True)
    ]
    kinds = sorted({entity.kind for both in pairs for side in both for entity in side})

    def count_by_kind(sets: Iterable[set[Entity]]) -> np.ndarray:
        counts = Counter(entity.kind for found in sets for entity in found)
        return np.array([counts[kind] for kind in kinds], np.int64)

    texts = zip(actual, predicted, strict=True)
    words = [pair for both in texts for pair in zip(*both, strict=True)]
    correct = sum(a == b for a, b in words) / max(len(words), 1)
    outside = sum(a == OUTSIDE for a, _ in words) / max(len(words), 1)
    return F1Metrics(
        kinds,
        count_by_kind(a & b for a, b in pairs),
        count_by_kind(b for _, b in pairs),
        count_by_kind(a for a, _ in pairs),
        {"word accuracy": correct},
        f"never an entity: word accuracy {outside:.1%}",
    )

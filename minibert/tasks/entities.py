"""Named entities: spans from BIO tags, and the metrics of predicted spans."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from minibert.tasks.metrics import F1Metrics

OUTSIDE = "O"


class Entity(NamedTuple):
    """A span of words, from `start` to before `end`, with its kind."""

    kind: str
    start: int
    end: int


def is_bio(tags: Sequence[str]) -> bool:
    """Whether a set of tags is a BIO scheme: O, and B-KIND or I-KIND.

    >>> is_bio(["O", "B-PER", "I-PER"]), is_bio(["NOUN", "VERB"])
    (True, False)
    """
    return OUTSIDE in tags and all(tag == OUTSIDE or tag[:2] in ("B-", "I-") for tag in tags)


def find_entities(tags: Sequence[str]) -> list[Entity]:
    """Return the entities (list of `Entity`) that the BIO tags of a text mark.

    An I- tag that continues no entity of its kind begins one, as in the CoNLL evaluation (Tjong Kim
    Sang and De Meulder, 2003).

    >>> [tuple(each) for each in find_entities(["B-PER", "I-PER", "O", "B-LOC", "B-LOC", "I-ORG"])]
    [('PER', 0, 2), ('LOC', 3, 4), ('LOC', 4, 5), ('ORG', 5, 6)]
    """
    found: list[Entity] = []
    start = 0
    for i, (tag, following) in enumerate(pairwise([*tags, OUTSIDE])):
        if tag == OUTSIDE:
            continue
        kind = tag[2:]
        if i == 0 or tag.startswith("B-") or tags[i - 1][2:] != kind:
            start = i
        if following != f"I-{kind}":
            found.append(Entity(kind, start, i + 1))
    return found


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

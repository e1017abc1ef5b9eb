"""Entities in tagged text: from BIO tags to spans, and how many of them are right."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from minibert.tasks.metrics import Hits

OUTSIDE = "O"
Entity = tuple[str, int, int]  # its kind, its first word, and the one after its last


def is_bio(tags: Sequence[str]) -> bool:
    """Whether tags mark entities: O, and B-KIND and I-KIND for their first and later words.

    >>> is_bio(["O", "B-PER", "I-PER"]), is_bio(["NOUN", "VERB"])
    (True, False)
    """
    return OUTSIDE in tags and all(tag == OUTSIDE or tag[:2] in ("B-", "I-") for tag in tags)


def entities(tags: Sequence[str]) -> list[Entity]:
    """Return the entities in the tags of a text's words.

    An I- that continues nothing of its kind begins an entity, as in the CoNLL evaluation (Tjong Kim
    Sang and De Meulder, 2003).

    >>> entities(["B-PER", "I-PER", "O", "B-LOC", "B-LOC", "I-ORG"])
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
            found.append((kind, start, i + 1))
    return found


def count_entities(true: Sequence[Sequence[str]], said: Sequence[Sequence[str]]) -> Hits:
    """Count the entities of which kind and place are both right.

    Args:
        true, said: the tags of each text's words.
    """
    pairs = [(set(entities(a)), set(entities(b))) for a, b in zip(true, said, strict=True)]
    kinds = sorted({kind for both in pairs for side in both for kind, _, _ in side})

    def per_kind(sets):
        counts = Counter(kind for found in sets for kind, _, _ in found)
        return np.array([counts[kind] for kind in kinds], np.int64)

    words = [(a, b) for x, y in zip(true, said, strict=True) for a, b in zip(x, y, strict=True)]
    right = sum(a == b for a, b in words) / max(len(words), 1)
    outside = sum(a == OUTSIDE for a, _ in words) / max(len(words), 1)
    return Hits(
        kinds,
        per_kind(a & b for a, b in pairs),
        per_kind(b for _, b in pairs),
        per_kind(a for a, _ in pairs),
        {"word accuracy": right},
        f"never an entity: word accuracy {outside:.1%}",
    )

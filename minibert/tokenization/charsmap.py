r"""SentencePiece's normalizer table: characters and their replacements, in one block of bytes.

Kudo and Richardson (2018), section 3.2, compile Unicode normalization (usually NFKC) into a table
of replacements, so that a model is independent of the software that reads it. The block has three
parts:

    size        4 bytes, little-endian: the number of bytes of the trie
    trie        a double array (Aoe, 1989) of 4-byte units: the texts to replace, as UTF-8
    strings     the replacements, as UTF-8, each with a NUL at its end

A *double array* stores all nodes of a trie in one array. A node is an index. The child of node i by
byte c is at index i ^ c, if the unit there has the label c; the unit contains the offset by which
the child's own index is reached. A unit of 32 bits:

    bits 0-7, 31    label: the byte that leads here; bit 31 is set in a unit that contains a value
    bit 8           a text ends here; the unit at the child's index is its value
    bit 9           the offset is shifted by 8 more bits
    bits 10-30      offset

The value is the position of the replacement in the strings.

A text is normalized one *grapheme cluster* at a time: a letter with its marks, for example. As in
`tokenizers`, a cluster of less than 6 bytes is replaced as a whole if the table contains one of its
beginnings, of which the shortest counts; otherwise each of its characters is replaced by itself. So
texts of more than 5 bytes are never looked up, and they are not read from the trie.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import regex

from minibert.tokenization.normalizer import Letter

UNIT = np.dtype("<u4")
LONGEST = 5  # bytes of a text that is looked up; a character has at most 4
MAX_NODES = 1 << 16  # of the trie at each depth; SentencePiece's own tables have 12,000 in all
LONGEST_REPLACEMENT = 100  # bytes; that of the Arabic ligature U+FDFA has 33
BYTES = np.arange(1, 256)  # NUL is part of no text

_cluster = regex.compile(r"\X")


def read_charsmap(data: bytes) -> dict[str, str]:
    """Return the texts of at most 5 bytes of a table, and their replacements.

    Args:
        data: the table; an empty one replaces nothing.

    Raises:
        ValueError: the table is damaged.
    """
    if not data:
        return {}
    size = int.from_bytes(data[:4], "little")
    if size < UNIT.itemsize or size % UNIT.itemsize or len(data) < 4 + size:
        raise ValueError(f"charsmap: expected a trie of {size} bytes, got {len(data)} in all")
    units = np.frombuffer(data, UNIT, size // UNIT.itemsize, 4).astype(np.int64)
    strings = data[4 + size :]
    replacements = {}
    for text, value in _texts(units):
        if value >= len(strings):
            raise ValueError(f"charsmap: expected a position in the strings, got {value}")
        found = strings[value : value + LONGEST_REPLACEMENT + 1].split(b"\0", 1)[0]
        if len(found) > LONGEST_REPLACEMENT:
            raise ValueError(
                f"charsmap: expected replacements of at most {LONGEST_REPLACEMENT} bytes, with a "
                f"NUL after each, got more for {text!r}"
            )
        try:
            replacements[text.decode()] = found.decode()
        except UnicodeDecodeError:
            raise ValueError(f"charsmap: expected UTF-8, got {text!r} to replace") from None
    return replacements


def _texts(units: np.ndarray) -> Iterator[tuple[bytes, int]]:
    """Yield the texts of a trie and their values, short texts first.

    Args:
        units (U,), int64: the double array.
    """
    labels = units & (1 << 31 | 0xFF)
    offsets = (units >> 10) << ((units & 1 << 9) >> 6)
    nodes = [(b"", int(offsets[0]))]  # the text that leads to a node, and its index
    for _ in range(LONGEST):
        children = []
        for text, node in nodes:
            indices = node ^ BYTES
            indices = indices[indices < len(units)]
            for index in indices[labels[indices] == indices ^ node].tolist():
                child = (text + bytes([index ^ node]), index ^ int(offsets[index]))
                if units[index] >> 8 & 1:
                    if child[1] >= len(units):
                        raise ValueError(f"charsmap: expected a value at unit {child[1]}")
                    yield child[0], int(units[child[1]]) & ((1 << 31) - 1)
                children.append(child)
            if len(children) > MAX_NODES:
                raise ValueError(f"charsmap: expected at most {MAX_NODES:,} nodes in the trie")
        nodes = children


def replace_clusters(letters: Iterable[Letter], replacements: Mapping[str, str]) -> list[Letter]:
    r"""Replace the grapheme clusters of letters, or else their characters.

    Letter i of a replacement is at the position of letter i of the replaced text; further letters
    are at the position of its last one. If the text after it is dropped, the last of these further
    letters is at the position of the first dropped one, as in `tokenizers`.

    >>> letters = [Letter(char, i, i + 1) for i, char in enumerate("e\u0301\u2026")]
    >>> table = {"e\u0301": "\u00e9", "\u2026": "..."}
    >>> [tuple(letter) for letter in replace_clusters(letters, table)]
    [('é', 0, 1), ('.', 2, 3), ('.', 2, 3), ('.', 2, 3)]

    Args:
        letters: the letters of a text.
        replacements: of texts of at most 5 bytes.
    """
    given, letters = list(letters), []
    is_further = False  # whether the last letter is one more than were replaced
    for cluster in _cluster.finditer("".join(letter.char for letter in given)):
        start, end = cluster.span()
        whole = _replacement_of_cluster(cluster[0], replacements)
        spans = [(start, end)] if whole is not None else [(i, i + 1) for i in range(start, end)]
        for first, stop in spans:
            replacement = replacements.get(given[first].char) if whole is None else whole
            if replacement is None:
                letters.append(given[first])
            for i, char in enumerate(replacement or ""):
                letters.append(given[min(first + i, stop - 1)]._replace(char=char))
            if replacement == "" and is_further:
                letters[-1] = given[first]._replace(char=letters[-1].char)
            is_further = replacement is not None and len(replacement) > stop - first
    return letters


def _replacement_of_cluster(cluster: str, replacements: Mapping[str, str]) -> str | None:
    """Return the replacement (str) of the shortest beginning of a cluster of at most 5 bytes."""
    if len(cluster) <= LONGEST and len(cluster.encode("utf-8", "surrogatepass")) <= LONGEST:
        for end in range(1, len(cluster) + 1):
            if cluster[:end] in replacements:
                return replacements[cluster[:end]]
    return None

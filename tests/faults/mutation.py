"""Mutate files: flip, delete and duplicate bytes, and change the values of JSON.

Every choice is a random integer below a limit, so Hypothesis, a seeded generator and the seed of a
fuzzer can make it.
"""

import json
import struct
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

Below = Callable[[int], int]  # draws an integer from 0 to its argument minus 1

# Bytes with a special meaning for some reader.
TOKENS = [
    b"\0", b"\xef\xbb\xbf", b"\r", b"\n", b"\r\n", b"\n\n", b"\t", b"\t\t", b'"', b'""', b"'", b",",
    b" ", b"", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x80\xa8", b"\x1b[2J",
    b"\\ud800", b"\\u0000", b"NaN", b"Infinity", b"-1", b"1e999", b"9" * 25, b"9" * 5000, b"{",
    b"}", b"[", b"]", b"[" * 20_000, b'{"a":' * 20_000, b"null", b"true", b"-DOCSTART-",
    b"\x1f\x8b", b"\xff" * 8, b"\x7f" + b"\0" * 7, b"##", b"[SEP]", "ｅ\u0301\u200d".encode(),
]  # fmt: skip

VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 77, 10**6, 10**12, 2**63, 2**64, 10**30, 10**400, 0.5, 1e-9,
    float("nan"), float("inf"), "", "a", "3", "two\nlines", "a\tb", "\0", "\ud800", "\x1b[2J", "é",
    "../up", "/etc/passwd", "x" * 5000, [], [1], ["a"], [[]], [None], {}, {"a": 1}, {"0": "a"},
    [{}], [{"a": [1]}], {"content": 3}, {"content": ["a"]}, {"content": "a", "id": 5},
    {"id": "a"}, "F64", "BF16", "F8_E4M3", "I64", [0, 0], [2**63], [2**40, 2**40], [-1],
]  # fmt: skip


def mutate(valid: bytes, below: Below) -> bytes:
    """Mutate a file one to four times, as bytes, as lines or as JSON."""
    for _ in range(1 + below(4)):
        how = (damaged_bytes, damaged_tree, damaged_line)[below(3)]
        valid = how(valid, below)
    return valid


def damaged_bytes(raw: bytes, below: Below) -> bytes:
    """Flip a bit; delete, duplicate, replace or insert bytes; or truncate."""
    start = below(len(raw) + 1)
    stop = min(len(raw), start + (1, 2, 8, 64, len(raw))[below(5)])
    part = raw[start:stop]
    kind = below(6)
    if kind == 0 and part:
        part = bytes([part[0] ^ 1 << below(8)]) + part[1:]
    elif kind == 1:
        part = b""
    elif kind == 2:
        part *= 2
    elif kind == 3:
        part = TOKENS[below(len(TOKENS))] + part
    elif kind == 4:
        part = TOKENS[below(len(TOKENS))]
    else:
        return raw[:start]
    return raw[:start] + part + raw[stop:]


def damaged_line(raw: bytes, below: Below) -> bytes:
    """Delete, duplicate or swap lines, or mutate the JSON in a line."""
    lines = raw.split(b"\n")
    first, second = below(len(lines)), below(len(lines))
    kind = below(4)
    if kind == 0:
        lines.pop(first)
    elif kind == 1:
        lines.insert(second, lines[first])
    elif kind == 2:
        lines[first], lines[second] = lines[second], lines[first]
    else:
        lines[first] = damaged_tree(lines[first], below)
    return b"\n".join(lines)


def damaged_tree(raw: bytes, below: Below) -> bytes:
    """Change a value of JSON or of the header of a safetensors file; else change bytes."""
    try:
        return _damaged_json(raw, below)
    except (ValueError, RecursionError):
        pass
    try:  # a safetensors file: length of the header, header, data
        length = struct.unpack("<Q", raw[:8])[0]
        header = _damaged_json(raw[8 : 8 + length], below)
        return struct.pack("<Q", len(header)) + header + raw[8 + length :]
    except (ValueError, RecursionError, struct.error):
        return damaged_bytes(raw, below)


def _damaged_json(raw, below):
    tree = json.loads(raw.decode())
    places = list(_places(tree))
    if not places:
        return json.dumps(VALUES[below(len(VALUES))]).encode()
    parent, key = places[below(len(places))]
    kind = below(6)
    if kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(parent, dict):
        parent[("", "a", "0", "-1", "9" * 30, "\ud800", "two\nlines")[below(7)]] = parent.pop(key)
    elif kind == 2:
        other, name = places[below(len(places))]
        parent[key] = json.loads(json.dumps(other[name]))
    elif kind == 3:
        for _ in range((1, 3, 60)[below(3)]):
            parent[key] = ([parent[key]], {"a": parent[key]})[below(2)]
    else:
        parent[key] = VALUES[below(len(VALUES))]
    return json.dumps(tree).encode()


def _places(tree):
    """Yield the container and the key of each value."""
    pairs = tree.items() if isinstance(tree, dict) else ()
    for key, value in list(enumerate(tree) if isinstance(tree, list) else pairs):
        yield tree, key
        yield from _places(value)


@st.composite
def mutated(draw: Any, valid: bytes) -> bytes:
    """Return a strategy for mutations of a valid file."""
    return mutate(valid, lambda n: draw(st.integers(0, n - 1)))

"""Build normalizer tables and SentencePiece models, to test the readers."""

import base64
import struct
from contextlib import contextmanager


@contextmanager
def one_line(start):
    """Accept a ValueError whose message is one line with this beginning."""
    try:
        yield
    except ValueError as error:
        message = str(error)
        if not message.startswith(start) or "\n" in message:
            raise


BLOCK = 256  # units; each node of the trie has a block of its own, so that no two meet


def build_charsmap(replacements):
    """Return the bytes of a normalizer table; see `minibert.tokenization.charsmap`."""
    strings, units, nodes = b"", {}, {b"": BLOCK}
    for text in sorted({k.encode()[:n] for k in replacements for n in range(1, 9)}):
        nodes.setdefault(text, BLOCK * (len(nodes) + 1))
    values = {}
    for text, value in replacements.items():
        values[text.encode()] = len(strings)
        strings += value.encode() + b"\0"
    units[0] = BLOCK << 10  # the offset of the root
    for text, base in nodes.items():
        if text:
            index = nodes[text[:-1]] ^ text[-1]
            units[index] = text[-1] | (text in values) << 8 | (index ^ base) << 10
        if text in values:
            units[base] = 1 << 31 | values[text]
    size = BLOCK * (len(nodes) + 1)
    trie = b"".join(struct.pack("<I", units.get(i, 0)) for i in range(size))
    return struct.pack("<I", len(trie)) + trie + strings


def precompiled(replacements):
    """Return the step of `tokenizer.json` with a normalizer table."""
    table = base64.b64encode(build_charsmap(replacements)).decode()
    return {"type": "Precompiled", "precompiled_charsmap": table}


def varint(value):
    """Return an integer in the format of Protocol Buffers."""
    value &= (1 << 64) - 1
    parts = [value >> shift & 0x7F for shift in range(0, 70, 7) if value >> shift] or [0]
    return bytes([*(part | 0x80 for part in parts[:-1]), parts[-1]])


def message(*fields):
    """Return a message of fields: number and value."""
    parts = []
    for number, value in fields:
        if isinstance(value, float):
            parts += [varint(number << 3 | 5), struct.pack("<f", value)]
        elif isinstance(value, int):
            parts += [varint(number << 3), varint(value)]
        else:
            value = value.encode() if isinstance(value, str) else value
            parts += [varint(number << 3 | 2), varint(len(value)), value]
    return b"".join(parts)


def spm_model(pieces, charsmap=b"", trainer=(), normalizer=(), kinds=()):
    """Return the bytes of a SentencePiece model; the first three pieces are <unk>, <s> and </s>."""
    kinds = {"<unk>": 2, "<s>": 3, "</s>": 3, **dict(kinds)}
    return message(
        *((1, message((1, text), (2, score), (3, kinds.get(text, 1)))) for text, score in pieces),
        (2, message(*trainer, (43, -1))),
        (3, message((1, "test"), (2, charsmap), *normalizer)),
    )

"""Read the binary format of Protocol Buffers, in which SentencePiece stores its models.

A message is a sequence of fields. Each begins with a number whose lowest three bits are the wire
type and whose other bits are the number of the field. The type says how long the value is:

    0    an integer of variable length (varint): 7 bits in each byte, the lowest first; the highest
         bit of a byte is set if another byte follows
    1    8 bytes
    2    a varint, and as many bytes: text, bytes, or another message
    5    4 bytes, such as a float32

The format does not state the meaning of the fields; a reader knows their numbers.
"""

from collections.abc import Iterator

VARINT_BYTES = 10  # at most, for 64 bits
FIXED = {1: 8, 5: 4}  # the number of bytes of other wire types

Value = int | bytes


def read_fields(data: bytes) -> Iterator[tuple[int, Value]]:
    r"""Yield the fields of a message, in order: number and value.

    >>> list(read_fields(b"\x08\x96\x01" b"\x12\x02hi"))
    [(1, 150), (2, b'hi')]

    Raises:
        ValueError: the message is damaged.
    """
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, position = _varint(data, position)
            yield number, value
            continue
        if kind == 2:
            size, position = _varint(data, position)
        elif kind in FIXED:
            size = FIXED[kind]
        else:
            raise ValueError(f"expected a field of type 0, 1, 2 or 5, got {kind} at {position}")
        if size > len(data) - position:
            raise ValueError(f"expected {size} more bytes, got {len(data) - position}")
        yield number, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Return the integer at a position, and the position after it."""
    value = 0
    for i in range(VARINT_BYTES):
        if position == len(data):
            raise ValueError("expected more bytes, got the end of the file")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            return value & (1 << 64) - 1, position
    raise ValueError(f"expected an integer of at most {VARINT_BYTES} bytes at {position}")

"""GPT-2's split of a text before byte pairs are merged, and the same for many texts at once.

`chunks` is the definition. `part_bounds` finds borders between chunks in the bytes of many texts by
a few NumPy calls. It finds not all of them, but only those that two neighbouring bytes decide: a
part is one chunk or several, and never half of one.
"""

import re
from collections.abc import Sequence

import numpy as np
import regex

# White space of Unicode; Python's \s also contains U+001C to U+001F.
_WIDE_SPACE = "\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
_WIDE_SPACE += "\u2028\u2029\u202f\u205f\u3000"
SPACES = f"\t\n\x0b\x0c\r {_WIDE_SPACE}"
_PATTERN = regex.compile(
    r"'s|'t|'re|'ve|'m|'ll|'d"
    rf"| ?\p{{L}}+| ?\p{{N}}+| ?[^{SPACES}\p{{L}}\p{{N}}]+"
    rf"|[{SPACES}]+(?![^{SPACES}])|[{SPACES}]+"
)
# The same for ASCII, by the faster module.
_ASCII_PATTERN = re.compile(
    r"'s|'t|'re|'ve|'m|'ll|'d"
    r"| ?[A-Za-z]+| ?[0-9]+| ?[^\t-\r A-Za-z0-9]+"
    r"|[\t-\r ]+(?![^\t-\r ])|[\t-\r ]+"
)
_wide_space = re.compile(f"[{_WIDE_SPACE}]")

END = b"\xff"  # ends each text of a batch; no byte of UTF-8
# Classes of bytes. A quote and one of the letters below may be a contraction, such as 's.
_END, _BLANK, _LETTER, _CONTRACTED, _DIGIT, _MARK, _QUOTE, _WIDE = range(8)


def _class_of(byte: int) -> int:
    char = chr(byte)
    if byte >= 0x80:
        return _END if byte == END[0] else _WIDE
    if char in SPACES:
        return _BLANK
    if char.isalpha():
        return _CONTRACTED if char in "strvmld" else _LETTER
    return _DIGIT if char.isdigit() else _QUOTE if char == "'" else _MARK


def _is_border(before: int, after: int) -> bool:
    """Return whether a chunk certainly ends between two bytes of these classes."""
    letters, marks = {_LETTER, _CONTRACTED}, {_MARK, _QUOTE}
    if _END in (before, after) or (after == _BLANK and before != _BLANK):
        return True
    if before in {*letters, _DIGIT}:
        return after in marks or ((after == _DIGIT) != (before == _DIGIT) and after != _WIDE)
    if before in marks:
        return after in {_LETTER, _DIGIT} or (after == _CONTRACTED and before == _MARK)
    return False


_CLASSES = bytes(map(_class_of, range(256)))
_BORDERS = np.array([_is_border(code >> 3, code & 7) for code in range(64)])


def chunks(text: str) -> list[str]:
    """Return the chunks (list of str) of a text: words, numbers, marks, white space; all of it.

    A chunk may begin with one space, and a contraction such as 's is one. Radford et al. (2019), in
    their code.

    >>> chunks("He's  in room 12.")
    ['He', "'s", ' ', ' in', ' room', ' 12', '.']
    """
    return (_ASCII_PATTERN if text.isascii() else _PATTERN).findall(text)


def encode(texts: Sequence[str]) -> tuple[bytes, np.ndarray]:
    """Return texts as UTF-8, each with an `END`, and their sizes (B,), in bytes."""
    parts = [text.encode("utf-8", "surrogatepass") for text in texts]
    sizes = np.array([len(part) + 1 for part in parts], np.intp)
    return END.join([*parts, b""]), sizes


def part_bounds(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the starts (M,) and the ends (M,) of parts of texts in UTF-8, each with an END.

    A text that contains white space beyond ASCII may not be among them; see `is_divisible`.

    >>> [bounds.tolist() for bounds in part_bounds(b"he's in\xff")]
    [[0, 2, 4], [2, 4, 7]]
    """
    classes = np.frombuffer(END + data.translate(_CLASSES) + END, np.uint8).copy()
    classes[[0, -1]] = _END
    is_border = _BORDERS[classes[:-1] << 3 | classes[1:]]  # before each byte, and at the end
    is_part = classes[1:-1] != _END
    starts, lasts = is_part & is_border[:-1], is_part & is_border[1:]
    return np.flatnonzero(starts), np.flatnonzero(lasts) + 1


def is_divisible(text: str) -> bool:
    """Return whether `part_bounds` may be used: white space beyond ASCII looks like letters."""
    return text.isascii() or _wide_space.search(text) is None

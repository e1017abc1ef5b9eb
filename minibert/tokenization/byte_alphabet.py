"""The byte-level alphabet: each of the 256 bytes as one visible character.

The pieces of a byte-level vocabulary are strings of these characters, so that they can be written
to files line by line: the space is Ġ, and é, whose two bytes in UTF-8 are C3 and A9, is Ã©.
"""

from collections.abc import Container, Iterable

# The bytes that stand for themselves: printable characters of Latin-1 but the space, the no-break
# space and the soft hyphen. The others get the characters from U+0100 on, in order.
_SAME = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHERS = [byte for byte in range(256) if byte not in _SAME]

CHARACTERS = [chr(byte) for byte in range(256)]  # the character of each byte
for _i, _byte in enumerate(_OTHERS):
    CHARACTERS[_byte] = chr(256 + _i)
BYTES = {character: byte for byte, character in enumerate(CHARACTERS)}
SPACE = CHARACTERS[ord(" ")]
ALPHABET = sorted(CHARACTERS)  # in the order of a trained vocabulary


def spell(text: str) -> str:
    """Return the bytes of a text in UTF-8, as characters (str).

    Radford et al. (2019), section 2.2, in their code.

    >>> spell("to café")
    'toĠcafÃ©'
    """
    if text.isascii() and text.isprintable():
        return text.replace(" ", SPACE)
    return "".join([CHARACTERS[byte] for byte in text.encode("utf-8", "surrogatepass")])


def unspell(pieces: Iterable[str], texts: Container[str] = ()) -> str:
    r"""Return the text (str) of pieces; bytes that are not UTF-8 become U+FFFD.

    >>> unspell(["caf", "Ã", "©", "Ġ!"]), unspell(["Ã"]), unspell(["é", "Ġ!"], {"é"})
    ('café !', '\ufffd', 'é !')

    Args:
        pieces: pieces of one text.
        texts: the pieces that are texts, not characters of bytes: added tokens. A piece with a
            character that is not that of a byte is a text, too.
    """
    parts = [
        piece.encode("utf-8", "surrogatepass")
        if piece in texts or not BYTES.keys() >= set(piece)
        else bytes([BYTES[character] for character in piece])
        for piece in pieces
    ]
    return b"".join(parts).decode("utf-8", "replace")

"""Chapter 13: split a word into the longest pieces of a vocabulary."""


def longest_match(word, pieces):
    """Split a word greedily: the longest piece first, then the longest piece of the rest.

    A piece that continues a word is stored with ##: "unable" is un ##able. If no piece matches the
    rest, the whole word is unknown.

    Args:
        word: a word of at least one letter.
        pieces: the vocabulary (list of str).

    Returns:
        a list of pieces, or ["[UNK]"].
    """
    raise NotImplementedError

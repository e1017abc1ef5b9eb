"""Chapter 13: merge the most frequent pair, one step of learning a WordPiece vocabulary."""


def merge_pair(words, pieces):
    """Merge the most frequent pair of neighbouring pieces in all words.

    A pair counts once for each place where it occurs, times the count of the word. Of equally
    frequent pairs, the one with the older first piece is merged, then the one with the older second
    piece. The new piece is their text: l ##o is merged to lo, and ##e ##r to ##er. In a word, merge
    from left to right.

        {("l", "##o", "##w"): 3, ("n", "##e", "##w"): 1}   ->   "lo",
        {("lo", "##w"): 3, ("n", "##e", "##w"): 1}

    Args:
        words: the count of each word, by its pieces (dict); at least one has two pieces.
        pieces: all pieces (list of str), the oldest first.

    Returns:
        piece (str): the new piece.
        words: the words with it (dict), in the same order.
    """
    raise NotImplementedError

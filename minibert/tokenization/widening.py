"""New words: a tokenizer with further words in its vocabulary.

The words become ordinary pieces, after all others, so a text is tokenized as fast as before, and
`vocab.txt` and `tokenizer.json` need nothing that is not WordPiece's. As any piece, a new word is
also found at the start of longer words.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from minibert.io.text import read_lines, sanitize
from minibert.tokenization.vocabulary import Vocabulary
from minibert.tokenization.wordpiece import WordPieceTokenizer


def read_new_words(
    path: str | os.PathLike[str], tokenizer: WordPieceTokenizer
) -> dict[str, list[int]]:
    """Read the words of a file that a tokenizer should learn, one per line.

    Args:
        path: a text file in UTF-8.
        tokenizer: reads the words, as it reads texts; an uncased one lower-cases them.

    Returns:
        the pieces (list of int) of each normalized word, in the order of the lines.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: a line is empty, contains several words or punctuation, repeats a word, or its
            word is in the vocabulary; the message names file and line. Or there is no line.
    """
    path = Path(path)
    words: dict[str, list[int]] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(read_lines(path), 1):
        where, text = f"{path}, line {number}", line.strip()
        parts = tokenizer.words_of(text)
        if not parts:
            raise ValueError(f"{where}: expected a word, got an empty line")
        if len(parts) > 1:
            raise ValueError(
                f"{where}: expected one word, got {sanitize(text)!r}, which the tokenizer reads as "
                f"{len(parts)}: {sanitize(' '.join(parts))}"
            )
        word = tokenizer.normalizer.normalize(text).strip()
        if len(word) > tokenizer.max_input_chars_per_word:
            raise ValueError(
                f"{where}: expected at most {tokenizer.max_input_chars_per_word} characters, the "
                f"tokenizer's longest word, got {len(word)}"
            )
        if word in lines:
            raise ValueError(f"{where}: {sanitize(word)!r} occurs in line {lines[word]} already")
        if word in tokenizer.vocab or text in tokenizer.vocab:  # or it is a special token
            raise ValueError(f"{where}: {sanitize(word)!r} is in the vocabulary already")
        lines[word] = number
        words[word] = tokenizer.ids_of(text).tolist()
    if not words:
        raise ValueError(f"{path}: expected a word per line, got an empty file")
    return words


def with_new_words(tokenizer: WordPieceTokenizer, words: Iterable[str]) -> WordPieceTokenizer:
    """Return a tokenizer with further words in its vocabulary; all others keep their ids.

    >>> pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##aff", "##able"]
    >>> tokenizer = with_new_words(WordPieceTokenizer(pieces), ["affable"])
    >>> tokenizer.tokenize("affable"), tokenizer.tokenize("unaffable"), len(tokenizer)
    (['affable'], ['un', '##aff', '##able'], 9)

    Args:
        tokenizer: stays as it is.
        words: normalized words, such as those of `read_new_words`.

    Raises:
        ValueError: a word occurs twice, is in the vocabulary, or is not a line of text.
    """
    # Added tokens without a piece have the ids after the vocabulary; they become pieces, too, so
    # that they keep them. No text is split into such a piece, because added tokens are found first.
    ids = dict(tokenizer.vocab)
    size = len(tokenizer)
    for word in words:
        if word in ids:
            raise ValueError(f"words: expected new ones, got {word!r}, which has an id")
        ids[word] = size
        size += 1
    return type(tokenizer)(
        Vocabulary.with_gaps(ids, size, tokenizer.vocabulary.prefix),
        template=tokenizer.template,
        added_tokens=tokenizer.added_tokens,
        **tokenizer.saved_options(),
    )

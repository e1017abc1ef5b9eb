"""A tokenizer with a vocabulary small enough to read."""

import pytest

from minibert.tokenization import WordPieceTokenizer

WORDS = "the a cat dog sat ran on under mat tree big red and then it was s ##s ##ed . , !"


@pytest.fixture(scope="session")
def tokenizer():
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split(), *letters]
    continued = [f"##{letter}" for letter in letters]
    return WordPieceTokenizer(list(dict.fromkeys([*pieces, *continued])))

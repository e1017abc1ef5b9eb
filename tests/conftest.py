"""A tokenizer with a vocabulary small enough to read; Hypothesis without its clock."""

import hypothesis
import pytest

from minibert.tokenization import WordPieceTokenizer

# The deadline is a wall-clock limit, by default 200 ms an example: a busy machine would fail it.
hypothesis.settings.register_profile("minibert", deadline=None)
hypothesis.settings.load_profile("minibert")

WORDS = "the a cat dog sat ran on under mat tree big red and then it was s ##s ##ed . , !"


@pytest.fixture(scope="session")
def tokenizer():
    return small_tokenizer()


def small_tokenizer():
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split(), *letters]
    continued = [f"##{letter}" for letter in letters]
    return WordPieceTokenizer(list(dict.fromkeys([*pieces, *continued])))

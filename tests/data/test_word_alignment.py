"""Words and their tokens, which may begin with the space before a word."""

import pytest

from minibert.data.word_alignment import word_windows
from minibert.tokenization import ByteLevelBPETokenizer

WORDS = ["to", "be", "or", "not", "to", "be"]


@pytest.mark.parametrize("trim_offsets", [True, False])
def test_each_word_has_its_first_token(trim_offsets):
    learned = ByteLevelBPETokenizer.train(["to be or not to be"] * 9, 270)
    tokenizer = ByteLevelBPETokenizer(
        learned.vocabulary, learned.merges, add_prefix_space=True, trim_offsets=trim_offsets
    )
    [(encoding, first, positions)] = word_windows(tokenizer, WORDS, 64)
    assert first == 0
    starts = [encoding.tokens[i] for i in positions]
    assert [word[0] for word in WORDS] == [start.removeprefix("Ġ")[0] for start in starts]
    assert all(start.startswith("Ġ") for start in starts)

"""New words of a tokenizer: their ids, other texts, and faults of the file."""

import pytest

from minibert.tokenization import AddedToken, WordPieceTokenizer
from minibert.tokenization.framing import ROBERTA
from minibert.tokenization.widening import read_new_words, with_new_words
from tests.cli.helpers import write_lines


def test_new_words_become_pieces_after_all_others(tokenizer):
    wide = with_new_words(tokenizer, ["zebra", "quokka"])
    assert len(wide) == len(tokenizer) + 2
    assert wide.convert_tokens_to_ids(["zebra", "quokka"]) == [len(tokenizer), len(tokenizer) + 1]
    assert wide.tokenize("A Zebra's quokka") == ["a", "zebra", "[UNK]", "s", "quokka"]
    assert dict(wide.vocab).items() > dict(tokenizer.vocab).items()
    assert "zebra" not in tokenizer.vocab
    assert wide.all_special_ids == tokenizer.all_special_ids


def test_a_new_word_is_also_found_at_the_start_of_a_longer_word(tokenizer):
    wide = with_new_words(tokenizer, ["zebra"])
    assert wide.tokenize("zebras") == ["zebra", "##s"]


def test_added_tokens_keep_their_ids(tokenizer):
    before = WordPieceTokenizer(
        list(tokenizer.vocab), added_tokens=[AddedToken("two words"), "<x>"], do_lower_case=False
    )
    wide = with_new_words(before, ["zebra"])
    text = "two words <x> zebra Zebra twowords two  words"
    assert wide.convert_tokens_to_ids(["two words", "<x>"]) == [len(before) - 2, len(before) - 1]
    assert wide.tokenize(text) == [
        token
        for part in ("two words <x>", "zebra", "Zebra twowords two  words")
        for token in (["zebra"] if part == "zebra" else before.tokenize(part))
    ]
    assert wide.added_tokens == before.added_tokens


def test_a_widened_tokenizer_is_the_same_after_saving(tokenizer, tmp_path):
    before = WordPieceTokenizer(list(tokenizer.vocab), added_tokens=["<x>"], model_max_length=9)
    wide = with_new_words(before, ["zebra", "quokka"])
    wide.save_pretrained(tmp_path)
    again = WordPieceTokenizer.from_pretrained(tmp_path)
    assert list(again.vocab.items()) == list(wide.vocab.items())
    assert again.model_max_length == 9
    text = "a zebra <x> quokkas"
    assert again.encode(text) == wide.encode(text)


def test_new_words_are_refused_if_known(tokenizer):
    for words in (["cat"], ["zebra", "zebra"], ["[MASK]"]):
        with pytest.raises(ValueError, match="words: expected new ones, got "):
            with_new_words(tokenizer, words)


def test_read_new_words_returns_normalized_words_with_their_pieces(tokenizer, tmp_path):
    path = write_lines(tmp_path / "words.txt", "Zébra", " quokka ", "ö7")
    words = read_new_words(path, tokenizer)
    assert list(words) == ["zebra", "quokka", "o7"]
    assert tokenizer.convert_ids_to_tokens(words["zebra"]) == [
        "z", "##e", "##b", "##r", "##a",
    ]  # fmt: skip
    assert words["o7"] == [tokenizer.unk_token_id]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["zebra", "", "quokka"], "line 2: expected a word, got an empty line"),
        (["  "], "line 1: expected a word, got an empty line"),
        (["zebra", "two words"], "line 2: expected one word, got 'two words', which the tokenizer "
                                 "reads as 2: two words"),
        (["co-op"], "line 1: expected one word, got 'co-op', which the tokenizer reads as 3: "
                    "co - op"),
        (["zebra", "quokka", "ZEBRA"], "line 3: 'zebra' occurs in line 1 already"),
        (["quokka", "cat"], "line 2: 'cat' is in the vocabulary already"),
        (["[MASK]"], "line 1: '[mask]' is in the vocabulary already"),
        (["z" * 101], "line 1: expected at most 100 characters, the tokenizer's longest word, got"),
    ],
)  # fmt: skip
def test_read_new_words_names_file_line_and_fault(tokenizer, tmp_path, lines, message):
    path = write_lines(tmp_path / "words.txt", *lines)
    with pytest.raises(ValueError, match=r"words\.txt") as error:
        read_new_words(path, tokenizer)
    assert str(error.value).startswith(f"{path}, {message}")


def test_read_new_words_refuses_an_empty_file(tokenizer, tmp_path):
    (tmp_path / "words.txt").write_text("")
    with pytest.raises(ValueError, match=r"words\.txt: the file is empty"):
        read_new_words(tmp_path / "words.txt", tokenizer)


def test_a_widened_tokenizer_has_the_special_tokens_around_pairs_of_the_old_one(tokenizer):
    before = WordPieceTokenizer(list(tokenizer.vocab), template=ROBERTA)
    wide = with_new_words(before, ["zebra"])
    assert wide.encode("the cat", "the dog").tokens == before.encode("the cat", "the dog").tokens
    assert wide.encode("the cat", "the dog").tokens.count("[SEP]") == 3

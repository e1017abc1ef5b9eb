"""Tokens taken whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.tokenization import AddedToken, WordPieceTokenizer
from minibert.tokenization.added import Finder

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "new", "york", "##s"]


def found(text, *tokens, **options):
    finder = Finder({token.content: (token, i) for i, token in enumerate(tokens)})
    spans = list(finder.split(text, **options))
    assert finder.found_in(text) or all(i is None for _, _, i in spans)
    return [(text[start:end], i) for start, end, i in spans]


def test_the_leftmost_and_then_the_longest_is_taken():
    tokens = [AddedToken("ab"), AddedToken("abc"), AddedToken("bcd"), AddedToken("c")]
    assert found("xabcd", *tokens) == [("x", None), ("abc", 1), ("d", None)]
    assert found("bcdabc", *tokens) == [("bcd", 2), ("abc", 1)]


def test_white_space_goes_with_those_that_ask():
    left, right = AddedToken("<", lstrip=True), AddedToken(">", rstrip=True)
    assert found("a \u3000< b> \n<", left, right) == [
        ("a", None),
        (" \u3000<", 0),
        (" b", None),
        ("> \n", 1),
        ("<", 0),
    ]
    assert found("a\x1c<", left) == [("a\x1c", None), ("<", 0)]  # no white space, to Unicode


@given(st.text("<ab \t"), *[st.booleans()] * 3)
def test_one_token_is_found_as_slowly_as_can_be(text, single_word, lstrip, rstrip):
    token = AddedToken("<", single_word=single_word, lstrip=lstrip, rstrip=rstrip)
    expected, rest = [], 0  # `rest` is where the text begins that no token has taken
    for at in (i for i, letter in enumerate(text) if letter == "<"):
        beside = text[max(at - 1, 0) : at] + text[at + 1 : at + 2]
        if single_word and any(letter in beside for letter in "ab"):
            continue
        before, after = text[rest:at], text[at + 1 :]
        start = rest + len(before.rstrip()) if lstrip else at
        end = len(text) - len(after.lstrip()) if rstrip else at + 1
        expected += [(text[rest:start], None)] * (rest < start) + [(text[start:end], 0)]
        rest = end
    expected += [(text[rest:], None)] * (rest < len(text))
    assert found(text, token) == expected


def test_single_words_are_not_taken_out_of_others():
    token = AddedToken("ab", single_word=True)
    assert found("xab ab", token) == [("xab ", None), ("ab", 0)]
    assert found("ab-ab", token) == [("ab", 0), ("-", None), ("ab", 0)]
    for text in "xab", "abx", "ab_", "1ab", "ab\u0301":
        assert found(text, token) == [(text, None)]


def test_special_ones_can_be_text():
    tokens = AddedToken("[S]", special=True), AddedToken("S")
    assert found("[S]S", *tokens) == [("[S]", 0), ("S", 1)]
    assert found("[S]S", *tokens, keep_special=False) == [("[S]", None), ("S", 1)]


@given(st.text("ab []"), st.lists(st.builds(AddedToken, st.text("ab []", min_size=1, max_size=3))))
def test_the_parts_are_the_text(text, tokens):
    assert "".join(part for part, _ in found(text, *tokens)) == text


def test_new_tokens_are_numbered_on():
    tokenizer = WordPieceTokenizer(PIECES)
    assert tokenizer.add_tokens(["New York", "a"]) == 1
    assert (tokenizer.vocab_size, len(tokenizer)) == (10, 11)
    assert tokenizer.vocab["New York"] == 10
    assert tokenizer.ids_of("b NEW YORKs, new  york").tolist() == [6, 10, 1, 1, 7, 8]
    assert tokenizer.tokenize("ab") == ["a", "b"]  # no longer unknown
    assert tokenizer.add_tokens(["New York"]) == 0
    assert tokenizer.decode([10, 5]) == "New York a"
    assert tokenizer.convert_ids_to_tokens([10]) == ["New York"]


def test_special_ones_are_left_out_when_decoding():
    tokenizer = WordPieceTokenizer(PIECES)
    assert tokenizer.add_tokens(["<E>"], special_tokens=True) == 1
    encoding = tokenizer.encode("a<E> <e>")
    assert encoding.input_ids == [2, 5, 10, 1, 1, 1, 3]
    assert encoding.special_tokens_mask == [1, 0, 0, 0, 0, 0, 1]  # those that were put around
    assert tokenizer.all_special_ids[-1] == 10
    assert tokenizer.decode([5, 10]) == "a"
    assert tokenizer.encode("<E>", split_special_tokens=True).input_ids == [2, 1, 1, 1, 3]


def test_bad_tokens_are_refused_and_change_nothing():
    tokenizer = WordPieceTokenizer(PIECES)
    with pytest.raises(ValueError, match=r"^added token: expected a text, got an empty one$"):
        tokenizer.add_tokens(["x", ""])
    with pytest.raises(ValueError, match=r"added token '\\u200b': nothing is left of it"):
        tokenizer.add_tokens(["x", "\u200b"])
    with pytest.raises(ValueError, match=r"^added token: expected a text, got '\\ud800'$"):
        tokenizer.add_tokens(["x", "\ud800"])
    with pytest.raises(TypeError, match=r"^added token: expected a string, got list$"):
        AddedToken(["x"])
    with pytest.raises(TypeError, match="tokens: expected several, got one string"):
        tokenizer.add_tokens("x")
    assert len(tokenizer) == 10
    assert tokenizer.tokenize("x") == ["[UNK]"]


@pytest.mark.parametrize("normalized", [False, True])
def test_untrusted_text_has_no_special_tokens_in_whatever_form_they_are_sought(normalized):
    added = [
        AddedToken("Y", special=True, normalized=False),
        AddedToken("Zz", special=True, normalized=normalized),
    ]
    tokenizer = WordPieceTokenizer(PIECES, added_tokens=added)
    trusted, untrusted = (
        tokenizer.encode("Y Zz", split_special_tokens=split) for split in (False, True)
    )
    assert (trusted.input_ids, untrusted.input_ids) == ([2, 10, 11, 3], [2, 1, 1, 3])
    assert trusted.offsets == untrusted.offsets == [(0, 0), (0, 1), (2, 4), (0, 0)]
    assert tokenizer.encode_windows("Y Zz", max_length=9) == [trusted]
    assert tokenizer.encode_windows("Y Zz", max_length=9, split_special_tokens=True) == [untrusted]


def test_a_token_of_normalised_text_stands_where_all_its_letters_stood():
    tokenizer = WordPieceTokenizer(PIECES, added_tokens=["New York"])
    encoding = tokenizer.encode("a N\u0301EW\u200b York")
    assert encoding.tokens[1:-1] == ["a", "New York"]
    assert encoding.offsets[1:-1] == [(0, 1), (2, 12)]

"""Added tokens: search, ids, encoding and decoding."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.tokenization import AddedToken, WordPieceTokenizer, added
from minibert.tokenization.added import Finder

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "new", "york", "##s"]


def found(text, *tokens, **options):
    finder = Finder({token.content: (token, i) for i, token in enumerate(tokens)})
    spans = list(finder.split(text, **options))
    assert finder.found_in(text) or all(i is None for _, _, i in spans)
    return [(text[start:end], i) for start, end, i in spans]


def test_finder_takes_the_leftmost_then_the_longest_token():
    tokens = [AddedToken("ab"), AddedToken("abc"), AddedToken("bcd"), AddedToken("c")]
    assert found("xabcd", *tokens) == [("x", None), ("abc", 1), ("d", None)]
    assert found("bcdabc", *tokens) == [("bcd", 2), ("abc", 1)]


def test_finder_strips_white_space_with_lstrip_and_rstrip():
    left, right = AddedToken("<", lstrip=True), AddedToken(">", rstrip=True)
    assert found("a \u3000< b> \n<", left, right) == [
        ("a", None),
        (" \u3000<", 0),
        (" b", None),
        ("> \n", 1),
        ("<", 0),
    ]
    assert found("a\x1c<", left) == [("a\x1c", None), ("<", 0)]  # not white space in Unicode


@given(st.text("<ab \t"), *[st.booleans()] * 3)
def test_finder_equals_a_plain_search_for_one_token(text, single_word, lstrip, rstrip):
    token = AddedToken("<", single_word=single_word, lstrip=lstrip, rstrip=rstrip)
    expected, rest = [], 0  # `rest` is the start of the text after the last token
    for at in (i for i, letter in enumerate(text) if letter == "<"):
        neighbours = text[max(at - 1, 0) : at] + text[at + 1 : at + 2]
        if single_word and any(letter in neighbours for letter in "ab"):
            continue
        before, after = text[rest:at], text[at + 1 :]
        start = rest + len(before.rstrip()) if lstrip else at
        end = len(text) - len(after.lstrip()) if rstrip else at + 1
        expected += [(text[rest:start], None)] * (rest < start) + [(text[start:end], 0)]
        rest = end
    expected += [(text[rest:], None)] * (rest < len(text))
    assert found(text, token) == expected


def test_finder_ignores_single_words_inside_words():
    token = AddedToken("ab", single_word=True)
    assert found("xab ab", token) == [("xab ", None), ("ab", 0)]
    assert found("ab-ab", token) == [("ab", 0), ("-", None), ("ab", 0)]
    for text in "xab", "abx", "ab_", "1ab", "ab\u0301":
        assert found(text, token) == [(text, None)]


def test_finder_treats_special_tokens_as_text_on_request():
    tokens = AddedToken("[S]", special=True), AddedToken("S")
    assert found("[S]S", *tokens) == [("[S]", 0), ("S", 1)]
    assert found("[S]S", *tokens, keep_special=False) == [("[S]", None), ("S", 1)]


@given(st.text("ab []"), st.lists(st.builds(AddedToken, st.text("ab []", min_size=1, max_size=3))))
def test_finder_parts_join_to_the_text(text, tokens):
    assert "".join(part for part, _ in found(text, *tokens)) == text


def test_add_tokens_assigns_the_next_ids():
    tokenizer = WordPieceTokenizer(PIECES)
    assert tokenizer.add_tokens(["New York", "a"]) == 1
    assert (tokenizer.vocab_size, len(tokenizer)) == (10, 11)
    assert tokenizer.vocab["New York"] == 10
    assert tokenizer.ids_of("b NEW YORKs, new  york").tolist() == [6, 10, 1, 1, 7, 8]
    assert tokenizer.tokenize("ab") == ["a", "b"]  # no longer unknown
    assert tokenizer.add_tokens(["New York"]) == 0
    assert tokenizer.decode([10, 5]) == "New York a"
    assert tokenizer.convert_ids_to_tokens([10]) == ["New York"]


def test_decode_skips_added_special_tokens():
    tokenizer = WordPieceTokenizer(PIECES)
    assert tokenizer.add_tokens(["<E>"], special_tokens=True) == 1
    encoding = tokenizer.encode("a<E> <e>")
    assert encoding.input_ids == [2, 5, 10, 1, 1, 1, 3]
    assert encoding.special_tokens_mask == [1, 0, 0, 0, 0, 0, 1]  # 1 only for [CLS] and [SEP]
    assert tokenizer.all_special_ids[-1] == 10
    assert tokenizer.decode([5, 10]) == "a"
    assert tokenizer.encode("<E>", split_special_tokens=True).input_ids == [2, 1, 1, 1, 3]


def test_add_tokens_refuses_invalid_tokens_and_changes_nothing():
    tokenizer = WordPieceTokenizer(PIECES)
    with pytest.raises(ValueError, match=r"^added token: expected a text, got an empty one$"):
        tokenizer.add_tokens(["x", ""])
    with pytest.raises(
        ValueError, match=r"added token '\\u200b': expected text after normalization"
    ):
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
def test_split_special_tokens_disables_normalized_and_other_special_tokens(normalized):
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


def test_encode_gives_normalized_added_tokens_the_offsets_of_their_letters():
    tokenizer = WordPieceTokenizer(PIECES, added_tokens=["New York"])
    encoding = tokenizer.encode("a N\u0301EW\u200b York")
    assert encoding.tokens[1:-1] == ["a", "New York"]
    assert encoding.offsets[1:-1] == [(0, 1), (2, 12)]


TEXTS_TO_FIND = st.lists(
    st.text("ab", min_size=1, max_size=5), min_size=1, max_size=12, unique=True
)


@given(st.text("abc", max_size=30), TEXTS_TO_FIND)
def test_many_tokens_are_found_as_few_are(text, tokens):
    tokens = {content: (AddedToken(content), i) for i, content in enumerate(tokens)}
    few = Finder(tokens)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(added, "FEW_LETTERS", 0)
        many = Finder(tokens)
    assert many._sorted
    assert not few._sorted
    assert list(many.split(text)) == list(few.split(text))
    assert many.found_in(text) == few.found_in(text)


def test_the_pattern_of_many_tokens_does_not_try_them_one_by_one():
    """A regular expression would compare each of 990 tokens with the text at each position."""
    tokens = ["a" * size + end for size in range(10, 1000) for end in "bc"]
    finder = Finder({content: (AddedToken(content), i) for i, content in enumerate(tokens)})
    assert len(finder._pattern.pattern) < 10
    text = "a" * 3000
    assert list(finder.split(text)) == [(0, 3000, None)]
    assert list(finder.split(text + "c")) == [(0, 2001, None), (2001, 3001, 1979)]


def test_a_longer_token_is_refused():
    assert Finder({"a" * 1000: (AddedToken("a" * 1000), 0)}).found_in("a" * 1000)
    with pytest.raises(ValueError, match="added token: expected at most 1,000 letters, got 1,001"):
        Finder({"a" * 1001: (AddedToken("a" * 1001), 0)})

"""WordPieceTokenizer: text to ids and back."""

import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from subprocess import run

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minibert.inference.windows import long_texts
from minibert.tokenization import Normalizer, WordPieceTokenizer, matching

PIECES = "[PAD] [UNK] [CLS] [SEP] [MASK] un ##aff ##able ##a a b c ##b ##c , . ' s 中".split()
ODD = "<p> a ##b b [ ] mask , ##a c d ? [CLS] [SEP] [MASK] [UNK]".split()
TEXTS = st.text(st.one_of(st.characters(), st.sampled_from("abc ABC.,'[]#\x0b\u3000"))) | st.lists(
    st.sampled_from(["unaffable", "[MASK]", "[SEP]", "a", "cab", "x", ",", "中", "[PAD][CLS]"])
).map(" ".join)


@pytest.fixture(scope="module")
def tokenizer():
    return WordPieceTokenizer(PIECES)


@pytest.fixture(scope="module")
def odd():
    """Return a tokenizer with special tokens at unusual ids."""
    return WordPieceTokenizer(ODD, pad_token="<p>", unk_token="?")


def test_special_ids_are_looked_up_in_the_vocabulary(odd):
    assert (odd.pad_token_id, odd.unk_token_id, odd.cls_token_id) == (0, 11, 12)
    assert (odd.sep_token_id, odd.mask_token_id) == (13, 14)
    assert sorted(odd.all_special_ids) == [0, 11, 12, 13, 14]
    batch = odd.encode_batch(["ab x", "a"])
    assert batch["input_ids"].tolist() == [[12, 1, 2, 11, 13], [12, 1, 13, 0, 0]]
    # Here "<p>" is a special token and "[UNK]" is not.
    assert odd.tokenize("a <p> [MASK] [mask]") == ["a", "<p>", "[MASK]", "[", "mask", "]"]


def test_tokenize_takes_the_longest_special_token():
    tokenizer = WordPieceTokenizer(
        ["<m", "<m>", "<m>>", "?", "<", "m", ">"],
        pad_token="<m",
        unk_token="?",
        cls_token="<m>",
        sep_token="<m>",
        mask_token="<m>>",
    )
    assert tokenizer.tokenize("<m>>> <m>< <m") == ["<m>>", ">", "<m>", "<", "<m"]
    assert tokenizer.all_special_tokens == ["?", "<m>", "<m", "<m>>"]


def test_tokenizer_options_reach_the_normalizer():
    options = {"tokenize_chinese_chars": False, "strip_accents": False, "clean_text": False}
    tokenizer = WordPieceTokenizer(PIECES, do_lower_case=False, model_max_length=7, **options)
    assert tokenizer.normalizer == Normalizer(False, False, False, False)
    assert WordPieceTokenizer(PIECES).normalizer == Normalizer(True, None, True, True)
    assert WordPieceTokenizer(PIECES, strip_accents=True).normalizer.strip_accents is True
    assert (tokenizer.model_max_length, WordPieceTokenizer(PIECES).model_max_length) == (7, None)


def test_words_of_returns_the_original_words(tokenizer):
    text = " Unaffable  cab's [MASK] 中X."
    words = tokenizer.words_of(text)
    assert words == ["Unaffable", "cab", "'", "s", "[MASK]", "中", "X", "."]
    assert tokenizer.words_of("") == []


def test_convert_tokens_to_ids_maps_unknown_tokens_to_unk(tokenizer):
    assert tokenizer.convert_tokens_to_ids(["a", "nowhere"]) == [tokenizer.vocab["a"], 1]


def test_tokenize_splits_words_into_pieces_or_unk(tokenizer):
    assert tokenizer.tokenize("Unaffable cab's xa") == "un ##aff ##able c ##a ##b ' s [UNK]".split()
    assert tokenizer.tokenize("中a中") == ["中", "a", "中"]


def test_tokenize_maps_long_words_to_unk(tokenizer):
    assert tokenizer.tokenize("a" * 100) == ["a", *["##a"] * 99]
    assert tokenizer.tokenize("a" * 101) == ["[UNK]"]
    assert tokenizer.tokenize("a" * 101 + ",a") == ["[UNK]", ",", "a"]
    short = WordPieceTokenizer(PIECES, max_input_chars_per_word=2)
    assert short.tokenize("ab abc") == ["a", "##b", "[UNK]"]


@given(TEXTS)
def test_ids_of_finds_special_tokens_unless_split(tokenizer, text):
    trusted = tokenizer.ids_of(text)
    untrusted = tokenizer.ids_of(text, split_special_tokens=True)
    assert trusted.dtype == untrusted.dtype == np.int32
    others = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    assert not others & set(untrusted.tolist())
    for token in tokenizer.all_special_tokens:
        if token != tokenizer.unk_token:
            written = trusted.tolist().count(tokenizer.vocab[token])
            assert written == text.count(token)


@given(TEXTS)
def test_ids_of_equals_the_pieces_of_each_word(tokenizer, text):
    expected = []
    for word in tokenizer.normalizer.words(text):
        split = tokenizer.vocabulary.split_word(word) if len(word) <= 100 else None
        expected += [tokenizer.unk_token_id] if split is None else [i for i, _ in split]
    for _ in "empty cache", "filled cache":
        assert tokenizer.ids_of(text, split_special_tokens=True).tolist() == expected


def test_ids_of_returns_a_writable_array_of_its_own(tokenizer):
    ids = tokenizer.ids_of("a b")
    ids[:] = 0
    assert tokenizer.ids_of("a b").tolist() == tokenizer.convert_tokens_to_ids(["a", "b"])
    assert tokenizer.ids_of("").shape == (0,)


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4), st.none() | st.integers(3, 12))
def test_encode_batch_equals_encode_of_each_text(tokenizer, examples, max_length):
    texts, pairs = zip(*examples, strict=True)
    for seconds in None, pairs:
        cut = 0
        batch = tokenizer.encode_batch(texts, seconds, max_length=max_length)
        for i, text in enumerate(texts):
            pair = None if seconds is None else seconds[i]
            encoding = tokenizer.encode(text, pair, max_length=max_length)
            real = batch["attention_mask"][i] == 1
            assert batch["input_ids"][i][real].tolist() == encoding.input_ids
            assert batch["token_type_ids"][i][real].tolist() == encoding.token_type_ids
            assert (batch["input_ids"][i][~real] == tokenizer.pad_token_id).all()
            whole = tokenizer.encode(text, pair)
            cut += len(encoding.input_ids) < len(whole.input_ids)
        if max_length is not None:
            assert len(long_texts(tokenizer, texts, seconds, max_length=max_length)) == cut


@given(st.lists(st.sampled_from("a cab unaffable b abc 中 , . '".split())).map(" ".join))
def test_decode_inverts_encode_for_known_words(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text).input_ids) == text
    assert tokenizer.decode(tokenizer.ids_of(text)) == text
    pair = tokenizer.encode(text, text).input_ids
    assert tokenizer.decode(pair) == f"{text} {text}".strip()


@given(st.lists(st.integers(0, len(PIECES) - 1)))
def test_decode_of_any_ids(tokenizer, ids):
    text = tokenizer.decode(ids, skip_special_tokens=False)
    assert text.replace(" ", "") == "".join(
        piece if i == 0 else piece.removeprefix("##")
        for i, piece in enumerate(tokenizer.convert_ids_to_tokens(ids))
    )


def test_decode_and_decode_batch_options(tokenizer):
    ids = tokenizer.encode("cab, a's [MASK] x.").input_ids
    assert tokenizer.decode(ids) == "cab , a ' s ."
    assert tokenizer.decode(ids, skip_special_tokens=False) == (
        "[CLS] cab , a ' s [MASK] [UNK] . [SEP]"
    )
    assert tokenizer.decode(ids, clean_up=True) == "cab, a's."
    batch = tokenizer.encode_batch(["a b", "cab"])
    assert tokenizer.decode_batch(batch["input_ids"]) == ["a b", "cab"]
    comma = tokenizer.encode_batch(["a, b"])["input_ids"]
    assert tokenizer.decode_batch(comma) == ["a , b"]
    assert tokenizer.decode_batch(comma, clean_up=True) == ["a, b"]
    framed = tokenizer.decode_batch(comma, skip_special_tokens=False)
    assert framed == ["[CLS] a , b [SEP]"]


def test_encode_fields_of_an_example(tokenizer):
    text = "Cab's 中x [MASK] unaffable"
    encoding = tokenizer.encode(text, "A")
    assert encoding.tokens == tokenizer.convert_ids_to_tokens(encoding.input_ids)
    assert encoding.tokens == (
        "[CLS] c ##a ##b ' s 中 [UNK] [MASK] un ##aff ##able [SEP] a [SEP]".split()
    )
    spans = [text[start:end] for start, end in encoding.offsets[1:12]]
    assert spans == "C a b ' s 中 x [MASK] un aff able".split()
    assert encoding.word_ids == [None, 0, 0, 0, 1, 2, 3, 4, 5, 6, 6, 6, None, 0, None]
    assert encoding.special_tokens_mask == [1, *[0] * 11, 1, 0, 1]


def test_encode_truncates_the_chosen_text(tokenizer):
    def cut(truncation):
        encoding = tokenizer.encode("a b c", "b a", max_length=6, truncation=truncation)
        return " ".join(encoding.tokens)

    assert cut("longest_first") == "[CLS] a b [SEP] b [SEP]"
    assert cut("only_first") == "[CLS] a [SEP] b a [SEP]"
    with pytest.raises(ValueError, match="asked to cut the second text only, but the first"):
        tokenizer.encode("a b c a", "b a", max_length=6, truncation="only_second")
    with pytest.raises(ValueError, match="but there is none"):
        tokenizer.encode("a", max_length=6, truncation="only_second")
    assert tokenizer.encode("a b c", "b a", max_length=7, truncation="only_second").tokens[5:] == [
        "b",
        "[SEP]",
    ]


@given(TEXTS, st.none() | TEXTS, st.integers(6, 12), st.integers(0, 1), st.booleans())
def test_encode_windows_start_with_the_truncated_text_and_cover_the_rest(
    tokenizer, text, pair, max_length, stride, trusted
):
    options = {"max_length": max_length, "split_special_tokens": not trusted}
    whole = tokenizer.encode(text, pair, split_special_tokens=not trusted)
    stride = (
        stride if pair is None else 0
    )  # a short window may have room for one token of each text
    found = tokenizer.encode_windows(text, pair, stride=stride, **options)
    assert found[0] == tokenizer.encode(text, pair, **options)
    for name in "input_ids", "token_type_ids", "offsets", "word_ids", "tokens":
        parts = {repr(value) for window in found for value in getattr(window, name)}
        assert parts == {repr(value) for value in getattr(whole, name)}
    assert all(len(window.input_ids) <= max_length for window in found)


def test_encode_windows_combines_the_windows_of_both_texts(tokenizer):
    found = tokenizer.encode_windows("a b c", "b a", max_length=5)
    tokens = [" ".join(window.tokens) for window in found]
    assert tokens == [
        "[CLS] a [SEP] b [SEP]",
        "[CLS] b [SEP] b [SEP]",
        "[CLS] b [SEP] a [SEP]",
        "[CLS] c [SEP] b [SEP]",
        "[CLS] c [SEP] a [SEP]",
        "[CLS] a [SEP] a [SEP]",
    ]
    question = tokenizer.encode_windows("a", "b a c", max_length=5, truncation="only_second")
    assert [window.tokens[1] for window in question] == ["a"] * 3


def test_encode_batch_returns_overflowing_windows(tokenizer):
    batch = tokenizer.encode_batch(
        ["a b c", "a", "a b c a"],
        max_length=4,
        stride=1,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    assert batch["overflow_to_sample_mapping"].tolist() == [0, 0, 1, 2, 2, 2]
    assert batch["input_ids"][1].tolist() == tokenizer.encode("b c").input_ids
    assert batch["offset_mapping"][1].tolist() == [[0, 0], [2, 3], [4, 5], [0, 0]]
    assert batch["special_tokens_mask"][2].tolist() == [1, 0, 1, 1]  # padding included
    options = {"max_length": 5, "return_overflowing_tokens": True}
    ids = tokenizer.encode_batch(["a b c a"], **options)["input_ids"]
    assert tokenizer.decode_batch(ids) == ["a b c", "a"]  # no overlap by default
    pairs = tokenizer.encode_batch(["a"], ["b c"], **options)
    assert tokenizer.decode_batch(pairs["input_ids"]) == ["a b", "a c"]
    with pytest.raises(ValueError, match="max_length: expected the length of a window"):
        tokenizer.encode_batch(["a"], return_overflowing_tokens=True)


def test_encode_batch_pads_to_the_requested_length(tokenizer):
    def width(**options):
        batch = tokenizer.encode_batch(["a b c", "a"], **options)
        assert list(batch) == ["input_ids", "token_type_ids", "attention_mask"]
        return batch["input_ids"].shape[1]

    assert width() == 5
    assert width(pad_to_multiple_of=8) == 8
    assert width(max_length=9) == 5
    assert width(max_length=9, padding="max_length") == 9
    assert width(max_length=9, padding="max_length", pad_to_multiple_of=4) == 12
    assert width(max_length=4, padding="max_length") == 4


def test_split_special_tokens_treats_them_as_text(tokenizer):
    encoding = tokenizer.encode("a [SEP] b", split_special_tokens=True)
    assert encoding.tokens == "[CLS] a [UNK] [UNK] [UNK] b [SEP]".split()
    trusted = tokenizer.encode_windows("a [SEP] b", max_length=9)
    assert trusted == [tokenizer.encode("a [SEP] b")]
    assert len(trusted[0].tokens) == 5
    batch = tokenizer.encode_batch(["a [SEP] b"], split_special_tokens=True)
    assert batch["input_ids"].tolist() == [encoding.input_ids]


def test_ids_of_is_equal_in_threads_and_pickled_copies(tokenizer):
    texts = [f"a cab {'abc'[i % 3] * i} unaffable [MASK]" for i in range(200)]
    expected = [tokenizer.ids_of(text).tolist() for text in texts]
    fresh = WordPieceTokenizer(PIECES)
    with ThreadPoolExecutor(4) as pool:
        assert [ids.tolist() for ids in pool.map(fresh.ids_of, texts)] == expected
    copy = pickle.loads(pickle.dumps(fresh))
    assert [copy.ids_of(text).tolist() for text in texts] == expected


def test_ids_of_batch_is_equal_in_threads_and_pickled_copies(tokenizer):
    batches = [[f"cab{i} a{j} unaffable [MASK]" for j in range(50)] for i in range(40)]
    expected = [[i for text in texts for i in tokenizer.ids_of(text)] for texts in batches]
    fresh = WordPieceTokenizer(PIECES)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(fresh.ids_of_batch, batches))
    assert [ids.tolist() for ids, _ in found] == expected
    copy = pickle.loads(pickle.dumps(fresh))
    assert [copy.ids_of_batch(texts)[0].tolist() for texts in batches] == expected


TEXTS_WITH_TOKENS = st.lists(st.text() | st.sampled_from(["a cab", "[MASK]  Unaffable!", "é"]))


@pytest.fixture(params=[0, 1000])
def few(request):
    """Set the length of batches that are tokenized text by text."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "FEW", request.param)
        yield request.param


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=TEXTS_WITH_TOKENS, plain=st.booleans())
def test_tokens_of_batch_are_the_lists_of_encode(few, texts, plain):
    """Arrays of all texts contain what the Python objects of each text contain."""
    tokenizer = WordPieceTokenizer(PIECES)
    tokens = tokenizer.tokens_of_batch(texts, split_special_tokens=plain)
    encodings = [tokenizer.encode(text, split_special_tokens=plain) for text in texts]
    assert tokens.offset_lists() == [encoding.offsets[1:-1] for encoding in encodings]
    for values, name in (tokens.ids, "input_ids"), (tokens.word_ids, "word_ids"):
        lists = (getattr(encoding, name)[1:-1] for encoding in encodings)
        assert values.tolist() == [value for values in lists for value in values]
    assert [len(fields) for fields in tokens.texts()] == tokens.lengths.tolist()
    ids, lengths = tokenizer.ids_of_batch(texts, split_special_tokens=plain)
    assert ids.tolist() == tokens.ids.tolist()
    assert lengths.tolist() == tokens.lengths.tolist()


def test_batches_refuse_what_is_not_a_list_of_texts(tokenizer):
    for batch in tokenizer.ids_of_batch, tokenizer.tokens_of_batch:
        with pytest.raises(TypeError, match="texts: expected several, got one string"):
            batch("a cab")
        with pytest.raises(TypeError, match=r"texts\[1\]: expected a string, got int"):
            batch(["a", 3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask_token": "<mask>"}, "mask_token: expected a piece of the vocabulary, got '<mask>'"),
        ({"pad_token": ""}, "pad_token: expected a piece of the vocabulary, got ''"),
    ],
)
def test_tokenizer_refuses_special_tokens_outside_the_vocabulary(options, message):
    with pytest.raises(ValueError, match=message):
        WordPieceTokenizer([*PIECES, ""], **options)


def test_tokenizer_methods_refuse_invalid_arguments(tokenizer):
    with pytest.raises(TypeError, match="text: expected a string, got list"):
        tokenizer.encode(["a"])
    with pytest.raises(TypeError, match=r"got one string; pass \['a'\]"):
        tokenizer.convert_tokens_to_ids("a")
    with pytest.raises(ValueError, match=r"ids\[0\]: expected 0 to 18, got 19"):
        tokenizer.decode([19])
    with pytest.raises(ValueError, match="max_length: expected at least 2"):
        tokenizer.encode_batch(["a"], max_length=0)


def test_importing_tokenization_imports_no_optional_package():
    code = (
        "import sys, minibert.tokenization\n"
        "print([m for m in ('tqdm', 'tokenizers', 'transformers', 'torch') if m in sys.modules])"
    )
    out = run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"

"""Truncation, windows, special tokens, segments and padding."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.tokenization.framing import (
    INPUTS,
    Frame,
    padded_length,
    with_pairs,
)
from minibert.tokenization.truncation import split_windows, truncated_lengths
from tests.io.test_rows import SEVERAL, tables

COUNTS = st.integers(0, 12)
CLS, SEP, PAD = 2, 3, 11
FRAME = Frame((CLS,), (SEP,), (SEP,), [f"t{i}" for i in range(12)])


def tokens_of(*ids):
    """Return tokens (T, 4) with these ids, one letter each, two per word."""
    return np.array([(j, i, i + 1, i // 2) for i, j in enumerate(ids)], np.int32).reshape(-1, 4)


def test_frame_encodes_a_text_and_a_pair():
    encoding = FRAME.encoding(tokens_of(5, 6, 7))
    assert encoding.input_ids == [2, 5, 6, 7, 3]
    assert encoding.token_type_ids == [0] * 5
    assert encoding.special_tokens_mask == [1, 0, 0, 0, 1]
    assert encoding.offsets == [(0, 0), (0, 1), (1, 2), (2, 3), (0, 0)]
    assert encoding.word_ids == [None, 0, 0, 1, None]
    pair = FRAME.encoding(tokens_of(5), tokens_of(6, 7))
    assert pair.input_ids == [2, 5, 3, 6, 7, 3]
    assert pair.tokens == ["t2", "t5", "t3", "t6", "t7", "t3"]
    assert pair.token_type_ids == [0, 0, 0, 1, 1, 1]
    assert pair.attention_mask == [1] * 6
    assert pair.special_tokens_mask == [1, 0, 1, 0, 0, 1]
    assert pair.offsets == [(0, 0), (0, 1), (0, 0), (0, 1), (1, 2), (0, 0)]
    assert pair.word_ids == [None, 0, None, 0, 0, None]
    assert FRAME.encoding(tokens_of(), tokens_of()).token_type_ids == [0, 0, 1]


ROBERTA = Frame((CLS,), (SEP, SEP), (SEP,), FRAME.pieces, pair_type=0)
BARE = Frame((), (), (), FRAME.pieces)


def test_frame_with_two_separators_and_one_type():
    one, two = tokens_of(5, 6), tokens_of(7)
    assert ROBERTA.encoding(one).input_ids == [2, 5, 6, 3]
    pair = ROBERTA.encoding(one, two)
    assert pair.input_ids == [2, 5, 6, 3, 3, 7, 3]
    assert pair.token_type_ids == [0] * 7
    assert pair.special_tokens_mask == [1, 0, 0, 1, 1, 0, 1]
    assert pair.word_ids == [None, 0, 0, None, None, 0, None]
    assert (ROBERTA.room(9, texts=1), ROBERTA.room(9, texts=2)) == (7, 5)
    with pytest.raises(ValueError, match=r"max_length: expected at least 4, .* got 3"):
        ROBERTA.room(3, texts=2)


def test_frame_without_special_tokens():
    pair = BARE.encoding(tokens_of(5, 6), tokens_of(7))
    assert pair.input_ids == [5, 6, 7]
    assert pair.token_type_ids == [0, 0, 1]
    assert pair.special_tokens_mask == [0] * 3
    assert BARE.room(2, texts=2) == 2


@given(COUNTS, COUNTS, st.integers(0, 30))
def test_truncated_lengths_truncate_the_longer_text_first(first, second, room):
    a, b = truncated_lengths(first, second, room, "longest_first")
    assert 0 <= a <= first
    assert 0 <= b <= second
    assert a + b == min(room, first + second)
    if a < first:  # a truncated text is not shorter than the other, except for an odd token
        assert a >= b - (first <= second)
    if b < second:
        assert b >= a - (second < first)


@pytest.mark.parametrize(
    ("lengths", "room", "expected"),
    [
        ((5, 2), 5, (3, 2)),
        ((2, 5), 5, (2, 3)),
        ((4, 3), 5, (3, 2)),  # the odd token is given to the longer text
        ((3, 4), 5, (2, 3)),
        ((3, 3), 5, (2, 3)),  # and to the second of two equal texts
        ((3, 3), 0, (0, 0)),
    ],
)
def test_truncated_lengths_examples(lengths, room, expected):
    assert truncated_lengths(*lengths, room, "longest_first") == expected


@given(COUNTS, COUNTS, st.integers(0, 30))
def test_truncated_lengths_truncate_one_text_only(first, second, room):
    for which, others in ("only_first", second), ("only_second", first):
        if others > room:
            cut, kept = ("first", "second") if which == "only_first" else ("second", "first")
            message = (
                f"^truncation: asked to cut the {cut} text only, but the {kept} one alone is too"
            )
            with pytest.raises(ValueError, match=message):
                truncated_lengths(first, second, room, which)
        else:
            kept = truncated_lengths(first, second, room, which)
            assert kept[which == "only_first"] == others
            assert sum(kept) == min(room, first + second)


def test_truncated_lengths_refuse_invalid_truncations():
    with pytest.raises(ValueError, match="longest_first, only_first, only_second, got 'first'"):
        truncated_lengths(3, 3, 9, "first")
    with pytest.raises(ValueError, match=r"cut the second text only, but there is none$"):
        truncated_lengths(3, None, 9, "only_second")


@given(COUNTS, st.integers(1, 6), st.data())
def test_split_windows_overlap_by_the_stride_and_cover_the_text(count, width, data):
    stride = data.draw(st.integers(0, width - 1))
    ids = tokens_of(*range(count))
    found = [part[:, 0].tolist() for part in split_windows(ids, width, stride)]
    assert found[0] == list(range(min(width, count)))
    for one, other in pairwise(found):
        assert one[len(one) - stride :] == other[:stride]
        assert len(one) == width
        assert len(other) > stride  # at least one new token
    assert {i for part in found for i in part} == set(range(count))


@pytest.mark.parametrize(
    ("width", "stride", "message"),
    [
        (3, 3, "stride: expected at least 0 and less than 3, .* got 3"),
        (3, -1, "got -1"),
        (0, 0, "^max_length: leaves a window no room for a token of each text$"),
    ],
)
def test_split_windows_refuse_invalid_widths_and_strides(width, stride, message):
    with pytest.raises(ValueError, match=message):
        split_windows(tokens_of(5, 6, 7, 8), width, stride)
    assert len(split_windows(tokens_of(), width, stride)) == 1


def test_room_refuses_lengths_below_the_special_tokens():
    assert FRAME.room(2, texts=1) == 0
    assert FRAME.room(5, texts=2) == 2
    with pytest.raises(ValueError, match=r"max_length: expected at least 2, .* got 1"):
        FRAME.room(1, texts=1)
    with pytest.raises(ValueError, match=r"max_length: expected at least 3, .* got 2"):
        FRAME.room(2, texts=2)
    with pytest.raises(
        ValueError, match=r"^max_length: expected the length of a window, got None$"
    ):
        FRAME.room(None, texts=1)


IDS = st.lists(st.integers(5, 9), max_size=12).map(lambda ids: tokens_of(*ids))


@given(
    st.sampled_from([FRAME, ROBERTA, BARE]),
    st.lists(st.tuples(IDS) | st.tuples(IDS, IDS), min_size=1, max_size=5),
    st.integers(0, 20),
    st.none() | st.integers(1, 9),
)
def test_batch_equals_padded_encodings(frame, texts, length, multiple):
    encodings = [frame.encoding(*each) for each in texts]
    batch = frame.batch(texts, PAD, length, multiple, [*INPUTS, "special_tokens_mask", "offsets"])
    longest = max(len(encoding.input_ids) for encoding in encodings)
    width = batch["input_ids"].shape[1]
    assert width >= max(longest, length)
    assert width < max(longest, length) + (multiple or 1)
    assert width % (multiple or 1) == 0
    fills = {
        "input_ids": PAD,
        "token_type_ids": 0,
        "attention_mask": 0,
        "special_tokens_mask": 1,
        "offsets": [0, 0],
    }
    assert batch.keys() == fills.keys()
    assert frame.batch(texts, PAD).keys() == set(INPUTS)
    for name, fill in fills.items():
        assert batch[name].shape[:2] == (len(texts), width)
        assert batch[name].dtype == np.int64
        for found, encoding in zip(batch[name].tolist(), encodings, strict=True):
            values = getattr(encoding, name)
            values = [list(v) for v in values] if name == "offsets" else values
            assert found == values + [fill] * (width - len(values))


def test_padded_length_and_batch_refuse_invalid_options():
    assert padded_length("longest", 9) == 0
    assert padded_length("max_length", 9) == 9
    with pytest.raises(ValueError, match=r"^padding: expected a max_length to pad to, got None$"):
        padded_length("max_length", None)
    with pytest.raises(ValueError, match="padding: expected 'longest' or 'max_length', got True"):
        padded_length(True, 9)
    with pytest.raises(ValueError, match="pad_to_multiple_of: expected at least 1, got 0"):
        FRAME.batch([[tokens_of(5)]], PAD, multiple=0)
    assert FRAME.batch([[tokens_of(5)]], PAD, multiple=1)["input_ids"].tolist() == [[2, 5, 3]]


@pytest.mark.parametrize(
    ("texts", "pairs", "error", "message"),
    [
        ("a text", None, TypeError, "texts: expected several, got one string"),
        (["a"], "b", TypeError, "pairs: expected several, got one string"),
        (["a", None], None, TypeError, r"texts\[1\]: expected a string, got NoneType"),
        (["a"], [3], TypeError, r"pairs\[0\]: expected a string, got int"),
        ([], None, ValueError, "^texts: expected at least one$"),
        (["a", "b"], ["c"], ValueError, "pairs: expected 2, one for each text, got 1"),
    ],
)
def test_with_pairs_refuses_invalid_texts(texts, pairs, error, message):
    with pytest.raises(error, match=message):
        list(with_pairs(texts, pairs))


@pytest.mark.parametrize("form", tables(["a"]))
def test_with_pairs_reads_the_cells_of_a_table_with_one_column(form):
    texts, pairs = ["a red", "fox"], ["b", "c"]
    found = list(with_pairs(tables(texts)[form], tables(pairs)[form]))
    assert found == list(zip(texts, pairs, strict=True))
    assert list(with_pairs(tables(texts)[form], None)) == [("a red", None), ("fox", None)]


@pytest.mark.parametrize("form", SEVERAL)
def test_with_pairs_refuses_tables_without_a_single_column(form):
    with pytest.raises(TypeError, match=r"^texts(\[1\])?: expected"):
        list(with_pairs(SEVERAL[form], None))
    with pytest.raises(TypeError, match=r"^pairs(\[1\])?: expected"):
        list(with_pairs(["a", "b", "c"], SEVERAL[form]))

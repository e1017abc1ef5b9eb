"""Special tokens, segments, truncation and padding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.tokenization.framing import Encoding, cut, frame, pad, with_pairs

IDS = st.lists(st.integers(5, 9), max_size=12)
CLS, SEP, PAD = 2, 3, 11


def test_a_text_and_a_pair():
    assert frame([5], None, CLS, SEP, None) == Encoding([2, 5, 3], [0, 0, 0], [1, 1, 1])
    pair = frame([5], [6, 7], CLS, SEP, None)
    assert pair == Encoding([2, 5, 3, 6, 7, 3], [0, 0, 0, 1, 1, 1], [1] * 6)
    assert frame([], [], CLS, SEP, None).token_type_ids == [0, 0, 1]


@given(IDS, IDS, st.integers(0, 30))
def test_pairs_lose_the_longer_ones_end_first(first, second, room):
    a, b = cut(first, second, room)
    assert a == first[: len(a)]
    assert b == second[: len(b)]
    assert len(a) + len(b) == min(room, len(first) + len(second))
    if len(a) < len(first):  # what was cut is not left shorter than the other, but for an odd place
        assert len(a) >= len(b) - (len(first) <= len(second))
    if len(b) < len(second):
        assert len(b) >= len(a) - (len(second) < len(first))


@pytest.mark.parametrize(
    ("lengths", "room", "expected"),
    [
        ((5, 2), 5, (3, 2)),
        ((2, 5), 5, (2, 3)),
        ((4, 3), 5, (3, 2)),  # the odd place falls to the longer one
        ((3, 4), 5, (2, 3)),
        ((3, 3), 5, (2, 3)),  # and to the second of two equal ones
        ((3, 3), 0, (0, 0)),
    ],
)
def test_how_much_each_loses(lengths, room, expected):
    first, second = cut([5] * lengths[0], [6] * lengths[1], room)
    assert (len(first), len(second)) == expected


@given(IDS, IDS, st.integers(3, 30))
def test_nothing_is_longer_than_asked(first, second, max_length):
    assert len(frame(first, second, CLS, SEP, max_length).input_ids) <= max_length
    assert frame(first, None, CLS, SEP, max_length).input_ids[1:-1] == first[: max_length - 2]


def test_there_must_be_room_for_the_special_tokens():
    assert frame([5], None, CLS, SEP, 2).input_ids == [CLS, SEP]
    with pytest.raises(ValueError, match=r"max_length: expected at least 2, .* got 1"):
        frame([5], None, CLS, SEP, 1)
    with pytest.raises(ValueError, match=r"max_length: expected at least 3, .* got 2"):
        frame([5], [6], CLS, SEP, 2)


@given(st.lists(st.tuples(IDS, st.none() | IDS), min_size=1, max_size=5))
def test_a_batch_is_its_rows_and_padding(rows):
    encodings = [frame(first, second, CLS, SEP, None) for first, second in rows]
    batch = pad(encodings, PAD)
    assert list(batch) == ["input_ids", "token_type_ids", "attention_mask"]
    longest = max(len(encoding.input_ids) for encoding in encodings)
    for name, fill in zip(batch, [PAD, 0, 0], strict=True):
        assert batch[name].shape == (len(rows), longest)
        assert batch[name].dtype == np.int64
        for row, encoding in zip(batch[name].tolist(), encodings, strict=True):
            values = getattr(encoding, name)
            assert row == values + [fill] * (longest - len(values))


@pytest.mark.parametrize(
    ("texts", "pairs", "error", "message"),
    [
        ("a text", None, TypeError, "texts: expected several, got one string"),
        (["a"], "b", TypeError, "pairs: expected several, got one string"),
        (["a", None], None, TypeError, r"texts\[1\]: expected a string, got NoneType"),
        (["a"], [3], TypeError, r"pairs\[0\]: expected a string, got int"),
        ([], None, ValueError, "texts: expected at least one"),
        (["a", "b"], ["c"], ValueError, "pairs: expected 2, one for each text, got 1"),
    ],
)
def test_bad_texts_are_refused(texts, pairs, error, message):
    with pytest.raises(error, match=message):
        list(with_pairs(texts, pairs))

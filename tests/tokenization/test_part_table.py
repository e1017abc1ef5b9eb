"""The table returns the fields of every part, however few slots it has."""

import re
from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.tokenization import part_table as module
from minibert.tokenization.part_table import PartTable, part_bounds

PART = re.compile(r"[!-/:-@\[-`{-~]|[^ \t\n\r!-/:-@\[-`{-~]+")
PARTS = st.text() | st.text("ab\0é", max_size=20) | st.text("a.\n", max_size=9)


def fields_of(part):
    """Return two fields for each character, as bytes."""
    return array("i", [field for char in part for field in (ord(char), len(part))]).tobytes()


def fields_of_parts(parts):
    """Return the fields of each part."""
    return list(map(fields_of, parts))


@given(PARTS)
def test_part_bounds_are_those_of_a_regular_expression(text):
    data = text.encode("utf-8", "surrogatepass")
    starts, ends = part_bounds(data)
    found = [data[i:j].decode("utf-8", "surrogatepass") for i, j in zip(starts, ends, strict=True)]
    assert found == PART.findall(text)


@pytest.mark.parametrize(("slots", "stored"), [(2, 3), (4, 100), (1 << 10, 100)])
@given(texts=st.lists(PARTS, max_size=4))
def test_lookup_returns_the_fields_of_every_part(slots, stored, texts):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SLOTS", slots)
        patch.setattr(module, "STORED_TOKENS", stored)
        table = PartTable(fields_of_parts, 2)
        for text in texts * 2:
            data = text.encode("utf-8", "surrogatepass")
            fields, counts = table.lookup(data, *part_bounds(data))
            parts = PART.findall(text)
            expected = b"".join(map(fields_of, parts))
            assert fields.dtype == np.int32
            assert fields.shape[1] == 2
            assert fields.tobytes() == expected
            assert counts.tolist() == [len(part) for part in parts]


def test_lookup_computes_short_parts_once():
    calls = []

    def function(parts):
        calls.extend(parts)
        return fields_of_parts(parts)

    table = PartTable(function, 2)
    data = b"to be or not " + b"x" * 15 + b" " + b"y" * 16
    for _ in range(3):
        table.lookup(data, *part_bounds(data))
    assert calls == ["to", "be", "or", "not", "x" * 15, *["y" * 16] * 3]


def test_table_is_emptied_when_it_is_full(monkeypatch):
    monkeypatch.setattr(module, "STORED_TOKENS", 10)
    table = PartTable(fields_of_parts, 2)
    for i in range(100, 200):
        data = b"a%d" % i
        assert table.lookup(data, *part_bounds(data))[0].tobytes() == fields_of(data.decode())
        assert len(table._store) <= 32

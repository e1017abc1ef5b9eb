"""Tables in memory: the rows of each form with one column, and refusals of the others."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minibert.io.rows import rows_of, take_block, texts_of

TEXTS = ["a red fox", "the hen", "a sky"]


class Frame:
    """A frame as pandas and polars have it: iterating yields the names of the columns."""

    def __init__(self, **columns):
        self.data, self.columns = columns, list(columns)

    def __iter__(self):
        return iter(self.columns)

    def __len__(self):
        return len(self.data[self.columns[0]])

    def __getitem__(self, name):
        return Series(self.data[name])


class Series:
    """Values with an index of their own, so that `series[0]` is not the first one."""

    def __init__(self, values):
        self.values = values

    def __iter__(self):
        return iter(self.values)

    def __len__(self):
        return len(self.values)

    def __getitem__(self, key):
        raise KeyError(key)


class Dataset(list):
    """A data set of Hugging Face: rows are dicts, and a name selects a column."""

    def __init__(self, column_names, rows):
        super().__init__(rows)
        self.column_names = column_names

    def __getitem__(self, name):
        return [row[name] for row in self]


def tables(rows):
    """Return the rows in each form of a table with one column, by the name of the form."""
    cells = np.empty((len(rows), 1), object)
    cells[:, 0] = rows
    return {
        "list": list(rows),
        "tuple": tuple(rows),
        "series": Series(rows),
        "frame": Frame(text=rows),
        "dict": {"text": rows},
        "dict of an array": {"text": cells[:, 0]},
        "dicts": [{"text": row} for row in rows],
        "data set": Dataset(["text"], [{"text": row} for row in rows]),
        "column": cells,
        "structured": np.array([(row,) for row in rows], [("text", object)]),
    }


SEVERAL = {
    "frame": Frame(text=TEXTS, label=TEXTS),
    "dict": {"text": TEXTS, "label": TEXTS},
    "dicts": [{"text": text, "label": text} for text in TEXTS],
    "data set": Dataset(["text", "label"], [{"text": text, "label": text} for text in TEXTS]),
    "structured": np.array([(text, text) for text in TEXTS], [("text", "U9"), ("label", "U9")]),
    "texts by name": dict.fromkeys("abc", "a text"),
    "no column": {},
    "set": set(TEXTS),
    "text": "a text",
    "one text in a dict": {"text": "a text"},
    "bytes": b"a text",
    "number": 5,
    "number in an array": np.array(5),
    "mixed dicts": [{"text": "a"}, {"label": "b"}],
}


@pytest.mark.parametrize("form", tables(TEXTS))
def test_rows_of_a_table_with_one_column_are_its_cells(form):
    assert texts_of(tables(TEXTS)[form], "X") == TEXTS


@pytest.mark.parametrize("form", SEVERAL)
def test_tables_with_several_columns_or_without_order_are_refused(form):
    with pytest.raises(TypeError, match=r"^X(\[1\])?: expected "):
        rows_of(SEVERAL[form], "X")


def test_a_table_with_several_columns_is_refused_with_their_names():
    with pytest.raises(TypeError, match="got the columns text, label; select a column, X"):
        rows_of(SEVERAL["frame"], "X")


def test_rows_of_pandas_frames():
    pd = pytest.importorskip("pandas")
    series = pd.Series(TEXTS, index=[7, 0, 3])
    for table in (series, series.to_frame("text"), series.to_frame("text").convert_dtypes()):
        assert rows_of(table, "X") == TEXTS
    with pytest.raises(TypeError, match="got the columns 0, 1"):
        rows_of(pd.DataFrame([TEXTS[:2]] * 2), "X")


@example(["é😀", "é", "a"], 3, 9)  # the third character is the last one
@example(["é😀", "a"], 2, 9)
@example(["é😀", "a"], 1, 9)
@given(st.lists(st.text("aé😀", max_size=6), max_size=9), st.integers(1, 12), st.integers(1, 4))
def test_a_block_ends_with_the_text_that_fills_it(texts, limit, most):
    """Its size is counted in characters, and no text is divided, lost or taken twice."""
    rows, blocks = iter([(text, i) for i, text in enumerate(texts)]), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minibert.io.rows.BLOCK_CHARACTERS", limit)
        while block := take_block(rows, most, lambda row: row[0]):
            blocks.append(block)
    assert [row for block in blocks for row in block] == [(text, i) for i, text in enumerate(texts)]
    for number, block in enumerate(blocks):
        sizes = np.cumsum([len(text) for text, _ in block])
        assert (sizes[:-1] < limit).all()
        is_last = number == len(blocks) - 1
        assert len(block) <= most
        assert is_last or len(block) == most or sizes[-1] >= limit

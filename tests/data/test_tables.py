"""Tables: TSV round trips, the dialect of each format, errors with file and line."""

import csv
import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.data.columns import guess_columns
from minibert.data.delimited import quote, read_delimited, unquote
from minibert.data.tables import Record, read_records, write_tsv

# A field contains any UTF-8 text, except characters that a TSV file replaces by a space.
FIELD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\r\n\0"))


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@given(st.lists(st.tuples(FIELD.filter(bool), FIELD.filter(bool)), min_size=1))
def test_write_tsv_and_read_records_round_trip(tmp_path_factory, pairs):
    path = tmp_path_factory.mktemp("tsv") / "records.tsv"
    write_tsv(path, ("label", "text"), pairs)
    assert [(record.label, record.text) for record in read_records(path)] == pairs


@given(st.lists(FIELD, min_size=1, max_size=4))
def test_quote_writes_fields_that_the_csv_module_reads(fields):
    """pandas and `datasets` use the csv module's default dialect with tabs."""
    line = "\t".join(map(quote, fields)) + "\n"
    if line != "\n":
        assert next(csv.reader([line], delimiter="\t", strict=True)) == fields


@given(st.lists(FIELD.filter(bool), min_size=1, max_size=4))
def test_unquote_reads_fields_that_the_csv_module_writes(fields):
    buffer = io.StringIO()
    csv.writer(buffer, delimiter="\t", lineterminator="").writerow(fields)
    assert [unquote(field) for field in buffer.getvalue().split("\t")] == fields


BROKEN = st.text(st.sampled_from('ab" \t\n\r,') | st.characters(exclude_categories=["Cs"],
                 exclude_characters="\0"), max_size=9)  # fmt: skip


@given(st.integers(1, 4).flatmap(
    lambda n: st.lists(st.lists(BROKEN, min_size=n, max_size=n), min_size=1)))  # fmt: skip
def test_write_tsv_and_read_delimited_round_trip_tabs_and_line_ends(tmp_path_factory, records):
    """One empty field is a blank line, which pandas skips, too; the column is "text" then."""
    path = tmp_path_factory.mktemp("tsv") / "records.tsv"
    header = ["text", "two parts", "two lines", 'a "name"'][: len(records[0])]
    write_tsv(path, ["text", "two\tparts", "two\r\nlines", 'a "name"'][: len(header)], records)
    expected = [[re.sub("\r\n?", "\n", field) for field in record] for record in records]
    found = list(read_delimited(path))
    assert [list(fields) for _, fields in found] == [header] * len(records)
    assert [list(fields.values()) for _, fields in found] == expected
    with path.open(newline="", encoding="utf-8") as file:
        again = list(csv.reader(file, delimiter="\t", strict=True))
    assert [fields or [""] for fields in again] == [header, *expected]


def test_quotes_without_quoted_names_are_those_of_a_text(tmp_path):
    """In GLUE's files a quote at the start of a field may have no second one."""
    path = write(tmp_path, "t.tsv", 'text\t"label"\n"open\t1\nand "closed"\t2\n')
    assert [record.text for record in read_records(path)] == ['"open', 'and "closed"']


def test_read_records_keeps_stray_quotes_in_tsv_fields(tmp_path):
    path = write(tmp_path, "t.tsv", 'text\tlabel\n"Yes" he said\t1\n"open\t2\nthe 5" nail\t3\n')
    texts = [record.text for record in read_records(path)]
    assert texts == ['"Yes" he said', '"open', 'the 5" nail']


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.tsv", "id\ttext\tlabel\tother\n7\tone\tA\tx\n\n8\ttwo\t\ty\n"),
        ("t.csv", "id,text,label,other\r\n7,one,A,x\r\n\r\n8,two,,y\r\n"),
        ("T.CSV", '\ufeffid,"text",label,other\n7,one,"A",x\n\n8,two,,y\n'),
        ("t.jsonl", '{"text": "one", "label": "A", "other": "x"}\n\n{"other": "y", "text": "two"}'),
        ("t.json", '{"text": "one", "label": "A", "other": "x"}\n\n{"text": "two", "other": "y"}'),
    ],
)
def test_read_records_of_each_format_are_equal(tmp_path, name, content):
    path = write(tmp_path, name, content)
    first = 1 if "json" in name else 2
    assert read_records(path, pair="other") == [
        Record("one", "A", "x", first),
        Record("two", None, "y", first + 2),
    ]


def test_read_records_takes_column_names(tmp_path):
    path = write(tmp_path, "t.tsv", "sentence1\tsentence2\tgold\na\tb\tc\n")
    assert read_records(path, "sentence1", "gold", "sentence2") == [Record("a", "c", "b", 2)]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Sentence Category id", ("Sentence", "Category", None)),
        ("gold words", ("words", "gold", None)),
        ("text kind", ("text", "kind", None)),
        ("idx sentence1 sentence2 label", ("sentence1", "label", "sentence2")),
        ("premise hypothesis label", ("premise", "label", "hypothesis")),
        ("Review Score extra", ("Review", "Score", None)),
    ],
)
def test_guess_columns_detects_and_logs_usual_names(header, expected, caplog, tmp_path):
    columns = header.split()
    with caplog.at_level("INFO", "minibert"):
        assert guess_columns(tmp_path, columns, None, None, None, True) == expected
    text, label, pair = expected
    assert f"text from {text!r}" in caplog.text
    assert f"label from {label!r}" in caplog.text
    assert pair is None or f"second text from {pair!r}" in caplog.text


def test_guess_columns_keeps_named_columns(tmp_path, caplog):
    found = guess_columns(tmp_path, ["text", "label", "a", "b"], "a", "b", None, True)
    assert found == ("a", "b", None)
    assert not caplog.text
    with pytest.raises(ValueError, match="no column 'c'; there are: text, label"):
        guess_columns(tmp_path, ["text", "label"], "c", None, None, True)


def test_read_records_keeps_lists_of_labels(tmp_path):
    path = write(tmp_path, "t.jsonl", '{"text": "a", "labels": ["x", 2, ""]}\n')
    assert read_records(path, labelled=True)[0].label == ["x", "2"]
    path = write(tmp_path, "t.jsonl", '{"text": "a", "labels": []}\n')
    assert read_records(path, labelled=True)[0].label == []


def test_read_records_drops_byte_order_marks_and_windows_line_ends(tmp_path):
    path = write(tmp_path, "t.tsv", "\ufefflabel\ttext\r\nA\tone\r\n".encode())
    assert read_records(path, labelled=True) == [Record("one", "A", None, 2)]


def test_read_records_reads_words_and_tags_of_conll_files(tmp_path):
    content = "-DOCSTART- O\n\nAnn B-PER\nleft O\n\n\n# O\n"
    path = write(tmp_path, "t.conll", content)
    assert read_records(path, labelled=True) == [
        Record(["Ann", "left"], ["B-PER", "O"], None, 3),
        Record(["#"], ["O"], None, 7),
    ]
    four = write(tmp_path, "t.bio", "Ann\tNNP\tI-NP\tB-PER\r\nleft\tVBD\tI-VP\tO")
    assert read_records(four, labelled=True)[0].label == ["B-PER", "O"]
    bare = write(tmp_path, "t.iob", "Ann\nleft\n")
    assert read_records(bare) == [Record(["Ann", "left"], None, None, 1)]
    for content, message in (
        ("Ann B-PER\nleft\n", "line 2: expected 2 columns, found 'left'"),
        ("Ann\nleft\n", "line 1: expected a word and its tag, found 'Ann'"),
        ("Ann\t\n", "line 1: expected 2 columns"),
        ("\n\n", "t.conll: there are no words"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            read_records(write(tmp_path, "t.conll", content), labelled=True)
    with pytest.raises(ValueError, match="no columns to name"):
        read_records(path, text="a")


def test_read_records_reads_csv_fields_that_span_lines(tmp_path):
    path = write(tmp_path, "t.csv", 'text,label\n"one,\ntwo ""three""",A\nfour,B\n')
    assert read_records(path) == [
        Record('one,\ntwo "three"', "A", None, 2),
        Record("four", "B", None, 4),
    ]


@pytest.mark.parametrize(("value", "label"), [(3, "3"), (0, "0"), (0.5, "0.5"), (True, "true")])
def test_read_records_converts_json_labels_to_text(tmp_path, value, label):
    path = write(tmp_path, "t.jsonl", json.dumps({"text": "a", "label": value}))
    assert read_records(path, labelled=True)[0].label == label


FAULTS = [
    (
        "t.tsv",
        "a\tb\tlabel\na\tb\tc\n",
        "which column is the text? There are: a, b, label; name it",
    ),
    ("t.csv", "text,a,b\na,b,c\n", "t.csv: which column is the label? There are: text, a, b; name"),
    ("t.tsv", "text\tlabel\na\tb\nc\n", "line 3: expected 2 columns (text, label), found 1"),
    ("t.csv", "text,label\na,b\nc,d,e\n", "line 3: expected 2 columns (text, label), found 3"),
    ("t.tsv", "text\tlabel\na\tb\nc\t\n", "line 3: the 'label' of this record is empty"),
    ("t.tsv", "text\tlabel\n\tb\n", "line 2: the 'text' of this record is empty"),
    ("t.csv", "text,label\n,\n", "line 2: the 'text' of this record is empty"),
    ("t.csv", "text,text\na,b\n", "line 1: a column is named twice: text, text"),
    ("t.tsv", "text\tlabel\n", "t.tsv: there are no records"),
    ("t.csv", "\n\n", "t.csv: there are no records"),
    ("t.jsonl", " \n", "t.jsonl: there are no records"),
    ("t.tsv", "", "t.tsv: the file is empty"),
    ("t.tsv", b"text\tlabel\nna\xefve\tb\n", "t.tsv, line 2: byte 0xef is not UTF-8"),
    ("t.csv", b"text,label\n\0\0,b\n", "t.csv, line 2: found a NUL byte"),
    ("t.csv", 'text,label\na,b\n"c,d\n', "t.csv, line 3: not a CSV record: unexpected end of data"),
    ("t.csv", 'text,label\n"a"b,c\n', "t.csv, line 2: not a CSV record"),
    ("t.jsonl", '{"text": "a", "label": 1}\n{"text"\n', "t.jsonl, line 2: not a JSON object"),
    ("t.json", '[{"text": "a"}]', "line 1: expected one JSON object per line, found a list"),
    ("t.jsonl", '{"label": 1}', "t.jsonl: which column is the text? There are: label; name it"),
    ("t.jsonl", '{"text": "a", "label": 1}\n{"label": 1}', "line 2: no column 'text'; there are"),
    ("t.jsonl", '{"text": "a", "label": null}', "line 1: the 'label' of this record is empty"),
    ("t.jsonl", '{"text": "a", "label": [{}]}', "line 1: expected a string as 'label', found {}"),
    (
        "t.jsonl",
        '{"text": "a", "label": ["b", ["c"]]}',
        "line 1: expected a string as 'label', found",
    ),
    ("t.jsonl", f'{{"text": "a", "label": {"[" * 500 + "]" * 500}}}', "found a list in a list"),
    ("t.jsonl", '{"text": 5, "label": 1}', "line 1: expected a string as 'text', found 5"),
    ("t.jsonl", '{"text": "\\ud800", "label": 1}', "line 1: half a surrogate pair, \\ud800"),
    (
        "t.txt",
        "text\tlabel\na\tb\n",
        "t.txt: expected a name that ends in .tsv, .csv, .jsonl, .json",
    ),
]


@pytest.mark.parametrize(("name", "content", "message"), FAULTS)
def test_read_records_names_the_file_and_line_of_an_error(tmp_path, name, content, message):
    path = write(tmp_path, name, content)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        read_records(path, labelled=True)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_read_records_names_a_missing_pair_column(tmp_path):
    path = write(tmp_path, "t.tsv", "text\tlabel\na\tb\n")
    with pytest.raises(ValueError, match="no column 'second'; there are: text, label"):
        read_records(path, pair="second")


def test_read_records_refuses_missing_files_and_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.tsv: no such file"):
        read_records(tmp_path / "none.tsv")
    (tmp_path / "folder.tsv").mkdir()
    with pytest.raises(IsADirectoryError, match="expected a text file, found a folder"):
        read_records(tmp_path / "folder.tsv")


def test_read_records_accepts_missing_labels_unless_labelled(tmp_path):
    assert read_records(write(tmp_path, "t.tsv", "text\na\n"))[0].label is None
    assert read_records(write(tmp_path, "u.tsv", "text\tlabel\na\t\n"))[0].label is None


def test_write_tsv_keeps_the_old_file_after_a_failure(tmp_path):
    path = tmp_path / "t.tsv"
    write_tsv(path, ("text",), [("old",)])
    with pytest.raises(ValueError, match="record 2: expected 1 fields"):
        write_tsv(path, ("text",), [("new",), ("one", "too many")])
    assert path.read_text() == "text\nold\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", 'text\n"a, b"\n""\n\nc\n'),
        ("t.tsv", "text\na, b\n\n\nc\n"),
        ("t.csv", 'id,text\n1,"a, b"\n2,\n\n3,""\n4, c \n'),
        ("t.tsv", "text\tid\na, b\t1\n\t2\n\n\t3\nc\t4\n"),
        ("t.jsonl", '{"text": "a, b"}\n{"text": ""}\n\n{"text": null}\n{"text": "c"}\n'),
        ("t.txt", "a, b\n\n\nc\n"),
    ],
)
def test_each_row_is_a_record_even_if_its_text_is_empty(tmp_path, name, content):
    records = read_records(write(tmp_path, name, content))
    assert [record.text for record in records] == ["a, b", "", "", "c"]


@pytest.mark.parametrize("tags", ["tags", "labels", "ner_tags"])
@pytest.mark.parametrize("words", ["words", "tokens"])
def test_words_with_tags_in_json_lines_equal_those_of_conll_files(tmp_path, words, tags):
    rows = [(["Kiri", "in\u00a0Oslo"], ["B-PER", "O"]), (["#"], ["O"])]
    lines = [json.dumps({"id": i, words: row[0], tags: row[1]}) for i, row in enumerate(rows)]
    found = read_records(write(tmp_path, "t.jsonl", "\n".join(lines)), labelled=True)
    text = "\n\n".join("\n".join(map("\t".join, zip(*row, strict=True))) for row in rows)
    expected = read_records(write(tmp_path, "t.conll", text), labelled=True)
    assert [(each.text, each.label) for each in found] == rows
    assert [(each.text, each.label) for each in expected] == rows


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"words": ["a", "b"], "tags": ["O"]}, "line 1: expected 2 tags as 'tags', one for each"),
        ({"words": ["a", "b"], "tags": ["O", ""]}, "line 1: expected 2 tags as 'tags'"),
        ({"words": ["a", "b"], "tags": "O O"}, "line 1: expected 2 tags as 'tags'"),
        ({"words": ["a", ""], "tags": ["O", "O"]}, "line 1: expected words that are not empty"),
        ({"words": [], "tags": []}, "line 1: expected words that are not empty"),
        ({"words": ["a", 5], "tags": ["O", "O"]}, "line 1: expected a string as 'words', found 5"),
    ],
)
def test_words_without_a_tag_each_are_refused(tmp_path, row, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        read_records(write(tmp_path, "t.jsonl", json.dumps(row)), labelled=True)


def test_a_file_of_texts_and_of_words_is_refused(tmp_path):
    path = write(tmp_path, "t.jsonl", '{"text": "a"}\n{"text": ["a"]}\n')
    with pytest.raises(ValueError, match="line 2: expected 'text' to be a str, as in the first"):
        read_records(path)


ONE_HOT = [
    ("t.csv", "id,body text,mild,bad,no\n7,one,0,1,0\n8,two,0,0,0\n9,three,1,1,0\n"),
    (
        "t.tsv",
        "mild\tbad\tno\tbody text\n0.0\t1.0\t0.0\tone\n0\t0\t0\ttwo\n True\tTRUE\t0\tthree\n",
    ),
    (
        "t.jsonl",
        '{"body text": "one", "mild": 0, "bad": true, "no": 0}\n'
        '{"body text": "two", "mild": 0, "bad": false, "no": 0}\n'
        '{"body text": "three", "mild": 1, "bad": 1.0, "no": "0"}\n',
    ),
]


@pytest.mark.parametrize("label", [None, ["mild", "bad", "no"]])
@pytest.mark.parametrize(("name", "content"), ONE_HOT)
def test_columns_of_0_and_1_are_several_labels(tmp_path, caplog, name, content, label):
    path = write(tmp_path, name, content)
    with caplog.at_level("INFO", "minibert"):
        found = read_records(path, "body text", label, labelled=True)
    assert [each.label for each in found] == [["bad"], [], ["mild", "bad"]]
    assert "labels from the columns of 0 and 1 'mild', 'bad', 'no'" in caplog.text
    assert "no text has the label 'no'" in caplog.text


def test_a_named_column_of_other_values_than_0_and_1_is_refused(tmp_path):
    path = write(tmp_path, "t.csv", "text,a,b\none,0,1\ntwo,0,-1\n")
    with pytest.raises(ValueError, match="line 3: expected 0 or 1 as 'b', found \"-1\""):
        read_records(path, label=["a", "b"], labelled=True)
    assert len(read_records(path, label=["a", "b"])) == 2
    with pytest.raises(ValueError, match="which column is the label"):
        read_records(path, labelled=True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", '"first, one"\nsecond\n'),
        ("t.tsv", "a good film\npoor\n"),
        ("t.tsv", "a good film\ty\na poor film\tn\n"),
        ("t.csv", "1\n2\n"),
    ],
)
def test_a_missing_header_is_never_taken_as_the_name_of_a_column(tmp_path, name, content):
    for labelled in (False, True):
        with pytest.raises(ValueError, match="or add the header line if it is missing"):
            read_records(write(tmp_path, name, content), labelled=labelled)


@pytest.mark.parametrize("name", ["t.jsonl", "t.JSON"])
def test_a_misspelled_key_of_json_lines_is_not_a_missing_header(tmp_path, name):
    path = write(tmp_path, name, '{"txet": "a", "label": "x", "n": 1}\n')
    expected = r"which column is the text\? There are: txet, label, n; name it with --text$"
    with pytest.raises(ValueError, match=expected):
        read_records(path, labelled=True)


def test_a_label_that_is_the_name_of_its_column_is_refused_unless_named(tmp_path):
    for first in ("text", "great"):
        path = write(tmp_path, "t.csv", f"{first},y\na,n\nb,y\n")
        with pytest.raises(ValueError, match="line 3: the label 'y' is also the column's name"):
            read_records(path, labelled=True)
        assert [each.label for each in read_records(path, label="y", labelled=True)] == ["n", "y"]


def test_labels_may_be_empty_where_the_task_decides(tmp_path):
    path = write(tmp_path, "t.tsv", "text\tlabel\na\t\nb\tx\n")
    found = read_records(path, labelled=True, may_be_empty=True)
    assert [each.label for each in found] == [None, "x"]

"""Delimited text: the fields that the csv module writes, separators, blanks, long fields."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert.data.delimited import BLANKS, SEPARATORS, header_separator, split_csv
from minibert.data.tables import read_records, write_tsv

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"))
RECORDS = st.lists(st.lists(TEXT, min_size=2, max_size=3), min_size=1, max_size=3)
SEPARATOR = st.sampled_from(list(SEPARATORS))


def split(content, separator):
    return [fields for _, fields in split_csv(content.split("\n"), separator, Path("t.csv"))]


def written(records, separator, **options):
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=separator, lineterminator="\n", **options).writerows(records)
    return buffer.getvalue().removesuffix("\n")


@given(RECORDS, SEPARATOR)
def test_split_csv_reads_all_quoted_fields_of_the_csv_module(records, separator):
    assert split(written(records, separator, quoting=csv.QUOTE_ALL), separator) == records


@given(RECORDS, SEPARATOR)
def test_split_csv_reads_the_fields_of_the_csv_module_without_outer_blanks(records, separator):
    records = [[field.strip(BLANKS) for field in record] for record in records]
    assert split(written(records, separator), separator) == records


@given(st.text('a",;\n', max_size=12))
def test_split_csv_accepts_what_the_csv_module_accepts(content):
    try:
        expected = list(csv.reader(io.StringIO(content + "\n", newline=""), strict=True))
    except csv.Error:
        with pytest.raises(ValueError, match="not a CSV record"):
            split(content, ",")
    else:
        assert split(content, ",") == expected


def test_split_csv_drops_blanks_around_fields_but_not_in_quotes():
    assert split(' a ,"b ", "c, ""d""" , " e" f', ",") == [["a", "b ", 'c, "d"', '" e" f']]
    assert split("\u3000a\u00a0;\tb", ";") == [["a", "b"]]


FIELD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\r\n\0"), max_size=9)


@settings(max_examples=40)
@given(st.lists(FIELD, min_size=1, max_size=5))
def test_a_table_with_one_column_has_a_record_for_each_line(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("column") / "t.tsv"
    write_tsv(path, ("text",), [(text,) for text in texts])
    assert [record.text for record in read_records(path)] == texts


@pytest.mark.parametrize("extension", [".csv", ".tsv"])
@pytest.mark.parametrize("separator", SEPARATORS)
def test_read_records_detects_and_logs_the_separator(tmp_path, caplog, extension, separator):
    path = tmp_path / f"t{extension}"
    header, *rows = [["text", "label"], ["one", "a"], ["two", "b"]]
    path.write_text("\ufeff\n" + "\n".join(map(separator.join, [header, *rows])), "utf-8")
    with caplog.at_level("INFO", "minibert"):
        assert [[each.text, each.label] for each in read_records(path, labelled=True)] == rows
    is_usual = separator == {".csv": ",", ".tsv": "\t"}[extension]
    assert is_usual == (f"separated by {SEPARATORS[separator]}" not in caplog.text)


@pytest.mark.parametrize("rows", [["one;1;0", "two;0;1"], ["one;a", "two;b"]])
def test_the_search_for_columns_of_0_and_1_reads_the_file_once(tmp_path, caplog, rows):
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["text;rude" if len(rows[0]) < 6 else "text;rude;mild", *rows]))
    with caplog.at_level("INFO", "minibert"):
        texts = [record.text for record in read_records(path, labelled=True)]
    assert texts == ["one", "two"]
    assert caplog.text.count("separated by semicolons") == 1


def test_header_separator_keeps_the_usual_one_where_it_occurs():
    assert header_separator("a;b,label", ",") == ","
    assert header_separator("text", ",") == ","
    assert header_separator("a, b\tlabel", "\t") == "\t"


def test_fields_longer_than_the_csv_modules_limit_are_read(tmp_path):
    long = "x y " * 50_000
    path = tmp_path / "t.csv"
    path.write_text(f'text,label\n"{long}",a\n{long}z,b\n', "utf-8")
    assert [len(record.text) for record in read_records(path, labelled=True)] == [200_000, 200_001]
    write_tsv(tmp_path / "t.tsv", ("text", "label"), [(long, "a")])
    assert read_records(tmp_path / "t.tsv")[0].text == long

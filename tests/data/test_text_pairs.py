"""Pairs, triplets and scored pairs: what is detected, and one line for what is wrong."""

import io
import json
from pathlib import Path

import pytest

from minibert.data.text_pairs import join_pairs, read_pairs
from tests.cli.helpers import write_lines

PAIRS = ["a small boat\ta little ship", "it rains\twater falls", "go away\tleave"]
TRIPLETS = [f"{line}\tsomething else" for line in PAIRS]
SCORED = [f"{line}\t{score}" for line, score in zip(PAIRS, (0.5, 1, 0), strict=True)]


def rows_of(lines):
    return [line.split("\t")[:2] for line in lines]


@pytest.mark.parametrize(
    ("lines", "kind", "logged"),
    [
        (PAIRS, "pairs", "no header"),
        (["anchor\tpositive", *PAIRS], "pairs", "anchor from 'anchor', positive from 'positive'"),
        (["en\tother", *PAIRS], "pairs", "anchor from 'en', positive from 'other'"),
        (TRIPLETS, "triplets", "no header"),
        (["anchor\tpositive\tnegative", *TRIPLETS], "triplets", "negative from 'negative'"),
        (SCORED, "scored pairs", "no header"),
        (["sentence1\tsentence2\tscore", *SCORED], "scored pairs", "score from 'score'"),
        (["A cat\tA kitten\tHow similar", *SCORED], "scored pairs", "score from 'How similar'"),
        (["", *PAIRS, ""], "pairs", "no header"),
    ],
)
def test_kind_and_header_of_a_table_are_detected_and_logged(lines, kind, logged, tmp_path, caplog):
    caplog.set_level("INFO", "minibert")
    found = read_pairs(write_lines(tmp_path / "rows.tsv", *lines))
    assert (found.kind, len(found)) == (kind, 3)
    assert [row[:2] for row in found.rows] == rows_of(PAIRS)
    assert found.scores == ([0.5, 1, 0] if kind == "scored pairs" else None)
    assert f"rows.tsv: 3 {kind}; " in caplog.text
    assert logged in caplog.text


def test_columns_are_found_by_their_names_among_others(tmp_path, caplog):
    caplog.set_level("INFO", "minibert")
    header = "id\tscore\tsentence2\tsentence1"
    path = write_lines(tmp_path / "rows.tsv", header, "1\t0.5\tb c\ta", "2\t0.25\td e\tf g")
    found = read_pairs(path)
    assert (found.rows, found.scores) == ([["a", "b c"], ["f g", "d e"]], [0.5, 0.25])
    found = read_pairs(path, ["sentence2", "sentence1"])
    assert (found.kind, found.rows) == ("pairs", [["b c", "a"], ["d e", "f g"]])
    first = write_lines(tmp_path / "first.tsv", "0.5\ta\tb c", "0.25\tf g\td e")
    assert read_pairs(first).scores == [0.5, 0.25]
    assert "no header, scores in column 1" in caplog.text


def test_csv_and_json_lines_are_read(tmp_path, monkeypatch):
    expected = [["a, b", 'say "so"'], ["one\nline", "two"]]
    path = tmp_path / "rows.csv"
    path.write_text('"a, b","say ""so"""\n"one\nline",two\n', "utf-8")
    assert read_pairs(path).rows == expected
    path.write_text('query;answer\n"a, b";"say ""so"""\n"one\nline";two\n', "utf-8")
    assert read_pairs(path).rows == expected
    lines = [json.dumps({"first": a, "second": b, "note": 3}) for a, b in expected]
    assert read_pairs(write_lines(tmp_path / "rows.jsonl", *lines)).rows == expected
    for text in ("\n".join(lines), 'a, b\tsay "so"\n"one line"\ttwo'):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        assert read_pairs(Path("-")).rows[0] == expected[0]


@pytest.mark.parametrize(
    ("lines", "name", "parts"),
    [
        ([*PAIRS, "the same\tthe same"], "rows.tsv", ["line 4", "different texts", "'the same'"]),
        ([*TRIPLETS, "a\tb\tb"], "rows.tsv", ["line 4", "got 'b' twice"]),
        ([*PAIRS, "only one\t "], "rows.tsv", ["line 4", "text 2", "empty"]),
        ([*PAIRS, "only one"], "rows.tsv", ["line 4", "expected 2 columns, as in line 1, got 1"]),
        (["a", "b"], "rows.tsv", ["expected 2 texts, 3 texts, or", "1 columns"]),
        (["a b\tc d\te f\tg h"], "rows.tsv", ["got 4 columns", "--columns"]),
        ([*SCORED, "a\tb\thigh"], "rows.tsv", ["line 4", "a number as the score", "'high'"]),
        ([*SCORED, "a\tb\tnan"], "rows.tsv", ["line 4", "a number as the score", "'nan'"]),
        ([*SCORED, "a\tb\t7"], "rows.tsv", ["line 4", "from 0 to 1, or from 0 to 5", "'7'"]),
        ([*SCORED, "a\tb\t-0.5"], "rows.tsv", ["line 4", "from 0 to 1, or from 0 to 5"]),
        (["anchor\tpositive"], "rows.tsv", ["no records"]),
        (["anchor\tanchor", *PAIRS], "rows.tsv", ["line 1", "named twice"]),
        (['{"a": "b c", "d": "e"}', '{"a": "b"}'], "rows.jsonl", ["line 2", "no column 'd'"]),
        (['{"a": "b c", "d": 1}'], "rows.jsonl", ["line 1", "expected a string as 'text 2'"]),
        (['{"a": "b c", "d": "e"}', "[]"], "rows.jsonl", ["line 2", "one JSON object per line"]),
        (PAIRS, "rows.txt", [".tsv, .csv, .jsonl, .json"]),
    ],
)
def test_bad_rows_are_refused_with_file_and_line(lines, name, parts, tmp_path):
    path = write_lines(tmp_path / name, *lines)
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        read_pairs(path)
    for part in (str(path), *parts):
        assert part in str(error.value)


def test_a_folder_is_refused_as_a_file():
    with pytest.raises(ValueError, match=r"^\.: expected a name that ends in"):
        read_pairs(Path())


def test_columns_that_are_named_must_exist_and_be_two_or_three(tmp_path):
    path = write_lines(tmp_path / "rows.tsv", "x\ty", *PAIRS)
    with pytest.raises(ValueError, match="no column 'z'; there are: x, y"):
        read_pairs(path, ["x", "z"])
    with pytest.raises(ValueError, match="expected 2 texts"):
        read_pairs(path, ["x"])


def test_equal_texts_with_a_score_are_read_with_a_warning(tmp_path, caplog):
    path = write_lines(tmp_path / "rows.tsv", *SCORED, "the same\tthe same\t1")
    assert len(read_pairs(path)) == 4
    assert "two texts of 1 pairs are equal" in caplog.text


def test_join_pairs_refuses_files_of_different_kinds(tmp_path):
    one, two = (read_pairs(write_lines(tmp_path / name, *lines))
                for name, lines in (("a.tsv", PAIRS), ("b.tsv", SCORED)))  # fmt: skip
    with pytest.raises(ValueError, match=r"b.tsv: expected pairs, as in .*a.tsv, got scored pairs"):
        join_pairs([one, two])
    assert len(join_pairs([two, two]).scores) == 6

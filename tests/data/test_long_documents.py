"""Documents, lines and words of any length are read and tokenized in bounded memory."""

import gzip
import io
import re
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from minibert import AutoConfig, BertConfig
from minibert.cli import main
from minibert.cli.train_tokenizer import train_on_files
from minibert.data import corpus
from minibert.data.conll import read_conll
from minibert.data.corpus import read_corpus, read_document_parts
from minibert.data.tables import read_records
from minibert.data.token_cache import tokenize_corpus
from minibert.io.rows import take_block
from minibert.io.text import read_lines, read_parts
from minibert.tokenization import ByteLevelBPETokenizer, WordPieceTokenizer
from minibert.tokenization import trainer as trainer_module
from minibert.tokenization.bpe_trainer import learn_merges
from minibert.training.defaults import require_memory

WORDS = "the cat sat on a mat, while the old dog ran through the green garden".split()
LINE = " ".join(WORDS)
SHORT = f"{LINE}\na dog\n\nthe mat\n"  # documents before and after the long one


@pytest.fixture(scope="module")
def tokenizers():
    options = {"vocab_size": 300, "exact": False}
    return {
        "wordpiece": WordPieceTokenizer.train([LINE], **options),
        "bpe": ByteLevelBPETokenizer.train([LINE], **options),
    }


def long_text(kind, length):
    """Return a text of one document: of lines, of one line, or of one word."""
    if kind == "word":
        return "abcdefghij" * (length // 10)
    end = "\n" if kind == "lines" else " "
    return end.join([LINE] * (length // len(LINE)))


@pytest.mark.parametrize("kind", ["wordpiece", "bpe"])
@pytest.mark.parametrize("document_end", ["blank-lines", "lines"])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_parts_change_no_token_and_no_side(
    tmp_path, monkeypatch, tokenizers, kind, document_end, share
):
    texts = [SHORT, long_text("lines", 2000), "\n\n  \n", long_text("line", 2000), "\n\n", SHORT]
    (tmp_path / "text.txt").write_text("".join(texts), "utf-8")

    def tokens(folder):
        found = tokenize_corpus(
            [tmp_path / "text.txt"],
            tokenizers[kind],
            held_out=share,
            folder=tmp_path / folder,
            document_end=document_end,
        )
        sides = found.train, found.held_out
        return [array for side in sides for array in (side.stream, side.ends, side.counts)]

    whole = tokens("whole")
    assert sum(map(len, whole[::3])) > 800
    monkeypatch.setattr(corpus, "LONGEST_PART", 100)
    parts = list(read_document_parts([tmp_path / "text.txt"], None, document_end))
    assert sum(not part.is_last for part in parts) > 8
    for one, other in zip(whole, tokens("parts"), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("document_end", ["blank-lines", "lines"])
def test_parts_are_those_of_the_documents(tmp_path, monkeypatch, document_end):
    path = tmp_path / "text.txt"
    path.write_text("\n \na b\n\n\n c d e f g  \n h\n\n  \ni j k l m n o p", "utf-8")
    documents = list(read_corpus([path], None, document_end))
    monkeypatch.setattr(corpus, "LONGEST_PART", 4)
    found, texts = [], []
    for part in read_document_parts([path], None, document_end):
        texts += part.texts
        if part.is_last:
            found.append("".join(texts).replace(" ", ""))
            assert corpus.is_drawn(part.checksum, 0.5) == corpus.is_held_out(
                documents[len(found) - 1], 0.5
            )
            texts = []
    assert found == ["".join(document).replace(" ", "") for document in documents]
    ends = corpus.detect_document_end([path])
    monkeypatch.undo()
    assert ends == corpus.detect_document_end([path]) == "blank-lines"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("ab cd ef\ngh", [("ab", False), (" cd", False), (" ef", True), ("gh", True)]),
        ("ab  cd e", [("ab  cd", False), (" e", True)]),  # not between two spaces
        ("abcdefghij", [("abcdef", False), ("ghij", True)]),
        ("abcdef\nabcdef", [("abcdef", False), ("", True), ("abcdef", False)]),
        ("abc\r\n\r\ndef", [("abc", True), ("", True), ("def", True)]),
    ],
)
def test_read_parts_cuts_before_a_single_space(tmp_path, text, parts):
    path = tmp_path / "text.txt"
    path.write_bytes(text.encode())
    assert list(read_parts(path, longest=6)) == parts


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(["éé éé", "é😀 éé", "é😀é éé", ""])  # with its end, a line has 6, 7 and 8 characters
@example(["é ééééééééé"])
@given(st.lists(st.text("é😀 ", max_size=20), min_size=1, max_size=5))
def test_parts_of_lines_are_the_lines(tmp_path, lines):
    (tmp_path / "text.txt").write_text("\n".join(lines) + "\n", "utf-8")
    found, held = [], []
    for part, is_end in read_parts(tmp_path / "text.txt", longest=7):
        assert len(part) <= 7
        held.append(part)
        if is_end:
            found.append(held)
            held = []
    assert not held
    assert ["".join(parts) for parts in found] == lines
    for parts, line in zip(found, lines, strict=True):
        assert (len(parts) == 1) == (len(line) < 7)
        # Either what follows is a single space, or no cut before one is possible.
        for part, following in pairwise(parts):
            is_single = following[:1] == " " and following[1:2] != " " and part[-1] != " "
            assert is_single or (len(part) == 7 and not re.search(r"\S \S", part))


def peak(function):
    """Return the peak of the memory that a call allocates, in bytes."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["lines", "line", "word"])
def test_memory_of_tokenizing_does_not_grow_with_a_document(
    tmp_path, monkeypatch, tokenizers, kind
):
    """With parts of 2 KB, a document of 200 KB needs hardly more than one of 50 KB."""
    monkeypatch.setattr(corpus, "LONGEST_PART", 2000)
    monkeypatch.setattr("minibert.io.number_files.IN_MEMORY_BYTES", 0)
    monkeypatch.setattr("minibert.io.number_files.BLOCK", 4096)
    for module in ("io.text", "data.token_files", "data.token_cache"):
        monkeypatch.setattr(f"minibert.{module}.READ_BYTES", 4096)
    sizes, peaks = (50_000, 200_000), []
    for size in (sizes[0], *sizes):  # the first call also fills caches
        path = tmp_path / f"{size}.txt"
        path.write_text(long_text(kind, size), "utf-8")

        folder = tmp_path / f"{len(peaks)}"

        def tokenize(path=path, folder=folder):
            tokenize_corpus([path], tokenizers["wordpiece"], folder=folder)

        peaks.append(peak(tokenize))
    assert peaks[2] - peaks[1] < (sizes[1] - sizes[0]) / 2, peaks


@pytest.mark.parametrize("kind", [WordPieceTokenizer, ByteLevelBPETokenizer])
@pytest.mark.parametrize("text", ["lines", "line", "word"])
def test_memory_of_learning_does_not_grow_with_a_document(tmp_path, monkeypatch, kind, text):
    monkeypatch.setattr(corpus, "LONGEST_PART", 2000)
    monkeypatch.setattr(trainer_module, "LONGEST_CHUNK", 1000)
    monkeypatch.setattr("minibert.tokenization.bpe_trainer.LONGEST_CHUNK", 1000)
    sizes, peaks = (50_000, 200_000), []
    for size in (sizes[0], *sizes):
        path = tmp_path / f"{size}.txt"
        path.write_text(f"{LINE}\n{long_text(text, size)}", "utf-8")
        peaks.append(peak(lambda path=path: train_on_files([path], 300, kind=kind, exact=False)))
    assert peaks[2] - peaks[1] < (sizes[1] - sizes[0]) / 2, peaks


def test_words_of_a_long_chunk_are_counted_and_a_longer_word_is_not(monkeypatch):
    texts = ["ab,ab,ab", "c" * 101, "ab"]
    normalizer = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]).normalizer
    counts = trainer_module.count_words(texts, normalizer, 100)
    monkeypatch.setattr(trainer_module, "LONGEST_CHUNK", 3)
    assert trainer_module.count_words(texts, normalizer, 100) == counts == {"ab": 4, ",": 2}


def test_byte_pairs_are_not_learned_from_longer_chunks(monkeypatch):
    texts = ["xyxyxy " + "ab" * 20] * 2
    assert ("a", "b") in learn_merges(texts, 260, special_tokens=[], exact=False)[1]
    monkeypatch.setattr("minibert.tokenization.bpe_trainer.LONGEST_CHUNK", 10)
    assert ("a", "b") not in learn_merges(texts, 260, special_tokens=[], exact=False)[1]


@pytest.mark.parametrize("name", ["mark.txt", "empty.txt.gz"])
def test_file_without_a_line_is_refused_as_by_read_lines(tmp_path, name):
    content = gzip.compress(b"") if name.endswith("gz") else "\ufeff".encode()
    (tmp_path / name).write_bytes(content)
    for read in (read_corpus, read_document_parts):
        with pytest.raises(ValueError, match=f"{name}: the file is empty"):
            list(read([tmp_path / name]))


def test_line_that_is_one_text_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "text.txt"
    monkeypatch.setattr("minibert.io.text.LONGEST_LINE", 1000)
    path.write_text("a\n" + "b" * 1000 + "\r\n" + "c" * 10_000_000 + "\nd\n", "utf-8")
    lines = read_lines(path)
    assert [len(next(lines)), len(next(lines))] == [1, 1000]
    message = r"text\.txt, line 3: expected at most 1,000 characters, got more"

    def refuse():
        with pytest.raises(ValueError, match=message):
            next(lines)

    assert peak(refuse) < 1_000_000


def test_csv_record_is_bounded_although_a_quote_is_not_closed(tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    monkeypatch.setattr("minibert.data.delimited.LONGEST_LINE", 1000)
    path.write_text("label,text\na,ok\nb," + '"' + "never closed\n" * 100, "utf-8")
    message = r"rows\.csv, line 3: not a CSV record: expected at most 1,000 characters, got more"
    with pytest.raises(ValueError, match=message):
        read_records(path)


def test_conll_text_is_bounded_although_the_blank_lines_are_missing(tmp_path, monkeypatch):
    path = tmp_path / "rows.conll"
    monkeypatch.setattr("minibert.data.conll.MOST_WORDS", 10)
    path.write_text("a O\n\n" + "b O\n" * 10 + "\n" + "c O\n" * 11, "utf-8")
    texts = read_conll(path)
    assert [len(words) for _, words, _ in (next(texts), next(texts))] == [1, 10]
    with pytest.raises(ValueError, match=r"rows\.conll, line 14: expected a blank line after at"):
        next(texts)


def test_blocks_of_long_texts_have_fewer_rows(monkeypatch):
    monkeypatch.setattr("minibert.io.rows.BLOCK_CHARACTERS", 100)
    rows = iter([("a" * 60, i) for i in range(5)])
    blocks = [take_block(rows, 3, lambda row: row[0]) for _ in range(4)]
    assert [[i for _, i in block] for block in blocks] == [[0, 1], [2, 3], [4], []]


@pytest.mark.parametrize("command", ["embed", "tokenize"])
def test_lines_of_files_and_of_standard_input_are_bounded(tmp_path, monkeypatch, capsys, command):
    monkeypatch.setattr("minibert.io.text.LONGEST_LINE", 100)
    path = tmp_path / "text.txt"
    path.write_text("a b\n" + "c" * 101 + "\n", "utf-8")
    assert main([command, "tiny", "--file", str(path)]) == 2
    assert f"{path}, line 2: expected at most 100 characters, got more" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.StringIO(path.read_text("utf-8")))
    assert main([command, "tiny"]) == 2
    message = "standard input, line 2: expected at most 100 characters, got more"
    assert message in capsys.readouterr().err


def test_json_is_refused_by_its_size_before_it_is_read(tmp_path):
    """The file has a hole of 1 GB, which is read as zeros."""
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(1 << 30)

    def refuse():
        with pytest.raises(ValueError, match=r"config\.json: expected at most 536,870,912 bytes"):
            AutoConfig.from_pretrained(tmp_path)

    assert peak(refuse) < 1_000_000


@pytest.mark.parametrize("field", ["vocab_size", "max_position_embeddings"])
def test_tables_of_a_new_model_are_bounded(field):
    with pytest.raises(ValueError, match=rf"^{field}: expected at most 62,500,000 rows of 64 weig"):
        require_memory(BertConfig.preset("nano", **{field: 10**9}))


def test_pretrain_refuses_a_length_that_needs_too_much_memory(tmp_path, capsys):
    path = tmp_path / "text.txt"
    path.write_text(f"{LINE}\n\n" * 50, "utf-8")
    words = ["pretrain", path, "--tokenizer", "tiny", "--out", tmp_path / "out"]
    assert main([*map(str, words), "--size", "nano", "--steps", "1", "--length", "1000000000"]) == 2
    assert "max_position_embeddings: expected at most 62,500,000 rows" in capsys.readouterr().err

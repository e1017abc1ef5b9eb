"""Documents from files, the held-out split, and packing without loss."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.data import corpus
from minibert.data.corpus import (
    MAX_FILES_OF_LINES,
    MIN_LAST_TOKENS,
    PackedSequences,
    as_batch,
    detect_document_end,
    ids_of_documents,
    is_held_out,
    pack,
    read_corpus,
)


def test_read_corpus_ends_documents_at_blank_lines_and_ends_of_files(tmp_path):
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    one.write_text("\n\nthe cat\n a dog \n\n \nthe mat", "utf-8")
    two.write_text("a tree\r\n", "utf-8")
    assert list(read_corpus([one, two])) == [["the cat", "a dog"], ["the mat"], ["a tree"]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "one.txt: the file is empty"),
        (b"fine\nbad \xff byte\n", "one.txt, line 2: byte 0xff is not UTF-8"),
        (b"fine\n\nPK\x00\x01", "one.txt, line 3: found a NUL byte"),
    ],
)
def test_read_corpus_refuses_non_text_and_names_file_and_line(tmp_path, content, message):
    path = tmp_path / "one.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(read_corpus([path]))
    with pytest.raises(FileNotFoundError, match=r"none\.txt: no such file"):
        list(read_corpus([tmp_path / "none.txt"]))


def test_is_held_out_depends_on_the_text_only():
    documents = [[f"document number {i}", "ends"] for i in range(400)]
    held_out = [document for document in documents if is_held_out(document, 0.1)]
    assert 20 < len(held_out) < 65
    assert all(is_held_out(document, 0.5) for document in held_out)
    assert all(is_held_out(document, 1.0) for document in documents)
    assert not any(is_held_out(document, 0.0) for document in documents)
    same_title = [["one title", f"number {i}"] for i in range(60)]
    assert 10 < sum(is_held_out(document, 0.5) for document in same_title) < 50


WORDS = st.lists(st.sampled_from("the cat sat on a mat then ran .".split()), min_size=1, max_size=9)
DOCUMENTS = st.lists(st.lists(WORDS.map(" ".join), min_size=1, max_size=3), min_size=1, max_size=8)


@given(
    documents=DOCUMENTS, blanks=st.lists(st.sampled_from(["", " ", "\t"]), min_size=1, max_size=2)
)
def test_document_ends_are_detected_from_blank_lines_between_lines(
    tmp_path_factory, documents, blanks
):
    path = tmp_path_factory.mktemp("corpus") / "one.txt"
    between = "\n".join(["", *blanks, ""])
    path.write_text(between + between.join(map("\n".join, documents)) + between, "utf-8")
    lines = [line for document in documents for line in document]
    has_one_text_per_line = len(documents) == 1 and len(lines) > 1
    assert detect_document_end([path]) == ("lines" if has_one_text_per_line else "blank-lines")
    assert list(read_corpus([path])) == documents
    assert list(read_corpus([path], document_end="lines")) == [[line] for line in lines]


def test_many_files_without_a_blank_line_contain_a_document_each(tmp_path):
    paths = [tmp_path / f"{n}.txt" for n in range(MAX_FILES_OF_LINES + 1)]
    for path in paths:
        path.write_text("the cat\na dog\n", "utf-8")
    assert detect_document_end(paths) == "blank-lines"
    assert detect_document_end(paths[:-1]) == "lines"
    paths[3].write_text("the cat\n\na dog\n", "utf-8")
    assert detect_document_end(paths[:-1]) == "blank-lines"


@given(documents=DOCUMENTS, length=st.integers(3, 20))
def test_pack_keeps_all_tokens_in_order(tokenizer, documents, length):
    sequences = pack(documents, tokenizer, length)
    assert sequences.shape[1] == length
    assert (sequences[:, 0] == tokenizer.cls_token_id).all()
    assert (sequences[:-1, -1] == tokenizer.sep_token_id).all()
    stream = []
    for sequence in sequences:
        content = sequence[sequence != tokenizer.pad_token_id]
        assert content[-1] == tokenizer.sep_token_id
        assert (sequence[: len(content)] == content).all()  # padding is at the end
        stream += content[1:-1].tolist()
    expected = []
    for document in documents:
        for text in document:
            expected += list(tokenizer.ids_of(text))
        expected.append(tokenizer.sep_token_id)
    expected.pop()
    assert expected[: len(stream)] == stream
    assert len(expected) - len(stream) < min(MIN_LAST_TOKENS, length - 2)


@given(documents=DOCUMENTS, length=st.integers(3, 20), data=st.data())
def test_packed_sequences_index_in_any_order(tokenizer, documents, length, data):
    stream = np.concatenate(list(ids_of_documents(documents, tokenizer)))
    lazy, packed = PackedSequences(stream, tokenizer, length), pack(documents, tokenizer, length)
    assert len(lazy) == len(packed)
    indices = data.draw(st.lists(st.integers(0, len(lazy) - 1), max_size=9))
    assert (lazy[np.array(indices, int)] == packed[indices]).all()


@pytest.mark.parametrize("at_once", [1, 2, 256])
def test_ids_of_documents_are_those_of_each_text(tokenizer, monkeypatch, at_once):
    monkeypatch.setattr(corpus, "DOCUMENTS_AT_ONCE", at_once)
    documents = [["the cat", "a [MASK]"], [], ["the dog"], [""], ["a", "the tree", "the"]]
    found = list(ids_of_documents(iter(documents), tokenizer))
    for ids, document in zip(found, documents, strict=True):
        texts = [tokenizer.ids_of(text, split_special_tokens=True) for text in document]
        assert ids.tolist() == [*chain.from_iterable(texts), tokenizer.sep_token_id]
        assert ids.dtype == np.int32


def test_pack_treats_special_tokens_in_the_text_as_text(tokenizer):
    ids = pack([["the [MASK] cat [SEP]"]], tokenizer, 20)
    assert tokenizer.mask_token_id not in ids
    assert (ids == tokenizer.sep_token_id).sum() == 1


def test_pack_of_no_documents_is_empty(tokenizer):
    assert pack([], tokenizer, 8).shape == (0, 8)


def test_as_batch_masks_the_padding():
    batch = as_batch(np.array([[2, 9, 3, 0]]), 0)
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0]]
    assert batch["token_type_ids"].tolist() == [[0, 0, 0, 0]]

"""The token cache: the same tokens for any number of processes, written once, checked by a key."""

import errno
import gzip
import io
import json
import os
import re
import shutil
import stat
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minibert.data import token_cache as module
from minibert.data.corpus import PackedSequences, ids_of_documents, is_held_out, read_corpus
from minibert.data.token_cache import TokenizedCorpus, Tokens, expand, tokenize_corpus
from minibert.io.atomic import atomic_remove
from minibert.io.cache import cache_folder
from minibert.io.number_files import NumberFile
from minibert.tokenization import WordPieceTokenizer

TEXTS = [
    f"the cat sat on mat {'ab'[i % 2]} {i}\n\na dog {i} ran .\nthen it ran\n\n" for i in range(60)
]


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / "one.txt", tmp_path / "two.txt.gz"]
    paths[0].write_text("".join(TEXTS[:30]), "utf-8")
    paths[1].write_bytes(gzip.compress("".join(TEXTS[30:]).encode()))
    return paths


def expected(paths, tokenizer, share):
    sides = ([], [])
    for document in read_corpus(paths):
        sides[is_held_out(document, share)].append(document)
    return [list(ids_of_documents(side, tokenizer)) for side in sides]


@pytest.mark.parametrize("workers", [1, 2])
def test_tokens_are_the_documents_in_order(files, tokenizer, tmp_path, monkeypatch, workers):
    monkeypatch.setattr(module, "PIECE", 100)
    corpus = tokenize_corpus(files, tokenizer, held_out=0.2, folder=tmp_path / "c", workers=workers)
    sides = expected(files, tokenizer, 0.2)
    for found, documents in zip((corpus.train, corpus.held_out), sides, strict=True):
        assert len(documents) > 5
        assert found.stream.dtype == np.uint16
        assert (found.stream == np.concatenate(documents)).all()
        assert found.ends.tolist() == np.cumsum([len(ids) for ids in documents]).tolist()
        assert not found.stream.flags.writeable
        assert (found.counts == np.bincount(found.stream, minlength=len(tokenizer))).all()


def test_tokenize_corpus_accepts_held_out_files(files, tokenizer, tmp_path):
    corpus = tokenize_corpus(files[:1], tokenizer, held_out=files[1:], folder=tmp_path / "c")
    for side, path in zip((corpus.train, corpus.held_out), files, strict=True):
        assert (side.stream == np.concatenate(expected([path], tokenizer, 0)[0])).all()


def test_tokenize_corpus_without_held_out_texts_has_no_held_out_tokens(files, tokenizer, tmp_path):
    corpus = tokenize_corpus(files, tokenizer, folder=tmp_path / "c")
    assert len(corpus.held_out.stream) == len(corpus.held_out.ends) == 0


def test_tokenize_corpus_reads_the_cache_for_the_same_text_and_tokenizer(
    files, tokenizer, tmp_path, monkeypatch
):
    folder, made = tmp_path / "c", []
    right = module._write
    monkeypatch.setattr(module, "_write", lambda *a: (made.append(a), right(*a)))

    def key(**options):
        return tokenize_corpus(files, tokenizer, **{"folder": folder, **options}).key

    first = key()
    assert key() == first
    assert len(made) == 1
    assert key(held_out=0.1) != first
    files[0].write_text("another text\n", "utf-8")
    second = key()
    tokenizer = type(tokenizer)(list(tokenizer.vocab), do_lower_case=False)
    assert len({first, second, key()}) == 3
    assert len(made) == 4
    assert all((path / ".gitignore").read_text() == "*\n" for path in folder.iterdir())


def test_key_differs_for_the_same_bytes_in_other_files(tokenizer, tmp_path):
    """A document ends at the end of a file, and held-out texts are not trained on."""
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"

    def key(texts, held_out=0.0):
        return tokenize_corpus(texts, tokenizer, held_out=held_out, folder=tmp_path / "c").key

    keys = []
    for contents in (("the cat\n", "sat\nran\n"), ("the cat\nsat\n", "ran\n")):
        for path, content in zip((one, two), contents, strict=True):
            path.write_text(content, "utf-8")
        keys += [key([one, two]), key([one], [two])]
    two.write_text("a dog\n", "utf-8")
    keys.append(key([one], [two]))
    assert len(set(keys)) == 5


def test_document_ends_are_detected_unless_the_known_key_states_them(tokenizer, tmp_path):
    """A run that began before each line could be a document is resumed with its documents."""
    path = tmp_path / "lines.txt"
    path.write_text("the cat sat\na dog ran\n" * 30, "utf-8")

    def tokens(**options):
        return tokenize_corpus([path], tokenizer, folder=tmp_path / "c", **options)

    whole, lines = tokens(), tokens(document_end=None)
    assert (whole.document_end, len(whole.train.ends)) == ("blank-lines", 1)
    assert (lines.document_end, len(lines.train.ends)) == ("lines", 60)
    assert whole.key != lines.key
    for known in whole, lines:
        again = tokens(document_end=None, known=known.key)
        assert (again.key, again.document_end) == (known.key, known.document_end)


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("least", [1, 9])
def test_with_cut_divides_a_text_of_which_one_part_is_empty(
    files, tokenizer, tmp_path, monkeypatch, share, least
):
    monkeypatch.setattr("minibert.io.number_files.BLOCK", 7)
    corpus = tokenize_corpus(files, tokenizer, held_out=share, folder=tmp_path / "c")
    whole = corpus.train if len(corpus.train.stream) else corpus.held_out
    cut = corpus.with_cut(0.05, least)
    sides = cut.train, cut.held_out
    assert (np.concatenate([side.stream for side in sides]) == whole.stream).all()
    assert len(cut.held_out.stream) == max(round(0.05 * len(whole.stream)), least)
    for side in sides:
        assert (side.counts == np.bincount(side.stream, minlength=len(tokenizer))).all()
        assert (side.stream[side.ends - 1] == tokenizer.sep_token_id).all()
    assert cut.with_cut(0.05, least) is cut
    assert corpus.with_cut(0.05, len(whole.stream) // 2 + 1) is corpus


@example([3, 2, 4], 3 / 9, 1)  # the cut is at the end of a document but one
@example([3, 2], 0.0, 2)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.floats(0, 1), st.integers(0, 8))
def test_with_cut_keeps_each_document_and_enough_tokens(lengths, share, least):
    """A document that ends at the cut is whole, and so is a part of the least size."""
    ends = np.cumsum(lengths)
    size = int(ends[-1])
    stream = np.arange(size, dtype=np.uint16)
    whole = Tokens(stream, ends, np.ones(size, np.int64))
    empty = Tokens(stream[:0], ends[:0], np.zeros(size, np.int64))
    corpus = TokenizedCorpus(whole, empty, "key", 0.0)
    cut = corpus.with_cut(share, least)
    assert (cut is corpus) == (size < 2 * least)
    if cut is not corpus:
        place = size - max(round(share * size), least)
        parts = ((cut.train, slice(0, place)), (cut.held_out, slice(place, size)))
        for part, expected in parts:
            np.testing.assert_array_equal(part.stream, stream[expected])
            inside = ends[(ends > expected.start) & (ends <= expected.stop)]
            np.testing.assert_array_equal(part.ends, inside - expected.start)
            np.testing.assert_array_equal(np.flatnonzero(part.counts), part.stream)


@pytest.mark.parametrize(("pieces", "dtype"), [(1 << 16, np.uint16), ((1 << 16) + 1, np.uint32)])
def test_dtype_of_the_ids_holds_the_last_id(tmp_path, pieces, dtype):
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [f"w{n}" for n in range(pieces - len(special))]
    path = tmp_path / "t.txt"
    path.write_text(f"{words[-1]}\n", "utf-8")
    tokenizer = WordPieceTokenizer([*special, *words])
    found = tokenize_corpus([path], tokenizer, folder=tmp_path / "c").train
    assert (found.stream.dtype, found.stream.tolist()) == (dtype, [pieces - 1, 3])


@pytest.mark.parametrize("damage", ["cut", "no state", "no ids", "no json"])
def test_damaged_tokens_are_written_again(files, tokenizer, tmp_path, caplog, damage):
    folder = tmp_path / "c"
    before = tokenize_corpus(files, tokenizer, folder=folder).train.stream.tolist()
    (home,) = folder.iterdir()
    ids = home / "train.ids"
    if damage == "cut":
        ids.write_bytes(ids.read_bytes()[:-2])
    elif damage == "no json":
        (home / "tokens.json").write_text("{", "utf-8")
    else:
        (home / {"no state": "tokens.json", "no ids": "train.ids"}[damage]).unlink()
    assert tokenize_corpus(files, tokenizer, folder=folder).train.stream.tolist() == before
    assert "damaged, the text is tokenized again" in caplog.text


def test_tokenize_corpus_accepts_the_entry_of_another_process(
    files, tokenizer, tmp_path, monkeypatch
):
    folder, right = tmp_path / "c", module._write

    def overtaken(*arguments):
        monkeypatch.setattr(module, "_write", right)
        tokenize_corpus(files, tokenizer, folder=folder)
        right(*arguments)

    whole = tokenize_corpus(files, tokenizer, folder=tmp_path / "whole")
    monkeypatch.setattr(module, "_write", overtaken)
    monkeypatch.setattr("minibert.io.atomic.os.getpid", lambda: 1)
    corpus = tokenize_corpus(files, tokenizer, folder=folder)
    assert_same(corpus, whole)
    assert [path.name for path in folder.iterdir()] == [f"tokens-{corpus.key}"]


def assert_same(one, other):
    """Compare all tokens and the keys."""
    assert one.key == other.key
    for side in ("train", "held_out"):
        for kind in ("stream", "ends", "counts"):
            pair = (getattr(getattr(corpus, side), kind) for corpus in (one, other))
            np.testing.assert_array_equal(*pair)


def test_threads_that_share_a_cache_get_the_tokens_of_their_own_text(files, tokenizer, tmp_path):
    """Each thread may have another tokenizer."""
    cased = type(tokenizer)(list(tokenizer.vocab), do_lower_case=False, unk_token="[MASK]")
    jobs = [(paths, each) for paths in (files, files[:1]) for each in (tokenizer, cased)] * 2
    together = threading.Barrier(len(jobs))

    def work(job):
        together.wait()
        return tokenize_corpus(*job, held_out=0.2, folder=tmp_path / "c")

    with ThreadPoolExecutor(len(jobs)) as pool:
        found = list(pool.map(work, jobs))
    for corpus, (paths, each) in zip(found, jobs, strict=True):
        assert_same(corpus, tokenize_corpus(paths, each, held_out=0.2, folder=tmp_path / "alone"))
    assert len(list((tmp_path / "c").iterdir())) == 4


def test_another_tokenizer_in_the_same_process_changes_no_token(
    files, tokenizer, tmp_path, monkeypatch
):
    other = type(tokenizer)(list(tokenizer.vocab)[:6])
    whole = tokenize_corpus(files, tokenizer, folder=tmp_path / "whole")
    right, nested = module.is_held_out, []

    def interrupted(document, share):
        if not nested:
            nested.append(document)
            tokenize_corpus(files, other, folder=tmp_path / "other")
        return right(document, share)

    monkeypatch.setattr(module, "is_held_out", interrupted)
    monkeypatch.setattr(module, "PIECE", 100)
    assert_same(tokenize_corpus(files, tokenizer, folder=tmp_path / "c"), whole)


@pytest.mark.parametrize("kind", ["ids", "ends", "counts"])
@pytest.mark.parametrize("left", [0, 8])
def test_tokens_of_another_length_are_written_again(
    files, tokenizer, tmp_path, monkeypatch, caplog, kind, left
):
    right, torn = module._write, []

    def tearing(home, *arguments):
        right(home, *arguments)
        if not torn:
            torn.append(home)
            path = home / f"train.{kind}"
            path.write_bytes(path.read_bytes()[:left])

    monkeypatch.setattr(module, "_write", tearing)
    found = tokenize_corpus(files, tokenizer, folder=tmp_path / "c")
    assert "damaged, the text is tokenized again" in caplog.text
    assert_same(found, tokenize_corpus(files, tokenizer, folder=tmp_path / "whole"))


def test_an_entry_that_is_damaged_after_each_write_is_kept_in_memory(
    files, tokenizer, tmp_path, monkeypatch, caplog
):
    right = module._write

    def tearing(home, *arguments):
        right(home, *arguments)
        (home / "train.ids").write_bytes(b"x" * 100)

    whole = tokenize_corpus(files, tokenizer, folder=tmp_path / "whole")
    monkeypatch.setattr(module, "_write", tearing)
    assert_same(tokenize_corpus(files, tokenizer, folder=tmp_path / "c"), whole)
    assert re.search(r"tokens-3-\w+: damaged again after each write\); they are kept", caplog.text)
    assert "\n" not in caplog.messages[-1]
    assert list((tmp_path / "c").iterdir()) == []


def full(home, *arguments):
    (home / "train.ids").write_bytes(b"half")
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("problem", ["full disk", "no folder", "no home"])
def test_a_run_continues_without_the_cache(
    files, tokenizer, tmp_path, monkeypatch, caplog, problem, workers
):
    whole = tokenize_corpus(files, tokenizer, held_out=0.2, folder=tmp_path / "whole")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    if problem == "full disk":
        monkeypatch.setattr(module, "_write", full)
    elif problem == "no folder":
        (tmp_path / "c").write_text("a file")
    else:
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr("pathlib.Path.home", no_home)
    found = tokenize_corpus(files, tokenizer, held_out=0.2, workers=workers)
    assert_same(found, whole)
    assert found.repeated == whole.repeated
    assert found.train.stream.dtype == whole.train.stream.dtype
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("warning: the cache of tokens can't be used (")
    assert not list(tmp_path.glob("c/minibert/.*"))


def no_home():
    raise RuntimeError("Could not determine home directory.")


def test_standard_input_is_read_without_a_cache(files, tokenizer, tmp_path, monkeypatch):
    whole = tokenize_corpus(files[:1], tokenizer, folder=tmp_path / "c")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(files[0].read_bytes())))
    assert_same(tokenize_corpus(["-"], tokenizer, folder=files[0] / "c"), whole)
    assert list((tmp_path / "temporary").iterdir()) == []


def test_an_error_of_a_text_is_not_one_of_the_cache(files, tokenizer, tmp_path, caplog):
    with pytest.raises(FileNotFoundError, match="none"):
        tokenize_corpus([tmp_path / "none"], tokenizer, folder=tmp_path / "c")
    assert not caplog.messages


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="there are no owners")
@pytest.mark.parametrize("state", ["new", "readable", "another's", "another's link"])
def test_cache_folder_belongs_to_this_user_alone(tmp_path, monkeypatch, state):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    folder = tmp_path / "c" / "minibert"
    owner = os.geteuid()
    if state == "readable":
        folder.mkdir(parents=True)
        folder.chmod(0o755)
    if state == "another's link":
        (tmp_path / "mine").mkdir()
        folder.parent.mkdir()
        folder.symlink_to(tmp_path / "mine")
        monkeypatch.setattr(type(folder), "lstat", lambda _: SimpleNamespace(st_uid=owner + 1))
    if state == "another's":
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    if state.startswith("another's"):
        with pytest.raises(PermissionError, match="minibert: belongs to another user"):
            cache_folder()
        return
    assert cache_folder() == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_cache_is_bounded_and_the_entries_that_were_used_last_are_kept(
    files, tokenizer, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "minibert"

    def entry(share, named=None):
        key = tokenize_corpus(files, tokenizer, held_out=share, folder=named).key
        return folder / f"tokens-{key}"

    entries = []
    for age, share in ((4, 0.1), (3, 0.2), (2, 0.3)):
        entries.append(entry(share))
        os.utime(entries[-1], (time.time() - age * 3600,) * 2)
    documents = folder / "documents-1.json"
    documents.write_text("[]")
    os.utime(documents, (time.time() - 9 * 3600,) * 2)
    assert entry(0.1) == entries[0]  # which is used again
    size = sum(path.stat().st_size for path in (entries[0], *entries[0].iterdir()))
    monkeypatch.setattr("minibert.io.cache.CACHE_BYTES", 2.5 * size)
    newest = entry(0.4)
    assert set(folder.iterdir()) == {newest, entries[0]}
    monkeypatch.setattr("minibert.io.cache.CACHE_BYTES", 1)
    assert set(folder.iterdir()) == {newest, entries[0]}
    last = entry(0.5)
    assert set(folder.iterdir()) == {last}
    # In a folder that the caller names, other files may have such names.
    documents.write_text("[]")
    other = entry(0.6, folder)
    assert set(folder.iterdir()) == {last, documents, other}


def test_an_entry_that_is_removed_while_it_is_opened_is_written_again_without_a_warning(
    files, tokenizer, tmp_path, monkeypatch, caplog
):
    """Another process trims the cache."""
    whole = tokenize_corpus(files, tokenizer, folder=tmp_path / "c")
    right = module.read_numbers

    def removed(path, *arguments):
        monkeypatch.setattr(module, "read_numbers", right)
        atomic_remove(path.parent)
        return right(path, *arguments)

    monkeypatch.setattr(module, "read_numbers", removed)
    assert_same(tokenize_corpus(files, tokenizer, folder=tmp_path / "c"), whole)
    assert caplog.text == ""


def test_processes_that_trim_and_read_one_cache_get_their_tokens(
    files, tokenizer, tmp_path, monkeypatch, caplog
):
    """As threads, each of which removes the entries of the others."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("minibert.io.cache.CACHE_BYTES", 1)
    shares = [0.1, 0.2, 0.3]
    whole = [tokenize_corpus(files, tokenizer, held_out=share, folder=tmp_path / "whole")
             for share in shares]  # fmt: skip
    with ThreadPoolExecutor(3) as pool:
        found = pool.map(
            lambda i: tokenize_corpus(files, tokenizer, held_out=shares[i % 3]), range(9)
        )
        for i, corpus in enumerate(found):
            assert_same(corpus, whole[i % 3])
    assert "damaged, the text" not in caplog.text


@pytest.fixture
def large(files, tokenizer, tmp_path, monkeypatch):
    """Return the tokens of the files, none of which is small enough to be read at once."""
    tokenize_corpus(files, tokenizer, folder=tmp_path / "c")
    monkeypatch.setattr("minibert.io.number_files.IN_MEMORY_BYTES", -1)
    return tokenize_corpus(files, tokenizer, folder=tmp_path / "c")


def test_large_tokens_are_read_where_they_are_used(files, tokenizer, tmp_path, monkeypatch, large):
    assert isinstance(large.train.stream, NumberFile)
    monkeypatch.undo()
    small = tokenize_corpus(files, tokenizer, folder=tmp_path / "c")
    assert isinstance(small.train.stream, np.ndarray)
    assert_same(large, small)
    for least in (1, 10**9):
        assert_same(large.with_cut(0.5, least), small.with_cut(0.5, least))
    rows = [PackedSequences(corpus.train.stream, tokenizer, 7) for corpus in (large, small)]
    (first, second) = (each[np.arange(len(each))[::-1]] for each in rows)
    assert len(first) > 1
    np.testing.assert_array_equal(first, second)


def test_large_tokens_that_are_removed_are_still_read(tmp_path, large):
    """Another process trims the cache."""
    before = np.asarray(large.train.stream).tolist()
    shutil.rmtree(tmp_path / "c")
    assert np.asarray(large.train.stream).tolist() == before


def test_large_tokens_that_are_cut_while_they_are_used_are_an_error(tokenizer, tmp_path, large):
    """A memory map ends the process."""
    rows = PackedSequences(large.train.stream, tokenizer, 7)
    (home,) = (tmp_path / "c").iterdir()
    os.truncate(home / "train.ids", 4)
    with pytest.raises(OSError, match=r"train\.ids: cut while it was read"):
        rows[np.array([len(rows) - 1])]


def test_small_tokens_survive_a_file_that_is_cut_while_they_are_used(files, tokenizer, tmp_path):
    found = tokenize_corpus(files, tokenizer, folder=tmp_path / "c").train
    before = found.stream.tolist()
    (home,) = (tmp_path / "c").iterdir()
    os.truncate(home / "train.ids", 0)
    assert found.stream.tolist() == before


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("part", [0, 1])
def test_text_that_changes_before_it_is_tokenized_is_refused(
    files, tokenizer, tmp_path, monkeypatch, part, back
):
    """Also if the text is restored at the end."""
    old, right = files[part].read_bytes(), module._write
    new = b"another text\n" if part == 0 else gzip.compress(b"another text\n")

    def changing(*arguments):
        files[part].write_bytes(new)
        try:
            right(*arguments)
        finally:
            if back:
                files[part].write_bytes(old)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_write", changing)
        message = rf"{files[part].name}: changed while it was tokenized; start again"
        with pytest.raises(ValueError, match=message) as caught:
            tokenize_corpus(files, tokenizer, folder=tmp_path / "c")
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "c").iterdir()) == []
    found = tokenize_corpus(files, tokenizer, folder=tmp_path / "c")
    documents = expected(files, tokenizer, 0)[0]
    assert (found.train.stream == np.concatenate(documents)).all()


def test_text_that_changes_while_it_is_tokenized_is_refused(
    files, tokenizer, tmp_path, monkeypatch
):
    changed, right = [], module.is_held_out

    def changing(document, share):
        if not changed:
            with files[0].open("r+b") as file:
                file.seek(-3, os.SEEK_END)
                changed.append(file.write(b"dog"))
        return right(document, share)

    monkeypatch.setattr(module, "PIECE", 1)
    monkeypatch.setattr("minibert.io.text.READ_BYTES", 64)
    files[0].write_text("".join(TEXTS) * 20, "utf-8")  # more than the read-ahead
    monkeypatch.setattr(module, "is_held_out", changing)
    with pytest.raises(ValueError, match=r"one\.txt: changed while it was tokenized"):
        tokenize_corpus(files, tokenizer, folder=tmp_path / "c")
    assert changed == [3]
    assert list((tmp_path / "c").iterdir()) == []


def test_key_depends_on_contents_and_order_and_not_on_names(tokenizer, tmp_path):
    def key(*contents, names="abcdef"):
        paths = [tmp_path / name for name, _ in zip(names, contents, strict=False)]
        for path, content in zip(paths, contents, strict=True):
            path.write_text(content, "utf-8")
        return tokenize_corpus(paths, tokenizer, folder=tmp_path / "cache").key

    one, two = "the cat\n", "a dog\n"
    keys = [key(one, two), key(two, one), key(one), key(one, two, two), key(one + two)]
    end = "end of file"  # version 1 separated the texts by this, which a text may contain
    keys += [key("cat" + end + "dog", "mat"), key("cat", "dog" + end + "mat")]
    assert len(set(keys)) == len(keys)
    assert key(one, two, names="fe") == keys[0]


FORMER = {"0.25": "2e0cd86dbb3ca855", "two.txt": "0920cf48fac9807e"}  # the keys of version 1


@pytest.mark.parametrize("held_out", FORMER)
def test_key_of_version_1_is_kept_for_the_same_texts(tokenizer, tmp_path, held_out):
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    one.write_text("the cat sat\n\na dog ran\n", "utf-8")
    two.write_text("then it was\n", "utf-8")
    paths, side = ([one, two], 0.25) if held_out == "0.25" else ([one], [two])

    def key(known):
        options = {"held_out": side, "folder": tmp_path / "c", "known": known}
        return tokenize_corpus(paths, tokenizer, **options).key

    new = key(None)
    assert new.startswith("3-")
    for other in (new, "0" * 16, "", "3-0", 3, None, ["x"]):
        assert key(other) == new
    assert key(FORMER[held_out]) == FORMER[held_out]
    two.write_text("then it ran\n", "utf-8")
    assert key(FORMER[held_out]) not in (FORMER[held_out], new)


def test_tokenize_corpus_removes_only_old_temporary_files(files, tokenizer, tmp_path):
    folder = tmp_path / "c"
    names = [".tokens-3-ab.1-cd.tmp", ".tokens-ab.1.tmp", ".stdin.1-ab.tmp", ".stdin-1.txt"]
    for age, name in [(age, f"{name}") for age in (0, 30) for name in names]:
        path = folder / (name if age else name.replace("1", "2"))
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
        os.utime(path, (time.time() - age * 24 * 3600,) * 2)
    corpus = tokenize_corpus(files, tokenizer, folder=folder)
    kept = {path.name for path in folder.iterdir()}
    assert kept == {f"tokens-{corpus.key}", *(name.replace("1", "2") for name in names)}


def test_tokenize_corpus_reads_standard_input(files, tokenizer, tmp_path, monkeypatch):
    folder = tmp_path / "c"
    whole = tokenize_corpus(files[:1], tokenizer, folder=folder)
    stdin = io.TextIOWrapper(io.BytesIO(files[0].read_bytes()))
    monkeypatch.setattr("sys.stdin", stdin)
    piped = tokenize_corpus(["-"], tokenizer, folder=folder)
    assert piped.key == whole.key
    assert len(list(folder.iterdir())) == 1
    with pytest.raises(ValueError, match="standard input: expected lines of text, got none"):
        tokenize_corpus(["-"], tokenizer, folder=folder)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"fine\na\0b\n")))
    with pytest.raises(ValueError, match=r"^standard input, line 2: found a NUL byte"):
        tokenize_corpus(["-"], tokenizer, folder=folder)


def test_tokenize_corpus_leaves_no_files_after_an_error(files, tokenizer, tmp_path):
    files[0].write_bytes(b"fine\nbad \xff\n")
    with pytest.raises(ValueError, match="line 2: byte 0xff is not UTF-8"):
        tokenize_corpus(files, tokenizer, folder=tmp_path / "c")
    files[0].write_text("fine\n", "utf-8")
    files[1].write_bytes(files[1].read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"two\.txt\.gz: invalid gzip file"):
        tokenize_corpus(files, tokenizer, folder=tmp_path / "c")
    assert list((tmp_path / "c").iterdir()) == []


def test_tokenize_corpus_counts_repeated_lines(tokenizer, tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("the cat\na dog\nthe cat\n\nthe cat\n", "utf-8")
    assert tokenize_corpus([path], tokenizer, folder=tmp_path / "c").repeated == 0.5
    (home,) = (tmp_path / "c").iterdir()
    assert json.loads((home / "tokens.json").read_text("utf-8"))["repeated"] == 0.5


def test_expand_returns_the_files_of_patterns(files, tmp_path):
    assert expand([tmp_path / "*.txt*"]) == files
    (tmp_path / "in" / "deep").mkdir(parents=True)
    deep = tmp_path / "in" / "deep" / "three.txt"
    deep.write_text("a cat\n", "utf-8")
    assert expand([tmp_path / "**" / "*.txt"]) == [deep, files[0]]
    assert expand([files[1], "-", tmp_path / "none.txt"]) == [
        files[1],
        *map(type(tmp_path), ("-",)),
        tmp_path / "none.txt",
    ]
    with pytest.raises(FileNotFoundError, match="no file fits this pattern"):
        expand([tmp_path / "*.text"])


def test_memory_does_not_grow_with_the_text(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PIECE", 2000)
    monkeypatch.setattr(module, "SAMPLE", 100)

    def peak(times):
        path = tmp_path / f"{times}.txt"
        path.write_text("".join(TEXTS) * times, "utf-8")
        tracemalloc.start()
        tokenize_corpus([path], tokenizer, folder=tmp_path / "c")
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(1)
    assert peak(40) < 1.2 * peak(4)

"""Files of numbers are checked, and read as a whole or where they are sliced."""

import copy
import os
import pickle
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from minibert.io import number_files
from minibert.io.number_files import NumberFile, blocks, read_numbers

NUMBERS = np.arange(1000, dtype=np.uint16) * 61
CHECKSUM = zlib.crc32(NUMBERS)


@pytest.fixture(params=["pread", "seek"])
def path(tmp_path, monkeypatch, request):
    """Return a file of numbers, on systems with and without `pread`."""
    if request.param == "seek":
        monkeypatch.delattr(os, "pread")
    elif not hasattr(os, "pread"):
        pytest.skip("Windows has no pread")
    NUMBERS.tofile(tmp_path / "numbers")
    return tmp_path / "numbers"


@pytest.mark.parametrize("most", [2000, 1999])
def test_numbers_are_those_of_the_file(path, monkeypatch, most):
    monkeypatch.setattr(number_files, "IN_MEMORY_BYTES", most)
    monkeypatch.setattr(number_files, "BLOCK", 64)
    found = read_numbers(path, "uint16", 1000, CHECKSUM)
    assert isinstance(found, NumberFile) == (most < 2000)
    assert (len(found), found.dtype) == (1000, np.uint16)
    np.testing.assert_array_equal(found, NUMBERS)
    for part in (slice(10, 20), slice(-5, None), slice(990, 2000), slice(20, 10)):
        np.testing.assert_array_equal(found[part], NUMBERS[part])
        assert len(found[part]) == len(NUMBERS[part])
    np.testing.assert_array_equal(found[100:][10:20], NUMBERS[110:120])
    assert np.asarray(found[:5], np.int64).dtype == np.int64


@pytest.mark.parametrize(("width", "lengths"), [(7, [3, 2]), (20, [1, 1, 1, 1, 1]), (41, [1] * 5)])
def test_rows_are_those_of_the_file_from_any_byte(path, monkeypatch, width, lengths):
    """The offset of rows in a file need not be a multiple of their size."""
    monkeypatch.setattr(number_files, "BLOCK", 21)
    path.write_bytes(b"abc" + NUMBERS.tobytes())
    expected = NUMBERS[: 5 * width].reshape(5, width)
    rows = NumberFile(path, "u1", 2003)[3 : 3 + 10 * width].view((np.uint16, (width,)))
    assert (len(rows), rows.shape) == (5, (5, width))
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(rows[1:][1:3], expected[2:4])
    assert np.asarray(rows[2:2]).shape == (0, width)
    assert np.asarray(rows, np.int64).dtype == np.int64
    for numbers in (rows, expected):
        assert [len(block) for block in blocks(numbers)] == lengths
        np.testing.assert_array_equal(np.concatenate([*blocks(numbers)]), expected)


def test_a_closed_file_is_not_read(path):
    file = NumberFile(path, "uint16", 1000)
    part = file[10:]
    file.close()
    file.close()
    with pytest.raises(OSError, match="numbers"):
        np.asarray(part)


def test_a_step_is_refused(path):
    with pytest.raises(ValueError, match="step: expected 1, got 2"):
        NumberFile(path, "uint16", 1000)[::2]


def test_copies_contain_the_numbers_and_may_be_written_to(path):
    """A copy of the descriptor would read another file once this one is closed."""
    part = NumberFile(path, "uint16", 1000)[10:20]
    copies = [copy.deepcopy(part), pickle.loads(pickle.dumps(part)), np.array(part)]
    del part
    for each in copies:
        np.testing.assert_array_equal(each, NUMBERS[10:20])
        each[:] = 0


@pytest.mark.parametrize("most", [2000, 1999])
def test_a_file_of_another_length_or_checksum_is_refused(path, monkeypatch, most):
    monkeypatch.setattr(number_files, "IN_MEMORY_BYTES", most)
    with pytest.raises(ValueError, match="numbers: expected 999 numbers"):
        read_numbers(path, "uint16", 999, zlib.crc32(NUMBERS[:999]))
    with pytest.raises(ValueError, match="numbers: expected 1000 numbers"):
        read_numbers(path, "uint16", 1000, CHECKSUM + 1)


def test_the_numbers_of_a_small_file_are_those_that_were_checked(path, monkeypatch):
    """A byte that changes after the check was used: the file was read twice."""
    right = zlib.crc32

    def changed(*arguments):
        path.write_bytes(bytes(2000))
        return right(*arguments)

    monkeypatch.setattr(zlib, "crc32", changed)
    np.testing.assert_array_equal(read_numbers(path, "uint16", 1000, CHECKSUM), NUMBERS)


def test_a_file_that_is_cut_meanwhile_is_an_error_that_names_it(path):
    file = NumberFile(path, "uint16", 1000)
    os.truncate(path, 1001)
    np.testing.assert_array_equal(file[:500], NUMBERS[:500])
    for part in (file, file[:501], file[990:]):
        with pytest.raises(OSError, match="numbers: cut while it was read"):
            np.asarray(part)


def test_a_file_that_is_removed_is_open_until_its_last_slice_ends(path):
    part = NumberFile(path, "uint16", 1000)[10:]
    opened = part.opened.number
    path.unlink()
    np.testing.assert_array_equal(part[:5], NUMBERS[10:15])
    del part
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened)


def test_short_reads_are_continued_and_threads_share_a_file(path, monkeypatch):
    right = number_files._read_at
    monkeypatch.setattr(
        number_files, "_read_at", lambda opened, size, start: right(opened, min(size, 7), start)
    )
    file = NumberFile(path, "uint16", 1000)
    with ThreadPoolExecutor(8) as pool:
        for i, part in enumerate(pool.map(lambda i: np.asarray(file[i : i + 20]), range(200))):
            np.testing.assert_array_equal(part, NUMBERS[i : i + 20])

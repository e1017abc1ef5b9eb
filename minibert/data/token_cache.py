"""Corpora larger than memory: tokenized once, as a stream, into files that are mapped."""

import glob
import hashlib
import json
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minibert.data.corpus import ids_of_documents, is_held_out, read_corpus
from minibert.files import cache_folder, creating, discard, read_json, require_file
from minibert.runtime.threads import bounded_map
from minibert.tokenization import WordPieceTokenizer

log = logging.getLogger("minibert")

FORMAT = 2
STDIN = Path("-")
SIDES = ("train", "held_out")
KINDS = ("ids", "ends", "counts")
STATE = "tokens.json"
PIECE = 1 << 18  # characters that a worker gets at a time
SAMPLE = 200_000  # lines among which repeated ones are counted


@dataclass(frozen=True)
class Tokens:
    """The ids of documents, one after the other, each with a [SEP] at its end.

    Attributes:
        stream: all ids, (N,), mapped from a file.
        ends: where each document ends in it, (documents,), mapped from a file.
        counts: how often each token occurs, (V,).
    """

    stream: np.ndarray
    ends: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True)
class TokenizedCorpus:
    """Two sides of a corpus, and what was noticed while it was read.

    Attributes:
        train, held_out: the tokens.
        key: a checksum of the texts, the tokenizer and the share that is held out.
        repeated: the share of the first lines that stood there before.
    """

    train: Tokens
    held_out: Tokens
    key: str
    repeated: float


def expand(patterns: Iterable[str | os.PathLike]) -> list[Path]:
    """Return the files that paths and patterns like `texts/*.txt` name, those of a pattern sorted.

    Raises:
        FileNotFoundError: a pattern fits no file.
    """
    paths: list[Path] = []
    for pattern in map(str, patterns):
        if Path(pattern).exists() or not glob.has_magic(pattern):
            paths.append(Path(pattern))
            continue
        # An absolute pattern is nothing for Path.glob.
        found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
        if not found:
            raise FileNotFoundError(f"{pattern}: no file fits this pattern")
        paths += map(Path, found)
    return paths


def tokenize_corpus(
    paths: Sequence[str | os.PathLike],
    tokenizer: WordPieceTokenizer,
    *,
    held_out: float | Sequence[str | os.PathLike] = 0.0,
    folder: Path | None = None,
    workers: int = 1,
) -> TokenizedCorpus:
    """Tokenize text files once; later calls with the same texts and tokenizer map what was made.

    The texts are read as a stream and tokenized by processes side by side, so the memory does not
    depend on their size. The outcome does not depend on the number of processes.

    Args:
        paths: text files, also packed by gzip; `-` is standard input.
        tokenizer: makes the ids.
        held_out: the share of the documents that is held out, or the files that are.
        folder: where to keep the tokens; None: the user's cache.
        workers: processes; more than one can only be had from a main module that may be imported.

    Raises:
        OSError: a file can't be read, or the tokens can't be written.
        ValueError: a file is no text; the message names the file and the line.
    """
    folder = folder or cache_folder()
    if folder is None:
        raise FileNotFoundError("there is no home folder for a cache; set XDG_CACHE_HOME")
    folder.mkdir(parents=True, exist_ok=True)
    spool = folder / f".stdin-{os.getpid()}.txt"
    try:
        texts = _spooled(paths, spool)
        others = [] if isinstance(held_out, float) else list(map(Path, held_out))
        share = held_out if isinstance(held_out, float) else 0.0
        key = _key(texts, others, share, tokenizer)
        home = folder / f"tokens-{key}"
        if not _is_whole(home):
            try:
                with creating(home) as temporary:
                    _write(temporary, texts, others, share, tokenizer, workers)
            except OSError:
                if not _is_whole(home):  # another process may have been the first to make it
                    raise
    except ValueError as error:
        if str(spool) not in str(error):
            raise
        raise ValueError(str(error).replace(str(spool), "standard input")) from None
    finally:
        spool.unlink(missing_ok=True)
    state = read_json(home / STATE)
    train, held = (_map(home, side, state) for side in SIDES)
    return TokenizedCorpus(train, held, key, state["repeated"])


def fingerprint(tokenizer: WordPieceTokenizer) -> str:
    """Return a checksum of all that decides what a tokenizer does: of its files."""
    digest = hashlib.blake2b(digest_size=8)
    with tempfile.TemporaryDirectory() as written:
        tokenizer.save_pretrained(written)
        for path in sorted(Path(written).iterdir()):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _spooled(paths, spool):
    """Put standard input into a file: it can be read only once, and its content is the key."""
    texts = [Path(path) for path in paths]
    if STDIN in texts:
        with spool.open("wb") as file:
            if sys.stdin is not None:  # it isn't closed
                shutil.copyfileobj(sys.stdin.buffer, file)
        if not spool.stat().st_size:
            raise ValueError("standard input: expected lines of text, got none")
    return [spool if path == STDIN else path for path in texts]


def _key(texts, others, share, tokenizer):
    digest = hashlib.blake2b(digest_size=8)
    digest.update(repr((FORMAT, len(texts), share, fingerprint(tokenizer))).encode())
    for path in [*texts, *others]:
        require_file(path)
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        digest.update(b"end of file")
    return digest.hexdigest()


def _is_whole(home):
    """Whether the token files are there as they were written; what is left of broken ones goes."""
    if not home.exists():
        return False
    try:
        state = read_json(home / STATE)
        own = state.pop("checksum")
        if own == _checksum(state) and state["files"] == _outlines(home):
            return True
    except (OSError, ValueError, KeyError):
        pass
    log.warning("%s: damaged, the text is tokenized again", home)
    discard(home)
    return False


def _write(home, texts, others, share, tokenizer, workers):
    dtype = np.dtype(np.uint16 if len(tokenizer) <= 1 << 16 else np.uint32)
    seen, lines = set(), [0, 0]  # checksums of the first lines, and how many came, came again

    def sampled(documents):
        for document in documents:
            for line in document if lines[0] < SAMPLE else ():
                mark = zlib.crc32(line.encode())
                lines[0] += 1
                lines[1] += mark in seen
                seen.add(mark)
            yield document

    names = [f"{side}.{kind}" for side in SIDES for kind in ("ids", "ends")]
    opened = {name: (home / name).open("wb") for name in names}
    sizes = dict.fromkeys(SIDES, 0)
    counts = {side: np.zeros(len(tokenizer), np.int64) for side in SIDES}
    try:
        for paths, fixed in ((texts, None), (others, 1.0)):
            pieces = ((piece, share if fixed is None else fixed)
                      for piece in _pieces(sampled(read_corpus(paths))))  # fmt: skip
            for sides in _tokenized(pieces, tokenizer, dtype, workers):
                for side, (ids, lengths) in zip(SIDES, sides, strict=True):
                    ends = sizes[side] + np.cumsum(lengths, dtype=np.int64)
                    sizes[side] += len(ids)
                    counts[side] += np.bincount(ids, minlength=len(tokenizer))
                    opened[f"{side}.ids"].write(ids.tobytes())
                    opened[f"{side}.ends"].write(ends.tobytes())
    finally:
        for file in opened.values():
            file.close()
    for side in SIDES:
        counts[side].tofile(home / f"{side}.counts")
    state = {
        "dtype": dtype.name,
        "repeated": lines[1] / max(lines[0], 1),
        "files": _outlines(home),
    }
    state["checksum"] = _checksum(state)
    (home / STATE).write_text(json.dumps(state, indent=2) + "\n", "utf-8")
    (home / ".gitignore").write_text("*\n", "utf-8")


def _outlines(home):
    """Return the size and the checksum of each token file: a flipped bit would be another word."""
    outlines = {}
    for side in SIDES:
        for kind in KINDS:
            size = checksum = 0
            with (home / f"{side}.{kind}").open("rb") as file:
                while block := file.read(1 << 20):
                    size, checksum = size + len(block), zlib.crc32(block, checksum)
            outlines[f"{side}.{kind}"] = [size, checksum]
    return outlines


def _checksum(state):
    return zlib.crc32(json.dumps(state, sort_keys=True).encode())


def _pieces(documents: Iterable[list[str]]) -> Iterator[list[list[str]]]:
    """Gather documents until there are enough of them for a worker."""
    piece: list[list[str]] = []
    size = 0
    for document in documents:
        piece.append(document)
        size += sum(map(len, document))
        if size >= PIECE:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def _tokenized(pieces, tokenizer, dtype, workers):
    if workers == 1:
        _start(tokenizer, dtype)
        yield from map(_work, pieces)
        return
    # Not forked: that would copy whatever other threads hold at this moment, locks included.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start, (tokenizer, dtype)) as pool:
        yield from bounded_map(pool, _work, pieces, 2 * workers)


_worker: dict = {}


def _start(tokenizer, dtype):
    _worker.update(tokenizer=tokenizer, dtype=dtype)
    if multiprocessing.parent_process() is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer


def _work(piece):
    """Tokenize documents: for each side the ids, and each document's length."""
    documents, share = piece
    sides: tuple[list, list] = ([], [])
    for document in documents:
        sides[is_held_out(document, share)].append(document)
    return [_joined(side) for side in sides]


def _joined(documents):
    parts = list(ids_of_documents(documents, _worker["tokenizer"]))
    ids = np.concatenate(parts) if parts else np.empty(0, np.int32)
    return ids.astype(_worker["dtype"]), np.array([len(part) for part in parts], np.int64)


def _map(home, side, state):
    def mapped(name, dtype):
        if not state["files"][name][0]:
            return np.empty(0, dtype)  # nothing can't be mapped
        return np.memmap(home / name, dtype, "r")

    counts = np.fromfile(home / f"{side}.counts", np.int64)
    return Tokens(mapped(f"{side}.ids", state["dtype"]), mapped(f"{side}.ends", np.int64), counts)

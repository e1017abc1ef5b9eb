"""Tokenize corpora larger than memory once, as a stream, to files in a cache."""

import glob
import hashlib
import io
import json
import logging
import os
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minibert.data.corpus import (
    DocumentEnd,
    DocumentPart,
    detect_document_end,
    ids_of_documents,
    is_drawn,
    is_held_out,
    read_document_parts,
)
from minibert.data.token_files import KINDS, NAMES, SIDES, TokenWriter
from minibert.io.atomic import atomic_dir, atomic_remove, path_in_errors, unused_name
from minibert.io.cache import cache_folder, clear_leftovers, trim
from minibert.io.json import read_json
from minibert.io.leftovers import hold, release
from minibert.io.number_files import Numbers, blocks, read_numbers
from minibert.io.text import READ_BYTES, require_file, sanitize
from minibert.runtime.threads import bounded_map
from minibert.tokenization import PreTrainedTokenizer

log = logging.getLogger("minibert")

FORMAT = 3  # the first part of a key
FORMER_FORMAT = 2  # hashed into the keys of version 1, which have no parts
STDIN = Path("-")
STATE = "tokens.json"
PIECE = 1 << 18  # characters per work item
SAMPLE = 200_000  # lines in which duplicates are counted
ATTEMPTS = 3  # to write a cache entry that can be read
LEFTOVERS = (".tokens-*.tmp", ".stdin.*.tmp", ".stdin-*.txt")  # of killed processes


@dataclass(frozen=True)
class Tokens:
    """The concatenated ids of documents; each document ends with [SEP].

    Attributes:
        stream (N,): all ids.
        ends (documents,): the end of each document in the stream.
        counts (V,): the number of occurrences of each token.
    """

    stream: Numbers
    ends: Numbers
    counts: np.ndarray


@dataclass(frozen=True)
class TokenizedCorpus:
    """The training tokens and the held-out tokens of a corpus, and statistics.

    Attributes:
        train, held_out: the tokens.
        key: a checksum of the texts, the tokenizer and the held-out fraction.
        repeated: the fraction of duplicates among the first lines.
        document_end: what ends a document.
    """

    train: Tokens
    held_out: Tokens
    key: str
    repeated: float
    document_end: DocumentEnd = "blank-lines"

    def with_cut(self, share: float, least: int) -> "TokenizedCorpus":
        """Return a corpus whose held-out part is cut from the end of the text.

        If both parts contain tokens, or the text has fewer than `2 * least`, return `self`.

        Args:
            share: fraction of the tokens that is held out.
            least: smallest number of tokens in a part.
        """
        whole = max(self.train, self.held_out, key=lambda part: len(part.stream))
        tokens = len(whole.stream)
        if min(len(self.train.stream), len(self.held_out.stream)) or tokens < 2 * least:
            return self
        cut = tokens - max(round(share * tokens), least)
        last = np.zeros_like(whole.counts)
        for block in blocks(whole.stream[cut:]):
            last += np.bincount(block, minlength=len(last))
        ends = np.asarray(whole.ends)
        is_first = ends <= cut
        return replace(
            self,
            train=Tokens(whole.stream[:cut], ends[is_first], whole.counts - last),
            held_out=Tokens(whole.stream[cut:], ends[~is_first] - cut, last),
        )


def expand(patterns: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Expand patterns like `texts/*.txt` into sorted paths (list); other paths are kept.

    Raises:
        FileNotFoundError: a pattern matches no file.
    """
    paths: list[Path] = []
    for pattern in map(str, patterns):
        if Path(pattern).exists() or not glob.has_magic(pattern):
            paths.append(Path(pattern))
            continue
        # Path.glob refuses absolute patterns.
        found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
        if not found:
            raise FileNotFoundError(f"{pattern}: no file fits this pattern")
        paths += map(Path, found)
    return paths


def tokenize_corpus(
    paths: Sequence[str | os.PathLike[str]],
    tokenizer: PreTrainedTokenizer,
    *,
    held_out: float | Sequence[str | os.PathLike[str]] = 0.0,
    folder: Path | None = None,
    workers: int = 1,
    known: object = None,
    document_end: DocumentEnd | None = "blank-lines",
) -> TokenizedCorpus:
    """Tokenize text files, or read the cached tokens of the same texts and tokenizer.

    The texts are read as a stream and tokenized by parallel processes, so the memory does not
    depend on their size. The result does not depend on the number of processes. Any number of
    processes and threads may share the folder. Without a folder that can be written, as on a full
    disk, the tokens are kept in memory, and a warning says so.

    The key is a checksum of the content, length, order and role of each text, of the held-out
    fraction and of the tokenizer, but not of the names of the files. It is computed before a text
    is tokenized, and again from the bytes that are tokenized, so a text that changes meanwhile is
    refused.

    Args:
        paths (sequence of paths): text files, also compressed by gzip; `-` is standard input.
        tokenizer (PreTrainedTokenizer): makes the ids.
        held_out (float or sequence of paths): fraction of the documents that is held out, or the
            held-out files.
        folder (path): the folder of the cache; None: the user's cache, which is private and has at
            most `CACHE_BYTES`.
        workers (int): number of processes; more than one requires an importable main module.
        known (str): the key of an earlier call. If version 1 computed it from the same texts, it is
            returned as the key, so a run of version 1 can be resumed.
        document_end (str): what ends a document: "blank-lines" or "lines"; None: as in the run
            whose key is known, or detected.

    Raises:
        OSError: a file can't be read.
        ValueError: a file is not text, or it changed while it was tokenized; the message names the
            file and the line.
    """
    problem: OSError | None = None
    is_bounded = folder is None  # in another folder, files of such names may be the caller's
    try:
        folder = folder or cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        folder, problem = None, error
    with _spooled(paths, folder) as texts:
        others = [] if isinstance(held_out, float) else list(map(Path, held_out))
        share = held_out if isinstance(held_out, float) else 0.0
        texts, others = ([_outlined(path) for path in side] for side in (texts, others))
        if document_end is None:
            former = known == _key(texts, others, share, tokenizer, "blank-lines")
            is_older = isinstance(known, str) and (former or "-" not in known)
            paths = [text.path for text in texts]
            document_end = "blank-lines" if is_older else detect_document_end(paths)
        key = _key(texts, others, share, tokenizer, document_end)
        work = (texts, others, share, tokenizer, workers, document_end)
        found = None
        if folder is not None:
            try:
                found = _cached(folder / f"tokens-{key}", work)
                if is_bounded:
                    trim(folder, folder / f"tokens-{key}")
            except OSError as error:
                problem = error
        if found is None:
            # Not before, because the error may be one of the texts, which is raised once more.
            found = _in_memory(*work)
            log.warning(
                "warning: the cache of tokens can't be used (%s); they are kept in memory, and the "
                "next run makes them again", sanitize(problem),
            )  # fmt: skip
        if isinstance(known, str) and "-" not in known:  # a key of version 1
            former = _former_key(texts, others, share, tokenizer)
            key = known if former == known else key
    train, held, state = found
    return TokenizedCorpus(train, held, key, state["repeated"], document_end)


def _cached(home, work):
    """Return the content of a cache entry, which is written if it is missing or damaged.

    Raises:
        OSError: it can't be written; or a text can't be read.
        ValueError: a text is not one, or changed.
    """
    found = _opened(home)
    for _ in range(ATTEMPTS):  # other processes may write or remove it at any time
        if found is None:
            clear_leftovers(home.parent, LEFTOVERS)
            with suppress(FileExistsError), atomic_dir(home) as temporary:
                _write(temporary, *work)
            found = _opened(home)
    if found is None:
        raise OSError(f"{home}: damaged again after each write")
    with suppress(OSError):  # of a folder that can only be read
        os.utime(home)  # it was used now; see `trim`
    return found


def files_checksum(tokenizer: PreTrainedTokenizer) -> str:
    """Return a checksum of a tokenizer's files (str)."""
    digest = hashlib.blake2b(digest_size=8)
    with tempfile.TemporaryDirectory() as written:
        tokenizer.save_pretrained(written)
        for path in sorted(Path(written).iterdir()):
            digest.update(path.read_bytes())
    return digest.hexdigest()


@contextmanager
def _spooled(paths, folder):
    """Yield the paths, with a copy of standard input, which is read for the key and the tokens."""
    texts = [Path(path) for path in paths]
    if STDIN not in texts:
        yield texts
        return
    spool, file = _new_spool(folder)
    try:
        with path_in_errors(spool), file:  # closing it writes, too
            if sys.stdin is not None:  # not closed
                shutil.copyfileobj(sys.stdin.buffer, file)
        if not spool.stat().st_size:
            raise ValueError("standard input: expected lines of text, got none")
        yield [spool if path == STDIN else path for path in texts]
    except ValueError as error:
        if str(spool) not in str(error):
            raise
        raise ValueError(str(error).replace(str(spool), "standard input")) from None
    finally:
        release(spool)
        spool.unlink(missing_ok=True)


def _new_spool(folder):
    """Return a new file for this user only, in the folder or that of temporary files, opened."""
    for place in [folder, None] if folder else [None]:
        spool = unused_name((place or Path(tempfile.gettempdir())) / "stdin")
        with suppress(OSError) if place else nullcontext():
            file = open(spool, "xb", opener=partial(os.open, mode=0o600))  # noqa: SIM115
            break
    hold(spool)
    return spool, file


class _Text(NamedTuple):
    """The size and the checksum of a text file when the key was computed."""

    path: Path
    size: int
    checksum: str


class _Outline:
    """Computes the size and the checksum of a file block by block."""

    def __init__(self):
        self.size, self.digest = 0, hashlib.blake2b(digest_size=16)

    def update(self, block):
        self.size += len(block)
        self.digest.update(block)

    def of(self, path):
        return _Text(path, self.size, self.digest.hexdigest())


def _outlined(path, *others):
    """Read a file once; return its size and checksum, and update other digests."""
    require_file(path)
    outline = _Outline()
    with path_in_errors(path), path.open("rb") as file:
        while block := file.read(READ_BYTES):
            for each in (outline, *others):
                each.update(block)
    return outline.of(path)


def _documents(texts, document_end):
    """Yield the documents of texts in parts; raise ValueError if a text has changed."""
    for text in texts:
        outline = _Outline()
        yield from read_document_parts([text.path], outline.update, document_end)
        _refuse_changed(text, outline.of(text.path))


def _refuse_changed(before, now):
    if now != before:
        raise ValueError(
            f"{before.path}: changed while it was tokenized; start again when it is complete"
        )


def _key(texts, others, share, tokenizer, document_end):
    sides = [[(text.size, text.checksum) for text in side] for side in (texts, others)]
    content = repr((sides, share, files_checksum(tokenizer)))
    if document_end != "blank-lines":  # which was the only way when the first keys were stored
        content += document_end
    return f"{FORMAT}-{hashlib.blake2b(content.encode(), digest_size=16).hexdigest()}"


def _former_key(texts, others, share, tokenizer):
    """Return the key that version 1 computed from the same texts (str)."""
    digest = hashlib.blake2b(digest_size=8)
    digest.update(repr((FORMER_FORMAT, len(texts), share, files_checksum(tokenizer))).encode())
    for text in [*texts, *others]:
        _refuse_changed(text, _outlined(text.path, digest))
        digest.update(b"end of file")
    return digest.hexdigest()


def _opened(home):
    """Open the token files and check their content; remove damaged files.

    The open files are checked, not the names, so the tokens stay valid if another process removes
    the files.

    Returns:
        the tokens of both sides, and the state; None if they are missing or damaged.
    """
    if not home.exists():
        return None
    try:
        state = read_json(home / STATE)
        own = state.pop("checksum")
        if own == _checksum(state):
            return *(_read(home, side, state) for side in SIDES), state
    except (OSError, ValueError, KeyError, TypeError):
        pass
    if not home.exists():  # another process removed it meanwhile
        return None
    log.warning("%s: damaged, the text is tokenized again", home)
    atomic_remove(home)
    return None


def _write(home, texts, others, share, tokenizer, workers, document_end):
    """Tokenize texts into the files of a cache entry."""
    outlines = {name: [0, 0] for name in NAMES}  # the length and the checksum of each file

    def put(name, array):
        data = array.tobytes()
        opened[name].write(data)
        length, checksum = outlines[name]
        outlines[name] = [length + len(array), zlib.crc32(data, checksum)]

    with ExitStack() as stack:
        opened = {name: stack.enter_context((home / name).open("xb")) for name in NAMES}
        parts = stack.enter_context(tempfile.TemporaryFile(dir=home))
        state = _tokenize(put, parts, texts, others, share, tokenizer, workers, document_end)
    state["files"] = outlines
    state["checksum"] = _checksum(state)
    (home / STATE).write_text(json.dumps(state, indent=2) + "\n", "utf-8")
    (home / ".gitignore").write_text("*\n", "utf-8")


def _in_memory(texts, others, share, tokenizer, workers, document_end):
    """Tokenize texts without a cache; return what `_opened` does."""
    found: dict[str, list] = {name: [] for name in NAMES}
    state = _tokenize(
        lambda name, array: found[name].append(array), io.BytesIO(),
        texts, others, share, tokenizer, workers, document_end,
    )  # fmt: skip
    arrays = {name: np.concatenate(found[name] or [np.empty(0, np.int64)]) for name in NAMES}
    for side in SIDES:  # one without texts has no array that tells its type
        ids = f"{side}.ids"
        arrays[ids] = arrays[ids].astype(state["dtype"], copy=False)
    sides = (Tokens(*(arrays[f"{side}.{kind}"] for kind in KINDS)) for side in SIDES)
    return *sides, state


def _tokenize(put, parts, texts, others, share, tokenizer, workers, document_end):
    """Tokenize texts, give the arrays to a `TokenWriter` of `put` and `parts`; return the state."""
    dtype = np.dtype(np.uint16 if len(tokenizer) <= 1 << 16 else np.uint32)
    writer = TokenWriter(put, parts, dtype, len(tokenizer))
    seen, lines = set(), [0, 0]  # checksums of the first lines; their number, and of duplicates

    def sampled(parts):
        for part in parts:
            for line in part.texts if lines[0] < SAMPLE else ():
                mark = zlib.crc32(line.encode())
                lines[0] += 1
                lines[1] += mark in seen
                seen.add(mark)
            yield part

    for files, fixed in ((texts, None), (others, 1.0)):
        documents = sampled(_documents(files, document_end))
        pieces = _pieces(documents, share if fixed is None else fixed)
        for sides, part in _tokenized(pieces, tokenizer, dtype, workers):
            writer.add(dict(zip(SIDES, sides, strict=True)))
            if part is not None:
                writer.add_part(*part)
    writer.finish()
    return {"dtype": dtype.name, "repeated": lines[1] / max(lines[0], 1)}


def _checksum(state):
    return zlib.crc32(json.dumps(state, sort_keys=True).encode())


class _Piece(NamedTuple):
    """A work item: whole documents, and the part of a long document that follows them, if any."""

    documents: list[list[str]]
    share: float  # of the documents that is held out
    part: DocumentPart | None = None


def _pieces(parts: Iterable[DocumentPart], share: float) -> Iterator[_Piece]:
    """Group documents into work items; a part of a long document ends one."""
    documents: list[list[str]] = []
    size = 0
    is_long = False  # whether the next part continues a document
    for part in parts:
        is_long = is_long or not part.is_last
        if not is_long:
            documents.append(part.texts)
            size += sum(map(len, part.texts))
        if is_long or size >= PIECE:
            yield _Piece(documents, share, part if is_long else None)
            documents, size = [], 0
        is_long = not part.is_last
    if documents:
        yield _Piece(documents, share)


def _tokenized(pieces, tokenizer, dtype, workers):
    if workers == 1:
        for piece in pieces:
            yield _sides(piece, tokenizer, dtype)
        return
    # Imported here, because this costs every program that trains 2 MB and few need workers.
    from minibert.runtime.processes import Workers

    with Workers(workers, _start, tokenizer, dtype) as pool:
        yield from bounded_map(pool, _work, pieces, 2 * workers)


# Tokenizer and dtype of a worker process. Threads never use it, because they would share it.
_worker: dict[str, Any] = {}


def _start(tokenizer, dtype):
    _worker.update(tokenizer=tokenizer, dtype=dtype)


def _work(piece):
    return _sides(piece, **_worker)


def _sides(piece, tokenizer, dtype):
    """Tokenize a work item.

    Returns:
        the ids and the lengths of the whole documents, for each side; and the ids of the part of a
        long document with its side, which is None before the last part.
    """
    sides: tuple[list, list] = ([], [])
    for document in piece.documents:
        sides[is_held_out(document, piece.share)].append(document)
    found = [_joined(side, tokenizer, dtype) for side in sides]
    if piece.part is None:
        return found, None
    ids, _ = _joined([piece.part.texts], tokenizer, dtype)
    if not piece.part.is_last:
        return found, (ids[:-1], None)  # without the [SEP] that ends a document
    return found, (ids, SIDES[is_drawn(piece.part.checksum, piece.share)])


def _joined(documents, tokenizer, dtype):
    parts = list(ids_of_documents(documents, tokenizer))
    ids = np.concatenate(parts) if parts else np.empty(0, np.int32)
    return ids.astype(dtype), np.array([len(part) for part in parts], np.int64)


def _read(home, side, state):
    """Return one side's tokens; raise OSError or ValueError if a file is missing or damaged."""
    dtypes = state["dtype"], np.int64, np.int64
    stream, ends, counts = (
        read_numbers(home / name, dtype, *state["files"][name])
        for name, dtype in zip((f"{side}.{kind}" for kind in KINDS), dtypes, strict=True)
    )
    return Tokens(stream, ends, np.array(counts))

"""How long does a search of a vector store take, compared with NumPy and its users?

A store of a million random unit vectors of 384 numbers is written once, in `$TMPDIR`. Each round
searches it with new queries for the ten nearest vectors, one query and then 64 at a time, while the
file is in the page cache. All sides read the same memory-mapped file and must find the same rows.
minibert searches exactly, in blocks; NumPy multiplies and sorts all cosines; sentence-transformers
runs `semantic_search` and scikit-learn `NearestNeighbors(algorithm="brute", metric="cosine")`, both
with their defaults. Last, the memory of a new process that searches: without the mapped file, whose
pages the system may drop.

    pip install scikit-learn sentence-transformers
    python -m benchmarks.search
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.harness import (
    alternate,
    elapsed,
    options,
    parse,
    ratios,
    report,
    spread,
    table,
    workers,
)
from benchmarks.peers import about_numpy, use_torch
from minibert.inference.vector_store import VectorStore
from minibert.runtime.threads import usable_cores

COUNT, QUICK_COUNT, WIDTH, TOP = 1_000_000, 20_000, 384, 10
CHUNK = 20_000  # vectors that are written at a time
BATCHES = {1: "one query", 64: "64 queries"}  # queries at a time
HEADS = ("job", "side", "seconds", "minibert / side")
MEMORY = """
import re
from pathlib import Path
from minibert.inference.vector_store import VectorStore
from benchmarks.search import queries
def peak(field):
    return int(re.search(field + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
store = VectorStore.open({folder!r})
before = peak("RssAnon")
store.search(queries({batch}, 0), {top})
print(before, peak("RssAnon"))
"""


def main() -> None:
    """Write a store, search it on all sides alternately, and print the tables."""
    parser = options(__doc__)
    parser.add_argument("--count", type=int, help="vectors (default: a million; --quick: 20,000)")
    parser.add_argument("--threads", type=int, help="of every side (default: one per core)")
    o = parse(parser, rounds=7)
    count, threads = o.count or (QUICK_COUNT if o.quick else COUNT), o.threads or usable_cores()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "vectors.store"
        write_store(folder, count)
        jobs = {side: (search, side, folder, threads) for side in SIDES}
        with workers(jobs) as (running, missing):
            check_equal({side: worker.ready[1] for side, worker in running.items()})
            about = {side: worker.ready[0] for side, worker in running.items()} | missing
            found = alternate(o, running)
        memory = [(batch, *map(round, memory_of(folder, batch))) for batch in BATCHES]
    note = (
        f"{count:,} random vectors of {WIDTH} numbers, {TOP} nearest, file in the page cache; the "
        "ratio is one of speeds."
    )
    rows = []
    for job, name in enumerate(BATCHES.values()):
        for side in found:
            seconds, own = ([each[job] for each in found[one]] for one in (side, "minibert"))
            ratio = "" if side == "minibert" else spread(ratios(seconds, own))
            rows.append((name, side, spread(seconds, ",.3f"), ratio))
    report(
        o,
        "Searching a store of vectors",
        table(HEADS, rows),
        note,
        "Memory of minibert's process before and after a search, without the mapped file:",
        table(("queries", "MiB before", "MiB after"), memory),
        table(("side", ""), about.items()),
    )


def write_store(folder: Path, count: int) -> None:
    """Write a store of random vectors."""
    rng, store = np.random.default_rng(0), VectorStore.create(folder, width=WIDTH)
    for start in range(0, count, CHUNK):
        size = min(CHUNK, count - start)
        vectors = rng.standard_normal((size, WIDTH), dtype=np.float32)
        store.append([f"text {i}" for i in range(start, start + size)], vectors)


def queries(batch: int, seed: int) -> np.ndarray:
    """Return random unit vectors (batch, D)."""
    vectors = np.random.default_rng((1, seed)).standard_normal((batch, WIDTH), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def check_equal(found: dict[str, np.ndarray]) -> None:
    """Check that all sides found the same rows (Q, K)."""
    first = next(iter(found.values()))
    for side, ids in found.items():
        assert (ids == first).all(), f"{side}: expected the rows of the others, got {ids}"


def search(side: str, folder: Path, threads: int) -> Iterator:
    """One side: yield a description and the rows it finds, then the seconds of each job."""
    about, run = SIDES[side](folder, threads)
    found = [np.asarray(run(queries(batch, 0))) for batch in BATCHES]  # also a warm-up
    yield about, np.concatenate(found)
    for seed in range(1, sys.maxsize):
        yield [elapsed(partial(run, queries(batch, seed))) for batch in BATCHES]


def ours(folder: Path, threads: int) -> tuple[str, Callable]:
    """minibert: return a description and the function that finds rows (Q, K)."""
    store = VectorStore.open(folder)
    return about_numpy(threads), lambda vectors: store.search(vectors, TOP, threads=threads)[1]


def on_numpy(folder: Path, threads: int) -> tuple[str, Callable]:
    """NumPy: return as `ours`; `argsort` is the usual line, and BLAS has all threads."""
    rows = np.load(folder / "vectors.npy", mmap_mode="r")

    def run(vectors: np.ndarray) -> np.ndarray:
        return np.stack([np.argsort(-(rows @ vector))[:TOP] for vector in vectors])

    return f"NumPy {np.__version__}, BLAS with {threads} threads", run


def on_torch(folder: Path, threads: int) -> tuple[str, Callable]:
    """sentence-transformers: return as `ours`."""
    torch = use_torch(threads)
    import sentence_transformers
    from sentence_transformers.util import semantic_search

    rows = torch.from_numpy(np.load(folder / "vectors.npy", mmap_mode="c"))

    def run(vectors: np.ndarray) -> list[list[int]]:
        found = semantic_search(torch.from_numpy(vectors), rows, top_k=TOP)
        return [[hit["corpus_id"] for hit in hits] for hits in found]

    version = sentence_transformers.__version__
    return f"sentence-transformers {version}, PyTorch {torch.__version__}, {threads} threads", run


def on_sklearn(folder: Path, threads: int) -> tuple[str, Callable]:
    """scikit-learn: return as `ours`."""
    import sklearn
    from sklearn.neighbors import NearestNeighbors

    rows = np.load(folder / "vectors.npy", mmap_mode="r")
    fitted = NearestNeighbors(n_neighbors=TOP, algorithm="brute", metric="cosine").fit(rows)
    about = f"scikit-learn {sklearn.__version__}, BLAS with {threads} threads"
    return about, lambda vectors: fitted.kneighbors(vectors, return_distance=False)


SIDES = {
    "minibert": ours,
    "NumPy": on_numpy,
    "sentence-transformers": on_torch,
    "scikit-learn": on_sklearn,
}


def memory_of(folder: Path, batch: int) -> tuple[float, float]:
    """Return the MiB of a new process that are not mapped files, before and after a search."""
    code = MEMORY.format(folder=str(folder), batch=batch, top=TOP)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(float, done.stdout.split())
    return before, after


if __name__ == "__main__":
    main()

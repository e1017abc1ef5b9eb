"""How fast is the tokenizer, compared with Hugging Face's in Rust?

Encodes English text to ids, to ids with offsets as arrays, and to encodings with offsets as Python
lists, with a cold and a warm cache; learns a vocabulary; and measures the peak memory for a long
file. The same for ids with the tokenizers of the relatives of BERT, whose peer is `encode_batch`.
The two sides alternate in one process, and both may use all cores (minibert uses one, the
others all). CPU time is that of all threads, which other processes hardly change. Without offsets,
the peer is `encode_batch_fast`; with offsets `encode_batch`, which keeps them in Rust until they
are read. tokie, also in Rust, is a second peer for ids if it is installed.

The text is the documentation of all installed packages, each paragraph once, unless files are
given; the vocabulary is that of a real checkpoint, unless another one is given.

    pip install torch==2.13.0 && pip install '.[parity]' tokie
    python -m benchmarks.tokenizer
"""

import gc
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import tokenizers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from benchmarks.harness import (
    busy_share,
    clocks,
    elapsed,
    options,
    parse,
    ratios,
    report,
    spread,
    table,
)
from benchmarks.texts import FOLDER, installed_documents, minilm
from benchmarks.tokenizer_kinds import Kind, kinds
from minibert import WordPieceTokenizer

SIZE = 8192  # of a learned vocabulary
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TITLE = "The tokenizer, compared with Hugging Face's in Rust"
HEADS = ("job", "minibert, MB/s", "Rust, MB/s", "minibert / Rust", "of CPU time")
METHOD = "Medians, with minimum and maximum; both sides alternate in one process, {} rounds."
# Runs a command and prints its own peak resident memory in KiB.
PEAK = r"""
import re, sys
from minibert.cli import main
main(sys.argv[1:])
print(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
"""


class Job(NamedTuple):
    """The same work on both sides.

    Attributes:
        name: what it does.
        megabytes: size of its text.
        ours: minibert's function.
        theirs: that of `tokenizers`, or of another peer.
        before: called before each run of `ours`, without counting its time.
        before_theirs: the same before each run of `theirs`.
    """

    name: str
    megabytes: float
    ours: Callable[[], object]
    theirs: Callable[[], object]
    before: Callable[[], object] = gc.collect
    before_theirs: Callable[[], object] = gc.collect


def main() -> None:
    """Run all jobs alternately and print the table."""
    parser = options(__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="English text, one paragraph per line")
    parser.add_argument("--vocabulary", type=Path, help="vocab.txt (default: all-MiniLM-L6-v2's)")
    parser.add_argument(
        "--megabytes", type=float, help="of text to encode (default: 10; --quick: 0.5)"
    )
    parser.add_argument(
        "--to-learn-from",
        type=float,
        help="megabytes of text for the vocabulary (default: 4; --quick: 1)",
    )
    parser.add_argument(
        "--relatives", action="store_true", help="only those of the relatives of BERT"
    )
    o = parse(parser)
    texts = english(o.files)
    encoded = take(texts, o.megabytes or (0.5 if o.quick else 10))
    learned = take(texts[::3], o.to_learn_from or (1 if o.quick else 4))
    size = f"{megabytes(texts):.1f} MB of English in {len(texts):,} paragraphs"
    peer = f"Rust: tokenizers {tokenizers.__version__}"
    relatives = (job for kind in kinds(learned) for job in of_kind(kind, encoded))
    if o.relatives:
        rows = [compare(o, job) for job in relatives]
        report(o, TITLE, table(HEADS, rows), f"{size}. {peer}.", method=METHOD)
        return
    pieces = lines(o.vocabulary or minilm() / "vocab.txt")
    jobs = [*encoding(pieces, encoded), *with_tokie(pieces, encoded), *learning(learned)]
    rows = [compare(o, job) for job in chain(jobs, relatives)]
    note = f"{size}; {len(pieces):,} pieces. {peer}; it learns by frequency only."
    peaks = memory(pieces, texts[:: 20 if o.quick else 1])
    report(o, TITLE, table(HEADS, rows), note, "\n".join(peaks), method=METHOD)


def encoding(pieces: list[str], texts: list[str]) -> Iterator[Job]:
    """Yield the jobs that encode texts."""
    theirs, tokenizer = in_rust(pieces), WordPieceTokenizer(pieces)
    for text in texts[:: max(len(texts) // 1000, 1)]:
        assert tokenizer.encode(text).input_ids == theirs.encode(text).ids

    def rust_ids():
        theirs.encode_batch_fast(texts)  # all at once is a tenth faster than in batches of 1,000

    def rust():
        theirs.encode_batch(texts)

    def renew():
        nonlocal tokenizer
        tokenizer = WordPieceTokenizer(pieces)
        gc.collect()

    def ids():
        tokenizer.ids_of_batch(texts)

    def single_ids():
        for text in texts:
            tokenizer.ids_of(text)

    def arrays():
        tokenizer.tokens_of_batch(texts)

    def encodings():
        for text in texts:
            tokenizer.encode(text)

    for name, run, peer in (
        ("ids", ids, rust_ids),
        ("ids text by text", single_ids, rust_ids),
        ("ids with offsets as arrays", arrays, rust),
        ("encodings with offsets", encodings, rust),
    ):
        yield Job(f"{name}, cold cache", megabytes(texts), run, peer, renew)
        yield Job(f"{name}, warm cache", megabytes(texts), run, peer)


def of_kind(kind: Kind, texts: list[str]) -> Iterator[Job]:
    """Yield the jobs that encode texts to ids by a tokenizer of a relative of BERT."""
    tokenizer, theirs = kind.make(), kind.theirs
    for text in texts[:: max(len(texts) // 1000, 1)]:
        assert tokenizer.encode(text).input_ids == theirs.encode(text).ids

    def renew():
        nonlocal tokenizer
        tokenizer = kind.make()
        gc.collect()

    def ids():
        tokenizer.ids_of_batch(texts)

    def rust():
        theirs.encode_batch(texts)

    yield Job(f"{kind.name}, cold cache", megabytes(texts), ids, rust, renew)
    yield Job(f"{kind.name}, warm cache", megabytes(texts), ids, rust)


def with_tokie(pieces: list[str], texts: list[str]) -> Iterator[Job]:
    """Yield the jobs that encode texts without special tokens to ids, if tokie is installed."""
    if not find_spec("tokie"):
        return
    import tokie

    plain = [text for text in texts if not any(token in text for token in SPECIAL)]
    ours = theirs = None
    folder = FOLDER / "tokie"  # the jobs run after this function has returned
    WordPieceTokenizer(pieces).save_pretrained(folder)

    def renew():
        nonlocal ours
        ours = WordPieceTokenizer(pieces)
        gc.collect()

    def renew_tokie():
        nonlocal theirs
        theirs = tokie.Tokenizer.from_json(f"{folder}/tokenizer.json")
        gc.collect()

    def ids():
        ours.ids_of_batch(plain)

    def tokie_ids():
        theirs.encode_batch(plain, add_special_tokens=False)

    renew(), renew_tokie()
    for text in plain[:: max(len(plain) // 1000, 1)]:
        assert ours.ids_of(text).tolist() == theirs.encode(text, add_special_tokens=False).ids
    size = megabytes(plain)
    yield Job("ids, cold cache; the peer is tokie", size, ids, tokie_ids, renew, renew_tokie)
    yield Job("ids, warm cache; the peer is tokie", size, ids, tokie_ids)


def learning(texts: list[str]) -> Iterator[Job]:
    """Yield the jobs that learn a vocabulary."""
    how = {"vocab_size": SIZE, "special_tokens": SPECIAL, "show_progress": False}

    def rust():
        in_rust(SPECIAL).train_from_iterator(
            texts, trainers.WordPieceTrainer(min_frequency=2, **how)
        )

    for score in "frequency", "likelihood":

        def learn(score=score):
            WordPieceTokenizer.train(texts, SIZE, score=score)

        yield Job(f"a vocabulary of {SIZE:,} by {score}", megabytes(texts), learn, rust)


def megabytes(texts: list[str]) -> float:
    """Return the size of texts in UTF-8 (float)."""
    return sum(len(text.encode()) for text in texts) / 1e6


def lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 file (list of str)."""
    return path.read_text("utf-8").removesuffix("\n").split("\n")


def english(files: list[Path]) -> list[str]:
    """Return paragraphs of the files, or of the installed documentation (list of str)."""
    if files:
        return [line for file in files for line in lines(file) if line.strip()]
    return [text for document in installed_documents() for text in document.paragraphs]


def take(texts: list[str], megabytes: float) -> list[str]:
    """Return the first texts up to a size (list of str)."""
    taken, size = [], 0
    for text in texts:
        size += len(text.encode())
        if size > megabytes * 1e6:
            return taken
        taken.append(text)
    raise SystemExit(f"expected at least {megabytes} MB of English, got {size / 1e6:.1f}")


def in_rust(pieces: list[str]) -> Tokenizer:
    """Return Hugging Face's tokenizer with these pieces."""
    tokenizer = Tokenizer(
        models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    cls, sep = (("[CLS]", pieces.index("[CLS]")), ("[SEP]", pieces.index("[SEP]")))
    tokenizer.post_processor = processors.BertProcessing(sep, cls)
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def compare(o, job: Job) -> tuple[str, ...]:
    """Run a job on both sides alternately, after a warm-up; return its row of the table."""
    sides = {"ours": (job.ours, job.before), "theirs": (job.theirs, job.before_theirs)}
    speeds: dict[str, list[float]] = {side: [] for side in sides}
    cpu: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(o.rounds + 1):
        for side, (run, prepare) in sides.items():
            prepare()
            before, start = clocks(), time.process_time()
            seconds = elapsed(run)
            if number:  # the first round is a warm-up
                cpu[side].append(time.process_time() - start)
                speeds[side].append(job.megabytes / seconds)
                o.others.append(busy_share(before))
    return (
        job.name,
        *map(spread, speeds.values()),
        spread(ratios(speeds["ours"], speeds["theirs"])),
        spread(ratios(cpu["theirs"], cpu["ours"])),
    )


def memory(pieces: list[str], texts: list[str]) -> Iterator[str]:
    """Yield the peak memory of `minibert tokenize` for a file and one of four times its size."""
    with tempfile.TemporaryDirectory() as folder:
        WordPieceTokenizer(pieces).save_pretrained(folder)
        path = Path(folder) / "long.txt"
        for times in 1, 4:
            with path.open("w", encoding="utf-8") as file:
                for number in range(times):  # other words each time, to fill the caches
                    file.writelines(f"{text} {text[::-1]}{number}\n" for text in texts)
            command = [sys.executable, "-c", PEAK, "tokenize", folder, "--as", "ids"]
            command += ["--file", path]
            output = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
            run = subprocess.run(command, check=True, **output)
            peak = int(run.stderr) / 1024
            size = path.stat().st_size / 1e6
            yield f"A file of {size:,.0f} MB to ids: peak memory {peak:.0f} MiB."


if __name__ == "__main__":
    main()

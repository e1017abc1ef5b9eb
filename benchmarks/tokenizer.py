"""How fast is the tokenizer, compared with Hugging Face's in Rust, and with tokie, also in Rust?

Encodes English text to ids, to ids with offsets as arrays, and to encodings with offsets as Python
lists, with a cold and a warm cache; learns a vocabulary; and measures the peak memory for a long
file. The two sides alternate, and both may use all cores (minibert uses one, the others all).
Prints the median times of the rounds, and the ratio of the two in each round: of the time that
passed, and of the CPU time of all threads, which other processes hardly change.

Without offsets, the peer is `encode_batch_fast`; with offsets `encode_batch`, which keeps them in
Rust until they are read.

The text is the documentation of all installed packages, each paragraph once, unless files are
given; the vocabulary is that of a real checkpoint, unless another one is given.

    pip install torch==2.13.0 && pip install '.[parity]'
    pip install tokie==0.1.4  # optional
    python -m benchmarks.tokenizer
"""

import argparse
import gc
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from benchmarks.harness import ratios, spread
from benchmarks.texts import minilm
from minibert import WordPieceTokenizer
from minibert.data.builtin.docstrings import read_documents

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
# Runs a command and prints its own peak resident memory in KiB.
PEAK = r"""
import re, sys
from minibert.cli import main
main(sys.argv[1:])
print(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
"""


def main():
    """Run the rounds and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="English text, one paragraph per line")
    parser.add_argument("--vocabulary", type=Path, help="vocab.txt (default: all-MiniLM-L6-v2's)")
    parser.add_argument(
        "--megabytes", type=float, default=10, help="of text to encode (default: %(default)s)"
    )
    parser.add_argument(
        "--to-learn-from",
        type=float,
        default=4,
        help="megabytes of text for the vocabulary (default: %(default)s)",
    )
    parser.add_argument("--rounds", type=int, default=5)
    o = parser.parse_args()
    texts = english(o.files)
    pieces = lines(o.vocabulary or minilm() / "vocab.txt")
    size = sum(len(text.encode()) for text in texts) / 1e6
    encoded, learned = take(texts, o.megabytes), take(texts[::3], o.to_learn_from)
    print(f"{size:.1f} MB of English, {len(texts):,} paragraphs; {len(pieces):,} pieces")

    theirs, ours = in_rust(pieces), WordPieceTokenizer(pieces)
    for text in encoded[:: len(encoded) // 1000]:
        assert ours.encode(text).input_ids == theirs.encode(text).ids

    def rust_ids():
        theirs.encode_batch_fast(encoded)  # all at once is a tenth faster than in batches of 1,000

    def rust():
        theirs.encode_batch(encoded)

    tokenizer = None

    def fresh():
        nonlocal tokenizer
        tokenizer = WordPieceTokenizer(pieces)

    def ids():
        tokenizer.ids_of_batch(encoded)

    def single_ids():
        for text in encoded:
            tokenizer.ids_of(text)

    def arrays():
        tokenizer.tokens_of_batch(encoded)

    def encodings():
        for text in encoded:
            tokenizer.encode(text)

    for name, job, peer in (
        ("ids", ids, rust_ids),
        ("ids text by text", single_ids, rust_ids),
        ("ids with offsets as arrays", arrays, rust),
        ("encodings with offsets", encodings, rust),
    ):
        for start in "cold", "warm":
            before = {job: fresh} if start == "cold" else {}
            compare(f"{name}, {start} cache", job, peer, o.rounds, before)
    against_tokie(pieces, encoded, o.rounds)

    trainer = {"vocab_size": 8192, "special_tokens": SPECIAL, "show_progress": False}

    def learn_in_rust():
        in_rust(SPECIAL).train_from_iterator(
            learned, trainers.WordPieceTrainer(min_frequency=2, **trainer)
        )

    for score in "frequency", "likelihood":

        def learn(score=score):
            WordPieceTokenizer.train(learned, 8192, score=score)

        compare(f"a vocabulary of 8,192 by {score}", learn, learn_in_rust, o.rounds)
    memory(pieces, texts)


def lines(path):
    """Return the lines of a UTF-8 file (list of str)."""
    return path.read_text("utf-8").removesuffix("\n").split("\n")


def english(files):
    """Return paragraphs of the files, or of the installed documentation (list of str)."""
    if files:
        return [line for file in files for line in lines(file) if line.strip()]
    site, stdlib = (Path(sysconfig.get_paths()[name]) for name in ("purelib", "stdlib"))
    packages = sorted(path.parent for path in site.glob("*/__init__.py"))
    documents = read_documents([("", stdlib), *((path.name, path) for path in packages)])
    return [text for document in documents for text in document.paragraphs]


def take(texts, megabytes):
    """Return the first texts up to a size (list of str)."""
    taken, size = [], 0
    for text in texts:
        size += len(text.encode())
        if size > megabytes * 1e6:
            return taken
        taken.append(text)
    raise SystemExit(f"expected at least {megabytes} MB of English, got {size / 1e6:.1f}")


def in_rust(pieces):
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


def against_tokie(pieces, encoded, rounds):
    """Compare the ids with tokie's, cold and warm, if it is installed."""
    if not find_spec("tokie"):
        print("tokie is left out: it is not installed")
        return
    import tokie

    texts = [text for text in encoded if not any(token in text for token in SPECIAL)]
    ours = theirs = None
    with tempfile.TemporaryDirectory() as folder:
        WordPieceTokenizer(pieces).save_pretrained(folder)

        def fresh():
            nonlocal ours
            ours = WordPieceTokenizer(pieces)

        def fresh_tokie():
            nonlocal theirs
            theirs = tokie.Tokenizer.from_json(f"{folder}/tokenizer.json")

        def ids():
            return ours.ids_of_batch(texts)

        def tokie_ids():
            return theirs.encode_batch(texts, add_special_tokens=False)

        fresh(), fresh_tokie()
        for text in texts[:: len(texts) // 1000]:
            assert ours.ids_of(text).tolist() == theirs.encode(text, add_special_tokens=False).ids
        for start in "cold", "warm":
            before = {ids: fresh, tokie_ids: fresh_tokie} if start == "cold" else {}
            compare(f"ids, {start} cache", ids, tokie_ids, rounds, before, "tokie")


def compare(name, job, peer, rounds, before=(), label="Rust"):
    """Run two jobs alternately; print their median times and the ratios of the two.

    Args:
        name (str): name of the job.
        job, peer (function): the two jobs.
        rounds (int): number of rounds, without a first one as a warm-up.
        before (dict): by job, a function that is called before each round and not measured.
        label (str): name of the peer.
    """
    clocks = {"time": time.perf_counter, "CPU time": time.process_time}
    spent = {(run, clock): [] for run in (job, peer) for clock in clocks}
    for number in range(rounds + 1):
        for run in job, peer:
            if run in before:
                before[run]()
            gc.collect()
            starts = {clock: read() for clock, read in clocks.items()}
            run()
            for clock, read in clocks.items():
                spent[run, clock] += [read() - starts[clock]] * (number > 0)
    for clock in clocks:
        ours, theirs = (statistics.median(spent[run, clock]) for run in (job, peer))
        print(
            f"{name:39} {clock:8} {ours:6.2f} s, {label} {theirs:6.2f} s: "
            f"{spread(ratios(spent[peer, clock], spent[job, clock]))} times as fast",
            flush=True,
        )


def memory(pieces, texts):
    """Print the peak memory of `minibert tokenize` for a file and one of four times its size."""
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
            print(
                f"a file of {path.stat().st_size / 1e6:,.0f} MB to ids: peak memory {peak:.0f} MiB"
            )


if __name__ == "__main__":
    main()

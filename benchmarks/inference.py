"""How fast does minibert embed sentences, compared with PyTorch and ONNX Runtime?

All three run the same real checkpoint with 6 layers of hidden size 384 on the same 1,000 sentences
of Python's and NumPy's documentation, tokenization included, and must compute the same vectors.
They alternate in one process, with a pause after each. PyTorch runs sentence-transformers with its
defaults; ONNX Runtime runs the exported graph with its fastest batch size, on ids by `tokenizers`.
Then each side loads the checkpoint in a new process, to measure time and memory.

    pip install torch==2.13.0 && pip install '.[parity]'
    pip install sentence-transformers onnx onnxscript onnxruntime
    python -m benchmarks.inference
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.harness import PAUSE, elapsed, ratios, spread

SENTENCES = 1000
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
print(time.perf_counter() - clock, before, peak())
"""


class Onnx:
    """Embeds texts with ONNX Runtime: `tokenizers`, length-sorted batches, mean pooling."""

    def __init__(self, folder, graph, batch_size=32):
        import onnxruntime
        from tokenizers import Tokenizer

        self.batch_size = batch_size
        self.tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        self.tokenizer.enable_truncation(256)
        self.tokenizer.no_padding()
        self.session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])

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


def main():
    """Run the rounds and print the results."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--only", nargs="+", choices=LOAD, default=list(LOAD))
    o = options.parse_args()
    warnings.simplefilter("ignore")
    from benchmarks.texts import minilm

    folder = str(minilm())
    texts = sentences()
    with tempfile.TemporaryDirectory() as temporary:
        graph = str(Path(temporary) / "model.onnx")
        if "ONNX Runtime" in o.only:
            export(folder, graph)
        paths = (folder, graph)
        compare({name: side(name, folder, graph, texts) for name in o.only}, texts, o.rounds)
        for name in o.only:
            found = [load_once(name, paths) for _ in range(3)]
            seconds, before, peak = (
                statistics.median(values) for values in zip(*found, strict=True)
            )
            print(f"{name:13} loads the checkpoint and embeds a sentence in {seconds:5.2f} s; "
                  f"peak memory {peak:4.0f} MiB, before loading {before:4.0f} MiB")  # fmt: skip


def sentences():
    """Return 1,000 sentences of mixed lengths, the same for the same package versions."""
    from minibert.data.builtin.docstrings import installed_roots, read_documents

    texts = [text for document in read_documents(installed_roots()) for text in document.paragraphs]
    found = [s for text in texts for s in re.findall(r"[A-Z][^.!?]{10,600}[.!?](?= |$)", text)]
    distinct = list(dict.fromkeys(found))
    return distinct[:: len(distinct) // SENTENCES][:SENTENCES]


def side(name, folder, graph, texts):
    """Return the function that embeds texts, by the name of a side."""
    if name == "minibert":
        from minibert.inference.features import FeatureExtractor

        return FeatureExtractor.from_pretrained(folder)
    if name == "PyTorch":
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(folder, device="cpu").encode
    seconds = {}
    for size in (4, 8, 16, 32, 64):
        run = Onnx(folder, graph, size)
        run(texts[:100])
        seconds[size] = elapsed(partial(run, texts))
    return Onnx(folder, graph, min(seconds, key=seconds.get))


def compare(runs, texts, rounds):
    """Embed the texts on all sides alternately; print sentences/s and ratios to the first."""
    vectors = {name: run(texts) for name, run in runs.items()}  # also a warm-up
    first = next(iter(runs))
    for name, theirs in vectors.items():
        cosine = (vectors[first] * theirs).sum(axis=-1).min()
        assert cosine > 0.99999, f"{name}: expected equal vectors, got a cosine of {cosine}"
    speeds = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            time.sleep(PAUSE)  # until the threads of the last side sleep
            speeds[name].append(len(texts) / elapsed(partial(run, texts)))
    for name, values in speeds.items():
        print(f"{name:13} {statistics.median(values):6.0f} sentences/s; {first} is "
              f"{spread(ratios(speeds[first], values))} times as fast")  # fmt: skip


def export(folder, graph):
    """Export the checkpoint's body as an ONNX graph."""
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


def load_once(name, paths):
    """Load in a new process; return seconds, MiB before loading, and peak MiB."""
    code = MEASURE.format(paths=paths, load=LOAD[name])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True
    )
    return map(float, done.stdout.split()[-3:])


if __name__ == "__main__":
    main()

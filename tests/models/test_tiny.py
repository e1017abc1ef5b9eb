"""The pre-trained model that is part of this package: its name, its files, its card and its use."""

import json
import re
import tomllib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import minibert
from minibert import (
    BertForMaskedLM,
    BertModel,
    FeatureExtractor,
    TextClassifier,
    WordPieceTokenizer,
)
from minibert.cli import main
from minibert.cli.pretrain import MAX_HELD_OUT_ROWS
from minibert.data.builtin.corpus import write_builtin
from minibert.data.builtin.docstrings import read_files
from minibert.data.corpus import PackedSequences, pack
from minibert.data.masking import mask_sequences
from minibert.data.rng import generator
from minibert.data.sampling import steps_per_epoch
from minibert.data.tables import read_records
from minibert.data.token_cache import files_checksum, tokenize_corpus
from minibert.models.hub import PRETRAINED, checkpoint_folder, find_folder
from minibert.objectives import MaskedLM
from minibert.objectives.evaluation import masked_lm_metrics
from minibert.tasks import Examples, SingleLabelTask
from minibert.training import FineTuning, Settings, evaluate, fine_tune
from minibert.training.card import is_generated
from tests.training.test_card import entries

FOLDER = PRETRAINED / "tiny"
CARD = (FOLDER / "README.md").read_text("utf-8")
MEGABYTE = 1e6
MARGIN = 1.0  # nats below the unigram baseline


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def model():
    return BertForMaskedLM.from_pretrained("tiny", strict=True)


@pytest.fixture(scope="module")
def pieces():
    return WordPieceTokenizer.from_pretrained("tiny")


def run(*words):
    return main([str(word) for word in words])


# The name.


def test_the_name_is_found_from_any_folder_and_a_folder_takes_precedence(tmp_path):
    assert checkpoint_folder("tiny") == find_folder(Path("tiny")) == FOLDER
    (tmp_path / "tiny").mkdir()
    hidden = r"tiny/config.json: no such file; tiny is here, so it is not the pre-trained model"
    for read in (find_folder, checkpoint_folder, BertForMaskedLM.from_pretrained):
        with pytest.raises(FileNotFoundError, match=hidden):
            read("tiny")
    own = BertForMaskedLM(minibert.BertConfig.preset("tiny", vocab_size=9))
    own.save_pretrained("tiny")
    assert BertForMaskedLM.from_pretrained("tiny").config.vocab_size == 9


def test_a_package_without_the_files_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("minibert.models.hub.PRETRAINED", tmp_path / "package.zip")
    expected = r"package.zip/tiny: no such folder; install minibert as unpacked files"
    with pytest.raises(FileNotFoundError, match=expected):
        checkpoint_folder("tiny")


# The files.


def test_the_files_are_small_and_part_of_the_package():
    names = {path.name for path in FOLDER.iterdir()}
    assert names == {"README.md", "config.json", "model.safetensors", "tokenizer.json",
                     "tokenizer_config.json", "vocab.txt"}  # fmt: skip
    assert (FOLDER / "model.safetensors").stat().st_size < 2.2 * MEGABYTE
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 2.5 * MEGABYTE
    package = Path(minibert.__file__).parent
    project = package.parent / "pyproject.toml"
    if not project.exists():
        pytest.skip("not in a clone")
    patterns = tomllib.loads(project.read_text())["tool"]["setuptools"]["package-data"]["minibert"]
    shipped = {path for pattern in patterns for path in package.glob(pattern)}
    assert {*FOLDER.iterdir()} <= shipped


def test_the_configuration_is_that_of_bert_tiny(model, pieces):
    config = model.config
    sizes = (config.num_hidden_layers, config.hidden_size, config.vocab_size)
    assert sizes == (2, 128, len(pieces)) == (2, 128, 4096)
    assert model.params.vector.dtype == np.float32
    fields = json.loads((FOLDER / "config.json").read_text())
    assert (fields["model_type"], fields["dtype"]) == ("bert", "float16")
    assert fields["architectures"] == ["BertForMaskedLM"]
    body = BertModel.from_pretrained("tiny")
    for name, array in body.params.items():
        if not name.startswith("pooler."):
            assert (array == model.params[f"bert.{name}"]).all(), name


# The card.


WRITTEN, BY_HAND = CARD.split("\n## Provenance and license\n")


def test_the_card_is_the_one_of_the_run_with_a_part_written_by_hand():
    assert is_generated(WRITTEN.replace("license: mit\nlanguage: en\n", "", 1))
    for part in ("PSF-2.0", "0BSD", "BSD-3-Clause", "MIT"):
        assert part in BY_HAND


def test_the_commands_of_the_card_are_those_of_its_recipe(model, pieces):
    found = entries(CARD)
    (command,) = re.findall(r"minibert pretrain (.+)", BY_HAND.replace("\\\n", " "))
    options = dict(re.findall(r"--([\w-]+) (\S+)", command))
    config = model.config
    assert options["steps"] == found["steps"]
    assert options["batch-size"] == found["batch size"]
    assert options.get("seed", "0") == found["seed"]
    assert int(options["length"]) == config.max_position_embeddings
    assert (options["dtype"], options["out"]) == ("float16", "tiny")
    assert float(options.get("dropout", 0)) == config.hidden_dropout_prob
    assert found["checksum of the tokenizer"] == f"`{files_checksum(pieces)}`"
    size = f"{model.params.vector.size:,} parameters"
    assert size in CARD


def loss_in(text):
    return float(re.match(r"loss ([\d.]+)", text)[1])


# Documents that the run of the card held out, by their module.
HELD_OUT = {
    "difflib": ["unified_diff", "context_diff"],
    "email._policybase": ["Policy"],
    "http.client": [""],
    "imaplib": ["IMAP4"],
    "logging": ["basicConfig", "Logger.hasHandlers"],
    "optparse": ["OptionParser"],
    "traceback": ["StackSummary.format", "format_list", "format_exception_only"],
    "xml.etree.ElementTree": ["", "TreeBuilder", "register_namespace"],
}


def held_out_documents():
    """Return those of the documents that this Python has, each a list of paragraphs."""
    files = [(name, Path(find_spec(name).origin)) for name in HELD_OUT]
    names = {f"{module}.{name}".strip(".") for module in HELD_OUT for name in HELD_OUT[module]}
    return [[*each.paragraphs] for each in read_files(files) if each.name in names]


def test_the_loss_on_held_out_paragraphs_is_far_below_the_unigram_baseline(model, pieces):
    """The counts of the training text are not part of the package; the card has their loss."""
    rows = pack(held_out_documents(), pieces, model.config.max_position_embeddings)
    assert rows.size > 2000
    losses = []
    for seed in range(4):
        ids, labels = mask_sequences(rows, pieces, np.random.default_rng(seed))
        losses.append(masked_lm_metrics(model, ids, labels, pieces.pad_token_id).loss)
    assert np.mean(losses) < loss_in(entries(CARD)["unigram baseline"]) - MARGIN


@pytest.fixture(scope="module")
def builtin(tmp_path_factory):
    """Return the folder of the built-in corpus of this Python and NumPy."""
    folder = tmp_path_factory.mktemp("builtin") / "corpus"
    write_builtin(folder)
    return folder


@pytest.mark.slow
def test_the_loss_on_the_builtin_held_out_text_is_that_of_the_card(
    model, pieces, builtin, tmp_path
):
    corpus = tokenize_corpus([builtin / "train.txt"], pieces, held_out=[builtin / "held_out.txt"],
                             folder=tmp_path)  # fmt: skip
    length = model.config.max_position_embeddings
    rows, held_out = (
        PackedSequences(part.stream, pieces, length, part.counts)
        for part in (corpus.train, corpus.held_out)
    )
    assert len(held_out) <= MAX_HELD_OUT_ROWS
    held_out = held_out[np.arange(len(held_out))]
    settings = Settings(steps=1, seed=int(entries(CARD)["seed"]))
    objective = MaskedLM(model, pieces, rows, held_out, settings)
    metrics, baseline = objective.metrics(), objective.baseline
    assert metrics.loss < baseline.loss - MARGIN
    if entries(CARD)["checksum of the data"] != f"`{corpus.key}`":
        pytest.skip("the documentation of another Python or NumPy")
    assert metrics.loss == pytest.approx(loss_in(entries(CARD)["this model"]), abs=1e-3)
    assert baseline.loss == pytest.approx(loss_in(entries(CARD)["unigram baseline"]), abs=6e-4)


# The commands.


def test_fill_mask_predicts_a_plausible_token(capsys):
    assert run("fill-mask", "tiny", "Raises an [MASK] if the file does not exist.") == 0
    _, predictions = capsys.readouterr().out.splitlines()
    assert "exception" in predictions or "error" in predictions


def test_tokenize_and_inspect_open_the_model(capsys):
    assert run("tokenize", "tiny", "Return a copy.") == 0
    assert capsys.readouterr().out.split() == ["[CLS]", "return", "a", "copy", ".", "[SEP]"]
    assert run("inspect", "tiny", "Return a [MASK] of it.") == 0
    assert "attention" in capsys.readouterr().out


def test_embed_and_similar_open_the_model(capsys, tmp_path):
    assert run("embed", "tiny", "Sort a list.", "Close the file.") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    vectors = FeatureExtractor.from_pretrained("tiny")([row["text"] for row in rows])
    np.testing.assert_allclose([row["vector"] for row in rows], vectors, rtol=1e-6)
    (tmp_path / "lines.txt").write_text("Sort a list.\nClose the socket.\n")
    assert run("similar", "tiny", "Sort the list.", "lines.txt", "--top", 1) == 0
    assert capsys.readouterr().out.split("\t")[1] == "Sort a list.\n"


def test_the_name_of_the_model_and_the_name_of_the_size_are_kept_apart(capsys):
    with pytest.raises(SystemExit):
        run("finetune", "--help")
    page = " ".join(capsys.readouterr().out.split())
    assert "tiny (part of minibert; --size tiny is an untrained model of that size)" in page
    assert "model that is trained from scratch (default: nano; tiny for tags and pairs)" in page


ROWS = ["label\ttext", *(f"{a}\t{b} the {c}" for c in ("file", "list", "socket", "string")
                         for a, b in (("x", "open"), ("y", "sort")))]  # fmt: skip


@pytest.mark.slow
def test_finetune_and_the_classifier_start_from_the_model(capsys, tmp_path):
    (tmp_path / "rows.tsv").write_text("\n".join(ROWS) + "\n")
    assert run("finetune", "rows.tsv", "--dev", "rows.tsv", "--model", "tiny", "--epochs", 1,
               "--out", "out") == 0  # fmt: skip
    found = entries((tmp_path / "out" / "README.md").read_text())
    assert found["start"] == "tiny"
    texts, labels = zip(*(row.split("\t")[::-1] for row in ROWS[1:]), strict=True)
    pretrained, scratch = (
        TextClassifier(model, size=size, epochs=1).fit(texts, labels)
        for model, size in (("tiny", None), (None, "tiny"))
    )
    assert pretrained.model_.config.vocab_size == 4096
    assert scratch.model_.config.vocab_size < 300
    assert run("finetune", "rows.tsv", "--model", "tiny", "--size", "tiny", "--out", "no") == 2
    assert "--size: leave it out" in capsys.readouterr().err


@pytest.mark.slow
def test_pretrain_uses_its_tokenizer(tmp_path):
    (tmp_path / "text.txt").write_text("\n\n".join(f"Return file {i}." for i in range(200)))
    assert run("pretrain", "text.txt", "--tokenizer", "tiny", "--steps", 1, "--batch-size", 2,
               "--out", "out") == 0  # fmt: skip
    assert BertForMaskedLM.from_pretrained("out").config.vocab_size == 4096


@pytest.mark.slow
def test_a_classifier_that_starts_from_it_is_better_than_one_from_scratch(builtin, pieces):
    """Which module does a text document? 300 labelled texts; the test texts are held out."""
    train, test = (
        Examples([row.text for row in rows], None, [row.label for row in rows])
        for rows in (
            read_records(builtin / "labelled" / f"{name}.tsv", labelled=True)
            for name in ("train", "test")
        )
    )
    task = SingleLabelTask.from_labels(train.labels)
    train = train.select(generator(0, "order").permutation(len(train))[:300])
    settings = FineTuning(steps=10 * steps_per_epoch(300, 16), batch_size=16, learning_rate=5e-4)
    pretrained = task.model_class.from_pretrained("tiny", **task.config())
    scratch = task.model_class(pretrained.config)
    accuracies = []
    for classifier in (pretrained, scratch):
        fine_tune(classifier, pieces, task, train, settings)
        accuracies.append(evaluate(classifier, pieces, task, test).figures()["accuracy"])
    assert accuracies[0] > accuracies[1] + 0.05

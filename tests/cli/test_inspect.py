"""`minibert inspect`."""

import pytest

from minibert import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    WordPieceTokenizer,
)
from minibert.tasks import MultiLabelTask, RegressionTask
from minibert.tasks.folders import EstimatorFile
from tests.cli.helpers import assert_refused, run


def test_inspect_prints_activations_and_gradients_and_writes_a_page(workspace, tmp_path, capsys):
    page = tmp_path / "look.html"
    assert run(["inspect", workspace / "classifier", "the cat sat", "--html", page]) == 0
    printed = capsys.readouterr().out
    assert "gradients, output to input, of the score of " in printed
    assert "the cat sat" in page.read_text("utf-8")
    assert (
        run(["inspect", workspace / "classifier", "the cat", "--pair", "a dog", "--label", "dogs"])
        == 0
    )
    assert "the score of 'dogs'" in capsys.readouterr().out
    assert run(["inspect", workspace / "model", "the [MASK] sat"]) == 0
    printed = capsys.readouterr().out
    assert "token 2: " in printed
    assert "gradients, output" not in printed
    assert (
        run(["inspect", workspace / "model", "the cat sat", "--html", page]) == 0
    )  # nothing to guess
    assert_refused(
        capsys, ["inspect", workspace / "model", "the cat", "--backward"], "expected a [MASK]"
    )
    assert_refused(capsys, ["inspect", workspace / "tokenizer", "x"], "config.json: no such file")
    page.write_text("old")
    assert_refused(
        capsys, ["inspect", workspace / "classifier", "x", "--label", "z", "--html", page], "cats"
    )
    assert page.read_text() == "old"


def save_small(folder, kind=BertForMaskedLM, **changes):
    """Write a model of a few units; return its folder."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "sat"]
    WordPieceTokenizer(pieces).save_pretrained(folder)
    config = BertConfig(
        vocab_size=8, hidden_size=4, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=6, max_position_embeddings=8, **changes,
    )  # fmt: skip
    kind(config).save_pretrained(folder)
    return folder


@pytest.fixture
def small(tmp_path):
    """Return the folder of a masked language model of a few units."""
    return save_small(tmp_path / "small")


def test_inspect_values_prints_every_number_of_a_small_model(small, capsys):
    assert run(["inspect", small, "a [MASK] sat", "--values", "--label", "cat"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("BertForMaskedLM: a [MASK] sat\ntokens: [CLS] a [MASK] sat [SEP]\n")
    assert "label: 'cat' at token 2" in printed
    order = ["forward: embeddings", "forward: block 1", "  query (2 x 5 x 2)", "forward: head",
             "forward: loss", "backward: head", "backward: block 1", "backward: embeddings",
             "  d bert.embeddings.word_embeddings.weight (8 x 4)"]  # fmt: skip
    places = [printed.index(each) for each in order]
    assert places == sorted(places)


def test_inspect_values_prints_the_thresholds_of_the_folder(tmp_path, capsys):
    task = MultiLabelTask(["big", "red"], [0.25, 0.75])
    folder = save_small(tmp_path / "labels", BertForSequenceClassification, **task.config())
    EstimatorFile(thresholds=task.thresholds.tolist()).save(folder)
    assert run(["inspect", folder, "a cat", "--values", "--label", "red,big"]) == 0
    printed = capsys.readouterr().out
    assert "labels: red, big" in printed
    assert "  predicted (2) = 1 above the thresholds, 0 elsewhere; they are 0.25, 0.75" in printed


def test_inspect_values_prints_the_loss_of_a_number(tmp_path, capsys):
    folder = save_small(
        tmp_path / "number", BertForSequenceClassification, **RegressionTask().config()
    )
    assert run(["inspect", folder, "a cat", "--values", "--label", "2.5"]) == 0
    printed = capsys.readouterr().out
    assert "label: 2.5\n" in printed
    assert "  target = label: 2.5000\n  loss = (logit - target)²: " in printed


def test_inspect_values_refuses_a_large_model_and_a_page(workspace, small, tmp_path, capsys):
    assert_refused(
        capsys, ["inspect", workspace / "model", "the cat", "--values"],
        "values: expected at most 400 numbers in a tensor, got",
        "in bert.embeddings.word_embeddings.weight (",
    )  # fmt: skip
    assert_refused(
        capsys,
        ["inspect", small, "a cat", "--values", "--label", "sat"],
        "label: expected a [MASK]",
    )
    with pytest.raises(SystemExit) as leave:
        run(["inspect", small, "a cat", "--values", "--html", tmp_path / "page.html"])
    assert leave.value.code == 2
    assert "not allowed with argument" in capsys.readouterr().err

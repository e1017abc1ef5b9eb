"""`minibert evaluate`."""

import json
import re

from tests.cli.helpers import assert_refused, finetune_arguments, run


def test_evaluate_prints_the_same_metrics_as_finetune(workspace, capsys):
    assert (
        run(
            finetune_arguments(
                workspace, "from-nothing", "--tokenizer", workspace / "tokenizer", "--length", 16
            )
        )
        == 0
    )
    first = capsys.readouterr().out
    assert "true/said" in first
    assert "always the commonest class: 50.0%" in first
    assert run(["evaluate", workspace / "from-nothing", workspace / "labelled.tsv"]) == 0
    again = capsys.readouterr().out
    assert again in first
    config = json.loads((workspace / "from-nothing" / "config.json").read_text())
    assert config["id2label"] == {"0": "cats", "1": "dogs"}


def test_evaluate_counts_an_unseen_label_as_an_error_and_names_it(workspace, tmp_path, capsys):
    path = tmp_path / "rows.tsv"
    path.write_text("label\ttext\ncats\tone\ncows\ttwo\ncows\tthree\n", "utf-8")
    assert run(["evaluate", workspace / "classifier", path]) == 0
    printed = capsys.readouterr().out
    warning = "rows.tsv: training did not see these labels, which count as errors: 'cows' (2)"
    assert warning in printed
    assert re.search(r"accuracy (0.0|33.3)%", printed)
    assert "expected cows:  two" in printed


def test_evaluate_counts_truncated_texts(workspace, tmp_path, capsys):
    path = tmp_path / "rows.tsv"
    path.write_text("label\ttext\ncats\tcat\ndogs\t" + "the dog " * 30 + "\n", "utf-8")
    assert run(["evaluate", workspace / "classifier", path]) == 0
    assert "1 of 2 texts are longer than 16 tokens" in capsys.readouterr().out


def test_evaluate_refuses_an_unknown_file_type(workspace, tmp_path, capsys):
    none = tmp_path / "none.txt"
    assert_refused(
        capsys, ["evaluate", workspace / "classifier", none], none, "expected a name that ends in"
    )

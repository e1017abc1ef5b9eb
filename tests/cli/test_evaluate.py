"""`minibert evaluate`."""

import json

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


def test_evaluate_names_the_line_of_an_unknown_label(workspace, tmp_path, capsys):
    path = tmp_path / "rows.tsv"
    path.write_text("label\ttext\ncats\tone\ncows\ttwo\n", "utf-8")
    assert_refused(
        capsys, ["evaluate", workspace / "classifier", path], path, "line 3", "'cows'", "cats, dogs"
    )


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

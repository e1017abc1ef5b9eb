"""`minibert fill-mask`."""

import shutil

import numpy as np
import pytest

from minibert import BertForMaskedLM, BertForSequenceClassification
from tests.cli.helpers import assert_refused, run


def test_fill_mask_prints_the_top_predictions_for_each_mask(workspace, capsys):
    assert run(["fill-mask", workspace / "model", "the [MASK] sat on [MASK]", "--top", 3]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "the [MASK] sat on [MASK]"
    assert [line.count("%") for line in lines[1:]] == [3, 3]


def test_fill_mask_refuses_bad_input(workspace, tmp_path, capsys):
    assert_refused(
        capsys, ["fill-mask", workspace / "model", "no mask"], "expected a [MASK]", "'no mask'"
    )
    assert_refused(capsys, ["fill-mask", workspace / "model", "[MASK] " * 40], "at most 16 tokens")
    assert_refused(capsys, ["fill-mask", tmp_path, "[MASK]"], "config.json: no such file")
    assert_refused(
        capsys, ["fill-mask", workspace / "classifier", "[MASK]"], "lacks 5 arrays of BertForMasked"
    )
    assert_refused(
        capsys, ["fill-mask", workspace / "model", "a [MASK]", "--top", 0], "top: expected"
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e38])
def test_commands_refuse_a_model_whose_outputs_are_not_finite(workspace, tmp_path, capsys, value):
    """1e38 is finite, and the model overflows."""
    for name, kind in (("model", BertForMaskedLM), ("classifier", BertForSequenceClassification)):
        shutil.copytree(workspace / name, tmp_path / name)
        model = kind.from_pretrained(tmp_path / name)
        model.params["bert.encoder.layer.1.output.dense.weight"][:] = value
        model.save_pretrained(tmp_path / name)
        (tmp_path / name / "estimator.json").unlink(missing_ok=True)  # of the save before
    masked, classifier = tmp_path / "model", tmp_path / "classifier"
    rows, lines = workspace / "labelled.tsv", workspace / "corpus.txt"
    for arguments, message in (
        (["fill-mask", masked, "the [MASK] sat"], "the model's logits are not finite"),
        (["predict", classifier, "the cat"], "the model's logits are not finite"),
        (["evaluate", classifier, rows], "the model's logits are not finite"),
        (["embed", masked, "the cat"], "a vector is not finite"),
        (["similar", masked, "the cat", lines], "a vector is not finite"),
        (["inspect", masked, "the [MASK] sat"], "block 2: not finite"),
    ):
        assert_refused(capsys, arguments, message, status=1)

"""`minibert fill-mask`."""

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
    assert_refused(capsys, ["fill-mask", tmp_path, "[MASK]"], "vocab.txt")
    assert_refused(
        capsys, ["fill-mask", workspace / "classifier", "[MASK]"], "lacks 5 arrays of BertForMasked"
    )
    assert_refused(
        capsys, ["fill-mask", workspace / "model", "a [MASK]", "--top", 0], "top: expected"
    )

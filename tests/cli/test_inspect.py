"""`minibert inspect`."""

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

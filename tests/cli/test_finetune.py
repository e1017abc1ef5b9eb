"""`minibert finetune`: each kind of label, resumed runs, splits, seeds, bad input."""

import json
import re
import shutil
import signal

import pytest

from minibert import BertForSequenceClassification
from minibert.cli.finetune import _report_classes
from minibert.tasks import Examples, SingleLabelTask
from tests.cli.helpers import assert_refused, finetune_arguments, run, write_lines


def test_finetune_resumed_after_sigterm_gives_the_weights_of_an_unbroken_run(
    workspace, capsys, monkeypatch
):
    from minibert.training import loop

    original, start = loop.Engine.step, ["--model", workspace / "model"]

    def interrupt_step(self, shards, rate):
        result = original(self, shards, rate)
        if self.optimizer.step == 3:
            signal.raise_signal(signal.SIGTERM)
        return result

    monkeypatch.setattr(loop.Engine, "step", interrupt_step)
    assert_refused(
        capsys,
        finetune_arguments(workspace, "halved", *start),
        "stopped after step 3 of 4",
        "--resume",
        status=130,
    )
    monkeypatch.setattr(loop.Engine, "step", original)
    assert_refused(
        capsys,
        finetune_arguments(workspace, "halved", *start, "--resume", "--seed", 5),
        "seed: the run",
    )
    assert run(finetune_arguments(workspace, "halved", *start, "--resume")) == 0
    assert "going on after step 3" in capsys.readouterr().out
    halved, whole = (
        BertForSequenceClassification.from_pretrained(workspace / name).params.vector
        for name in ("halved", "classifier")
    )
    assert (halved == whole).all()


def test_a_resumed_run_of_new_weights_does_not_count_the_labels_again(
    workspace, capsys, monkeypatch
):
    from minibert.training import finetuning, loop

    counted, original = [], loop.Engine.step
    real = finetuning.initialize_from_labels
    monkeypatch.setattr(
        finetuning, "initialize_from_labels", lambda *args: counted.append(1) or real(*args)
    )
    more = ["--tokenizer", workspace / "model", "--epochs", 2]
    assert run(finetune_arguments(workspace, "counted", *more, "--threads", 1)) == 0

    def interrupt_step(self, shards, rate):
        result = original(self, shards, rate)
        if self.optimizer.step == 2:
            signal.raise_signal(signal.SIGTERM)
        return result

    monkeypatch.setattr(loop.Engine, "step", interrupt_step)
    more += ["--threads", 2]
    assert run(finetune_arguments(workspace, "uncounted", *more)) == 130
    monkeypatch.setattr(loop.Engine, "step", original)
    assert run(finetune_arguments(workspace, "uncounted", *more, "--resume")) == 0
    assert len(counted) == 2
    whole, resumed = (
        BertForSequenceClassification.from_pretrained(workspace / name).params.vector
        for name in ("counted", "uncounted")
    )
    assert (whole == resumed).all()


def test_resume_without_a_size_keeps_that_of_the_run(workspace, capsys, monkeypatch):
    """Earlier versions had another default size."""
    from minibert.training import loop

    original = loop.Engine.step

    def interrupt_step(self, shards, rate):
        signal.raise_signal(signal.SIGTERM)
        return original(self, shards, rate)

    more = ["--tokenizer", workspace / "model", "--epochs", 1, "--threads", 1]
    monkeypatch.setattr(loop.Engine, "step", interrupt_step)
    assert run(finetune_arguments(workspace, "sized", *more, "--size", "tiny")) == 130
    monkeypatch.setattr(loop.Engine, "step", original)
    refused = finetune_arguments(workspace, "sized", *more, "--size", "nano", "--resume")
    assert_refused(capsys, refused, "has 128, got 64")
    assert run(finetune_arguments(workspace, "sized", *more, "--resume")) == 0
    model = BertForSequenceClassification.from_pretrained(workspace / "sized")
    assert (model.config.num_hidden_layers, model.config.hidden_size) == (2, 128)


def test_finetune_trains_a_regression_and_a_classifier_from_it(workspace, tmp_path, capsys):
    rows = [f"{n / 4}\tthe {'cat ' * n}sat" for n in range(8)] * 3
    path = write_lines(tmp_path / "rows.tsv", "score\tsentence", *rows)
    assert (
        run(
            [
                "finetune",
                path,
                "--model",
                workspace / "model",
                "--epochs",
                1,
                "--out",
                tmp_path / "numbers",
            ]
        )
        == 0
    )
    printed = capsys.readouterr().out
    assert "text from 'sentence', label from 'score'" in printed
    assert "regression: 20 texts to train on, 4 to evaluate on" in printed
    assert "always the median: mean error" in printed
    assert run(["predict", tmp_path / "numbers", "the cat", "--as", "jsonl"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out)["label"], float)
    assert run(["evaluate", tmp_path / "numbers", path]) == 0
    capsys.readouterr()
    # A model of numbers may become a classifier.
    assert (
        run(finetune_arguments(workspace, tmp_path / "new", "--model", tmp_path / "numbers")) == 0
    )
    assert run(["predict", tmp_path / "new", "the cat"]) == 0
    nan = write_lines(tmp_path / "nan.tsv", "text\tlabel", "a\t1.5", "b\tnan")
    assert_refused(
        capsys, ["evaluate", tmp_path / "numbers", nan], "nan.tsv, line 3", "finite number"
    )
    huge = write_lines(tmp_path / "huge.tsv", "text\tlabel", "a\t1.5", "b\t-1e300")
    again = ["finetune", huge, "--dev", huge, "--out", tmp_path / "huge"]
    assert_refused(capsys, again, "huge.tsv, line 3", "at most 3.4e+38")


def test_finetune_trains_a_multi_label_classifier(workspace, tmp_path, capsys):
    rows = [
        {"text": f"the {x} and the {y}", "labels": [x, y]}
        for x in ("cat", "dog")
        for y in ("mat", "tree")
    ]
    rows += [{"text": "it ran", "labels": []}] * 4
    path = write_lines(tmp_path / "rows.jsonl", *map(json.dumps, rows * 3))
    out = tmp_path / "out"
    assert run(["finetune", path, "--model", workspace / "model", "--epochs", 1, "--out", out]) == 0
    assert "multi-label: 20 texts to train on" in capsys.readouterr().out
    assert run(["predict", out, "the cat", "--as", "jsonl"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["probabilities"].keys() == {"cat", "dog", "mat", "tree"}
    chosen = json.loads((out / "estimator.json").read_text())["thresholds"]
    above = dict(zip(sorted(row["probabilities"]), chosen, strict=True))
    assert set(row["label"]) == {k for k, v in row["probabilities"].items() if v > above[k]}
    assert run(["predict", out, "the cat"]) == 0
    _, shares, text = capsys.readouterr().out.rstrip("\n").split("\t")
    assert len(shares.split()) == 4
    assert text == "the cat"
    commas = write_lines(tmp_path / "rows.tsv", "text\tlabel", "a\tcat, mat", "b\tdog")
    assert run(["evaluate", out, commas]) == 0
    assert_refused(
        capsys,
        ["finetune", path, "--task", "classification", "--out", tmp_path / "x"],
        "rows.jsonl, line 1: expected one label, got 2",
    )


def test_finetune_trains_a_tagger(workspace, tmp_path, capsys):
    text = ["the O", "cat B-PET", "sat O", ""] * 6 + ["a O", "dog B-PET", "ran O", "", ""] * 6
    path = write_lines(tmp_path / "rows.conll", *text)
    out = tmp_path / "out"
    assert (
        run(
            [
                "finetune",
                path,
                "--tokenizer",
                workspace / "tokenizer",
                "--epochs",
                30,
                "--learning-rate",
                3e-3,
                "--out",
                out,
            ]
        )
        == 0
    )
    printed = capsys.readouterr().out
    assert "tagging: 10 texts to train on, 2 to evaluate on" in printed
    assert "F1 100.0%" in printed
    assert "each word's commonest tag: F1 100.0%" in printed
    assert "BERT and the baseline are equally good" in printed
    assert run(["predict", out, "the dog, a cat"]) == 0
    words = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [word[0] for word in words] == ["the", "dog", ",", "a", "cat", ""]
    assert words[1] == ["dog", "B-PET"]
    assert run(["predict", out, "--file", path, "--as", "jsonl"]) == 0
    row = json.loads(capsys.readouterr().out.splitlines()[0])
    (entity,) = row["entities"]
    assert entity.pop("score") > 0.5
    assert entity == {"entity_group": "PET", "word": "cat", "start": 4, "end": 7}
    assert run(["evaluate", out, path]) == 0
    assert_refused(capsys, ["evaluate", out, workspace / "labelled.tsv"], "this model is for words")
    assert_refused(capsys, ["evaluate", workspace / "classifier", path], "this model is for texts")
    assert_refused(
        capsys, ["predict", workspace / "classifier", "--file", path], "doesn't tag words"
    )
    assert_refused(
        capsys, ["finetune", path, "--task", "regression", "--out", tmp_path / "x"], "tagged"
    )
    broken = write_lines(tmp_path / "broken.conll", "the O", "cat")
    assert_refused(capsys, ["evaluate", out, broken], "broken.conll, line 2")


def test_finetune_and_evaluate_read_columns_of_0_and_1_as_labels(workspace, tmp_path, capsys):
    rows = [f"{i},the cat {i},{i % 2},{i // 2 % 2},0" for i in range(12)]
    path = write_lines(tmp_path / "rows.csv", "id,comment,rude,mild,none", *rows)
    start = ["--model", workspace / "model", "--epochs", 1, "--out"]
    columns = ["--label", "rude", "mild", "none"]
    assert run(["finetune", path, *start, tmp_path / "a"]) == 0
    assert "labels from the columns of 0 and 1 'rude', 'mild', 'none'" in capsys.readouterr().out
    assert run(["evaluate", tmp_path / "a", path, *columns]) == 0
    printed = capsys.readouterr().out
    assert "F1 " in printed
    each = [word for name in columns[1:] for word in ("--label", name)]  # before the files, too
    assert run(["evaluate", *each, tmp_path / "a", path]) == 0
    assert capsys.readouterr().out == printed
    more = ["--label", "rude", "id"]
    assert_refused(capsys, ["evaluate", tmp_path / "a", path, *more], "line 4: expected 0 or 1")


@pytest.mark.slow
def test_finetune_recognises_commas_and_empty_labels(workspace, tmp_path, capsys):
    labels = ["rude", "rude, mild", "", "mild"] * 3
    rows = [f"the cat {i}\t{label}" for i, label in enumerate(labels)]
    path = write_lines(tmp_path / "rows.tsv", "text\tlabels", *rows)
    start = ["--model", workspace / "model", "--epochs", 1, "--out"]
    assert run(["finetune", path, *start, tmp_path / "a"]) == 0
    printed = capsys.readouterr().out
    assert "multi-label: " in printed
    assert "commas separate the labels of a text" in printed
    single = ["finetune", path, "--task", "classification", *start, tmp_path / "b"]
    assert_refused(capsys, single, "rows.tsv, line 4: the label is empty")


def test_finetune_reads_words_and_tags_of_json_lines(workspace, tmp_path, capsys):
    row = {"words": ["the", "cat", "sat"], "tags": ["O", "S-PET", "?"]}
    path = write_lines(tmp_path / "rows.jsonl", *[json.dumps(row)] * 8)
    out = tmp_path / "out"
    start = ["--tokenizer", workspace / "tokenizer", "--epochs", 1, "--out", out]
    assert run(["finetune", path, *start]) == 0
    printed = capsys.readouterr().out
    assert "tagging: 7 texts" in printed
    assert "entities are scored; these tags mark none and count as O: '?'" in printed
    assert run(["predict", out, "--file", path, "--as", "jsonl"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 8
    unseen = json.dumps(row | {"tags": ["O", "B-DOG", "O"]})
    assert run(["evaluate", out, write_lines(tmp_path / "test.jsonl", unseen)]) == 0
    assert "test.jsonl: training did not see these labels" in capsys.readouterr().out


def test_finetune_detects_the_columns_of_text_pairs(workspace, tmp_path, capsys):
    rows = [
        {"sentence1": f"the {a} sat", "sentence2": f"a {b} ran", "label": str(a == b)}
        for a in ("cat", "dog")
        for b in ("cat", "dog")
    ] * 4
    path = write_lines(tmp_path / "rows.jsonl", *map(json.dumps, rows))
    out = tmp_path / "out"
    assert run(["finetune", path, "--model", workspace / "model", "--epochs", 1, "--out", out]) == 0
    assert "second text from 'sentence2'" in capsys.readouterr().out
    assert run(["predict", out, "--file", path, "--as", "jsonl"]) == 0
    shares = [json.loads(line)["probabilities"] for line in capsys.readouterr().out.splitlines()]
    assert shares[0] != shares[1]  # they differ in the second text alone
    assert shares[0] == pytest.approx(shares[4])


@pytest.mark.parametrize("classes", [20, 21, 77])
def test_more_than_twenty_classes_are_printed_one_per_line(capsys, classes):
    labels = [f"class {i:02}" for i in range(classes)] * 2
    task = SingleLabelTask.from_labels(labels)
    _report_classes(task, Examples(labels, None, labels), None)
    lines = capsys.readouterr().out.splitlines()
    cells = [f"{name} 2" for name in task.names]
    one_line = [f"classes: {', '.join(cells)}"]
    assert lines == (one_line if classes <= 20 else ["classes:", *(f"  {cell}" for cell in cells)])


@pytest.mark.slow
def test_finetune_with_several_seeds_prints_the_mean_and_keeps_the_best_model(
    workspace, tmp_path, capsys
):
    out = tmp_path / "out"
    more = ["--model", workspace / "model", "--seeds", 3]
    assert run(finetune_arguments(workspace, out, *more)) == 0
    printed = capsys.readouterr().out
    assert "3 seeds:" in printed
    assert "± " in printed
    kept = re.search(r"contains the model of seed (\d)", printed)[1]
    folders = (out, out / f"seed-{kept}")
    weights = [(folder / "model.safetensors").read_bytes() for folder in folders]
    assert weights[0] == weights[1]
    # One of them gets lost, and is made again by --resume; the others are taken as they are.
    shutil.rmtree(out / "seed-2")
    assert run(finetune_arguments(workspace, out, *more, "--resume")) == 0
    assert "3 seeds:" in capsys.readouterr().out
    assert (out / "model.safetensors").read_bytes() == weights[0]
    assert_refused(
        capsys,
        finetune_arguments(workspace, "x", "--model", workspace / "model", "--seeds", 0),
        "seeds: expected",
    )


@pytest.mark.slow
def test_finetune_holds_out_texts_of_each_class_and_refuses_bad_dev_files(
    workspace, tmp_path, capsys
):
    counts = (("many", "cat", 20), ("few", "dog", 3), ("one", "tree", 1))
    rows = [f"{label}\tthe {word} sat {i}" for label, word, n in counts for i in range(n)]
    path = write_lines(tmp_path / "rows.tsv", "label\ttext", *rows)
    start = ["finetune", path, "--model", workspace / "model", "--epochs", 1]
    assert run([*start, "--out", tmp_path / "out"]) == 0
    printed = capsys.readouterr().out
    assert "20 texts to train on, 4 to evaluate on" in printed
    assert "classes: many 17, few 2, one 1" in printed
    assert "'many' is 17 times as common as 'one'" in printed
    assert "class 'one' has only one text to train on" in printed
    assert run([*start, "--class-weight", "balanced", "--out", tmp_path / "even"]) == 0
    assert "times as common" not in capsys.readouterr().out
    dev = write_lines(tmp_path / "dev.tsv", "label\ttext", "none\tthe cat", "many\ta cat")
    assert run([*start, "--dev", dev, "--out", tmp_path / "unseen"]) == 0
    printed = capsys.readouterr().out
    assert "the held-out texts: training did not see these labels" in printed
    assert "'none' (1)" in printed
    assert "expected none:  the cat" in printed
    bare = write_lines(tmp_path / "bare.tsv", "label\ttext", "\tthe cat")
    assert_refused(
        capsys, [*start, "--dev", bare, "--out", tmp_path / "x"], "bare.tsv, line 2", "empty"
    )
    assert_refused(
        capsys, [*start, "--dev-share", 1.5, "--out", tmp_path / "x"], "dev_share: expected"
    )
    assert_refused(capsys, [*start, "--text", "body", "--out", tmp_path / "x"], "no column 'body'")
    assert_refused(
        capsys, [*start, "--freeze", 9, "--out", tmp_path / "x"], "freeze: expected 0 to 2"
    )


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("label\ttext\ncats\tone\n\tno label\n", ["line 3"]),
        ("label\ttext\ncats\tone\ndogs\n", ["line 3"]),
        ("kind\ttext\tother\ncats\tone\tx\n", ["which column is the label", "kind"]),
        ("label\ttext\ncats\tone\ncats\ttwo\n", ["two classes or more", "'cats'"]),
    ],
)
def test_finetune_names_the_line_of_a_bad_table(workspace, tmp_path, capsys, content, parts):
    path = tmp_path / "rows.tsv"
    path.write_text(content, "utf-8")
    arguments = ["finetune", path, "--model", workspace / "model", "--out", tmp_path / "out"]
    assert_refused(capsys, arguments, path, *parts)
    assert not (tmp_path / "out").exists()


def test_finetune_refuses_bad_options_and_creates_no_folder(workspace, capsys):
    tune = finetune_arguments(workspace, "x", "--model", workspace / "model")
    assert_refused(capsys, [*tune, "--batch-size", 0], "batch_size: expected at least 1")
    assert_refused(capsys, [*tune, "--epochs", 0], "epochs: expected at least 1")
    assert_refused(capsys, [*tune, "--length", 64], "--length: leave it out")
    assert_refused(capsys, [*tune, "--seed", -1], "seed: expected at least 0, got -1")
    assert_refused(capsys, [*tune, "--split-seed", -1], "split_seed: expected at least 0, got -1")
    weighed = [*tune, "--task", "multi-label", "--class-weight", "x=2"]
    assert_refused(capsys, weighed, "class_weight: expected some of ")
    assert not (workspace / "x").exists()


def test_finetune_with_pairs_resumes_with_the_strategy_of_the_run(workspace, capsys, monkeypatch):
    from minibert.training import loop

    original = loop.Engine.step
    arguments = ["--model", workspace / "model", "--strategy", "pairs"]
    assert run(finetune_arguments(workspace, "few-labels", *arguments)) == 0
    assert "few labels: vectors are trained on the pairs" in capsys.readouterr().out

    def interrupt_step(self, shards, rate):
        result = original(self, shards, rate)
        if self.optimizer.step == 2:
            signal.raise_signal(signal.SIGTERM)
        return result

    monkeypatch.setattr(loop.Engine, "step", interrupt_step)
    assert run(finetune_arguments(workspace, "few-labels-halved", *arguments)) == 130
    monkeypatch.setattr(loop.Engine, "step", original)
    halved = ["--model", workspace / "model", "--resume"]
    assert_refused(
        capsys,
        finetune_arguments(workspace, "few-labels-halved", *halved, "--strategy", "direct"),
        "strategy: the run",
    )
    assert run(finetune_arguments(workspace, "few-labels-halved", *halved)) == 0
    vectors = [
        BertForSequenceClassification.from_pretrained(workspace / name).params.vector
        for name in ("few-labels", "few-labels-halved")
    ]
    assert vectors[0].tobytes() == vectors[1].tobytes()

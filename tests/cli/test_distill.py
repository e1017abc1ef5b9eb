"""`minibert distill`: teachers of three kinds, resumed runs, options, bad input."""

import dataclasses
import json
import logging
import signal

import numpy as np
import pytest

from minibert import (
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    WordPieceTokenizer,
)
from minibert.cli.resume import resumed_model
from minibert.tasks import MultiLabelTask
from minibert.tasks.folders import EstimatorFile, load_labeller
from minibert.training import Engine
from minibert.training.checkpoint import read_state
from minibert.training.distillation import Distillation, make_student
from minibert.training.history import read_history
from tests.cli.helpers import assert_refused, run
from tests.laws.commands import (
    CONFIG,
    Stopped,
    options_of,
    seen_of,
    small_tokenizer,
    write_workspace,
)
from tests.training.test_ranks import Rank

SHORT = ("--steps", 3, "--batch-size", 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of texts and teachers of two layers: model, body, classifier."""
    folder = tmp_path_factory.mktemp("distill")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        write_workspace(folder)
        lines = (folder / "rows.jsonl").read_text("utf-8").splitlines()
        texts = [json.loads(line)["text"] for line in lines]
        (folder / "texts.txt").write_text("\n".join(texts) + "\n", "utf-8")
        longer = [json.dumps({**json.loads(line), "text": "the cat " * 99}) for line in lines[:4]]
        (folder / "long.jsonl").write_text("\n".join([*lines, *longer]) + "\n", "utf-8")
        yield folder


def arguments(folder, teacher="model", files=("corpus.txt",), out="never", more=SHORT):
    return ["distill", folder / teacher, *(folder / name for name in files), "--layers", 1,
            "--out", folder / out, *more]  # fmt: skip


def test_a_masked_lm_is_distilled_and_its_student_is_a_bert(folder, capsys):
    words = arguments(folder, out="student", more=(*SHORT, "--evaluate-every", 2))
    assert run(words) == 0
    printed = capsys.readouterr().out
    assert "the student has the layers 0 of 2, from 0, and " in printed
    for name in ("this model", "the teacher, model", "its layers before the training",
                 "unigram baseline"):  # fmt: skip
        assert f"{name}: loss" in printed
    student = BertForMaskedLM.from_pretrained(folder / "student", strict=True)
    fields = json.loads((folder / "student" / "config.json").read_text())
    assert (fields["model_type"], fields["num_hidden_layers"]) == ("bert", 1)
    assert fields["architectures"] == ["BertForMaskedLM"]
    start = make_student(BertForMaskedLM.from_pretrained(folder / "model"), 1)
    assert (student.params.vector != start.params.vector).any()
    assert not list((folder / "student").glob("checkpoint*"))
    card = (folder / "student" / "README.md").read_text("utf-8")
    for part in ("layers 0 of model, from 0", "| checksum of the teacher |", "| temperature | 2 |",
                 "| the teacher, model | loss"):  # fmt: skip
        assert part in card
    lines = read_history(folder / "student")
    assert [line["step"] for line in lines if "held_out_loss" in line] == [2, 3]
    assert run(["fill-mask", folder / "student", "a [MASK]"]) == 0
    tokens = WordPieceTokenizer.from_pretrained(folder / "student").vocab
    assert list(tokens) == list(small_tokenizer().vocab)


def test_a_teacher_without_a_masked_lm_head_is_distilled_by_its_hidden_states(folder, capsys):
    few = ("--steps", 3, "--batch-size", 2)  # fewer sequences than the default of shards
    assert run(arguments(folder, "body", out="short-body", more=few)) == 0
    printed = capsys.readouterr().out
    assert "body has no masked-LM head: its hidden states alone are distilled" in printed
    assert "the teacher, body: cosine 1.0000" in printed
    student = BertModel.from_pretrained(folder / "short-body", strict=True)
    start = make_student(BertModel.from_pretrained(folder / "body"), 1)
    changed = {n for n, array in student.params.items() if (array != start.params[n]).any()}
    assert not changed & {"pooler.dense.weight", "pooler.dense.bias"}
    assert "embeddings.word_embeddings.weight" in changed
    assert "| soft weight | 0 |" in (folder / "short-body" / "README.md").read_text("utf-8")
    # A tagger's head is for labels that text files do not have.
    tagger = BertForTokenClassification(CONFIG)
    small_tokenizer().save_pretrained(folder / "tagger")
    tagger.save_pretrained(folder / "tagger")
    assert run(arguments(folder, "tagger", out="short-tagger")) == 0
    assert "hidden states alone" in capsys.readouterr().out
    BertModel.from_pretrained(folder / "short-tagger", strict=True)


@pytest.mark.parametrize("file", ["rows.jsonl", "texts.txt"])
def test_a_classifier_gives_its_classes_with_and_without_labels(folder, capsys, file):
    out = f"short-{file}"
    assert run(arguments(folder, "classifier", [file], out)) == 0
    printed = capsys.readouterr().out
    assert "classifier is a classifier: the student learns its classes" in printed
    assert "this model: accuracy" in printed
    card = (folder / out / "README.md").read_text("utf-8")
    without = "without labels, so the teacher's labels are the only targets"
    assert (without in printed) == (file == "texts.txt")
    assert f"| label weight | {0 if file == 'texts.txt' else 2} |" in card
    if file == "texts.txt":  # the teacher agrees with itself
        assert "the teacher, classifier: accuracy 100.0%" in printed
    student = BertForSequenceClassification.from_pretrained(folder / out, strict=True)
    assert student.config.id2label == CONFIG.id2label
    assert run(["predict", folder / out, "the cat sat"]) == 0


def labelled(folder, problem, names, lines):
    """Write a teacher for a problem, and a table of texts with these labels; None is empty."""
    fields = {"problem_type": problem, "id2label": dict(enumerate(names))}
    small_tokenizer().save_pretrained(folder / problem)
    model = BertForSequenceClassification(dataclasses.replace(CONFIG, **fields))
    model.params["classifier.weight"] *= 40  # a teacher that tells its texts apart
    model.params["classifier.bias"] += 1000 * (problem == "regression")
    model.save_pretrained(folder / problem)
    rows = [json.dumps({"text": f"the cat sat {n}", "label": each}) for n, each in enumerate(lines)]
    (folder / f"{problem}.jsonl").write_text("\n".join(rows) + "\n", "utf-8")


@pytest.mark.parametrize("file", [None, pytest.param("texts.txt", marks=pytest.mark.slow)])
def test_a_teacher_of_several_labels_gives_its_labels_and_their_thresholds(folder, capsys, file):
    name, out = "multi_label_classification", f"several-{file}"
    labelled(folder, name, ["a", "b"], [["a"], ["a", "b"], None, ["b"]] * 6)
    task, classes = MultiLabelTask(["a", "b"], [0.3, 0.6]), np.array(["a", "b"])
    EstimatorFile(classes, task.thresholds.tolist(), {"epochs": 3}, seed=1).save(folder / name)
    file = file or f"{name}.jsonl"
    assert run(arguments(folder, name, [file], out, ("--steps", 40, "--temperature", 2))) == 0
    printed = capsys.readouterr().out
    assert f"{name} is a classifier: the student learns its classes" in printed
    if file == "texts.txt":
        assert "so the teacher's labels are the only targets" in printed
        assert f"the teacher, {name}: F1 100.0%" in printed
    student = load_labeller(folder / out)
    teacher = load_labeller(folder / name)
    assert student[0].thresholds.tolist() == [0.3, 0.6]
    assert EstimatorFile.read(folder / out, ["a", "b"]).parameters == {}
    if file == "texts.txt":
        assert distance(student, teacher) < 0.5 * distance(start_of(folder / name), teacher)


def test_columns_of_0_and_1_are_the_labels_of_a_teacher_of_several(folder, capsys):
    name = "multi_label_classification"
    labelled(folder, name, ["a", "b"], [["a"]])
    lines = ["text,a,b", *(f"the cat sat {n},{n % 2},{n // 2 % 2}" for n in range(12))]
    (folder / "columns.csv").write_text("\n".join(lines), "utf-8")
    assert run(arguments(folder, name, ["columns.csv"], "columns")) == 0
    printed = capsys.readouterr().out
    assert "labels from the columns of 0 and 1 'a', 'b'" in printed
    assert "without labels" not in printed
    assert "| label weight | 2 |" in (folder / "columns" / "README.md").read_text("utf-8")


def test_a_label_of_another_type_is_refused_and_not_taken_for_a_missing_one(folder, capsys):
    name = "multi_label_classification"
    labelled(folder, name, ["a", "b"], [["a"], {"b": 1}])
    assert_refused(capsys, arguments(folder, name, [f"{name}.jsonl"]),
                   f"{name}.jsonl, line 2: expected a string as 'label', found")  # fmt: skip


@pytest.mark.parametrize("file", [pytest.param(None, marks=pytest.mark.slow), "texts.txt"])
def test_a_teacher_of_numbers_gives_numbers_in_their_unit(folder, capsys, file):
    name, out = "regression", f"numbers-{file}"
    labelled(folder, name, ["value"], [1000 + n for n in range(24)])
    assert_refused(capsys, arguments(folder, name, [f"{name}.jsonl"], more=("--temperature", 3)),
                   "--temperature: leave it out; it has no meaning for a "
                   "BertForSequenceClassification for regression")  # fmt: skip
    before = (folder / name / "model.safetensors").read_bytes()
    assert run(arguments(folder, name, [file or f"{name}.jsonl"], out, ("--steps", 40))) == 0
    printed = capsys.readouterr().out
    assert f"{name} predicts numbers: the student learns its numbers" in printed
    assert (folder / name / "model.safetensors").read_bytes() == before
    student, teacher = load_labeller(folder / out), load_labeller(folder / name)
    assert (predictions(student) > 900).all()
    if file:  # the teacher agrees with itself
        assert f"the teacher, {name}: R² 1.000" in printed
        assert distance(student, teacher) < 0.5 * distance(start_of(folder / name), teacher)


def predictions(labeller):
    """Return the outputs for a few texts."""
    task, model, tokenizer = labeller
    return task.predict(model, tokenizer, ["the cat sat", "a dog ran", "it was red"])


def distance(one, other):
    return np.abs(predictions(one) - predictions(other)).mean()


def start_of(folder):
    task, model, tokenizer = load_labeller(folder)
    return task, make_student(model, 1), tokenizer


@pytest.mark.parametrize(
    ("teacher", "file"), [("model", "corpus.txt"), ("classifier", "rows.jsonl")]
)
def test_a_resumed_run_gives_the_bits_of_an_unbroken_one(
    folder, capsys, monkeypatch, teacher, file
):
    original = Engine.step

    def stopped(engine, shards, rate):
        result = original(engine, shards, rate)
        if engine.optimizer.step == 2:
            signal.raise_signal(signal.SIGINT)
        return result

    whole, broken = (arguments(folder, teacher, [file], f"{name}-{teacher}",
                               ("--steps", 4, "--batch-size", 4, "--dropout", 0.1))
                     for name in ("whole", "broken"))  # fmt: skip
    assert run(whole) == 0
    monkeypatch.setattr(Engine, "step", stopped)
    started = [*broken, "--resume"]  # which also starts a run
    assert_refused(capsys, started, "stopped after step 2 of 4", "--resume", status=130)
    monkeypatch.setattr(Engine, "step", original)
    for option, value, field in (("--temperature", 3, "temperature"), ("--seed", 5, "seed"),
                                 ("--layers", 2, "num_hidden_layers")):  # fmt: skip
        assert_refused(capsys, [*broken, "--resume", option, value], f"{field}: the run in")
    assert run([*broken, "--resume"]) == 0
    assert "going on after step 2" in capsys.readouterr().out
    kind = BertForMaskedLM if teacher == "model" else BertForSequenceClassification
    vectors = [kind.from_pretrained(folder / f"{name}-{teacher}").params.vector
               for name in ("whole", "broken")]  # fmt: skip
    assert (vectors[0] == vectors[1]).all()
    assert run([*broken, "--resume"]) == 0
    assert "nothing is left to train" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("teacher", "file"), [("model", "corpus.txt"), ("classifier", "long.jsonl")]
)
def test_two_ranks_give_the_bits_of_one_process(folder, capsys, monkeypatch, teacher, file):
    """A step of ranks that hear of each other; only the first writes and prints."""
    more = ("--steps", 1, "--batch-size", 4, "--shards", 2, "--dropout", 0.1, "--clip", 1e9)
    outs = [f"alone-{teacher}", f"ranks-{teacher}"]
    capsys.readouterr()
    assert run(arguments(folder, teacher, [file], outs[0], more)) == 0
    assert ("tokens and are truncated" in capsys.readouterr().out) == (file == "long.jsonl")
    other = Rank(1)
    monkeypatch.setattr("minibert.cli.ranks.launched_ranks", lambda: other)
    try:
        assert run(arguments(folder, teacher, [file], outs[1], more)) == 0
    finally:
        logging.disable(logging.NOTSET)  # of the other rank alone
    assert not capsys.readouterr().out
    assert not (folder / outs[1]).exists()
    first = Rank(0, heard=[other.sent])
    monkeypatch.setattr("minibert.cli.ranks.launched_ranks", lambda: first)
    assert run(arguments(folder, teacher, [file], outs[1], more)) == 0
    weights = [(folder / out / "model.safetensors").read_bytes() for out in outs]
    assert weights[0] == weights[1]
    capsys.readouterr()
    assert run(["distill", folder / teacher, "-", "--out", folder / "never", *more]) != 0
    assert "standard input: several ranks can't share it" in capsys.readouterr().err


def test_every_setting_is_compared_when_a_run_is_resumed(folder):
    run(arguments(folder, out="kept", more=(*SHORT, "--keep-checkpoints")))
    found = folder / "kept" / "checkpoint-3"
    saved = Distillation(**read_state(found)["settings"])
    config = dataclasses.replace(CONFIG, num_hidden_layers=1)
    check = lambda s: resumed_model(folder / "kept", found, BertForMaskedLM, config, s)  # noqa: E731
    check(saved)
    others = {"shards": 3, "batch_size": 9, "soft_tokens": "all", "teacher": "1", "data": "1",
              "tokenizer": "1", "seed": 7}  # fmt: skip
    for field in dataclasses.fields(Distillation):
        if field.name in Distillation.free or field.name == "steps":
            continue
        other = dataclasses.replace(saved, **{field.name: others.get(field.name, 0.77)})
        with pytest.raises(ValueError, match=f"^{field.name}: the run in"):
            check(other)


OTHER = object()
SEQUENCES = {  # option: more words or other arguments, and what changes
    "teacher": ({"teacher": "second"}, {"settings.teacher": OTHER, "weights": OTHER}),
    "files": ({"files": ("other.txt",)}, {"settings.data": OTHER, "rows": OTHER,
        "held_out": OTHER}),
    "layers": (["--layers", 2], {"config.num_hidden_layers": 2, "weights": OTHER}),
    "held_out": (["--held-out", "other.txt"], {"settings.data": OTHER, "rows": OTHER,
        "held_out": OTHER}),
    "documents": (["--documents", "lines"], {"settings.data": OTHER, "rows": OTHER,
        "held_out": OTHER}),
    "length": (["--length", 9], {"width": 9, "rows": OTHER, "held_out": OTHER}),
    "dropout": (["--dropout", 0.25], {"config.hidden_dropout_prob": 0.25,
        "config.attention_probs_dropout_prob": 0.25}),
    "batch_size": (["--batch-size", 100], {"settings.batch_size": 100, "settings.shards": 4}),
    "learning_rate": (["--learning-rate", 0.5], {"settings.learning_rate": 0.5}),
    "warmup": (["--warmup", 0.25], {"settings.warmup": 0.25}),
    "weight_decay": (["--weight-decay", 0.5], {"settings.weight_decay": 0.5, "decay": 0.5}),
    "clip": (["--clip", 0.5], {"settings.clip": 0.5}),
    "seed": (["--seed", 5], {"settings.seed": 5, "held_out": OTHER}),
    "shards": (["--shards", 3], {"settings.shards": 3}),
    "threads": (["--threads", 3], {"threads": 3, "evaluation_threads": 3}),
    "gradient_checkpointing": (["--gradient-checkpointing"], {"block": "Recomputed"}),
    "evaluate_every": (["--evaluate-every", 7], {"settings.evaluate_every": 7}),
    "save_every": (["--save-every", 7], {"settings.save_every": 7}),
    "keep": (["--keep", 7], {"settings.keep": 7}),
    "temperature": (["--temperature", 7], {"settings.temperature": 7}),
    "soft_weight": (["--soft-weight", 7], {"settings.soft_weight": 7}),
    "label_weight": (["--label-weight", 7], {"settings.label_weight": 7}),
    "hidden_weight": (["--hidden-weight", 7], {"settings.hidden_weight": 7}),
    "masked_share": (["--masked-share", 0.4], {"settings.masked_share": 0.4}),
    "soft_tokens": (["--soft-tokens", "all"], {"settings.soft_tokens": "all"}),
    "steps": (["--steps", 7], {"settings.steps": 7}),
    "minutes": (["--minutes", 3], {"settings.steps": 333}),
    "out": ({"out": "elsewhere"}, {"run": OTHER}),
}  # fmt: skip
CLASSES = {
    "text": (["--text", "content"], {"settings.data": OTHER, "texts": OTHER, "held_out": OTHER}),
    "label": (["--label", "kind"], {"settings.data": OTHER, "texts": OTHER, "held_out": OTHER}),
    "pair": (["--pair", "second"], {"settings.data": OTHER, "texts": OTHER, "held_out": OTHER}),
    "held_out": (["--held-out", "dev.jsonl"], {"settings.data": OTHER, "texts": OTHER,
        "held_out": OTHER}),
}  # fmt: skip
CASES = [("model", name) for name in SEQUENCES] + [("classifier", name) for name in CLASSES]
UNTESTED = {"resume", "keep_checkpoints"}  # above, by their own tests


def test_every_option_has_an_entry():
    assert {*SEQUENCES, *CLASSES} | UNTESTED == options_of("distill")


def distilled_with(words):
    """Run the command up to its training; return what it would train with (dict)."""
    seen = []

    def pretrain(model, objective, settings, tokenizer, *, optimizer, run, threads, **_):
        own = {"evaluation_threads": objective.threads, "decay": optimizer.weight_decay}
        if hasattr(objective, "rows"):
            own |= {"rows": len(objective.rows), "width": objective.rows.length,
                    "held_out": objective.held_out_labels.tobytes()}  # fmt: skip
        else:
            own |= {
                "texts": [s.tolist() for s in objective.sequences],
                "held_out": objective.held_out,
            }
        seen.append(seen_of(model, settings, run, threads, **own))
        raise Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minibert.cli.distill.pretrain", pretrain)
        patch.setattr("minibert.cli.distill.step_seconds", lambda *_: 60 / 111)
        assert run(words) == 1
    return seen[0]


@pytest.fixture(scope="module")
def before():
    return {}


@pytest.mark.parametrize(("teacher", "name"), CASES)
def test_each_option_changes_what_it_names(folder, before, teacher, name):
    if not (folder / "second").exists():
        small_tokenizer().save_pretrained(folder / "second")
        BertForMaskedLM(CONFIG, seed=9).save_pretrained(folder / "second")
    change, expected = (SEQUENCES if teacher == "model" else CLASSES)[name]
    usual = {"teacher": teacher, "more": (),
             "files": ("corpus.txt",) if teacher == "model" else ("rows.jsonl",)}  # fmt: skip
    if teacher not in before:
        before[teacher] = distilled_with(arguments(folder, **usual))
    if isinstance(change, dict):
        words = arguments(folder, **{**usual, **change})
    else:
        files = {path.name: path for path in folder.iterdir() if path.suffix}
        words = arguments(folder, **usual) + [files.get(word, word) for word in change]
    base, after = before[teacher], distilled_with(words)
    assert {key for key in base if base[key] != after[key]} == {*expected}
    for key, value in expected.items():
        assert value in (OTHER, after[key]), key


@pytest.mark.parametrize(
    ("teacher", "files", "more", "parts"),
    [
        ("model", None, ["--layers", 0], ["layers: expected 1 to 2, the teacher's layers, got 0"]),
        ("model", None, ["--layers", 3], ["layers: expected 1 to 2, the teacher's layers, got 3"]),
        ("model", None, ["--temperature", 0], ["temperature: expected more than 0, got 0"]),
        ("model", None, ["--hidden-weight", -1], ["hidden_weight: expected 0 or more, got -1"]),
        ("model", None, ["--soft-weight", 0, "--label-weight", 0, "--hidden-weight", 0],
         ["soft_weight, label_weight, hidden_weight: expected one at least above 0"]),
        ("model", None, ["--length", 17],
         ["length: expected 3 to 16 tokens, the teacher's, got 17"]),
        ("model", None, ["--text", "x"], ["--text: leave it out", "BertForMaskedLM"]),
        ("model", None, ["--dropout", 2], ["hidden_dropout_prob"]),
        ("model", None, ["--minutes", 0], ["minutes: expected more than 0"]),
        ("body", None, ["--temperature", 3], ["--temperature: leave it out", "BertModel"]),
        ("body", None, ["--hidden-weight", 0], ["expected one at least above 0"]),
        ("classifier", "rows.jsonl", ["--length", 9], ["--length: leave it out"]),
        ("classifier", "rows.jsonl", ["--label", "extra"],
         ["rows.jsonl: expected labels among the teacher's classes, cats, dogs, got 'it was a"]),
        ("classifier", "rows.jsonl texts.txt", [], ["texts.txt: expected a label for every text"]),
        ("classifier", "texts.txt", ["--label-weight", 1], ["--label-weight:", "has no labels"]),
        ("nowhere", None, [], ["nowhere"]),
        ("model", "missing.txt", [], ["missing.txt"]),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_line(folder, capsys, teacher, files, more, parts):
    names = (files or "corpus.txt").split()
    assert_refused(capsys, arguments(folder, teacher, names, more=more), *parts)
    assert not (folder / "never").exists()


def test_teachers_that_do_not_fit_are_refused(folder, capsys):
    tokenizer = small_tokenizer()
    larger = WordPieceTokenizer([*tokenizer.vocab, "##zzz"])
    larger.save_pretrained(folder / "larger")
    BertForMaskedLM(CONFIG).save_pretrained(folder / "larger")
    assert_refused(capsys, arguments(folder, "larger"), "tokenizer: expected at most",
                   f"got {len(larger)}")  # fmt: skip


def test_half_of_the_layers_are_taken_by_default(folder, capsys):
    words = [word for word in arguments(folder, more=()) if word not in ("--layers", 1)]
    assert distilled_with(words)["config.num_hidden_layers"] == 1
    assert "the layers 0 of 2" in capsys.readouterr().out

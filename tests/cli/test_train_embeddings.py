"""`minibert train-embeddings`: kinds of pairs, resumed runs, options, bad input."""

import dataclasses
import io
import itertools
import json
import signal

import numpy as np
import pytest

from minibert import BertForMaskedLM, BertModel, FeatureExtractor
from minibert.cli import train_embeddings
from minibert.cli.resume import resumed_model
from minibert.cli.train_embeddings import EPOCHS, VectorTraining, default_rate
from minibert.models.checkpoints import read_architectures
from minibert.training import Engine
from minibert.training.checkpoint import read_state
from minibert.training.history import read_history
from tests.cli.helpers import assert_refused, run, write_lines
from tests.laws.commands import CONFIG, Stopped, options_of, seen_of, small_tokenizer

SHORT = ("--steps", 3, "--batch-size", 6)
WORDS = ("cat", "dog", "tree", "mat")
PLACES = ("on the mat", "under the tree", "and it ran", "red and big", "then")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of models and pairs, triplets and scored pairs."""
    folder = tmp_path_factory.mktemp("embeddings")
    for name, kind, seed in (("body", BertModel, 0), ("masked", BertForMaskedLM, 1)):
        small_tokenizer().save_pretrained(folder / name)
        kind(CONFIG, seed=seed).save_pretrained(folder / name)
    rows = [(f"the {a} sat {b}", f"{b} was a {a}", f"a {c} {b}")
            for (a, c), b in itertools.product(zip(WORDS, WORDS[1:] + WORDS[:1], strict=True),
                                               PLACES)]  # fmt: skip
    write_lines(folder / "pairs.tsv", *("\t".join(row[:2]) for row in rows))
    write_lines(folder / "dev.tsv", *(f"{row[0]} !\t{row[1]} !" for row in rows[:5]))
    write_lines(folder / "triplets.tsv", "anchor\tpositive\tnegative", *map("\t".join, rows))
    scored = [{"sentence1": row[0], "sentence2": row[1 + n % 2], "score": 5 - n % 5, "id": n}
              for n, row in enumerate(rows)]  # fmt: skip
    write_lines(folder / "scored.jsonl", *map(json.dumps, scored))
    return folder


def arguments(folder, files=("pairs.tsv",), model="body", out="never", more=SHORT):
    return ["train-embeddings", *(folder / name for name in files), "--model", folder / model,
            "--out", folder / out, *more]  # fmt: skip


@pytest.mark.parametrize(
    ("file", "more", "loss", "metric", "detected"),
    [
        ("pairs.tsv", (), "ranking", "recall@1", "20 pairs; no header"),
        ("triplets.tsv", (), "ranking", "triplets right", "negative from 'negative'"),
        ("triplets.tsv", ("--loss", "triplet"), "triplet", "triplets right", "20 triplets"),
        ("scored.jsonl", (), "cosine", "Spearman", "score from 'score'"),
    ],
)
def test_each_kind_is_detected_trained_and_measured_before_and_after(
    folder, capsys, tmp_path, file, more, loss, metric, detected
):
    out = tmp_path / "vectors"
    words = [*arguments(folder, (file,), more=(*SHORT, *more)), "--learning-rate", 0.01]
    words[words.index("--out") + 1] = out
    assert run(words) == 0
    printed = capsys.readouterr().out
    assert detected in printed
    assert f"loss: {loss}" in printed
    assert ("the scores are from 0 to 5: divided by 5" in printed) == (loss == "cosine")
    scores = dict(line.split(": ", 1) for line in printed.splitlines() if ": " in line)
    assert metric in scores["this model"]
    assert scores["before the training"].startswith(scores["before the training, body"])
    extractor, start = (FeatureExtractor.from_pretrained(f) for f in (out, folder / "body"))
    texts = ["the cat sat", "a dog"]
    assert (extractor(texts) != start(texts)).any()
    assert not list(out.glob("checkpoint*"))
    card = (out / "README.md").read_text("utf-8")
    for part in ("pipeline_tag: sentence-similarity", "| start | body |", f"| loss | {loss} |",
                 f"| this model | {scores['this model'].partition(',')[0]}",
                 "| before the training, body |", "SentenceTransformer", "| pooling | mean |",
                 "| checksum of the model at the start |"):  # fmt: skip
        assert part in card, part
    last = [line for line in read_history(out) if any(k.startswith("held_out") for k in line)][-1]
    assert last["step"] == 3
    assert run(["similar", out, "the cat sat", folder / "dev.tsv"]) == 0


def test_any_model_is_saved_as_a_body_that_other_programs_open(folder, capsys):
    more = (*SHORT, "--pooling", "cls", "--normalize", "--max-length", 9)
    assert run(arguments(folder, model="masked", out="from-masked", more=more)) == 0
    assert read_architectures(folder / "from-masked") == ["BertModel"]
    extractor = FeatureExtractor.from_pretrained(folder / "from-masked")
    assert (extractor.pooling, extractor.normalize, extractor.max_length) == ("cls", True, 9)
    assert np.linalg.norm(extractor(["a cat"])) == pytest.approx(1)
    # Its own pooling and normalization are those of the next training.
    capsys.readouterr()
    assert run(arguments(folder, model="from-masked", out="again")) == 0
    assert "the vector of a text is that of [CLS], scaled to length 1; at most 9 tokens" in (
        capsys.readouterr().out
    )
    assert FeatureExtractor.from_pretrained(folder / "again").pooling == "cls"


def test_standard_input_and_several_files_are_read(folder, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO((folder / "dev.tsv").read_text("utf-8")))
    words = arguments(folder, out="two")
    words.insert(1, "-")
    assert run(words) == 0
    printed = capsys.readouterr().out
    assert "-: 5 pairs; no header" in printed
    assert "21 pairs to train on, 4 held out" in printed
    assert "standard input, pairs.tsv" in (folder / "two" / "README.md").read_text("utf-8")


def test_a_resumed_run_gives_the_bits_of_an_unbroken_one(folder, capsys, monkeypatch):
    original = Engine.step

    def stopped(engine, shards, rate):
        result = original(engine, shards, rate)
        if engine.optimizer.step == 2:
            signal.raise_signal(signal.SIGINT)
        return result

    whole, broken = (arguments(folder, out=name, more=("--steps", 4, "--batch-size", 6))
                     for name in ("whole", "broken"))  # fmt: skip
    assert run([*whole, "--threads", 2]) == 0
    monkeypatch.setattr(Engine, "step", stopped)
    started = [*broken, "--resume"]  # which also starts a run
    assert_refused(capsys, started, "stopped after step 2 of 4", "--resume", status=130)
    monkeypatch.setattr(Engine, "step", original)
    for option, value, field in (("--temperature", 3, "temperature"), ("--seed", 5, "seed"),
                                 ("--pooling", "cls", "pooling"), ("--max-length", 7, "max_length"),
                                 ("--split-seed", 3, "data"), ("--columns", "x", "no column"),
                                 ("--model", folder / "masked", "model"),
                                 ("--batch-size", 7, "batch_size")):  # fmt: skip
        message = field if " " in field else f"{field}: the run in"
        assert_refused(capsys, [*broken, "--resume", option, value], message)
    assert run([*broken, "--resume", "--threads", 1]) == 0
    assert "going on after step 2" in capsys.readouterr().out
    vectors = [BertModel.from_pretrained(folder / n).params.vector for n in ("whole", "broken")]
    assert (vectors[0] == vectors[1]).all()
    cards = [(folder / name / "README.md").read_text("utf-8") for name in ("whole", "broken")]
    bodies = [card.rpartition("<!--")[0].replace("broken", "whole") for card in cards]
    assert bodies[0] == bodies[1]
    assert run([*broken, "--resume"]) == 0
    assert "nothing is left to train" in capsys.readouterr().out


def test_every_setting_is_compared_when_a_run_is_resumed(folder):
    run(arguments(folder, out="kept", more=(*SHORT, "--keep-checkpoints")))
    found = folder / "kept" / "checkpoint-3"
    saved = VectorTraining(**read_state(found)["settings"])
    check = lambda s: resumed_model(folder / "kept", found, BertModel, CONFIG, s)  # noqa: E731
    check(saved)
    others = {"shards": 3, "batch_size": 9, "loss": "triplet", "distance": "cosine", "freeze": 1,
              "normalize": True, "max_length": 7, "seed": 7}  # fmt: skip
    others |= dict.fromkeys(("data", "tokenizer", "model", "pooling", "prompt"), "1")
    for field in dataclasses.fields(VectorTraining):
        if field.name in VectorTraining.free or field.name == "steps":
            continue
        other = dataclasses.replace(saved, **{field.name: others.get(field.name, 0.77)})
        with pytest.raises(ValueError, match=f"^{field.name}: the run in"):
            check(other)


OTHER = object()
OPTIONS = {  # option: more words or other arguments, and what changes
    "files": ({"files": ("pairs.tsv", "dev.tsv")}, {"settings.data": OTHER, "rows": 21,
        "held_out": OTHER, "settings.steps": 4 * EPOCHS, "settings.evaluate_every": 4}),
    "model": ({"model": "masked"}, {"settings.model": OTHER, "weights": OTHER}),
    "dev": (["--dev", "dev.tsv"], {"settings.data": OTHER, "rows": 20, "held_out": OTHER,
        "settings.steps": 4 * EPOCHS, "settings.evaluate_every": 4}),
    "dev_share": (["--dev-share", 0.5], {"settings.data": OTHER, "rows": 10, "held_out": OTHER,
        "settings.steps": 2 * EPOCHS, "settings.evaluate_every": 2}),
    "split_seed": (["--split-seed", 4], {"settings.data": OTHER, "held_out": OTHER}),
    "pooling": (["--pooling", "cls"], {"settings.pooling": "cls", "pooling": "cls"}),
    "normalize": (["--normalize"], {"settings.normalize": True, "normalize": True}),
    "max_length": (["--max-length", 7], {"settings.max_length": 7, "max_length": 7}),
    "batch_size": (["--batch-size", 9], {"settings.batch_size": 9, "settings.steps": 2 * EPOCHS,
        "settings.evaluate_every": 2}),
    "learning_rate": (["--learning-rate", 0.5], {"settings.learning_rate": 0.5}),
    "warmup": (["--warmup", 0.25], {"settings.warmup": 0.25}),
    "weight_decay": (["--weight-decay", 0.5], {"settings.weight_decay": 0.5}),
    "clip": (["--clip", 0.5], {"settings.clip": 0.5}),
    "seed": (["--seed", 5], {"settings.seed": 5}),
    "shards": (["--shards", 3], {"settings.shards": 3}),
    "threads": (["--threads", 3], {"threads": 3}),
    "gradient_checkpointing": (["--gradient-checkpointing"], {"block": "Recomputed"}),
    "evaluate_every": (["--evaluate-every", 7], {"settings.evaluate_every": 7}),
    "save_every": (["--save-every", 7], {"settings.save_every": 7}),
    "keep": (["--keep", 7], {"settings.keep": 7}),
    "temperature": (["--temperature", 7], {"settings.temperature": 7}),
    "margin": (["--margin", 7], {"settings.margin": 7}),
    "distance": (["--distance", "cosine"], {"settings.distance": "cosine"}),
    "layer_decay": (["--layer-decay", 0.5], {"settings.layer_decay": 0.5}),
    "freeze": (["--freeze", 1], {"settings.freeze": 1}),
    "epochs": (["--epochs", 2], {"settings.steps": 6}),
    "steps": (["--steps", 7], {"settings.steps": 7}),
    "minutes": (["--minutes", 3], {"settings.steps": 315}),
    "out": ({"out": "elsewhere"}, {"run": OTHER}),
}  # fmt: skip
# Above, or below, by their own tests.
UNTESTED = {"resume", "keep_checkpoints", "loss", "columns"}


def test_every_option_has_an_entry():
    assert {*OPTIONS} | UNTESTED == options_of("train-embeddings")


def trained_with(words):
    """Run the command up to its training; return what it would train with (dict)."""
    seen = []

    def train_embeddings(extractor, examples, settings, *, evaluate, run, threads, **_):
        own = {"rows": len(examples), "held_out": evaluate(0), "pooling": extractor.modes[0],
               "normalize": extractor.normalize, "max_length": extractor.max_length}  # fmt: skip
        seen.append(seen_of(extractor.model, settings, run, threads, **own))
        raise Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minibert.cli.train_embeddings.train_embeddings", train_embeddings)
        patch.setattr("minibert.cli.train_embeddings.step_seconds", lambda *_: 60 / 111)
        patch.setattr(  # a checksum of the texts instead of their metrics
            "minibert.cli.embedding_inputs.RetrievalMetrics.of_rows",
            lambda rows, encode: RowsOnly(tuple(map(tuple, rows))),
        )
        assert run(words) == 1
    return seen[0]


@dataclasses.dataclass
class RowsOnly:
    rows: tuple

    def figures(self):
        return {"rows": self.rows}

    def trivial_baseline(self):
        return "none: 0"


@pytest.fixture(scope="module")
def before(folder):
    return trained_with(arguments(folder, more=("--batch-size", 6)))


@pytest.mark.parametrize("name", OPTIONS)
def test_each_option_changes_what_it_names(folder, before, name):
    change, expected = OPTIONS[name]
    words = arguments(folder, more=("--batch-size", 6))
    if isinstance(change, dict):
        words = arguments(folder, **{"more": ("--batch-size", 6), **change})
    else:
        words += [folder / word if word == "dev.tsv" else word for word in change]
    after = trained_with(words)
    assert {key for key in before if before[key] != after[key]} == {*expected}
    for key, value in expected.items():
        assert value in (OTHER, after[key]), key


def test_default_learning_rate_depends_on_the_width_and_is_logged(folder, before, capsys):
    assert before["settings.learning_rate"] == default_rate(CONFIG.hidden_size) == 5e-4
    capsys.readouterr()
    assert run(arguments(folder, out="rate")) == 0
    assert "3 steps of 6 pairs, learning rate 0.0005" in capsys.readouterr().out


def test_columns_choose_what_is_read(folder, capsys):
    more = (*SHORT, "--columns", "sentence2", "sentence1")
    assert run(arguments(folder, ("scored.jsonl",), out="columns", more=more)) == 0
    printed = capsys.readouterr().out
    assert "20 pairs; anchor from 'sentence2', positive from 'sentence1'" in printed
    assert "loss: ranking" in printed


def test_rows_that_share_texts_and_rows_in_both_files_are_named(folder, capsys):
    path = write_lines(folder / "hub.tsv", *(f"the hub\ta {w} {n}" for n, w in enumerate(WORDS)))
    assert run(arguments(folder, (path.name,), out="hub")) == 0
    assert "most rows are connected by texts that they share" in capsys.readouterr().out
    assert run([*arguments(folder, out="same"), "--dev", folder / "pairs.tsv"]) == 0
    assert "warning: 20 of the rows in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("lines", "more", "parts"),
    [
        (None, ["--temperature", 0], ["temperature: expected more than 0, got 0"]),
        (None, ["--margin", -1], ["margin: expected more than 0, got -1"]),
        (None, ["--dev-share", 1], ["dev_share: expected a fraction between 0 and 1, got 1"]),
        (None, ["--split-seed", -1], ["split_seed: expected 0 or more, got -1"]),
        (None, ["--minutes", 0], ["minutes: expected more than 0, got 0"]),
        (None, ["--epochs", 0], ["epochs: expected more than 0, got 0"]),
        (None, ["--max-length", 17], ["max_length: expected 3 to 16 tokens, got 17"]),
        (None, ["--freeze", 3], ["freeze: expected"]),
        (None, ["--loss", "cosine"], ["expected pairs with scores for cosine", "these are pairs"]),
        (None, ["--loss", "triplet"], ["expected rows of 3 texts for triplet", "these are pairs"]),
        (None, ["--model", "nowhere"], ["nowhere"]),
        (None, ["--dev", "nothing.tsv"], ["nothing.tsv: no such file"]),
        (["a b\ta b", "c\td"], [], ["line 1: expected different texts, got 'a b' twice"]),
        (["a b\tc", "d\te"], [], ["expected at least 4 pairs to hold some out, got 2", "--dev"]),
        ([*["d\te\t0.5"] * 9, "a b\tc\tmuch"], [], ["line 10: expected a number as the score"]),
        (["a b c"], [], ["expected 2 texts, 3 texts, or 2 texts and a score"]),
    ],
)
def test_bad_input_is_refused_in_one_line(folder, capsys, lines, more, parts):
    name = "pairs.tsv"
    if lines:
        name = write_lines(folder / "bad.tsv", *lines).name
    assert_refused(capsys, arguments(folder, (name,), more=more), *parts)
    assert not (folder / "never").exists()


def test_batches_of_one_pair_are_refused(folder, capsys):
    words = arguments(folder, more=("--steps", 3, "--batch-size", 1))
    assert_refused(capsys, words, "batch_size: expected at least 2, because ranking compares")
    assert not (folder / "never").exists()


def test_all_columns_of_the_sample_decide_the_shards(folder, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(train_embeddings, "SAMPLE", 2)
    monkeypatch.setattr(
        train_embeddings, "default_shards", lambda size, tokens: seen.append(tokens) or 1
    )
    rows = write_lines(
        tmp_path / "rows.tsv", *(f"the cat {i}\t{'the dog ' * 4}{i}" for i in range(9))
    )
    words = ["train-embeddings", rows, "--model", folder / "body", "--out", tmp_path / "out"]
    assert run([*words, "--steps", 1, "--dev", folder / "dev.tsv"]) == 0
    assert seen == [5 + 11]  # with [CLS] and [SEP]


def test_models_whose_vectors_cannot_be_trained_are_refused(folder, capsys):
    source, copy = folder / "body", folder / "pooled"
    copy.mkdir()
    for path in source.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    modules = [{"path": "", "type": "sentence_transformers.models.Transformer"},
               {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]  # fmt: skip
    (copy / "modules.json").write_text(json.dumps(modules))
    (copy / "1_Pooling").mkdir()
    (copy / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode": "max"}))
    assert_refused(
        capsys, arguments(folder, model="pooled"), "pooled: pooling: expected mean or cls"
    )
    more = (*SHORT, "--pooling", "cls")
    assert run(arguments(folder, model="pooled", out="mean", more=more)) == 0


def test_broken_weights_are_refused(folder, capsys):
    model = BertModel(CONFIG)
    model.params.vector[:] = 0
    small_tokenizer().save_pretrained(folder / "zeros")
    model.save_pretrained(folder / "zeros")
    words = arguments(folder, model="zeros", out="zero-vectors")
    assert_refused(capsys, words, "vectors: expected a direction", "got zeros")


def test_worse_vectors_are_reported(folder, capsys):
    more = (*SHORT, "--learning-rate", 3, "--dev", folder / "pairs.tsv")
    run(arguments(folder, ("dev.tsv",), out="worse", more=more))
    assert "worse than before the training" in capsys.readouterr().out

"""What the commands print equals the arrays that it is computed from."""

import csv
import json
import math
import re
import statistics
from collections import Counter

import numpy as np
import pytest

from minibert import BertConfig, FeatureExtractor
from minibert import models as m
from minibert.data.tables import read_records
from minibert.inspection import inspect_text, printed
from minibert.tasks import (
    Examples,
    MultiLabelTask,
    RegressionTask,
    SingleLabelTask,
    TaggingTask,
    task_for,
)
from minibert.training.early_stopping import SCORE
from minibert.training.history import read_history
from minibert.training.loop import _ProgressBar
from tests.conftest import small_tokenizer
from tests.laws.commands import run
from tests.laws.reference import softmax

TOKENIZER = small_tokenizer()
NAMES = ["big", "red", "small"]
TEXTS = ["the cat sat", "a dog ran under it", "red", "the big tree", "it was a cat", "then , red !",
         "on the mat", "and the dog sat"]  # fmt: skip
TAGS = ["O", "B-A", "I-A", "B-B"]
rng = np.random.default_rng(3)
KINDS = {  # the labels of TEXTS
    "classification": [str(rng.choice(NAMES)) for _ in TEXTS],
    "multi-label": [[str(n) for n in NAMES if rng.random() < 0.5] for _ in TEXTS],
    "regression": rng.normal(size=len(TEXTS)).round(2).tolist(),
    "tagging": [[str(rng.choice(TAGS)) for _ in text.split()] for text in TEXTS],
}
TASKS = {task.name: task for task in (SingleLabelTask, MultiLabelTask, RegressionTask, TaggingTask)}


@pytest.fixture(scope="module")
def labellers(tmp_path_factory):
    """Return a folder with a model and a file of labelled texts for each task."""
    folder = tmp_path_factory.mktemp("labellers")
    for name, labels in KINDS.items():
        names = {"regression": ["value"], "tagging": TAGS}.get(name, NAMES)
        task = TASKS[name](names)
        config = BertConfig(
            vocab_size=len(TOKENIZER), hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=6, max_position_embeddings=12, initializer_range=0.7,
            **task.config(),
        )  # fmt: skip
        TOKENIZER.save_pretrained(folder / name)
        task.model_class(config, seed=2).save_pretrained(folder / name)
        if name == "tagging":
            pairs = [zip(text.split(), tags, strict=True)
                     for text, tags in zip(TEXTS, labels, strict=True)]  # fmt: skip
            texts = ["\n".join(f"{word} {tag}" for word, tag in each) for each in pairs]
            (folder / "tagging.conll").write_text("\n\n".join(texts) + "\n")
            continue
        rows = [{"text": text, "label": label} for text, label in zip(TEXTS, labels, strict=True)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def outputs_of(folder, name):
    """Return the probabilities or numbers for TEXTS, and the model's task."""
    task = TASKS[name]
    model = task.model_class.from_pretrained(folder / name)
    if name == "tagging":
        encodings = [TOKENIZER.encode_batch([text]) for text in TEXTS]
        return [softmax(model(**batch).logits[0, 1:-1]) for batch in encodings], task_for(model)
    logits = np.concatenate([model(**TOKENIZER.encode_batch([text])).logits for text in TEXTS])
    of_logits = {
        "classification": softmax,
        "multi-label": lambda x: 1 / (1 + np.exp(-x)),
        "regression": lambda x: x[:, 0],
    }
    return of_logits[name](logits), task_for(model)


def printed_by(capsys, *words):
    capsys.readouterr()
    assert run(*words) == 0
    return capsys.readouterr().out


def file_of(folder, name):
    return folder / ("tagging.conll" if name == "tagging" else f"{name}.jsonl")


def labels_of(name, outputs):
    """Return the predicted labels."""
    if name == "classification":
        return [NAMES[i] for i in outputs.argmax(axis=1)]
    if name == "multi-label":
        return [[NAMES[i] for i in range(3) if row[i] > 0.5] for row in outputs]
    if name == "tagging":
        return [[TAGS[i] for i in each.argmax(axis=1)] for each in outputs]
    return outputs.tolist()


def test_predict_prints_labels_and_probabilities(labellers, capsys):
    for name in KINDS:
        outputs, _ = outputs_of(labellers, name)
        labels = labels_of(name, outputs)
        lines = printed_by(capsys, "predict", labellers / name, *TEXTS).splitlines()
        if name == "tagging":
            sentences = [text.splitlines() for text in "\n".join(lines).split("\n\n")]
            assert sentences[: len(TEXTS)] == [
                [f"{word}\t{tag}" for word, tag in zip(text.split(), tags, strict=True)]
                for text, tags in zip(TEXTS, labels, strict=True)
            ]
            continue
        assert [line.split("\t") for line in lines] == [
            [*columns_of(name, label, output), text]
            for label, output, text in zip(labels, outputs, TEXTS, strict=True)
        ]


def columns_of(name, label, output):
    """Return the columns of a prediction in a tab-separated line."""
    if name == "classification":
        return [label, f"{output.max():.3f}"]
    if name == "multi-label":
        return [",".join(label), " ".join(f"{p:.3f}" for p in output)]
    return [f"{output:.4g}"]


def test_predict_prints_json_lines(labellers, capsys):
    for name in KINDS:
        outputs, _ = outputs_of(labellers, name)
        lines = printed_by(capsys, "predict", labellers / name, "--as", "jsonl", "--file",
                           file_of(labellers, name)).splitlines()  # fmt: skip
        for line, text, label, output in zip(
            lines, TEXTS, labels_of(name, outputs), outputs, strict=True
        ):
            row = json.loads(line)
            if name == "tagging":
                entities = row.pop("entities")
                assert row == {"text": text, "words": text.split(), "tags": label}
                for each in entities:
                    assert each["word"] == text[each["start"] : each["end"]]
                    first = len(text[: each["start"]].split())
                    own = slice(first, first + len(each["word"].split()))
                    assert {tag[2:] for tag in label[own]} == {each["entity_group"]}
                    assert each["score"] == pytest.approx(output[own].max(axis=1).mean(), abs=2e-5)
                assert sum(len(e["word"].split()) for e in entities) == sum(t != "O" for t in label)
                continue
            assert row["text"] == text
            if name == "regression":
                assert row["label"] == pytest.approx(label, rel=1e-4)
                continue
            assert row["label"] == label
            assert list(row["probabilities"]) == NAMES
            np.testing.assert_allclose(list(row["probabilities"].values()), output, atol=2e-5)


def percent(text, name):
    """Return the number behind a name in a line of percentages, as a share."""
    return float(re.search(rf"{name} ([\d.]+)%", text)[1]) / 100


def f1_of(pairs, names):
    """Return F1 by name, from pairs of sets of (place, name)."""
    right, said, true = (
        Counter(name for both in pairs for _, name in each(both))
        for each in (lambda both: both[0] & both[1], lambda both: both[1], lambda both: both[0])
    )
    return {n: (right[n], said[n], true[n], 2 * right[n] / max(said[n] + true[n], 1))
            for n in names}  # fmt: skip


def spans(tags):
    """Return the entities of BIO tags, as ((start, end), kind)."""
    found, start = set(), None
    for i, tag in enumerate([*tags, "O"]):
        if start is not None and (tag[:2] != "I-" or tag[2:] != tags[start][2:]):
            found.add(((start, i), tags[start][2:]))
            start = None
        if tag != "O" and start is None:
            start = i
    return found


def mistakes_in(text):
    """Return the severities, predictions, labels and texts of the printed mistakes."""
    pattern = r"^  ([\d.]+)  predicted (.*), expected (.*?):  (.*)$"
    return re.findall(pattern, text, re.M)


def test_evaluate_prints_the_metrics_of_a_classifier(labellers, capsys):
    outputs, _ = outputs_of(labellers, "classification")
    true, said = KINDS["classification"], labels_of("classification", outputs)
    text = printed_by(capsys, "evaluate", labellers / "classification",
                      file_of(labellers, "classification"))  # fmt: skip
    counts = Counter(zip(true, said, strict=True))
    table = [line.split() for line in text.splitlines()[:4]]
    assert table[0][1:] == NAMES
    assert table[1:] == [[a, *(str(counts[a, b]) for b in NAMES)] for a in NAMES]
    right = [a == b for a, b in zip(true, said, strict=True)]
    assert percent(text, "accuracy") == pytest.approx(np.mean(right), abs=6e-4)
    pairs = [({(0, a)}, {(0, b)}) for a, b in zip(true, said, strict=True)]
    each = [f1 for *_, f1 in f1_of(pairs, sorted({*true, *said})).values()]
    assert percent(text, "macro-F1") == pytest.approx(np.mean(each), abs=6e-4)
    most = Counter(true).most_common(1)[0][1] / len(true)
    assert percent(text, "commonest class:") == pytest.approx(most, abs=6e-4)
    wrong = [i for i, correct in enumerate(right) if not correct]
    worst = sorted(wrong, key=lambda i: -outputs[i].max())[:5]
    assert mistakes_in(text) == [
        (f"{outputs[i].max():.2f}", said[i], true[i], TEXTS[i]) for i in worst
    ]


def test_evaluate_prints_the_metrics_of_several_labels_and_of_entities(labellers, capsys):
    for name in ("multi-label", "tagging"):
        outputs, _ = outputs_of(labellers, name)
        true, said = KINDS[name], labels_of(name, outputs)
        text = printed_by(capsys, "evaluate", labellers / name, file_of(labellers, name))
        of = spans if name == "tagging" else lambda labels: {(0, label) for label in labels}
        pairs = [(of(a), of(b)) for a, b in zip(true, said, strict=True)]
        names = ["A", "B"] if name == "tagging" else NAMES
        found = f1_of(pairs, names)
        rows = [line.split() for line in text.splitlines()[1 : 1 + len(names)]]
        assert [row[:4] for row in rows] == [[n, *map(str, found[n][:3])] for n in names]
        for row in rows:
            assert float(row[4].rstrip("%")) / 100 == pytest.approx(found[row[0]][3], abs=6e-4)
        right, predicted, actual = (sum(each[i] for each in found.values()) for i in range(3))
        assert percent(text, "F1") == pytest.approx(2 * right / (predicted + actual), abs=6e-4)
        assert percent(text, "precision") == pytest.approx(right / max(predicted, 1), abs=6e-4)
        assert percent(text, "recall") == pytest.approx(right / actual, abs=6e-4)
        if name == "multi-label":
            exact = np.mean([set(a) == set(b) for a, b in zip(true, said, strict=True)])
            assert percent(text, "all labels right") == pytest.approx(exact, abs=6e-4)
            empty = np.mean([not each for each in true])
            assert percent(text, "never a label: all labels right") == pytest.approx(
                empty, abs=6e-4
            )
            error = {
                t: max(abs(p - (n in a)) for p, n in zip(row, NAMES, strict=True))
                for t, a, row in zip(TEXTS, true, outputs, strict=True)
            }
            wrong = [t for t, a, b in zip(TEXTS, true, said, strict=True) if set(a) != set(b)]
            worst = sorted(wrong, key=lambda t: -error[t])[:5]
            assert [(m[0], m[3]) for m in mistakes_in(text)] == [
                (f"{error[t]:.2f}", t) for t in worst
            ]
        else:
            words = [a == b for pair in zip(true, said, strict=True)
                     for a, b in zip(*pair, strict=True)]  # fmt: skip
            assert percent(text, "word accuracy") == pytest.approx(np.mean(words), abs=6e-4)
            every = [
                (float(row.max()), tags[i], labels[i],
                 " ".join([*words[:i], f"*{words[i]}*", *words[i + 1 :]]))
                for words, labels, tags, rows in zip(
                    map(str.split, TEXTS), true, said, outputs, strict=True)
                for i, row in enumerate(rows) if tags[i] != labels[i]
            ]  # fmt: skip
            worst = sorted(every, key=lambda each: -each[0])[:5]
            assert mistakes_in(text) == [(f"{p:.2f}", a, b, t) for p, a, b, t in worst]


def test_evaluate_prints_the_metrics_of_a_regression(labellers, capsys):
    said, _ = outputs_of(labellers, "regression")
    true = np.array(KINDS["regression"])
    text = printed_by(capsys, "evaluate", labellers / "regression",
                      file_of(labellers, "regression"))  # fmt: skip
    shown = {
        name: float(re.search(rf"{name} (-?[\d.]+)", text)[1])
        for name in ("R²", "mean error", "correlation", r"\(of ranks", "median: mean error")
    }
    ranks = [np.argsort(np.argsort(x)) for x in (true, said)]
    residual, total = ((true - said) ** 2).sum(), ((true - true.mean()) ** 2).sum()
    assert list(shown.values()) == pytest.approx([
        1 - residual / total, np.abs(true - said).mean(), np.corrcoef(true, said)[0, 1],
        np.corrcoef(*ranks)[0, 1], np.abs(true - np.median(true)).mean(),
    ], rel=6e-3, abs=6e-4)  # fmt: skip
    order = np.argsort(true)
    rows = [list(map(float, line.split())) for line in text.splitlines()[1:5]]
    np.testing.assert_allclose(rows, [
        [true[part[0]], true[part[-1]], np.abs(true - said)[part].mean()]
        for part in np.array_split(order, 4)
    ], rtol=6e-3)  # fmt: skip
    worst = np.argsort(-np.abs(true - said))[:5]
    assert mistakes_in(text) == [
        (f"{abs(true[i] - said[i]):.2f}", f"{said[i]:.3g}", f"{true[i]:g}", TEXTS[i]) for i in worst
    ]


def test_fill_mask_prints_the_most_probable_tokens(small_workspace, capsys):
    texts = ["the [MASK] sat on [MASK] mat", "a [MASK]"]
    text = printed_by(capsys, "fill-mask", small_workspace / "model", *texts, "--top", 4)
    model = m.BertForMaskedLM.from_pretrained(small_workspace / "model")
    expected = []
    for each in texts:
        expected.append(each)
        batch = TOKENIZER.encode_batch([each])
        shares = softmax(model(**batch).logits[0])
        for place in np.flatnonzero(batch["input_ids"][0] == TOKENIZER.mask_token_id):
            best = np.argsort(-shares[place], kind="stable")[:4]
            expected.append("  " + ", ".join(
                f"{TOKENIZER.convert_ids_to_tokens([i])[0]} {100 * shares[place, i]:.1f}%"
                for i in best
            ))  # fmt: skip
    assert text.splitlines() == expected


def test_similar_and_embed_print_the_vectors(small_workspace, tmp_path, capsys):
    model, lines = small_workspace / "body", tmp_path / "lines.txt"
    lines.write_text("\n".join(TEXTS) + "\n")
    vectors = FeatureExtractor.from_pretrained(model)(TEXTS)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for query in (0, 4):
        text = printed_by(capsys, "similar", model, TEXTS[query], lines, "--top", 3)
        cosines = unit @ unit[query]
        best = np.argsort(-cosines)[:3]
        assert [line.split("\t")[1] for line in text.splitlines()] == [TEXTS[i] for i in best]
        shown = [float(line.split("\t")[0]) for line in text.splitlines()]
        np.testing.assert_allclose(shown, cosines[best], atol=6e-4)
    for normalized, expected in ((["--normalize"], unit), ([], vectors)):
        rows = [json.loads(line) for line in printed_by(
            capsys, "embed", model, "--file", lines, *normalized).splitlines()]  # fmt: skip
        assert [row["text"] for row in rows] == TEXTS
        np.testing.assert_allclose([row["vector"] for row in rows], expected, rtol=1e-5, atol=1e-7)
    text = printed_by(capsys, "embed", model, "--file", lines, "--out", tmp_path / "v.csv")
    assert re.findall(r"\d+", text.split("v.csv")[1]) == [str(n) for n in vectors.shape]
    with (tmp_path / "v.csv").open(newline="") as file:
        _, *rows = csv.reader(file)
    assert [row[0] for row in rows] == TEXTS
    np.testing.assert_array_equal(np.array([row[1:] for row in rows], np.float32), vectors)


def test_tokenize_prints_the_encoding(small_workspace, capsys):
    folder, text = small_workspace / "tokenizer", "The cats  ran, [MASK] x"
    encoding = TOKENIZER.encode(text)
    words = ["tokenize", folder, text]
    assert printed_by(capsys, *words).split() == encoding.tokens
    ids = printed_by(capsys, *words, "--as", "ids").split()
    assert list(map(int, ids)) == encoding.input_ids
    row = json.loads(printed_by(capsys, *words, "--as", "json"))
    assert {name: row[name] for name in ("tokens", "input_ids", "word_ids")} == {
        "tokens": encoding.tokens, "input_ids": encoding.input_ids, "word_ids": encoding.word_ids,
    }  # fmt: skip
    assert [tuple(pair) for pair in row["offsets"]] == encoding.offsets
    above, tokens, places, _ = printed_by(capsys, *words, "--offsets").split("\n", 3)
    assert tokens.split() == encoding.tokens
    assert places.split() == [f"{a}-{b}" for a, b in encoding.offsets if b]
    assert above.split() == [text[a:b] for a, b in encoding.offsets if b]
    plain = printed_by(capsys, *words, "--split-special-tokens").split()
    assert plain == TOKENIZER.encode(text, split_special_tokens=True).tokens != encoding.tokens


def test_inspect_prints_the_inspection(small_workspace, capsys):
    model = m.BertForSequenceClassification.from_pretrained(small_workspace / "classifier")
    words = ["inspect", small_workspace / "classifier", "the cat sat", "--pair", "a dog"]
    for label in ("cats", "dogs"):
        seen = inspect_text(model, TOKENIZER, "the cat sat", "a dog", label=label, backward=True)
        lines = printed_by(capsys, *words, "--label", label).splitlines()
        assert lines == list(printed(seen))
    seen = inspect_text(model, TOKENIZER, "the cat sat", "a dog", backward=True)
    assert printed_by(capsys, *words, "--backward").splitlines() == list(printed(seen))
    seen = inspect_text(model, TOKENIZER, "the cat sat", "a dog")
    assert printed_by(capsys, *words).splitlines() == list(printed(seen))


def test_train_tokenizer_prints_the_number_of_pieces(small_workspace, tmp_path, capsys):
    words = ["train-tokenizer", small_workspace / "corpus.txt", "--vocab-size", 66]
    text = printed_by(capsys, *words, "--out", tmp_path / "new")
    assert text == f"{tmp_path / 'new'}: 66 pieces\n"
    assert len((tmp_path / "new" / "vocab.txt").read_text().splitlines()) == 66


@pytest.fixture
def quick(monkeypatch, small_presets):
    """Let the commands draw no curves and compute no baseline, which are slow."""
    monkeypatch.setattr("minibert.cli.plot.draw", lambda run, out: None)
    monkeypatch.setattr("minibert.tasks.base.Task.baseline", lambda *_: None)
    monkeypatch.setattr("minibert.tasks.classification._ClassificationTask.baseline",
                        lambda *_: None)  # fmt: skip


def test_pretrain_prints_the_figures_of_its_history(small_workspace, tmp_path, capsys, quick):
    corpus, held_out = small_workspace / "corpus.txt", small_workspace / "other.txt"
    text = printed_by(
        capsys, "pretrain", corpus, "--held-out", held_out, "--tokenizer",
        small_workspace / "tokenizer", "--length", 12, "--steps", 4, "--batch-size", 4,
        "--evaluate-every", 2, "--out", tmp_path / "run",
    )  # fmt: skip
    sizes = [
        sum(len(TOKENIZER.ids_of(line)) for line in path.read_text().splitlines())
        + len(path.read_text().split("\n\n"))  # a [SEP] for each document
        for path in (corpus, held_out)
    ]
    assert "{:,} tokens to train on, {:,} held out".format(*sizes) in text
    evaluations = [line for line in read_history(tmp_path / "run") if "held_out_loss" in line]
    first, last = evaluations
    figures = "loss {held_out_loss:.3f}, accuracy {:.1f}%"
    assert re.search(
        f"^step 2: held-out {figures.format(100 * first['held_out_accuracy'], **first)}$",
        text,
        re.M,
    )
    assert re.search(
        f"^held out: +{figures.format(100 * last['held_out_accuracy'], **last)}$", text, re.M
    )
    (baseline,) = re.findall(r"^unigram baseline: +loss ([\d.]+)", text, re.M)
    assert float(baseline) == pytest.approx(last["yardstick_loss"], abs=6e-4)


def rows_of(path):
    rows = read_records(path, labelled=True)
    return Examples([row.text for row in rows], None, [row.label for row in rows])


def test_finetune_prints_the_figures_of_its_history(small_workspace, tmp_path, capsys, quick):
    train, dev = small_workspace / "rows.jsonl", small_workspace / "dev.jsonl"
    text = printed_by(
        capsys, "finetune", train, "--dev", dev, "--tokenizer", small_workspace / "tokenizer",
        "--epochs", 2, "--batch-size", 8, "--learning-rate", 0.03, "--seeds", 2, "--seed", 4,
        "--out", tmp_path / "run",
    )  # fmt: skip
    examples = rows_of(train)
    assert f"{len(examples)} texts to train on, {len(rows_of(dev))} to evaluate on" in text
    counts = Counter(examples.labels)
    (line,) = re.findall(r"^classes: (.*)$", text, re.M)
    assert dict(each.rsplit(" ", 1) for each in line.split(", ")) == {
        name: str(n) for name, n in counts.items()
    }
    assert text.count("2 epochs, 8 texts per step, learning rate 0.03") == 2
    parts = text.split("seed 4:")[1].split("seed 5:")
    finals = []
    for seed, part in zip((4, 5), parts, strict=True):
        history = read_history(tmp_path / "run" / f"seed-{seed}")
        evaluations = [line for line in history if SCORE in line]
        shown = {
            int(step): (float(accuracy), float(f1))
            for step, accuracy, f1 in re.findall(
                r"step (\d+): held-out accuracy ([\d.]+)%, macro-F1 ([\d.]+)%", part
            )
        }
        assert shown == {
            line["step"]: (round(100 * line["held_out_accuracy"], 1),
                           round(100 * line["held_out_macro_f1"], 1))
            for line in evaluations[:-1]
        }  # fmt: skip
        rates = [line["rate"] for line in history if "rate" in line]
        assert (len(rates), max(rates)) == (2 * 3, 0.03)
        assert all(line[SCORE] == line["held_out_macro_f1"] for line in evaluations)
        best = max(evaluations, key=lambda line: (line[SCORE], line["step"]))
        finals.append(best)
        assert (
            f"accuracy {best['held_out_accuracy']:.1%}, macro-F1 {best['held_out_macro_f1']:.1%}"
            in part
        )
    for name in ("accuracy", "macro_f1"):
        values = [line[f"held_out_{name}"] for line in finals]
        assert (
            f"  {name}: {statistics.mean(values):.3f} ± {statistics.stdev(values):.3f} "
            f"({min(values):.3f} to {max(values):.3f})" in text
        )
    scores = [line[SCORE] for line in finals]
    kept = 4 + scores.index(max(scores))
    assert f"contains the model of seed {kept}" in text
    weights = [
        path / "model.safetensors" for path in (tmp_path / "run", tmp_path / f"run/seed-{kept}")
    ]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_truncated_texts_are_counted(labellers, capsys):
    long = ["the cat " * 9, "a dog", "red " * 20]
    assert run("predict", labellers / "classification", *long) == 0
    assert "2 of 3 texts are longer than 12 tokens" in capsys.readouterr().err


class Bar:
    """A false progress bar of tqdm, after two seconds."""

    format_dict = {"elapsed": 2.0}  # noqa: RUF012

    def __init__(self):
        self.steps, self.words = 0, []

    def update(self, count):
        self.steps += count

    def set_postfix_str(self, text, refresh):
        self.words.append(text)


def test_the_progress_bar_shows_the_smoothed_loss_and_the_speed():
    bar = _ProgressBar(Bar())
    for tokens, loss in ((1000, 4.0), (3000, 2.0), (2000, 8.0)):
        bar.advance(tokens, loss)
    assert bar.bar.steps == 3
    second = 0.95 * 4 + 0.05 * 2
    assert bar.bar.words == [
        "loss 4.000, 500 tokens/s", f"loss {second:.3f}, 2,000 tokens/s",
        f"loss {0.95 * second + 0.05 * 8:.3f}, 3,000 tokens/s",
    ]  # fmt: skip


def test_the_text_of_a_model_shows_its_parameters():
    model = m.BertForSequenceClassification(BertConfig(
        vocab_size=17, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=5, max_position_embeddings=9))  # fmt: skip
    lines = repr(model).splitlines()
    assert lines[0] == "BertForSequenceClassification"
    leaves = [line.split(") ") for line in lines if ")" in line]
    shapes = [tuple(map(int, re.findall(r"\d+", left.split("(")[1]))) for left, _ in leaves]
    counts = [int(right.replace(",", "")) for _, right in leaves]
    assert counts == [math.prod(shape) for shape in shapes]
    assert sorted(shapes) == sorted(array.shape for array in model.params.values())
    totals = {line.split()[0]: line.split()[-1] for line in lines if re.match(r"  \S", line)}
    assert sum(int(n.replace(",", "")) for n in totals.values()) == model.params.vector.size

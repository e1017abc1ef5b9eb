"""Inspection shows the arrays of a model: in the terminal, on the page, in the curves."""

import base64
import json
import re
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from minibert import BertConfig
from minibert import models as m
from minibert.inspection import inspect_text, printed, write_page
from minibert.inspection.curves import curves, smoothed
from minibert.training.history import HISTORY, draw
from tests.conftest import small_tokenizer
from tests.laws.reference import Reference

TEXT, PAIR = "the cat [MASK] on a mat and [MASK] ran", "a dog sat . the tree"
TOKENIZER = small_tokenizer()
KINDS = [m.BertForMaskedLM, m.BertForSequenceClassification, m.BertForTokenClassification]
LABELS = {0: "first", 1: "second", 2: "third"}


@pytest.fixture(scope="module", params=KINDS)
def seen(request):
    """Return a model, a batch of one text that is cut, the output, and the inspection."""
    config = BertConfig(
        vocab_size=len(TOKENIZER), hidden_size=8, num_hidden_layers=3, num_attention_heads=2,
        intermediate_size=6, max_position_embeddings=11, initializer_range=0.6, id2label=LABELS,
    )  # fmt: skip
    model = request.param(config, dtype=np.float64)
    batch = TOKENIZER.encode_batch([TEXT], [PAIR], max_length=11)
    out = model(**batch, output_hidden_states=True, output_attentions=True)
    return model, batch, out, inspect_text(model, TOKENIZER, TEXT, PAIR, backward=True)


def softmax(x):
    shares = np.exp(x - x.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


def expected_predictions(model, batch, logits):
    """Return the predictions by place: names and probabilities, the most probable first."""
    tokens = TOKENIZER.convert_ids_to_tokens(batch["input_ids"][0])
    shares = softmax(logits)
    if isinstance(model, m.BertForMaskedLM):
        names, masks = list(TOKENIZER.vocab), [t for t, x in enumerate(tokens) if x == "[MASK]"]
        places, count = {f"token {t}": shares[t] for t in masks}, 5
    elif isinstance(model, m.BertForTokenClassification):
        names, count = list(LABELS.values()), 1
        return [(tokens[t], [(names[shares[t].argmax()], shares[t].max())])
                for t in range(1, len(tokens) - 1)]  # fmt: skip
    else:
        names, places, count = list(LABELS.values()), {"the text": shares}, 3
    return [
        (place, sorted(zip(names, each, strict=True), key=lambda pair: -pair[1])[:count])
        for place, each in places.items()
    ]


def test_an_inspection_has_the_outputs_of_the_model(seen):
    model, batch, out, inspection = seen
    assert inspection.kind == type(model).__name__
    assert inspection.text == f"{TEXT} | {PAIR}"
    assert inspection.ids == batch["input_ids"][0].tolist()
    assert inspection.tokens == TOKENIZER.convert_ids_to_tokens(inspection.ids)
    assert inspection.cut == len(TOKENIZER.encode(TEXT, PAIR).input_ids) - 11
    np.testing.assert_allclose(inspection.attentions, np.concatenate(out.attentions), 1e-10)
    np.testing.assert_allclose(inspection.hidden_states, np.concatenate(out.hidden_states), 1e-10)
    expected = expected_predictions(model, batch, out.logits[0])
    for (place, answers), (at, theirs) in zip(inspection.predictions, expected, strict=True):
        assert place == at
        assert [name for name, _ in answers] == [name for name, _ in theirs]
        np.testing.assert_allclose([p for _, p in answers], [p for _, p in theirs])
    states = inspection.hidden_states
    unit = states / np.linalg.norm(states, axis=-1, keepdims=True)
    cosines = np.einsum("ltd,lud->ltu", unit, unit)
    np.testing.assert_allclose(inspection.similarities(), cosines, atol=1e-12)
    parts = [each.part for each in inspection.activations]
    order = ["embeddings", "block 1", "block 2", "block 3", "head"]
    assert list(dict.fromkeys(parts)) == order
    for each in inspection.activations:
        assert each.shape == each.value.shape
        assert each.norm == pytest.approx(np.sqrt((each.value**2).sum()))
        assert each.gradient_norm == pytest.approx(np.sqrt((each.gradient**2).sum()))


def test_activations_and_their_gradients_are_those_of_the_reference(seen):
    """The gradients: by a small shift of the activation in a random direction."""
    model, batch, _, inspection = seen
    kind, batch = type(model), list(batch.values())
    reference = Reference(kind, model.config, model.params)
    logits = reference.logits(*batch)
    *activations, last = inspection.activations
    assert [(a.part, a.name) for a in activations] == list(reference.seen)
    np.testing.assert_allclose(last.value, logits[0], 1e-9, 1e-11)
    rng = np.random.default_rng(0)
    for a in activations:
        key = a.part, a.name
        np.testing.assert_allclose(a.value, reference.seen[key][0], 1e-9, 1e-11, err_msg=str(key))
        direction = rng.normal(size=a.shape)
        up, down = (
            (Reference(kind, model.config, model.params, shifts={key: step * direction[None]})
             .logits(*batch)[0] * last.gradient).sum()
            for step in (1e-5, -1e-5)
        )  # fmt: skip
        assert (a.gradient * direction).sum() == pytest.approx((up - down) / 2e-5, 1e-5, 1e-8), key
    words = inspection.activations[0]
    saliency = (words.value * words.gradient).sum(axis=-1)
    np.testing.assert_allclose(inspection.saliency, saliency, 1e-10, 1e-13)


def test_printed_lines_contain_the_inspection(seen):
    *_, inspection = seen
    lines = list(printed(inspection))
    assert lines[0] == f"{inspection.kind}: {inspection.text}"
    assert re.findall(r"\d+", lines[1]) == [str(inspection.cut)]
    for (place, answers), line in zip(inspection.predictions, lines[2:], strict=False):
        shown = ", ".join(f"{name} {100 * share:.1f}%" for name, share in answers)
        assert line == f"{place}: {shown}"
    at = 2 + len(inspection.predictions) + 1
    rows = [line.split() for line in lines[at + 1 : at + 1 + len(inspection.tokens)]]
    assert rows == [
        [token, str(i), f"{value:+.4f}"]
        for token, i, value in zip(
            inspection.tokens, inspection.ids, inspection.saliency, strict=True
        )
    ]
    text = "\n".join(lines)
    forward, backward = text.split("gradients, output to input")
    attention = re.findall(r"^  block (\d): (.*)$", forward, re.M)
    for block, (number, line) in enumerate(attention):
        shares = inspection.attentions[block, :, 0].mean(axis=0)
        best = sorted(range(len(shares)), key=lambda t: -shares[t])[:3]
        assert int(number) == block + 1
        assert line == ", ".join(f"{inspection.tokens[t]} {100 * shares[t]:.1f}%" for t in best)
    assert len(attention) == len(inspection.attentions)
    assert f"of the score of {inspection.score}:" in backward
    table = re.compile(r"^  (\S.*?)  +(\d+(?: x \d+)*)  +(\S+)$", re.M)
    for part, values in ((forward, "norm"), (backward, "gradient_norm")):
        shown = table.findall(part)
        every = inspection.activations[:: 1 if values == "norm" else -1]
        assert shown == [
            (a.name, " x ".join(map(str, a.value.shape)), f"{getattr(a, values):.4g}")
            for a in every
        ]
        headings = [
            line for line in part.splitlines() if re.fullmatch(r"block \d|embeddings|head", line)
        ]
        assert headings == list(dict.fromkeys(a.part for a in every))


def numbers(text, dtype, shape, scale):
    return np.frombuffer(base64.b64decode(text), dtype).reshape(shape) / scale


def test_every_field_of_the_page_is_the_inspections(seen, tmp_path):
    *_, seen = seen
    write_page(tmp_path / "page.html", "a title", [seen])
    page = (tmp_path / "page.html").read_text("utf-8")
    (data,) = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])
    L, K, T, _ = seen.attentions.shape
    shown = {
        "kind": seen.kind, "text": seen.text, "tokens": seen.tokens, "ids": seen.ids,
        "cut": seen.cut, "score": seen.score, "heads": K,
        "predictions": [[place, [list(pair) for pair in answers]]
                        for place, answers in seen.predictions],
    }  # fmt: skip
    compared = {"saliency", "activations", "attentions", "similarities", "states", "scales"}
    assert {*data} == {*shown} | compared
    assert {name: data[name] for name in shown} == shown
    np.testing.assert_allclose(data["saliency"], seen.saliency, rtol=1e-4)
    assert [row[:3] for row in data["activations"]] == [
        [a.part, a.name, list(a.shape)] for a in seen.activations
    ]
    for column, name in ((3, "norm"), (4, "gradient_norm")):
        values = [getattr(a, name) for a in seen.activations]
        np.testing.assert_allclose([row[column] for row in data["activations"]], values, rtol=1e-4)
    weights = numbers(data["attentions"], "<u2", (L, K, T, T), 65535)
    np.testing.assert_allclose(weights, seen.attentions, atol=1e-5)
    cosines = numbers(data["similarities"], "<i2", (L + 1, T, T), 32767)
    np.testing.assert_allclose(cosines, seen.similarities(), atol=4e-5)
    assert "const WEIGHT = 65535, COSINE = 32767" in page
    states = numbers(data["states"], "<i2", seen.hidden_states.shape, 32767)
    scales = np.reshape(data["scales"], (-1, 1, 1))
    np.testing.assert_allclose(states * scales, seen.hidden_states, atol=1e-4 * scales.max())


LINES = {
    "training": [(1, 5.5), (4, 2.25), (10, 3.0), (16, 1.5)],
    "held < out": [(4, 6.0), (20, 2.0)],
    "baseline": [(4, 4.0), (20, 4.0)],
}


def test_curves_are_drawn_at_their_points():
    picture = curves("a title", LINES, "nats")
    ticks = [
        (float(value), float(y) - 4)
        for y, value in re.findall(r'y="([\d.]+)" class="tick end">([-\d.e]+)<', picture)[:5]
    ]
    (low, bottom), *_, (high, top) = ticks
    assert (low, high) == (1.5, 6.0)
    np.testing.assert_allclose([value for value, _ in ticks], np.linspace(1.5, 6, 5), rtol=5e-3)
    rules = [float(y) for y in re.findall(r'class="rule" d="M48 ([\d.]+)H', picture)]
    np.testing.assert_allclose(rules, [y for _, y in ticks], atol=0.11)
    np.testing.assert_allclose(rules, np.linspace(bottom, top, 5), atol=0.11)
    left, right = (float(x) for x in re.search(r'd="M([\d.]+) [\d.]+H([\d.]+)"', picture).groups())
    drawn = re.findall(r'points="([^"]*)" fill="none" stroke="(#\w+)"', picture)
    names = re.findall(r'fill="(#\w+)" class="end">([^<]*)<', picture)
    for (points, stroke), (colour, name), (wanted, line) in zip(
        drawn, names, LINES.items(), strict=True
    ):
        assert stroke == colour
        assert name == f"{wanted.replace('<', '&lt;')}, nats"
        places = np.array([[float(n) for n in point.split(",")] for point in points.split()])
        steps = (places[:, 0] - left) / (right - left) * 20
        values = low + (places[:, 1] - bottom) / (top - bottom) * (high - low)
        np.testing.assert_allclose(np.stack([steps, values], axis=1), line, atol=0.02)
    assert len({stroke for stroke, _ in drawn}) == 3
    assert ">step 0<" in picture
    assert re.search(r'class="tick end">20<', picture)


def test_smoothed_is_the_moving_average_at_the_same_steps():
    points = [(step, float(np.sin(step) + step)) for step in range(3, 1200, 3)]
    for share in (0.5, 0.95):
        mean, expected = points[0][1], []
        for step, value in points:
            mean = share * mean + (1 - share) * value
            expected.append((step, mean))
        np.testing.assert_allclose(smoothed(points, share), expected)
    by_hand = dict(smoothed_by_hand(1000))
    thinned = smoothed([(i, float(i)) for i in range(1000)])
    np.testing.assert_allclose([mean for _, mean in thinned], [by_hand[i] for i, _ in thinned])
    assert thinned[-1][0] == 999


def smoothed_by_hand(count):
    mean = 0.0
    for i in range(count):
        mean = 0.95 * mean + 0.05 * i
        yield i, mean


class Axes:
    """Records what is drawn."""

    def __init__(self):
        self.lines, self.words = {}, {}

    def plot(self, steps, values, *style, label=""):
        self.lines[label] = [*zip(steps, values, strict=True)]

    def axhline(self, y, *, label, **style):
        self.lines[label] = y

    def legend(self):
        self.words["legend"] = True

    def __getattr__(self, name):
        assert name in ("set_ylabel", "set_xlabel")
        return lambda word: self.words.update({name: word})


def test_plot_draws_the_history(tmp_path, monkeypatch):
    """With a false matplotlib, which records the calls."""
    lines = [
        {"step": 1, "loss": 4.0, "norm": 1.0, "rate": 0.1, "tokens_per_second": 100},
        {"step": 2, "loss": 2.0, "norm": 1.0, "rate": 0.2, "tokens_per_second": 200},
        {"step": 2, "held_out_loss": 3.5, "held_out_accuracy": 0.3, "yardstick_loss": 6.5},
        {"step": 3, "loss": 1.0, "norm": 1.0, "rate": 0.05, "tokens_per_second": 100},
        {"step": 3, "held_out_loss": 2.5, "held_out_accuracy": 0.4, "yardstick_loss": 6.5},
    ]
    (tmp_path / HISTORY).write_text("".join(json.dumps(line) + "\n" for line in lines))
    axes = [Axes() for _ in range(3)]
    figure = SimpleNamespace(
        subplots=lambda *_, **__: axes,
        savefig=lambda path, format: path.write_text(format),
    )
    module = ModuleType("matplotlib.figure")
    module.Figure = lambda **_: figure
    monkeypatch.setitem(sys.modules, "matplotlib", ModuleType("matplotlib"))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", module)
    for name in ("curves.svg", "curves.png"):
        draw(tmp_path, tmp_path / name)
        assert (tmp_path / name).read_text() == name[-3:]
    losses, rate, speed = axes
    assert losses.lines["training, smoothed"] == [
        (1, 4.0), (2, pytest.approx(3.9)), (3, pytest.approx(0.95 * 3.9 + 0.05))]  # fmt: skip
    assert losses.lines["held out"] == [(2, 3.5), (3, 2.5)]
    assert losses.lines["unigram baseline"] == 6.5
    assert rate.lines[""] == [(1, 0.1), (2, 0.2), (3, 0.05)]
    assert speed.lines[""] == [(1, 100), (2, pytest.approx(105)), (3, pytest.approx(104.75))]
    assert [each.words["set_ylabel"] for each in axes] == [
        "loss, nats", "learning rate", "tokens/s"]  # fmt: skip

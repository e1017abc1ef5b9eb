"""The page's script shows the arrays of an inspection; needs node, and is skipped without it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from minibert import BertConfig
from minibert import models as m
from minibert.inspection import inspect_text, write_page
from tests.conftest import small_tokenizer

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")
LABELS = {0: "first", 1: "second", 2: "third"}


@pytest.fixture(scope="module", params=[m.BertForSequenceClassification, m.BertForMaskedLM])
def page(request, tmp_path_factory):
    """Return an inspection, and what its page shows (dict)."""
    tokenizer = small_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=6, max_position_embeddings=7, initializer_range=0.6, id2label=LABELS,
    )  # fmt: skip
    model = request.param(config, dtype=np.float64)
    seen = inspect_text(model, tokenizer, "the [MASK] sat on [MASK] cat mat", backward=True)
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(path, "a title", [seen])
    script = Path(__file__).with_name("page.mjs")
    done = subprocess.run([NODE, script, path], capture_output=True, text=True, check=True)
    return seen, json.loads(done.stdout)


def percent(share):
    return f"{100 * share:.1f}%"


def test_texts_tokens_and_predictions(page):
    seen, shown = page
    L, K, T, _ = seen.attentions.shape
    assert shown["title"] == seen.text
    assert shown["what"] == (
        f"{seen.kind}, {L} layers, {K} heads, {T} tokens; the last {seen.cut} tokens are cut"
    )
    assert seen.score in shown["saliency"]
    expected = []
    for place, answers in seen.predictions:
        expected += [place] * (len(seen.predictions) > 1)
        expected += [[name, percent(share), percent(share)] for name, share in answers]
    assert shown["predictions"] == expected
    assert [(token, title) for token, title, *_ in shown["tokens"]] == [
        (token, f"id {i}") for token, i in zip(seen.tokens, seen.ids, strict=True)
    ]
    values = [float(value) for *_, value, _ in shown["tokens"]]
    np.testing.assert_allclose(values, seen.saliency, rtol=6e-3)
    strongest = np.abs(seen.saliency).max()
    for (*_, colour), value in zip(shown["tokens"], seen.saliency, strict=True):
        assert_colour(colour, 0.5 * value / strongest)


def assert_colour(colour, value):
    """Check the opacity and the kind of a colour for a value from -1 to 1."""
    name, opacity = re.fullmatch(r"rgba\(--(accent|against), (.*)\)", colour).groups()
    assert float(opacity) == pytest.approx(abs(value), abs=1e-3)
    assert (name == "against") == (value < 0) or abs(value) < 1e-3


def test_activations(page):
    seen, (header, *rows) = page[0], page[1]["activations"]
    assert header == ["", "shape", "norm", "gradient norm", "chapter"]
    expected, before = [], None
    for a in seen.activations:
        if a.part != before:
            expected.append([a.part])
            before = a.part
        expected.append([a.name, " × ".join(map(str, a.shape)), a.norm, a.gradient_norm])
    assert [row[:2] for row in rows] == [row[:2] for row in expected]
    for row, (_, *rest) in zip(rows, expected, strict=True):
        if rest:
            assert [float(cell) for cell in row[2:4]] == pytest.approx(rest[1:], rel=6e-4)
    chapters = {row[0]: row[4] for row in rows if len(row) > 1}
    assert chapters["key"] == "chapter 6, attention"
    assert chapters["residual sum (attention)"] == "chapter 9, block"
    last = "10, masked LM" if "transform" in chapters else "14, fine-tuning"
    assert chapters["logits"] == f"chapter {last}"
    assert all(re.fullmatch(r"chapter \d+, .+", chapter) for chapter in chapters.values())


def weights_of(seen, choice):
    layer, head = choice.split()
    heads = seen.attentions[int(layer)]
    return heads.mean(axis=0) if head == "mean" else heads[int(head)]


def test_attention_as_grid_and_as_lines(page):
    seen, shown = page
    L, K, T, _ = seen.attentions.shape
    named = [f"{token} ({t})" for t, token in enumerate(seen.tokens)]
    choices = {f"{layer} {head}" for layer in range(L) for head in ["mean", *range(K)]}
    assert {*shown["attention"]} == {*shown["lines"]} == {*shown["pointed"]} == choices
    for choice in choices:
        weights = weights_of(seen, choice)
        places = [(t, u) for t in range(T) for u in range(T)]
        for (t, u), (text, colour, x, y) in zip(places, shown["attention"][choice], strict=True):
            assert (x, y) == (u, t)
            start, share = text.rsplit(": ", 1)
            assert start == f"{named[t]} attends to {named[u]}"
            assert float(share.rstrip("%")) == pytest.approx(100 * weights[t, u], abs=0.06)
            assert_colour(colour, weights[t, u])
        assert_lines(shown["lines"][choice], weights, range(T))
        for t, (text, lines) in enumerate(shown["pointed"][choice]):
            assert_lines(lines, weights, [t])
            start, answers = text.split(" attends to ")
            assert start == named[t]
            best = sorted(range(T), key=lambda u: -weights[t, u])[:5]
            shares = [100 * weights[t, u] for u in best]
            found = re.findall(r"(\S+ \(\d+\)) ([\d.]+)%", answers)
            assert len(found) == len(best)
            assert [float(share) for _, share in found] == pytest.approx(shares, abs=0.06)
            for name, share in found:
                u = named.index(name)
                assert float(share) == pytest.approx(100 * weights[t, u], abs=0.06)


def assert_lines(lines, weights, tokens):
    """Check the lines between tokens: their ends and their opacity."""
    drawn = {}
    for line in lines:
        t, u = (round((float(line[y]) - 8) / 22 - 0.5) for y in ("y1", "y2"))
        assert float(line["x1"]) < float(line["x2"])
        assert float(line["stroke-width"]) == pytest.approx(1 + 3 * float(line["opacity"]))
        drawn[t, u] = float(line["opacity"])
    for t in tokens:
        for u, weight in enumerate(weights[t]):
            assert drawn.pop((t, u), 0.0) == pytest.approx(
                weight if weight >= 0.01 else 0, abs=1e-4
            )
    assert not drawn


def test_similarities(page):
    seen, shown = page
    T = len(seen.tokens)
    assert {*shown["similarity"]} == {str(depth) for depth in range(len(seen.hidden_states))}
    for depth, cosines in enumerate(seen.similarities()):
        rows = iter(shown["similarity"][str(depth)])
        for t in range(T):
            for u in range(T):
                text, colour, x, y = next(rows)
                assert (x, y) == (u, t)
                start, value = text.rsplit(": ", 1)
                assert start == f"{seen.tokens[t]} ({t}) and {seen.tokens[u]} ({u})"
                assert float(value) == pytest.approx(cosines[t, u], abs=6e-4)
                assert_colour(colour, cosines[t, u])


def test_hidden_states(page):
    seen, shown = page
    assert {*shown["states"]} == {str(depth) for depth in range(len(seen.hidden_states))}
    for depth, vectors in enumerate(seen.hidden_states):
        largest = np.abs(vectors).max()
        drawn = shown["states"][str(depth)]
        low, _, high, _ = drawn["legend"]
        assert [float(low), float(high)] == pytest.approx([-largest, largest], rel=6e-3)
        rows = iter(drawn["rows"])
        for (t, u), value in np.ndenumerate(vectors):
            text, colour, x, y = next(rows)
            assert (x, y) == (u, t)
            start, number = text.rsplit(": ", 1)
            assert start == f"{seen.tokens[t]} ({t}), unit {u}"
            assert float(number) == pytest.approx(value, rel=1e-3, abs=1e-4 * largest)
            assert_colour(colour, value / largest)


def test_grids_name_their_axes_and_have_a_legend(page):
    shown = page[1]
    assert shown["legends"]["attention"] == ["0", "", "1", "attention weight"]
    assert shown["legends"]["similarity"] == ["-1", "", "1", "cosine"]
    assert shown["axes"] == {
        "attention": "↓ rows: the token that attends; → columns: the token attended to",
        "similarity": "↓ rows: tokens; → columns: tokens",
        "states": "↓ rows: tokens; → columns: hidden units",
    }

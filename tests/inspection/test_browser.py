"""The page in a real browser: what it shows, what it answers, and that it loads nothing else.

Needs the extra `browser` and a Chromium; where there is none the tests are skipped, but not in CI.
A failure leaves a screenshot in `artefacts`.
"""

import numpy as np
import pytest

from minibert import BertForSequenceClassification
from minibert.inspection import inspect_text, write_page
from minibert.inspection.curves import curves
from tests.conftest import ARTEFACTS
from tests.inspection.test_inspection import made

pytestmark = pytest.mark.browser
TEXT = 'the <cat> & "dog" ran'


@pytest.fixture(scope="module")
def seen():
    model, tokenizer = made(BertForSequenceClassification, np.float32)
    return inspect_text(model, tokenizer, TEXT, backward=True)


@pytest.fixture(params=[1400, 360])
def page(request, browser, seen, tmp_path):
    """Open the page; afterwards see that nothing was complained of and nothing else loaded."""
    path = tmp_path / "look.html"
    write_page(path, TEXT, [seen, seen], [curves("Curves", {"loss": [(1, 2.0), (9, 1.0)]}, "nats")])
    page = browser.new_page(viewport={"width": request.param, "height": 800})
    complaints, loaded = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda asked: loaded.append(asked.url))
    page.goto(path.as_uri())
    yield page
    # Taken in any case, for a fixture doesn't know how its test ended; kept if it failed.
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"{request.node.name}.png", full_page=True)
    page.close()
    assert not complaints
    assert loaded == [path.as_uri()]


def test_the_text_its_tokens_and_its_classes_are_shown(page, seen):
    assert page.title() == TEXT
    first = page.locator("section").first
    assert page.locator("h1").all_inner_texts() == [TEXT]
    assert (
        first.locator("h2").inner_text() == "BertForSequenceClassification"
    )  # not the title again
    assert page.get_by_text(TEXT, exact=True).count() == 1
    tokens = first.locator(".token").all_inner_texts()
    assert [token.splitlines()[0] for token in tokens] == seen.tokens
    numbers = [float(token.splitlines()[1]) for token in tokens]
    np.testing.assert_allclose(numbers, seen.saliency, rtol=0.01)
    ((_, answers),) = seen.predictions
    bars = first.locator(".bar").all_inner_texts()
    assert [bar.split()[0] for bar in bars] == [name for name, _ in answers]
    assert [bar.split()[-1] for bar in bars] == [f"{share:.1%}" for _, share in answers]
    assert page.locator("section").count() == 2
    assert page.locator(".pictures svg").count() == 1


def test_nothing_is_wider_than_the_window(page):
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_pointing_at_a_token_shows_its_attention_weights(page, seen):
    for layer, head in ((1, "mean"), (2, "1"), (1, "2")):
        page.locator("select.layer").first.select_option(label=str(layer))
        page.locator("select.head").first.select_option(label=head)
        weights = seen.attentions[layer - 1]
        row = weights.mean(axis=0)[1] if head == "mean" else weights[int(head) - 1, 1]
        page.locator(".lines text[tabindex]").nth(1).hover()
        said = page.locator(".attention-value").first.inner_text()
        most = int(np.argmax(row))
        assert said.startswith(f"{seen.tokens[1]} (1) attends to {seen.tokens[most]} ({most}) ")
        assert f" {row[most]:.1%}," in said
        lines = page.locator("section").first.locator(".lines line").count()
        assert lines == (np.round(row, 4) >= 0.01).sum()


def test_the_keyboard_reaches_the_tokens(page, seen):
    page.locator("select.form").first.focus()
    page.keyboard.press("Tab")
    assert page.locator(".attention-value").first.inner_text().startswith(f"{seen.tokens[0]} (0)")


def test_pointing_at_a_cell_tells_its_weight_and_its_cosine(page, seen):
    page.locator("select.form").first.select_option("grid")
    page.locator("select.head").first.select_option(label="2")
    page.locator("select.depth").first.select_option("0")
    for view, values, where, form in (
        (".attention", seen.attentions[0][1], ".attention-value", "{:.1%}"),
        (".similarity", seen.similarities()[0], ".similarity-value", "{:.3f}"),
    ):
        canvas = page.locator(f"{view} canvas").first
        column, top, width, height = (
            int(canvas.get_attribute(f"data-{name}"))
            for name in ("column", "top", "width", "height")
        )
        for t, u in ((0, 0), (2, 3)):
            canvas.hover(position={"x": column + width * u + 8, "y": top + height * t + 8})
            said = page.locator(where).first.inner_text()
            assert f"({t})" in said
            assert f"({u}): " in said
            assert said.endswith(form.format(values[t, u]))


def test_the_arrow_keys_go_from_cell_to_cell(page, seen):
    for view, where, value in (
        (".similarity", ".similarity-value", f"{seen.similarities()[-1][1, 1]:.3f}"),
        (".states", ".states-value", f"{seen.hidden_states[-1][1, 1]:.4g}"),
    ):
        page.locator(f"{view} canvas").first.focus()
        for key in ("ArrowUp", "ArrowDown", "ArrowRight"):  # no row is above the first
            page.keyboard.press(key)
        said = page.locator(where).first.inner_text()
        assert said.startswith(f"{seen.tokens[1]} (1)")
        assert float(said.split(": ")[-1]) == pytest.approx(float(value), rel=2e-3, abs=2e-3)


def test_every_grid_has_axes_and_a_legend(page, seen):
    page.locator("select.form").first.select_option("grid")
    for name, low, high in (("attention", "0", "1"), ("similarity", "-1", "1")):
        assert "rows: " in page.locator(f".{name}-axes").first.inner_text()
        assert "columns: " in page.locator(f".{name}-axes").first.inner_text()
        words = page.locator(f".{name}-legend").first.inner_text().split()
        assert words[:2] == [low, high]
    largest = np.abs(seen.hidden_states[-1]).max()
    words = page.locator(".states-legend").first.inner_text().split()
    assert [float(word) for word in words[:2]] == pytest.approx([-largest, largest], rel=6e-3)
    assert "hidden units" in page.locator(".states-axes").first.inner_text()


def test_a_wide_window_is_used(page):
    first = page.locator("section").first.bounding_box()
    width = page.viewport_size["width"]
    assert first["width"] > 0.94 * width
    left, right = (
        page.locator(f".{name}").first.bounding_box() for name in ("attention", "similarity")
    )
    assert (left["y"] < right["y"]) == (width < 700)  # below each other, or side by side


def test_the_activations_are_a_table(page, seen):
    page.locator("summary").first.click()
    rows = page.locator("table.activations").first.locator("tr:not(.part)").all_inner_texts()[1:]
    assert len(rows) == len(seen.activations)
    for row, activation in zip(rows, seen.activations, strict=True):
        name, shape, norm, gradient, chapter = row.split("\t")
        assert chapter.startswith("chapter ")
        assert name == activation.name
        assert shape == " × ".join(map(str, activation.shape))
        assert float(norm) == pytest.approx(activation.norm, rel=1e-3)
        assert float(gradient) == pytest.approx(activation.gradient_norm, rel=1e-3)

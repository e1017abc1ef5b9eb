"""Each activation has a chapter of the course, which the page names and links to."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from minibert import models as m
from minibert.inspection import inspect_text, write_page
from minibert.inspection.chapters import CHAPTERS, chapter_of
from tests.inspection.test_inspection import KINDS, TEXT, PreNorm, made

COURSE = Path(__file__).parents[2] / "docs" / "course"


@pytest.mark.parametrize("kind", KINDS)
def test_every_activation_has_a_chapter(kind):
    model, tokenizer = made(kind)
    for activation in inspect_text(model, tokenizer, TEXT).activations:
        assert chapter_of(activation.name) is not None, activation.name


def test_activations_of_a_users_block_have_chapters():
    model, tokenizer = made(m.BertForMaskedLM)
    own = m.BertForMaskedLM(model.config, dtype=np.float64, block=PreNorm)
    activations = inspect_text(own, tokenizer, TEXT).activations
    assert all(chapter_of(activation.name) for activation in activations)
    assert chapter_of("something else") is None


def test_chapters_are_numbered_and_titled():
    assert str(chapter_of("activation").title) == "GELU"
    assert chapter_of("logits").number == 14
    assert chapter_of("logits", predicts_tokens=True).number == 10
    for chapter in CHAPTERS.values():
        assert chapter.file.startswith(f"{chapter.number:02}-")
        assert chapter.title == chapter.title.strip() != ""


def test_every_chapter_is_a_file_of_the_course():
    files = {chapter.file for chapter in CHAPTERS.values()}
    assert files <= {path.name for path in COURSE.iterdir()}


@pytest.mark.parametrize("address", ["", "https://example.org/course/"])
def test_the_page_names_chapters_and_links_to_them_if_their_address_is_known(
    address, tmp_path, monkeypatch
):
    monkeypatch.setattr("minibert.inspection.page.COURSE_URL", address)
    model, tokenizer = made(m.BertForMaskedLM)
    write_page(tmp_path / "page.html", TEXT, [inspect_text(model, tokenizer, TEXT)])
    page = (tmp_path / "page.html").read_text("utf-8")
    (data,) = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])
    chapters = {(row[0], row[1]): row[5] for row in data["activations"]}
    expected = {"query": (6, "attention", "06-attention.md"),
                "up-projection": (2, "linear map", "02-linear.md")}  # fmt: skip
    for name, (number, title, file) in expected.items():
        link = address + file if address else ""
        assert chapters["block 1", name] == [f"chapter {number}, {title}", link]
    link = address and f"{address}10-masked-lm.md"
    assert chapters["head", "logits"] == ["chapter 10, masked LM", link]

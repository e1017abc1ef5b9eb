"""The pages of `docs/`: code runs, output and numbers are true, links lead somewhere."""

import logging
import re
from pathlib import Path

import pytest

from docs.make import figures, notebooks, pages, reference

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
CHAPTERS = sorted((DOCS / "course").glob("*.md"))
FIGURES = figures.table("FIGURES")
MAX_LINES = 250  # of a chapter
MAX_GUIDE_LINES = 150
SECTIONS = ("The idea", "Forward", "Backward", "By hand", "In the package")  # of most chapters
LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")  # the text may contain [CLS]


def name_of(path):
    """Return a page's path in the repository (str)."""
    return path.relative_to(ROOT).as_posix()


def links(text):
    """Return the targets of the links outside code (list of str)."""
    return LINK.findall(pages.FENCE.sub("", text))


def anchors(text):
    """Return the anchors of a page's headings, as GitHub and MkDocs make them (set of str)."""
    headings = re.findall(r"^#+ (.*)$", pages.FENCE.sub("", text), re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", heading.lower()) for heading in headings)
    return {re.sub(r"\s", "-", heading.strip()) for heading in plain}


@pytest.mark.parametrize(
    "path", [page for page in PAGES if page.parent != reference.FOLDER], ids=name_of
)
def test_output_is_what_the_code_prints(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # A command of another test may have left its handler, which prints.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    page = path.read_text("utf-8")
    assert pages.refreshed(page, str(path)) == page


@pytest.mark.parametrize("path", CHAPTERS, ids=name_of)
def test_every_number_of_a_chapter_is_computed(path):
    assert pages.unexplained_numbers(path.read_text("utf-8")) == []


@pytest.mark.parametrize("path", [*PAGES, ROOT / "README.md"], ids=name_of)
def test_links_lead_to_files_and_headings(path):
    for link in links(path.read_text("utf-8")):
        if link.startswith(("http://", "https://")):
            continue
        target, _, anchor = link.partition("#")
        file = path.parent / target if target else path
        assert file.exists(), f"{link}: no such file"
        if anchor:
            assert anchor in anchors(file.read_text("utf-8")), f"{link}: no such heading"


@pytest.mark.parametrize("path", CHAPTERS, ids=name_of)
def test_chapters_are_short_and_complete(path):
    page = path.read_text("utf-8")
    assert len(page.splitlines()) <= MAX_LINES
    assert page.startswith(f"# {int(path.name[:2])}. ")
    assert any(block.language == "python" for block in pages.blocks(page))
    assert "../figures/" in page
    headings = re.findall(r"^## (.*)$", page, re.MULTILINE)
    assert headings[0] == "The idea"
    assert "In the package" in headings


@pytest.mark.parametrize("path", sorted((DOCS / "guides").glob("*.md")), ids=name_of)
def test_guides_are_short(path):
    assert len(path.read_text("utf-8").splitlines()) <= MAX_GUIDE_LINES


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_what_their_data_give(name):
    assert figures.path_of(name).read_text("utf-8") == FIGURES[name]()


def test_every_figure_is_drawn_and_shown():
    files = {path.stem for path in figures.FOLDER.glob("*.svg")}
    assert files == set(FIGURES)
    shown = {Path(link).stem for path in [*PAGES, ROOT / "README.md"]
             for link in links(path.read_text("utf-8")) if link.endswith(".svg")}  # fmt: skip
    assert set(FIGURES) <= shown


def test_the_reference_is_what_docstrings_and_parsers_say():
    stored = {path.name: path.read_text("utf-8") for path in reference.FOLDER.iterdir()}
    assert stored == reference.pages()


def test_every_public_name_has_an_example():
    without = []
    for room in reference.ROOMS:
        shown = reference.examples(room)
        names = {name for name, _ in reference.public(room)}
        assert shown.keys() <= names, room
        without += [
            f"{room}.{name}"
            for name, value in reference.public(room)
            if name not in shown and ">>>" not in reference.docstring(value)
        ]
    assert without == []


def test_a_notebook_has_the_cells_of_its_page():
    page = "# A\n\n```python\nx = 1\n```\n\n```output\n2\n```\n\nB\n\n```text\nc\n```\n"
    cells = notebooks.notebook(page)["cells"]
    assert [cell["cell_type"] for cell in cells] == ["markdown", "code", "markdown"]
    assert [cell["source"] for cell in cells] == ["# A", "x = 1", "B\n\n```text\nc\n```"]


def stored_results(text):
    """Return the results that a text links to, as an output block (str)."""
    names = re.findall(r"benchmarks/results/(\w+)\.md", text)
    files = [(ROOT / "benchmarks" / "results" / f"{name}.md") for name in names]
    lines = "\n".join(path.read_text("utf-8").replace("```", "") for path in files)
    return f"\n```output\n{lines}\n```\n"


def test_the_figures_of_comparisons_are_in_the_results_that_they_link():
    page = (DOCS / "performance.md").read_text("utf-8")
    compared = page.split("\n## Compared with other libraries\n")[1].split("\n## ")[0]
    # A paragraph or list item, with the table below it.
    parts = re.split(r"\n\n(?!\|)|\n(?=- )", compared)
    wrong = {part: pages.unexplained_numbers(part + stored_results(part)) for part in parts}
    known = {"0.66"}  # measured on another processor
    assert {part: found for part, found in wrong.items() if {*found} - known} == {}


def test_the_figures_of_the_readme_are_those_of_the_performance_page():
    page = (DOCS / "performance.md").read_text("utf-8")
    readme = (ROOT / "README.md").read_text("utf-8")
    numbers = pages.DECIMAL.findall(pages.CITED.sub("", pages.FENCE.sub("", readme)))
    assert numbers
    assert [number for number in numbers if number not in page] == []


# The tests of the pages can fail.


def test_refreshed_replaces_output_only():
    page = "```python\nprint(1)\n```\n\n```output\n2\n```\n\n```python\nprint(3)\n```\n"
    assert pages.refreshed(page, "page") == page.replace("2\n", "1\n")


def test_blocks_share_a_namespace_and_the_page_s_line_numbers():
    page = "a\n\n```python\nx = 1\n```\n\n```python\ny = x\nraise ValueError(y)\n```\n"
    with pytest.raises(ValueError, match="1") as caught:
        pages.refreshed(page, "page")
    assert caught.traceback[-1].lineno + 1 == 9


@pytest.mark.parametrize(
    ("prose", "wrong"),
    [("0.67", []), ("−0.667", []), ("66.7 %", []), ("0.66", ["0.66"]), ("1,234.5", []), ("7", [])],
)
def test_numbers_of_the_prose_must_be_computed(prose, wrong):
    page = f"The value {prose}, as in section 3.1.\n\n```output\n0.66667 1234.5\n```\n"
    assert pages.unexplained_numbers(page) == wrong

"""`benchmarks.stored`: the tables of all results, and of a new one, are read."""

from pathlib import Path

import pytest

from benchmarks.catalogue import BENCHMARKS
from benchmarks.harness import spread, table
from benchmarks.stored import FOLDER, Ratio, processor, ratios, rows, stored_result, title
from docs.make.figures.speed import RESULTS
from tests.style import ROOT

HEADS = ("model", "batch", "side", "tokens/s", "minibert / side", "minibert's share of the peak")
RESULT = f"""# A title

{
    table(
        HEADS,
        [
            ("tiny", "4 x 8", "minibert", "1,200 (1 to 2)", "", "44% (42% to 45%)"),
            ("tiny", "4 x 8", "PyTorch", "800 (1 to 2)", spread([1.5, 1.25, 1234.5]), ""),
        ],
    )
}
{table(("side", ""), [("minibert", "NumPy")])}
2 cores of An Intel(R) CPU @ 2.70GHz without
AVX-512, 24 GiB; Python 3
"""


def test_ratios_are_those_of_the_sides_with_a_ratio():
    assert ratios(RESULT) == {("tiny", "4 x 8", "PyTorch"): Ratio(1.5, 1.25, 1234.5)}


def test_rows_are_those_of_all_tables():
    assert [len(row) for row in rows(RESULT)] == [6, 6, 2]


def test_title_and_processor_of_a_result():
    assert title(RESULT) == "A title"
    assert processor(RESULT) == "An Intel(R) CPU @ 2.70GHz without AVX-512"
    with pytest.raises(ValueError, match="A title: expected the name of a processor"):
        processor("# A title\n")


@pytest.mark.parametrize("cell", ["1.5", "1.5 (1 to)", "fast (1 to 2)"])
def test_a_ratio_in_another_form_is_refused(cell):
    with pytest.raises(ValueError, match="expected a ratio such as"):
        ratios(RESULT.replace("1.50 (1.25 to 1,234.50)", cell))


@pytest.mark.parametrize("name", [*RESULTS, "memory"])
def test_stored_results_contain_ratios_and_a_processor(name):
    text = stored_result(name)
    if text is None:
        pytest.skip("not measured yet")
    assert processor(text)
    for ratio in ratios(text).values():
        assert 0 < ratio.low <= ratio.median <= ratio.high
    assert len(ratios(text)) >= 2


def test_the_catalogue_contains_every_script_that_measures():
    modules = {one.module or one.name for one in BENCHMARKS}
    scripts = {path.stem for path in (ROOT / "benchmarks").glob("*.py") if has_quick_run(path)}
    assert modules == scripts
    assert len({one.name for one in BENCHMARKS}) == len(BENCHMARKS)


def has_quick_run(path: Path) -> bool:
    source = path.read_text("utf-8")
    return (
        "def main(" in source
        and path.stem != "__main__"
        and ("o.quick" in source or "options(__doc__" in source)
    )


def test_every_result_with_ratios_belongs_to_a_benchmark():
    names = {path.stem for path in FOLDER.glob("*.md") if ratios(path.read_text("utf-8"))}
    assert names <= {one.name for one in BENCHMARKS}

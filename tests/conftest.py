"""A tokenizer with a vocabulary small enough to read; Hypothesis without its clock."""

import logging
from pathlib import Path

import hypothesis
import pytest

from minibert.tokenization import WordPieceTokenizer

# The deadline is a wall-clock limit, by default 200 ms an example, and so is what it holds for too
# slow a drawing: a busy machine would fail both.
hypothesis.settings.register_profile(
    "minibert", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("minibert")

ARTEFACTS = Path(__file__).parents[1] / "artefacts"  # what a failed test leaves to be looked at
FAILED: set[str] = set()  # tests
WORDS = "the a cat dog sat ran on under mat tree big red and then it was s ##s ##ed . , !"


@pytest.fixture(autouse=True)
def logging_as_it_was():
    """Take back what a test did to the process's logging: the command line sets it for all."""
    package, root = logging.getLogger("minibert"), logging.getLogger()
    level, handlers = package.level, root.handlers[:]
    yield
    package.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture(scope="session")
def tokenizer():
    return small_tokenizer()


def small_tokenizer():
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split(), *letters]
    continued = [f"##{letter}" for letter in letters]
    return WordPieceTokenizer(list(dict.fromkeys([*pieces, *continued])))


def pytest_runtest_logreport(report):
    """Remove the screenshot of a browser test that passed."""
    if report.when == "teardown" and "browser" in report.keywords:
        picture = ARTEFACTS / f"{report.nodeid.split('::')[-1]}.png"
        if report.passed and report.nodeid not in FAILED:
            picture.unlink(missing_ok=True)
    elif report.failed:
        FAILED.add(report.nodeid)

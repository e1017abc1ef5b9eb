"""Shared fixtures: a small tokenizer, restored logging, and Hypothesis without time limits."""

import logging
import os
import shutil
from pathlib import Path

import hypothesis
import pytest

import minibert.cli.arguments  # noqa: F401  before a test replaces PRESETS, which it reads
from minibert.tokenization import WordPieceTokenizer

# The deadline (200 ms per example by default) and the health check for slow generation are
# wall-clock limits, which fail on a busy machine.
hypothesis.settings.register_profile(
    "long", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
# 40 examples of each property in each run, which draws others; in `.ci/full`, the usual 100.
hypothesis.settings.register_profile(
    "minibert", hypothesis.settings.get_profile("long"), max_examples=40
)
hypothesis.settings.load_profile("minibert")

ARTEFACTS = Path(__file__).parents[1] / "artefacts"  # screenshots of failed tests
FAILED: set[str] = set()  # ids of failed tests
WORDS = "the a cat dog sat ran on under mat tree big red and then it was s ##s ##ed . , !"


@pytest.fixture(autouse=True)
def logging_as_it_was():
    """Restore the logging of the process, which the command line changes."""
    package, root = logging.getLogger("minibert"), logging.getLogger()
    level, handlers = package.level, root.handlers[:]
    yield
    package.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture(scope="session", autouse=True)
def without_flushes():
    """Keep this process from flushing files to the disk: it takes 4 ms, and no test needs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda opened: None)
        yield


@pytest.fixture(scope="session")
def browser():
    """Return a Chromium; without one the test is skipped, but not in CI."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if not found and not os.environ.get("CI"):
        pytest.skip("there is no Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()


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

"""The checks that catch the mutations: gradient checks, tests, and a few of their own."""

import inspect
import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minibert import BertForMaskedLM, BertModel
from minibert.data.corpus import pack
from minibert.functional import attention
from minibert.gradcheck import away_from_initial, check_pair
from minibert.testing import cases
from minibert.testing.cases.examples import BATCH, CONFIG, MASK, MASKED_LABELS
from minibert.training import AdamW, Engine
from tests.conftest import small_tokenizer
from tests.objectives import test_masked_lm
from tests.objectives.language import packed_language


@cache
def gradients(name: str) -> Callable[[], Any]:
    """Return the gradient check of a verified case, which is made after the mutation is planted.

    A few elements and a direction through all of them are enough to catch the bugs here.
    """

    def gradient_check():
        return next(case for case in cases.cases() if case.name == name).check(entries=3)

    gradient_check.what = f"gradient check of {name}"
    return gradient_check


class Log(logging.Handler):
    """The messages of the package, as the fixture `caplog` has them."""

    def __init__(self):
        super().__init__()
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Add a message."""
        self.text += f"{record.getMessage()}\n"


@contextmanager
def _log() -> Iterator[Log]:
    logger, handler = logging.getLogger("minibert"), Log()
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@contextmanager
def _tokenizer() -> Iterator[Any]:
    yield small_tokenizer()


@contextmanager
def _packed() -> Iterator[Any]:
    yield packed_language(small_tokenizer())


@contextmanager
def _files() -> Iterator[list[Path]]:
    """Return two text files."""
    with _folder() as folder:
        paths = [folder / "one.txt", folder / "two.txt"]
        for path in paths:
            path.write_text("the cat sat on mat\n\na dog ran .\nthen it ran\n" * 20, "utf-8")
        yield paths


FIXTURES: dict[str, Callable[[], Any]] = {
    "caplog": _log,
    "files": _files,
    "monkeypatch": pytest.MonkeyPatch.context,
    "packed": _packed,
    "tmp_path": _folder,
    "tokenizer": _tokenizer,
}


def example(test: Callable[..., Any], **arguments: Any) -> Callable[[], Any]:
    """Return a check that calls a test with these arguments and with the fixtures that it needs.

    Of a test by Hypothesis only this one example is tried, because the search for the smallest
    example that fails takes long.
    """
    inner = test.hypothesis.inner_test if hasattr(test, "hypothesis") else test

    def check():
        with ExitStack() as stack:
            missing = [name for name in inspect.signature(inner).parameters
                       if name not in arguments]  # fmt: skip
            fixtures = {name: stack.enter_context(FIXTURES[name]()) for name in missing}
            return inner(**arguments, **fixtures)

    check.what = f"`{test.__name__}`"
    return check


def square_attention() -> None:
    """Check attention with T = R = H, where a wrong transpose has the right shape."""
    inputs = {
        n: np.random.default_rng(i).standard_normal((2, 3, 4, 4)) for i, n in enumerate("qkv")
    }
    check_pair(
        lambda q, k, v: attention.attention_forward(q, k, v),
        lambda dout, cache, q, k, v: dict(
            zip("qkv", attention.attention_backward(dout, cache), strict=True)
        ),
        inputs,
    )


def distinct_masks() -> None:
    """Check that the two sublayers of a block drop different units."""
    model = _model(BertModel)
    batch = model.check(**BATCH)
    _, caches = model.bert.forward(model.params, batch, rng=np.random.default_rng(0))
    first, second = (half.norm.mask for half in caches.encoder.blocks[1])
    assert (first.kept != second.kept).any()


def clipped_step() -> None:
    """Check that the optimizer gets a gradient of the largest norm."""
    model = _model(BertForMaskedLM)
    adam = AdamW(model.params, betas=(0.0, 0.999))
    norm = Engine(model, adam, clip=0.01).step([(BATCH, MASKED_LABELS)], 1e-9).norm
    assert norm > 0.01
    assert np.linalg.norm(adam.first) == pytest.approx(0.01, rel=1e-6)


def mean_loss_with_class_0() -> None:
    """Check that the loss is the mean of negative log-probabilities, those of class 0 included."""
    model = _model(BertForMaskedLM)
    out = model(**BATCH, labels=np.where(MASK == 1, 0, -100))
    logits = out.logits[MASK == 1]
    expected = np.log(np.exp(logits).sum(axis=-1)) - logits[:, 0]
    assert out.loss == pytest.approx(expected.mean())


def other_tokens_masked() -> None:
    """Check that each step masks other tokens."""
    tokenizer = small_tokenizer()
    rows = pack([["the cat sat on the mat ."] * 3], tokenizer, 16)
    test_masked_lm.test_shards_mask_other_tokens_for_each_step_and_seed(tokenizer, (rows, None))


def _model(kind: Any) -> Any:
    """Return a model in float64, away from its initial values."""
    return kind(CONFIG, params=away_from_initial(kind(CONFIG, dtype=np.float64).params))

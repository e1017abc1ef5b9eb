"""Hypothesis strategies for tests of layers, models and tokenizers.

The strategies are imported on first use, because `minibert.testing.cases`, the package's own
gradient checks, works without Hypothesis.
"""

from importlib import import_module
from typing import Any

__all__ = ["batches", "configs", "float_arrays", "parameters", "texts", "vocabularies"]


def __getattr__(name: str) -> Any:
    """Return a strategy, importing the module on first use."""
    if name in __all__:
        return getattr(import_module("minibert.testing.strategies"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Hypothesis strategies for testing layers and models, the package's own and yours.

The strategies are imported on first use, because the verified cases in `minibert.testing.cases`
work without Hypothesis.
"""

from importlib import import_module
from typing import Any

__all__ = ["batches", "configs", "float_arrays", "parameters", "texts", "vocabularies"]


def __getattr__(name: str) -> Any:
    """Import the strategies when the first of them is asked for."""
    if name in __all__:
        return getattr(import_module("minibert.testing.strategies"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

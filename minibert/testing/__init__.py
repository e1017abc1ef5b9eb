"""Laws and Hypothesis strategies for tests of layers, models and tokenizers.

The laws, such as `assert_padding_invariant`, check any function of arrays. The strategies need
Hypothesis. Both are imported on first use, because the laws and `minibert.testing.cases`, the
package's own gradient checks, work without it.
"""

from importlib import import_module
from typing import Any

__all__ = [
    "assert_batch_invariant",
    "assert_deterministic",
    "assert_gradients",
    "assert_padding_invariant",
    "assert_permutation_equivariant",
    "batches",
    "configs",
    "float_arrays",
    "parameters",
    "texts",
    "vocabularies",
]


def __getattr__(name: str) -> Any:
    """Return a law or a strategy, importing its module on first use."""
    if name in __all__:
        module = "laws" if name.startswith("assert_") else "strategies"
        return getattr(import_module(f"minibert.testing.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

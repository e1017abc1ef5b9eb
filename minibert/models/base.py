"""Base class of all models: the layers, and the one vector of their parameters."""

import copy
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from minibert.models.config import BertConfig
from minibert.models.initialization import initialize
from minibert.models.inputs import Batch, check_batch
from minibert.parameters import Parameters
from minibert.specs import ParameterSpec, Specs, tree_lines


class Model:
    """A network of stateless layers, and the one vector of its parameters.

    A subclass makes its layers (`build`), declares their parameters (`specs`) and computes
    (`__call__`).

    Called by itself, a model leaves the cores to BLAS, whose number of threads decides the last
    digits; the results of `Engine`, `FeatureExtractor` and the estimators do not depend on it.

    Args:
        config: the sizes.
        seed: of the initial weights; see `initialize`.
        dtype: float32 to train, float64 to check gradients.
        params: the parameters; None: new ones, initialized.
        parts: factories for parts that are not BERT's own; see `models.Parts`.

    Raises:
        TypeError: the dtype is not a floating-point one.
    """

    axes: tuple[str, ...] = ("B", "T")  # of the ids

    def __init__(
        self,
        config: BertConfig,
        *,
        seed: int = 0,
        dtype: DTypeLike = np.float32,
        params: Parameters | None = None,
        **parts: Any,
    ):
        if not np.issubdtype(dtype, np.floating):
            raise TypeError(f"dtype: expected a floating-point one, got {np.dtype(dtype)}")
        self.config = config
        self.frozen_names: frozenset[str] = frozenset()
        self.build(**parts)
        if params is None:
            params = Parameters(self.specs(), dtype=dtype)
            initialize(params, params, config.initializer_range, seed)
        elif params.shapes == self.shapes() and params.layout != self.specs():
            params = Parameters(self.specs(), params.vector)  # it was laid out by shapes alone
        self.params = params

    def build(self, **parts: Any) -> None:
        """Make the layers for `self.config`."""
        raise NotImplementedError

    def specs(self) -> Specs:
        """Return the declarations of all parameters by name, in the order of the layout."""
        raise NotImplementedError

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of all parameters by name."""
        specs = self.specs().items()
        return {name: spec.shape for name, spec in specs if isinstance(spec, ParameterSpec)}

    def astype(self, dtype: DTypeLike) -> Self:
        """Return a copy of the model in another dtype: composition, freezing and all."""
        return copy.deepcopy(self, {id(self.params): self.params.astype(dtype)})

    def __repr__(self) -> str:
        """Return the tree of the parameters with shapes and counts."""
        return "\n".join([type(self).__name__, *tree_lines(self.params.shapes, indent=2)])

    def check(
        self,
        input_ids: ArrayLike,
        token_type_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
    ) -> Batch:
        """Return the batch as arrays; missing segments are all 0, a missing mask is all 1.

        Raises:
            TypeError, ValueError: an array of the wrong dtype, shape or range, which is named.
        """
        longest = self.config.longest
        limits = self.config.vocab_size, self.config.type_vocab_size or 2  # 0: they are ignored
        return check_batch(self.axes, longest, limits, input_ids, token_type_ids, attention_mask)

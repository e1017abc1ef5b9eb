"""Base class of all models: parameters, initial weights, loss and gradients."""

import copy
from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from minibert.functional import IGNORED, cross_entropy_backward, cross_entropy_forward
from minibert.models.config import BertConfig
from minibert.models.inputs import Batch, check_batch
from minibert.parameters import Parameters, ParameterSpec, Specs, Views, tree_lines
from minibert.typing import Array, Rng

Labels = ArrayLike | Mapping[str, ArrayLike]  # by name, if a head has several


class Model:
    """A network of stateless layers, and the one vector of its parameters.

    A subclass makes its layers (`build`), declares their parameters (`specs`) and computes
    (`__call__`). One that learns also has the pair `forward`, `backward` between a batch and its
    logits, says which tokens of the encoder's output its labels belong to (`targets`), and may have
    another criterion, that is, a loss function of the logits, than cross-entropy.

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
        elif params.shapes == self.shapes():  # laid out by shapes alone, perhaps
            params = Parameters(self.specs(), params.vector)
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

    def match(self, batch: Batch, labels: Any) -> Any:
        """Return the labels as arrays that fit the batch, or raise TypeError or ValueError."""
        raise NotImplementedError

    def count(self, labels: Any) -> Any:
        """Return how many labels count, by which the loss is divided; several if it is a sum."""
        return int((np.asarray(labels) != IGNORED).sum())

    def targets(self, batch: Batch, labels: Any) -> tuple[Array | None, Any]:
        """Return the tokens (B, R) that the head reads, None for all, and their labels."""
        raise NotImplementedError

    def forward(
        self, batch: Batch, rows: Array | None = None, rng: Rng | None = None
    ) -> tuple[Any, Any]:
        """Return logits whose last axis is the classes, and the cache."""
        raise NotImplementedError

    def backward(self, dlogits: Any, cache: Any, grads: Views) -> None:
        """Gradient of `forward`; adds into `grads`, from which frozen parameters may be absent."""
        raise NotImplementedError

    def criterion_forward(
        self, logits: Any, targets: Any, denominator: Any = None
    ) -> tuple[float, Any]:
        """Compare logits with their targets: the loss, and the cache."""
        return cross_entropy_forward(logits, targets, denominator)

    def criterion_backward(self, cache: Any) -> Any:
        """Gradient of `criterion_forward`: dlogits."""
        return cross_entropy_backward(cache)

    def loss_and_grads(
        self,
        batch: Mapping[str, ArrayLike],
        labels: Labels,
        rng: Rng | None = None,
        *,
        grads: Parameters | None = None,
        denominator: ArrayLike | None = None,
    ) -> tuple[float, Parameters]:
        """Compute the loss on a batch, and add its gradient into `grads`.

        The loss is summed over the labels that count and divided by `denominator`. Parts of a batch
        add up to the whole if each is given the whole's denominator.

        Args:
            batch: `input_ids`, `token_type_ids`, `attention_mask` as in a call; (B, T) each.
            labels: integers, -100 where nothing counts; their shape depends on the head.
            rng: of the dropout; None: no dropout.
            grads: of the layout of `self.params`, added to; None: new zeros.
            denominator: as `count` returns it, for the whole of which this batch is a part; None:
                for this batch.

        Returns:
            the loss, and the gradients.

        Raises:
            TypeError, ValueError: an array of the wrong dtype, shape or range, which is named.
        """
        if denominator is not None and not np.all(np.asarray(denominator) > 0):
            raise ValueError(f"denominator: expected more than 0, got {denominator}")
        if grads is not None and grads.shapes != self.params.shapes:
            raise ValueError("grads: expected the names and shapes of this model's parameters")
        loss, (loss_cache, cache) = self.loss_forward(batch, labels, rng, denominator)
        grads = self.params.zeros_like() if grads is None else grads
        learning = grads.without(self.frozen_names) if self.frozen_names else grads
        self.backward(self.criterion_backward(loss_cache), cache, learning)
        return loss, grads

    def loss_forward(
        self,
        batch: Mapping[str, ArrayLike],
        labels: Labels,
        rng: Rng | None = None,
        denominator: ArrayLike | None = None,
    ) -> tuple[float, Any]:
        """Return the loss as `loss_and_grads` does, and the cache for its backward half."""
        checked = self.check(**batch)
        rows, targets = self.targets(checked, labels)
        logits, cache = self.forward(checked, rows, rng)
        loss, loss_cache = self.criterion_forward(logits, targets, denominator)
        return loss, (loss_cache, cache)

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
        config = self.config
        return check_batch(
            self.axes,
            config.max_position_embeddings,
            (config.vocab_size, config.type_vocab_size),
            input_ids,
            token_type_ids,
            attention_mask,
        )


def initialize(params: Parameters, names: Iterable[str], std: float, seed: int) -> None:
    """Set the initial values of the parameters `names`, which are zero so far, as declared.

    Normal ones have the standard deviation `std` (Devlin et al., 2019, and their code). They are
    drawn in the order of the layout from one generator.
    """
    rng = np.random.default_rng(seed)
    for name in names:
        array, spec = params[name], params.specs[name]
        if spec.init == "ones":
            array[:] = 1
        elif spec.init == "normal":
            array[:] = rng.normal(0, std, array.shape)
        if spec.zero_row is not None:
            array[spec.zero_row] = 0

"""What every model shares: its parameters, its initial weights, and the check of its inputs."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from minibert.functional import IGNORED, cross_entropy_backward, cross_entropy_forward
from minibert.models.config import BertConfig
from minibert.parameters import Parameters, Shapes

Labels = ArrayLike | Mapping[str, ArrayLike]  # by their names, where a head has several


class Batch(NamedTuple):
    """The integers that a model reads, (B, T) each, checked against its sizes."""

    input_ids: np.ndarray
    token_type_ids: np.ndarray
    attention_mask: np.ndarray

    def sequences(self) -> "Batch":
        """Return the same with one axis before T, if there were more; (..., T) -> (B, T)."""
        return Batch(*(array.reshape(-1, array.shape[-1]) for array in self))


class Model:
    """A network of stateless layers and the one vector of its parameters.

    A subclass says which layers it has (`shapes`) and how it computes (`__call__`). One that learns
    also says at which rows of the encoder's output its labels stand (`targets`), and has two pairs:
    `forward(batch, rows, rng) -> logits, cache` and `backward(dlogits, cache, grads)`, and a
    criterion, which is the labels' cross-entropy unless it says otherwise.

    Called by itself, a model leaves the cores to BLAS, whose number of threads decides the last
    digits; what `Engine`, `FeatureExtractor` and their like make doesn't depend on it.

    Args:
        config: the sizes.
        seed: of the initial weights, which are drawn from a normal distribution with the standard
            deviation `config.initializer_range`; biases and the padding token's embedding are 0,
            layer norms' weights 1 (Devlin et al., 2019, and their code).
        dtype: float32 to train, float64 to prove.
        params: use these instead of drawing initial ones.

    Raises:
        TypeError: the dtype is no floating-point one.
    """

    axes: tuple[str, ...] = ("B", "T")  # of the ids

    def __init__(
        self,
        config: BertConfig,
        *,
        seed: int = 0,
        dtype: DTypeLike = np.float32,
        params: Parameters | None = None,
    ):
        if not np.issubdtype(dtype, np.floating):
            raise TypeError(f"dtype: expected a floating-point one, got {np.dtype(dtype)}")
        self.config = config
        self.build()
        if params is None:
            params = Parameters(self.shapes(), dtype=dtype)
            draw(params, params, config, seed)
        self.params = params

    def build(self) -> None:
        """Make the layers for `self.config`."""
        raise NotImplementedError

    def shapes(self) -> Shapes:
        """Return every parameter's shape by its name, in the order in which they lie."""
        raise NotImplementedError

    def astype(self, dtype: DTypeLike) -> Self:
        """Return a copy of the model in another dtype."""
        return type(self)(self.config, params=self.params.astype(dtype))

    def match(self, batch: Batch, labels: Any) -> Any:
        """Return the labels as arrays that fit the batch, or say in one line what is wrong."""
        raise NotImplementedError

    def count(self, labels: Any) -> Any:
        """Return how many labels count, by which the loss is divided; several if it is a sum."""
        return int((np.asarray(labels) != IGNORED).sum())

    def targets(self, batch: Batch, labels: Any) -> tuple[np.ndarray | None, Any]:
        """Return the rows (B, R) of the encoder's output that the head reads, and their labels."""
        raise NotImplementedError

    def forward(self, batch: Batch, rows: np.ndarray | None, rng: np.random.Generator | None):
        """Return logits whose last axis is the classes, and the cache."""
        raise NotImplementedError

    def backward(self, dlogits: Any, cache: Any, grads: Parameters) -> None:
        """Gradient of `forward`; adds into `grads`."""
        raise NotImplementedError

    def criterion_forward(
        self, logits: Any, targets: Any, denominator: Any = None
    ) -> tuple[float, Any]:
        """Compare logits with their targets: returns the loss, and the cache."""
        return cross_entropy_forward(logits, targets, denominator)

    def criterion_backward(self, cache: Any) -> Any:
        """Gradient of `criterion_forward`: returns dlogits."""
        return cross_entropy_backward(cache)

    def loss_and_grads(
        self,
        batch: Mapping[str, ArrayLike],
        labels: Labels,
        rng: np.random.Generator | None = None,
        *,
        grads: Parameters | None = None,
        denominator: ArrayLike | None = None,
    ) -> tuple[float, Parameters]:
        """Compute the loss on a batch, and add its gradient into `grads`.

        The loss is summed over the labels that count and divided by `denominator`. Parts of a batch
        add up to the whole if each is given the whole's number.

        Args:
            batch: `input_ids`, `token_type_ids`, `attention_mask` as in a call; (B, T).
            labels: integers, -100 where nothing counts; their shape depends on the head.
            rng: a generator turns dropout on; None: off.
            grads: mirrors `self.params` and is added to; None: new zeros.
            denominator: as `count` returns it, for the whole of which this batch is a part; None:
                for this batch.

        Returns:
            the loss, and the gradients.

        Raises:
            TypeError, ValueError: an array of the wrong dtype, shape or range; it says which.
        """
        if denominator is not None and not np.all(np.asarray(denominator) > 0):
            raise ValueError(f"denominator: expected more than 0, got {denominator}")
        if grads is not None and grads.shapes != self.params.shapes:
            raise ValueError("grads: expected the names and shapes of this model's parameters")
        loss, (loss_cache, cache) = self.loss_forward(batch, labels, rng, denominator)
        grads = self.params.zeros_like() if grads is None else grads
        self.backward(self.criterion_backward(loss_cache), cache, grads)
        return loss, grads

    def loss_forward(
        self,
        batch: Mapping[str, ArrayLike],
        labels: Labels,
        rng: np.random.Generator | None = None,
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
        """Return the batch as arrays, or say in one line what is wrong with it.

        Missing segment ids are all 0; a missing mask is all 1.
        """
        ids = integers("input_ids", input_ids)
        if ids.ndim != len(self.axes) or 0 in ids.shape:
            expected = ", ".join(self.axes)
            raise ValueError(f"input_ids: expected the shape ({expected}), got {ids.shape}")
        longest = self.config.max_position_embeddings
        if ids.shape[-1] > longest:
            raise ValueError(
                f"input_ids: expected at most {longest} tokens a sequence "
                f"(max_position_embeddings), got {ids.shape[-1]}"
            )
        types = np.zeros_like(ids) if token_type_ids is None else token_type_ids
        mask = np.ones_like(ids) if attention_mask is None else attention_mask
        batch = Batch(ids, integers("token_type_ids", types), integers("attention_mask", mask))
        limits = (self.config.vocab_size, self.config.type_vocab_size, 2)
        for name, array, limit in zip(Batch._fields, batch, limits, strict=True):
            _in_range(name, has_shape(name, array, ids.shape), limit)
        return batch


def draw(params: Parameters, names: Iterable[str], config: BertConfig, seed: int) -> None:
    """Draw the initial values of the parameters `names`, all zero so far; see `Model`."""
    rng = np.random.default_rng(seed)
    for name in names:
        array = params[name]
        if name.endswith("LayerNorm.weight"):
            array[:] = 1
        elif array.ndim == 2:
            array[:] = rng.normal(0, config.initializer_range, array.shape)
        if name.endswith("word_embeddings.weight"):
            array[config.pad_token_id] = 0


def match_classes(name: str, labels: ArrayLike, shape: tuple[int, ...], classes: int) -> np.ndarray:
    """Return labels as integers, each a class or -100, which does not count; or say what is wrong.

    Args:
        name: what they are called.  labels: integers.  shape: what they must have.  classes: C.
    """
    array = has_shape(name, integers(name, labels), shape)
    _in_range(name, array[array != IGNORED], classes)
    return array


def match_numbers(name: str, labels: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    """Return labels as an array of finite numbers; or say in one line what is wrong with them."""
    array = has_shape(name, _array(name, labels), shape)
    if array.dtype == bool:
        array = array.astype(np.int64)
    if not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
        raise TypeError(f"{name}: expected numbers, got {array.dtype}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite numbers, got {array[~np.isfinite(array)][0]}")
    return array


def has_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the array if it has this shape; otherwise say in one line which it has."""
    if array.shape != shape:
        raise ValueError(f"{name}: expected the shape {shape}, got {array.shape}")
    return array


def _array(name, values):
    try:
        return np.asarray(values)
    except ValueError:
        raise ValueError(f"{name}: expected rows of one length; pad the shorter ones") from None


def integers(name: str, values: ArrayLike) -> np.ndarray:
    """Return an array of integers, or say in one line what came as `name` instead."""
    array = _array(name, values)
    if array.size == 0 and array.dtype == float:  # what NumPy makes of an empty list
        array = array.astype(np.int64)
    if array.dtype == bool:
        array = array.astype(np.int64)
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"{name}: expected integers, got {array.dtype}")
    return array


def _in_range(name, array, limit):
    if array.size and (array.min() < 0 or array.max() >= limit):
        wrong = array[(array < 0) | (array >= limit)][0]
        raise ValueError(f"{name}: expected integers from 0 to {limit - 1}, got {wrong}")

"""Blind spots: gradient checks that pass although the backward is wrong."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from itertools import combinations
from typing import Any

import numpy as np

from minibert.gradcheck.values import arrays_equal, as_tuple, float_arrays_of, is_float_array
from minibert.parameters import Parameters

BATCH_OF_ONE = "a batch of one: sums and means over the batch are equal; give it two"
NONE_REPEATS = "none repeats: a backward that keeps only the last row of each passes"


class BlindSpotWarning(UserWarning):
    """A check passes, or may pass, although the backward is wrong."""


def away_from_initial(params: Parameters, seed: int = 0) -> Parameters:
    """Return random float64 parameters of the same layout (Parameters), none of them 0 or 1.

    They are drawn from N(0, 0.3²), or from N(1, 0.3²) where the layer declares the initial value 1:
    a weight of exactly 1 or 0 hides a factor or a term that a backward forgets.

    Args:
        params: the layout; the values are not read.
        seed: the random seed.
    """
    rng = np.random.default_rng(seed)
    specs = getattr(params, "specs", None) or {}
    away = params.astype(np.float64)
    for name, array in away.items():
        array[...] = rng.normal(0, 0.3, array.shape)
        if getattr(specs.get(name), "init", None) == "ones":
            array += 1
    return away


def warn_about_cotangents(cotangents: list[np.ndarray]) -> None:
    """Warn about weights of the output that are all equal."""
    for cotangent in cotangents:
        if _all_equal(cotangent):
            _warn(
                f"dout: all its numbers are {cotangent.flat[0]}: an error of the backward in their "
                "mean is not seen; leave dout out"
            )


def warn_about_inputs(inputs: Mapping[str, Any]) -> None:
    """Warn about arrays that are constant, empty or equal to another, and batches of one."""
    arrays = float_arrays_of(inputs)
    for name, array in arrays.items():
        if not array.size:
            _warn(f"{name}: it has no elements, so nothing was compared; give it some")
        if _all_equal(array):
            _warn(
                f"{name}: all its numbers are {array.flat[0]}: a factor or a term that "
                "the backward forgets is not seen; give it random numbers (away_from_initial)"
            )
    for name, value in inputs.items():
        if is_float_array(value) and value.ndim > 1 and len(value) == 1:
            _warn(
                f"{name}: its first axis has one element: a sum over the batch that the backward "
                "forgets, or an average in its place, is not seen; give it two or more"
            )
    own = [(name, value) for name, value in inputs.items() if is_float_array(value)]
    for (name, array), (other_name, other) in combinations(own, 2):
        if array.size and not _all_equal(array) and arrays_equal(array, other):
            _warn(
                f"{name}, {other_name}: they are equal: a backward that confuses them is not seen; "
                "give each its own numbers"
            )


def warn_about_gradients(
    gradients: Mapping[str, Any], arrays: Iterable[str], inputs: Mapping[str, Any]
) -> None:
    """Warn about gradients of inputs that are not moved, and of unknown names."""
    for name, gradient in gradients.items():
        if name in arrays or gradient is None:
            continue
        if isinstance(inputs.get(name), np.ndarray):
            _warn(
                f"{name}: {inputs[name].dtype} is not moved, so its gradient was not compared; "
                "give it floats"
            )
        else:
            _warn(
                f"{name}: no input of NumPy's floats or `Parameters` has this name, so its "
                "gradient was not compared"
            )


def warn_about_ids(
    forward: Callable[..., Any], inputs: Mapping[str, Any], outputs: list[np.ndarray]
) -> None:
    """Warn about ids of the rows of a table, if none repeats or if they are a batch of one."""
    for name, ids in inputs.items():
        if not (isinstance(ids, np.ndarray) and ids.dtype.kind in "iu" and ids.size):
            continue
        is_alone = ids.ndim > 1 and len(ids) == 1
        is_distinct = len(np.unique(ids)) == ids.size
        if (is_alone or is_distinct) and _are_ids(forward, inputs, outputs, name):
            _warn(f"{name}: {BATCH_OF_ONE if is_alone else NONE_REPEATS}")


def _are_ids(forward, inputs, outputs, name):
    """Return whether integers are the ids of a table's rows (bool).

    If row i becomes row i + 1 and each id i becomes i + 1, a lookup finds the same rows. A loss
    with such labels or a rotation by such positions has another output.
    """
    ids = inputs[name]
    for table in float_arrays_of(inputs).values():
        if not table.ndim or len(table) < 2 or ids.min() < 0 or ids.max() >= len(table):
            continue
        original = table.copy()
        table[...] = np.roll(original, 1, axis=0)
        renamed = {**inputs, name: ((ids + 1) % len(table)).astype(ids.dtype)}
        try:
            same = all(map(arrays_equal, as_tuple(forward(**renamed)[0]), outputs))
        except (IndexError, ValueError):  # they index something shorter, too
            same = False
        finally:
            table[...] = original
        if same:
            return True
    return False


def warn_if_all_zero(name: str, analytic: np.ndarray, numeric: list[float]) -> None:
    """Warn about a gradient that is zero on both sides, where nothing was compared."""
    if analytic.size and not analytic.any() and not any(numeric):
        _warn(
            f"{name}: no output depends on it, so nothing was compared; if its gradient is "
            "provably zero, name it in `zeros`"
        )


def warn_about_batch(batch: Mapping[str, Any]) -> None:
    """Warn about a batch that hides common bugs of a transformer."""
    arrays = {name: value for name, value in batch.items() if np.ndim(value) > 1}
    if arrays and all(len(array) == 1 for array in arrays.values()):
        _warn(f"{next(iter(arrays))}: {BATCH_OF_ONE}")
    if "input_ids" not in batch:
        return
    ids = np.asarray(batch["input_ids"])
    mask = batch.get("attention_mask")
    if len(np.unique(ids)) == ids.size:
        _warn(f"input_ids: {NONE_REPEATS}")
    if mask is None or np.all(mask):
        _warn("attention_mask: nothing is padded: a wrong mask in the backward is not seen")


def warn_about_dropout(loss: float, loss_without: float) -> None:
    """Warn about a loss that is the same without dropout."""
    if loss == loss_without:
        _warn("dropout_seed: the model's config drops nothing out, so dropout was not checked")


def _all_equal(array):
    return array.size > 1 and bool((array == array.flat[0]).all())


def _warn(message):
    # The caller of check_pair, check_layer or check_model is several frames up, a varying number:
    # the message names the argument to change instead.
    warnings.warn(BlindSpotWarning(message), stacklevel=2)

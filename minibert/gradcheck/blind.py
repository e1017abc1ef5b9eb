"""The classic false passes: ways to run a gradient check in which it can't see a bug."""

import warnings
from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

import numpy as np

from minibert.gradcheck.values import floats, is_float, same
from minibert.parameters import Parameters


class BlindSpotWarning(UserWarning):
    """A check passes, or may pass, although the backward is wrong."""


def away_from_initial(params: Parameters, seed: int = 0) -> Parameters:
    """Return float64 parameters of the same layout with nothing at 0 or 1, nor tiny gradients."""
    rng = np.random.default_rng(seed)
    away = params.astype(np.float64)
    for name, array in away.items():
        array[...] = rng.normal(0, 0.3, array.shape)
        if name.endswith("LayerNorm.weight"):
            array += 1
    return away


def look_at_cotangents(cotangents: list[np.ndarray]) -> None:
    """Warn of weights of the output that are all alike."""
    for cotangent in cotangents:
        if _all_alike(cotangent):
            _warn(
                f"dout: all its numbers are {cotangent.flat[0]}: what a wrong backward does to "
                "their mean isn't seen; leave dout out"
            )


def look_at_inputs(inputs: Mapping[str, Any]) -> None:
    """Warn of arrays that are as they start, alike or empty, and of batches of one."""
    arrays = floats(inputs)
    for name, array in arrays.items():
        if not array.size:
            _warn(f"{name}: it has no elements, so nothing was compared; give it some")
        if _all_alike(array):
            _warn(
                f"{name}: all its numbers are {array.flat[0]}: a factor or a term that "
                "the backward forgets isn't seen; give it random numbers (away_from_initial)"
            )
    for name, value in inputs.items():
        if is_float(value) and value.ndim > 1 and len(value) == 1:
            _warn(
                f"{name}: its first axis has one element: a sum over the batch that the backward "
                "forgets, or divides by once too often, isn't seen; give it two or more"
            )
    own = [(name, value) for name, value in inputs.items() if is_float(value)]
    for (name, array), (other, its) in combinations(own, 2):
        if array.size and not _all_alike(array) and same(array, its):
            _warn(
                f"{name}, {other}: they are equal: a backward that confuses them isn't seen; give "
                "each its own numbers"
            )


def look_at_gradients(gradients: Mapping[str, Any], arrays: Iterable[str]) -> None:
    """Warn of gradients of what isn't checked: whoever computes one means it to be."""
    for name, gradient in gradients.items():
        if name not in arrays and gradient is not None:
            _warn(
                f"{name}: no input of NumPy's floats or `Parameters` is called so, so its gradient "
                "wasn't compared"
            )


def look_at_gradient(name: str, analytic: np.ndarray, numeric: list[float]) -> None:
    """Warn of a gradient that is zero on both sides, which proves nothing unless it is expected."""
    if analytic.size and not analytic.any() and not any(numeric):
        _warn(
            f"{name}: no output depends on it, so nothing was compared; if its gradient is "
            "provably zero, name it in `zeros`"
        )


def look_at_batch(batch: Mapping[str, Any]) -> None:
    """Warn of a batch on which a transformer's own bugs don't show; other models' are not known."""
    if "input_ids" not in batch:
        return
    ids = np.asarray(batch["input_ids"])
    mask = batch.get("attention_mask")
    if len(ids) == 1:
        _warn("input_ids: a batch of one: sums and means over the batch are the same; give it two")
    if len(np.unique(ids)) == ids.size:
        _warn("input_ids: none repeats: a backward that keeps only the last row of each passes")
    if mask is None or np.all(mask):
        _warn("attention_mask: nothing is padded: a wrong mask on the way back isn't seen")


def look_at_dropout(loss: float, without: float) -> None:
    """Warn of a loss that is the same without dropout."""
    if loss == without:
        _warn("dropout_seed: the model's config drops nothing out, so no dropout is proven")


def _all_alike(array):
    return array.size > 1 and bool((array == array.flat[0]).all())


def _warn(message):
    # Whoever called check_pair, check_layer or check_model is more than a few frames up, and how
    # many differs: the message names the argument, which is what there is to change.
    warnings.warn(BlindSpotWarning(message), stacklevel=2)

"""Laws of layers and models, for any function of arrays: yours, minibert's or another library's.

A law calls `function(**batch)` several times, each time with copies of the batch, and compares the
outputs: arrays and numbers, or tuples, mappings and dataclasses of them; None is left out. Lists in
the batch become arrays. Wrap a layer, or a module of another library, in a function.

Two outputs agree if no difference is above `tolerance` times the largest absolute output. None is
eps^0.7 of the output's dtype: 1e-5 in float32 and 1e-11 in float64; integers must be equal. A
failure is an AssertionError with the output's name, the place and both values. Arguments with which
a law cannot be checked raise a ValueError; a batch in which it detects nothing, such as a single
sequence, only warns (`minibert.gradcheck.BlindSpotWarning`), because Hypothesis may draw one.
"""

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from minibert.gradcheck import check_layer, check_model, check_pair
from minibert.gradcheck.values import arrays_equal, gradients_by_name, snapshot
from minibert.testing.outputs import (
    arrays_along,
    as_batch,
    assert_close,
    assert_real_close,
    axes_of_tokens,
    global_state,
    paired,
    run,
    warn,
    with_padding,
)
from minibert.typing import Array


def assert_padding_invariant(
    function: Callable[..., Any],
    batch: Mapping[str, Any],
    *,
    mask: str = "attention_mask",
    more: int = 2,
    padding: Mapping[str, Any] | None = None,
    tolerance: float | None = None,
    seed: int = 0,
) -> None:
    """Check that padding changes no result of a real token or of a sequence.

    All padding gets other content, and `more` padded tokens are appended to each sequence.

    >>> x, mask = np.array([[3.0, 5.0, 0.0], [1.0, 1.0, 4.0]]), np.array([[1, 1, 0], [1, 1, 1]])
    >>> def mean(x, mask):
    ...     return (x * mask).sum(axis=1) / mask.sum(axis=1)
    >>> assert_padding_invariant(mean, {"x": x, "mask": mask}, mask="mask")
    >>> def wrong_mean(x, mask):
    ...     return (x * mask).mean(axis=1)
    >>> assert_padding_invariant(  # doctest: +ELLIPSIS
    ...     wrong_mean, {"x": x, "mask": mask}, mask="mask"
    ... )
    Traceback (most recent call last):
        ...
    AssertionError: output: expected 2.666666667 at sequence 0, got 1.6 with 2 more padded tokens...

    Args:
        function: returns (B, T, ...) or (B, ...); an axis that grows with `more` is one of tokens.
        batch: the mask and other values; arrays that begin with the mask's axes are padded.
        mask: the name of the mask (B, T), 0 at padding; (..., T) for other leading axes.
        more: number of tokens to append; 0: only the content of padding is changed, and outputs
            that begin with all axes of the mask are those of tokens.
        padding: content of padding by name, such as -100 for labels; that of others is random.
        tolerance: relative to the largest output.
        seed: the random seed of the content.
    """
    batch, rng = as_batch(batch), np.random.default_rng(seed)
    if not isinstance(batch.get(mask), np.ndarray) or not batch[mask].ndim:
        raise ValueError(f"{mask}: expected an array (B, T) in the batch; name it by mask=")
    real = batch[mask] != 0
    if not more and real.all():
        warn(f"{mask}: nothing is padded, so nothing was changed; append some by more=")
    expected = run(function, batch)
    token_axes: dict[str, tuple[int, ...]] = {}
    for added in dict.fromkeys([more, 0]):  # the first one shows which axes are those of tokens
        what = f"with {added} more padded tokens" if added else "with other content of padding"
        given = with_padding(batch, real, added, {**(padding or {}), mask: 0}, rng)
        for name, (one, other) in paired(expected, run(function, given)).items():
            if added or name not in token_axes:
                token_axes[name] = axes_of_tokens(name, one, other, real, added)
            assert_real_close(name, one, other, tolerance, what, real, token_axes[name])


def assert_batch_invariant(
    function: Callable[..., Any], batch: Mapping[str, Any], *, tolerance: float | None = None
) -> None:
    """Check that each sequence has the same outputs alone, and in a batch of another order.

    >>> x = np.array([[1.0, 2.0], [3.0, 6.0]])
    >>> assert_batch_invariant(lambda x: x - x.mean(axis=1, keepdims=True), {"x": x})
    >>> assert_batch_invariant(lambda x: x - x.mean(axis=0), {"x": x})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    AssertionError: output: expected -2 at sequence 0, [1], got 0 alone; the difference is...

    Args:
        function: returns arrays (B, ...).
        batch: arrays (B, ...); other values are passed on.
        tolerance: relative to the largest output.
    """
    batch = as_batch(batch)
    arrays, B = arrays_along(batch, 0, "sequences")
    if B < 2:
        warn(f"{next(iter(arrays))}: a batch of one is the same alone; give it two")
    expected = run(function, batch)
    for name, one in expected.items():
        if one.shape[:1] != (B,):
            raise ValueError(f"{name}: expected {B} sequences along axis 0, got {one.shape}")
    alone: dict[str, list[Array]] = {name: [] for name in expected}
    for i in range(B):
        part = {name: array[i : i + 1] for name, array in arrays.items()}
        for name, (one, other) in paired(expected, run(function, batch | part)).items():
            if other.shape != one[:1].shape:
                raise AssertionError(
                    f"{name}: expected {one[:1].shape} for sequence {i} alone, got {other.shape}"
                )
            alone[name].append(other)
    turned = run(function, batch | {name: array[::-1] for name, array in arrays.items()})
    for name, (one, other) in paired(expected, turned).items():
        assert_close(name, one, np.concatenate(alone[name]), tolerance, "alone")
        assert_close(name, one, other[::-1], tolerance, "in a batch of the opposite order")


def assert_permutation_equivariant(
    function: Callable[..., Any],
    batch: Mapping[str, Any],
    *,
    axis: int = 1,
    out_axes: Iterable[int] | None = None,
    order: Iterable[int] | None = None,
    tolerance: float | None = None,
    seed: int = 0,
) -> None:
    """Check that permuted tokens have permuted outputs: the function does not know positions.

    >>> x = np.array([[1.0, 2.0, 4.0]])
    >>> assert_permutation_equivariant(lambda x: x / x.sum(axis=1), {"x": x})
    >>> assert_permutation_equivariant(lambda x: x.sum(axis=1), {"x": x}, out_axes=())
    >>> assert_permutation_equivariant(  # doctest: +ELLIPSIS
    ...     lambda x: x.cumsum(axis=1), {"x": x}
    ... )
    Traceback (most recent call last):
        ...
    AssertionError: output: expected 1 at sequence 0, token 0, got 7 in the order [2, 1, 0]; ...

    Args:
        function: returns arrays.
        batch: arrays with the tokens along `axis`; those without this axis are passed on.
        axis: of the tokens in the batch, 0 for a set of vectors without a batch.
        out_axes: those of the tokens in the outputs; None: `axis`; (): outputs that do not depend
            on the order, as after pooling.
        order: a permutation; None: the opposite order and three random ones.
        tolerance: relative to the largest output.
        seed: the random seed of the permutations.
    """
    batch, rng = as_batch(batch), np.random.default_rng(seed)
    arrays, T = arrays_along(batch, axis, "tokens")
    orders = [np.arange(T)[::-1], *(rng.permutation(T) for _ in range(3))]
    if order is not None:
        orders = [np.array(list(order), int)]
        if sorted(orders[0].tolist()) != list(range(T)):
            raise ValueError(f"order: expected a permutation of range({T}), got {orders[0]}")
    elif T < 2:
        warn(f"{next(iter(arrays))}: one token has one order; give it two or more")
    tokens = (axis,) if out_axes is None else tuple(out_axes)
    expected = run(function, batch)
    for each in orders:
        permuted = {name: np.take(array, each, axis) for name, array in arrays.items()}
        for name, (one, other) in paired(expected, run(function, batch | permuted)).items():
            for i in tokens:
                if one.shape[i : i + 1] != (T,) or one.shape != other.shape:
                    raise ValueError(f"{name}: expected {T} tokens along axis {i}, got {one.shape}")
                other = np.take(other, np.argsort(each), i)
            what, sequences = f"in the order {each.tolist()}", min(axis, 1)
            assert_close(name, one, other, tolerance, what, sequences=sequences, tokens=tokens)


def assert_deterministic(function: Callable[..., Any], batch: Mapping[str, Any]) -> None:
    """Check that a function returns the same bits twice, and changes neither inputs nor globals.

    Another batch, rolled by one along the first axis, is computed between the two calls. Both calls
    get copies of a generator in the batch, so the same seed must give the same bits.

    >>> def dropout(x, rng):
    ...     return x * (rng.random(x.shape) < 0.9)
    >>> assert_deterministic(dropout, {"x": np.ones(50), "rng": np.random.default_rng(0)})
    >>> def scaled(x):
    ...     x /= x.sum()
    ...     return x
    >>> assert_deterministic(scaled, {"x": np.array([1.0, 3.0])})
    Traceback (most recent call last):
        ...
    AssertionError: x: expected the function to leave it unchanged, got other values; use a copy

    Args:
        function: returns arrays.
        batch: its arguments.
    """
    batch = as_batch(batch)

    def watched(**given: Any) -> Any:
        before, state = snapshot(given), global_state()
        out = function(**given)
        for name, array in snapshot(given).items():
            if not arrays_equal(array, before[name]):
                raise AssertionError(
                    f"{name}: expected the function to leave it unchanged, got other values; "
                    "use a copy"
                )
        for name, now in global_state().items():
            if now != state[name]:
                raise AssertionError(
                    f"{name}: expected the function to leave the global random state unchanged, "
                    "got another; draw from a generator that is an argument"
                )
        return out

    first = run(watched, batch)
    arrays = {n: v for n, v in batch.items() if isinstance(v, np.ndarray) and v.ndim}
    run(function, batch | {name: np.roll(array, 1, 0) for name, array in arrays.items()})
    for name, (one, other) in paired(first, run(watched, batch)).items():
        if (one.dtype, one.tobytes()) != (other.dtype, other.tobytes()):
            assert_close(name, one, other, 0, "in the second call")
            raise AssertionError(f"{name}: expected the same bits in the second call, got others")


def assert_gradients(
    subject: Any,
    inputs: Mapping[str, Any],
    backward: Callable[..., Any] | None = None,
    *,
    attributes: Mapping[str, str] | None = None,
    labels: Any = None,
    params: Any = None,
    **options: Any,
) -> None:
    """Check a backward against finite differences of its forward, by `minibert.gradcheck`.

    >>> class Scale:
    ...     weight = np.array([0.5, -2.0])
    ...     def forward(self, x):
    ...         self.x = x
    ...         return x * self.weight
    ...     def backward(self, dout):
    ...         self.dweight = (dout * self.x).sum(axis=0)
    ...         return dout * self.weight
    >>> x = np.array([[1.0, 2.0], [3.0, 5.0]])
    >>> assert_gradients(Scale(), {"x": x}, attributes={"weight": "dweight"})

    Args:
        subject: a function `subject(**inputs) -> (out, cache)` with its `backward`; a layer that
            holds its parameters and gradients as `attributes`, with `forward(**inputs)` and
            `backward(dout)`; a layer for `check_layer`; or a model for `check_model`.
        inputs: the arguments by name; of a model, the batch.
        backward: called as `backward(dout, cache, **inputs)`, returns the gradient of each input of
            floats: by name, a tuple in their order, or one array.
        attributes: the names of gradients by those of parameters.
        labels: of a model.
        params: of a layer for `check_layer`; None: random ones.
        options: those of `check_pair`, such as `tolerance`.

    Raises:
        GradientError: an AssertionError: a gradient is wrong, or a layer breaks its contract.
        ValueError: an argument is missing, or the layer lacks one of the attributes.
    """
    if attributes is not None:
        _require_attributes(subject, attributes)
        subject, backward, inputs = _pair_of(copy.copy(subject), attributes, inputs)
    if backward is not None:
        check_pair(subject, backward, inputs, **options)
    elif hasattr(subject, "loss_and_grads"):
        check_model(subject, inputs, labels, **options)
    elif hasattr(subject, "backward"):
        if params is None and not _declares_parameters(subject):
            raise ValueError(
                f"{type(subject).__name__}: expected a method specs(), found none; if the layer "
                "holds its parameters, name them and their gradients by attributes="
            )
        check_layer(subject, inputs, params, **options)
    else:
        raise ValueError(f"backward: expected that of {type(subject).__name__}, got none")


def _declares_parameters(layer):
    """Return whether a layer has the method of minibert's contract (bool), or that of version 1."""
    return hasattr(layer, "specs") or hasattr(layer, "shapes")


def _require_attributes(layer, attributes):
    """Refuse attributes that are not names by name, or that name parameters the layer lacks."""
    if not isinstance(attributes, Mapping):
        raise ValueError(
            "attributes: expected the names of gradients by those of parameters, got "
            f"{type(attributes).__name__}"
        )
    for name, gradient in attributes.items():
        if not (isinstance(name, str) and isinstance(gradient, str)):
            raise ValueError(f"attributes: expected names, got {name!r}: {gradient!r}")
        if not hasattr(layer, name):
            raise ValueError(
                f"attributes: expected the parameter {name} on {type(layer).__name__}, found none"
            )


def _pair_of(layer, attributes, inputs):
    """Return forward, backward and inputs of a layer that holds parameters and gradients."""
    new = {gradient for gradient in attributes.values() if getattr(layer, gradient, None) is None}

    def forward(**inputs):
        for name in attributes:
            setattr(layer, name, inputs.pop(name))
        return layer.forward(**inputs), None

    def backward(dout, _, **inputs):
        zeros = {own: np.zeros_like(inputs.pop(name)) for name, own in attributes.items()}
        for gradient, array in zeros.items():
            setattr(layer, gradient, array)  # which it may add to
        dinputs = gradients_by_name(layer.backward(dout), inputs)
        for gradient in new:
            if getattr(layer, gradient) is zeros[gradient] and not zeros[gradient].any():
                raise ValueError(
                    f"attributes: expected the gradient {gradient} on {type(layer).__name__}, "
                    "found none"
                )
        return dinputs | {name: getattr(layer, own) for name, own in attributes.items()}

    return forward, backward, {**inputs, **{name: getattr(layer, name) for name in attributes}}

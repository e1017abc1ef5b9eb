"""The gradient check of a layer, with its contract."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from minibert.gradcheck import blind, contract, values
from minibert.gradcheck.checks import accumulated_gradients, check_pair
from minibert.gradcheck.comparison import GradientResult
from minibert.gradcheck.values import GradientError
from minibert.parameters import Parameters


def check_layer(
    layer: Any,
    inputs: Mapping[str, Any],
    params: Parameters | None = None,
    *,
    forward: Callable[..., tuple[Any, Any]] | None = None,
    backward: Callable[..., Any] | None = None,
    **how: Any,
) -> list[GradientResult]:
    """Check a layer: every parameter, every input, and the layer's contract.

    The contract: `specs()` declares each parameter once; `forward` and `backward` write neither to
    their arguments (but `grads`) nor to `self`; `backward` adds to `grads` and reads nothing but
    its arguments, so that another forward before it makes no difference.

    Args:
        layer: has `specs()` (or `shapes()`), `forward(params, **inputs) -> (out, cache)` and
            `backward(dout, cache, params, grads)`, which adds into `grads` and returns the gradient
            of each input of floats: one array, or a tuple in their order. If `backward` has an
            argument `dsite`, it is None.
        inputs: the arguments of `forward` by name.
        params: float64; None: random ones away from initial values.
        forward: replaces the layer's own, for example with more arguments filled in; called as
            `forward(params=params, **inputs)`.
        backward: replaces the layer's own; called as `backward(dout, cache, params, grads)`.
        how: the options of `check_pair`.

    Returns, raises, warns: as `check_pair`. Errors name the layer's class.
    """
    if not isinstance(inputs, Mapping):
        raise ValueError(f"inputs: expected values by name, got {type(inputs).__name__}")
    if forward is None:
        contract.require_signature(layer, "forward", [], ["params", *inputs])
        forward = layer.forward
    if backward is None:
        backward = contract.backward_method(layer)
    if params is None:
        params = blind.away_from_initial(Parameters(contract.declared_parameters(layer)))
    contract.require_parameters(layer, params)
    contract.require_distinct_names(layer, params, inputs)
    try:
        return check_pair(
            _watched_forward(layer, forward),
            _watched_backward(layer, forward, backward),
            {"params": params, **inputs},
            **how,
        )
    except GradientError as error:
        lines = str(error).splitlines()
        raise type(error)("\n".join(f"{type(layer).__name__}: {line}" for line in lines)) from error
    except ValueError as error:
        if not str(error).startswith("forward: "):
            raise
        raise ValueError(f"{type(layer).__name__}: {error}") from error


def _watched_forward(layer, forward):
    """Return the forward for `check_pair`, whose first call checks for state on the layer."""
    watched = False

    def run(params, **inputs):
        nonlocal watched
        if watched:
            return forward(params=params, **inputs)
        before, watched = contract.state_of(layer), True
        returned = forward(params=params, **inputs)
        contract.assert_same_state(layer, before, "forward")
        return returned

    return run


def _watched_backward(layer, forward, backward):
    """Return the backward for `check_pair`, which checks state, accumulation and independence."""

    def run(dout, cache, params, **inputs):
        def from_cache(cache):
            grads = params.zeros_like()
            dinputs = backward(copy.deepcopy(dout), cache, params, grads)
            return values.gradients_by_name(dinputs, inputs), grads

        def from_forward(grads):
            _, cache = forward(params=params, **inputs)  # each backward may use its cache up
            return backward(dout, cache, params, grads)

        before, state = values.snapshot({"params": params, **inputs}), contract.state_of(layer)
        dinputs, grads = accumulated_gradients(params, from_forward)
        contract.assert_same_state(layer, state, "backward")
        values.assert_unchanged({"params": params, **inputs}, before, "the backward")
        named = values.gradients_by_name(dinputs, inputs)
        for name, array in values.float_arrays_of(inputs).items():
            values.get_gradient(name, array, named)
        contract.assert_independent_calls(forward, from_cache, params, inputs)
        return {**named, "params": grads}

    return run

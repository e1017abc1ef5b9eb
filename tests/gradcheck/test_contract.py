"""`check_layer` refuses layers that break the contract, in one line that names the class."""

import numpy as np
import pytest

from minibert import parameters
from minibert.gradcheck import GradientError, away_from_initial, check_layer
from minibert.parameters import Parameters

X = np.random.default_rng(0).standard_normal((3, 4))


class Gate:
    """A right layer, from which the wrong ones differ in one method."""

    def specs(self):
        return {"weight": (4,)}

    def forward(self, params, x):
        return x * params["weight"], x

    def backward(self, dout, cache, params, grads):
        grads["weight"] += (dout * cache).sum(axis=0)
        return dout * params["weight"]


def message_of(layer, error=GradientError, inputs=None, params=None, **how):
    with pytest.raises(error) as caught:
        check_layer(layer, {"x": X} if inputs is None else inputs, params, **how)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_check_layer_accepts_specs_and_shapes():
    class Old(Gate):
        specs = None

        def shapes(self):
            return {"weight": (4,)}

    for layer in Gate(), Old():
        assert [result.name for result in check_layer(layer, {"x": X})] == ["weight", "x"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("forward", "a method forward(params, **inputs), found none"),
        ("backward", "a method backward(dout, cache, params, grads), found none"),
        ("specs", "a method specs(), found none"),
    ],
)
def test_check_layer_names_a_missing_method(name, expected):
    kind = type("Gate", (Gate,), {name: None})
    assert message_of(kind(), ValueError) == f"Gate: expected {expected}"


def test_check_layer_names_a_method_with_the_wrong_parameters():
    class Short(Gate):
        def backward(self, dout, cache, params):
            return dout

    class Other(Gate):
        def forward(self, params, z):
            return z, None

    assert message_of(Short(), ValueError) == (
        "Short: expected a method backward(dout, cache, params, grads), "
        "got backward(dout, cache, params); too many positional arguments"
    )
    assert message_of(Other(), ValueError).startswith(
        "Other: expected a method forward(params, x), got forward(params, z); "
    )


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ([("weight", (4,)), ("weight", (4,))], "weight: expected one declaration, got 2"),
        (["weight"], "expected specs() to return a mapping, got list"),
        ({"weight": 4}, "weight: expected a shape of whole numbers, got 4"),
        ({"weight": (4.0,)}, "weight: expected a shape of whole numbers, got (4.0,)"),
    ],
)
def test_check_layer_names_a_wrong_declaration(declared, expected):
    class Wrong(Gate):
        def specs(self):
            return declared

    assert message_of(Wrong(), ValueError) == f"Wrong: {expected}"


def test_check_layer_names_parameters_that_differ_from_the_declaration():
    for params, got in ((Parameters({"weight": (5,)}), "(5,)"), (Parameters({"w": (4,)}), "none")):
        assert message_of(Gate(), ValueError, params=params) == (
            f"Gate: weight: expected a parameter of the shape (4,), got {got}"
        )
    message = message_of(Gate(), ValueError, params={"weight": X[0]})
    assert message == "Gate: params: expected Parameters, got dict"


def test_check_layer_refuses_an_input_called_like_a_parameter():
    class Named(Gate):
        def forward(self, params, weight):
            return super().forward(params, weight)

    assert message_of(Named(), ValueError, {"weight": X}) == (
        "Named: weight: expected an input and a parameter of different names, got the same name"
    )


@pytest.mark.parametrize(
    ("dx", "got"),
    [
        (lambda dx: dx.T, "one of the shape (4, 3)"),
        (lambda dx: None, "none"),
        (lambda dx: dx.sum(axis=0), "one of the shape (4,)"),
    ],
)
def test_check_layer_names_the_class_and_the_input_of_a_gradient_of_the_wrong_shape(dx, got):
    class Wrong(Gate):
        def backward(self, dout, cache, params, grads):
            return dx(super().backward(dout, cache, params, grads))

    assert message_of(Wrong()) == f"Wrong: x: expected a gradient of the shape (3, 4), got {got}"


def test_check_layer_names_the_class_of_a_forward_without_a_cache():
    class Wrong(Gate):
        def forward(self, params, x):
            return x * params["weight"]

    assert message_of(Wrong(), ValueError) == (
        "Wrong: forward: expected it to return a pair (out, cache), got ndarray"
    )


@pytest.mark.parametrize("method", ["forward", "backward"])
@pytest.mark.parametrize("name", ["x", "weight"])
def test_check_layer_rejects_writing_to_an_input_or_a_parameter(method, name):
    class Wrong(Gate):
        def forward(self, params, x):
            if method == "forward":
                (x if name == "x" else params["weight"])[...] += 1
            return super().forward(params, x)

        def backward(self, dout, cache, params, grads):
            dx = super().backward(dout, cache, params, grads)
            if method == "backward":
                (cache if name == "x" else params["weight"])[...] += 1
            return dx

    x, params = X.copy(), away_from_initial(Parameters({"weight": (4,)}))
    before = params.vector.copy()
    assert message_of(Wrong(), inputs={"x": x}, params=params) == (
        f"Wrong: {name}: expected the {method} to leave it unchanged, got other values; "
        "compute in a copy"
    )
    assert (x == X).all()
    assert (params.vector == before).all()


def test_check_layer_rejects_writing_to_dout():
    class Wrong(Gate):
        def backward(self, dout, cache, params, grads):
            dx = super().backward(dout, cache, params, grads)
            dout *= 2
            return dx

    assert message_of(Wrong()).startswith("Wrong: dout: expected the backward to leave it")


def test_check_layer_names_an_overwritten_gradient():
    class Wrong(Gate):
        def backward(self, dout, cache, params, grads):
            grads["weight"] = (dout * cache).sum(axis=0)
            return dout * params["weight"]

    assert message_of(Wrong()) == (
        "Wrong: weight: expected the backward to add to its gradient (+=), got one that overwrites "
        "the values before (=)"
    )


class Inner:
    """A part of a layer, with state."""

    def __init__(self):
        self.calls = [0]


class Stateful(Gate):
    def __init__(self, keep):
        self.keep, self.inner = keep, Inner()

    def forward(self, params, x):
        self.keep(self, x)
        return super().forward(params, x)


@pytest.mark.parametrize(
    ("keep", "got"),
    [
        (lambda self, x: setattr(self, "x", x), "a new self.x"),
        (lambda self, x: setattr(self, "keep", None), "a changed self.keep"),
        (lambda self, x: self.inner.calls.append(1), "a new self.inner.calls[1]"),
        (lambda self, x: self.inner.calls.__setitem__(0, 1), "a changed self.inner.calls[0]"),
        (lambda self, x: delattr(self, "inner"), "a deleted self.inner.calls[0]"),
    ],
)
def test_check_layer_names_state_that_forward_keeps(keep, got):
    assert message_of(Stateful(keep)) == (
        f"Stateful: expected forward to leave self unchanged, got {got}; return it in the cache"
    )


def test_check_layer_names_state_that_backward_keeps():
    class Wrong(Gate):
        def backward(self, dout, cache, params, grads):
            self.dout = dout
            return super().backward(dout, cache, params, grads)

    assert message_of(Wrong()) == (
        "Wrong: expected backward to leave self unchanged, got a new self.dout; "
        "return it in the cache"
    )


def test_check_layer_rejects_a_backward_of_the_latest_forward():
    latest = []  # out of sight of the attributes

    class Wrong(Gate):
        def forward(self, params, x):
            latest[:] = [x]
            return super().forward(params, x)

        def backward(self, dout, cache, params, grads):
            return super().backward(dout, latest[0], params, grads)

    assert message_of(Wrong()) == (
        "Wrong: weight: expected the gradient of the cache that backward was given, got another "
        "one after a second forward; return all that backward needs in the cache"
    )


def test_check_layer_rejects_a_buffer_that_the_next_forward_overwrites():
    buffer = np.empty_like(X)

    class Wrong(Gate):
        def forward(self, params, x):
            buffer[...] = x
            return super().forward(params, buffer)

    assert message_of(Wrong()).startswith("Wrong: weight: expected the gradient of the cache")


def test_a_table_that_a_layer_makes_in_init_is_not_state():
    class Shifted(Gate):
        def __init__(self):
            self.table, self.parts = np.ones(4), {"inner": Inner()}

        def forward(self, params, x):
            return super().forward(params, x + self.table)

    assert all(result.passed for result in check_layer(Shifted(), {"x": X}))


def test_the_arguments_forward_and_backward_replace_the_methods():
    class Turned(Gate):
        def forward(self, params, x, sign):
            return super().forward(params, sign * x)

        def backward(self, dout, cache, params, grads, sign):
            return sign * super().backward(dout, cache, params, grads)

    layer = Turned()
    results = check_layer(
        layer,
        {"x": X},
        forward=lambda params, x: layer.forward(params, x, -1),
        backward=lambda *arguments: layer.backward(*arguments, -1),
    )
    assert all(result.passed for result in results)


def test_a_backward_with_dsite_is_called_with_none():
    class WithSite(Gate):
        def forward(self, params, x, site, rng=None, keep=True):
            return super().forward(params, x + site)

        def backward(self, dout, cache, params, grads, dsite):
            assert dsite is None
            return super().backward(dout, cache, params, grads)

    results = check_layer(WithSite(), {"x": X, "site": 3})
    assert [result.name for result in results] == ["weight", "x"]


def test_away_from_initial_reads_the_declaration_and_not_the_name():
    plain = away_from_initial(Parameters({"LayerNorm.weight": (500,)}))
    assert abs(plain["LayerNorm.weight"].mean()) < 0.1
    if not hasattr(parameters, "ParameterSpec"):
        pytest.skip("no declarations yet")
    declared = {
        "scale": parameters.ParameterSpec((500,), "ones"),
        "LayerNorm.weight": parameters.ParameterSpec((500,), "zeros"),
    }
    params = away_from_initial(Parameters(declared))
    assert abs(params["scale"].mean() - 1) < 0.1
    assert abs(params["LayerNorm.weight"].mean()) < 0.1
    assert 0.2 < params["scale"].std() < 0.4
    assert params.vector.dtype == np.float64

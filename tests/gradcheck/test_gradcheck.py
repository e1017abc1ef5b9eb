"""`minibert.gradcheck` passes right backwards, rejects wrong ones, and names the element."""

import copy
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert import functional as f
from minibert import layers
from minibert.gradcheck import (
    BlindSpotWarning,
    GradientError,
    InconclusiveError,
    away_from_initial,
    check_layer,
    check_model,
    check_pair,
)
from minibert.gradcheck.comparison import sample_moves
from minibert.gradcheck.slopes import complex_step_derivative, finite_difference, step_size
from minibert.models import BertForMaskedLM, BertForSequenceClassification
from minibert.parameters import Parameters
from minibert.testing.cases.examples import BATCH, CLASS_LABELS, CONFIG, MASK, MASKED_LABELS

X = np.random.default_rng(0).standard_normal((3, 4))


def cube(x):
    return x**3, x


def test_check_pair_names_the_worst_element_with_both_values():
    def backward(dout, cache, x):
        dx = 3 * cache**2 * dout
        dx[1, 2] += 0.5
        return {"x": dx}

    with pytest.raises(GradientError, match=r"x at \[1, 2\]: analytic .*, numeric .*, error") as e:
        check_pair(cube, backward, {"x": X})
    assert len(str(e.value).splitlines()) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        lambda dout, x: 2 * x**2 * dout,  # another factor
        lambda dout, x: 3 * x**2,  # without the cotangent
        lambda dout, x: -3 * x**2 * dout,  # the sign
        lambda dout, x: 3 * x**2 * dout / len(x),  # divided by the batch
        lambda dout, x: np.zeros_like(x),
        lambda dout, x: np.full_like(x, np.nan),
        lambda dout, x: 3 * x**2 * dout * (1 + 1e-5),  # nearly right
    ],
)
def test_check_pair_rejects_wrong_backwards(wrong):
    with pytest.raises(GradientError, match="x at"):
        check_pair(cube, lambda dout, cache, x: {"x": wrong(dout, x)}, {"x": X})


@pytest.mark.parametrize(("wrong", "caught"), [(1e-2, True), (1e-6, False)])
def test_error_is_relative_down_to_a_thousandth_of_the_largest_gradient(wrong, caught):
    """Smaller gradients may be the rounding error of larger ones."""
    sizes = np.array([1.0, 1e-2, 1e-6])
    claimed = sizes + 1e-6 * wrong * (sizes == wrong)

    def check():
        return check_pair(
            lambda x: (x * sizes, None),
            lambda dout, cache, x: dout * claimed,
            {"x": np.array([0.3, -1.2, 0.7])},
            dout=np.array([1.0, 0.9, -1.1]),
            directions=0,
        )

    if caught:
        with pytest.raises(GradientError, match=r"^x at \[1\].* error 1.00e-06 "):
            check()
    else:
        [row] = check()
        assert row.error < 1e-8


def test_a_random_direction_detects_an_error_in_elements_that_were_not_sampled():
    def backward(dout, cache, x):
        dx = 3 * cache**2 * dout
        dx[2, 3] += 0.5
        return {"x": dx}

    with pytest.raises(GradientError, match="a random direction"):
        check_pair(cube, backward, {"x": X}, entries=1, seed=1)


def test_check_pair_refuses_inputs_without_float_arrays():
    with pytest.raises(ValueError, match="inputs: expected at least one NumPy array of floats"):
        check_pair(cube, lambda dout, cache, x: {"x": 0 * x}, {"x": [1.0, 2.0]})


def test_check_pair_rejects_a_missing_gradient_and_a_wrong_shape():
    with pytest.raises(
        GradientError, match=r"x: expected a gradient of the shape \(3, 4\), got none"
    ):
        check_pair(cube, lambda dout, cache, x: {}, {"x": X})
    with pytest.raises(GradientError, match=r"got one of the shape \(4, 3\)"):
        check_pair(cube, lambda dout, cache, x: {"x": (3 * x**2 * dout).T}, {"x": X})


def test_zeros_rejects_a_gradient_that_is_not_zero():
    def forward(x, shift):
        return x * 1.0, None

    def backward(dout, cache, x, shift):
        return {"x": dout, "shift": np.full_like(shift, 1e-8)}

    inputs = {"x": X, "shift": np.array([1.0, 2.0])}
    with pytest.raises(GradientError, match="shift"):
        check_pair(forward, backward, inputs, zeros=("shift",))


@pytest.mark.parametrize("zeros", [(), ("x",)])
@pytest.mark.parametrize(("at_x", "nearby"), [(0.0, np.nan), (np.nan, np.nan)])
def test_a_forward_that_returns_nan_never_passes(zeros, at_x, nearby):
    def forward(x):
        return np.full_like(x, at_x if (x == X).all() else nearby), None

    with pytest.raises(GradientError, match=r"x at .*: analytic 0, numeric nan, error nan [^;]*$"):
        check_pair(forward, lambda dout, cache, x: 0 * x, {"x": X}, zeros=zeros)


def test_a_nan_gradient_is_detected_in_elements_that_were_not_sampled():
    def backward(dout, cache, x):
        dx = 3 * x**2 * dout
        dx[2, 3] = np.nan
        return dx

    with pytest.raises(GradientError, match="error nan"):
        check_pair(cube, backward, {"x": X}, entries=1, directions=0, seed=1)


def test_one_nan_slope_is_detected():
    def forward(x):
        return np.where(x[1, 2] == X[1, 2], x**3, np.nan), x

    with pytest.raises(GradientError, match=r"x at .*numeric nan, error nan"):
        check_pair(forward, right, {"x": X})


def test_zeros_matches_endings_of_names():
    inputs = {"bias": X, "bias.weight": X + 1}
    rows = check_pair(
        lambda **arrays: (arrays["bias.weight"] ** 3 + 0 * arrays["bias"], None),
        lambda dout, cache, **arrays: (0 * dout, 3 * arrays["bias.weight"] ** 2 * dout),
        inputs,
        zeros=["bias"],
    )
    assert [(row.name, row.analytic != 0) for row in rows] == [
        ("bias", False),
        ("bias.weight", True),
    ]


def test_a_numpy_scalar_is_checked_like_an_array():
    def backward(dout, cache, x, scale):
        return dout * scale, np.sum(dout * x)

    inputs = {"x": X, "scale": np.float32(1.5)}
    rows = check_pair(lambda x, scale: (x * scale, None), backward, inputs)
    assert [(row.name, row.error < 1e-9) for row in rows] == [("x", True), ("scale", True)]


def test_check_pair_refuses_a_forward_without_a_cache():
    with pytest.raises(ValueError, match=r"forward: expected .* \(out, cache\), got ndarray"):
        check_pair(lambda x: x**3, lambda dout, cache, x: 3 * x**2 * dout, {"x": X[:2]})


def test_check_pair_copies_inputs_and_checks_them_in_float64():
    x = X.astype(np.float32)
    kept = x.copy()
    rows = check_pair(cube, lambda dout, c, x: {"x": 3 * c**2 * dout}, {"x": x})
    assert (x == kept).all()
    assert rows[0].error < 1e-9


@pytest.mark.parametrize(
    "name",
    [
        "bert.embeddings.position_embeddings.weight",
        "bert.encoder.layer.0.attention.self.query.weight",
        "bert.encoder.layer.1.output.LayerNorm.bias",
        "cls.predictions.bias",
    ],
)
def test_check_model_names_the_one_wrong_gradient(name):
    class Wrong(BertForMaskedLM):
        def loss_and_grads(self, *arguments, **options):
            loss, grads = super().loss_and_grads(*arguments, **options)
            grads.vector[grads.slices[name]] *= 1.001
            return loss, grads

    params = away_from_initial(BertForMaskedLM(CONFIG).params)
    wrong = Wrong(CONFIG, params=params)
    with pytest.raises(GradientError) as error:
        check_model(wrong, BATCH, MASKED_LABELS, zeros=("key.bias",), entries=1)
    assert [line.split(" at ")[0] for line in str(error.value).splitlines()] == [name]


def test_check_model_passes_on_dropout_seed_and_denominator():
    seen = []

    class Noted(BertForMaskedLM):
        def loss_forward(self, batch, labels, rng=None, denominator=None):
            seen.append((denominator, None if rng is None else copy.deepcopy(rng).random()))
            return super().loss_forward(batch, labels, rng, denominator)

    params = away_from_initial(BertForMaskedLM(CONFIG).params)
    model = Noted(CONFIG, params=params)
    how = {"zeros": ("key.bias",), "entries": 1, "directions": 0}
    check_model(model, BATCH, MASKED_LABELS, dropout_seed=5, denominator=3, **how)
    assert seen.count((3, None)) == 1  # the comparison with and without dropout
    assert set(seen) == {(3, None), (3, np.random.default_rng(5).random())}
    seen.clear()
    check_model(model, BATCH, MASKED_LABELS, **how)
    assert set(seen) == {(None, None)}


def right(dout, cache, x):
    return 3 * x**2 * dout


def test_a_backward_may_return_a_mapping_a_tuple_or_an_array():
    def product(x, times, y):
        return x * y * times, None

    inputs = {"x": X, "times": 3, "y": X + 1}  # integers are not checked
    for backward in (
        lambda dout, cache, x, times, y: {"y": dout * x * times, "x": dout * y * times},
        lambda dout, cache, x, times, y: (dout * y * times, dout * x * times),
    ):
        assert [row.name for row in check_pair(product, backward, inputs)] == ["x", "y"]
    assert check_pair(cube, right, {"x": X})[0].passed
    with pytest.raises(GradientError, match=r"y: expected a gradient of the shape .*, got none"):
        check_pair(product, lambda dout, cache, x, times, y: dout * y * times, inputs)


def test_each_of_several_outputs_has_its_own_cotangent():
    def both(x):
        return (x**2, x.sum()), None

    rows = check_pair(both, lambda douts, cache, x: 2 * x * douts[0] + douts[1], {"x": X})
    assert rows[0].error < 1e-9
    with pytest.raises(GradientError, match="x at"):
        check_pair(both, lambda douts, cache, x: 2 * x * douts[0], {"x": X})


@pytest.mark.parametrize(
    ("entries", "directions", "tried"), [(None, 0, 12), (None, 2, 14), (5, 1, 6), (0, 3, 3)]
)
def test_entries_and_directions_set_the_number_of_moves(entries, directions, tried):
    moved = set()

    def watched(x):
        moved.add((x != X).sum())
        calls.append(x)
        return cube(x)

    calls: list[np.ndarray] = []
    check_pair(watched, right, {"x": X}, entries=entries, directions=directions)
    assert len(calls) == 2 + 4 * tried  # the forward twice, four points a slope
    assert moved <= {0, *([1] if entries != 0 else []), *([12] if directions else [])}


def test_check_pair_refuses_zero_entries_and_directions():
    with pytest.raises(ValueError, match="entries, directions: both are 0"):
        check_pair(cube, right, {"x": X}, entries=0, directions=0)


@pytest.mark.parametrize(
    ("dtype", "error"), [(np.float32, 2e-3), (np.float64, 1e-9), (np.longdouble, 1e-11)]
)
def test_step_and_tolerance_depend_on_the_dtype(dtype, error):
    seen = set()

    def forward(x):
        seen.add(x.dtype)
        return np.sin(x), x

    rows = check_pair(forward, lambda dout, c, x: dout * np.cos(x), {"x": X}, dtype=dtype)
    assert seen == {np.dtype(dtype)}
    assert rows[0].error <= error <= max(rows[0].tolerance, 1e-9)
    with pytest.raises(GradientError, match="x at"):
        check_pair(forward, lambda dout, c, x: dout * np.cos(x) * 1.01, {"x": X}, dtype=dtype)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_step_size_is_proportional_to_the_array(scale):
    forward = lambda x: (np.sin(x / scale), x)  # noqa: E731
    backward = lambda dout, cache, x: dout * np.cos(x / scale) / scale  # noqa: E731
    assert check_pair(forward, backward, {"x": scale * X})[0].error < 1e-8
    assert step_size(np.zeros(3)) == step_size(np.ones(3)) == pytest.approx(1.48e-3, rel=0.01)
    assert step_size(np.ones(3, np.float32)) == pytest.approx(0.083, rel=0.01)


def test_slopes_restore_the_array():
    x, direction = X.copy(), np.ones_like(X)
    slope = finite_difference(lambda: float((x**3).sum()), x, direction, step_size(x))
    assert slope == pytest.approx((3 * X**2).sum(), rel=1e-10)
    assert (x == X).all()
    z = X + 0j
    assert complex_step_derivative(lambda: (z**3).sum(), z, direction) == pytest.approx(
        (3 * X**2).sum(), rel=1e-15
    )
    assert (z == X).all()


def test_complex_step_is_exact_for_analytic_functions():
    mask = f.padding_mask(MASK, np.float64)
    q, k, v = (np.random.default_rng(i).standard_normal((3, 2, 6, 5)) for i in range(3))
    rows = check_pair(
        lambda q, k, v: f.attention_forward(q, k, v, mask),
        lambda dout, cache, q, k, v: f.attention_backward(dout, cache),
        {"q": q, "k": k, "v": v},
        complex_step=True,
    )
    assert max(row.error for row in rows) < 1e-11  # differences: 1e-10
    layer = layers.Linear("dense", 4, 5)
    assert all(row.error < 1e-11 for row in check_layer(layer, {"x": X}, complex_step=True))


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda x: (np.abs(x), x), "the forward isn't analytic in x"),
        (lambda x: (x.astype(np.float64), x), "the forward doesn't take complex numbers"),
        (lambda x: (np.cbrt(x), x), "the forward doesn't take complex numbers"),
    ],
)
def test_complex_step_is_refused_for_functions_that_are_not_analytic(forward, message):
    with pytest.raises(ValueError, match=f"complex_step: {message}"):
        check_pair(forward, lambda dout, cache, x: dout * np.sign(x), {"x": X}, complex_step=True)


def test_check_pair_refuses_a_forward_with_other_random_numbers_in_each_call():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="forward: two calls with the same inputs gave different"):
        check_pair(lambda x: (x * rng.random(), x), lambda dout, cache, x: dout, {"x": X})


@pytest.mark.parametrize("guilty", ["forward", "backward"])
def test_check_pair_rejects_writing_to_an_input(guilty):
    def forward(x, y):
        if guilty == "forward":
            x[0, 0] = 0
        return x + y, None

    def backward(dout, cache, x, y):
        if guilty == "backward":
            x[0, 0] = 0
        return dout, dout

    with pytest.raises(
        GradientError, match=f"x: expected the {guilty} to leave it unchanged, got other"
    ):
        check_pair(forward, backward, {"x": X, "y": X + 1})


@pytest.mark.parametrize("nearby", [1e-4, -1e-4, 1e-7, -1e-7])
def test_a_kink_nearer_than_a_step_raises_no_false_alarm_and_hides_no_error(nearby):
    x = X.copy()
    x[1, 1] = nearby

    def relu(x):
        return np.maximum(x, 0), x

    assert check_pair(relu, lambda dout, c, x: dout * (x > 0), {"x": x})[0].passed
    for wrong in (lambda dout, c, x: dout, lambda dout, c, x: dout * (x > 0) * 1.001):
        with pytest.raises(GradientError, match="x at") as error:
            check_pair(relu, wrong, {"x": x})
        assert not isinstance(error.value, InconclusiveError)
        assert "kink" not in str(error.value)


def test_the_message_of_a_wrong_backward_of_a_smooth_forward_names_no_kink():
    with pytest.raises(GradientError) as error:
        check_pair(cube, lambda dout, cache, x: 2 * x**2 * dout, {"x": X})
    assert "kink" not in str(error.value)


def test_still_rejects_a_gradient_of_a_frozen_array():
    def forward(x, table):
        return x * table, None

    inputs = {"x": X, "table": X + 1}

    def backward(dout, cache, x, table):
        return dout * table, np.zeros_like(table)

    rows = check_pair(forward, backward, inputs, still=["table"])
    assert [row.name for row in rows] == ["x"]
    with pytest.raises(GradientError, match="table: expected a gradient of 0"):
        check_pair(forward, lambda d, c, x, table: (d * table, d * x), inputs, still=["table"])


def test_check_pair_refuses_a_dout_of_the_wrong_shape():
    with pytest.raises(ValueError, match=r"dout: expected the output's shapes \[\(3, 4\)\]"):
        check_pair(cube, right, {"x": X}, dout=np.ones(3))
    given = np.arange(12.0).reshape(3, 4)
    assert check_pair(cube, right, {"x": X}, dout=given)[0].passed


def look_up(table, ids):
    return table[ids], None


def keep_last(dout, cache, table, ids):
    dtable = np.zeros_like(table)
    dtable[ids] = dout  # a repeated id would keep the last row only
    return dtable


class Lookup:
    """A right embedding layer."""

    def specs(self):
        return {"table": (5, 4)}

    def forward(self, params, ids):
        return params["table"][ids], ids

    def backward(self, dout, ids, params, grads):
        np.add.at(grads["table"], ids, dout)


# Checks that a wrong backward passes; each of them warns.
def standardised(x):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred, None


BLIND = {
    "equal weights of the output": (
        "dout: all its numbers are 1.0",
        lambda: check_pair(
            lambda scores: f.softmax_forward(scores.copy()),  # which it consumes
            lambda d, out, scores: {"scores": out * (d - d.mean(-1, keepdims=True))},
            {"scores": X},
            dout=np.ones((3, 4)),
            zeros=["scores"],
        ),
    ),
    "a scale of 1": (
        "weight: all its numbers are 1.0",
        lambda: check_pair(
            lambda x, weight: (x * weight, None),
            lambda d, c, x, weight: (d, (d * x).sum(0)),  # without the weight
            {"x": X, "weight": np.ones(4)},
        ),
    ),
    "a shift of 0": (
        "bias: all its numbers are 0.0",
        lambda: check_pair(
            lambda x, bias: ((x + bias) ** 2, None),
            lambda d, c, x, bias: (2 * d * x, (2 * d * x).sum(0)),  # without the bias
            {"x": X, "bias": np.zeros(4)},
        ),
    ),
    "a batch of one": (
        "x: its first axis has one element",
        lambda: check_pair(
            lambda x, weight: (x * weight, None),
            lambda d, c, x, weight: (d * weight, (d * x).mean(0)),  # a mean instead of a sum
            {"x": X[:1], "weight": X[1]},
        ),
    ),
    "nothing to compare": (
        "x: no output depends on it",
        lambda: check_pair(lambda x: (np.ones(3), None), lambda d, c, x: 0 * x, {"x": X}),
    ),
    "two equal inputs": (
        "x, y: they are equal",
        lambda: check_pair(
            lambda x, y: (x * y, None),
            lambda d, c, x, y: (d * x, d * y),  # swaps them
            {"x": X, "y": X},
        ),
    ),
    "no elements": ("x: it has no elements", lambda: check_pair(cube, right, {"x": X[:0]})),
    "no elements, no directions": (
        "x: it has no elements",
        lambda: check_pair(cube, right, {"x": X[:0]}, directions=0),
    ),
    "a Python number": (
        "scale: no input of NumPy's floats",
        lambda: check_pair(
            lambda x, scale: (x * scale, None),
            lambda d, c, x, scale: {"x": d * scale, "scale": np.float64(7)},
            {"x": X, "scale": 1.5},
        ),
    ),
    "an input of integers": (
        "x: int64 is not moved, so its gradient was not compared; give it floats",
        lambda: check_pair(
            lambda x, weight: (x * weight, None),
            lambda d, c, x, weight: {"x": 7 * d, "weight": (d * x).sum(0)},
            {"x": np.arange(12).reshape(3, 4), "weight": X[0]},
        ),
    ),
    "an input of integers, gradients in a tuple": (
        "x: int64 is not moved",
        lambda: check_pair(
            lambda x, weight: (x * weight, None),
            lambda d, c, x, weight: (7 * d, (d * x).sum(0)),
            {"x": np.arange(12).reshape(3, 4), "weight": X[0]},
        ),
    ),
    "an input of integers of a layer": (
        "x: int64 is not moved",
        lambda: check_layer(Scaled(1.0), {"x": np.arange(12).reshape(3, 4)}),
    ),
    "ids without repeats": (
        "ids: none repeats",
        lambda: check_pair(look_up, keep_last, {"table": X, "ids": np.array([[2], [0]])}),
    ),
    "a batch of one row of ids": (
        "ids: a batch of one",
        lambda: check_layer(Lookup(), {"ids": np.array([[2, 0, 0]])}),
    ),
    "more gradients than inputs": (
        "gradient 2 of the backward: no input of NumPy's floats",
        lambda: check_pair(cube, lambda d, c, x: (right(d, c, x), 7 * d), {"x": X}),
    ),
}


@pytest.mark.parametrize("way", BLIND)
def test_check_pair_warns_about_blind_spots(way):
    message, check = BLIND[way]
    with pytest.warns(BlindSpotWarning, match=message):
        assert all(row.passed for row in check())


def test_integers_that_are_no_ids_do_not_warn():
    """Labels and positions need not repeat."""

    def turned(x, at):
        return x * np.cos(at)[:, None], None

    check_pair(turned, lambda d, c, x, at: turned(d, at)[0], {"x": X, "at": np.arange(3)})

    def loss(scores, labels):
        probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        rows = np.arange(len(scores))
        return -np.log(probabilities[rows, labels]).sum(), probabilities

    def dloss(dout, probabilities, scores, labels):
        return dout * (probabilities - np.eye(4)[labels])

    check_pair(loss, dloss, {"scores": X, "labels": np.array([2, 0, 1])})
    check_layer(Lookup(), {"ids": np.array([[2, 0, 0], [1, 0, 4]])})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_ids": BATCH["input_ids"][:1], "token_type_ids": MASK[:1], "attention_mask": None},
         "input_ids: a batch of one"),
        ({"input_ids": np.arange(12).reshape(3, 4), "token_type_ids": None, "attention_mask": None},
         "input_ids: none repeats"),
        ({"attention_mask": np.ones_like(MASK)}, "attention_mask: nothing is padded"),
        ({"attention_mask": None}, "attention_mask: nothing is padded"),
    ],
)  # fmt: skip
def test_check_model_warns_about_batches_that_hide_bugs(change, message):
    batch = {**BATCH, **change}
    labels = CLASS_LABELS[[0]] if len(batch["input_ids"]) == 1 else CLASS_LABELS
    kind = BertForSequenceClassification
    model = kind(CONFIG, params=away_from_initial(kind(CONFIG).params))
    with pytest.warns(BlindSpotWarning) as caught:
        check_model(model, batch, labels, entries=1, zeros=("key.bias",))
    assert any(str(one.message).startswith(message) for one in caught)


def test_check_model_warns_if_the_model_has_no_dropout():
    config = replace(CONFIG, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    params = away_from_initial(BertForMaskedLM(config).params)
    model = BertForMaskedLM(config, params=params)
    with pytest.warns(BlindSpotWarning, match="dropout_seed: the model's config drops nothing out"):
        check_model(model, BATCH, MASKED_LABELS, dropout_seed=3, entries=1, zeros=("key.bias",))


@pytest.mark.slow
def test_check_model_warns_about_initial_parameters():
    model = BertForMaskedLM(CONFIG)
    with pytest.warns(BlindSpotWarning) as caught:
        check_model(model, BATCH, MASKED_LABELS, zeros=("key.bias",), tolerance=np.inf)
    names = {str(one.message).split(":")[0] for one in caught}
    assert names == {name for name, shape in model.params.shapes.items() if len(shape) == 1}


def test_check_layer_checks_every_parameter_and_input():
    sizes = CONFIG.hidden_size, CONFIG.intermediate_size, CONFIG.hidden_act
    layer = layers.FeedForward(*sizes)
    x = np.random.default_rng(0).standard_normal((2, 3, CONFIG.hidden_size))
    names = [row.name for row in check_layer(layer, {"x": x, "site": None})]
    assert names == [*layer.specs(), "x"]

    class Forgetful(layers.FeedForward):
        def backward(self, dout, cache, params, grads, dsite):
            dx = super().backward(dout, cache, params, grads, dsite)
            grads["output.dense.bias"][:] = dout.sum(axis=(0, 1))  # instead of adding
            return dx

    with pytest.raises(
        GradientError, match=r"^Forgetful: output.dense.bias: expected .* to add .*[^\n]$"
    ):
        check_layer(Forgetful(*sizes), {"x": x, "site": None})


def test_check_pair_rejects_writing_to_dout_and_copies_the_callers():
    def backward(dout, cache, x):
        dout /= len(x)  # the numeric slope would shrink equally
        return right(dout, cache, x)

    given = np.arange(12.0).reshape(3, 4)
    for dout in (None, given):
        with pytest.raises(
            GradientError, match="dout: expected the backward to leave it unchanged"
        ):
            check_pair(cube, backward, {"x": X}, dout=dout)
    assert (given == np.arange(12.0).reshape(3, 4)).all()


def test_check_pair_rejects_writing_to_integer_arrays():
    def forward(table, ids):
        ids[ids == 3] = 0
        return table[ids], None

    with pytest.raises(GradientError, match="ids: expected the forward to leave it unchanged"):
        check_pair(forward, lambda *_, **__: None, {"table": X, "ids": np.array([1, 3])})


def test_check_pair_refuses_two_arrays_of_one_name():
    one, other = (Parameters({"weight": (4,)}, X[i].copy()) for i in range(2))
    for inputs in ({"one": one, "other": other}, {"one": one, "weight": X}):
        with pytest.raises(ValueError, match="inputs: two arrays are called weight"):
            check_pair(cube, right, inputs)


class Scaled:
    """A layer with gradients of any size."""

    def __init__(self, size, *, adds=True):
        self.size, self.adds = size, adds

    def shapes(self):
        return {"weight": (4,)}

    def forward(self, params, x):
        return self.size * x * params["weight"], [x]

    def backward(self, dout, cache, params, grads):
        dweight = self.size * (dout * cache.pop()).sum(axis=0)  # consumes the cache
        grads["weight"] = grads["weight"] + dweight if self.adds else dweight
        return self.size * dout * params["weight"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e-30, 1e-12, 1.0, 1e8, 1e30])
def test_check_layer_rejects_overwritten_gradients_of_any_size(size, dtype):
    assert all(row.passed for row in check_layer(Scaled(size), {"x": X}, dtype=dtype))
    with pytest.raises(
        GradientError,
        match=r"^Scaled: weight: expected the backward to add to its gradient \(\+=\), got",
    ):
        check_layer(Scaled(size, adds=False), {"x": X}, dtype=dtype)


@pytest.mark.parametrize(
    ("gradient", "came"),
    [
        (lambda dx: [dx], "shape .*, got list"),
        (lambda dx: dx + 1j, "floats, got one of complex128"),
        (lambda dx: dx.astype(int), "floats, got one of int64"),
        (lambda dx: dx.astype(np.float32), "float64, as the array's, got one of float32"),
    ],
)
def test_check_pair_rejects_gradients_of_the_wrong_type(gradient, came):
    with pytest.raises(GradientError, match=f"x: expected a gradient of .*{came}"):
        check_pair(cube, lambda dout, cache, x: gradient(right(dout, cache, x)), {"x": X})


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("other", [np.float32, np.float64, np.longdouble])
@pytest.mark.parametrize("name", ["x", "weight"])
def test_check_layer_rejects_gradients_of_another_dtype(dtype, other, name):
    class Cast(Scaled):
        def backward(self, dout, cache, params, grads):
            dx = super().backward(dout, cache, params, grads)
            return dx.astype(other) if name == "x" else dx

    def check():
        check_layer(Cast(1.0), {"x": X}, dtype=dtype)

    if name == "weight" or dtype == other:  # `grads` has the parameters' dtype
        return check()
    with pytest.raises(GradientError, match=f"x: expected a gradient of {np.dtype(dtype)}, as"):
        check()


def test_a_python_float_is_accepted_as_the_gradient_of_a_scalar():
    def backward(dout, cache, x, scale):
        return dout * scale, float((dout * x).sum())

    inputs = {"x": X, "scale": np.float64(1.5)}
    assert all(r.passed for r in check_pair(lambda x, scale: (x * scale, None), backward, inputs))


@pytest.mark.parametrize("out", [None, "text", {"out": X}, [X, X[0]], (X, None), X + 1j])
def test_check_pair_refuses_outputs_that_are_not_real_numbers(out):
    with pytest.raises(ValueError, match="forward: expected out to be an array of real numbers"):
        check_pair(lambda x: (out, None), right, {"x": X})


def test_complex_inputs_are_passed_on_unchecked():
    def forward(x, z):
        assert np.iscomplexobj(z)
        return x * np.abs(z), None

    inputs = {"x": X, "z": X + 1j}
    [row] = check_pair(forward, lambda dout, cache, x, z: dout * np.abs(z), inputs)
    assert (row.name, row.passed) == ("x", True)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"inputs": X}, "inputs: expected values by name, got ndarray"),
        ({"inputs": {"x": np.array([[1.0, 2.0], [np.inf, 3.0]])}}, r"x: .* got inf at \[1, 0\]"),
        ({"dtype": np.float16}, "dtype: expected float32, float64 or longdouble, got float16"),
        ({"dtype": np.complex128}, "dtype: expected .*, got complex128"),
        ({"entries": -1}, "entries: expected a whole number of at least 0, got -1"),
        ({"entries": 1.5}, "entries: expected a whole number of at least 0, got 1.5"),
        ({"directions": -1}, "directions: expected a whole number of at least 0, got -1"),
        ({"tolerance": np.nan}, "tolerance: expected a number of at least 0, got nan"),
        ({"zeros": "x"}, "zeros: expected several names, got the one string 'x'"),
        ({"still": "x"}, "still: expected several names, got the one string 'x'"),
        ({"still": ["y"]}, "still: expected names among x, got y"),
        ({"step": 0.0}, "step: expected a positive number, got 0.0"),
        ({"step": -1e-3}, "step: expected a positive number, got -0.001"),
        ({"step": np.nan}, "step: expected a positive number, got nan"),
        ({"step": "1e-3"}, "step: expected a positive number, got '1e-3'"),
        ({"step": 1e-3, "complex_step": True}, "step, complex_step: expected one of them"),
    ],
)
def test_check_pair_refuses_invalid_options(how, message):
    with pytest.raises(ValueError, match=message):
        check_pair(cube, right, **{"inputs": {"x": X}, **how})


def test_still_arrays_may_contain_infinities():
    def backward(dout, cache, scores, bias):
        return dout * np.exp(scores + bias), 0 * scores

    mask = np.where(X > 0, 0, -np.inf)
    rows = check_pair(
        lambda scores, bias: (np.exp(scores + bias), None),
        backward,
        {"scores": X, "bias": mask},
        still=["bias"],
    )
    assert [row.name for row in rows] == ["scores"]


def test_the_message_names_a_kink_exactly_at_the_input():
    x = X.copy()
    x[1, 1] = 0
    kink = r"x at \[1, 1\].*; but a shorter step gives .*: a kink"

    def relu(x):
        return np.maximum(x, 0), x

    for slope in (0, 0.3, 1):  # each is right at a kink
        with pytest.raises(InconclusiveError, match=kink + ".*; inconclusive"):
            check_pair(relu, lambda d, c, x, s=slope: d * np.where(x, x > 0, s), {"x": x})
    with pytest.raises(GradientError, match=kink) as error:
        check_pair(relu, lambda d, c, x: d * np.where(x, x > 0, -2), {"x": x}, directions=0)
    assert "inconclusive" not in str(error.value)


@pytest.mark.parametrize("seed", range(8))
def test_a_kink_on_a_random_direction_is_not_called_wrong(seed):
    x = X.copy()
    x[1, 1] = 0  # other elements are within a long step of 0
    with pytest.raises(InconclusiveError):
        check_pair(
            lambda x: (np.maximum(x, 0), x),
            lambda d, c, x: d * np.where(x, x > 0, 0.3),
            {"x": x},
            entries=0,
            seed=seed,
        )


def test_a_forward_that_is_not_defined_within_a_step_raises_no_false_alarm():
    x = np.array([1e-6, 2.0, 3.0])  # log(x - h) is NaN
    assert check_pair(lambda x: (np.log(x), x), lambda d, c, x: d / x, {"x": x})[0].passed
    with pytest.raises(GradientError, match="x at") as error:
        check_pair(lambda x: (np.log(x), x), lambda d, c, x: 1.001 * d / x, {"x": x})
    assert not isinstance(error.value, InconclusiveError)


@pytest.mark.parametrize("size", [1e-9, 1e-4, 1.0, 1e4])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_step_follows_the_forward_and_not_the_size_of_the_array(size, scale):
    """In a row of an array, the slope may change faster or slower than the array's size tells."""
    x = X * np.array([[size], [1.0], [2.0]])

    def forward(x):
        return np.arctan(x / scale), x

    def backward(dout, cache, x):
        return dout / (1 + (x / scale) ** 2) / scale

    assert check_pair(forward, backward, {"x": x})[0].passed
    with pytest.raises(GradientError, match="x at") as error:
        check_pair(forward, lambda *arguments, **x: 1.001 * backward(*arguments, **x), {"x": x})
    assert not isinstance(error.value, InconclusiveError)


@pytest.mark.parametrize("claimed", [0.0, 1.0])
def test_a_rough_forward_is_inconclusive_and_never_passes(claimed):
    """The outputs are rounded to steps of 1e-7, between which the slope is 0."""

    def forward(x):
        return np.sin(x).astype(np.float32).astype(np.float64), x

    with pytest.raises(GradientError, match="x at") as error:
        check_pair(forward, lambda d, c, x: claimed * d * np.cos(x), {"x": X})
    assert isinstance(error.value, InconclusiveError) == (claimed == 1)


@pytest.mark.parametrize("coarse", [np.float16, np.float32])
def test_a_forgotten_gradient_of_rounded_inputs_is_never_passed_in_silence(coarse):
    """Steps shorter than the rounding change nothing, as if the slope were 0."""

    def forward(x):
        return np.sin(x.astype(coarse).astype(np.float64)), x

    with pytest.raises((GradientError, BlindSpotWarning)):  # warnings are errors here
        check_pair(forward, lambda dout, cache, x: 0 * dout, {"x": X})


def test_step_is_the_longest_step():
    """Within 1e-3, the forward is another function than further away."""
    x = np.array([0.1, 0.2, -0.3])

    def forward(moved):
        near = np.abs(moved - x) < 1e-3
        return np.where(near, moved**2, moved**2 + 1), None

    def backward(dout, cache, moved):
        return 2 * moved * dout

    reached = []
    check_pair(
        lambda moved: (reached.append(np.abs(moved - x).max()), forward(moved))[1],
        backward, {"moved": x}, step=1e-4,
    )  # fmt: skip
    assert max(reached) == pytest.approx(2e-4)  # five points
    with pytest.raises(GradientError):
        check_pair(forward, lambda d, c, moved: moved * d, {"moved": x}, step=1e-4)


def test_a_step_too_short_to_compare_with_shorter_ones_is_inconclusive():
    with pytest.raises(InconclusiveError, match="inconclusive: give another input, or `step`"):
        check_pair(cube, right, {"x": X}, step=1e-14)


def test_wrong_gradients_are_reported_without_the_inconclusive_ones():
    x, weight = X.copy(), X + 1
    x[0, 0] = 0

    def forward(x, weight):
        return np.maximum(x, 0) + weight, None

    def backward(factor):
        return lambda dout, cache, x, weight: (dout * (x > 0), factor * dout)

    inputs = {"x": x, "weight": weight}
    with pytest.raises(InconclusiveError, match=r"^x at"):
        check_pair(forward, backward(1), inputs)
    with pytest.raises(GradientError, match=r"^weight at") as error:
        check_pair(forward, backward(2), inputs)
    assert "inconclusive" not in str(error.value)


@pytest.mark.parametrize(("delay", "is_shown"), [(-1, True), (60, False)])
def test_long_checks_show_progress_and_mention_entries(delay, is_shown, capsys, monkeypatch):
    monkeypatch.setattr("minibert.gradcheck.checks.DELAY", delay)
    check_pair(cube, right, {"x": X})
    shown = capsys.readouterr()
    assert shown.out == ""
    assert ("entries=" in shown.err and "/13" in shown.err) == is_shown
    assert bool(shown.err) == is_shown


@pytest.mark.parametrize("entries", [None, 0, 5, 50])
@pytest.mark.parametrize("still", [(), ("y",)])
def test_the_progress_ends_at_its_total(entries, still, monkeypatch):
    bars = []

    class Bar:
        def __init__(self, total, **how):
            self.total, self.updates = total, 0
            bars.append(self)

        def update(self):
            self.updates += 1

    monkeypatch.setattr("tqdm.tqdm", lambda **how: nullcontext(Bar(**how)))
    check_pair(
        lambda x, y: (x**3, None),
        lambda d, c, x, y: (3 * x**2 * d, 0 * y),
        {"x": X, "y": X[0] + 1}, entries=entries, still=still, zeros=["y"],
    )  # fmt: skip
    [bar] = bars
    elements = {None: 12 + 4, 0: 0, 5: 5 + 4, 50: 12 + 4}[entries] + 2
    assert bar.updates == bar.total
    assert bar.total == (elements if not still else elements - 1 - (4 if entries != 0 else 0))


@given(
    st.lists(st.integers(0, 4), max_size=3).map(tuple),
    st.none() | st.integers(0, 40),
    st.integers(0, 3),
    st.integers(0, 99),
)
def test_moves_are_distinct_elements_and_directions_through_all_of_them(
    shape, entries, directions, seed
):
    moves = list(sample_moves(shape, entries, directions, np.random.default_rng(seed)))
    size = int(np.prod(shape))
    indices = [index for index, _ in moves if index is not None]
    assert len(set(indices)) == len(indices) == (size if entries is None else min(entries, size))
    assert len(moves) == len(indices) + directions
    for index, direction in moves:
        assert direction.shape == shape
        if index is not None:
            assert direction[index] == 1
            assert np.count_nonzero(direction) == 1
        elif size:
            assert np.count_nonzero(direction) == size
            assert np.linalg.norm(direction) == pytest.approx(1)


def test_every_element_is_chosen_by_some_seed():
    """All elements are equally likely: none of 12 is left out by the choices of 100 seeds."""
    chosen = Counter(
        index
        for seed in range(100)
        for index, _ in sample_moves((3, 4), 3, 0, np.random.default_rng(seed))
    )
    assert len(chosen) == 12
    assert min(chosen.values()) > 10  # of 25 expected


def test_the_message_names_a_forward_that_computes_in_a_coarser_dtype():
    def forward(x):
        return np.sin(x.astype(np.float32)), None

    with pytest.raises(GradientError, match="the forward's output is of float32, its inputs are"):
        check_pair(forward, lambda dout, cache, x: dout * np.cos(x), {"x": X})


def test_check_pair_refuses_other_random_numbers_in_a_reused_buffer():
    rng, out = np.random.default_rng(0), np.empty_like(X)
    with pytest.raises(ValueError, match="forward: two calls with the same inputs gave different"):
        check_pair(
            lambda x: (np.multiply(x, rng.random(), out=out), None),
            lambda dout, cache, x: dout,
            {"x": X},
        )


class Line:
    """A linear regression model."""

    def __init__(self, rate=0.0, **wrong):
        self.params = Parameters({"slope": (2,), "shift": (2,)}, X[0].copy())
        self.rate, self.wrong = rate, wrong

    def loss_forward(self, batch, labels, rng=None, denominator=None):
        x = batch["x"]
        kept = 1.0 if rng is None or not self.rate else (rng.random(x.shape) >= self.rate)
        off = kept * x * self.params["slope"] + self.params["shift"] - labels
        return (off**2).sum() / (denominator or len(x)), (kept, off)

    def loss_and_grads(self, batch, labels, rng=None, *, grads=None, denominator=None):
        loss, (kept, off) = self.loss_forward(batch, labels, rng, denominator)
        doff = 2 * off / (denominator or len(off))
        grads["slope"] += (doff * kept * batch["x"]).sum(axis=0)
        grads["shift"] += doff.sum(axis=0)
        batch["x"][0] *= self.wrong.get("batch", 1)
        return loss * self.wrong.get("loss", 1), grads


def test_check_model_accepts_a_model_that_is_not_bert():
    batch, labels = {"x": X[:, :2].copy()}, X[:, 2:]
    for how in ({}, {"dropout_seed": 3}):
        rows = check_model(Line(0.5), batch, labels, **how)
        assert [row.name for row in rows] == ["slope", "shift"]
    with pytest.warns(BlindSpotWarning, match="dropout_seed"):
        check_model(Line(0.0), batch, labels, dropout_seed=3)
    with pytest.warns(BlindSpotWarning, match="x: a batch of one"):
        check_model(Line(), {"x": X[:1, :2]}, X[:1, 2:])
    with pytest.raises(GradientError, match="loss_and_grads: expected the loss of loss_forward"):
        check_model(Line(loss=2), batch, labels)
    with pytest.raises(GradientError, match="x: expected the model to leave it unchanged"):
        check_model(Line(batch=2), batch, labels)


def test_equal_arrays_of_one_parameters_do_not_warn():
    params = Parameters({"one": (4,), "other": (4,)}, np.tile(X[0], 2))

    def backward(dout, cache, params):
        return Parameters(params.shapes, np.concatenate([dout * params["other"], dout * X[0]]))

    check = check_pair(
        lambda params: (params["one"] * params["other"], None),
        lambda dout, cache, params: {"params": backward(dout, cache, params)},
        {"params": params},
    )
    assert [row.name for row in check] == ["one", "other"]


def test_nan_counts_as_the_worst_error():
    def forward(x):
        return (np.full_like(x, np.nan) if x[1, 2] != X[1, 2] else x**3), None

    with pytest.raises(GradientError, match=r"x at \[1, 2\]: .* error nan"):
        check_pair(forward, right, {"x": X}, directions=0)


@pytest.mark.parametrize("seed", [0, 5])
def test_inputs_from_the_generator_of_the_seed_do_not_equal_the_cotangents(seed):
    x = np.random.default_rng(seed).standard_normal((3, 4))

    def forward(x):
        std = x.std(axis=1, keepdims=True)
        return (x - x.mean(axis=1, keepdims=True)) / std, std

    def backward(dout, std, x):  # without / std; right, 0 and unseen if dout is x
        normed = (x - x.mean(axis=1, keepdims=True)) / std
        along = (dout * normed).mean(axis=1, keepdims=True)
        return dout - dout.mean(axis=1, keepdims=True) - normed * along

    with pytest.raises(GradientError) as error:
        check_pair(forward, backward, {"x": x}, seed=seed)
    assert abs(float(str(error.value).split("numeric ")[1].split(",")[0])) > 1e-3

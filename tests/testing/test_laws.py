"""The laws pass for right code and name the place of each planted violation, in any code."""

import random
import re
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert import BertForMaskedLM, BertModel, testing
from minibert.functional import dropout_forward
from minibert.gradcheck import BlindSpotWarning, GradientError, away_from_initial
from minibert.layers import LayerNorm
from minibert.parameters import Parameters
from minibert.testing import (
    assert_batch_invariant,
    assert_deterministic,
    assert_gradients,
    assert_padding_invariant,
    assert_permutation_equivariant,
    batches,
    configs,
)
from minibert.testing.cases.examples import BATCH, CONFIG, MASKED_LABELS

X = np.random.default_rng(0).standard_normal((3, 4, 5))  # (B, T, D)
MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]])
PADDED = {"x": X, "mask": MASK}


def attention(x, mask):
    """Return each token's mean of the real tokens, weighted by similarity, and the weights."""
    scores = np.where(mask[:, None] == 1, x @ x.swapaxes(1, 2), -np.inf)  # (B, T, T)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights @ x, weights


def masked_mean(x, mask):
    """Return the mean of each sequence's real tokens (B, D)."""
    return (x * mask[..., None]).sum(axis=1) / mask.sum(axis=1)[:, None]


def model_of(kind, dtype=np.float64, config=CONFIG):
    return kind(config, params=away_from_initial(kind(config).params).astype(dtype))


def violation(message):
    """Expect an AssertionError whose message begins with a pattern."""
    return pytest.raises(AssertionError, match=f"^{message}")


# Padding.


@pytest.mark.parametrize("function", [attention, masked_mean])
def test_padding_invariant_functions_pass(function):
    assert_padding_invariant(function, PADDED, mask="mask")
    assert_padding_invariant(function, PADDED, mask="mask", more=0)
    assert_padding_invariant(function, {"x": X, "mask": np.ones((3, 4), bool)}, mask="mask", more=1)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_content_of_padding_is_finite_also_next_to_the_largest_number(dtype):
    x = np.where(X > 0, np.finfo(dtype).max, 0).astype(dtype)
    seen = []

    def masked(x, mask):
        seen.append(x)
        return (x / 64 * mask[..., None]).sum(axis=1)

    assert_padding_invariant(masked, PADDED | {"x": x}, mask="mask")
    assert all(np.isfinite(each).all() for each in seen)


def test_one_sequence_without_a_batch_passes():
    def weighted(x, mask):
        return np.cumsum(x * mask), x[mask == 1].sum()

    assert_padding_invariant(weighted, {"x": X[0, :, 0], "mask": [1, 1, 1, 0]}, mask="mask")


def test_every_kind_of_output_is_compared():
    class Pair(NamedTuple):
        tokens: np.ndarray
        mean: np.ndarray

    def nested(x, mask):
        return {"pair": Pair(attention(x, mask)[0], masked_mean(x, mask)), "none": None}

    assert_padding_invariant(nested, PADDED, mask="mask")
    with violation(r"pair\.mean: expected .* at sequence [012], \[[0-4]\], got"):
        assert_padding_invariant(
            lambda x, mask: nested(x, mask) | {"pair": Pair(x, x.mean(axis=1))}, PADDED, mask="mask"
        )
    with violation(r"output\[1\]: expected .* at sequence"):
        assert_padding_invariant(lambda x, mask: (x, x.sum(axis=1)), PADDED, mask="mask")


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_integers_that_are_the_same_float_differ(dtype):
    def numbered(x):
        return np.array([2**60 + len(x)] * len(x), dtype)

    with violation("output: expected .* at sequence 0, got .* alone; the difference is 1.0e"):
        assert_batch_invariant(numbered, {"x": X})
    assert_batch_invariant(lambda x: np.full(len(x), 2**60 + 1, dtype), {"x": X})


def without_mask(x, mask):
    return attention(x, np.ones_like(mask))


def token_count(x, mask):
    return mask.sum(axis=1) + mask.shape[1] // 5


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x, mask: x.mean(axis=1), r"output: expected \S+ at sequence \d, \[\d\], got \S+ "
                                         "with 2 more padded tokens; the difference is"),
        (without_mask, r"output\[0\]: expected \S+ at sequence \d, token \d, \[\d\], got"),
        (token_count, r"output: expected 4 at sequence 0, got 5 with 2 more padded tokens"),
        (lambda x, mask: x + x.max(), r"output: expected \S+ at sequence \d, token \d, \[\d\]"),
        (lambda x, mask: np.full(3, np.nan), "output: expected nan at sequence 0, got nan"),
        (lambda x, mask: x.reshape(-1, 5), r"output: expected \(12, 5\) with .* got \(18, 5\)"),
        (lambda x, mask: {str(x.shape[1]): x}, r"outputs: expected \['4'\] in each .* got \['6'\]"),
    ],
)  # fmt: skip
def test_padding_that_reaches_outputs_is_found(function, message):
    with violation(message):
        assert_padding_invariant(function, PADDED, mask="mask")


def test_other_content_of_padding_alone_is_tried():
    with violation(r"output: .* at sequence [12], \[\d\], got \S+ with other content of padding"):
        assert_padding_invariant(lambda x, mask: x[:, -1], PADDED, mask="mask", more=0)


def test_sequences_without_a_token_have_no_result():
    batch = {"x": X, "mask": MASK * [[1], [0], [1]]}
    assert_padding_invariant(lambda x, mask: x[:, 0], batch, mask="mask")


def test_largest_difference_is_named_with_its_sequence_and_token():
    def wrong(x, mask):
        out = x.copy()
        out[1, 0, 2] += 7.0 * (mask.shape[1] > 4)
        out[2, 1, 3] += 0.5 * (mask.shape[1] > 4)
        out[1, 3] += 100 * (mask.shape[1] > 4)  # a padded token, which is not compared
        return out

    expected, got = X[1, 0, 2], X[1, 0, 2] + 7
    with violation(
        rf"output: expected {expected:.10g} at sequence 1, token 0, \[2\], got {got:.10g} with 3 "
        r"more padded tokens; the difference is 7\.0e\+00, at most "
    ):
        assert_padding_invariant(wrong, PADDED, mask="mask", more=3)


def test_tolerance_is_relative_to_the_largest_output_and_follows_the_dtype():
    def near(error, dtype):
        return lambda x, mask: (x * 0 + 8 + error * (mask.shape[1] > 4)).astype(dtype)

    assert_padding_invariant(near(1e-12, np.float64), PADDED, mask="mask")
    assert_padding_invariant(near(5e-5, np.float32), PADDED, mask="mask")
    assert_padding_invariant(near(0.07, np.float64), PADDED, mask="mask", tolerance=0.01)
    for error, dtype, options in [
        (1e-9, np.float64, {}), (5e-4, np.float32, {}), (1, np.int64, {}),
        (1e-12, np.float64, {"tolerance": 0}), (0.09, np.float64, {"tolerance": 0.01}),
    ]:  # fmt: skip
        with violation("output: expected 8 at sequence 0, token 0"):
            assert_padding_invariant(near(error, dtype), PADDED, mask="mask", **options)


def test_content_of_padding_can_be_given():
    def seen(x, mask, labels):
        assert (labels[mask == 0] == -100).all()
        counted = labels != -100
        return (x[..., 0] * counted).sum() / counted.sum()

    batch = {**PADDED, "labels": np.where(MASK, 1, -100)}
    assert_padding_invariant(seen, batch, mask="mask", padding={"labels": -100})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_models_are_invariant_to_padding(dtype):
    model = model_of(BertModel, dtype)
    assert_padding_invariant(model, BATCH)
    assert_padding_invariant(model, BATCH, more=0, tolerance=0)


# Batches.


@pytest.mark.parametrize("function", [attention, masked_mean])
def test_batch_invariant_functions_and_models_pass(function):
    assert_batch_invariant(function, PADDED)
    assert_batch_invariant(model_of(BertModel, np.float32), BATCH)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x - x.mean(axis=0), r"output: .* at sequence \d, \[\d, \d\], got 0 alone"),
        (lambda x: x + np.arange(len(x))[:, None, None], r"output: .* at sequence 2, .* alone"),
        (lambda x: x[:, : len(x)], r"output: expected \(1, 3, 5\) for sequence 0 alone, got \(1, "),
    ],
)  # fmt: skip
def test_outputs_that_depend_on_the_batch_are_found(function, message):
    with violation(message):
        assert_batch_invariant(function, {"x": X})


def test_outputs_that_depend_on_the_order_in_the_batch_are_found():
    with violation("output: expected 1 at sequence 0, got 2 in a batch of the opposite order"):
        assert_batch_invariant(lambda x: x + (x[0] > x[-1]), {"x": [1, 2, 3]})


# Permutations.


def test_permutation_equivariant_functions_pass():
    assert_permutation_equivariant(attention_out, PADDED)
    assert_permutation_equivariant(lambda x, mask: attention(x, mask)[1], PADDED, out_axes=(1, 2))
    assert_permutation_equivariant(masked_mean, PADDED, out_axes=())
    assert_permutation_equivariant(lambda x: x / x.sum(axis=0), {"x": X[0]}, axis=0)
    assert_permutation_equivariant(lambda x, scale: x * scale, {"x": X, "scale": X[0, 0]})


def attention_out(x, mask):
    return attention(x, mask)[0]


@given(order=st.permutations(range(4)))
@settings(max_examples=10)
def test_a_permutation_can_be_drawn(order):
    assert_permutation_equivariant(attention_out, PADDED, order=order)
    if order != sorted(order):
        with violation(rf"output: .* at sequence 0, token \d, \[0\], .* {re.escape(str(order))}"):
            assert_permutation_equivariant(
                lambda x: x + np.arange(4)[:, None] * [1, 0, 0, 0, 0], {"x": X}, order=order
            )


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + np.arange(4)[:, None],  # positions leak
        lambda x: x.cumsum(axis=1),
        lambda x: x + np.roll(x, 1, axis=1) + np.roll(x, -1, axis=1),  # the same in reverse
        lambda x: x[:, ::-1],
    ],
)
def test_functions_that_know_positions_are_found(function):
    with violation(r"output: expected \S+ at sequence \d, token \d, \[\d\], got \S+ in the order"):
        assert_permutation_equivariant(function, {"x": X})


def test_pooling_of_the_first_token_depends_on_the_order():
    with violation(r"output: expected \S+ at sequence \d, \[\d\], got \S+ in the order"):
        assert_permutation_equivariant(lambda x: x[:, 0], {"x": X}, out_axes=())


# Determinism.


def test_deterministic_functions_pass_with_copies_of_their_generators():
    assert_deterministic(attention, PADDED)
    rng = np.random.default_rng(0)
    assert_deterministic(
        lambda x, rate, rng: dropout_forward(x, rate, rng), {"x": X, "rate": 0.5, "rng": rng}
    )
    assert rng.random() == np.random.default_rng(0).random()  # only copies have drawn

    def run(rng, **batch):
        loss, grads = model.loss_and_grads(batch, MASKED_LABELS, rng)
        return {"loss": loss, **grads}

    model = model_of(BertForMaskedLM)
    assert_deterministic(run, {**BATCH, "rng": rng})


class Running:
    """Has hidden state: a mean over all calls."""

    mean = 0.0

    def __call__(self, x):
        self.mean = 0.9 * self.mean + 0.1 * x.mean()
        return x - self.mean


class Previous:
    """Has hidden state: the input of the latest call."""

    x = 0.0

    def __call__(self, x):
        x, self.x = x - self.x, x
        return x


class NegativeZero:
    """Returns other bits in the first call, of equal numbers."""

    calls = 0

    def __call__(self, x):
        self.calls += 1
        return np.zeros(3) * (-1 if self.calls == 1 else 1)


def draws_globally(x):
    return x * np.random.random(x.shape)  # noqa: NPY002  the planted bug


def seeds_globally(x):
    np.random.seed(0)  # noqa: NPY002  the planted bug
    return x


def shuffles_globally(x):
    random.random()
    return x


def works_in_place(x):
    x *= 2
    return x


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (Running(), r"output: expected \S+ at sequence \d, \[\d, \d\], got \S+ in the second call"),
        (Previous(), r"output: expected \S+ at .* in the second call"),
        (draws_globally, "np.random: expected the function to leave the global random state unch"),
        (seeds_globally, "np.random: expected the function to leave the global random state unch"),
        (shuffles_globally, "random: expected the function to leave the global random state unch"),
        (works_in_place, "x: expected the function to leave it unchanged, got other values; use a"),
        (NegativeZero(), "output: expected the same bits in the second call, got others"),
    ],
)  # fmt: skip
def test_functions_that_are_not_deterministic_are_found(function, message):
    x, state = X.copy(), np.random.get_state()  # noqa: NPY002
    try:
        with violation(message):
            assert_deterministic(function, {"x": x})
    finally:
        np.random.set_state(state)  # noqa: NPY002
    assert (x == X).all()


# Gradients.


class Linear:
    """A layer that holds its parameters, its input and its gradients."""

    def __init__(self, weight, bias, adds=False):
        self.weight, self.bias, self.adds = weight, bias, adds
        self.dweight, self.dbias = np.zeros_like(weight), np.zeros_like(bias)

    def forward(self, x):
        self.x = x
        return x @ self.weight + self.bias

    def backward(self, dout):
        dweight = np.einsum("btd,btf->df", self.x, dout)
        if self.adds:
            self.dweight += dweight
            self.dbias += dout.sum(axis=(0, 1))
        else:
            self.dweight, self.dbias = dweight, dout.sum(axis=(0, 1))
        return dout @ self.weight.T


class LinearWithoutSum(Linear):
    """Forgets to sum the bias's gradient over the batch."""

    def backward(self, dout):
        dx = super().backward(dout)
        self.dbias = dout[0].sum(axis=0)
        return dx


WEIGHT, BIAS = np.random.default_rng(1).standard_normal((6, 2))[:5], np.array([0.3, -0.8])
ATTRIBUTES = {"weight": "dweight", "bias": "dbias"}


@pytest.mark.parametrize("adds", [False, True])
def test_gradients_of_a_layer_that_holds_its_parameters(adds):
    layer = Linear(WEIGHT, BIAS, adds)
    before = {name: value.copy() for name, value in vars(layer).items() if name != "adds"}
    assert_gradients(layer, {"x": X}, attributes=ATTRIBUTES)
    assert {name for name in vars(layer) if name != "adds"} == before.keys()
    assert all((getattr(layer, name) == value).all() for name, value in before.items())


def test_wrong_gradient_of_a_layer_that_holds_its_parameters_is_found():
    layer = LinearWithoutSum(WEIGHT, BIAS)
    with pytest.raises(GradientError, match=r"^bias at \[\d\]: analytic"):
        assert_gradients(layer, {"x": X}, attributes=ATTRIBUTES)


class LinearWithAnotherName(Linear):
    """Has no gradient before the backward, which names it otherwise than the caller expects."""

    def __init__(self):
        self.weight, self.bias, self.dweight = WEIGHT, BIAS, None

    def backward(self, dout):
        self.weight_grad = np.einsum("btd,btf->df", self.x, dout)
        self.bias_grad = dout.sum(axis=(0, 1))
        return dout @ self.weight.T


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"weight": "dW"}, "attributes: expected the gradient dW on LinearWithAnotherName, found"),
        ({"weight": "dweight"}, "attributes: expected the gradient dweight on LinearWith"),
        ({"w": "weight_grad"}, "attributes: expected the parameter w on LinearWithAnotherName, f"),
        (["weight"], "attributes: expected the names of gradients by those of parameters, got li"),
        ({"weight": 3}, "attributes: expected names, got 'weight': 3"),
        (None, r"LinearWithAnotherName: expected a method specs\(\), found none; if the layer "
         "holds its parameters, name them and their gradients by attributes="),
    ],
)  # fmt: skip
def test_attributes_that_the_layer_lacks_are_named(attributes, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        assert_gradients(LinearWithAnotherName(), {"x": X}, attributes=attributes)
    names = {"weight": "weight_grad", "bias": "bias_grad"}
    assert_gradients(LinearWithAnotherName(), {"x": X}, attributes=names)


def test_gradients_of_functions_layers_and_models_are_checked_by_gradcheck():
    def forward(x):
        return np.tanh(x), np.tanh(x)

    assert_gradients(forward, {"x": X}, lambda dout, out, x: dout * (1 - out**2))
    with pytest.raises(GradientError, match=r"^x at"):
        assert_gradients(forward, {"x": X}, lambda dout, out, x: dout * (1 - out))
    assert_gradients(forward, {"x": X}, lambda dout, out, x: dout * (1 - out), tolerance=np.inf)

    assert_gradients(LayerNorm("norm", 5, 1e-6), {"x": X})
    with pytest.raises(GradientError, match=r"^SimpleLayerNorm: x at"):
        assert_gradients(SimpleLayerNorm("norm", 5, 1e-6), {"x": X})

    batch, labels = {"x": X[0]}, X[1, :, 0]
    assert_gradients(Regression(), batch, labels=labels)
    with pytest.raises(GradientError, match=r"^weight at"):
        assert_gradients(Regression(factor=2), batch, labels=labels)


class Regression:
    """A model: half of the squared error of x · weight, whose gradient has a factor."""

    def __init__(self, factor=1):
        self.params, self.factor = Parameters({"weight": (5,)}, dtype=np.float64), factor
        self.params["weight"][:] = X[2, 0]

    def loss_forward(self, batch, labels, rng, denominator=None):
        error = batch["x"] @ self.params["weight"] - labels
        return error @ error / 2, error

    def loss_and_grads(self, batch, labels, rng, grads, denominator=None):
        loss, error = self.loss_forward(batch, labels, rng)
        grads["weight"] += self.factor * error @ batch["x"]
        return loss, grads


class SimpleLayerNorm(LayerNorm):
    """Forgets that mean and variance depend on x."""

    def backward(self, dout, cache, params, grads):
        super().backward(dout.copy(), cache, params, grads)
        return dout * params[self.weight]


# Arguments.


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: assert_padding_invariant(attention, PADDED), r"attention_mask: expected an array"),
        (lambda: assert_padding_invariant(attention, {"m": 1}, mask="m"), "m: expected an array"),
        (lambda: assert_batch_invariant(attention, X), "batch: expected values by name, got nda"),
        (lambda: assert_batch_invariant(attention, {"x": 1}), "batch: expected an array with sequ"),
        (lambda: assert_batch_invariant(attention, {"x": X, "y": X[:2]}),
         r"y: expected 3 sequences along axis 0, as in x, got the shape \(2, 4, 5\); bind other"),
        (lambda: assert_batch_invariant(lambda x: x.sum(), {"x": X}),
         r"output: expected 3 sequences along axis 0, got \(\)"),
        (lambda: assert_permutation_equivariant(np.sort, {"x": X, "y": X[:, :2]}), "y: expected 4"),
        (lambda: assert_permutation_equivariant(lambda x: x[:, 0], {"x": X}),
         r"output: expected 4 tokens along axis 1, got \(3, 5\)"),
        (lambda: assert_permutation_equivariant(lambda x: x, {"x": X}, order=[0, 1, 2, 2]),
         r"order: expected a permutation of range\(4\), got \[0 1 2 2\]"),
        (lambda: assert_padding_invariant(attention, PADDED, mask="mask", more=-1), "more: exp"),
        (lambda: assert_padding_invariant(attention, PADDED, mask="mask", padding={"y": 0}),
         "padding: expected names among x, mask, got y"),
        (lambda: assert_batch_invariant(attention, {"x": X[:0]}), "batch: expected an array"),
        (lambda: assert_permutation_equivariant(attention, PADDED, axis=-2), "axis: expected"),
        (lambda: assert_deterministic(lambda x: None, {"x": X}), "function: expected it to return"),
        (lambda: assert_deterministic(lambda x: "a", {"x": X}),
         "output: expected an array of numbers, got str"),
        (lambda: assert_deterministic(lambda x: {"a": [object()]}, {"x": X}),
         r"a\[0\]: expected an array of numbers, got object"),
        (lambda: assert_gradients(np.tanh, {"x": X}), "backward: expected that of ufunc, got none"),
    ],
)  # fmt: skip
def test_arguments_with_which_nothing_can_be_checked_are_refused(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: assert_padding_invariant(
            attention, {"x": X, "mask": MASK[:1].repeat(3, 0)}, mask="mask", more=0),
         "mask: nothing is padded"),
        (lambda: assert_batch_invariant(lambda x: x, {"x": X[:1]}), "x: a batch of one is the "),
        (lambda: assert_permutation_equivariant(lambda x: x, {"x": X[:, :1]}), "x: one token has"),
    ],
)  # fmt: skip
def test_a_batch_that_detects_nothing_warns(call, message):
    with pytest.warns(BlindSpotWarning, match=f"^{message}"):
        call()


@pytest.mark.filterwarnings("ignore::minibert.gradcheck.BlindSpotWarning")  # for batches of one
@given(configs(max_position_embeddings=8).flatmap(
    lambda config: st.tuples(st.just(config), batches(config))))  # fmt: skip
@settings(max_examples=15)
def test_laws_hold_for_drawn_models_and_batches(case):
    config, batch = case
    model = model_of(BertModel, config=config)
    assert_padding_invariant(model, batch, tolerance=1e-11)
    assert_padding_invariant(model, batch, more=0, tolerance=0)
    assert_batch_invariant(model, batch, tolerance=1e-11)
    assert_deterministic(model, batch)


def test_laws_need_no_hypothesis():
    code = "import sys; sys.modules['hypothesis'] = None; from minibert.testing import "
    code += ", ".join(name for name in testing.__all__ if name.startswith("assert_"))
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parity
def test_laws_check_a_pytorch_module():
    import torch

    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(
        4, 2, 8, dropout=0.0, batch_first=True, dtype=torch.float64
    ).eval()

    def run(x, attention_mask):
        padding = torch.tensor(attention_mask == 0)
        with torch.no_grad():
            return layer(torch.tensor(x), src_key_padding_mask=padding).numpy()

    batch = {"x": X[..., :4], "attention_mask": MASK}
    assert_padding_invariant(run, batch)
    assert_batch_invariant(run, batch)
    assert_permutation_equivariant(run, batch)
    assert_deterministic(run, batch)
    with violation("output: expected .* at sequence"):
        assert_padding_invariant(lambda x, attention_mask: run(x, attention_mask * 0 + 1), batch)

    def forward(x):
        leaf = torch.tensor(x, requires_grad=True)
        return layer(leaf).detach().numpy(), leaf

    def backward(dout, leaf, x):
        return torch.autograd.grad(layer(leaf), leaf, torch.tensor(dout))[0].numpy()

    assert_gradients(forward, {"x": X[..., :4]}, backward)

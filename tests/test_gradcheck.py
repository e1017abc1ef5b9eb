"""The prover proven: it passes what is right, catches what is wrong, and says where."""

import numpy as np
import pytest

from minibert.gradcheck import GradientError, check_model, check_pair
from minibert.models import BertForMaskedLM
from minibert.parameters import Parameters
from minibert.proofs.examples import BATCH, CONFIG, MASKED_LABELS, away_from_initial

X = np.random.default_rng(0).standard_normal((3, 4))


def cube(x):
    return x**3, x


def test_it_names_the_worst_element_with_both_values():
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
        lambda dout, x: 3 * x**2,  # the cotangent forgotten
        lambda dout, x: -3 * x**2 * dout,  # the sign
        lambda dout, x: 3 * x**2 * dout / len(x),  # divided by the batch
        lambda dout, x: np.zeros_like(x),
        lambda dout, x: np.full_like(x, np.nan),
        lambda dout, x: 3 * x**2 * dout * (1 + 1e-5),  # nearly right
    ],
)
def test_wrong_backwards_are_caught(wrong):
    with pytest.raises(GradientError, match="x at"):
        check_pair(cube, lambda dout, cache, x: {"x": wrong(dout, x)}, {"x": X})


def test_a_direction_catches_an_error_in_elements_that_were_not_drawn():
    def backward(dout, cache, x):
        dx = 3 * cache**2 * dout
        dx[2, 3] += 0.5
        return {"x": dx}

    with pytest.raises(GradientError, match="a random direction"):
        check_pair(cube, backward, {"x": X}, entries=1, seed=1)


def test_nothing_to_check_is_refused():
    with pytest.raises(ValueError, match="inputs: expected at least one NumPy array of floats"):
        check_pair(cube, lambda dout, cache, x: {"x": 0 * x}, {"x": [1.0, 2.0]})


def test_a_gradient_that_is_missing_or_misshapen_is_caught():
    with pytest.raises(
        GradientError, match=r"x: expected a gradient of the shape \(3, 4\), got none"
    ):
        check_pair(cube, lambda dout, cache, x: {}, {"x": X})
    with pytest.raises(GradientError, match=r"got one of the shape \(4, 3\)"):
        check_pair(cube, lambda dout, cache, x: {"x": (3 * x**2 * dout).T}, {"x": X})


def test_gradients_that_must_be_zero_must_be_zero():
    def forward(x, shift):
        return x * 1.0, None

    def backward(dout, cache, x, shift):
        return {"x": dout, "shift": np.full_like(shift, 1e-8)}

    inputs = {"x": X, "shift": np.ones(2)}
    with pytest.raises(GradientError, match="shift"):
        check_pair(forward, backward, inputs, zeros=("shift",))


def test_inputs_are_left_alone_and_floats_are_proven_in_float64():
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
def test_a_model_with_one_wrong_gradient_is_caught_by_name(name):
    class Wrong(BertForMaskedLM):
        def loss_and_grads(self, *arguments, **options):
            loss, grads = super().loss_and_grads(*arguments, **options)
            grads.vector[grads.slices[name]] *= 1.001
            return loss, grads

    params = away_from_initial(Parameters(BertForMaskedLM(CONFIG).shapes()))
    with pytest.raises(GradientError) as error:
        check_model(Wrong(CONFIG, params=params), BATCH, MASKED_LABELS, zeros=("key.bias",))
    assert [line.split(" at ")[0] for line in str(error.value).splitlines()] == [name]

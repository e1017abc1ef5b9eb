"""Sentence encoders: the vectors of `FeatureExtractor`, and gradients through pooling and body."""

import numpy as np
import pytest

from minibert import FeatureExtractor
from minibert.models.pooling import MIN_LENGTH, normalize_backward, normalize_forward
from minibert.models.sentence import SentenceEncoder
from tests.models.relatives import RELATIVES, batch_of, made

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("family", ["bert", *RELATIVES])
def test_vectors_are_those_of_the_feature_extractor(family, normalize, pooling, tokenizer):
    model, batch = made(family), batch_of(family)
    extractor = FeatureExtractor(model, tokenizer, pooling=pooling, normalize=normalize)
    own, _ = SentenceEncoder(model, pooling, normalize).forward(batch)
    for i, length in ((1, 7), (2, 4)):  # the texts without padding inside, alone
        alone = model.check(**{name: array[i : i + 1, :length] for name, array in batch.items()})
        np.testing.assert_allclose(own[i], extractor.vectors([alone])[0], rtol=1e-9)
    if normalize:
        np.testing.assert_allclose(np.linalg.norm(own, axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("family", RELATIVES)
def test_the_gradient_of_each_family_is_the_slope_along_a_direction(family, pooling):
    """Of the body of a model with a head, whose own parameters have no gradient."""
    model, batch = made(family), batch_of(family)
    encoder = SentenceEncoder(model, pooling, normalize=True)
    vectors, cache = encoder.forward(batch, np.random.default_rng(3))
    weights = RNG.standard_normal(vectors.shape)
    grads = model.params.zeros_like()
    encoder.backward(weights, cache, grads)
    direction, before, h = RNG.standard_normal(grads.vector.size), model.params.vector.copy(), 1e-6
    values = []
    for sign in (1, -1):
        model.params.vector[:] = before + sign * h * direction
        values.append((encoder.forward(batch, np.random.default_rng(3))[0] * weights).sum())
    slope = (values[0] - values[1]) / (2 * h)
    assert grads.vector @ direction == pytest.approx(slope, rel=1e-5)
    assert not any(grads[name].any() for name in grads if name not in body_names(model))


def body_names(model):
    return {model.prefix + name for name in model.bert.specs()}


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_padding_changes_no_vector(pooling):
    model, batch = made("bert"), batch_of("bert")
    encoder = SentenceEncoder(model, pooling)
    longer = {name: np.pad(array, ((0, 0), (0, 4))) for name, array in batch.items()}
    longer["input_ids"][:, -4:] = 9
    np.testing.assert_allclose(
        encoder.forward(longer)[0], encoder.forward(batch)[0], rtol=1e-10, atol=1e-12
    )


def test_keep_changes_no_bit_and_gradients_are_added():
    model, batch = made("bert", dtype=np.float32), batch_of("bert")
    encoder = SentenceEncoder(model, normalize=True)
    one, _ = encoder.forward(batch, np.random.default_rng(1), keep=False)
    two, cache = encoder.forward(batch, np.random.default_rng(1))
    assert (one == two).all()
    once, twice = model.params.zeros_like(), model.params.zeros_like()
    encoder.backward(two, cache, once)
    for _ in range(2):
        encoder.backward(two, encoder.forward(batch, np.random.default_rng(1))[1], twice)
    np.testing.assert_allclose(twice.vector, 2 * once.vector, rtol=1e-6)


def test_frozen_blocks_have_no_gradient():
    model, batch = made("bert"), batch_of("bert")
    model.freeze(1)
    encoder, grads = SentenceEncoder(model), model.params.zeros_like()
    vectors, cache = encoder.forward(batch)
    encoder.backward(vectors, cache, grads)
    depths = model.depths()
    for name, gradient in grads.items():
        learns = depths[name] > 1 and name in body_names(model)
        if "key.bias" not in name:  # zero but for rounding
            assert gradient.any() == learns, name


def test_another_pooling_is_refused():
    with pytest.raises(ValueError, match="pooling: expected mean or cls, got 'max'"):
        SentenceEncoder(made("bert"), "max")


def test_a_vector_without_direction_stays_and_has_the_gradient_zero():
    x = np.array([[0.0, 0.0], [1e-13, 0.0], [3.0, 4.0]])
    unit, cache = normalize_forward(x)
    np.testing.assert_allclose(unit, [[0, 0], [1e-13 / MIN_LENGTH, 0], [0.6, 0.8]])
    dx = normalize_backward(np.ones((3, 2)), cache)
    assert not dx[:2].any()
    np.testing.assert_allclose(dx[2], [(1 - 0.6 * 1.4) / 5, (1 - 0.8 * 1.4) / 5], rtol=1e-12)


def test_large_float32_vectors_do_not_overflow():
    x = np.array([[3e30, 4e30]], np.float32)
    unit, cache = normalize_forward(x)
    np.testing.assert_allclose(unit, [[0.6, 0.8]], rtol=1e-6)
    assert np.isfinite(normalize_backward(np.ones((1, 2), np.float32), cache)).all()

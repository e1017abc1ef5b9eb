"""HiddenMarkov: sampling, the posterior against enumeration, and the Bayes-optimal loss."""

import dataclasses
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.markov import HiddenMarkov

SEEDS = st.integers(0, 2**32)


def enumerate_posterior(language, words, masked):
    """Return the posterior (T, W) of a sentence by enumerating all walks and all masked words."""
    states, alphabet = language.emission.shape
    choices = [range(alphabet) if h else [w] for w, h in zip(words, masked, strict=True)]
    found = np.zeros((len(words), alphabet))
    for sentence in product(*choices):
        for walk in product(range(states), repeat=len(words)):
            p = language.start[walk[0]]
            for y, z in pairwise(walk):
                p *= language.transition[y, z]
            for z, w in zip(walk, sentence, strict=True):
                p *= language.emission[z, w]
            found[range(len(words)), sentence] += p
    return found / found.sum(axis=1, keepdims=True)


@st.composite
def sentences(draw, states, words, length):
    """A language, two of its sentences and a mask."""
    seed = draw(SEEDS)
    language = HiddenMarkov.sample(
        draw(states), draw(words), seed, draw(st.sampled_from([0.2, 1.0]))
    )
    rng = np.random.default_rng(seed)
    words = language.sentences(2, draw(length), rng)
    return language, words, rng.random(words.shape) < draw(st.sampled_from([0.3, 0.7, 1.0]))


@given(sentences(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4)))
def test_posterior_equals_enumeration_of_walks_and_words(drawn):
    language, words, masked = drawn
    found = language.posterior(words, masked)
    assert found.dtype == np.float64
    for i in range(len(words)):
        np.testing.assert_allclose(
            found[i], enumerate_posterior(language, words[i], masked[i]), atol=1e-12
        )


@given(sentences(st.integers(1, 8), st.integers(1, 9), st.integers(1, 30)), SEEDS)
def test_posterior_sums_to_one_and_ignores_masked_words(drawn, seed):
    language, words, masked = drawn
    found = language.posterior(words, masked)
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-12)
    assert (found >= 0).all()
    other = np.random.default_rng(seed).integers(-100, 100, words.shape)
    assert (language.posterior(np.where(masked, other, words), masked) == found).all()


@given(sentences(st.integers(1, 8), st.integers(1, 9), st.integers(1, 30)))
def test_posterior_of_a_visible_word_is_one(drawn):
    language, words, masked = drawn
    found = language.posterior(words, masked)
    assert (found[~masked] == np.eye(language.emission.shape[1])[words[~masked]]).all()


def test_posterior_of_a_long_sentence_does_not_underflow():
    # The visible words have a probability of at most 1e-656.
    language = HiddenMarkov.sample(5, 40, 0, concentration=1.0)
    words = language.sentences(3, 500, np.random.default_rng(1))
    masked = np.random.default_rng(2).random(words.shape) < 0.15
    found = language.posterior(words, masked)
    assert np.isfinite(found).all()
    # Distant words carry no information: a middle part gives the same posterior on its own.
    piece = slice(200, 300)
    middle = language.posterior(words[:, piece], masked[:, piece])[:, 45:55]
    np.testing.assert_allclose(found[:, 245:255], middle, atol=1e-9)


def test_sentences_have_the_bigram_frequencies_of_the_language():
    language = HiddenMarkov.sample(4, 5, 3, concentration=0.5)
    words = language.sentences(60_000, 4, np.random.default_rng(0))
    states = language.start
    for t in range(3):
        pairs = np.zeros((5, 5))
        np.add.at(pairs, (words[:, t], words[:, t + 1]), 1 / len(words))
        both = language.emission.T * states @ language.transition @ language.emission
        # The standard deviation of a fraction of 60,000 draws is at most 0.002.
        np.testing.assert_allclose(pairs, both, atol=0.009)
        states = states @ language.transition


def test_sentences_contain_no_word_of_probability_zero():
    never = [[0, 0.5, 0, 0.5, 0], [0, 0.1, 0, 0.9, 0]]
    language = HiddenMarkov([0, 1], [[1, 0], [0.3, 0.7]], never)

    class Least:
        """A generator of 0 and of the largest float below 1."""

        def random(self, shape):
            draws = np.zeros(shape)
            draws[1::2] = np.nextafter(1, 0)
            return draws

    assert language.sentences(4, 3, Least()).tolist() == [[1, 1, 1], [3, 3, 3]] * 2


def test_sample_and_sentences_depend_on_the_seed_only():
    one, again, other = (HiddenMarkov.sample(3, 4, seed) for seed in (0, 0, 1))
    assert (one.transition == again.transition).all()
    assert (one.transition != other.transition).any()
    first, second, third = (one.sentences(5, 9, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert (first == second).all()
    assert (first != third).any()


def test_sample_with_a_smaller_concentration_is_more_peaked():
    peaks = [
        HiddenMarkov.sample(20, 30, 0, concentration).emission.max(axis=1).mean()
        for concentration in (0.05, 0.5, 5.0)
    ]
    assert peaks[0] > 0.5 > peaks[1] > 0.15 > peaks[2]


def test_best_loss_is_the_mean_over_masked_words():
    language = HiddenMarkov([0.5, 0.5], [[0.75, 0.25], [0.25, 0.75]], [[0.5, 0.5], [0, 1]])
    words, masked = np.array([[0, 0, 1]]), np.array([[False, True, True]])
    expected = -(np.log(0.375) + np.log(0.6875)) / 2
    assert language.best_loss(words, masked) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match=r"^masked: expected a word to predict"):
        language.best_loss(words, np.zeros_like(masked))


def test_best_loss_is_below_the_loss_of_other_predictions():
    language = HiddenMarkov.sample(6, 8, 0)
    words = language.sentences(4000, 12, np.random.default_rng(1))
    masked = np.random.default_rng(2).random(words.shape) < 0.2
    best = language.best_loss(words, masked)
    positions = np.nonzero(masked)
    predicted = language.posterior(words, masked)[positions]  # (M, W)
    actual = words[positions]
    others = [
        predicted**0.9,
        predicted**1.1,
        predicted + 0.01,
        predicted * np.linspace(0.9, 1.1, 8),
    ]
    for other in others:
        other = other / other.sum(axis=1, keepdims=True)
        assert -np.log(other[range(len(actual)), actual]).mean() > best
    # The posterior is calibrated: its mean entropy is the loss.
    entropy = -(predicted * np.log(np.where(predicted > 0, predicted, 1))).sum(axis=1).mean()
    assert entropy == pytest.approx(best, abs=0.04)


def test_posterior_with_more_context_has_a_lower_loss():
    language = HiddenMarkov.sample(32, 24, 0, concentration=0.05)
    words = language.sentences(200, 32, np.random.default_rng(1))
    i, position = np.nonzero(np.random.default_rng(2).random(words.shape) < 0.15)
    losses = []
    for reach in (0, 1, 2, 4):
        near = abs(np.arange(32) - position[:, None]) <= reach
        predicted = language.posterior(words[i], ~near | (np.arange(32) == position[:, None]))
        losses.append(-np.log(predicted[range(len(i)), position, words[i, position]]).mean())
    assert losses == sorted(losses, reverse=True)
    assert losses[0] - losses[1] > 0.3
    assert losses[1] - losses[3] > 0.3


GOOD = {"start": [0.5, 0.5], "transition": np.eye(2), "emission": [[1, 0, 0], [0, 0.5, 0.5]]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": [0.5, 0.6]}, r"start: expected rows that sum to 1, got 1\.1"),
        ({"start": [1.5, -0.5]}, r"start: expected probabilities, got -0\.5"),
        ({"start": [[0.5, 0.5]]}, r"start: expected the shape \(Z\).*, got \(1, 2\)"),
        ({"start": []}, r"start: expected the shape \(Z\).*, got \(0,\)"),
        ({"transition": np.eye(3)}, r"transition: expected the shape \(Z, Z\) with Z = 2"),
        (
            {"transition": [[1, 0], [0.5, 0.4]]},
            r"transition: expected rows that sum to 1, got 0\.9",
        ),
        ({"transition": [[1, 0], [2, -1]]}, r"transition: expected probabilities, got -1"),
        ({"transition": np.eye(2) * np.nan}, "transition: expected probabilities, got nan"),
        ({"emission": [[1, 0, 0]]}, r"emission: expected the shape \(Z, W\).*, got \(1, 3\)"),
        ({"emission": [0.5, 0.5]}, r"emission: expected the shape \(Z, W\).*, got \(2,\)"),
        ({"emission": np.zeros((2, 0))}, r"emission: expected the shape \(Z, W\).*, got \(2, 0\)"),
        ({"emission": np.eye(2, 3).T[:2] * 2}, "emission: expected rows that sum to 1, got 2"),
    ],
)
def test_hidden_markov_refuses_invalid_tables(changes, message):
    HiddenMarkov(**GOOD)
    with pytest.raises(ValueError, match=f"^{message}"):
        HiddenMarkov(**{**GOOD, **changes})


@pytest.mark.parametrize(
    ("words", "masked", "message"),
    [
        ([0, 0], [True, False], r"expected words and masked of one shape \(B, T\)"),
        ([[0, 0]], [[True]], r"expected words and masked .*, got \(1, 2\) and \(1, 1\)"),
        ([[0, 3]], [[True, False]], "words: expected ids from 0 to 2, got 3"),
        ([[-1, 0]], [[False, True]], "words: expected ids from 0 to 2, got -1"),
        (
            [[0, 1]],
            [[False, False]],
            "words: expected words that the language can emit, got a probability",
        ),
        ([[0, 2, 0], [0, 2, 1]], [[0, 1, 0], [0, 1, 0]], "words: expected words that the language"),
    ],
)
def test_posterior_refuses_invalid_sentences(words, masked, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        HiddenMarkov(**GOOD).posterior(words, masked)


def test_hidden_markov_tables_are_read_only_copies():
    start = np.array([0.5, 0.5])
    language = HiddenMarkov(**{**GOOD, "start": start})
    start[0] = 7  # the table is a copy
    assert language.start.tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match="read-only"):
        language.emission[0, 0] = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        language.start = start

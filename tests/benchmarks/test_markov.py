"""The hidden Markov language: its best guesses are those of counting every possibility."""

import dataclasses
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.markov import HiddenMarkov

SEEDS = st.integers(0, 2**32)


def enumerated(language, words, hidden):
    """The posterior (T, W) of one sentence: every walk with every choice of the hidden words."""
    states, alphabet = language.emission.shape
    choices = [range(alphabet) if h else [w] for w, h in zip(words, hidden, strict=True)]
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
    """A language, sentences of it and what of them is hidden."""
    seed = draw(SEEDS)
    language = HiddenMarkov.draw(draw(states), draw(words), seed, draw(st.sampled_from([0.2, 1.0])))
    rng = np.random.default_rng(seed)
    said = language.sentences(2, draw(length), rng)
    return language, said, rng.random(said.shape) < draw(st.sampled_from([0.3, 0.7, 1.0]))


@given(sentences(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4)))
def test_the_posterior_is_that_of_counting_every_walk_and_every_word(drawn):
    language, words, hidden = drawn
    found = language.posterior(words, hidden)
    assert found.dtype == np.float64
    for i in range(len(words)):
        np.testing.assert_allclose(found[i], enumerated(language, words[i], hidden[i]), atol=1e-12)


@given(sentences(st.integers(1, 8), st.integers(1, 9), st.integers(1, 30)), SEEDS)
def test_it_sums_to_one_and_does_not_look_at_hidden_words(drawn, seed):
    language, words, hidden = drawn
    found = language.posterior(words, hidden)
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-12)
    assert (found >= 0).all()
    other = np.random.default_rng(seed).integers(-100, 100, words.shape)
    assert (language.posterior(np.where(hidden, other, words), hidden) == found).all()


@given(sentences(st.integers(1, 8), st.integers(1, 9), st.integers(1, 30)))
def test_a_word_that_is_seen_is_certain(drawn):
    language, words, hidden = drawn
    found = language.posterior(words, hidden)
    assert (found[~hidden] == np.eye(language.emission.shape[1])[words[~hidden]]).all()


def test_a_long_sentence_does_not_underflow():
    # The words that are seen have a probability of 1e-656 at most.
    language = HiddenMarkov.draw(5, 40, 0, concentration=1.0)
    words = language.sentences(3, 500, np.random.default_rng(1))
    hidden = np.random.default_rng(2).random(words.shape) < 0.15
    found = language.posterior(words, hidden)
    assert np.isfinite(found).all()
    # What is far away tells nothing: the middle of a sentence is that of a piece of it.
    piece = slice(200, 300)
    middle = language.posterior(words[:, piece], hidden[:, piece])[:, 45:55]
    np.testing.assert_allclose(found[:, 245:255], middle, atol=1e-9)


def test_sentences_follow_the_language():
    language = HiddenMarkov.draw(4, 5, 3, concentration=0.5)
    words = language.sentences(60_000, 4, np.random.default_rng(0))
    states = language.start
    for t in range(3):
        pairs = np.zeros((5, 5))
        np.add.at(pairs, (words[:, t], words[:, t + 1]), 1 / len(words))
        both = language.emission.T * states @ language.transition @ language.emission
        # A share of 60,000 draws has a standard deviation of at most 0.002.
        np.testing.assert_allclose(pairs, both, atol=0.009)
        states = states @ language.transition


def test_no_word_is_said_that_cannot_be():
    never = [[0, 0.5, 0, 0.5, 0], [0, 0.1, 0, 0.9, 0]]
    language = HiddenMarkov([0, 1], [[1, 0], [0.3, 0.7]], never)

    class Least:
        """A generator of the smallest number, and of the largest one below 1."""

        def random(self, shape):
            numbers = np.zeros(shape)
            numbers[1::2] = np.nextafter(1, 0)
            return numbers

    assert language.sentences(4, 3, Least()).tolist() == [[1, 1, 1], [3, 3, 3]] * 2


def test_sentences_and_languages_are_their_seeds():
    one, again, other = (HiddenMarkov.draw(3, 4, seed) for seed in (0, 0, 1))
    assert (one.transition == again.transition).all()
    assert (one.transition != other.transition).any()
    first, second, third = (one.sentences(5, 9, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert (first == second).all()
    assert (first != third).any()


def test_a_smaller_concentration_is_more_peaky():
    peaks = [
        HiddenMarkov.draw(20, 30, 0, concentration).emission.max(axis=1).mean()
        for concentration in (0.05, 0.5, 5.0)
    ]
    assert peaks[0] > 0.5 > peaks[1] > 0.15 > peaks[2]


def test_the_best_loss_is_the_mean_over_hidden_words():
    language = HiddenMarkov([0.5, 0.5], [[0.75, 0.25], [0.25, 0.75]], [[0.5, 0.5], [0, 1]])
    words, hidden = np.array([[0, 0, 1]]), np.array([[False, True, True]])
    expected = -(np.log(0.375) + np.log(0.6875)) / 2
    assert language.best_loss(words, hidden) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match=r"^hidden: expected a word to guess"):
        language.best_loss(words, np.zeros_like(hidden))


def test_no_other_guess_loses_less():
    language = HiddenMarkov.draw(6, 8, 0)
    words = language.sentences(4000, 12, np.random.default_rng(1))
    hidden = np.random.default_rng(2).random(words.shape) < 0.2
    best = language.best_loss(words, hidden)
    places = np.nonzero(hidden)
    guess = language.posterior(words, hidden)[places]  # (M, W)
    said = words[places]
    others = [guess**0.9, guess**1.1, guess + 0.01, guess * np.linspace(0.9, 1.1, 8)]
    for other in others:
        other = other / other.sum(axis=1, keepdims=True)
        assert -np.log(other[range(len(said)), said]).mean() > best
    # Nor does it claim more than it can: on average it is as sure as it is right.
    sure = -(guess * np.log(np.where(guess > 0, guess, 1))).sum(axis=1).mean()
    assert sure == pytest.approx(best, abs=0.04)


def test_seeing_more_loses_less():
    language = HiddenMarkov.draw(32, 24, 0, concentration=0.05)
    words = language.sentences(200, 32, np.random.default_rng(1))
    row, place = np.nonzero(np.random.default_rng(2).random(words.shape) < 0.15)
    losses = []
    for reach in (0, 1, 2, 4):
        near = abs(np.arange(32) - place[:, None]) <= reach
        guess = language.posterior(words[row], ~near | (np.arange(32) == place[:, None]))
        losses.append(-np.log(guess[range(len(row)), place, words[row, place]]).mean())
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
def test_a_table_that_is_no_probability_is_refused(changes, message):
    HiddenMarkov(**GOOD)
    with pytest.raises(ValueError, match=f"^{message}"):
        HiddenMarkov(**{**GOOD, **changes})


@pytest.mark.parametrize(
    ("words", "hidden", "message"),
    [
        ([0, 0], [True, False], r"expected words and hidden of one shape \(B, T\)"),
        ([[0, 0]], [[True]], r"expected words and hidden .*, got \(1, 2\) and \(1, 1\)"),
        ([[0, 3]], [[True, False]], "words: expected numbers from 0 to 2, got 3"),
        ([[-1, 0]], [[False, True]], "words: expected numbers from 0 to 2, got -1"),
        (
            [[0, 1]],
            [[False, False]],
            "words: expected what the language can say, got a probability",
        ),
        ([[0, 2, 0], [0, 2, 1]], [[0, 1, 0], [0, 1, 0]], "words: expected what the language"),
    ],
)
def test_what_is_no_sentence_is_refused(words, hidden, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        HiddenMarkov(**GOOD).posterior(words, hidden)


def test_the_tables_cannot_be_changed():
    start = np.array([0.5, 0.5])
    language = HiddenMarkov(**{**GOOD, "start": start})
    start[0] = 7  # it was copied
    assert language.start.tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match="read-only"):
        language.emission[0, 0] = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        language.start = start

"""A language of which is known how well its hidden words can be guessed at all.

A trained model's loss says little by itself: is what remains the model's fault, or chance? Here
the words come from a hidden Markov model, so the best possible guess can be computed, and no model,
however large and however long it was trained, can lose less on average.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

ROUNDING = 1e-9  # by which the sum of probabilities may miss 1


@dataclass(frozen=True, eq=False)
class HiddenMarkov:
    """Sentences from a walk over states that nobody sees, each of which says one word.

        P(z, w) = start(z₁) emission(w₁ | z₁) · Π transition(zₜ | zₜ₋₁) emission(wₜ | zₜ)

    Baum, Petrie, Soules and Weiss (1970); Rabiner (1989), section II. Z is the number of states, W
    that of words. The tables are kept as float64 and can't be written to.

    Args:
        start: (Z,), how probable each state is at first.
        transition: (Z, Z), how probable each state (column) is after another (row).
        emission: (Z, W), how probable each word (column) is in a state (row).

    Raises:
        ValueError: shapes that don't fit, or rows that aren't probabilities.
    """

    start: np.ndarray
    transition: np.ndarray
    emission: np.ndarray

    def __post_init__(self):
        """Refuse what is no such language, naming the table, what was expected and what came."""
        states = np.size(self.start)
        for name, axes in (("start", "Z"), ("transition", "ZZ"), ("emission", "ZW")):
            table = np.array(getattr(self, name), np.float64)
            known = (states,) * axes.count("Z")
            if table.ndim != len(axes) or table.shape[: len(known)] != known or not table.size:
                raise ValueError(f"{name}: expected the shape ({', '.join(axes)}) "
                                 f"with Z = {states}, got {table.shape}")  # fmt: skip
            if not (table >= 0).all():
                raise ValueError(f"{name}: expected probabilities, got {table[~(table >= 0)][0]}")
            sums = np.atleast_1d(table.sum(axis=-1))
            if (wrong := sums[~(abs(sums - 1) <= ROUNDING)]).size:
                raise ValueError(f"{name}: expected rows that sum to 1, got {wrong[0]:.6g}")
            table.flags.writeable = False
            object.__setattr__(self, name, table)

    @classmethod
    def draw(cls, states: int, words: int, seed: int, concentration: float = 0.1) -> Self:
        """Return a random language, every row of it from a symmetric Dirichlet distribution.

        Args:
            states: Z.  words: W.
            seed: the same one gives the same language.
            concentration: the smaller, the fewer words a state says and the fewer states follow it,
                and the more a word's neighbours tell about it.
        """
        rng = np.random.default_rng(seed)
        return cls(
            rng.dirichlet(np.ones(states)),
            rng.dirichlet(np.full(states, concentration), states),
            rng.dirichlet(np.full(words, concentration), states),
        )

    def sentences(self, count: int, length: int, rng: np.random.Generator) -> np.ndarray:
        """Return sentences (B, T) of word numbers, with B = count and T = length.

        >>> circle = HiddenMarkov([0, 1, 0], np.roll(np.eye(3), 1, axis=1), np.eye(3))
        >>> circle.sentences(2, 5, np.random.default_rng(0)).tolist()
        [[1, 2, 0, 1, 2], [1, 2, 0, 1, 2]]
        """
        words = np.empty((count, length), np.int64)
        state = _choose(np.broadcast_to(self.start, (count, len(self.start))), rng)  # (B,)
        for t in range(length):
            words[:, t] = _choose(self.emission[state], rng)
            state = _choose(self.transition[state], rng)
        return words

    def posterior(self, words: ArrayLike, hidden: ArrayLike) -> np.ndarray:
        """Return how probable each word is at each place, given all words that aren't hidden.

            seenₜ(z)   = emission(wₜ | z), or 1 where wₜ is hidden
            beforeₜ(z) = P(zₜ = z | the words seen before t) ∝ Σ_y beforeₜ₋₁(y) seenₜ₋₁(y) P(z | y)
            afterₜ(z)  ∝ P(the words seen after t | zₜ = z)  ∝ Σ_y P(y | z) seenₜ₊₁(y) afterₜ₊₁(y)
            P(wₜ = w | the words seen) ∝ Σ_z beforeₜ(z) afterₜ(z) emission(w | z),  for a hidden wₜ

        The forward-backward algorithm: Baum et al. (1970); Rabiner (1989), section III.B and, for
        the scaling that keeps long sentences from underflowing, section V.A. In float64.

        Word 0 betrays state 0, word 1 betrays none:

        >>> start, stay = [0.5, 0.5], [[0.75, 0.25], [0.25, 0.75]]
        >>> language = HiddenMarkov(start, stay, [[0.5, 0.5], [0, 1]])
        >>> language.posterior([[0, 0, 1]], [[False, True, True]]).tolist()
        [[[1.0, 0.0], [0.375, 0.625], [0.3125, 0.6875]]]

        Args:
            words: (B, T) of word numbers; hidden ones aren't looked at and may be anything.
            hidden: (B, T), True where a word is to be guessed.

        Returns:
            (B, T, W); a word that is seen has the probability 1.

        Raises:
            ValueError: shapes that don't fit, a number that is no word, or words that the language
                can't say, at least not with a probability that float64 can hold.
        """
        words, hidden = np.asarray(words), np.asarray(hidden, bool)
        if words.ndim != 2 or words.shape != hidden.shape:
            raise ValueError(f"expected words and hidden of one shape (B, T), "
                             f"got {words.shape} and {hidden.shape}")  # fmt: skip
        visible = np.where(hidden, 0, words)  # (B, T)
        limit = self.emission.shape[1]
        if (wrong := visible[(visible < 0) | (visible >= limit)]).size:
            raise ValueError(f"words: expected numbers from 0 to {limit - 1}, got {wrong[0]}")
        seen = np.where(hidden[..., None], 1.0, self.emission.T[visible])  # (B, T, Z)
        before, after = np.empty_like(seen), np.empty_like(seen)
        message = np.broadcast_to(self.start, seen[:, 0].shape)  # (B, Z)
        for t in range(words.shape[1]):
            before[:, t] = message
            message = _scaled(message * seen[:, t]) @ self.transition  # (B, Z) @ (Z, Z) -> (B, Z)
        message = np.ones_like(seen[:, 0])
        for t in reversed(range(words.shape[1])):
            after[:, t] = message
            message = _scaled((seen[:, t] * message) @ self.transition.T)
        guess = _scaled(before * after) @ self.emission  # (B, T, Z) @ (Z, W) -> (B, T, W)
        return np.where(hidden[..., None], guess, np.eye(limit)[visible])

    def best_loss(self, words: np.ndarray, hidden: np.ndarray) -> float:
        """Return the loss in nats of guessing by `posterior`: the mean -log P of hidden words.

        Args:
            words: (B, T) of word numbers, hidden ones too.  hidden: (B, T), True where one is.

        Raises:
            ValueError: nothing is hidden, or `posterior`'s reasons.
        """
        places = np.nonzero(hidden)
        if not len(places[0]):
            raise ValueError("hidden: expected a word to guess, got none")
        return float(-np.log(self.posterior(words, hidden)[(*places, words[places])]).mean())


def _choose(probabilities, rng):
    """Draw a column for each row of probabilities (B, n): the first whose sum exceeds a number."""
    sums = probabilities.cumsum(axis=1)
    sums /= sums[:, -1:]  # rounded, the last could be less than a number below 1
    return (sums <= rng.random((len(sums), 1))).sum(axis=1)


def _scaled(message):
    """Return a message (..., Z) divided by its sum over the states."""
    total = message.sum(axis=-1, keepdims=True)
    if not (total > 0).all():
        raise ValueError("words: expected what the language can say, got a probability of 0")
    return message / total

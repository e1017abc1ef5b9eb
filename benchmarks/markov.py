"""Hidden Markov language with a known Bayes-optimal loss.

A trained model's loss does not show how much of it is avoidable. Here a hidden Markov model
generates the words, so the optimal prediction of masked words can be computed. No model, of any
size and after any amount of training, has a lower expected loss.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

SUM_TOLERANCE = 1e-9  # maximum deviation of a sum of probabilities from 1


@dataclass(frozen=True, eq=False)
class HiddenMarkov:
    """Sentences from a walk over hidden states, each of which emits one word.

        P(z, w) = start(z₁) emission(w₁ | z₁) · Π transition(zₜ | zₜ₋₁) emission(wₜ | zₜ)

    Baum, Petrie, Soules and Weiss (1970); Rabiner (1989), section II. Z is the number of states,
    W the number of words. The tables are stored as read-only float64 arrays.

    Args:
        start (Z,): probability of each first state.
        transition (Z, Z): probability of each next state (column), given a state (row).
        emission (Z, W): probability of each word (column), given a state (row).

    Raises:
        ValueError: the shapes do not match, or a table does not contain probabilities.
    """

    start: np.ndarray
    transition: np.ndarray
    emission: np.ndarray

    def __post_init__(self):
        """Validate the tables; raise ValueError with the name of the first invalid one."""
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
            if (wrong := sums[~(abs(sums - 1) <= SUM_TOLERANCE)]).size:
                raise ValueError(f"{name}: expected rows that sum to 1, got {wrong[0]:.6g}")
            table.flags.writeable = False
            object.__setattr__(self, name, table)

    @classmethod
    def sample(cls, states: int, words: int, seed: int, concentration: float = 0.1) -> Self:
        """Return a random language, with distributions drawn from a symmetric Dirichlet.

        Args:
            states (int): Z.
            words (int): W.
            seed (int): random seed; equal seeds give equal languages.
            concentration (float): Dirichlet concentration; smaller values give fewer words per
                state, fewer successors per state, and words that are easier to predict.
        """
        rng = np.random.default_rng(seed)
        return cls(
            rng.dirichlet(np.ones(states)),
            rng.dirichlet(np.full(states, concentration), states),
            rng.dirichlet(np.full(words, concentration), states),
        )

    def sentences(self, count: int, length: int, rng: np.random.Generator) -> np.ndarray:
        """Return sentences (B, T) of word ids, with B = count and T = length.

        >>> circle = HiddenMarkov([0, 1, 0], np.roll(np.eye(3), 1, axis=1), np.eye(3))
        >>> circle.sentences(2, 5, np.random.default_rng(0)).tolist()
        [[1, 2, 0, 1, 2], [1, 2, 0, 1, 2]]
        """
        words = np.empty((count, length), np.int64)
        state = _sample(np.broadcast_to(self.start, (count, len(self.start))), rng)  # (B,)
        for t in range(length):
            words[:, t] = _sample(self.emission[state], rng)
            state = _sample(self.transition[state], rng)
        return words

    def posterior(self, words: ArrayLike, masked: ArrayLike) -> np.ndarray:
        """Return the probability (B, T, W) of each word at each position, given the visible words.

            visibleₜ(z)  = emission(wₜ | z), or 1 where wₜ is masked
            forwardₜ(z)  = P(zₜ = z | visible words before t)
                         ∝ Σ_y forwardₜ₋₁(y) visibleₜ₋₁(y) P(z | y)
            backwardₜ(z) ∝ P(visible words after t | zₜ = z)
                         ∝ Σ_y P(y | z) visibleₜ₊₁(y) backwardₜ₊₁(y)
            P(wₜ = w | visible words) ∝ Σ_z forwardₜ(z) backwardₜ(z) emission(w | z), wₜ masked

        The forward-backward algorithm: Baum et al. (1970); Rabiner (1989), section III.B and, for
        the scaling that prevents underflow in long sentences, section V.A. In float64.

        Word 0 is emitted by state 0 only, word 1 by both states:

        >>> start, stay = [0.5, 0.5], [[0.75, 0.25], [0.25, 0.75]]
        >>> language = HiddenMarkov(start, stay, [[0.5, 0.5], [0, 1]])
        >>> language.posterior([[0, 0, 1]], [[False, True, True]]).tolist()
        [[[1.0, 0.0], [0.375, 0.625], [0.3125, 0.6875]]]

        Args:
            words (B, T), int: word ids; masked ids are not read and may have any value.
            masked (B, T), bool: True for words to predict.

        Returns:
            (B, T, W), float64; a visible word has probability 1.

        Raises:
            ValueError: the shapes do not match, an id is out of range, or the visible words have
                probability 0 in float64.
        """
        words, masked = np.asarray(words), np.asarray(masked, bool)
        if words.ndim != 2 or words.shape != masked.shape:
            raise ValueError(f"expected words and masked of one shape (B, T), "
                             f"got {words.shape} and {masked.shape}")  # fmt: skip
        ids = np.where(masked, 0, words)  # (B, T)
        count = self.emission.shape[1]
        if (wrong := ids[(ids < 0) | (ids >= count)]).size:
            raise ValueError(f"words: expected ids from 0 to {count - 1}, got {wrong[0]}")
        visible = np.where(masked[..., None], 1.0, self.emission.T[ids])  # (B, T, Z)
        forward, backward = np.empty_like(visible), np.empty_like(visible)
        message = np.broadcast_to(self.start, visible[:, 0].shape)  # (B, Z)
        for t in range(words.shape[1]):
            forward[:, t] = message
            message = _normalize(message * visible[:, t]) @ self.transition  # (B, Z) @ (Z, Z)
        message = np.ones_like(visible[:, 0])
        for t in reversed(range(words.shape[1])):
            backward[:, t] = message
            message = _normalize((visible[:, t] * message) @ self.transition.T)
        predicted = _normalize(forward * backward) @ self.emission  # (B, T, Z) @ (Z, W)
        return np.where(masked[..., None], predicted, np.eye(count)[ids])

    def best_loss(self, words: np.ndarray, masked: np.ndarray) -> float:
        """Return the Bayes-optimal loss (float, in nats): the mean -log P of masked words.

        Args:
            words (B, T), int: word ids, masked ones included.
            masked (B, T), bool: True for words to predict.

        Raises:
            ValueError: no word is masked, or as `posterior`.
        """
        positions = np.nonzero(masked)
        if not len(positions[0]):
            raise ValueError("masked: expected a word to predict, got none")
        return float(-np.log(self.posterior(words, masked)[(*positions, words[positions])]).mean())


def _sample(probabilities, rng):
    """Return a random index for each distribution (B, n): (B,) int, by inverse transform."""
    sums = probabilities.cumsum(axis=1)
    sums /= sums[:, -1:]  # otherwise a rounded last sum could be below a draw
    return (sums <= rng.random((len(sums), 1))).sum(axis=1)


def _normalize(message):
    """Return a message (..., Z) divided by its sum over the states."""
    total = message.sum(axis=-1, keepdims=True)
    if not (total > 0).all():
        raise ValueError("words: expected words that the language can emit, got a probability of 0")
    return message / total

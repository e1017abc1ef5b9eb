"""Choose a model for a text, a machine and a time, from measured numbers.

The rules read no clock and no file, so they are tested as any other function. docs/recipe.md says
what they are based on, and what is a guess.

| constant | unit | role |
|---|---|---|
| `SIZES`, `LENGTHS` | presets, tokens | what is chosen from |
| `TOKENS_PER_PARAMETER` | tokens | read in a run, for each parameter of a size above the smallest |
| `PASSES` | passes | through the text, by which that need counts as fed |
| `TOKENS_PER_LENGTH` | tokens | read in a run, for each token of a longer sequence |
| `MIN_SEQUENCES` | sequences | of a longer length in the text |
| `MIN_BATCH` | sequences | of a step, however long they are |
| `MANY_STEPS` | steps | in the time, from which a batch has twice as many sequences |
| `OCCURRENCES` | occurrences | of a piece, in the text and in what a run reads |
| `MIN_PIECES`, `MAX_PIECES` | pieces | limits of a vocabulary |
| `CHARACTERS_PER_TOKEN` | characters | of an English text, about |
| `TOKENS_PER_MINUTE` | tokens | that tiny reads on two slow cores |
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minibert.training.recipes import PretrainingRecipe
from minibert.typing import Array

SIZES = ("tiny", "mini", "small")  # larger ones take days on a CPU
LENGTHS = (32, 64, 128)
TOKENS_PER_PARAMETER = 3
PASSES = 16
TOKENS_PER_LENGTH = 200_000
MIN_SEQUENCES = 1000
MIN_BATCH = 16
MANY_STEPS = 500
OCCURRENCES = 30
MIN_PIECES, MAX_PIECES = 1000, 30_000
CHARACTERS_PER_TOKEN = 4.5
TOKENS_PER_MINUTE = 800_000
MILLION = 1e6


class TextSize(NamedTuple):
    """The size of a text to train on.

    Attributes:
        tokens: N, in the whole text.
        document_tokens: half of the tokens are in documents of at least as many; see
            `usual_length`.
    """

    tokens: int
    document_tokens: int


class Choice(NamedTuple):
    """The sizes of a model and of its batches.

    Attributes:
        size: the name of a preset.
        length: T, tokens of a sequence.
        batch_size: B, sequences of a step.
        reasons: a line for each of them that was not given.
    """

    size: str
    length: int
    batch_size: int
    reasons: tuple[str, ...]


def choose(
    seconds: float,
    text: TextSize,
    recipe: PretrainingRecipe,
    step_seconds: Callable[[str, int, int], float],
    parameters: Callable[[str], int],
    *,
    size: str | None = None,
    length: int | None = None,
    batch_size: int | None = None,
) -> Choice:
    """Return the sizes of a model and of its batches; those that are given stay as they are.

    - The size is the largest preset of `SIZES` that reads `TOKENS_PER_PARAMETER` tokens for each of
      its parameters in the time, and for which the text has as many in `PASSES` passes; else tiny.
      Sizes are compared with sequences of the recipe's length.
    - The length is the longest of `LENGTHS` with `TOKENS_PER_LENGTH` tokens read in the time (by
      tiny, unless another size is given) for each token of it. Half of the text is in documents
      that are as long, and the text has at least `MIN_SEQUENCES` such sequences.
    - A batch has as many tokens as the recipe's, but at least `MIN_BATCH` sequences; and twice as
      many sequences if there is time for `MANY_STEPS` steps of that batch.

    So more time, a faster machine or more text never choose a smaller size or length.

    Args:
        seconds: time for the steps.
        text: size of the text.
        recipe: the length and batch that everything else was tuned with.
        step_seconds: returns the seconds of a step of (size, length, batch size); a larger size is
            asked for only if the one before has enough time.
        parameters: returns the number of parameters of a size.
        size, length, batch_size: what is given.
    """
    tokens_of_step = recipe.batch_size * recipe.length

    def batch(length: int) -> int:
        own = min(max(tokens_of_step // length, MIN_BATCH), recipe.batch_size)
        return own if batch_size is None else batch_size

    def tokens_read(size: str) -> float:
        T = recipe.length if length is None else length
        return seconds / step_seconds(size, T, batch(T)) * batch(T) * T

    first, reasons = SIZES[0] if size is None else size, list[str]()
    if size is None:
        size, why = _largest(text, tokens_read, parameters)
        reasons.append(f"size: {size}; {why}")
    if length is None:
        length, why = _longest(text, recipe.length, lambda: tokens_read(first))
        reasons.append(f"length: {length} tokens; {why}")
    if batch_size is None:
        own = batch(length)
        batch_size, why = _batch(own, int(seconds / step_seconds(size, length, own)))
        reasons.append(f"batch: {batch_size} sequences; {why}")
    return Choice(size, length, batch_size, tuple(reasons))


def _batch(own: int, steps: int) -> tuple[int, str]:
    """Return the sequences of a step, and why; there is time for `steps` of `own` sequences."""
    found, twice = f"there is time for {steps:,} steps of {own}", 2 * own
    if steps < MANY_STEPS:
        return own, f"{found}, and a batch of {twice} is chosen from {MANY_STEPS:,} on"
    return twice, f"{found}, and from {MANY_STEPS:,} on a run learns more with {twice}"


def _largest(
    text: TextSize, tokens_read: Callable[[str], float], parameters: Callable[[str], int]
) -> tuple[str, str]:
    """Return the largest size that has enough time and text, and why."""
    size = SIZES[0]
    for larger in SIZES[1:]:
        needed = TOKENS_PER_PARAMETER * parameters(larger)
        if PASSES * text.tokens < needed:
            return size, (
                f"{larger} needs a text of {_millions(needed / PASSES)} tokens, and this one has "
                f"{_millions(text.tokens)}"
            )
        read = tokens_read(size)  # more than the larger one can
        if read >= needed:
            read = tokens_read(larger)
        if read < needed:
            return size, (
                f"{larger} would read at most {_millions(read)} tokens in this time, and needs "
                f"{_millions(needed)}"
            )
        size = larger
    return size, "the largest that is chosen, because there is enough time and text for it"


def _longest(text: TextSize, base: int, tokens_read: Callable[[], float]) -> tuple[int, str]:
    """Return the longest length that has enough time and text, from `base` on, and why."""
    length = base
    for longer in LENGTHS:
        if longer <= base:
            continue
        if text.document_tokens < longer:
            return length, f"half of the text is in documents shorter than {longer}"
        if text.tokens < MIN_SEQUENCES * longer:
            return length, (
                f"{longer} need a text of {MIN_SEQUENCES * longer:,}, and this one has "
                f"{text.tokens:,}"
            )
        read, needed = tokens_read(), TOKENS_PER_LENGTH * longer
        if read < needed:
            return length, (
                f"for {longer}, {_millions(needed)} tokens would have to be read in this time, and "
                f"it is enough for {_millions(read)}"
            )
        length = longer
    return length, "the longest that is chosen, because documents are long and there is enough time"


def usual_length(lengths: Array) -> int:
    """Return the length of the documents in which the middle token is, 0 without documents.

    Half of the tokens are in documents of at least this length.

    >>> usual_length([2, 3, 10])
    10

    Args:
        lengths (documents,), int: tokens of each document.
    """
    ordered = np.sort(np.asarray(lengths, np.int64))[::-1]
    if not ordered.sum():
        return 0
    return int(ordered[np.searchsorted(ordered.cumsum(), ordered.sum() / 2)])


def least_frequency(characters: int, sampled: int, read: float) -> int:
    """Return how often a pair must occur in a sample of a text to become a piece.

    A piece is worth its row in the table if the model sees it `OCCURRENCES` times: in the text, and
    in what a run reads of it.

        max(2, OCCURRENCES · sampled / characters · max(1, tokens / read))

    >>> least_frequency(characters=10_000_000, sampled=10_000_000, read=5e6)
    30

    Args:
        characters: in the text.
        sampled: of them, in the sample.
        read: tokens that the run reads.
    """
    tokens = characters / CHARACTERS_PER_TOKEN
    return max(round(OCCURRENCES * sampled / characters * max(1, tokens / read)), 2)


def _millions(count: float) -> str:
    return f"{count / MILLION:,.1f} million" if count >= MILLION / 10 else f"{count:,.0f}"

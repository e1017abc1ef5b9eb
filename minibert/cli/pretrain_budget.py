"""The time of a pre-training run in minutes, and the vocabulary that it learns from its text."""

import argparse
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from minibert.cli.continued import Source
from minibert.cli.train_tokenizer import train_on_files
from minibert.data.corpus import read_document_parts
from minibert.data.token_cache import STDIN, expand
from minibert.tokenization import AutoTokenizer, PreTrainedTokenizer
from minibert.training.choice import MAX_PIECES, MIN_PIECES, TOKENS_PER_MINUTE, least_frequency
from minibert.training.pretraining import TIMED_SECONDS, steps_in
from minibert.training.ranks import ALONE, Ranks
from minibert.training.recipes import PreTraining, PretrainingRecipe

log = logging.getLogger("minibert")

# 20 for each of the fewest pieces, the least number without a warning, of 5 characters.
MIN_CHARACTERS = 20 * MIN_PIECES * 5
# Learning from 10 million characters takes three seconds.
MAX_SAMPLE, SAMPLE_PER_MINUTE, MIN_SAMPLE = 20_000_000, 2_000_000, 1_000_000
STEPS = 2400  # default number of updates, without minutes
TIMED_SHARE = 0.02  # of the budget, for timing the steps of one size


class Budget:
    """The time of a command, from the moment when this is made.

    Args:
        minutes: all of the time.

    Raises:
        ValueError: `minutes` is not a positive number.
    """

    def __init__(self, minutes: float):
        if not 0 < minutes < math.inf:
            raise ValueError(f"minutes: expected more than 0, got {minutes}")
        self.minutes, self.start = minutes, time.perf_counter()
        self.timed = min(TIMED_SECONDS, 60 * minutes * TIMED_SHARE)  # seconds
        self.tokens = TOKENS_PER_MINUTE * minutes  # that are read, about

    def left(self) -> float:
        """Return the seconds that are left; less than 0: it took longer already."""
        return 60 * self.minutes - (time.perf_counter() - self.start)

    def fill(
        self,
        settings: PreTraining,
        seconds: float,
        held_out: int,
        ranks: Ranks = ALONE,
        is_evaluated_first: bool = False,
    ) -> PreTraining:
        """Return the settings with as many steps as fit into the time that is left now.

        Args:
            settings: of the run.
            seconds: of a step.
            held_out: sequences of an evaluation, which the first rank computes alone.
            ranks: the processes; the clock is that of the first.
            is_evaluated_first: whether there is an evaluation before the first step.

        Raises:
            ValueError: not even the warm-up would have a step; the message says what is enough.
        """
        evaluation = held_out * ranks.size / (3 * settings.batch_size) * seconds  # see `steps_in`
        left = ranks.of_first(self.left()) - is_evaluated_first * evaluation
        before = 60 * self.minutes - left
        steps = steps_in(left, seconds, settings, held_out * ranks.size)
        least = math.ceil(1 / settings.warmup) if settings.warmup else 1
        if steps >= least:
            log.info("%g minutes are %s steps of %.3g s, after %.0f s of preparation",
                     self.minutes, f"{steps:,}", seconds, before)  # fmt: skip
            return replace(settings, steps=steps)
        needed = math.ceil(100 * (before + least * seconds) / 60) / 100
        raise ValueError(
            f"minutes: expected at least {needed:g} for this text on this machine, got "
            f"{self.minutes:g}; the first step begins after {before:.1f} s, and with the warm-up "
            f"at least {least} of {seconds:.2g} s are needed"
        )


def learn_tokenizer(
    files: Sequence[Path], vocab_size: int | None, read: float, sample: int = MAX_SAMPLE
) -> PreTrainedTokenizer:
    """Return a tokenizer with a vocabulary for some text files.

    Args:
        files: the text files.
        vocab_size: V; None: as many pieces as occur often enough; see `least_frequency`.
        read: tokens that the run reads.
        sample: characters to learn from, in lines spread evenly over the files.

    Raises:
        OSError: a file is missing or cannot be read.
        ValueError: a file is not text, or there are too few characters in all; or the text does not
            have `vocab_size` pieces.
    """
    if STDIN in files:
        raise ValueError(
            "standard input: expected a file, because learning a vocabulary reads the text once "
            "more; or give --tokenizer"
        )
    parts = read_document_parts(files, document_end="lines")
    characters = sum(len(text) for part in parts for text in part.texts)
    every = max(math.ceil(characters / sample), 1)
    if vocab_size is not None:
        return train_on_files(files, vocab_size, every)
    if characters < MIN_CHARACTERS:
        raise ValueError(
            f"{', '.join(map(str, files))}: expected at least {MIN_CHARACTERS:,} characters to "
            f"learn a vocabulary from, got {characters:,}; add text, or give --tokenizer or "
            "--vocab-size"
        )
    least = least_frequency(characters, characters // every, read)
    tokenizer = train_on_files(files, MAX_PIECES, every, min_frequency=least, exact=False)
    why = f"pairs that occur at least {every * least} times were merged"
    if len(tokenizer) < MIN_PIECES:
        tokenizer = train_on_files(files, MIN_PIECES, every, exact=False)
        why = "the fewest, because the text or the time is short"
    log.info("vocabulary: %s pieces, learned from the text; %s", f"{len(tokenizer):,}", why)
    return tokenizer


def sample_in(budget: Budget | None) -> int:
    """Return the number of characters to learn a vocabulary from."""
    if budget is None:
        return MAX_SAMPLE
    return int(min(max(SAMPLE_PER_MINUTE * budget.minutes, MIN_SAMPLE), MAX_SAMPLE))


def tokenizer_of_run(
    options: argparse.Namespace,
    recipe: PretrainingRecipe,
    found: Path | None,
    budget: Budget | None,
    ranks: Ranks,
    source: Source | None = None,
) -> PreTrainedTokenizer:
    """Return the tokenizer that is given, that of a trained model or run, or a learned one.

    Raises:
        ValueError: the vocabulary of a resumed run has another size than the stated one.
    """
    if source:
        return source.tokenizer
    folder = options.tokenizer or found
    if folder:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        if options.vocab_size not in (None, len(tokenizer)):
            raise ValueError(
                f"vocab_size: the run in {options.out} has {len(tokenizer)}, "
                f"got {options.vocab_size}"
            )
        return tokenizer
    read = budget.tokens if budget else _tokens_read(options, recipe)
    files, sample = expand(options.files), sample_in(budget)
    learned = None if ranks.rank else learn_tokenizer(files, options.vocab_size, read, sample)
    return ranks.of_first(learned)


def _tokens_read(options: argparse.Namespace, recipe: PretrainingRecipe) -> float:
    """Return the number of tokens that a run of stated steps reads."""
    stated = (options.steps, options.batch_size, options.length)
    defaults = (STEPS, recipe.batch_size, recipe.length)
    return math.prod(
        max(default if value is None else value, 1)
        for value, default in zip(stated, defaults, strict=True)
    )

"""The training loop: steps, progress bar, evaluations, checkpoints, and a clean stop."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from minibert.data.masking import MASKED_SHARE
from minibert.objectives.base import Objective
from minibert.objectives.trial import checked_evaluation, try_objective
from minibert.optim.schedule import linear_schedule
from minibert.runtime.signals import stop_request
from minibert.tokenization import PreTrainedTokenizer
from minibert.training.checkpoint import checkpoints, remove_checkpoint, save_checkpoint
from minibert.training.engine import Engine, StepResult
from minibert.training.history import History
from minibert.training.ranks import Ranks

log = logging.getLogger("minibert")


@dataclass(frozen=True)
class Settings:
    """The settings that decide a run's numbers, besides its data and its model.

    Args:
        steps: number of updates.
        batch_size: B, sequences in a batch.
        learning_rate: the largest learning rate, reached after the warm-up.
        warmup: share of the steps in which the learning rate rises.
        weight_decay: λ of AdamW.
        clip: the largest global norm of the gradient.
        seed: seed of all random draws.
        shards: number of parts into which a batch is cut, to be computed in parallel.
        tokenizer: checksum of the tokenizer; a run is not resumed with another one.
        data: checksum of the training data; a run is not resumed with other data.
        evaluate_every: steps between two evaluations.
        save_every: steps between two checkpoints.
        keep: number of checkpoints to keep, the newest ones.

    Attributes:
        free: the fields that may change when a run is resumed, because no result depends on them.

    Raises:
        ValueError: a number is out of its range.
    """

    free: ClassVar[frozenset[str]] = frozenset({"evaluate_every", "save_every", "keep"})

    steps: int
    batch_size: int = 32
    learning_rate: float = 1e-3
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    seed: int = 0
    shards: int = 4
    tokenizer: str = ""
    data: str = ""
    evaluate_every: int = 500
    save_every: int = 500
    keep: int = 2

    def __post_init__(self) -> None:
        """Check the numbers; the message names the setting."""
        for name in ("steps", "batch_size", "shards", "evaluate_every", "save_every", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")
        if self.shards > self.batch_size:
            raise ValueError(
                f"shards: expected at most the {self.batch_size} sequences of a batch, "
                f"got {self.shards}"
            )
        for name in ("learning_rate", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}: expected more than 0, got {getattr(self, name)}")
        for name in ("weight_decay", "seed"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}: expected 0 or more, got {getattr(self, name)}")
        if not 0 <= self.warmup <= 1:
            raise ValueError(f"warmup: expected a share from 0 to 1, got {self.warmup}")

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        warmup = round(self.warmup * self.steps)
        return linear_schedule(step, self.steps, warmup, self.learning_rate)

    @property
    def whole_words(self) -> bool:
        """Whether a masked LM masks all pieces of a word together."""
        return False

    def masked_share_at(self, step: int) -> float:
        """Return the share of the tokens that a masked LM masks in a step."""
        return MASKED_SHARE


class Interrupted(KeyboardInterrupt):
    """A signal stopped a run after a whole step; the message tells how to resume."""


def train(
    engine: Engine,
    objective: Objective,
    settings: Settings,
    tokenizer: PreTrainedTokenizer,
    *,
    run: Path | None = None,
    should_stop: Callable[[], bool] | None = None,
    title: str = "training",
    progress: bool = False,
    lines: list[dict[str, Any]] | None = None,
) -> None:
    """Train from the optimizer's step to the last one.

    Args:
        engine: computes a step; its objective is set to `objective`.
        objective: the shards of each step, the loss on them, and an evaluation every
            `settings.evaluate_every` steps and after the last one. One that is not part of this
            package is tried first.
        settings: the settings of the run.
        tokenizer: stored in the checkpoints.
        run: folder for checkpoints and the history; None: none are written.
        should_stop: whether to stop early; called before each step.
        title: title of the progress bar.
        progress: whether to show the bar on stderr.
        lines: receives the lines of the history; None: none.

    Raises:
        FloatingPointError: the loss or a weight is not finite; good checkpoints are kept.
        Interrupted: SIGINT, SIGTERM or SIGHUP arrived; a checkpoint of the latest whole step was
            written.
        TypeError, ValueError: there are fewer shards than ranks, or the trial of the objective
            failed.
    """
    require_shards(settings, engine.ranks)
    engine.objective = objective
    first, last = engine.optimizer.step, settings.steps
    if first < last and not type(objective).__module__.startswith("minibert."):
        try_objective(objective, engine.model.params, engine.dropout_rng, first)
    reports = engine.ranks.rank == 0  # one rank writes and reports for all
    loop = _Loop(engine, settings, tokenizer, run if reports else None, reports, lines)
    with (
        closing(loop.history),
        engine.running(),
        stop_request() as stop,
        _progress_bar(last, first, title, progress and reports) as bar,
    ):
        if loop.evaluation_due(first) and not loop.history.evaluated(first):
            loop.evaluate(first)  # the run was killed between saving and evaluating
        for step in range(first, last):
            if should_stop and should_stop():
                loop.save()
                break
            bar.advance(*loop.step(step))
            if engine.ranks.any(stop.requested):
                loop.stop()
            if (step + 1) % settings.save_every == 0 or step + 1 == last:
                loop.save()
            if loop.evaluation_due(step + 1):
                loop.evaluate(step + 1)
        if engine.ranks.any(stop.requested):  # in the last evaluation; more runs may follow
            loop.stop()


def require_shards(settings: Settings, ranks: Ranks) -> None:
    """Raise ValueError if there are fewer shards than ranks."""
    if settings.shards < ranks.size:
        raise ValueError(
            f"shards: expected one at least for each of {ranks.size} ranks, got {settings.shards}"
        )


class _Loop:
    """The parts of the loop that write files.

    Args:
        engine: computes a step.
        settings: the settings of the run.
        tokenizer: stored in the checkpoints.
        run: folder for checkpoints and the history; None: none are written.
        evaluates: whether this rank evaluates.
        lines: as in `train`.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        tokenizer: PreTrainedTokenizer,
        run: Path | None,
        evaluates: bool,
        lines: list[dict[str, Any]] | None = None,
    ):
        self.engine, self.settings, self.tokenizer = engine, settings, tokenizer
        self.run, self.evaluates = run, evaluates
        self.history = History(run, engine.optimizer.step, lines)

    def step(self, step: int) -> tuple[int, float]:
        """Train on the shards of one step, return their number of tokens and the loss."""
        start = time.perf_counter()
        objective = self.engine.objective
        shards = objective.shards(step)
        rate = self.settings.rate(step)
        try:
            result: StepResult = self.engine.step(shards, rate)
        except FloatingPointError as error:
            if self.run is None:
                raise
            # A checkpoint of these weights is useless: a resumed run would end here again.
            remove_checkpoint(self.run, step)
            good = checkpoints(self.run)
            kept = f"; the last good checkpoint is {good[-1]}" if good else ""
            raise FloatingPointError(f"{error}{kept}") from None
        tokens = sum(objective.tokens(shard) for shard in shards)
        speed = round(tokens / (time.perf_counter() - start))
        self.history.write(step + 1, loss=result.loss, norm=result.norm, rate=rate,
                           tokens_per_second=speed)  # fmt: skip
        return tokens, result.loss

    def save(self) -> Path | None:
        """Write a checkpoint and return its folder; None without a folder for the run."""
        model, optimizer = self.engine.model, self.engine.optimizer
        if not np.isfinite(model.params.vector).all():
            raise FloatingPointError(f"step {optimizer.step}: the weights are no longer finite")
        if self.run is None:
            return None
        self.history.flush()  # a run that continues from the checkpoint has these lines
        return save_checkpoint(self.run, model, self.tokenizer, optimizer, self.settings)

    def stop(self) -> None:
        """Write a checkpoint, and raise Interrupted."""
        saved = self.save()
        kept = f"; {saved} holds all of it" if saved else ""
        steps = f"{self.engine.optimizer.step} of {self.settings.steps}"
        raise Interrupted(f"stopped after step {steps}{kept}")

    def evaluation_due(self, step: int) -> bool:
        """Return whether to evaluate after a step."""
        regular = step > 0 and step % self.settings.evaluate_every == 0
        return self.evaluates and (regular or step == self.settings.steps)

    def evaluate(self, step: int) -> None:
        """Evaluate, log all but the last result, and write the figures to the history."""
        found = checked_evaluation(self.engine.objective, step)
        if found is None:
            return
        text, figures = found
        if step < self.settings.steps:  # the caller reports the last one
            log.info("step %d: %s", step, text)
        self.history.write(step, **figures)
        self.history.flush()


class _ProgressBar:
    """A tqdm bar over steps, with the smoothed loss and the tokens per second."""

    def __init__(self, bar: Any):
        self.bar, self.tokens = bar, 0
        self.loss: float | None = None

    def advance(self, tokens: int, loss: float) -> None:
        """Count one step."""
        self.loss = loss if self.loss is None else 0.95 * self.loss + 0.05 * loss
        self.tokens += tokens
        self.bar.update(1)
        elapsed = self.bar.format_dict["elapsed"] or 1
        self.bar.set_postfix_str(
            f"loss {self.loss:.3f}, {self.tokens / elapsed:,.0f} tokens/s", refresh=False
        )


@contextmanager
def _progress_bar(total: int, first: int, title: str, progress: bool) -> Iterator[_ProgressBar]:
    """Show a bar on stderr."""
    from tqdm import tqdm  # imported here because the import is slow

    with tqdm(total=total, initial=first, desc=title, unit="step", disable=not progress) as bar:
        yield _ProgressBar(bar)

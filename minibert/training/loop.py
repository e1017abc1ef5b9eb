"""The training loop: steps, a progress bar, evaluations, checkpoints, and a way out at any time."""

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from minibert.optim.adamw import linear_schedule
from minibert.tokenization import WordPieceTokenizer
from minibert.training.checkpoint import checkpoints, remove_checkpoint, save_checkpoint
from minibert.training.engine import Engine, Shard
from minibert.training.history import History

log = logging.getLogger("minibert")


@dataclass(frozen=True)
class Settings:
    """How to train: what decides a run's numbers beside its data and its model.

    Args:
        steps: updates in all.
        batch_size: B, rows in a step.
        learning_rate: the largest, reached after the warm-up.
        warmup: the share of the steps in which the rate rises.
        weight_decay: λ of AdamW.
        clip: the longest gradient, as a global norm.
        seed: of everything random.
        shards: parts into which a step's batch is cut, to be worked on side by side.
        tokenizer, data: checksums of what makes the ids and of what is trained on, so that no run
            goes on with others.
        evaluate_every: steps between two evaluations.
        save_every: steps between two checkpoints.
        keep: how many checkpoints are kept, the newest ones.

    Raises:
        ValueError: a number out of its range.
    """

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

    def __post_init__(self):
        """Refuse what can't be run, naming the setting, what was expected and what came."""
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
        """Return the learning rate of step `step`."""
        warmup = round(self.warmup * self.steps)
        return linear_schedule(step, self.steps, warmup, self.learning_rate)


class Interrupted(KeyboardInterrupt):
    """A run was stopped from outside, after a whole step; its message says how to go on."""


def train(
    engine: Engine,
    shards_at: Callable[[int], Sequence[Shard]],
    settings: Settings,
    tokenizer: WordPieceTokenizer,
    *,
    run: Path | None = None,
    evaluate: Callable[[], tuple[str, dict[str, float]]] | None = None,
    enough: Callable[[], bool] | None = None,
    title: str = "training",
    progress: bool = False,
) -> None:
    """Train from the optimizer's step to the last one.

    Args:
        engine: does a step.
        shards_at: makes the shards of a step, from its number alone.
        settings: how to train.
        tokenizer: goes into the checkpoints.
        run: the folder for checkpoints; None: none are written.
        evaluate: called every `settings.evaluate_every` steps and after the last one; returns what
            to log (but of the last, which is the caller's to tell), and figures for the history.
        enough: whether to stop early; asked before each step.
        title: of the progress bar.
        progress: show the bar, on stderr.

    Raises:
        FloatingPointError: the loss or a weight is not finite; good checkpoints remain.
        Interrupted: SIGINT or SIGTERM came; a checkpoint of the last whole step was written.
        ValueError: there are fewer shards than ranks.
    """
    optimizer, ranks = engine.optimizer, engine.ranks
    if settings.shards < ranks.size:
        raise ValueError(f"shards: expected one at least for each of {ranks.size} ranks, "
                         f"got {settings.shards}")  # fmt: skip
    if ranks.rank:  # one writes and reports for all
        run, evaluate, progress = None, None, False
    history = History(run, optimizer.step)

    def save() -> Path | None:
        if not np.isfinite(engine.model.params.vector).all():
            raise FloatingPointError(f"step {optimizer.step}: the weights are no longer finite")
        if run is None:
            return None
        return save_checkpoint(run, engine.model, tokenizer, optimizer, settings)

    def due(step: int) -> bool:
        often = step > 0 and step % settings.evaluate_every == 0
        return evaluate is not None and (often or step == settings.steps)

    def measure(step: int) -> None:
        assert evaluate is not None
        text, figures = evaluate()
        if step < settings.steps:
            log.info("step %d: %s", step, text)
        history.write(step, **figures)

    with (
        closing(history),
        _interruptible() as stop,
        _bar(settings.steps, optimizer.step, title, progress) as bar,
    ):
        if due(optimizer.step) and not history.evaluated(optimizer.step):
            measure(optimizer.step)  # the run was killed between saving and measuring
        for step in range(optimizer.step, settings.steps):
            if enough and enough():
                save()
                break
            start = time.perf_counter()
            shards = shards_at(step)
            rate = settings.rate(step)
            try:
                result = engine.step(shards, rate)
            except FloatingPointError as error:
                if run is None:
                    raise
                # A checkpoint of these very weights is no good: going on would end here again.
                remove_checkpoint(run, step)
                good = checkpoints(run)
                kept = f"; the last good checkpoint is {good[-1]}" if good else ""
                raise FloatingPointError(f"{error}{kept}") from None
            tokens = sum(int(batch["attention_mask"].sum()) for batch, _ in shards)
            bar.advance(tokens, result.loss)
            speed = round(tokens / (time.perf_counter() - start))
            history.write(step + 1, loss=result.loss, norm=result.norm, rate=rate,
                          tokens_per_second=speed)  # fmt: skip
            if ranks.any(stop.requested):
                saved = save()
                kept = f"; {saved} holds all of it" if saved else ""
                raise Interrupted(f"stopped after step {step + 1} of {settings.steps}{kept}")
            if (step + 1) % settings.save_every == 0 or step + 1 == settings.steps:
                save()
            if due(step + 1):
                measure(step + 1)


@contextmanager
def _interruptible() -> Iterator[SimpleNamespace]:
    """Turn the first SIGINT or SIGTERM into a request to stop after the step; a second one kills.

    Python lets only the main thread handle signals; elsewhere nothing is changed.
    """
    stop = SimpleNamespace(requested=False)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def request(number, frame):
        stop.requested = True
        restore()

    def restore():
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        restore()


class _Bar:
    """A tqdm bar over steps that shows the smoothed loss and the tokens per second."""

    def __init__(self, bar):
        self.bar, self.loss, self.tokens = bar, None, 0

    def advance(self, tokens, loss):
        self.loss = loss if self.loss is None else 0.95 * self.loss + 0.05 * loss
        self.tokens += tokens
        self.bar.update(1)
        elapsed = self.bar.format_dict["elapsed"] or 1
        self.bar.set_postfix_str(
            f"loss {self.loss:.3f}, {self.tokens / elapsed:,.0f} tokens/s", refresh=False
        )


@contextmanager
def _bar(total, first, title, progress):
    from tqdm import tqdm  # here, for it costs more to import than to use

    with tqdm(total=total, initial=first, desc=title, unit="step", disable=not progress) as bar:
        yield _Bar(bar)

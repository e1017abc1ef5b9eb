"""Pre-training: a model, an objective, an optimizer and settings make a run."""

import statistics
import time
from pathlib import Path

import numpy as np

from minibert.data.corpus import PackedSequences
from minibert.inference.tokens import probable_tokens
from minibert.models import BertForMaskedLM, BertForPreTraining, PreTrained
from minibert.models.families.albert import AlbertForPreTraining
from minibert.models.replaced_tokens import GeneratorAndDiscriminator
from minibert.objectives import (
    MaskedLM,
    MaskedLMAndNextSentence,
    MaskedLMAndSentenceOrder,
    Objective,
    ReplacedTokens,
)
from minibert.objectives.base import quiet
from minibert.objectives.evaluation import MaskedLMMetrics
from minibert.optim import AdamW, Muon, Optimizer, OptimizerFactory, made_optimizer
from minibert.tasks.base import require_finite
from minibert.tokenization import PreTrainedTokenizer
from minibert.training.engine import Engine
from minibert.training.loop import Settings, train
from minibert.training.ranks import ALONE, Ranks
from minibert.training.recipes import PreTraining
from minibert.typing import Array

WARM_UP_STEPS = 3  # not timed
TIMED_STEPS, TIMED_SECONDS = 5, 3.0  # at least
MAX_TIMED_STEPS = 200

# The objective by which a class of models, or a subclass of it, is pre-trained on packed sequences.
OBJECTIVES: dict[type[PreTrained], type[MaskedLM]] = {
    BertForMaskedLM: MaskedLM,
    BertForPreTraining: MaskedLMAndNextSentence,
    AlbertForPreTraining: MaskedLMAndSentenceOrder,
    GeneratorAndDiscriminator: ReplacedTokens,
}


def objective_for(model: PreTrained | type[PreTrained]) -> type[MaskedLM]:
    """Return the class of the objective in `OBJECTIVES` for a model or its class.

    Raises:
        TypeError: there is none.
    """
    kind = model if isinstance(model, type) else type(model)
    for each in kind.__mro__:
        if each in OBJECTIVES:
            return OBJECTIVES[each]
    known = ", ".join(each.__name__ for each in OBJECTIVES)
    raise TypeError(f"model: expected one of {known}, got {kind.__name__}")


def optimizer_for(model: PreTrained, settings: Settings) -> AdamW | Muon:
    """Return the optimizer that the settings of pre-training name; AdamW for other settings.

    That of an extended run begins, with moments of 0, after the steps before.
    """
    if not isinstance(settings, PreTraining):
        return AdamW(model.params, weight_decay=settings.weight_decay)
    kind = Muon if settings.optimizer == "muon" else AdamW
    optimizer: AdamW | Muon = kind(
        model.params, betas=(0.9, settings.beta2), weight_decay=settings.weight_decay
    )
    optimizer.start = optimizer.step = settings.extended_from or 0
    return optimizer


def pretrain(
    model: PreTrained,
    objective: Objective,
    settings: Settings,
    tokenizer: PreTrainedTokenizer,
    *,
    optimizer: Optimizer | OptimizerFactory | None = None,
    run: Path | None = None,
    threads: int | None = None,
    ranks: Ranks = ALONE,
    title: str = "pre-training",
    progress: bool = False,
) -> None:
    """Train a model in place by an objective.

    Args:
        model: the model to train.
        objective: the shards of each step, the loss on them, and the evaluation.
        settings: the settings of the run.
        tokenizer: stored in the checkpoints.
        optimizer: an optimizer, whose step is where the run continues; or a function that makes one
            from the model and the settings; None: `optimizer_for`.
        run: folder for checkpoints and the history; None: none are written.
        threads: number of shards computed at a time; None: one per core.
        ranks: the processes that share the work.
        title: title of the progress bar.
        progress: whether to show the bar.

    Raises:
        FloatingPointError, Interrupted, TypeError, ValueError: as `loop.train` does.
    """
    engine = Engine(
        model,
        made_optimizer(optimizer_for if optimizer is None else optimizer, model, settings),
        seed=settings.seed,
        clip=settings.clip,
        threads=threads,
        ranks=ranks,
        objective=objective,
    )
    train(engine, objective, settings, tokenizer, run=run, title=title, progress=progress)


def train_masked_lm(
    model: BertForMaskedLM,
    tokenizer: PreTrainedTokenizer,
    rows: PackedSequences | Array,
    held_out: Array,
    settings: Settings,
    *,
    optimizer: Optimizer | OptimizerFactory | None = None,
    run: Path | None = None,
    threads: int | None = None,
    ranks: Ranks = ALONE,
    progress: bool = False,
) -> MaskedLMMetrics:
    """Pre-train a model in place by the objective of its class.

    A `BertForPreTraining` also learns next-sentence prediction, and an `AlbertForPreTraining`
    sentence-order prediction; see `OBJECTIVES`.

    Args:
        model: the model to train.
        tokenizer: its special tokens are never masked.
        rows (S, T): packed sequences to train on; `PackedSequences` if they are larger than memory.
        held_out (S', T): packed sequences to evaluate on.
        settings: the settings of the run.
        optimizer, run, threads, ranks, progress: as in `pretrain`.

    Returns:
        the metrics on the held-out sequences.

    Raises:
        ValueError: there is no ordinary token to train on or to evaluate on.
        FloatingPointError, Interrupted: as `loop.train` does.
    """
    objective = objective_for(model)(model, tokenizer, rows, held_out, settings, threads)
    pretrain(
        model,
        objective,
        settings,
        tokenizer,
        optimizer=optimizer,
        run=run,
        threads=threads,
        ranks=ranks,
        progress=progress,
    )
    return objective.result()


def step_seconds(
    model: PreTrained,
    objective: Objective,
    settings: Settings,
    threads: int | None = None,
    ranks: Ranks = ALONE,
    limit: float = TIMED_SECONDS,
) -> float:
    """Return the seconds of a training step on this machine, the median of a few.

    Args:
        model: the model to train; it stays the same.
        objective: the shards and the loss.
        settings: the settings of the run; their number of steps is not used.
        threads: number of shards computed at a time; None: one per core.
        ranks: the processes that share the work; all get the result of the first.
        limit: seconds after which no step is added to the least number of them.
    """
    before = model.params.vector.copy()
    optimizer = optimizer_for(model, settings)
    engine = Engine(
        model, optimizer, seed=settings.seed, threads=threads, ranks=ranks, objective=objective
    )
    times: list[float] = []
    with engine.running():
        while ranks.of_first(
            len(times) < WARM_UP_STEPS + TIMED_STEPS
            or (sum(times) < limit and len(times) < MAX_TIMED_STEPS)
        ):
            start = time.perf_counter()
            engine.step(objective.shards(len(times)), 0.0)
            times.append(time.perf_counter() - start)
    model.params.vector[:] = before
    return float(ranks.of_first(statistics.median(times[WARM_UP_STEPS:])))


def steps_in(seconds: float, step: float, settings: Settings, held_out: int = 0) -> int:
    """Return the number of steps that fit into some seconds, with their regular evaluations.

    A forward pass takes about a third of a step, so an evaluation of S sequences takes about
    S / (3 B) steps. The last evaluation is not counted.

    >>> steps_in(60, 0.1, Settings(steps=1, batch_size=8))
    600
    >>> steps_in(60, 0.1, Settings(steps=1, batch_size=8, evaluate_every=100), held_out=480)
    500

    Args:
        seconds: for the run; nothing fits into a negative time.
        step: seconds of a step.
        settings: the settings of the run; their number of steps is not used.
        held_out: S, sequences of an evaluation.
    """
    steps = max(seconds / step, 0.0)
    evaluation = held_out / (3 * settings.batch_size)  # in steps
    every = settings.evaluate_every
    return int(max(min(steps, every), steps / (1 + evaluation / every)))


def guess(
    model: BertForMaskedLM, tokenizer: PreTrainedTokenizer, text: str, top: int
) -> list[list[tuple[str, float]]]:
    """Return the most probable tokens for each [MASK] in a text.

    Args:
        model: a model with a masked-LM head.
        tokenizer: its tokenizer.
        text: a text with at least one [MASK].
        top: number of tokens for each.

    Returns:
        lists of (token, probability), the most probable first; see `probable_tokens`.

    Raises:
        FloatingPointError: a logit is not finite.
        ValueError: there is no [MASK], or the text is longer than the model's positions.
    """
    batch = model.check(**tokenizer.encode_batch([text]))
    places = np.flatnonzero(batch.input_ids[0] == tokenizer.mask_token_id)
    if not len(places):
        raise ValueError(f"expected a {tokenizer.mask_token} in the text, got {text!r}")
    with quiet():
        logits = model.predict(batch, places[None, :])[0]  # (M, V)
    require_finite(logits)
    return [probable_tokens(tokenizer, row, top) for row in logits]

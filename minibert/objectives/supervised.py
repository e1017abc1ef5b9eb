"""The supervised objective: batches of labelled texts, their loss, and held-out metrics."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from minibert.data.sampling import length_bucketed_batch
from minibert.models import PreTrained
from minibert.parameters import Parameters
from minibert.tasks.base import Task
from minibert.tasks.examples import Examples
from minibert.tasks.metrics import Metrics
from minibert.tokenization import WordPieceTokenizer

Shard = tuple[Mapping[str, np.ndarray], np.ndarray]  # a part of a batch, and its labels
SCORE = "held_out_score"  # the name of the metrics' main figure in a run's history


class BatchSettings(Protocol):
    """The settings that decide the batches of a run."""

    @property
    def batch_size(self) -> int:
        """Sequences in a step's batch."""

    @property
    def shards(self) -> int:
        """Parts of a batch."""

    @property
    def seed(self) -> int:
        """The random seed of the order."""


class ScoreKeeper(Protocol):
    """Receives the score of each evaluation, `training.BestCheckpoint` for example."""

    def update(self, step: int, score: float) -> None:
        """Record the score of the model's current weights."""


class Supervised:
    """Learn a task from labelled examples.

    Args:
        model: a model of the task's class, with its number of classes.
        tokenizer: the model's tokenizer; longer texts are cut at the model's positions.
        task: the meaning of the labels.
        examples: labelled texts to train on; texts of similar length share a batch.
        settings: batch size, shards and random seed.
        held_out: labelled texts to evaluate on, or None.
        best: receives the score of each evaluation, or None.
        threads: how many batches of the evaluation are computed at a time; None: one for each core.
    """

    two_phase = False

    def __init__(
        self,
        model: Any,
        tokenizer: WordPieceTokenizer,
        task: Task,
        examples: Examples,
        settings: BatchSettings,
        *,
        held_out: Examples | None = None,
        best: ScoreKeeper | None = None,
        threads: int | None = None,
    ):
        self.model, self.tokenizer, self.task, self.settings = model, tokenizer, task, settings
        self.held_out, self.best, self.threads = held_out, best, threads
        longest = model.config.max_position_embeddings
        self.sequences, self.labels_at = task.tokenize_examples(tokenizer, examples, longest)

    def shards(self, step: int) -> Sequence[Shard]:
        """Return the shards of a step's batch: sequences of similar length, with their labels."""
        from minibert.training.engine import split_batch  # until it is in this room

        settings = self.settings
        indices = length_bucketed_batch(
            step, self.sequences.lengths, settings.batch_size, settings.seed
        )
        batch = self.sequences.batch(indices, self.tokenizer.pad_token_id)
        # The indices are split instead of the labels, because labels (B, C) with C = T would be
        # trimmed like the labels of tokens.
        parts = split_batch(batch, indices, settings.shards, trim=True)
        return [(part, self.labels_at(np.asarray(own))) for part, own in parts]

    def count(self, shard: Shard) -> Any:
        """Return the number of targets of a shard (float or array), for the loss's denominator."""
        return self.model.count(shard[1])

    def tokens(self, shard: Shard) -> int:
        """Return the number of tokens of a shard (int), without padding."""
        return int(shard[0]["attention_mask"].sum())

    def loss_and_grads(
        self,
        shard: Shard,
        extra: Any,
        rng: np.random.Generator | None,
        grads: Parameters,
        denominator: Any,
    ) -> float:
        """Add a shard's gradients to `grads`; return its loss (float).

        Args:
            shard: a part of the batch.
            extra: None, because the objective has one phase.
            rng: decides the dropout.
            grads: the gradients so far.
            denominator: the sum of `count` over the batch's shards.
        """
        batch, labels = shard
        loss, _ = self.model.loss_and_grads(
            batch, labels, rng, grads=grads, denominator=denominator
        )
        return loss

    def evaluate(self, step: int) -> tuple[str, dict[str, float]] | None:
        """Return the held-out metrics, as text and as figures; None without held-out examples."""
        if self.held_out is None:
            return None
        metrics = evaluate(
            self.model, self.tokenizer, self.task, self.held_out, threads=self.threads
        )
        if self.best is not None:
            self.best.update(step, metrics.main)
        figures = {f"held_out_{name}": value for name, value in metrics.figures().items()}
        return f"held-out {metrics}", figures | {SCORE: metrics.main}


def evaluate(
    model: PreTrained,
    tokenizer: WordPieceTokenizer,
    task: Task,
    examples: Examples,
    *,
    threads: int | None = None,
) -> Metrics:
    """Return the metrics (`Metrics`) of a model's predictions for labelled texts.

    Args:
        model: a model of the task's class.
        tokenizer: the model's tokenizer.
        task: the meaning of the labels.
        examples: labelled texts.
        threads: how many batches are computed at a time; None: one for each core.
    """
    outputs = task.predict(model, tokenizer, examples.texts, examples.pairs, threads=threads)
    return task.metrics(examples.labels, outputs)

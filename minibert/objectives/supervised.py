"""The supervised objective: batches of labelled texts, their loss, and held-out metrics."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from minibert.data.piece_splits import PieceSplitter
from minibert.data.rng import generator
from minibert.data.sampling import length_bucketed_batch
from minibert.objectives.base import BatchSettings, Evaluation, ModelObjective
from minibert.objectives.shards import Shard, split_batch
from minibert.parameters import Parameters
from minibert.tasks.base import Task, report_unseen
from minibert.tasks.examples import Examples
from minibert.tasks.metrics import Metrics
from minibert.tokenization import PreTrainedTokenizer
from minibert.typing import Rng

SCORE = "held_out_score"  # the name of the metrics' main figure in a run's history


class SupervisedSettings(BatchSettings, Protocol):
    """The settings that decide the batches of labelled texts."""

    @property
    def split_pieces(self) -> float:
        """The probability with which a piece is split; see `PieceSplitter`."""


class ScoreKeeper(Protocol):
    """Receives the score of each evaluation, `training.BestCheckpoint` for example."""

    def update(self, step: int, score: float, outputs: Any = None) -> None:
        """Record the score of the model's current weights, and their outputs for the texts."""


class Supervised(ModelObjective):
    """Learn a task from labelled examples.

    Args:
        model: a model of the task's class, with its number of classes.
        tokenizer: the model's tokenizer; longer texts are cut at the model's positions.
        task: the meaning of the labels.
        examples: labelled texts to train on; texts of similar length share a batch.
        settings: batch size, shards, random seed and how often pieces are split; tagged words stay
            whole, because a label belongs to the first piece of each.
        held_out: labelled texts to evaluate on, or None.
        best: receives the score of each evaluation, or None.
        threads: how many batches of the evaluation are computed at a time; None: one for each core.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizer,
        task: Task,
        examples: Examples,
        settings: SupervisedSettings,
        *,
        held_out: Examples | None = None,
        best: ScoreKeeper | None = None,
        threads: int | None = None,
    ):
        super().__init__(model)
        self.tokenizer, self.task, self.settings = tokenizer, task, settings
        self.held_out, self.best, self.threads = held_out, best, threads
        if held_out is not None:
            report_unseen(task.count_unseen(held_out.labels), "the held-out texts")
        self.longest = model.config.longest
        self.sequences, found = task.tokenize_examples(tokenizer, examples, self.longest)
        self.labels_at: Callable[[np.ndarray], Any] = found
        splits = settings.split_pieces and task.input_kind == "texts"
        self.splitter = PieceSplitter(tokenizer, settings.split_pieces) if splits else None

    def shards(self, step: int) -> Sequence[Shard]:
        """Return the shards of a step's batch: sequences of similar length, with their labels."""
        settings = self.settings
        indices = length_bucketed_batch(
            step, self.sequences.lengths, settings.batch_size, settings.seed
        )
        pad_id = self.tokenizer.pad_token_id
        batch = self.sequences.batch(indices, pad_id)
        if self.splitter is not None:
            rng = generator(settings.seed, "pieces", step)
            batch = self.splitter.split_batch(batch, pad_id, self.longest, rng)
        # The indices are split instead of the labels, because labels (B, C) with C = T would be
        # trimmed like the labels of tokens.
        parts = split_batch(batch, indices, settings.shards, trim=True)
        return [(part, self.labels_at(np.asarray(own))) for part, own in parts]

    def evaluate(self, step: int) -> Evaluation | None:
        """Return the held-out metrics, as text and as figures; None without held-out examples."""
        if self.held_out is None:
            return None
        return held_out_metrics(
            self.model, self.tokenizer, self.task, self.held_out, step, self.best, self.threads
        )


def held_out_metrics(
    model: Any,
    tokenizer: PreTrainedTokenizer,
    task: Task,
    held_out: Examples,
    step: int,
    best: ScoreKeeper | None,
    threads: int | None,
) -> Evaluation:
    """Return the held-out metrics after a step, as text and as figures; tell `best` the score."""
    outputs = task.predict(model, tokenizer, held_out.texts, held_out.pairs, threads=threads)
    metrics = task.metrics(held_out.labels, outputs)
    if best is not None:
        best.update(step, metrics.main, outputs)
    figures = {f"held_out_{name}": value for name, value in metrics.figures().items()}
    return f"held-out {metrics}", figures | {SCORE: metrics.main}


class WeightedSupervised(Supervised):
    """Learn a task from examples with weights: an example of weight w is divided by n / w.

        loss = (1/n) Σ_i w_i · loss_i,   n = Σ_i w_i · count_i

    So a whole number as weight equals that many copies of the example in the batch. count is 1, the
    weight of the example's class, or the number of labels or numbers that it has.

    Args:
        model, tokenizer, task, settings: as in `Supervised`; the model has `counts`, and its loss
            takes a denominator for each example.
        examples: labelled texts with weights above 0.
        options: `held_out`, whose weights are not used, `best` and `threads`.

    Raises:
        ValueError: words are labelled, because texts are cut into windows.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizer,
        task: Task,
        examples: Examples,
        settings: SupervisedSettings,
        **options: Any,
    ):
        if task.input_kind == "words":
            raise ValueError("sample_weight: expected labels of texts, got tags of words")
        super().__init__(model, tokenizer, task, examples, settings, **options)
        weights, labels_at = np.asarray(examples.weights, float), self.labels_at
        self.labels_at = lambda rows: {"labels": labels_at(rows), "weights": weights[rows]}

    def count(self, shard: Any) -> float:
        """Return the sum of the shard's counts, each times its example's weight."""
        model: Any = self.model
        return float(np.dot(model.counts(shard[1]["labels"]), shard[1]["weights"]))

    def loss_and_grads(
        self, shard: Any, extra: Any, rng: Rng, grads: Parameters, denominator: Any
    ) -> float:
        """Return the model's loss on the shard, and add its gradient into `grads`."""
        batch, labels = shard
        by_example = denominator / labels["weights"][:, None]  # (B, 1)
        return super().loss_and_grads((batch, labels["labels"]), extra, rng, grads, by_example)


def evaluate(
    model: Any,
    tokenizer: PreTrainedTokenizer,
    task: Task,
    examples: Examples,
    *,
    threads: int | None = None,
) -> Metrics:
    """Return the metrics (`Metrics`) of a model's predictions for labelled texts.

    Labels that the task does not know count as errors, and a warning names them.

    Args:
        model: a model of the task's class.
        tokenizer: the model's tokenizer.
        task: the meaning of the labels.
        examples: labelled texts.
        threads: how many batches are computed at a time; None: one for each core.
    """
    report_unseen(task.count_unseen(examples.labels), "the labels")
    outputs = task.predict(model, tokenizer, examples.texts, examples.pairs, threads=threads)
    return task.metrics(examples.labels, outputs)

"""Fine-tuning: from labelled texts to a model that labels."""

import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from minibert.data.sampling import rows_of_like_length_at
from minibert.models import PreTrained
from minibert.optim.adamw import AdamW
from minibert.tasks.tasks import AnyScores, OneLabel, Task
from minibert.tokenization import WordPieceTokenizer
from minibert.training.early_stopping import SCORE, Best
from minibert.training.engine import Engine, split_batch
from minibert.training.loop import Settings, train


@dataclass(frozen=True)
class Examples:
    """Labelled texts.

    Attributes:
        texts: S texts; where words are tagged, S lists of words.
        pairs: a second text for each, or None.
        labels: S labels, as `Task.number` takes them.
    """

    texts: Sequence[Any]
    pairs: Sequence[str] | None
    labels: Sequence[Any]

    def chosen(self, rows: Iterable[int]) -> "Examples":
        """Return some of them."""
        rows = list(rows)
        pairs = None if self.pairs is None else [self.pairs[i] for i in rows]
        return Examples([self.texts[i] for i in rows], pairs, [self.labels[i] for i in rows])

    def checksum(self) -> str:
        """Return what changes with any text or label."""
        content = repr((list(self.texts), self.pairs, list(self.labels)))
        return f"{zlib.crc32(content.encode()):08x}"

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.texts)


@dataclass(frozen=True)
class FineTuning(Settings):
    """How to fine-tune: `Settings`, and what only fine-tuning has.

    Args:
        layer_decay: the learning rate of each block is this times that of the one above; below 1,
            what is nearer to the words changes more slowly (Howard and Ruder, 2018, section 3.2).
        freeze: the embeddings and so many of the lowest blocks don't learn; None: all learn.
        class_weight: how much each class counts in the loss, (C,); or "balanced", as if all were
            equally common (King and Zeng, 2001, section 4.2); None: each text counts alike.
        patience: stop after so many evaluations without a better one; None: never.

    Raises:
        ValueError: a number out of its range.
    """

    layer_decay: float = 1.0
    freeze: int | None = None
    class_weight: Sequence[float] | Literal["balanced"] | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        super().__post_init__()
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay: expected more than 0 and at most 1, got "
                             f"{self.layer_decay}")  # fmt: skip
        weights = self.class_weight
        if isinstance(weights, str | None):
            right = weights in ("balanced", None)
        else:
            right = all(0 <= weight < math.inf for weight in weights)
        if not right:
            raise ValueError(f"class_weight: expected 'balanced', or numbers, got {weights!r}")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience: expected at least 1, got {self.patience}")


def optimizer_for(model: Any, settings: FineTuning) -> AdamW:
    """Return the optimizer of a model, block by block with its own rate, and freeze what is frozen.

    Raises:
        ValueError: more blocks are to be frozen than there are.
    """
    model.freeze(settings.freeze)
    depths = model.depths()
    top = max(depths.values())
    lowest = 0 if settings.freeze is None else settings.freeze + 1
    rates = {
        name: settings.layer_decay ** (top - depth) if depth >= lowest else 0.0
        for name, depth in depths.items()
    }
    return AdamW(model.params, weight_decay=settings.weight_decay, rates=rates)


def fine_tune(
    model: Any,
    tokenizer: WordPieceTokenizer,
    task: Task,
    examples: Examples,
    settings: FineTuning,
    *,
    held_out: Examples | None = None,
    optimizer: AdamW | None = None,
    run: Path | None = None,
    threads: int | None = None,
    title: str = "fine-tuning",
    progress: bool = False,
) -> Task:
    """Train `model` in place to label texts as the examples do.

    With held-out examples the weights at the end are those of the best evaluation.

    Args:
        model: what to train, of the task's kind and with its classes.
        tokenizer: makes the ids; longer texts are cut at the model's positions.
        task: what the labels mean.
        examples: what to train on; texts of like length come together.
        settings: how to train.
        held_out: what to measure on every `settings.evaluate_every` steps, and at the end.
        optimizer: `optimizer_for` the model, in the middle of a run to go on with it; None: a new
            run.
        run: the folder for checkpoints and the history; None: none are written.
        threads: how many shards to work on at a time; None: one for each core.
        title: of the progress bar.
        progress: show a bar.

    Returns:
        the task as the trained model has it.

    Raises:
        FloatingPointError, Interrupted: as `loop.train` does.
        ValueError: more blocks are to be frozen than there are, or classes are to be weighed that
            are not one a text.
    """
    if settings.class_weight is not None and not isinstance(task, OneLabel):
        raise ValueError("class_weight: expected labels that are one class a text")
    if optimizer is None:
        optimizer = optimizer_for(model, settings)
    if settings.class_weight == "balanced":
        numbers = [task.number(label) for label in examples.labels]
        model.class_weights = balanced(numbers, len(task.names))
    elif settings.class_weight is not None:
        model.class_weights = np.array(settings.class_weight, float)
    engine = Engine(model, optimizer, seed=settings.seed, clip=settings.clip, threads=threads)
    sequences, labels_of = task.prepare(
        tokenizer,
        examples.texts,
        examples.pairs,
        examples.labels,
        model.config.max_position_embeddings,
    )

    def shards_at(step):
        rows = rows_of_like_length_at(step, sequences.lengths, settings.batch_size, settings.seed)
        batch = sequences.batch(rows, tokenizer.pad_token_id)
        # As many labels as a batch has tokens would be taken for labels of tokens, and trimmed.
        shards = split_batch(batch, rows, settings.shards, trim=True)
        return [(part, labels_of(np.asarray(own))) for part, own in shards]

    best = Best(model, settings.patience, run, optimizer.step)

    def evaluate_now():
        assert held_out is not None
        scores = evaluate(model, tokenizer, task, held_out, threads=threads)
        best.see(optimizer.step, scores.main)
        figures = {f"held_out_{name}": value for name, value in scores.figures().items()}
        return f"held-out {scores}", figures | {SCORE: scores.main}

    train(
        engine,
        shards_at,
        settings,
        tokenizer,
        run=run,
        evaluate=evaluate_now if held_out else None,
        enough=best.enough,
        title=title,
        progress=progress,
    )
    if held_out:
        best.restore()
    return task.settle(model)


def balanced(numbers: Sequence[int], classes: int) -> np.ndarray:
    """Return a weight for each class that makes all count alike: S / (C · how often it occurs).

    >>> balanced([0, 0, 0, 1], 2)
    array([0.66666667, 2.        ])
    """
    counts = np.bincount(np.array(numbers, int), minlength=classes)
    return len(numbers) / (classes * np.maximum(counts, 1))


def evaluate(
    model: PreTrained,
    tokenizer: WordPieceTokenizer,
    task: Task,
    examples: Examples,
    *,
    threads: int | None = None,
) -> AnyScores:
    """Compare what a model says of labelled texts with their labels."""
    outputs = task.predict(model, tokenizer, examples.texts, examples.pairs, threads=threads)
    return task.scores(examples.labels, outputs)


def steps_for(examples: int, batch_size: int, epochs: float) -> int:
    """Return how many steps go through so many examples so many times."""
    return max(math.ceil(epochs * math.ceil(examples / batch_size)), 1)

"""Fine-tuning: from labelled texts to a classifier, and from a classifier to labels."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from minibert.data.batching import rows_of_like_length_at
from minibert.data.tables import Row
from minibert.functional import softmax_forward
from minibert.inference import for_texts
from minibert.models import BertForSequenceClassification
from minibert.tokenization import WordPieceTokenizer
from minibert.tokenization.framing import pad, with_pairs
from minibert.training.engine import Engine, split_batch
from minibert.training.loop import Settings, train
from minibert.training.metrics import Scores, count
from minibert.training.optimizer import AdamW


@dataclass(frozen=True)
class Examples:
    """Labelled texts as a classifier sees them.

    Attributes:
        texts: S texts.
        pairs: a second text for each, or None.
        labels: (S,), the classes' numbers.
    """

    texts: Sequence[str]
    pairs: Sequence[str] | None
    labels: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[Row], label2id: dict[str, int], source: str) -> "Examples":
        """Number the labels of `rows`.

        Raises:
            ValueError: a row's label is not among `label2id`; the message names `source` and line.
        """
        for row in rows:
            if row.label not in label2id:
                known = ", ".join(label2id)
                raise ValueError(
                    f"{source}, line {row.line}: unknown label {row.label!r}, "
                    f"expected one of {known}"
                )
        return cls(*texts_of(rows), np.array([label2id[row.label or ""] for row in rows]))

    def checksum(self) -> str:
        """Return what changes with any text or label."""
        content = repr((list(self.texts), self.pairs, self.labels.tolist()))
        return f"{zlib.crc32(content.encode()):08x}"

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.texts)


def texts_of(rows: Sequence[Row]) -> tuple[list[str], list[str] | None]:
    """Return the rows' texts, and their second texts if they have any."""
    pairs = [row.pair or "" for row in rows]
    return [row.text for row in rows], pairs if any(row.pair is not None for row in rows) else None


def train_classifier(
    model: BertForSequenceClassification,
    tokenizer: WordPieceTokenizer,
    examples: Examples,
    settings: Settings,
    *,
    held_out: Examples | None = None,
    optimizer: AdamW | None = None,
    run: Path | None = None,
    threads: int | None = None,
    title: str = "fine-tuning",
    progress: bool = False,
) -> None:
    """Train `model` in place to tell the examples' classes.

    Args:
        model: what to train, its classes those of the examples.
        tokenizer: makes the ids; longer texts are cut at the model's positions.
        examples: what to train on; texts of like length come together.
        settings: how to train.
        held_out: what to measure on every `settings.evaluate_every` steps.
        optimizer: one in the middle of a run to go on with it; None: a new run.
        run: the folder for checkpoints and the history; None: none are written.
        threads: how many shards to work on at a time; None: one for each core.
        title: of the progress bar.
        progress: show a bar.

    Raises:
        FloatingPointError, Interrupted: as `loop.train` does.
    """
    longest = model.config.max_position_embeddings
    if optimizer is None:
        optimizer = AdamW(model.params, weight_decay=settings.weight_decay)
    engine = Engine(model, optimizer, seed=settings.seed, clip=settings.clip, threads=threads)
    encodings = [
        tokenizer.encode(text, pair, max_length=longest)
        for text, pair in with_pairs(examples.texts, examples.pairs)
    ]
    lengths = np.array([len(encoding.input_ids) for encoding in encodings])

    def shards_at(step):
        rows = rows_of_like_length_at(step, lengths, settings.batch_size, settings.seed)
        batch = pad([encodings[i] for i in rows], tokenizer.pad_token_id)
        return split_batch(batch, examples.labels[rows], settings.shards, trim=True)

    train(
        engine,
        shards_at,
        settings,
        tokenizer,
        run=run,
        evaluate=partial(_report, model, tokenizer, held_out, threads) if held_out else None,
        title=title,
        progress=progress,
    )


def _report(model, tokenizer, held_out, threads):
    scores = evaluate_classifier(model, tokenizer, held_out, threads=threads)
    figures = {"held_out_accuracy": scores.accuracy, "held_out_macro_f1": scores.macro_f1}
    return f"held-out {scores}", figures


def evaluate_classifier(
    model: BertForSequenceClassification,
    tokenizer: WordPieceTokenizer,
    examples: Examples,
    *,
    threads: int | None = None,
) -> Scores:
    """Count a classifier's right and wrong answers on labelled texts."""
    texts = examples.texts, examples.pairs
    said = predict_proba(model, tokenizer, *texts, threads=threads).argmax(axis=-1)
    return count(list(model.config.label2id), examples.labels, said)


def predict_proba(
    model: BertForSequenceClassification,
    tokenizer: WordPieceTokenizer,
    texts: Sequence[str],
    pairs: Sequence[str] | None = None,
    *,
    threads: int | None = None,
) -> np.ndarray:
    """Return the classes' probabilities for each text: (S, C)."""
    longest = model.config.max_position_embeddings
    logits = for_texts(
        lambda batch: model(**batch).logits,
        tokenizer,
        texts,
        pairs,
        max_length=longest,
        threads=threads,
    )
    if not np.isfinite(logits).all():
        raise FloatingPointError("the classifier's scores are not finite: its training failed")
    return softmax_forward(logits)[0]

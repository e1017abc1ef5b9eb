"""Pre-training by masked language modelling, the yardsticks of what it learned, and its guesses."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minibert.data.batching import generator, rows_at
from minibert.data.corpus import as_batch
from minibert.data.masking import mask_tokens
from minibert.functional import IGNORED, softmax_forward
from minibert.models import BertForMaskedLM
from minibert.threads import in_order, one_blas_thread, usable_cores
from minibert.tokenization import WordPieceTokenizer
from minibert.training.engine import QUIET, Engine, split_batch
from minibert.training.loop import Settings, train
from minibert.training.optimizer import AdamW

EVALUATION_ROWS = 64  # rows at a time when nothing is kept for a backward pass


@dataclass(frozen=True)
class MaskedScore:
    """How well masked tokens are guessed: the loss in nats, and the share guessed right."""

    loss: float
    accuracy: float

    def __str__(self) -> str:
        """Return both, rounded."""
        return f"loss {self.loss:.3f}, accuracy {self.accuracy:.1%}"


def train_masked_lm(
    model: BertForMaskedLM,
    tokenizer: WordPieceTokenizer,
    rows: np.ndarray,
    held_out: np.ndarray,
    settings: Settings,
    *,
    optimizer: AdamW | None = None,
    run: Path | None = None,
    progress: bool = False,
) -> MaskedScore:
    """Train `model` in place to guess masked tokens; each time a row is seen, others are masked.

    Args:
        model: what to train.
        tokenizer: knows the special tokens.
        rows: (S, T), packed ids to train on.
        held_out: (S', T), packed ids to measure on.
        settings: how to train.
        optimizer: one in the middle of a run to go on with it; None: a new run.
        run: the folder for checkpoints; None: none are written.
        progress: show a bar.

    Returns:
        the score on the held-out rows.

    Raises:
        ValueError: there is no ordinary token to train on or to measure on.
        FloatingPointError, Interrupted: as `loop.train` does.
    """
    if optimizer is None:
        optimizer = AdamW(model.params, weight_decay=settings.weight_decay)
    for name, ids in (("to train on", rows), ("held out", held_out)):
        if np.isin(ids, tokenizer.all_special_ids).all():
            raise ValueError(f"no text {name}: every token of it is unknown or special")
    engine = Engine(model, optimizer, seed=settings.seed, clip=settings.clip)
    masked_held_out = masked(held_out, tokenizer, generator(settings.seed, "evaluation"))

    def shards_at(step):
        chosen = rows[rows_at(step, len(rows), settings.batch_size, settings.seed)]
        shown, labels = masked(chosen, tokenizer, generator(settings.seed, "masking", step))
        return split_batch(as_batch(shown, tokenizer.pad_token_id), labels, settings.shards)

    train(
        engine,
        shards_at,
        settings,
        tokenizer,
        run=run,
        evaluate=lambda: f"held-out {score(model, *masked_held_out, tokenizer.pad_token_id)}",
        title="pre-training",
        progress=progress,
    )
    result = score(model, *masked_held_out, tokenizer.pad_token_id)
    if not np.isfinite(result.loss):
        raise FloatingPointError(
            f"step {optimizer.step}: the held-out loss is {result.loss}; "
            "a lower learning rate or a longer warm-up may help"
        )
    return result


def masked(
    rows: np.ndarray, tokenizer: WordPieceTokenizer, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Mask rows of this tokenizer's ids; see `data.masking.mask_tokens`."""
    return mask_tokens(
        rows, tokenizer.all_special_ids, tokenizer.mask_token_id, len(tokenizer), rng
    )


def score(
    model: BertForMaskedLM, shown: np.ndarray, labels: np.ndarray, pad_id: int
) -> MaskedScore:
    """Measure a model on masked rows.

    Args:
        model: what to measure.
        shown: (S, T), what it sees.  labels: (S, T), -100 where nothing is hidden.
        pad_id: the padding token's id.
    """
    count = max(int((labels != IGNORED).sum()), 1)

    def work(start: int) -> tuple[float, int]:
        part = slice(start, start + EVALUATION_ROWS)
        batch = model.check(**as_batch(shown[part], pad_id))
        places, targets = model.targets(batch, labels[part])
        with QUIET():
            logits = model.predict(batch, places)  # (B, R, V)
            loss, _ = model.criterion_forward(logits, targets, count)
        return loss, int((logits.argmax(axis=-1) == targets).sum())

    starts, threads = range(0, len(shown), EVALUATION_ROWS), usable_cores()
    with one_blas_thread():
        parts = list(in_order(work, starts, threads, ahead=threads))
    return MaskedScore(sum(loss for loss, _ in parts), sum(right for _, right in parts) / count)


def unigram_score(
    rows: np.ndarray, labels: np.ndarray, tokenizer: WordPieceTokenizer
) -> MaskedScore:
    """The yardstick of a model that knows no context, only how often each token occurs in `rows`.

    Its loss is the labels' cross-entropy under the counts, with one added to each for what never
    occurs; its accuracy is that of guessing the commonest token every time.

    Args:
        rows: (S, T), the ids that were trained on; special tokens in them don't count.
        labels: (S', T), -100 where nothing is hidden.
        tokenizer: knows the special tokens.
    """
    counts = np.bincount(rows.reshape(-1), minlength=len(tokenizer))
    counts += 1
    counts[tokenizer.all_special_ids] = 0
    targets = labels[labels != IGNORED]
    loss = -np.log(counts[targets] / counts.sum()).mean()
    return MaskedScore(float(loss), float((targets == counts.argmax()).mean()))


def guess(
    model: BertForMaskedLM, tokenizer: WordPieceTokenizer, text: str, top: int
) -> list[list[tuple[str, float]]]:
    """Return the best pieces for each [MASK] in `text`, with their probabilities.

    Raises:
        ValueError: there is no [MASK], or the text is longer than the model's positions.
    """
    batch = model.check(**tokenizer.encode_batch([text]))
    places = np.flatnonzero(batch.input_ids[0] == tokenizer.mask_token_id)
    if not len(places):
        raise ValueError(f"expected a {tokenizer.mask_token} in the text, got {text!r}")
    logits = model.predict(batch, places[None, :])[0]  # (M, V)
    probabilities, _ = softmax_forward(logits)
    best = np.argsort(-probabilities, axis=-1, kind="stable")[:, :top]
    return [
        [(piece, float(row[i])) for i, piece in zip(ids, pieces, strict=True)]
        for row, ids in zip(probabilities, best, strict=True)
        for pieces in [tokenizer.convert_ids_to_tokens(ids.tolist())]
    ]

"""Pre-training by masked language modelling, the yardsticks of what it learned, and its guesses."""

import logging
import math
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minibert.data.batching import generator, rows_at
from minibert.data.corpus import Rows, as_batch
from minibert.data.masking import mask_tokens
from minibert.data.pairs import pair_rows
from minibert.functional import IGNORED, softmax_forward
from minibert.models import BertForMaskedLM, BertForPreTraining
from minibert.threads import in_order, number_of_threads, one_blas_thread
from minibert.tokenization import WordPieceTokenizer
from minibert.training.engine import QUIET, Engine, Shard, split_batch
from minibert.training.history import History
from minibert.training.loop import Settings, train
from minibert.training.optimizer import AdamW
from minibert.training.ranks import ALONE, Ranks

log = logging.getLogger("minibert")

EVALUATION_ROWS = 64  # rows at a time when nothing is kept for a backward pass
TIMED, TIMED_SECONDS = 5, 3.0  # the steps that tell how long a step takes: so many, and so long
STUCK = 0.5  # of the steps; a model that is no better than counts by then is stuck
REPEATED, PER_PIECE = 0.2, 20  # a text with more repeated lines, or fewer tokens for each piece


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
    rows: Rows | np.ndarray,
    held_out: np.ndarray,
    settings: Settings,
    *,
    optimizer: AdamW | None = None,
    run: Path | None = None,
    threads: int | None = None,
    ranks: Ranks = ALONE,
    progress: bool = False,
) -> MaskedScore:
    """Train `model` in place to guess masked tokens; each time a row is seen, others are masked.

    A `BertForPreTraining` learns at the same time whether two segments follow each other.

    Args:
        model: what to train.
        tokenizer: knows the special tokens.
        rows: (S, T), packed ids to train on; `Rows` if they are larger than memory.
        held_out: (S', T), packed ids to measure on.
        settings: how to train.
        optimizer: one in the middle of a run to go on with it; None: a new run.
        run: the folder for checkpoints and the history; None: none are written.
        threads: how many shards to work on at a time; None: one for each core.
        ranks: the processes that share the work.
        progress: show a bar.

    Returns:
        the score on the held-out rows.

    Raises:
        ValueError: there is no ordinary token to train on or to measure on.
        FloatingPointError, Interrupted: as `loop.train` does.
    """
    if optimizer is None:
        optimizer = AdamW(model.params, weight_decay=settings.weight_decay)
    counts = count_tokens(rows, tokenizer)
    for name, total in (("to train on", counts.sum()),
                        ("held out", count_tokens(held_out, tokenizer).sum())):  # fmt: skip
        if not total:
            raise ValueError(f"no text {name}: every token of it is unknown or special")
    engine = Engine(
        model, optimizer, seed=settings.seed, clip=settings.clip, threads=threads, ranks=ranks
    )
    evaluation = Evaluation(model, tokenizer, counts, held_out, settings, threads)
    train(
        engine,
        batches(model, tokenizer, rows, settings),
        settings,
        tokenizer,
        run=run,
        evaluate=lambda: evaluation.at(optimizer.step),
        title="pre-training",
        progress=progress,
    )
    result = evaluation.score()
    if not np.isfinite(result.loss):
        raise FloatingPointError(
            f"step {optimizer.step}: the held-out loss is {result.loss}; "
            "a lower learning rate or a longer warm-up may help"
        )
    if run is not None and not ranks.rank:
        with closing(History(run, settings.steps)) as history:
            history.write(settings.steps, **evaluation.figures(result))
    return result


def batches(
    model: BertForMaskedLM,
    tokenizer: WordPieceTokenizer,
    rows: Rows | np.ndarray,
    settings: Settings,
) -> Callable[[int], list[Shard]]:
    """Return the function that makes the shards of a step, from its number alone."""
    pairs = isinstance(model, BertForPreTraining)

    def shards_at(step: int) -> list[Shard]:
        numbers = rows_at(step, len(rows), settings.batch_size, settings.seed)
        masking = generator(settings.seed, "masking", step)
        if not pairs:
            shown, labels = masked(rows[numbers], tokenizer, masking)
            batch = as_batch(shown, tokenizer.pad_token_id)
            return split_batch(batch, labels, settings.shards, trim=True)
        batch, both = masked_pairs(
            rows, numbers, tokenizer, generator(settings.seed, "pairs", step), masking
        )
        return split_batch(batch, both, settings.shards, trim=True)

    return shards_at


def masked_pairs(rows, numbers, tokenizer, pairing, masking):
    """Pair rows and mask them: a batch, and both labels of a `BertForPreTraining`."""
    ids, types, follows = pair_rows(rows, numbers, tokenizer, pairing)
    shown, labels = masked(ids, tokenizer, masking)
    batch = as_batch(shown, tokenizer.pad_token_id) | {"token_type_ids": types}
    return batch, {"labels": labels, "next_sentence_label": follows}


def steps_in(
    minutes: float,
    model: BertForMaskedLM,
    tokenizer: WordPieceTokenizer,
    rows: Rows | np.ndarray,
    settings: Settings,
    threads: int | None = None,
) -> int:
    """Return how many steps fit into so many minutes, by timing a few on a copy of the model.

    Raises:
        ValueError: no time is given.
    """
    if not 0 < minutes < math.inf:
        raise ValueError(f"minutes: expected more than 0, got {minutes}")
    copy = model.astype(model.params.vector.dtype)
    engine = Engine(copy, AdamW(copy.params), seed=settings.seed, threads=threads)
    shards_at = batches(copy, tokenizer, rows, settings)
    times: list[float] = []
    while len(times) < 3 + TIMED or (sum(times) < TIMED_SECONDS and len(times) < 200):
        start = time.perf_counter()
        engine.step(shards_at(len(times)), 0.0)
        times.append(time.perf_counter() - start)
    return max(round(60 * minutes / statistics.median(times[3:])), 1)  # three to warm up


class Evaluation:
    """What is measured while a model is pre-trained, and what is said about it.

    Args:
        model, tokenizer, settings, threads: of the run.
        counts: (V,), of the tokens that are trained on.
        held_out: (S', T), packed ids.
    """

    def __init__(self, model, tokenizer, counts, held_out, settings, threads=None):
        self.model, self.tokenizer = model, tokenizer
        self.settings, self.threads = settings, threads
        rng = generator(settings.seed, "evaluation")
        self.masked = masked(held_out, tokenizer, rng)
        self.yardstick = unigram_score(counts, self.masked[1], tokenizer)
        self.warned = False

    def score(self) -> MaskedScore:
        """Measure the model on the held-out rows."""
        pad = self.tokenizer.pad_token_id
        return score(self.model, *self.masked, pad, threads=self.threads)

    def figures(self, result: MaskedScore) -> dict[str, float]:
        """Return what the history keeps."""
        return {
            "held_out_loss": result.loss,
            "held_out_accuracy": result.accuracy,
            "yardstick_loss": self.yardstick.loss,
        }

    def at(self, step: int) -> tuple[str, dict[str, float]]:
        """Measure after a step, and warn once if the model learned nothing but counts by then."""
        result = self.score()
        late = step >= STUCK * self.settings.steps
        if late and not self.warned and result.loss >= self.yardstick.loss:
            self.warned = True
            log.warning(
                "warning: after %d of %d steps the held-out loss, %.3f, is no lower than that of "
                "counting tokens, %.3f; another learning rate, a longer warm-up, shorter rows or "
                "no dropout may help",
                step, self.settings.steps, result.loss, self.yardstick.loss,
            )  # fmt: skip
        return f"held-out {result}", self.figures(result)


def warn_of_text(repeated: float, tokens: int, tokenizer: WordPieceTokenizer) -> None:
    """Warn of a text that teaches little: repeated lines, or few tokens for the vocabulary."""
    if repeated > REPEATED:
        log.warning("warning: %.0f%% of the lines stood in the text before; a model learns such "
                    "lines by heart, and so does its held-out loss", 100 * repeated)  # fmt: skip
    if tokens < PER_PIECE * len(tokenizer):
        log.warning(
            "warning: %s tokens are few for a vocabulary of %s pieces, many of which hardly occur; "
            "a smaller one learns more", f"{tokens:,}", f"{len(tokenizer):,}",
        )  # fmt: skip


def masked(
    rows: np.ndarray, tokenizer: WordPieceTokenizer, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Mask rows of this tokenizer's ids; see `data.masking.mask_tokens`."""
    return mask_tokens(
        rows, tokenizer.all_special_ids, tokenizer.mask_token_id, len(tokenizer), rng
    )


def score(
    model: BertForMaskedLM,
    shown: np.ndarray,
    labels: np.ndarray,
    pad_id: int,
    *,
    threads: int | None = None,
) -> MaskedScore:
    """Measure a model on masked rows.

    Args:
        model: what to measure; of a `BertForPreTraining` its guesses of tokens.
        shown: (S, T), what it sees.  labels: (S, T), -100 where nothing is hidden.
        pad_id: the padding token's id.
        threads: how many parts to work on at a time; None: one for each core.
    """
    # Whatever other heads there are, the parameters have the names that this one looks for.
    model = BertForMaskedLM(model.config, params=model.params)
    threads = number_of_threads(threads)
    count = max(int((labels != IGNORED).sum()), 1)

    def work(start: int) -> tuple[float, int]:
        part = slice(start, start + EVALUATION_ROWS)
        batch = model.check(**as_batch(shown[part], pad_id))
        places, targets = model.targets(batch, labels[part])
        with QUIET():
            logits = model.predict(batch, places)  # (B, R, V)
            loss, _ = model.criterion_forward(logits, targets, count)
        return loss, int((logits.argmax(axis=-1) == targets).sum())

    starts = range(0, len(shown), EVALUATION_ROWS)
    with one_blas_thread():
        parts = list(in_order(work, starts, threads, ahead=threads))
    return MaskedScore(sum(loss for loss, _ in parts), sum(right for _, right in parts) / count)


def count_tokens(rows: Rows | np.ndarray, tokenizer: WordPieceTokenizer) -> np.ndarray:
    """Count how often each token occurs in rows (S, T), special ones not at all: (V,)."""
    known = rows.counts if isinstance(rows, Rows) else None
    if known is None:
        everything = np.asarray(rows[np.arange(len(rows))]).reshape(-1)
        known = np.bincount(everything, minlength=len(tokenizer))
    counts = known.copy()
    counts[tokenizer.all_special_ids] = 0
    return counts


def unigram_score(
    counts: np.ndarray, labels: np.ndarray, tokenizer: WordPieceTokenizer
) -> MaskedScore:
    """The yardstick of a model that knows no context, only how often each token occurs.

    Its loss is the labels' cross-entropy under the counts, with one added to each for what never
    occurs; its accuracy is that of guessing the commonest token every time.

    Args:
        counts: (V,), as `count_tokens` returns them.
        labels: (S, T), -100 where nothing is hidden.
        tokenizer: knows the special tokens, which never are an answer.
    """
    targets = labels[labels != IGNORED]
    counts = counts + 1
    counts[tokenizer.all_special_ids] = 0
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

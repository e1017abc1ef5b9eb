"""How well a pre-trained model guesses, its yardstick, and what it is warned of."""

import logging
from dataclasses import dataclass, replace

import numpy as np

from minibert.data.corpus import Rows, as_batch
from minibert.data.masking import masked
from minibert.data.pairs import pair_rows
from minibert.data.sampling import generator
from minibert.functional import IGNORED
from minibert.models import BertForMaskedLM, BertForNextSentencePrediction, BertForPreTraining
from minibert.runtime.threads import in_order, number_of_threads, one_blas_thread
from minibert.tokenization import WordPieceTokenizer
from minibert.training.engine import QUIET

log = logging.getLogger("minibert")

EVALUATION_ROWS = 64  # rows at a time when nothing is kept for a backward pass
STUCK = 0.5  # of the steps; a model that is no better than counts by then is stuck
REPEATED, PER_PIECE = 0.2, 20  # a text with more repeated lines, or fewer tokens for each piece
BY_HEART = 100  # times through the text


@dataclass(frozen=True)
class MaskedScore:
    """How well masked tokens are guessed: the loss in nats, and the share guessed right.

    With pairs, also the share of them of which the model knows whether the second follows.
    """

    loss: float
    accuracy: float
    next_sentence: float | None = None

    def __str__(self) -> str:
        """Return them, rounded."""
        pairs = "" if self.next_sentence is None else f", next sentence {self.next_sentence:.1%}"
        return f"loss {self.loss:.3f}, accuracy {self.accuracy:.1%}{pairs}"


class Evaluation:
    """What is measured while a model is pre-trained, and what is said about it.

    Args:
        model, tokenizer, settings, threads: of the run.
        counts: (V,), of the tokens that are trained on.
        held_out: (S', T), packed ids.

    Attributes:
        latest: the newest score; None before the first.
    """

    def __init__(self, model, tokenizer, counts, held_out, settings, threads=None):
        self.model, self.tokenizer = model, tokenizer
        self.settings, self.threads = settings, threads
        rng = generator(settings.seed, "evaluation")
        self.masked = masked(held_out, tokenizer, rng)
        self.pairs = None
        if isinstance(model, BertForPreTraining):
            self.pairs = pair_rows(held_out, np.arange(len(held_out)), tokenizer, rng)
        self.yardstick = unigram_score(counts, self.masked[1], tokenizer)
        self.warned, self.latest = False, None

    def score(self) -> MaskedScore:
        """Measure the model on the held-out rows, and if it learns them on pairs of these."""
        pad = self.tokenizer.pad_token_id
        result = score(self.model, *self.masked, pad, threads=self.threads)
        if self.pairs is None:
            return result
        ids, types, labels = self.pairs
        share = next_sentence_accuracy(self.model, ids, types, labels, pad, threads=self.threads)
        return replace(result, next_sentence=share)

    def figures(self, result: MaskedScore) -> dict[str, float]:
        """Return what the history keeps."""
        figures = {
            "held_out_loss": result.loss,
            "held_out_accuracy": result.accuracy,
            "yardstick_loss": self.yardstick.loss,
        }
        if result.next_sentence is not None:
            figures["held_out_next_sentence"] = result.next_sentence
        return figures

    def at(self, step: int) -> tuple[str, dict[str, float]]:
        """Measure after a step, and warn once if the model learned nothing but counts by then."""
        result = self.latest = self.score()
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


def warn_of_text(
    repeated: float, tokens: int, tokenizer: WordPieceTokenizer, epochs: float
) -> None:
    """Warn of a text that teaches little.

    Args:
        repeated: the share of its lines that stood there before.
        tokens: how many it has.
        tokenizer: whose vocabulary may be too large for it.
        epochs: how often it is gone through.
    """
    if epochs > BY_HEART:
        log.warning("warning: %.0f times through the text; fewer steps or more text would do more",
                    epochs)  # fmt: skip
    if repeated > REPEATED:
        log.warning("warning: %.0f%% of the lines stood in the text before; a model learns such "
                    "lines by heart, and so does its held-out loss", 100 * repeated)  # fmt: skip
    if tokens < PER_PIECE * len(tokenizer):
        log.warning(
            "warning: %s tokens are few for a vocabulary of %s pieces, many of which hardly occur; "
            "a smaller one learns more", f"{tokens:,}", f"{len(tokenizer):,}",
        )  # fmt: skip


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
    count = max(int((labels != IGNORED).sum()), 1)

    def work(part: slice) -> tuple[float, int]:
        batch = model.check(**as_batch(shown[part], pad_id))
        places, targets = model.targets(batch, labels[part])
        with QUIET():
            logits = model.predict(batch, places)  # (B, R, V)
            loss, _ = model.criterion_forward(logits, targets, count)
        return loss, int((logits.argmax(axis=-1) == targets).sum())

    parts = _in_parts(work, len(shown), threads)
    return MaskedScore(sum(loss for loss, _ in parts), sum(right for _, right in parts) / count)


def next_sentence_accuracy(
    model: BertForPreTraining,
    ids: np.ndarray,
    types: np.ndarray,
    labels: np.ndarray,
    pad_id: int,
    *,
    threads: int | None = None,
) -> float:
    """Return for how many of the pairs, as `pair_rows` makes them, the model says what is so."""
    head = BertForNextSentencePrediction(model.config, params=model.params)

    def work(part: slice) -> int:
        batch = head.check(**as_batch(ids[part], pad_id) | {"token_type_ids": types[part]})
        with QUIET():
            logits = head.predict(batch, head.rows_read(batch))  # (B, 2)
        return int((logits.argmax(axis=-1) == labels[part]).sum())

    return sum(_in_parts(work, len(ids), threads)) / len(ids)


def _in_parts(work, count, threads):
    """Do `work` on parts of so many rows side by side, and return what comes of it in order."""
    parts = [slice(i, i + EVALUATION_ROWS) for i in range(0, count, EVALUATION_ROWS)]
    threads = number_of_threads(threads)
    with one_blas_thread():
        return list(in_order(one_blas_thread()(work), parts, threads, ahead=threads))


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

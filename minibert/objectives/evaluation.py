"""Evaluation of pre-trained models on held-out sequences."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from minibert.data.corpus import as_batch
from minibert.functional import IGNORED
from minibert.models.bert import BertBased
from minibert.models.pooling import first_token
from minibert.models.table import family_class
from minibert.objectives.base import quiet
from minibert.objectives.distillation_losses import cosine_embedding_forward
from minibert.runtime.blas import one_blas_thread
from minibert.runtime.threads import number_of_threads, ordered_map
from minibert.typing import Array

EVALUATION_ROWS = 64  # sequences at a time; no caches are kept for a backward pass
PAIR_TASKS = ("next_sentence", "sentence_order")  # fields of `MaskedLMMetrics`
Result = TypeVar("Result")


@dataclass(frozen=True)
class MaskedLMMetrics:
    """How well masked tokens are predicted.

    Attributes:
        loss: the mean cross-entropy in nats.
        accuracy: the share of masked tokens predicted correctly.
        next_sentence: the share of sentence pairs classified correctly; None: not measured.
        sentence_order: the same of pairs of segments in two orders.
    """

    loss: float
    accuracy: float
    next_sentence: float | None = None
    sentence_order: float | None = None

    def __str__(self) -> str:
        """Return the metrics, rounded."""
        shares = ((name, getattr(self, name)) for name in PAIR_TASKS)
        pairs = "".join(f", {name.replace('_', ' ')} {share:.1%}" for name, share in shares
                        if share is not None)  # fmt: skip
        return f"loss {self.loss:.3f}, accuracy {self.accuracy:.1%}{pairs}"

    @classmethod
    def of_figures(cls, figures: Mapping[str, float]) -> Self:
        """Return the metrics that `figures` returned, from a line of the history.

        Raises:
            KeyError: the line is not of an evaluation.
        """
        loss, accuracy = figures["held_out_loss"], figures["held_out_accuracy"]
        return cls(loss, accuracy, *(figures.get(f"held_out_{name}") for name in PAIR_TASKS))

    def figures(self) -> dict[str, float]:
        """Return the metrics under their names in the history."""
        figures = {"held_out_loss": self.loss, "held_out_accuracy": self.accuracy}
        shares = {f"held_out_{name}": getattr(self, name) for name in PAIR_TASKS}
        return figures | {name: share for name, share in shares.items() if share is not None}


def masked_lm_metrics(
    model: BertBased, ids: Array, labels: Array, pad_id: int, *, threads: int | None = None
) -> MaskedLMMetrics:
    """Measure a model on masked sequences.

    Args:
        model: a model with a masked-LM head; its other heads are not used.
        ids (S, T): the masked input.
        labels (S, T): the masked tokens, -100 elsewhere.
        pad_id: id of the padding token.
        threads: number of batches computed at a time; None: one per core.
    """
    head = family_class(model.config.model_type, "ForMaskedLM").sharing(model)
    count = max(int((labels != IGNORED).sum()), 1)

    def work(part: slice) -> tuple[float, int]:
        batch = head.check(**as_batch(ids[part], pad_id))
        places, targets = head.targets(batch, labels[part])
        with quiet():
            logits = head.predict(batch, places)  # (B, R, V)
            loss, _ = head.criterion_forward(logits, targets, count)
        return loss, int((logits.argmax(axis=-1) == targets).sum())

    parts = _in_batches(work, len(ids), threads)
    return MaskedLMMetrics(sum(loss for loss, _ in parts), sum(right for _, right in parts) / count)


def next_sentence_accuracy(
    model: Any,
    ids: Array,
    types: Array,
    labels: Array,
    pad_id: int,
    *,
    threads: int | None = None,
) -> float:
    """Return the share of sentence pairs that a model classifies correctly.

    Args:
        model: a model with a head of pairs; its masked-LM head is not used.
        ids (S, T): the pairs, as `next_sentence_pairs` or `sentence_order_pairs` makes them.
        types (S, T): their segments.
        labels (S,): 0 where the second segment follows the first, 1 elsewhere.
        pad_id: id of the padding token.
        threads: number of batches computed at a time; None: one per core.
    """

    def work(part: slice) -> int:
        batch = model.check(**as_batch(ids[part], pad_id) | {"token_type_ids": types[part]})
        with quiet():
            x, _ = model.encode(batch, rows=first_token(batch.attention_mask))  # (B, 1, D)
            logits, _ = model.pair_head.forward(model.params, x)  # (B, 2)
        return int((logits.argmax(axis=-1) == labels[part]).sum())

    return sum(_in_batches(work, len(ids), threads)) / len(ids)


def mean_cosine(
    model: BertBased, other: BertBased, ids: Array, pad_id: int, *, threads: int | None = None
) -> float:
    """Return the mean cosine of the last hidden states of two models, over tokens.

    Args:
        model, other: two models of the same vocabulary and width.
        ids (S, T): the sequences.
        pad_id: id of the padding token, which does not count.
        threads: number of batches computed at a time; None: one per core.
    """
    tokens = max(int((ids != pad_id).sum()), 1)

    def work(part: slice) -> float:
        batch = model.check(**as_batch(ids[part], pad_id))
        with quiet():
            x, target = (each.encode(batch)[0] for each in (model, other))  # (B, T, D)
            return cosine_embedding_forward(x, target, batch.attention_mask, tokens)[0]

    return 1 - sum(_in_batches(work, len(ids), threads))


def _in_batches(work: Callable[[slice], Result], count: int, threads: int | None) -> list[Result]:
    """Return `work(part)` for slices of `count` sequences, in order, computed in parallel."""
    parts = [slice(i, i + EVALUATION_ROWS) for i in range(0, count, EVALUATION_ROWS)]
    threads = number_of_threads(threads)
    with one_blas_thread():
        return list(ordered_map(one_blas_thread()(work), parts, threads, ahead=threads))

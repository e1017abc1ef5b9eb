"""Tasks of two segments beside masked language modelling: next sentence and sentence order."""

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from minibert.data.corpus import as_batch
from minibert.data.next_sentence import next_sentence_pairs
from minibert.data.rng import generator
from minibert.data.sentence_order import sentence_order_pairs
from minibert.objectives.evaluation import MaskedLMMetrics, next_sentence_accuracy
from minibert.objectives.masked_lm import MaskedLM
from minibert.objectives.shards import Labels
from minibert.typing import Array, Rng


class MaskedLMAndPairs(MaskedLM):
    """Trains a model on masked tokens and on pairs of segments; the loss is the sum of both.

    The model needs both heads; the arguments are those of `MaskedLM`.

    Attributes:
        task: in `evaluation.PAIR_TASKS`.
    """

    task: ClassVar[str]

    def make_pairs(self, rows: Any, numbers: Array, rng: Rng) -> tuple[Array, Array, Array]:
        """Return the ids and segments (B, T) of pairs, and their labels (B,)."""
        raise NotImplementedError

    def mask_held_out(self, held_out: Array, rng: np.random.Generator) -> None:
        """Store masked sequences and pairs of segments for `metrics`."""
        super().mask_held_out(held_out, rng)
        self.pairs = self.make_pairs(held_out, np.arange(len(held_out)), rng)

    def masked_batch(self, numbers: Array, step: int) -> tuple[dict[str, Array], Labels]:
        """Return the batch (B, T) of pairs of segments, masked, and the labels of both tasks."""
        pairing = generator(self.settings.seed, "pairs", step)
        ids, types, pair_labels = self.make_pairs(self.rows, numbers, pairing)
        ids, labels = self.masked(ids, step)
        batch = as_batch(ids, self.tokenizer.pad_token_id) | {"token_type_ids": types}
        return batch, {"labels": labels, f"{self.task}_label": pair_labels}

    def metrics(self) -> MaskedLMMetrics:
        """Measure the model on the held-out sequences and pairs of segments."""
        pad = self.tokenizer.pad_token_id
        share = next_sentence_accuracy(self.model, *self.pairs, pad, threads=self.threads)
        return replace(super().metrics(), **{self.task: share})


class MaskedLMAndNextSentence(MaskedLMAndPairs):
    """Trains a model on both tasks of BERT's pre-training; the loss is their sum.

    Devlin et al. (2019), section 3.1. The model needs both heads, as `BertForPreTraining` has; the
    arguments are those of `MaskedLM`.
    """

    task = "next_sentence"

    def make_pairs(self, rows: Any, numbers: Array, rng: Rng) -> tuple[Array, Array, Array]:
        """Return pairs of segments; see `next_sentence_pairs`."""
        return next_sentence_pairs(rows, numbers, self.tokenizer, rng)


class MaskedLMAndSentenceOrder(MaskedLMAndPairs):
    """Trains a model on both tasks of ALBERT's pre-training; the loss is their sum.

    Lan et al. (2020), section 3.1. The model needs both heads, as `AlbertForPreTraining` has; the
    arguments are those of `MaskedLM`. Single tokens or words are masked, not runs of them.
    """

    task = "sentence_order"

    def make_pairs(self, rows: Any, numbers: Array, rng: Rng) -> tuple[Array, Array, Array]:
        """Return pairs of segments; see `sentence_order_pairs`."""
        return sentence_order_pairs(rows, numbers, self.tokenizer, rng)

"""Tasks of two segments beside masked language modelling: next sentence and sentence order."""

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import numpy as np

from minibert.data.corpus import as_batch
from minibert.data.next_sentence import next_sentence_pairs
from minibert.data.rng import generator
from minibert.data.sentence_order import sentence_order_pairs
from minibert.objectives.evaluation import MaskedLMMetrics, next_sentence_accuracy
from minibert.objectives.masked_lm import MaskedLM
from minibert.objectives.shards import Labels
from minibert.typing import Array


class MaskedLMAndPairs(MaskedLM):
    """Trains a model on masked tokens and on pairs of segments; the loss is the sum of both.

    The model needs both heads; the arguments are those of `MaskedLM`.

    Attributes:
        task: in `evaluation.PAIR_TASKS`.
        make_pairs: returns ids and segments (B, T) of pairs, and their labels (B,).
    """

    task: ClassVar[str]
    make_pairs: ClassVar[Callable[..., tuple[Array, Array, Array]]]

    def mask_held_out(self, held_out: Array, rng: np.random.Generator) -> None:
        """Store masked sequences and pairs of segments for `metrics`."""
        super().mask_held_out(held_out, rng)
        self.pairs = self.make_pairs(held_out, np.arange(len(held_out)), self.tokenizer, rng)

    def masked_batch(self, numbers: Array, step: int) -> tuple[dict[str, Array], Labels]:
        """Return the batch (B, T) of pairs of segments, masked, and the labels of both tasks."""
        pairing = generator(self.settings.seed, "pairs", step)
        ids, types, pair_labels = self.make_pairs(self.rows, numbers, self.tokenizer, pairing)
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
    make_pairs = staticmethod(next_sentence_pairs)


class MaskedLMAndSentenceOrder(MaskedLMAndPairs):
    """Trains a model on both tasks of ALBERT's pre-training; the loss is their sum.

    Lan et al. (2020), section 3.1. The model needs both heads, as `AlbertForPreTraining` has; the
    arguments are those of `MaskedLM`. Single tokens or words are masked, not runs of them.
    """

    task = "sentence_order"
    make_pairs = staticmethod(sentence_order_pairs)

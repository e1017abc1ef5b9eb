"""Sentence-order prediction beside masked language modelling."""

from dataclasses import replace

import numpy as np

from minibert.data.corpus import as_batch
from minibert.data.rng import generator
from minibert.data.sentence_order import sentence_order_pairs
from minibert.objectives.evaluation import MaskedLMMetrics, next_sentence_accuracy
from minibert.objectives.masked_lm import MaskedLM
from minibert.objectives.shards import Labels
from minibert.typing import Array


class MaskedLMAndSentenceOrder(MaskedLM):
    """Trains a model on both tasks of ALBERT's pre-training; the loss is their sum.

    Lan et al. (2020), section 3.1. The model needs both heads, as `AlbertForPreTraining` has; the
    arguments are those of `MaskedLM`. Single tokens or words are masked, not runs of them.
    """

    def mask_held_out(self, held_out: Array, rng: np.random.Generator) -> None:
        """Store masked sequences and pairs of segments for `metrics`."""
        super().mask_held_out(held_out, rng)
        self.pairs = sentence_order_pairs(held_out, np.arange(len(held_out)), self.tokenizer, rng)

    def masked_batch(self, numbers: Array, step: int) -> tuple[dict[str, Array], Labels]:
        """Return the batch (B, T) of pairs of segments, masked, and the labels of both tasks."""
        pairing = generator(self.settings.seed, "pairs", step)
        ids, types, swapped = sentence_order_pairs(self.rows, numbers, self.tokenizer, pairing)
        ids, labels = self.masked(ids, step)
        batch = as_batch(ids, self.tokenizer.pad_token_id) | {"token_type_ids": types}
        return batch, {"labels": labels, "sentence_order_label": swapped}

    def metrics(self) -> MaskedLMMetrics:
        """Measure the model on the held-out sequences and pairs of segments."""
        pad = self.tokenizer.pad_token_id
        share = next_sentence_accuracy(self.model, *self.pairs, pad, threads=self.threads)
        return replace(super().metrics(), sentence_order=share)

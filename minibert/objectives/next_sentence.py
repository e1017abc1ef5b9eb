"""Next-sentence prediction beside masked language modelling."""

from dataclasses import replace

import numpy as np

from minibert.data.corpus import as_batch
from minibert.data.next_sentence import next_sentence_pairs
from minibert.data.rng import generator
from minibert.objectives.evaluation import MaskedLMMetrics, next_sentence_accuracy
from minibert.objectives.masked_lm import MaskedLM
from minibert.objectives.shards import Labels
from minibert.typing import Array


class MaskedLMAndNextSentence(MaskedLM):
    """Trains a model on both tasks of BERT's pre-training; the loss is their sum.

    Devlin et al. (2019), section 3.1. The model needs both heads, as `BertForPreTraining` has; the
    arguments are those of `MaskedLM`.
    """

    def mask_held_out(self, held_out: Array, rng: np.random.Generator) -> None:
        """Store masked sequences and sentence pairs for `metrics`."""
        super().mask_held_out(held_out, rng)
        self.pairs = next_sentence_pairs(held_out, np.arange(len(held_out)), self.tokenizer, rng)

    def masked_batch(self, numbers: Array, step: int) -> tuple[dict[str, Array], Labels]:
        """Return the batch (B, T) of sentence pairs, masked, and the labels of both tasks."""
        pairing = generator(self.settings.seed, "pairs", step)
        ids, types, follows = next_sentence_pairs(self.rows, numbers, self.tokenizer, pairing)
        ids, labels = self.masked(ids, step)
        batch = as_batch(ids, self.tokenizer.pad_token_id) | {"token_type_ids": types}
        return batch, {"labels": labels, "next_sentence_label": follows}

    def metrics(self) -> MaskedLMMetrics:
        """Measure the model on the held-out sequences and sentence pairs."""
        pad = self.tokenizer.pad_token_id
        ids, types, labels = self.pairs
        share = next_sentence_accuracy(self.model, ids, types, labels, pad, threads=self.threads)
        return replace(super().metrics(), next_sentence=share)

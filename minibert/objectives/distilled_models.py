"""What a student can be: a masked language model, a classifier of texts, or a body alone."""

from typing import Any

import numpy as np

from minibert.data.corpus import PackedSequences, as_batch
from minibert.data.sampling import batch_indices
from minibert.functional import IGNORED
from minibert.models.bert import BertBased
from minibert.models.inputs import Batch
from minibert.models.masked_lm import positions_of
from minibert.objectives.base import Evaluation
from minibert.objectives.distillation import Distilled
from minibert.objectives.evaluation import masked_lm_metrics, mean_cosine
from minibert.objectives.masked_lm import MaskedLM
from minibert.objectives.shards import Shard, split_batch
from minibert.objectives.supervised import Supervised, evaluate
from minibert.tokenization import PreTrainedTokenizer
from minibert.typing import Array


class DistilledMaskedLM(Distilled, MaskedLM):
    """Trains a student to predict masked tokens as they are, and as its teacher does.

    Sanh et al. (2019), section 3. The further arguments are those of `MaskedLM`; with
    `settings.soft_tokens` "all", as there, the teacher is also imitated where nothing is masked.
    Evaluations measure the student as a masked LM.
    """

    def read(self, batch: Batch, labels: Any) -> tuple[list[Array | None], Array, Array]:
        """Return the tokens (B, R) with a label or a soft target; see `Distilled.read`."""
        labels = self.model.match(batch, labels)  # (B, T)
        masked = labels != IGNORED
        soft = self._has_soft_target(batch.attention_mask, labels)
        rows = positions_of(masked | soft if self.settings.soft_weight else masked)
        labels, soft = (np.take_along_axis(each, rows, axis=1) for each in (labels, soft))
        return [rows, rows], labels, soft  # (B, T) -> (B, R)

    def count_soft(self, batch: dict[str, Array], labels: Any) -> int:
        """Return the number of tokens with a soft target."""
        return int(self._has_soft_target(batch["attention_mask"], labels).sum())

    def score(self, model: BertBased) -> str:
        """Return the loss and the accuracy on the held-out masked tokens, rounded."""
        pad = self.tokenizer.pad_token_id
        ids, labels = self.held_out_ids, self.held_out_labels
        return str(masked_lm_metrics(model, ids, labels, pad, threads=self.threads))

    def _has_soft_target(self, attention_mask: Array, labels: Array) -> Array:
        found: Array = labels != IGNORED
        return attention_mask != 0 if self.settings.soft_tokens == "all" else found


class DistilledClassifier(Distilled, Supervised):
    """Trains a student to predict the classes of texts, or their numbers, as its teacher does.

    The further arguments are those of `Supervised`. Numbers are compared in the unit of the logits.
    """

    def read(self, batch: Batch, labels: Any) -> tuple[list[Array | None], Array, None]:
        """Return [CLS], or None for a mean, and the labels, (B,) or (B, C); see `Distilled.read`.

        Every text has a soft target.
        """
        rows = [each.rows_read(batch) for each in (self.model, self.teacher)]
        return rows, self.model.match(batch, labels), None

    def count_soft(self, batch: dict[str, Array], labels: Any) -> int:
        """Return the number of texts, times that of the labels that a text may have."""
        return np.size(labels)

    def score(self, model: BertBased) -> str:
        """Return the metrics on the held-out texts, rounded."""
        assert self.held_out is not None
        held_out, threads = self.held_out, self.threads
        return str(evaluate(model, self.tokenizer, self.task, held_out, threads=threads))


class DistilledHiddenStates(Distilled):
    """Trains a student to have the hidden states of a teacher without a head that it needs.

    Evaluations measure the mean cosine of the hidden states of both.

    Args:
        model: the student, a `BertModel`.
        teacher: as in `Distilled`.
        tokenizer: supplies the padding.
        rows (S, T): packed sequences to train on; nothing is masked.
        held_out (S', T): packed sequences to evaluate on; None: no evaluation.
        settings: batch size, shards, steps, seed, and the weight of the hidden states.
        threads: number of batches evaluated at a time; None: one per core.
    """

    def __init__(
        self,
        model: BertBased,
        teacher: BertBased,
        tokenizer: PreTrainedTokenizer,
        rows: PackedSequences | Array,
        held_out: Array | None,
        settings: Any,
        threads: int | None = None,
    ):
        super().__init__(model, teacher)
        self.tokenizer, self.rows, self.held_out = tokenizer, rows, held_out
        self.settings, self.threads = settings, threads

    def shards(self, step: int) -> list[Shard]:
        """Return the shards of a step, from its number alone."""
        numbers = batch_indices(step, len(self.rows), self.settings.batch_size, self.settings.seed)
        batch = as_batch(self.rows[numbers], self.tokenizer.pad_token_id)
        return split_batch(batch, numbers, self.settings.shards, trim=True)

    def count(self, shard: Shard) -> Array:
        """Return 0 soft targets, 0 labels and the number of tokens, (3,)."""
        return np.array([0, 0, self.tokens(shard)])

    def read(self, batch: Batch, labels: Any) -> tuple[list[Array | None], None, None]:
        """Return all tokens without labels, because no head is used; see `Distilled.read`."""
        return [None, None], None, None

    def cosine(self, model: BertBased) -> float:
        """Return the mean cosine of a model's and the teacher's hidden states, held-out."""
        pad, ids = self.tokenizer.pad_token_id, self.held_out
        assert ids is not None
        return mean_cosine(model, self.teacher, ids, pad, threads=self.threads)

    def score(self, model: BertBased) -> str:
        """Return the mean cosine on the held-out sequences, rounded."""
        return f"cosine {self.cosine(model):.4f}"

    def evaluate(self, step: int) -> Evaluation | None:
        """Return the mean cosine on the held-out sequences; None without them."""
        if self.held_out is None:
            return None
        cosine = self.cosine(self.model)
        return f"held-out cosine {cosine:.4f}", {"held_out_cosine": cosine}

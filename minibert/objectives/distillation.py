"""Distillation: a student learns from the predictions and the hidden states of its teacher.

    loss = w_soft · T² KL(p_teacher ‖ p_student) + w_label · (loss of the labels)
           + w_hidden · (1 - cos(x_student, x_teacher)),   x the output of the last block

Hinton et al. (2015); Sanh et al. (2019), section 2 and 3. Each term is a mean over its own count:
the soft targets that are compared, the labels, and the tokens without padding.

What a teacher says of a sequence depends on no other sequence. So it is computed within the shard,
without a first phase, and the logits (N, V) of a whole batch are never in memory.
"""

from typing import Any, Literal, Protocol

import numpy as np

from minibert.data.corpus import PackedSequences, as_batch
from minibert.data.sampling import batch_indices
from minibert.functional import (
    IGNORED,
    gather_backward,
    gather_forward,
)
from minibert.models.bert import BertBased
from minibert.models.inputs import Batch
from minibert.models.masked_lm import positions_of
from minibert.objectives.base import Evaluation, ModelObjective
from minibert.objectives.distillation_losses import (
    cosine_embedding_backward,
    cosine_embedding_forward,
    kl_divergence_backward,
    kl_divergence_forward,
)
from minibert.objectives.evaluation import masked_lm_metrics, mean_cosine
from minibert.objectives.masked_lm import MaskedLM
from minibert.objectives.shards import Shard, split_batch
from minibert.objectives.supervised import Supervised, evaluate
from minibert.parameters import Parameters
from minibert.tokenization import PreTrainedTokenizer
from minibert.typing import Array, Rng

SoftTokens = Literal["all", "masked"]
SHARED = ("vocab_size", "type_vocab_size", "hidden_size", "max_position_embeddings", "num_labels")


class DistillationSettings(Protocol):
    """The settings that decide the loss of a student; `training.Distillation` has them."""

    @property
    def temperature(self) -> float:
        """T, which softens the predictions of both models."""

    @property
    def soft_weight(self) -> float:
        """The weight of the soft targets."""

    @property
    def label_weight(self) -> float:
        """The weight of the labels: masked tokens, or classes."""

    @property
    def hidden_weight(self) -> float:
        """The weight of the hidden states."""

    @property
    def soft_tokens(self) -> SoftTokens:
        """The tokens for which a masked LM has soft targets."""


class Distilled(ModelObjective):
    """The loss of a student on shards of (batch, labels), against the outputs of its teacher.

    A subclass says which tokens the head reads (`read`) and how many soft targets there are
    (`count_soft`); its constructor sets `settings` (`DistillationSettings`).

    Args:
        model: the student.
        teacher: a model of the same class, vocabulary and width. It is not trained, and computes
            without dropout.
        arguments, options: those of the objective without a teacher, from `tokenizer` on.

    Raises:
        ValueError: student and teacher do not fit; the message names the size.
    """

    model: Any
    settings: Any

    def __init__(self, model: Any, teacher: Any, *arguments: Any, **options: Any):
        for name in SHARED:
            own, other = (getattr(each.config, name) for each in (model, teacher))
            if own != other:
                raise ValueError(f"teacher: expected {name} {own}, the student's, got {other}")
        if None is not model.vocabulary != teacher.vocabulary is not None:
            raise ValueError("teacher: expected the student's vocabulary, got another")
        self.teacher: Any = teacher
        super().__init__(model, *arguments, **options)

    def read(self, batch: Batch, labels: Any) -> tuple[Array | None, Any, Array | None]:
        """Return the tokens that the head reads, their labels, and which have soft targets.

        Returns:
            rows (B, R), None if the head is not used; the labels of the logits; and booleans, of
            the logits without their last axis, None if all have soft targets.
        """
        raise NotImplementedError

    def count_soft(self, batch: dict[str, Array], labels: Any) -> int:
        """Return the number of soft targets."""
        raise NotImplementedError

    def count(self, shard: Shard) -> Array:
        """Return the numbers of soft targets, labels and tokens, (3,)."""
        batch, labels = shard
        soft = self.count_soft(dict(batch), labels)
        return np.array([soft, self.model.count(labels), self.tokens(shard)])

    def score(self, model: Any) -> str:
        """Measure a model of the student's class on the held-out texts, as text (str)."""
        raise NotImplementedError

    def loss_and_grads(
        self, shard: Shard, extra: Any, rng: Rng, grads: Parameters, denominator: Any
    ) -> float:
        """Return the loss on the shard, and add its gradient into `grads`."""
        student, weight = self.model, self.settings.hidden_weight
        batch: Batch = student.check(**shard[0])
        rows, labels, soft = self.read(batch, shard[1])
        learning = grads.without(student.frozen_names) if student.frozen_names else grads
        # All tokens (B, T, D) if the hidden states are compared; otherwise those of the head.
        computed = None if weight else rows
        scope, own_scope = student.params.scope(student.prefix), learning.scope(student.prefix)
        x, cache = student.bert.forward(scope, batch, computed, rng)
        teacher_scope = self.teacher.params.scope(self.teacher.prefix)
        target, _ = self.teacher.bert.forward(teacher_scope, batch, computed, keep=False)
        loss, dx = 0.0, None
        if weight:
            similarity, cosines = cosine_embedding_forward(
                x, target, batch.attention_mask, denominator[2]
            )
            loss, dx = weight * similarity, weight * cosine_embedding_backward(cosines)
        if rows is not None:
            read, target = (
                gather_forward(each, rows) if weight else each for each in (x, target)
            )  # (B, R, D)
            own, dread = self._head(read, target, labels, soft, rng, learning, denominator)
            loss += own
            if dx is None:
                dx = dread
            else:
                gather_backward(dread, rows, dx)
        student.bert.backward(dx, cache, scope, own_scope)
        return loss

    def _head(
        self,
        x: Array,
        target: Array,
        labels: Any,
        soft: Array | None,
        rng: Rng,
        grads: Any,
        denominator: Array,
    ) -> tuple[float, Array]:
        """Return the loss of the logits, and its gradient dx (B, R, D); add into `grads`.

        Args:
            x (B, R, D), target (B, R, D): what the heads of student and teacher read.
            labels, soft: as `read` returns them.
            rng: draws the dropout masks.
            grads: the gradients of the student's parameters.
            denominator (3,): as `count`.
        """
        student, settings = self.model, self.settings
        logits, cache = student.head_forward(x, rng)
        own, labels_cache = student.criterion_forward(logits, labels, denominator[1])
        dlogits = settings.label_weight * student.criterion_backward(labels_cache)
        loss: float = settings.label_weight * own
        if settings.soft_weight:
            goal, _ = self.teacher.head_forward(target)
            own, soft_cache = kl_divergence_forward(
                logits, goal, settings.temperature, soft, denominator[0]
            )
            dlogits += settings.soft_weight * kl_divergence_backward(soft_cache)
            loss += settings.soft_weight * own
        dx: Array = student.head_backward(dlogits, cache, grads)
        return loss, dx


class DistilledMaskedLM(Distilled, MaskedLM):
    """Trains a student to predict masked tokens as they are, and as its teacher does.

    Sanh et al. (2019), section 3. The further arguments are those of `MaskedLM`; with
    `settings.soft_tokens` "all", as there, the teacher is also imitated where nothing is masked.
    Evaluations measure the student as a masked LM.
    """

    def read(self, batch: Batch, labels: Any) -> tuple[Array, Array, Array]:
        """Return the tokens (B, R) with a label or a soft target; see `Distilled.read`."""
        labels = self.model.match(batch, labels)  # (B, T)
        masked = labels != IGNORED
        soft = self._has_soft_target(batch.attention_mask, labels)
        rows = positions_of(masked | soft if self.settings.soft_weight else masked)
        labels, soft = (np.take_along_axis(each, rows, axis=1) for each in (labels, soft))
        return rows, labels, soft  # (B, T) -> (B, R)

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
    """Trains a student to predict the classes of texts as its teacher does.

    The further arguments are those of `Supervised`.

    Raises:
        ValueError: a text of the teacher may have several classes, or is put on a scale; or the
            head reads the mean over the tokens instead of [CLS].
    """

    def __init__(self, model: Any, teacher: Any, *arguments: Any, **options: Any):
        single = "single_label_classification"
        if teacher.problem != single:
            raise ValueError(f"teacher: expected one for {single}, got {teacher.problem}")
        for name, each in (("teacher", teacher), ("model", model)):
            if getattr(each.config, "classifier_pooling", "cls") != "cls":
                raise ValueError(f"{name}: expected classifier_pooling cls, got mean")
        super().__init__(model, teacher, *arguments, **options)

    def read(self, batch: Batch, labels: Any) -> tuple[Array | None, Array, None]:
        """Return [CLS] and the labels (B,); every text has a soft target."""
        return self.model.rows_read(batch), self.model.match(batch, labels), None

    def count_soft(self, batch: dict[str, Array], labels: Any) -> int:
        """Return the number of texts."""
        return len(labels)

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
        """Return the number of tokens as the last of (3,); there are no labels."""
        return np.array([0, 0, self.tokens(shard)])

    def read(self, batch: Batch, labels: Any) -> tuple[None, None, None]:
        """Return that no head is used."""
        return None, None, None

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

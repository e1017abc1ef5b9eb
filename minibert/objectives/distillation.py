"""Distillation: a student learns from the predictions and the hidden states of its teacher.

    loss = w_soft · (soft loss of the predictions) + w_label · (loss of the labels)
           + w_hidden · (1 - cos(x_student, x_teacher)),   x the output of the last block

Hinton et al. (2015); Sanh et al. (2019), sections 2 and 3. Each term is a mean over its own count:
the soft targets that are compared, the labels, and the tokens without padding. The soft loss is
T² KL(p_teacher ‖ p_student) at a temperature T, of numbers the squared error; see `SOFT_CRITERIA`.

What a teacher says of a sequence depends on no other sequence. So it is computed within the shard,
without a first phase, and the logits (N, V) of a whole batch are never in memory.
"""

from typing import Any, Literal, Protocol

import numpy as np

from minibert.functional import gather_backward, gather_forward
from minibert.models.inputs import Batch
from minibert.models.pooling import mean_pooling_backward, mean_pooling_forward
from minibert.objectives.base import ModelObjective
from minibert.objectives.distillation_losses import (
    SOFT_CRITERIA,
    cosine_embedding_backward,
    cosine_embedding_forward,
)
from minibert.objectives.shards import Shard
from minibert.parameters import Parameters
from minibert.typing import Array, Rng

SoftTokens = Literal["all", "masked"]
SHARED = ("vocab_size", "type_vocab_size", "hidden_size", "max_position_embeddings", "num_labels")
ONE_ANSWER = "single_label_classification"  # also of a masked token


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
        """The weight of the labels: the masked tokens, or the labels of the texts."""

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
        problems = [getattr(each, "problem", ONE_ANSWER) for each in (model, teacher)]
        if problems[0] != problems[1]:
            raise ValueError(f"teacher: expected one for {problems[0]}, got {problems[1]}")
        if len({model.vocabulary, teacher.vocabulary} - {None}) > 1:
            raise ValueError("teacher: expected the student's vocabulary, got another")
        self.teacher: Any = teacher
        self.soft_forward, self.soft_backward = SOFT_CRITERIA[problems[0]]
        super().__init__(model, *arguments, **options)

    def read(self, batch: Batch, labels: Any) -> tuple[list[Array | None], Any, Array | None]:
        """Return the tokens that the heads read, their labels, and which have soft targets.

        Returns:
            rows (B, R) of student and teacher, None for all tokens; the labels of the logits, None
            if the heads are not used; and booleans, of the logits without their last axis, None if
            all have soft targets.
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
        student, teacher, weight = self.model, self.teacher, self.settings.hidden_weight
        batch: Batch = student.check(**shard[0])
        (own_rows, other_rows), labels, soft = self.read(batch, shard[1])
        learning = grads.without(student.frozen_names) if student.frozen_names else grads
        scope, own_scope = student.params.scope(student.prefix), learning.scope(student.prefix)
        other_scope = teacher.params.scope(teacher.prefix)
        # All tokens (B, T, D) if the hidden states are compared; otherwise those of the heads.
        own_computed, other_computed = (None, None) if weight else (own_rows, other_rows)
        x, cache = student.bert.forward(scope, batch, own_computed, rng)
        target, _ = teacher.bert.forward(other_scope, batch, other_computed, keep=False)
        loss, dx = 0.0, None
        if weight:
            similarity, cosines = cosine_embedding_forward(
                x, target, batch.attention_mask, denominator[2]
            )
            loss, dx = weight * similarity, weight * cosine_embedding_backward(cosines)
        if labels is not None:
            own_rows, other_rows = (own_rows, other_rows) if weight else (None, None)
            read, weights = _read_forward(student, batch, x, own_rows)
            target, _ = _read_forward(teacher, batch, target, other_rows)
            own, dread = self._head(read, target, labels, soft, rng, learning, denominator)
            loss += own
            dx = _read_backward(dread, weights, own_rows, dx)
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
            own, soft_cache = self.soft_forward(
                logits, goal, settings.temperature, soft, denominator[0]
            )
            dlogits += settings.soft_weight * self.soft_backward(soft_cache)
            loss += settings.soft_weight * own
        dx: Array = student.head_backward(dlogits, cache, grads)
        return loss, dx


def _read_forward(
    model: Any, batch: Batch, x: Array, rows: Array | None
) -> tuple[Array, Array | None]:
    """Return what the head reads of the tokens x, (B, R, D), and the weights of a mean (B, T).

    Args:
        model: whose head it is.
        batch: of the tokens.
        x (B, T, D): all of them; or (B, R, D), if `rows` is None and the head reads no mean.
        rows (B, R): the positions of those that the head reads, unless x is just these.
    """
    if getattr(model, "reads_mean", False):
        mean, weights = mean_pooling_forward(x, batch.attention_mask)
        return mean[:, None], weights  # (B, D) -> (B, 1, D)
    return (x if rows is None else gather_forward(x, rows)), None


def _read_backward(
    dread: Array, weights: Array | None, rows: Array | None, dx: Array | None
) -> Array:
    """Gradient of `_read_forward`, added to dx (B, T, D) if there is one."""
    if weights is not None:
        dread = mean_pooling_backward(dread[:, 0], weights)  # (B, 1, D) -> (B, D) -> (B, T, D)
    if dx is None:
        return dread
    if rows is None:
        return dx + dread
    gather_backward(dread, rows, dx)
    return dx

"""The objective: what a model is trained to do.

An objective owns batches, labels and evaluation; a model's head owns logits and the loss function.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeAlias

import numpy as np

from minibert.objectives.shards import Shard
from minibert.parameters import Parameters
from minibert.typing import Array, Rng

# NaN and infinity are reported once, by the step, and not by each function that meets them.
quiet = partial(np.errstate, over="ignore", invalid="ignore", divide="ignore")

Evaluation: TypeAlias = tuple[str, dict[str, float]]  # a line for the log, figures for the history


class BatchSettings(Protocol):
    """The settings that decide the batches of a run; `training.Settings` has them."""

    @property
    def steps(self) -> int:
        """Number of updates."""

    @property
    def batch_size(self) -> int:
        """B, sequences in a batch."""

    @property
    def shards(self) -> int:
        """Number of shards into which a batch is cut."""

    @property
    def seed(self) -> int:
        """Seed of the run."""


class Objective:
    """Produces the batches of a run and the loss on their shards.

    A batch is cut into shards, which the engine computes in parallel. The loss is a sum over the
    shards, each divided by the same denominator: the total of `count`. So it does not depend on
    the number of shards.

    Some losses are not such a sum: in-batch negatives compare each sequence with all others of the
    batch. With `two_phase` set, the engine first computes `first` for all shards in parallel, then
    `between` on all results, and hands each shard its own part as `extra`. On several ranks, each
    computes `first` for its own shards, and `between` gets the results of all.

    Attributes:
        two_phase: whether `first` and `between` are called.
    """

    two_phase = False

    def shards(self, step: int) -> Sequence[Any]:
        """Return the shards of a step, from its number alone."""
        raise NotImplementedError

    def count(self, shard: Any) -> float | Array:
        """Return the shard's number of labels; summed over shards it is the denominator."""
        raise NotImplementedError

    def tokens(self, shard: Any) -> int:
        """Return the shard's number of tokens, for the speed that is reported."""
        raise NotImplementedError

    def first(self, shard: Any, rng: Rng) -> Any:
        """Compute the part of a shard that the other shards need, without keeping caches.

        Args:
            shard: one of `shards`.
            rng: draws the same dropout masks as that of `loss_and_grads` for this shard.
        """
        raise NotImplementedError

    def between(self, parts: list[Any]) -> list[Any]:
        """Turn the results of `first`, in shard order, into an `extra` for each shard."""
        raise NotImplementedError

    def loss_and_grads(
        self, shard: Any, extra: Any, rng: Rng, grads: Parameters, denominator: Any
    ) -> float:
        """Return the shard's part of the loss (float), and add its gradient into `grads`.

        Args:
            shard: one of `shards`.
            extra: the shard's part of `between`; None without two phases.
            rng: draws the dropout masks.
            grads: the gradients of the model's parameters.
            denominator: the total of `count` over all shards, which divides the loss.
        """
        raise NotImplementedError

    def evaluate(self, step: int) -> Evaluation | None:
        """Evaluate after a step: a line for the log and figures for the history, or None."""
        return None


class ModelObjective(Objective):
    """The loss of a model on shards of (batch, labels).

    Args:
        model: has the methods `count` and `loss_and_grads`.
        shards: returns the shards of a step; None: a subclass defines `shards`, or an engine is
            given them.
        evaluate: returns a line for the log and figures for the history; None: no evaluation.
    """

    def __init__(
        self,
        model: Any,
        shards: Callable[[int], Sequence[Shard]] | None = None,
        evaluate: Callable[[int], Evaluation | None] | None = None,
    ):
        self.model, self._shards, self._evaluate = model, shards, evaluate

    def shards(self, step: int) -> Sequence[Shard]:
        """Return the shards of a step, from its number alone."""
        if self._shards is None:
            raise ValueError(f"{type(self).__name__}: expected a function for its shards, got none")
        return self._shards(step)

    def count(self, shard: Shard) -> float | Array:
        """Return the shard's number of labels, several where the loss is a sum."""
        counts: float | Array = self.model.count(shard[1])
        return counts

    def tokens(self, shard: Shard) -> int:
        """Return the shard's number of tokens without padding."""
        batch, _ = shard
        mask = batch.get("attention_mask")
        return int(np.size(batch["input_ids"]) if mask is None else np.sum(mask))

    def loss_and_grads(
        self, shard: Shard, extra: Any, rng: Rng, grads: Parameters, denominator: Any
    ) -> float:
        """Return the model's loss on the shard, and add its gradient into `grads`."""
        batch, labels = shard
        loss: float
        loss, _ = self.model.loss_and_grads(
            batch, labels, rng, grads=grads, denominator=denominator
        )
        return loss

    def evaluate(self, step: int) -> Evaluation | None:
        """Evaluate after a step, if there is a function for it."""
        return None if self._evaluate is None else self._evaluate(step)

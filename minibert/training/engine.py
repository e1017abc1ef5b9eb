"""The engine: one training step, from shards through one gradient vector to one update."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert.data.rng import generator
from minibert.gradients import Gradients
from minibert.models import PreTrained
from minibert.objectives.base import ModelObjective, Objective, Trainable, quiet
from minibert.objectives.shards import Labels, Shard, split_batch
from minibert.optim import Optimizer, clip_scale
from minibert.runtime.blas import one_blas_thread
from minibert.runtime.malloc import keep_freed_memory
from minibert.runtime.threads import Team, number_of_threads
from minibert.training.ranks import ALONE, Ranks
from minibert.typing import Array, Rng

__all__ = ["Engine", "Labels", "Shard", "StepResult", "split_batch"]


@dataclass(frozen=True)
class StepResult:
    """The result of a step: the loss of the batch, and the gradient norm before clipping."""

    loss: float
    norm: float


class Engine:
    """Trains a model step by step, the shards of a step in parallel.

    The dropout generator is derived from (seed, step, shard), the gradients are added in shard
    order, and BLAS runs on one thread. So a step depends on the parameters, the optimizer's state,
    the step's number and its shards only: any number of threads gives the same bits.

    A thread needs memory for one shard at a time. So a batch that is larger than memory only needs
    more shards, which is gradient accumulation.

    Args:
        model: the model to train.
        optimizer: the optimizer of the model's parameters.
        seed: seed of the dropout masks.
        clip: the largest global norm of the gradient.
        threads: number of shards computed at a time; None: one per core.
        ranks: the processes that share the shards; see `training.ranks`.
        objective: the loss on a shard; None: the model's own, on pairs of a batch and its labels.

    Attributes:
        grads: the gradient of the latest step.

    Raises:
        TypeError: there is no objective, and the model has no loss.
        ValueError: `threads` is less than 1.
    """

    def __init__(
        self,
        model: PreTrained,
        optimizer: Optimizer,
        *,
        seed: int = 0,
        clip: float = 1.0,
        threads: int | None = None,
        ranks: Ranks = ALONE,
        objective: Objective | None = None,
    ):
        self.model, self.optimizer, self.seed, self.clip = model, optimizer, seed, clip
        self.objective = _loss_of(model) if objective is None else objective
        self.ranks = ranks
        self.threads = number_of_threads(threads, ranks.neighbours)
        self._team = Team(self.threads)
        keep_freed_memory()
        self.grads = Gradients(model.params.layout, dtype=model.params.vector.dtype)
        self._spare: list[Gradients] = []  # buffers of the same layout

    def step(self, shards: Sequence[Any], rate: float) -> StepResult:
        """Compute the gradient of a batch in shards, and update the parameters.

        Args:
            shards: the parts of the batch, as the objective defines them; (batch, labels) for a
                model's own loss. Their gradients are added in this order.
            rate: the learning rate.

        Raises:
            FloatingPointError: the loss or the gradient is not finite; nothing was updated.
        """
        number = self.optimizer.step
        own = self.ranks.part_of(len(shards))  # all of them, except with several ranks
        with one_blas_thread(), quiet():
            extras = self._exchange(shards, own)
            squared: float | None
            loss, squared = self._accumulate(shards, extras, own)
            if self.ranks.size > 1:
                loss, squared = self.ranks.sum_up(self.grads.vector, loss), None
            norm, scale = clip_scale(self.grads.pieces(), self.clip, squared)
        if not np.isfinite(loss) or not np.isfinite(norm):
            raise FloatingPointError(
                f"step {number + 1}: the loss is {loss:.4g} and the gradient norm {norm:.4g}; "
                "a lower learning rate or a longer warm-up may help"
            )
        self._update(rate, scale)
        return StepResult(loss, norm)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Keep the threads and the limit of BLAS during a run, instead of a step, in a `with`."""
        with one_blas_thread():
            try:
                yield
            finally:
                self._team.rest()

    def dropout_rng(self, shard: int) -> Rng:
        """Return the dropout generator of one shard in the current step."""
        return generator(self.seed, "dropout", self.optimizer.step, shard)

    def _exchange(self, shards: Sequence[Any], own: range) -> list[Any]:
        """Return what each shard needs from the others; None for each without two phases."""
        if not self.objective.two_phase:
            return [None] * len(shards)
        parts: list[Any] = []

        @one_blas_thread()
        def work(place: int) -> Any:
            with quiet():
                return self.objective.first(shards[own[place]], self.dropout_rng(own[place]))

        self._team.reduce(work, lambda _, part: parts.append(part), len(own))
        extras = self.objective.between(self.ranks.gather(parts))
        if len(extras) != len(shards):
            raise ValueError(
                f"{type(self.objective).__name__}.between: expected {len(shards)} parts, one per "
                f"shard, got {len(extras)}"
            )
        return extras

    def _accumulate(
        self, shards: Sequence[Any], extras: list[Any], own: range
    ) -> tuple[float, float]:
        """Write the sum of the own shards' gradients to `self.grads`.

        Returns:
            the sum of the losses, and the sum of the squares of the gradient.
        """
        denominator = self._denominator(shards)
        free = [self.grads, *self._spare]  # buffers; those of a failed step are not lost
        grads: list[Gradients] = []  # the sum so far, and the last shard's gradient
        losses: list[float] = []

        @one_blas_thread()
        def work(place: int) -> tuple[float, Gradients]:
            i = own[place]
            room = self._room(free)
            with quiet():
                loss = self.objective.loss_and_grads(
                    shards[i], extras[i], self.dropout_rng(i), room, denominator
                )
            return loss, room

        def add(place: int, result: tuple[float, Gradients]) -> None:
            losses.append(result[0])
            grads.append(result[1])
            if len(grads) == 2 and place + 1 < len(own):  # the last one is added by all threads
                with quiet():
                    grads[0].add(grads[1])
                free.append(grads.pop())

        self._team.reduce(work, add, len(own))
        self.grads = grads[0] if grads else self._room(free)
        squares = self._team.run_all(self.grads.addition(grads[1] if len(grads) > 1 else None))
        self._spare = free + grads[1:]
        return sum(losses), sum(squares)

    def _room(self, free: list[Gradients]) -> Gradients:
        """Return a gradient to which nothing was added, in a free buffer if there is one."""
        try:
            grads = free.pop()  # several threads take buffers, so the list is not asked first
        except IndexError:
            return self.grads.zeros_like()
        grads.reset()
        return grads

    def _denominator(self, shards: Sequence[Any]) -> Array:
        """Return the total count of labels; 1 where nothing counts, so that the loss is 0."""
        counts = sum(self.objective.count(shard) for shard in shards)
        return np.where(np.asarray(counts) > 0, counts, 1)

    def _update(self, rate: float, scale: float) -> None:
        """Run the optimizer's jobs on the threads."""
        optimizer, number = self.optimizer, self.optimizer.step
        rows: dict[str, Any] = {}
        if getattr(optimizer, "takes_rows", False):
            rows["rows"] = self.grads.nonzero_rows()
        self._team.run_all(list(optimizer.jobs(self.grads.filled(), rate, scale, **rows)))
        if self.optimizer.step != number + 1:
            raise ValueError(
                f"{type(self.optimizer).__name__}.jobs: expected step {number + 1} after an "
                f"update, got {self.optimizer.step}"
            )


def _loss_of(model: PreTrained) -> ModelObjective:
    """Return the objective that is a model's own loss."""
    if not isinstance(model, Trainable):
        raise TypeError(
            f"model: expected one with a loss (count and loss_and_grads), got "
            f"{type(model).__name__}; give an objective"
        )
    return ModelObjective(model)

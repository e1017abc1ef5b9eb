"""One step of training: shards in, one gradient vector out, one update of the flat vector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from minibert.data.batching import generator
from minibert.models import PreTrained
from minibert.threads import in_turns, keep_freed_memory, one_blas_thread, usable_cores
from minibert.training.optimizer import AdamW, clip_scale

# A number that is not finite is reported once, by the step, and not by each function it meets.
QUIET = partial(np.errstate, over="ignore", invalid="ignore", divide="ignore")
Labels = np.ndarray | Mapping[str, np.ndarray]  # by their names, where a head has several
Shard = tuple[Mapping[str, np.ndarray], Labels]  # a part of a batch, and its labels


@dataclass(frozen=True)
class StepResult:
    """What a step did: the batch's loss, and the gradient's norm before clipping."""

    loss: float
    norm: float


class Engine:
    """Trains a model by steps, the shards of a step side by side on the cores.

    Dropout's generator is derived from (seed, step, shard), the shards' gradients are added in the
    shards' order, and BLAS runs on one thread. So a step depends on nothing but the parameters, the
    optimizer's moments, its number and its shards: any number of threads gives the same bits.

    Args:
        model: what to train.
        optimizer: of the model's parameters.
        seed: of the dropout.
        clip: the longest gradient, as a global norm.
        threads: how many shards to work on at a time; None: one for each core.
    """

    def __init__(
        self,
        model: PreTrained,
        optimizer: AdamW,
        *,
        seed: int = 0,
        clip: float = 1.0,
        threads: int | None = None,
    ):
        self.model, self.optimizer, self.seed, self.clip = model, optimizer, seed, clip
        self.threads = threads or usable_cores()
        keep_freed_memory()
        self.grads = model.params.zeros_like()
        self._parts = [model.params.zeros_like() for _ in range(self.threads)]

    def step(self, shards: Sequence[Shard], rate: float) -> StepResult:
        """Compute the gradient of a batch that comes in parts, and update the parameters.

        Args:
            shards: the parts; their gradients are added in this order.
            rate: the learning rate.

        Raises:
            FloatingPointError: the loss or the gradient is not finite; nothing was updated.
        """
        number = self.optimizer.step
        denominator = np.maximum(sum(self.model.count(labels) for _, labels in shards), 1)

        def work(i, thread):
            batch, labels = shards[i]
            part = self._parts[thread]
            part.vector[:] = 0
            rng = generator(self.seed, "dropout", number, i)
            with QUIET():
                loss, _ = self.model.loss_and_grads(
                    batch, labels, rng, grads=part, denominator=denominator
                )
            return loss, part.vector

        def add(i, result):
            losses.append(result[0])
            with QUIET():
                self.grads.vector += result[1]

        self.grads.vector[:] = 0
        losses: list[float] = []
        with one_blas_thread(), QUIET():
            in_turns(work, add, len(shards), self.threads)
            loss = sum(losses)
            norm, scale = clip_scale(self.grads.vector, self.clip)
        if not np.isfinite(loss) or not np.isfinite(norm):
            raise FloatingPointError(
                f"step {number + 1}: the loss is {loss:.4g} and the gradient's norm {norm:.4g}; "
                "a lower learning rate or a longer warm-up may help"
            )
        self.optimizer.update(self.grads.vector, rate, scale)
        return StepResult(loss, norm)


def split_batch(batch: Mapping[str, np.ndarray], labels: Labels, parts: int) -> list[Shard]:
    """Cut a batch into `parts` shards of neighbouring rows, as equal as can be."""
    size = len(batch["input_ids"])
    cuts = np.array_split(np.arange(size), min(parts, size))
    return [(_rows_of(batch, rows), _rows_of(labels, rows)) for rows in cuts]


def _rows_of(arrays, rows):
    if isinstance(arrays, Mapping):
        return {name: array[rows] for name, array in arrays.items()}
    return arrays[rows]

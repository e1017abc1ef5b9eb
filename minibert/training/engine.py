"""One step of training: shards in, one gradient vector out, one update of the flat vector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from minibert.functional import IGNORED
from minibert.models import PreTrained
from minibert.training.optimizer import AdamW, clip_scale

Shard = tuple[Mapping[str, np.ndarray], np.ndarray]  # a part of a batch, and its labels


@dataclass(frozen=True)
class StepResult:
    """What a step did: the batch's loss, and the gradient's norm before clipping."""

    loss: float
    norm: float


class Engine:
    """Trains a model by steps.

    Dropout's generator is derived from (seed, step, shard), so a step depends on nothing but the
    parameters, the optimizer's moments and its own number.

    Args:
        model: what to train.
        optimizer: of the model's parameters.
        seed: of the dropout.
        clip: the longest gradient, as a global norm.
    """

    def __init__(self, model: PreTrained, optimizer: AdamW, *, seed: int = 0, clip: float = 1.0):
        self.model, self.optimizer, self.seed, self.clip = model, optimizer, seed, clip
        self.grads = model.params.zeros_like()

    def step(self, shards: Sequence[Shard], rate: float) -> StepResult:
        """Compute the gradient of a batch that comes in parts, and update the parameters.

        Args:
            shards: the parts; their gradients are added in this order.
            rate: the learning rate.

        Raises:
            FloatingPointError: the loss or the gradient is not finite; nothing was updated.
        """
        number = self.optimizer.step
        denominator = max(sum(int((labels != IGNORED).sum()) for _, labels in shards), 1)
        self.grads.vector[:] = 0
        loss = 0.0
        for i, (batch, labels) in enumerate(shards):
            rng = np.random.default_rng((self.seed, number, i))
            part, _ = self.model.loss_and_grads(
                batch, labels, rng, grads=self.grads, denominator=denominator
            )
            loss += part
        norm, scale = clip_scale(self.grads.vector, self.clip)
        if not np.isfinite(loss) or not np.isfinite(norm):
            raise FloatingPointError(
                f"step {number + 1}: the loss is {loss:.4g} and the gradient's norm {norm:.4g}; "
                "a lower learning rate or a longer warm-up may help"
            )
        self.optimizer.update(self.grads.vector, rate, scale)
        return StepResult(loss, norm)


def split_batch(batch: Mapping[str, np.ndarray], labels: np.ndarray, parts: int) -> list[Shard]:
    """Cut a batch into `parts` shards of neighbouring rows, as equal as can be."""
    cuts = np.array_split(np.arange(len(labels)), min(parts, len(labels)))
    return [({name: array[rows] for name, array in batch.items()}, labels[rows]) for rows in cuts]

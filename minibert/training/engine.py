"""One step of training: shards in, one gradient vector out, one update of the flat vector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from minibert.data.sampling import generator
from minibert.models import PreTrained
from minibert.optim.adamw import AdamW, clip_scale
from minibert.parameters import Parameters
from minibert.runtime.threads import in_turns, keep_freed_memory, number_of_threads, one_blas_thread
from minibert.training.ranks import ALONE, Ranks

# A number that is not finite is reported once, by the step, and not by each function it meets.
QUIET = partial(np.errstate, over="ignore", invalid="ignore", divide="ignore")
Labels = np.ndarray | Mapping[str, np.ndarray]  # by their names, where a head has several
# A smaller vector is updated faster by one thread: the passes over its pieces are so short that two
# threads wait for each other. An update of tiny takes one thread 3.3 ms and two 5.2, of mini 11.2
# and 12.2, of small 33 and 26.
SHARED = 16_000_000
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

    A thread needs memory for one shard at a time. So a batch that is larger than memory needs
    nothing but more shards: that is gradient accumulation.

    Args:
        model: what to train.
        optimizer: of the model's parameters.
        seed: of the dropout.
        clip: the longest gradient, as a global norm.
        threads: how many shards to work on at a time; None: one for each core.
        ranks: the processes that share the shards; see `training.ranks`.

    Raises:
        ValueError: no threads.
    """

    def __init__(
        self,
        model: PreTrained,
        optimizer: AdamW,
        *,
        seed: int = 0,
        clip: float = 1.0,
        threads: int | None = None,
        ranks: Ranks = ALONE,
    ):
        self.model, self.optimizer, self.seed, self.clip = model, optimizer, seed, clip
        self.ranks = ranks
        self.threads = number_of_threads(threads, ranks.neighbours)
        keep_freed_memory()
        self.grads = model.params.zeros_like()
        self._spare: list[Parameters] = []  # laid out likewise, to be used again

    def step(self, shards: Sequence[Shard], rate: float) -> StepResult:
        """Compute the gradient of a batch that comes in parts, and update the parameters.

        Args:
            shards: the parts; their gradients are added in this order.
            rate: the learning rate.

        Raises:
            FloatingPointError: the loss or the gradient is not finite; nothing was updated.
        """
        number = self.optimizer.step
        own = self.ranks.part_of(len(shards))  # all of them, unless there are other processes
        counts = sum(self.model.count(labels) for _, labels in shards)
        denominator = np.where(np.asarray(counts) > 0, counts, 1)  # nothing counts: a loss of 0
        free = [self.grads, *self._spare]  # room for gradients
        total: list[Parameters] = []
        losses: list[float] = []

        @one_blas_thread()
        def work(place):
            i = own[place]
            batch, labels = shards[i]
            try:
                part = free.pop()
                part.vector[:] = 0
            except IndexError:
                part = self.model.params.zeros_like()
            rng = generator(self.seed, "dropout", number, i)
            with QUIET():
                loss, _ = self.model.loss_and_grads(
                    batch, labels, rng, grads=part, denominator=denominator
                )
            return loss, part

        def add(_, result):
            loss, part = result
            losses.append(loss)
            if not total:
                total.append(part)  # the first one is where the others are added
                return
            with QUIET():
                total[0].vector += part.vector
            free.append(part)

        with one_blas_thread(), QUIET():
            in_turns(work, add, len(own), self.threads)
            grads = total[0] if total else self.model.params.zeros_like()
            loss = self.ranks.sum_up(grads.vector, sum(losses))
            norm, scale = clip_scale(grads.vector, self.clip)
        self.grads, self._spare = grads, free
        if not np.isfinite(loss) or not np.isfinite(norm):
            raise FloatingPointError(
                f"step {number + 1}: the loss is {loss:.4g} and the gradient's norm {norm:.4g}; "
                "a lower learning rate or a longer warm-up may help"
            )
        threads = self.threads if self.grads.vector.size >= SHARED else 1
        self.optimizer.update(self.grads.vector, rate, scale, threads)
        return StepResult(loss, norm)


def split_batch(
    batch: Mapping[str, np.ndarray], labels: Labels, parts: int, *, trim: bool = False
) -> list[Shard]:
    """Cut a batch into shards of sequences of like length.

    >>> mask = np.array([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]])
    >>> batch = {"input_ids": 7 * mask, "attention_mask": mask}
    >>> for part, labels in split_batch(batch, np.array([0, 1, 2]), 2, trim=True):
    ...     print(part["input_ids"].tolist(), labels)
    [[7, 0], [7, 7]] [1 2]
    [[7, 7, 7, 7]] [0]

    Args:
        batch: arrays of (B, ..., T).
        labels: of (B, ...); if (B, T), of tokens.
        parts: how many shards, of about as many tokens each; fewer if there are fewer sequences.
        trim: cut off the padding beyond a shard's longest sequence, from labels of tokens too.
            That changes no loss, unless padding takes part in it, as in `BertForQuestionAnswering`.
    """
    shape = batch["input_ids"].shape
    size, longest = shape[0], shape[-1]
    lengths = np.full(size, longest)
    if "attention_mask" in batch:
        used = np.asarray(batch["attention_mask"]).reshape(size, -1, longest).any(axis=1)  # (B, T)
        lengths = np.maximum((used * np.arange(1, longest + 1)).max(axis=1), 1)
    order = np.argsort(lengths, kind="stable")
    parts = min(parts, size)
    tokens = np.cumsum(lengths[order])
    cuts = [0]
    for i in range(1, parts):  # where i shares of the tokens end, but no shard is empty
        cut = int(np.searchsorted(tokens, tokens[-1] * i / parts, side="right"))
        cuts.append(min(max(cut, cuts[-1] + 1), size - parts + i))

    def part_of(arrays, rows):
        if isinstance(arrays, Mapping):
            return {name: part_of(array, rows) for name, array in arrays.items()}
        part = np.asarray(arrays)[rows]
        return part[..., : lengths[rows].max()] if trim and arrays.shape == shape else part

    return [(part_of(batch, rows), part_of(labels, rows)) for rows in np.split(order, cuts[1:])]

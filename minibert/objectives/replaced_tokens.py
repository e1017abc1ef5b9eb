"""Replaced-token detection: a small generator replaces tokens, a discriminator finds them.

    x_masked = x with [MASK] at the places m
    x̂_t ~ softmax(generator(x_masked)_t) for t in m,   x_corrupt = x with x̂ at the places m
    loss = - 1/|m| Σ_{t in m} log p_G(x_t | x_masked)
           + 50 · 1/n Σ_t BCE(discriminator(x_corrupt)_t, [x_corrupt,t ≠ x_t]),   n real tokens

Clark et al. (2020), section 2. A sample that is the token itself counts as original. The loss has
no gradient through the sample: x̂ is an integer, which is constant where it does not jump. So each
model has a backward pass of its own; they meet in the tables of embeddings, to which both add.

A sample depends on the token's own logits and on a number drawn for this token from the seed and
the step, and on no other sequence. So both phases, the replacing and the finding, are computed
within the shard, without waiting for the other shards; threads, shards and ranks draw alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibert.data.corpus import as_batch
from minibert.data.rng import generator as rng_of
from minibert.functional import IGNORED
from minibert.objectives.base import Evaluation, quiet
from minibert.objectives.evaluation import MaskedLMMetrics, in_batches
from minibert.objectives.masked_lm import MaskedLM
from minibert.objectives.shards import Labels, Shard
from minibert.parameters import Parameters, Views
from minibert.typing import Array, Rng

WEIGHT = 50.0  # of the discriminator's loss; Clark et al. (2020), section 2 and appendix A
BLOCK = 128  # weights that are summed before one of them is looked for


def sample_categories(weights: Array, draws: Array) -> Array:
    """Return a category for each row, with probabilities in proportion to the weights, (M,).

        k = min { k : Σ_{j <= k} w_j > u Σ_j w_j }

    This is the inverse of the distribution function at u. For a uniform u it is k with probability
    w_k / Σ w; equal numbers give equal categories. The running sum is first taken over blocks of
    weights and then within one of them, because of all V weights it costs half of a step of tiny:
    12 ms instead of 3 for 154 rows of 8,192 weights on one thread.

    >>> sample_categories(np.array([[1.0, 2.0, 1.0]] * 4), np.array([0.0, 0.25, 0.74, 0.75]))
    array([0, 1, 1, 2])

    Args:
        weights (M, V): not negative, such as exponentials of logits.
        draws (M,): u, from [0, 1).
    """
    rows, last = np.arange(len(weights)), weights.shape[1] - 1
    starts = np.arange(0, last + 1, BLOCK)  # (V/128,)
    sums = np.add.reduceat(weights, starts, axis=1, dtype=np.float64)  # (M, V) -> (M, V/128)
    ends = np.cumsum(sums, axis=1)
    goals = draws * ends[:, -1]  # (M,)
    blocks = _first_above(ends, goals)
    columns = starts[blocks][:, None] + np.arange(BLOCK)  # (M, 128)
    own = weights[rows[:, None], np.minimum(columns, last)] * (columns <= last)
    before = ends[rows, blocks] - sums[rows, blocks]
    places = _first_above(np.cumsum(own, axis=1, dtype=np.float64), goals - before)
    found: Array = starts[blocks] + places
    return found


def _first_above(totals: Array, goals: Array) -> Array:
    """Return the place of the first of the running totals (M, n) above a number (M,), (M,).

    A number that rounding took to the last total is moved below it.
    """
    below = np.minimum(goals, np.nextafter(totals[:, -1], 0))
    found: Array = (totals <= below[:, None]).sum(axis=1)
    return found


def replace_tokens(
    ids: Array, labels: Array, rows: Array, weights: Array, draws: Array
) -> tuple[Array, Array]:
    """Return ids with a sample at each masked place, and 1 where the sample is another token.

    Args:
        ids (B, T): the masked input.
        labels (B, T): the masked tokens, -100 elsewhere.
        rows (B, R): the tokens whose weights are given; all masked ones and others.
        weights (B·R, V): of the samples.
        draws (B, T): a number from [0, 1) for each token.

    Returns:
        ids (B, T), and integers (B, T).
    """
    original = np.where(labels == IGNORED, ids, labels)
    own, is_masked = (
        np.take_along_axis(each, rows, axis=1) for each in (draws, labels != IGNORED)
    )  # (B, T) -> (B, R)
    samples = sample_categories(weights, own.reshape(-1)).reshape(rows.shape)  # (B·R,) -> (B, R)
    replaced = original.copy()
    kept = np.take_along_axis(original, rows, axis=1)
    np.put_along_axis(replaced, rows, np.where(is_masked, samples, kept), axis=1)
    return replaced, (replaced != original).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class ReplacedTokensMetrics(MaskedLMMetrics):
    """How well the generator predicts masked tokens, and the discriminator finds replaced ones.

    Attributes:
        loss, accuracy: of the generator, on the masked tokens.
        detection_loss: the discriminator's mean binary cross-entropy in nats, over all real tokens.
        detection_accuracy: the share of real tokens of which it tells rightly whether they were
            replaced; 1 - `replaced` for a model that never says so.
        found: the share of the replaced tokens that it finds.
        replaced: the share of the real tokens that the generator replaced by another.
    """

    detection_loss: float
    detection_accuracy: float
    found: float
    replaced: float

    def __str__(self) -> str:
        """Return the metrics, rounded."""
        return (
            f"generator {super().__str__()}; discriminator loss {self.detection_loss:.3f}, "
            f"accuracy {self.detection_accuracy:.1%}, {self.found:.1%} found of "
            f"{self.replaced:.1%} replaced"
        )

    def figures(self) -> dict[str, float]:
        """Return the metrics under their names in the history; the loss is that of training."""
        return {
            "held_out_loss": self.loss + WEIGHT * self.detection_loss,
            "held_out_generator_loss": self.loss,
            "held_out_generator_accuracy": self.accuracy,
            "held_out_discriminator_loss": self.detection_loss,
            "held_out_discriminator_accuracy": self.detection_accuracy,
            "held_out_found": self.found,
            "held_out_replaced": self.replaced,
        }


class ReplacedTokens(MaskedLM):
    """Trains a generator and a discriminator at once; see the formula of this module.

    Clark et al. (2020), section 2. The arguments are those of `MaskedLM`. Every masked token is
    [MASK] in the generator's input, as in the paper; the authors' code leaves 15 % of them as they
    are. Evaluations draw with the same numbers each time.

    Args:
        model: a `GeneratorAndDiscriminator`.
    """

    model: Any

    def masked(self, ids: Array, step: int) -> tuple[Array, Array]:
        """Return the input ids (B, T) and the labels (B, T) of sequences in a step."""
        return self._all_masked(*super().masked(ids, step))

    def masked_batch(self, numbers: Array, step: int) -> tuple[dict[str, Array], Labels]:
        """Return the masked batch (B, T) of some sequences, its labels and the numbers to draw."""
        batch, labels = super().masked_batch(numbers, step)
        assert isinstance(labels, np.ndarray)
        draws = rng_of(self.settings.seed, "replacing", step).random(labels.shape)
        return batch, {"labels": labels, "draws": draws}

    def mask_held_out(self, held_out: Array, rng: np.random.Generator) -> None:
        """Store masked sequences, their labels and the numbers to draw for `metrics`."""
        super().mask_held_out(held_out, rng)
        self.held_out_ids, _ = self._all_masked(self.held_out_ids, self.held_out_labels)
        self.held_out_draws = rng.random(held_out.shape)

    def _all_masked(self, ids: Array, labels: Array) -> tuple[Array, Array]:
        """Put [MASK] at every masked place; as noise, the discriminator has the samples."""
        return np.where(labels == IGNORED, ids, self.tokenizer.mask_token_id), labels

    def count(self, shard: Shard) -> Array:
        """Return the numbers of masked tokens and of real ones, (2,)."""
        _, labels = shard
        assert isinstance(labels, Mapping)
        return np.array([self.model.generator.count(labels["labels"]), self.tokens(shard)])

    def loss_and_grads(
        self, shard: Shard, extra: Any, rng: Rng, grads: Parameters, denominator: Any
    ) -> float:
        """Return the loss on the shard, and add its gradient into `grads`."""
        (batch, labels), (own, others) = shard, self.model.gradients_of(grads)
        assert isinstance(labels, Mapping)
        loss, replaced, is_replaced = self._generate(batch, labels, rng, own, denominator[0])
        corrupt = {**batch, "input_ids": replaced}
        return loss + self._find(corrupt, is_replaced, rng, others, denominator[1])

    def _generate(
        self, batch: Mapping[str, Array], labels: Mapping[str, Array], rng: Rng, grads: Views,
        denominator: float,
    ) -> tuple[float, Array, Array]:  # fmt: skip
        """Return the generator's loss, ids (B, T) with its samples, and which are replaced."""
        model = self.model.generator
        checked = model.check(**batch)
        rows, targets = model.targets(checked, labels["labels"])
        logits, cache = model.forward(checked, rows, rng)  # (B, R, V)
        loss, loss_cache = model.criterion_forward(logits, targets, denominator)
        # Before the backward pass, which turns the exponentials into the gradient.
        found = replace_tokens(
            checked.input_ids, labels["labels"], rows, loss_cache.exponentials, labels["draws"]
        )
        model.backward(model.criterion_backward(loss_cache), cache, grads)
        return loss, *found

    def _find(
        self, batch: Mapping[str, Array], is_replaced: Array, rng: Rng, grads: Views,
        denominator: float,
    ) -> float:  # fmt: skip
        """Return the discriminator's loss with its weight λ: a sum over n / λ is λ times a mean."""
        model = self.model.discriminator
        loss: float
        loss, (loss_cache, cache) = model.loss_forward(
            batch, is_replaced, rng, denominator / WEIGHT
        )
        model.backward(model.criterion_backward(loss_cache), cache, grads)
        return loss

    def metrics(self) -> ReplacedTokensMetrics:
        """Measure both models on the held-out sequences."""
        ids, labels, draws = self.held_out_ids, self.held_out_labels, self.held_out_draws
        pad = self.tokenizer.pad_token_id

        def work(part: slice) -> dict[str, float]:
            return self._sums(as_batch(ids[part], pad), labels[part], draws[part])

        parts = in_batches(work, len(ids), self.threads)
        total = {name: sum(part[name] for part in parts) for name in parts[0]}
        masked, tokens = max(total["masked"], 1), max(total["tokens"], 1)
        return ReplacedTokensMetrics(
            loss=total["loss"] / masked,
            accuracy=total["predicted"] / masked,
            detection_loss=total["detection_loss"] / tokens,
            detection_accuracy=total["told_rightly"] / tokens,
            found=total["found"] / max(total["replaced"], 1),
            replaced=total["replaced"] / tokens,
        )

    def _sums(self, batch: dict[str, Array], labels: Array, draws: Array) -> dict[str, float]:
        """Return the sums over a held-out batch of which `metrics` are the quotients (dict)."""
        generator, discriminator = self.model.generator, self.model.discriminator
        checked = generator.check(**batch)
        rows, targets = generator.targets(checked, labels)
        with quiet():
            logits = generator.predict(checked, rows)  # (B, R, V)
            loss, cache = generator.criterion_forward(logits, targets, 1.0)
            replaced, is_replaced = replace_tokens(
                checked.input_ids, labels, rows, cache.exponentials, draws
            )
            corrupt = discriminator.check(**{**batch, "input_ids": replaced})
            answers = discriminator.match(corrupt, is_replaced)
            scores = discriminator.predict(corrupt)  # (B, T)
            detection, _ = discriminator.criterion_forward(scores, answers, 1.0)
        says = scores > 0
        counts = {
            "predicted": logits.argmax(axis=-1) == targets,
            "told_rightly": says == answers,
            "found": says & (answers == 1),
            "replaced": answers == 1,
            "masked": targets != IGNORED,
            "tokens": answers != IGNORED,
        }
        sums = {name: float(each.sum()) for name, each in counts.items()}
        return {"loss": loss, "detection_loss": detection, **sums}

    def for_card(self) -> dict[str, object]:
        """Return the objective, its weight and the generator's sizes, for a model card (dict)."""
        config = self.model.generator.config
        return {
            "objective": "replaced tokens",
            "weight of the discriminator's loss": WEIGHT,
            "generator": f"{config.num_hidden_layers} layers, hidden size {config.hidden_size}, "
            f"heads {config.num_attention_heads}, feed-forward size {config.intermediate_size}",
        }

    def evaluate(self, step: int) -> Evaluation | None:
        """Measure after a step, and warn if the generator is no better than token counts late."""
        found = super().evaluate(step)
        if found is not None:
            del found[1]["yardstick_loss"]  # of the generator alone; the loss is that of both
        return found

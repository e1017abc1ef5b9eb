"""Sentence vectors: an encoder learns from texts that belong together, or do not.

In-batch negatives compare each text with all others of the batch, so the loss is no sum over
shards. In the first phase each shard computes its vectors; between the phases the loss of the whole
batch and its gradient by every vector are computed; in the second phase each shard goes on from
that gradient through its own part of the model. The gradient is the same for any number of shards.

Without caches in the first phase, memory is needed for one shard at a time: the gradient cache of
Gao, Zhang, Han and Callan (2021), which computes every forward pass twice. A batch whose caches are
small keeps them; the numbers are the same.

A text that occurs several times in a batch is computed once, so its dropout is the same everywhere.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, get_args

import numpy as np

from minibert.data.embedding_examples import EmbeddingExamples
from minibert.data.ragged import RaggedSequences
from minibert.data.sampling import batch_indices, paired_batch
from minibert.functional import embedding_backward
from minibert.models.sentence import SentenceCache, SentenceEncoder
from minibert.objectives.base import BatchSettings, Evaluation, Objective
from minibert.objectives.embedding_losses import (
    Distance,
    contrastive_backward,
    contrastive_forward,
    cosine_scores_backward,
    cosine_scores_forward,
    positives_of,
    ranking_backward,
    ranking_forward,
    triplet_backward,
    triplet_forward,
)
from minibert.objectives.shards import split_batch
from minibert.parameters import Parameters
from minibert.tokenization import PreTrainedTokenizer
from minibert.typing import Array, Rng

EmbeddingLoss = Literal["ranking", "cosine", "triplet", "contrastive"]
KEPT_BYTES = 1 << 30  # of the caches of a batch; larger ones are computed again
CACHED_VECTORS = 20  # of D numbers, that a block keeps for each token; with dropout 19 of MiniLM


class EmbeddingSettings(BatchSettings, Protocol):
    """The settings that decide the loss of vectors; `training.EmbeddingTraining` has them."""

    @property
    def loss(self) -> EmbeddingLoss:
        """The name of the loss."""

    @property
    def temperature(self) -> float:
        """By which cosines are divided, in `ranking` and `contrastive`."""

    @property
    def margin(self) -> float:
        """By how much a negative text is to be farther, in `triplet`."""

    @property
    def distance(self) -> Distance:
        """Between two vectors, in `triplet`."""

    @property
    def recompute(self) -> bool | None:
        """Whether the second phase computes the vectors again; None: if the caches are large."""


class Comparison(NamedTuple):
    """What is compared in a batch of B rows with U different texts.

    Attributes:
        texts (B, c): the texts of each row, as numbers from 0 to U - 1.
        scores (B,): of the rows, or None.
        labels (B,), int: of the rows, or None.
    """

    texts: Array
    scores: Array | None
    labels: Array | None


class EmbeddingShard(NamedTuple):
    """A part of the texts of a batch.

    Attributes:
        batch: of the model, (b, T) each.
        places (b,): the numbers of these texts in the comparison.
        comparison: of the whole batch, the same for all shards.
        is_first: whether the loss of the batch is counted with this shard.
        recompute: whether the caches are dropped between the phases.
    """

    batch: Mapping[str, Array]
    places: Array
    comparison: Comparison
    is_first: bool
    recompute: bool


class KeptCache:
    """A cache that is handed out once; it is not sent to other processes."""

    def __init__(self, cache: SentenceCache | None):
        self._cache = cache

    def take(self) -> SentenceCache | None:
        """Return the cache, which a backward consumes; None the second time."""
        cache, self._cache = self._cache, None
        return cache

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the cache: the shard is computed again by the process that has it."""
        return KeptCache, (None,)


class EmbeddedShard(NamedTuple):
    """The vectors of a shard, and what else the second phase needs of it.

    Attributes:
        vectors (b, D): of its texts.
        cache: of the encoder, if it is kept.
        places, comparison, is_first: as in `EmbeddingShard`.
    """

    vectors: Array
    cache: KeptCache
    places: Array
    comparison: Comparison
    is_first: bool


class SentenceVectors(Objective):
    """Trains the vectors of texts by one of four losses; see `objectives.embedding_losses`.

    `ranking`: the second text of a row is the right answer to the first one; all further texts of
    the row and those of other rows are wrong, except texts equal to the first one, or to a right
    answer of it, or of a row with an equal label. `cosine`: the cosine of a pair is to be its
    score. `triplet`: the first text of a row is to be nearer to the second than to the third.
    `contrastive`: texts with equal labels belong together.

    Args:
        encoder: the model and its pooling.
        tokenizer: the model's tokenizer.
        examples: what to learn; batches are random, each epoch in a new order. In `contrastive`,
            texts are drawn in pairs of equal labels.
        settings: loss, batch size, shards, seed.
        max_length: in tokens; longer texts are cut; None: the model's positions.
        prompt: written before each text.
        evaluate: returns a line for the log and figures for the history, or None.

    Raises:
        ValueError: the loss is unknown, or does not fit the examples.
    """

    two_phase = True

    def __init__(
        self,
        encoder: SentenceEncoder,
        tokenizer: PreTrainedTokenizer,
        examples: EmbeddingExamples,
        settings: EmbeddingSettings,
        *,
        max_length: int | None = None,
        prompt: str = "",
        evaluate: Callable[[int], Evaluation | None] | None = None,
    ):
        require_fit(settings.loss, examples)
        self.encoder, self.tokenizer, self.settings = encoder, tokenizer, settings
        self._evaluate = evaluate
        numbers: dict[str, int] = {}  # of each different text
        self.rows = np.array(
            [[numbers.setdefault(text, len(numbers)) for text in row] for row in examples.rows]
        )  # (S, c)
        length = encoder.model.config.longest if max_length is None else max_length
        self.sequences = RaggedSequences(
            tokenizer.encode(prompt + text, max_length=length) for text in numbers
        )
        self.scores = None if examples.scores is None else np.array(examples.scores, np.float64)
        self.labels: Array | None = None
        if examples.labels is not None:
            names: dict[Any, int] = {}
            self.labels = np.array([names.setdefault(x, len(names)) for x in examples.labels])

    def indices(self, step: int) -> Array:
        """Return the rows of a step's batch (B,), from its number alone."""
        settings = self.settings
        if settings.loss == "contrastive":
            assert self.labels is not None
            return paired_batch(step, self.labels, settings.batch_size, settings.seed)
        return batch_indices(step, len(self.rows), settings.batch_size, settings.seed)

    def shards(self, step: int) -> Sequence[EmbeddingShard]:
        """Return the shards of a step: its different texts, by length, with what is compared."""
        settings, indices = self.settings, self.indices(step)
        texts, places = np.unique(self.rows[indices], return_inverse=True)  # (U,)
        comparison = Comparison(
            places.reshape(len(indices), -1),  # (B, c)
            *(None if values is None else values[indices] for values in (self.scores, self.labels)),
        )
        batch = self.sequences.batch(texts, self.tokenizer.pad_token_id)
        recompute = settings.recompute
        if recompute is None:
            recompute = self.cached_bytes(int(self.sequences.lengths[texts].sum())) > KEPT_BYTES
        parts = split_batch(batch, np.arange(len(texts)), settings.shards, trim=True)
        return [
            EmbeddingShard(part, np.asarray(own), comparison, i == 0, recompute)
            for i, (part, own) in enumerate(parts)
        ]

    def cached_bytes(self, tokens: int) -> int:
        """Return the approximate size of the caches of a number of tokens, in bytes."""
        config = self.encoder.model.config
        numbers: int = CACHED_VECTORS * config.hidden_size * config.num_blocks
        return tokens * numbers * self.encoder.params.vector.itemsize

    def count(self, shard: EmbeddingShard) -> int:
        """Return the number of comparisons of the batch, with its first shard; else 0."""
        if not shard.is_first:
            return 0
        if self.settings.loss == "contrastive":  # texts with a positive
            return int(positives_of(self._labels_of(shard.comparison)).any(axis=1).sum())
        return len(shard.comparison.texts)

    def tokens(self, shard: EmbeddingShard) -> int:
        """Return the shard's number of tokens without padding."""
        return int(shard.batch["attention_mask"].sum())

    def first(self, shard: EmbeddingShard, rng: Rng) -> EmbeddedShard:
        """Return the vectors (b, D) of a shard, with their cache if it is kept."""
        vectors, cache = self.encoder.forward(shard.batch, rng, keep=not shard.recompute)
        kept = KeptCache(None if shard.recompute else cache)
        return EmbeddedShard(vectors, kept, shard.places, shard.comparison, shard.is_first)

    def between(self, parts: list[EmbeddedShard]) -> list[tuple[float, Array, KeptCache]]:
        """Return the batch's loss, and its gradient by the vectors of each shard, not yet divided.

        Raises:
            ValueError: a vector of zeros, which has no cosine.
        """
        found = np.concatenate([part.vectors for part in parts])  # (U, D)
        vectors = np.empty_like(found)
        vectors[np.concatenate([part.places for part in parts])] = found
        self._require_directions(vectors)
        loss, dvectors = self.compare(vectors, parts[0].comparison)
        return [
            (loss if part.is_first else 0.0, dvectors[part.places], part.cache) for part in parts
        ]

    def compare(self, vectors: Array, comparison: Comparison) -> tuple[float, Array]:
        """Return the sum of the losses of a batch (float), and its gradient by the vectors.

        Args:
            vectors (U, D): of the different texts.
            comparison: of B rows of these texts.
        """
        settings, texts = self.settings, comparison.texts  # (B, c)
        if settings.loss == "contrastive":
            own = texts[:, 0]
            labels = self._labels_of(comparison)
            loss, cache = contrastive_forward(vectors[own], labels, settings.temperature, 1)
            return loss, _sum_by_text(vectors, [(own, contrastive_backward(cache))])
        columns = list(texts.T)  # c of (B,)
        sides = [vectors[column] for column in columns]  # (B, D) each
        gradients: Sequence[Array]
        if settings.loss == "cosine":
            assert comparison.scores is not None
            loss, scores_cache = cosine_scores_forward(sides[0], sides[1], comparison.scores, 1)
            gradients = cosine_scores_backward(scores_cache)
        elif settings.loss == "triplet":
            loss, triplets = triplet_forward(
                sides[0], sides[1], sides[2], settings.margin, settings.distance, 1
            )
            gradients = triplet_backward(triplets)
        else:
            candidates = np.concatenate(sides[1:])  # (Q, D), Q = (c - 1) B
            excluded = wrong_negatives(comparison)
            loss, ranking = ranking_forward(sides[0], candidates, settings.temperature, excluded, 1)
            gradients = ranking_backward(ranking)
            columns = [columns[0], np.concatenate(columns[1:])]
        return loss, _sum_by_text(vectors, list(zip(columns, gradients, strict=True)))

    def loss_and_grads(
        self,
        shard: EmbeddingShard,
        extra: tuple[float, Array, KeptCache],
        rng: Rng,
        grads: Parameters,
        denominator: Any,
    ) -> float:
        """Return the batch's loss with its first shard, else 0; add the gradient into `grads`."""
        loss, dvectors, kept = extra
        cache = kept.take()
        if cache is None:
            _, cache = self.encoder.forward(shard.batch, rng)
        self.encoder.backward(dvectors / dvectors.dtype.type(denominator), cache, grads)
        return float(loss / denominator)

    def evaluate(self, step: int) -> Evaluation | None:
        """Return what the caller's function returns; None without one."""
        return None if self._evaluate is None else self._evaluate(step)

    def _labels_of(self, comparison: Comparison) -> Array:
        assert comparison.labels is not None
        return comparison.labels

    def _require_directions(self, vectors: Array) -> None:
        """Raise ValueError if a vector is zero; one that is not finite is reported by the step."""
        zeros = int((~vectors.any(axis=1)).sum())
        if zeros:
            raise ValueError(
                f"vectors: expected a direction for each text, got zeros for {zeros} of "
                f"{len(vectors)}; the model's weights are broken"
            )


def require_fit(loss: str, examples: EmbeddingExamples, batch_size: int | None = None) -> None:
    """Raise ValueError unless examples have what a loss compares.

    Args:
        loss: a name of `EmbeddingLoss`.
        examples: rows of texts.
        batch_size: rows of all batches but the last one of an epoch; None: it is not checked.
    """
    names = get_args(EmbeddingLoss)
    if loss not in names:
        raise ValueError(f"loss: expected one of {', '.join(names)}, got {loss!r}")
    width = examples.width
    fits = {
        "ranking": (
            "rows of 2 texts or more, without scores",
            width > 1 and examples.scores is None,
        ),
        "cosine": ("pairs with scores", examples.scores is not None),
        "triplet": ("rows of 3 texts", width == 3),
        "contrastive": ("single texts with labels", width == 1),
    }
    expected, fit = fits[loss]
    if not fit:
        raise ValueError(f"loss: expected {expected} for {loss}, got rows of {width}"
                         f"{'' if examples.scores is None else ' with scores'}")  # fmt: skip
    if batch_size == 1 and (loss == "contrastive" or (loss == "ranking" and width == 2)):
        raise ValueError(f"batch_size: expected at least 2, because {loss} compares the rows of a "
                         "batch, got 1")  # fmt: skip


def wrong_negatives(comparison: Comparison) -> Array:
    """Return which candidates of a ranking are no negatives of an anchor, (B, Q) booleans.

    They are texts equal to the anchor, or to the right answer of a row with the same anchor or an
    equal label. The right candidates (i, i) are among them.

    Args:
        comparison: of B rows of c texts, whose Q = (c - 1) B candidates are the second texts of all
            rows, then the third ones, and so on.
    """
    anchors, answers = comparison.texts[:, 0], comparison.texts[:, 1]
    candidates = comparison.texts[:, 1:].T.reshape(-1)  # (B, c - 1) -> (c - 1, B) -> (Q,)
    alike = anchors[:, None] == anchors  # (B, B), rows that have the same right answers
    if comparison.labels is not None:
        alike |= comparison.labels[:, None] == comparison.labels
    is_answer = answers[:, None] == candidates  # (B, Q)
    right: Array = alike.astype(np.float32) @ is_answer > 0  # (B, B) @ (B, Q) -> (B, Q)
    right |= anchors[:, None] == candidates
    return right


def _sum_by_text(vectors: Array, gradients: list[tuple[Array, Array]]) -> Array:
    """Return the gradient (U, D) of texts that occur several times.

    Args:
        vectors (U, D): of the texts.
        gradients: numbers of texts (N,) with gradients (N, D).
    """
    dvectors = np.zeros_like(vectors)
    for places, own in gradients:
        embedding_backward(own, places, dvectors)  # a look-up of vectors by their numbers
    return dvectors

"""Few labels: vectors are trained on the pairs that the labels make, then a linear classifier.

S labels make S (S - 1) / 2 pairs of texts, which belong together or do not. So a few labels train
the body on many comparisons, before logistic regression fits a classifier to the vectors: Tunstall
et al. (2022), section 3, here with the loss of Khosla et al. (2020), eq. 2, which compares all
pairs of a batch.
"""

from typing import NamedTuple

import numpy as np

from minibert.data.embedding_examples import EmbeddingExamples
from minibert.data.rng import generator
from minibert.data.sampling import steps_per_epoch
from minibert.inference.features import FeatureExtractor
from minibert.models import BertForSequenceClassification
from minibert.models.classifier_head import classifier_inputs, pass_vectors, set_classifier
from minibert.models.pooling_block import pooling_of, without_pooling_dropout
from minibert.models.sentence import SentenceEncoder
from minibert.objectives.base import BatchSettings, Evaluation
from minibert.objectives.embedding_losses import Distance
from minibert.objectives.embeddings import EmbeddingLoss, SentenceVectors, require_fit
from minibert.objectives.supervised import ScoreKeeper, held_out_metrics
from minibert.tasks.base import Task
from minibert.tasks.examples import Examples
from minibert.tasks.logistic import logistic_regression
from minibert.tokenization import PreTrainedTokenizer
from minibert.typing import Array

TEMPERATURE = 0.1
# Accuracy on 300 to 400 held-out texts after training on 16 of corpora/questions and of
# corpora/situations, means of seven runs: 46.2 % with C = 1 and without SMOOTHING, 49.9 % with
# C = 10, 51.7 % with both. After 50 texts C = 1 and C = 10 were equal, means of nine runs.
INVERSE_PENALTY = 10.0  # C of the logistic regression
SMOOTHING = 16.0  # texts


class PairSettings(NamedTuple):
    """The settings of `SentenceVectors` for labelled texts."""

    steps: int
    batch_size: int
    shards: int
    seed: int
    loss: EmbeddingLoss = "contrastive"
    temperature: float = TEMPERATURE
    margin: float = 1.0
    distance: Distance = "cosine"
    recompute: bool | None = None


class LabelledVectors(SentenceVectors):
    """Train the vectors of labelled texts; `fit_classifier` reads them afterwards.

    The vectors of texts with equal labels become similar, and those of others do not. A label that
    only one text has is not similar to anything, but its text is one of the others.

    Args:
        model: a classifier of texts that reads the mean, see `models.pooling_block`; the layer
            below its logits is made to pass the pooled vectors.
        tokenizer: the model's tokenizer; longer texts are cut at the model's positions.
        task: the meaning of the labels, one for each text.
        examples: labelled texts to train on; their weights, if they have some, count in the
            classifier.
        settings: batch size, shards, random seed.
        weights (C,): how much each class counts in the classifier; None: as if each had SMOOTHING
            texts more, because whether 3 or 2 texts of a class were labelled says little about how
            frequent it is.
        held_out: labelled texts to evaluate on, or None.
        best: receives the score of each evaluation, or None.
        threads: how many batches of the evaluation are computed at a time; None: one for each core.

    Raises:
        ValueError: there are second texts, several labels per text, or no two texts have a label
            in common; or the batch size is 1.
    """

    def __init__(
        self,
        model: BertForSequenceClassification,
        tokenizer: PreTrainedTokenizer,
        task: Task,
        examples: Examples,
        settings: BatchSettings,
        *,
        weights: Array | None = None,
        held_out: Examples | None = None,
        best: ScoreKeeper | None = None,
        threads: int | None = None,
    ):
        if reason := why_no_pairs(task, examples):
            raise ValueError(f"strategy: expected direct, because {reason}; got pairs")
        self.model, self.task, self.examples = model, task, examples
        self.weights, self.held_out, self.best, self.threads = weights, held_out, best, threads
        self.ids = np.array([task.encode_label(label) for label in examples.labels])  # (S,)
        rows = EmbeddingExamples([[text] for text in examples.texts], labels=self.ids.tolist())
        require_fit("contrastive", rows, settings.batch_size)
        super().__init__(
            SentenceEncoder(model, pooling_of(model)),
            tokenizer,
            rows,
            PairSettings(settings.steps, settings.batch_size, settings.shards, settings.seed),
        )
        pass_vectors(model)
        without_pooling_dropout(model)

    def indices(self, step: int) -> Array:
        """Return the texts of a batch (B,): each class has its share in every batch.

        The texts of each class are shuffled and spread evenly over the epoch. A class with fewer
        than two for each batch is spread in pairs, because a text that is alone is not similar to
        anything. Where a batch has no room for two texts of each class, it contains pairs of some
        classes: see `paired_batch`.
        """
        if 2 * len(self.task.names) > self.settings.batch_size:
            return super().indices(step)
        batches = steps_per_epoch(len(self.ids), self.settings.batch_size)
        epoch, batch = divmod(step, batches)
        rng = generator(self.settings.seed, "order", epoch)
        place = np.empty(len(self.ids))  # in the epoch, from 0 to 1
        for number in range(len(self.task.names)):
            own = rng.permutation(np.flatnonzero(self.ids == number))
            is_rare = len(own) < 2 * batches
            groups = np.arange(len(own)) // (1 + is_rare)
            place[own] = (groups + rng.random()) / (groups.max(initial=0) + 1)
            if is_rare:  # the middle of a batch, so that none ends between two texts of a pair
                place[own] = (np.floor(place[own] * batches) + 0.5) / batches
        return np.array_split(np.argsort(place, kind="stable"), batches)[batch]

    def fit_classifier(self) -> None:
        """Fit the model's classifier to the vectors that its body has now, in place."""
        extractor = FeatureExtractor(self.model, self.tokenizer, pooling=pooling_of(self.model))
        vectors = extractor(self.examples.texts, threads=self.threads)  # (S, D)
        inputs = classifier_inputs(self.model, vectors).astype(np.float64)
        counts = np.ones(len(self.ids))  # (S,)
        if self.examples.weights is not None:
            counts *= self.examples.weights
        if self.weights is not None:
            counts *= self.weights[self.ids]
        else:
            counts = smoothed_counts(counts, self.ids)
        # Centred and of a length of 1 on average, so that the penalty means the same in any model.
        mean = inputs.mean(axis=0)
        centred = inputs - mean
        length = max(float(np.sqrt(np.square(centred).sum(axis=1).mean())), np.finfo(float).tiny)
        found = logistic_regression(
            centred / length,
            self.ids,
            len(self.task.names),
            C=INVERSE_PENALTY,
            weights=counts,
        )
        weight = found.weight / length
        set_classifier(self.model, weight, found.bias - weight @ mean)  # (C, D) @ (D,)

    def evaluate(self, step: int) -> Evaluation | None:
        """Fit the classifier; return the held-out metrics, None without held-out examples."""
        if self.held_out is None:
            return None
        self.fit_classifier()
        return held_out_metrics(
            self.model, self.tokenizer, self.task, self.held_out, step, self.best, self.threads
        )


def smoothed_counts(counts: Array, ids: Array) -> Array:
    """Return how much texts count if each class has SMOOTHING more (S,); the sum is the same.

        s_i (n_c + m) / n_c,   where n_c is the sum over the class c of text i, and m is SMOOTHING

    >>> smoothed_counts(np.ones(3), np.array([0, 0, 1])).round(2).tolist()
    [0.77, 0.77, 1.46]

    Args:
        counts (S,): s, how much each text counts.
        ids (S,): the classes, from 0.
    """
    totals = np.bincount(ids, counts)[ids]  # (S,)
    # A class whose texts all count 0 stays without a weight.
    smoothed = counts * (1 + SMOOTHING / np.where(totals > 0, totals, 1))
    smoothed *= counts.sum() / smoothed.sum()
    return smoothed


def why_no_pairs(task: Task, examples: Examples) -> str | None:
    """Return why labelled texts make no pairs (str); None: they do."""
    if task.problem_type != "single_label_classification" or task.input_kind != "texts":
        return f"pairs are made of texts with one class each, not for {task.name}"
    if examples.pairs is not None:
        return "the texts are pairs themselves"
    if max(task.class_counts(examples.labels).values()) < 2:
        return "no two texts have the same label"
    return None

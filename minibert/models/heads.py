"""What BERT is used for: one small class for each task, a body with a head and its labels.

A task says which head it has (`build`), which rows of the encoder's output that head reads
(`rows_read`), and what its labels look like (`match`). The rest is the same for all.
"""

from typing import Any

import numpy as np

from minibert.functional import (
    IGNORED,
    binary_cross_entropy_backward,
    binary_cross_entropy_forward,
    cross_entropy_backward,
    cross_entropy_forward,
    squared_error_backward,
    squared_error_forward,
)
from minibert.layers import PooledScores, Scores, VocabularyScores
from minibert.models.base import match_classes, match_numbers
from minibert.models.bert import BertBased, ModelOutput


class BertWithHead(BertBased):
    """A body and `self.head`, which turns rows of its output into logits."""

    head: Any
    label_names: tuple[str, ...] = ("labels",)  # as a call names them

    def shapes(self):
        """Return the shapes of the body and the head."""
        return {**super().shapes(), **self.head.shapes()}

    def rows_read(self, batch):
        """Return the rows (B, R) that the head reads when there are no labels; None: all."""
        return None

    def targets(self, batch, labels):
        """Return the rows (B, R) that the head reads, None for all, and the labels they have."""
        return self.rows_read(batch), self.match(batch, labels)

    def outputs(self, logits):
        """Return the fields of a `ModelOutput` that the logits fill."""
        return {"logits": logits}

    def head_forward(self, x, rng=None):
        """Return the logits for the rows x (..., R, D), and the cache."""
        return self.head.forward(self.params, x, rng)

    def head_backward(self, dlogits, cache, grads):
        """Gradient of `head_forward`; adds into `grads`, returns dx (..., R, D)."""
        return self.head.backward(dlogits, cache, self.params, grads)

    def forward(self, batch, rows=None, rng=None):
        """Run body and head for training: returns the logits, and the cache."""
        x, body_cache = self.body_forward(batch, rows, rng)
        logits, head_cache = self.head_forward(x, rng)
        return logits, (body_cache, head_cache)

    def backward(self, dlogits, cache, grads):
        """Gradient of `forward`; adds into `grads`."""
        body_cache, head_cache = cache
        dx = self.head_backward(dlogits, head_cache, grads)
        self.body_backward(dx, body_cache, grads)

    def predict(self, batch, rows=None):
        """Return the logits of a checked batch at `rows` (B, R), without dropout."""
        x, _ = self.encode(batch, rows=rows)
        return self.head_forward(x)[0]

    def __call__(
        self,
        input_ids,
        token_type_ids=None,
        attention_mask=None,
        *,
        output_hidden_states=False,
        output_attentions=False,
        **labels,
    ):
        """Compute the logits of a batch, without dropout; with labels, the loss too.

        Args:
            input_ids, token_type_ids, attention_mask: (B, T); see `BertModel`.
            output_hidden_states, output_attentions: return these too.
            labels: under the names `label_names`, as in `loss_and_grads`; None or missing: no loss.

        Returns:
            a `ModelOutput`.

        Raises:
            TypeError, ValueError: an array of the wrong dtype, shape or range; it says which.
        """
        labels = self._called_with(labels)
        batch = self.check(input_ids, token_type_ids, attention_mask)
        inside = {"hidden_states": output_hidden_states, "attentions": output_attentions}
        # The last block may be trimmed only if nobody wants to look inside it.
        rows = None if any(inside.values()) else self.rows_read(batch)
        x, extras = self.encode(batch, rows=rows, **inside)
        logits, _ = self.head_forward(x)
        loss = None
        if labels is not None:
            loss, _ = self.criterion_forward(logits, self.match(batch, labels))
        return ModelOutput(loss=loss, **self.outputs(logits), **extras)

    def _called_with(self, labels):
        """Return the labels of a call in the form of `loss_and_grads`; None: there are none."""
        given = {name: value for name, value in labels.items() if value is not None}
        if not labels.keys() <= set(self.label_names) or 0 < len(given) < len(self.label_names):
            expected = " and ".join(self.label_names)
            raise TypeError(f"labels: expected {expected}, got {', '.join(labels)}")
        if not given:
            return None
        return given if len(self.label_names) > 1 else given["labels"]

    def _by_name(self, labels):
        """Return the values of labels that come by their names."""
        if not isinstance(labels, dict) or labels.keys() != set(self.label_names):
            names = ", ".join(labels) if isinstance(labels, dict) else type(labels).__name__
            expected = " and ".join(self.label_names)
            raise TypeError(f"labels: expected a dictionary of {expected}, got {names}")
        return [labels[name] for name in self.label_names]


class BertForMaskedLM(BertWithHead):
    """Guess the hidden tokens: logits (B, T, V) over the vocabulary.

    Devlin et al. (2019), section 3.1. The labels are (B, T), -100 where nothing is hidden; training
    computes the last block and the head at the hidden places only.
    """

    def build(self):
        """Make the body and the scores of the vocabulary, whose table is the embeddings again."""
        super().build()
        self.head = VocabularyScores(self.config)

    def freeze(self, layers):
        """Do as every model does; the scores' table is the embeddings', and rests with them."""
        super().freeze(layers)
        self.head.frozen_table = layers is not None

    def match(self, batch, labels):
        """Return the labels (B, T), each a token."""
        return match_classes("labels", labels, batch.input_ids.shape, self.config.vocab_size)

    def targets(self, batch, labels):
        """Return the masked rows (B, R) and their labels, R the most that a sequence has.

        >>> from minibert import BertConfig
        >>> model = BertForMaskedLM(BertConfig.preset("tiny", vocab_size=9))
        >>> batch = model.check([[1, 1, 1, 1], [1, 1, 1, 1]])
        >>> labels = np.array([[-100, 7, -100, 8], [5, -100, -100, -100]])
        >>> rows, targets = model.targets(batch, labels)
        >>> rows.tolist(), targets.tolist()
        ([[1, 3], [0, 1]], [[7, 8], [5, -100]])
        """
        labels = self.match(batch, labels)
        rows = first_rows(labels != IGNORED)
        return rows, np.take_along_axis(labels, rows, axis=1)


def first_rows(wanted):
    """Number the wanted places of each row: (B, T) of truth values -> (B, R), R the most in a row.

    A stable sort brings them to the front, in order; a row with fewer is filled with other places.
    """
    most = max(int(wanted.sum(axis=1).max()), 1)
    return np.argsort(~wanted, axis=1, kind="stable")[:, :most]


class OfTheWhole(BertWithHead):
    """A task whose head reads [CLS] alone, so that the last block is computed for [CLS] only."""

    def rows_read(self, batch):
        """Return the first row of each sequence; (B, 1)."""
        return np.zeros((len(batch.sequences().input_ids), 1), np.int64)


class BertForNextSentencePrediction(OfTheWhole):
    """Tell whether the second segment followed the first: logits (B, 2), class 0 if it did.

    Devlin et al. (2019), section 3.1. The labels are (B,).
    """

    def build(self):
        """Make the body and the scores of the pair."""
        super().build()
        self.head = PooledScores("cls.seq_relationship", self.config.hidden_size, 2)

    def match(self, batch, labels):
        """Return the labels (B,), 0 or 1."""
        return match_classes("labels", labels, batch.input_ids.shape[:1], 2)


class BertForPreTraining(BertForMaskedLM):
    """Both of BERT's pre-training tasks at once; the loss is the sum of theirs.

    Devlin et al. (2019), section 3.1. The labels are a dictionary: `labels` (B, T) of the hidden
    tokens, `next_sentence_label` (B,), 0 where the second segment followed the first.
    """

    label_names = ("labels", "next_sentence_label")

    def build(self):
        """Make the body and two heads."""
        super().build()
        self.pair_head = PooledScores("cls.seq_relationship", self.config.hidden_size, 2)

    def shapes(self):
        """Return the shapes of the body and of both heads; the pooler adjoins the body."""
        return {**BertBased.shapes(self), **self.pair_head.shapes(), **self.head.shapes()}

    def match(self, batch, labels):
        """Return the labels (B, T) and (B,)."""
        hidden, pair = self._by_name(labels)
        shape = batch.input_ids.shape[:1]
        return super().match(batch, hidden), match_classes(self.label_names[1], pair, shape, 2)

    def count(self, labels):
        """Return how many labels of either kind count."""
        return np.array(list(map(super().count, self._by_name(labels))))

    def targets(self, batch, labels):
        """Return [CLS] and the masked rows (B, R), and the labels; [CLS] is read by both heads."""
        hidden, pair = self.match(batch, labels)
        wanted = hidden != IGNORED
        wanted[:, 0] = True
        rows = first_rows(wanted)
        return rows, (np.take_along_axis(hidden, rows, axis=1), pair)

    def head_forward(self, x, rng=None):
        """Return the logits (B, R, V) and (B, 2) for the rows x (B, R, D), and the cache."""
        words, words_cache = super().head_forward(x, rng)
        pair, pair_cache = self.pair_head.forward(self.params, x, rng)
        return (words, pair), (words_cache, pair_cache)

    def head_backward(self, dlogits, cache, grads):
        """Gradient of `head_forward`: returns dx (B, R, D), the sum of what both heads send."""
        (dwords, dpair), (words_cache, pair_cache) = dlogits, cache
        dx = super().head_backward(dwords, words_cache, grads)
        return dx + self.pair_head.backward(dpair, pair_cache, self.params, grads)

    def criterion_forward(self, logits, targets, denominator=None):
        """Return the sum of both cross-entropies, each over its own count, and the cache."""
        each = (None, None) if denominator is None else denominator
        (words, words_cache), (pair, pair_cache) = map(cross_entropy_forward, logits, targets, each)
        return words + pair, (words_cache, pair_cache)

    def criterion_backward(self, cache):
        """Gradient of `criterion_forward`: returns both dlogits."""
        return tuple(map(cross_entropy_backward, cache))

    def outputs(self, logits):
        """Return both logits under their names."""
        return dict(zip(("prediction_logits", "seq_relationship_logits"), logits, strict=True))


CRITERIA = {
    "single_label_classification": (cross_entropy_forward, cross_entropy_backward),
    "multi_label_classification": (binary_cross_entropy_forward, binary_cross_entropy_backward),
    "regression": (squared_error_forward, squared_error_backward),
}


class BertForSequenceClassification(OfTheWhole):
    """Put the whole text in a class, in several, or on a scale: logits (B, C) from [CLS].

        logits = linear(dropout(tanh(linear(x[:, 0]))))

    Devlin et al. (2019), section 4.1. `config.problem_type` says what the labels are, and with that
    what the loss is:

    - `single_label_classification`: the class, (B,), -100 where a text does not count;
      cross-entropy.
    - `multi_label_classification`: (B, C), 1 for each class that a text has and 0 for each that it
      has not, -100 where that does not count; binary cross-entropy.
    - `regression`: numbers, (B, C), or (B,) if C is 1; the mean of the squared errors.

    If it says nothing, one class alone means regression, and several mean a single label.

    Attributes:
        class_weights: how much each class counts in the loss of a single label, (C,); None: alike.
    """

    def build(self):
        """Make the body, the pooler and the classifier."""
        super().build()
        config = self.config
        self.class_weights = None  # (C,), for a single label
        default = "regression" if config.num_labels == 1 else "single_label_classification"
        self.problem = config.problem_type or default
        self.head = PooledScores(
            "classifier", config.hidden_size, config.num_labels, config.classifier_rate
        )

    def match(self, batch, labels):
        """Return the labels (B,) or (B, C), as the kind of problem wants them."""
        size, classes = len(batch.input_ids), self.config.num_labels
        if self.problem == "single_label_classification":
            return match_classes("labels", labels, (size,), classes)
        if self.problem == "regression":
            narrow = classes == 1 and np.ndim(labels) == 1
            numbers = match_numbers("labels", labels, (size,) if narrow else (size, classes))
            return numbers.reshape(size, classes)  # (B,) -> (B, 1)
        shares = match_numbers("labels", labels, (size, classes))
        wrong = shares[((shares < 0) | (shares > 1)) & (shares != IGNORED)]
        if wrong.size:
            raise ValueError(f"labels: expected numbers from 0 to 1, got {wrong[0]}")
        return shares

    def count(self, labels):
        """Return how many labels count, or the sum of their classes' weights.

        Every number of a regression counts.
        """
        if self.problem == "regression":
            return np.size(labels)
        if self.class_weights is None:
            return super().count(labels)
        counted = np.asarray(labels)[np.asarray(labels) != IGNORED]
        return float(self.class_weights[counted].sum())

    def criterion_forward(self, logits, targets, denominator=None):
        """Compare logits (B, C) with what they should be: returns the loss, and the cache."""
        extra = {} if self.class_weights is None else {"weights": self.class_weights}
        return CRITERIA[self.problem][0](logits, targets, denominator, **extra)

    def criterion_backward(self, cache):
        """Gradient of `criterion_forward`: returns dlogits (B, C)."""
        return CRITERIA[self.problem][1](cache)


class BertForMultipleChoice(OfTheWhole):
    """Choose among several sequences: logits (B, C) for ids (B, C, T), a sequence for each choice.

    Devlin et al. (2019), section 4.4. The labels are (B,), the right choice, or -100.
    """

    axes = ("B", "C", "T")

    def build(self):
        """Make the body, the pooler and one score for a sequence."""
        super().build()
        config = self.config
        self.head = PooledScores("classifier", config.hidden_size, 1, config.classifier_rate)

    def match(self, batch, labels):
        """Return the labels (B,), each one of the choices."""
        size, choices, _ = batch.input_ids.shape
        return match_classes("labels", labels, (size,), choices)

    def head_forward(self, x, rng=None):
        """Return the logits (B, C) for the rows x (B, C, R, D), and the cache."""
        scores, cache = super().head_forward(x, rng)
        return scores[..., 0], cache  # (B, C, 1) -> (B, C)

    def head_backward(self, dlogits, cache, grads):
        """Gradient of `head_forward`: returns dx (B, C, R, D)."""
        return super().head_backward(dlogits[..., None], cache, grads)


class BertForTokenClassification(BertWithHead):
    """Put each token in a class: logits (B, T, C).

    Devlin et al. (2019), section 5.3. The labels are (B, T), -100 where a token does not count.
    """

    def build(self):
        """Make the body and the classifier."""
        super().build()
        config = self.config
        self.head = Scores(
            "classifier", config.hidden_size, config.num_labels, config.classifier_rate
        )

    def match(self, batch, labels):
        """Return the labels (B, T), each a class."""
        return match_classes("labels", labels, batch.input_ids.shape, self.config.num_labels)


class BertForQuestionAnswering(BertWithHead):
    """Find where an answer begins and ends: logits (B, 2, T), softmax over the tokens.

    Devlin et al. (2019), section 4.2. The labels are a dictionary, `start_positions` and
    `end_positions`, (B,) each, -100 in both where a text does not count; the loss is the mean over
    starts and ends. As there, padding takes part in the softmax.
    """

    label_names = ("start_positions", "end_positions")

    def build(self):
        """Make the body and two scores for each token."""
        super().build()
        if self.config.num_labels != 2:
            raise ValueError(
                "id2label: expected two for question answering, a start and an end, got "
                f"{self.config.num_labels}"
            )
        self.head = Scores("qa_outputs", self.config.hidden_size, 2)

    def match(self, batch, labels):
        """Return the labels (B, 2), each a place."""
        size, length = batch.input_ids.shape
        pairs = zip(self.label_names, self._by_name(labels), strict=True)
        start, end = (match_classes(name, part, (size,), length) for name, part in pairs)
        if ((start == IGNORED) != (end == IGNORED)).any():
            raise ValueError(f"end_positions: expected {IGNORED} where start_positions has it")
        return np.stack([start, end], axis=1)

    def count(self, labels):
        """Return how many starts and ends count."""
        return sum(map(super().count, self._by_name(labels)))

    def head_forward(self, x, rng=None):
        """Return the logits (B, 2, T) for the rows x (B, T, D), and the cache."""
        scores, cache = super().head_forward(x, rng)
        return scores.swapaxes(1, 2), cache  # (B, T, 2) -> (B, 2, T)

    def head_backward(self, dlogits, cache, grads):
        """Gradient of `head_forward`: returns dx (B, T, D)."""
        return super().head_backward(dlogits.swapaxes(1, 2), cache, grads)

    def outputs(self, logits):
        """Return the logits of the starts and of the ends, (B, T) each."""
        return {"start_logits": logits[:, 0], "end_logits": logits[:, 1]}

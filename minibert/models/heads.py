"""What BERT is used for: a head turns the body's vectors into scores, each in one small class."""

import numpy as np

from minibert.functional import (
    ACTIVATIONS,
    IGNORED,
    cross_entropy_forward,
    dropout_backward,
    dropout_forward,
    linear_backward,
    linear_forward,
    slope_backward,
)
from minibert.layers import LayerNorm, Linear
from minibert.models.base import match_labels
from minibert.models.bert import BertBased, ModelOutput, Pooler
from minibert.parameters import prefixed


class BertWithHead(BertBased):
    """A body and a head: a head is `targets`, and the pair `head_forward`, `head_backward`."""

    def head_forward(self, x, rng=None):
        """Return the logits for the rows x (B, R, D) that `targets` named, and the cache."""
        raise NotImplementedError

    def head_backward(self, dlogits, cache, grads):
        """Gradient of `head_forward`; adds into `grads`, returns dx (B, R, D)."""
        raise NotImplementedError

    def rows_read(self, batch):
        """Return the rows (B, R) that the head reads when there are no labels; None: all."""
        return None

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
        labels=None,
        *,
        output_hidden_states=False,
        output_attentions=False,
    ):
        """Compute the logits of a batch, without dropout; with labels, the loss too.

        Args:
            input_ids, token_type_ids, attention_mask: (B, T); see `BertModel`.
            labels: as in `loss_and_grads`; None: no loss.
            output_hidden_states, output_attentions: return these too.

        Returns:
            a `ModelOutput`.

        Raises:
            TypeError, ValueError: an array of the wrong dtype, shape or range; it says which.
        """
        batch = self.check(input_ids, token_type_ids, attention_mask)
        inside = {"hidden_states": output_hidden_states, "attentions": output_attentions}
        # The last block may be trimmed only if nobody wants to look inside it.
        rows = None if any(inside.values()) else self.rows_read(batch)
        x, extras = self.encode(batch, rows=rows, **inside)
        logits, _ = self.head_forward(x)
        loss = None
        if labels is not None:
            read, targets = self.targets(batch, self.check_labels(labels))
            scores = logits  # (B, C), or (B, T, V) of which the targets' rows count
            if read is not None and logits.ndim == 3:
                scores = np.take_along_axis(logits, read[..., None], axis=1)  # (B, R, V)
            loss, _ = cross_entropy_forward(
                scores.reshape(-1, scores.shape[-1]), targets.reshape(-1)
            )
        return ModelOutput(loss=loss, logits=logits, **extras)


class BertForMaskedLM(BertWithHead):
    """Guess the hidden tokens: logits (B, T, V) over the vocabulary.

        logits = layer_norm(activation(linear(x))) Wᵀ + b,   W the word embeddings

    Devlin et al. (2019), section 3.1. The labels are (B, T), -100 where nothing is hidden; training
    computes the last block and the head at the hidden places only.
    """

    tied = "bert.embeddings.word_embeddings.weight"
    bias = "cls.predictions.bias"
    transform = "cls.predictions.transform."

    def build(self):
        """Make the body and the transform; the decoder is the embedding table again."""
        super().build()
        config = self.config
        self.dense = Linear("dense", config.hidden_size, config.hidden_size)
        self.activation_forward = ACTIVATIONS[config.hidden_act]
        self.norm = LayerNorm("LayerNorm", config.hidden_size, config.layer_norm_eps)

    def shapes(self):
        """Return the shapes of the body, the transform and the decoder's bias."""
        transform = {**self.dense.shapes(), **self.norm.shapes()}
        return {
            **super().shapes(),
            **prefixed(self.transform, transform),
            self.bias: (self.config.vocab_size,),
        }

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
        match_labels(labels, batch.input_ids.shape, self.config.vocab_size)
        counted = labels != IGNORED  # (B, T)
        most = max(int(counted.sum(axis=1).max()), 1)
        # A stable sort brings the masked places to the front, in order; the rest of a shorter row
        # is filled with places whose label is -100.
        rows = np.argsort(~counted, axis=1, kind="stable")[:, :most]  # (B, R)
        return rows, np.take_along_axis(labels, rows, axis=1)

    def head_forward(self, x, rng=None):
        """Score the vocabulary for each row x (B, R, D): returns (B, R, V), and the cache."""
        params = self.params.scope(self.transform)
        dense, dense_cache = self.dense.forward(params, x)
        active, slope = self.activation_forward(dense)
        h, norm_cache = self.norm.forward(params, active)
        flat = h.reshape(-1, h.shape[-1])  # (B, R, D) -> (M, D)
        logits, _ = linear_forward(flat, self.params[self.tied], self.params[self.bias])
        return logits.reshape(*x.shape[:-1], -1), (dense_cache, slope, norm_cache, flat)

    def head_backward(self, dlogits, cache, grads):
        """Gradient of `head_forward`; the tied table's gradient is added to what it has already."""
        dense_cache, slope, norm_cache, flat = cache
        params, transform_grads = self.params.scope(self.transform), grads.scope(self.transform)
        dh = linear_backward(
            dlogits.reshape(-1, dlogits.shape[-1]),  # (B, R, V) -> (M, V)
            flat,
            self.params[self.tied],
            grads[self.tied],
            grads[self.bias],
        )
        dh = dh.reshape(*dlogits.shape[:-1], -1)  # (M, D) -> (B, R, D)
        dactive = self.norm.backward(dh, norm_cache, params, transform_grads)
        ddense = slope_backward(dactive, slope)
        return self.dense.backward(ddense, dense_cache, params, transform_grads)


class BertForSequenceClassification(BertWithHead):
    """Put the whole text in a class: logits (B, C) from [CLS].

        logits = linear(dropout(tanh(linear(x[:, 0]))))

    Devlin et al. (2019), section 4.1. The labels are (B,), -100 where a text does not count; the
    last block is computed for [CLS] only.
    """

    def build(self):
        """Make the body, the pooler and the classifier."""
        super().build()
        config = self.config
        if config.problem_type not in (None, "single_label_classification"):
            raise ValueError(
                f"problem_type: expected single_label_classification, got {config.problem_type}"
            )
        self.pooler = Pooler(config)
        self.classifier = Linear("classifier", config.hidden_size, config.num_labels)
        self.rate = (
            config.hidden_dropout_prob
            if config.classifier_dropout is None
            else config.classifier_dropout
        )

    def shapes(self):
        """Return the shapes of the body, the pooler and the classifier."""
        return {
            **super().shapes(),
            **prefixed("bert.pooler.", self.pooler.shapes()),
            **self.classifier.shapes(),
        }

    def rows_read(self, batch):
        """Return [CLS], the first row of each sequence; (B, 1)."""
        return np.zeros((len(batch.input_ids), 1), np.int64)

    def targets(self, batch, labels):
        """Return the rows of [CLS] and the labels (B,)."""
        match_labels(labels, (len(batch.input_ids),), self.config.num_labels)
        return self.rows_read(batch), labels

    def head_forward(self, x, rng=None):
        """Score the classes from the first row of x (B, R, D): returns (B, C), and the cache."""
        pooled, pooler_cache = self.pooler.forward(self.params.scope("bert.pooler."), x[:, 0])
        dropped, mask = dropout_forward(pooled, self.rate, rng)
        logits, classifier_cache = self.classifier.forward(self.params, dropped)
        return logits, (x.shape, pooler_cache, mask, classifier_cache)

    def head_backward(self, dlogits, cache, grads):
        """Gradient of `head_forward`: zero but for the first row."""
        shape, pooler_cache, mask, classifier_cache = cache
        ddropped = self.classifier.backward(dlogits, classifier_cache, self.params, grads)
        dx = np.zeros(shape, dlogits.dtype)
        dx[:, 0] = self.pooler.backward(
            dropout_backward(ddropped, mask),
            pooler_cache,
            self.params.scope("bert.pooler."),
            grads.scope("bert.pooler."),
        )
        return dx

"""What stands on the encoder: scores for each token, for the whole sequence, or for the vocabulary.

A head reads the rows x (B, R, D) of the encoder's output and returns logits. It finds its
parameters by their full names, for those of one head lie in several places.
"""

import numpy as np

from minibert.functional import (
    ACTIVATIONS,
    dropout_backward,
    dropout_forward,
    linear_backward,
    linear_forward,
    slope_backward,
    tanh_backward,
    tanh_forward,
)
from minibert.layers.basic import LayerNorm, Linear
from minibert.parameters import prefixed


class Pooler:
    """The whole sequence as one vector: tanh(linear(x[:, 0])), made from [CLS].

    Devlin et al. (2019), section 3.1, and their code.

    Args:
        width: D.
    """

    def __init__(self, width):
        self.dense = Linear("pooler.dense", width, width)

    def shapes(self):
        """Return the shapes of the linear map."""
        return self.dense.shapes()

    def forward(self, params, x):
        """Pool the rows x (..., R, D) into (..., D), from the first one; returns also the cache."""
        dense, dense_cache = self.dense.forward(params, x[..., 0, :])
        out, tanh_cache = tanh_forward(dense)
        return out, (x.shape, dense_cache, tanh_cache)

    def backward(self, dout, cache, params, grads):
        """Gradient of `forward`: dx (..., R, D), zero but for the first row."""
        shape, dense_cache, tanh_cache = cache
        dx = np.zeros(shape, dout.dtype)
        dx[..., 0, :] = self.dense.backward(
            tanh_backward(dout, tanh_cache), dense_cache, params, grads
        )
        return dx


class Scores:
    """Scores for each row by itself: linear(dropout(x)), (..., D) -> (..., C).

    Args:
        name: of the linear map.  width: D.  classes: C.  rate: of the dropout.
    """

    def __init__(self, name, width, classes, rate=0.0):
        self.rate = rate
        self.linear = Linear(name, width, classes)

    def shapes(self):
        """Return the shapes of the linear map."""
        return self.linear.shapes()

    def forward(self, params, x, rng=None):
        """Score the rows of x (..., D): returns (..., C), and the cache."""
        dropped, mask = dropout_forward(x, self.rate, rng)
        logits, linear_cache = self.linear.forward(params, dropped)
        return logits, (mask, linear_cache)

    def backward(self, dlogits, cache, params, grads):
        """Gradient of `forward`: returns dx (..., D)."""
        mask, linear_cache = cache
        return dropout_backward(self.linear.backward(dlogits, linear_cache, params, grads), mask)


class PooledScores:
    """Scores for the whole sequence: linear(dropout(pooler(x))), (..., R, D) -> (..., C).

    Args:
        name, width, classes, rate: as in `Scores`.
    """

    scope = "bert."  # of the pooler, which belongs to the body

    def __init__(self, name, width, classes, rate=0.0):
        self.pooler = Pooler(width)
        self.scores = Scores(name, width, classes, rate)

    def shapes(self):
        """Return the shapes of the pooler and of the linear map."""
        return {**prefixed(self.scope, self.pooler.shapes()), **self.scores.shapes()}

    def forward(self, params, x, rng=None):
        """Score each sequence by the first row of x (..., R, D): (..., C), and the cache."""
        pooled, pooler_cache = self.pooler.forward(params.scope(self.scope), x)
        logits, scores_cache = self.scores.forward(params, pooled, rng)
        return logits, (pooler_cache, scores_cache)

    def backward(self, dlogits, cache, params, grads):
        """Gradient of `forward`: dx (..., R, D), zero but for the first row."""
        pooler_cache, scores_cache = cache
        dpooled = self.scores.backward(dlogits, scores_cache, params, grads)
        return self.pooler.backward(
            dpooled, pooler_cache, params.scope(self.scope), grads.scope(self.scope)
        )


class VocabularyScores:
    """Scores for each token of the vocabulary, (..., D) -> (..., V).

        logits = layer_norm(activation(linear(x))) Wᵀ + b,   W the word embeddings

    Devlin et al. (2019), section 3.1, and their code; tied as in Press and Wolf (2017).

    Args:
        config: the model's `BertConfig`.
    """

    tied = "bert.embeddings.word_embeddings.weight"
    bias = "cls.predictions.bias"
    scope = "cls.predictions.transform."

    def __init__(self, config):
        self.vocab_size = config.vocab_size
        self.frozen_table = False  # whether the embeddings, and so the table, don't learn
        self.dense = Linear("dense", config.hidden_size, config.hidden_size)
        self.activation_forward = ACTIVATIONS[config.hidden_act]
        self.norm = LayerNorm("LayerNorm", config.hidden_size, config.layer_norm_eps)

    def shapes(self):
        """Return the shapes of the transform and of the decoder's bias; its table is the body's."""
        transform = {**self.dense.shapes(), **self.norm.shapes()}
        return {**prefixed(self.scope, transform), self.bias: (self.vocab_size,)}

    def forward(self, params, x, rng=None):
        """Score the vocabulary for each row of x (..., D): returns (..., V), and the cache."""
        transform = params.scope(self.scope)
        dense, dense_cache = self.dense.forward(transform, x)
        active, slope = self.activation_forward(dense)
        h, norm_cache = self.norm.forward(transform, active)
        flat = h.reshape(-1, h.shape[-1])  # (..., D) -> (M, D)
        logits, _ = linear_forward(flat, params[self.tied], params[self.bias])
        return logits.reshape(*x.shape[:-1], -1), (dense_cache, slope, norm_cache, flat)

    def backward(self, dlogits, cache, params, grads):
        """Gradient of `forward`: returns dx; the tied table's is added to what it has already."""
        dense_cache, slope, norm_cache, flat = cache
        transform, transform_grads = params.scope(self.scope), grads.scope(self.scope)
        table = params[self.tied]
        dh = linear_backward(
            dlogits.reshape(-1, dlogits.shape[-1]),  # (..., V) -> (M, V)
            flat,
            table,
            np.zeros_like(table) if self.frozen_table else grads[self.tied],
            grads[self.bias],
        )
        dh = dh.reshape(*dlogits.shape[:-1], -1)  # (M, D) -> (..., D)
        dactive = self.norm.backward(dh, norm_cache, transform, transform_grads)
        ddense = slope_backward(dactive, slope)
        return self.dense.backward(ddense, dense_cache, transform, transform_grads)

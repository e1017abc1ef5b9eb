"""The classifier of a text as two parts: a layer that [CLS] passes, and a linear map to logits.

All families compute logits = linear(activation(dense(x))) from the vector x of [CLS]. If vectors
are trained first and classified afterwards, the activation is in the way: it saturates, and the
dense layer is new. With

    dense(x) = g x + b

tanh with g = 1/10, and GELU and ReLU with b = 1, are nearly linear, and so is GELU with g = 1/50 in
a layer without b, behind which a norm makes the numbers large again. So the vectors pass almost
unchanged; and whatever they still lose, a linear classifier that is fitted behind the activation
takes into account. So the model stays an ordinary one of its family.
"""

from typing import Any

import numpy as np

from minibert.functional import activate_forward
from minibert.layers import LayerNorm, Linear, PooledClassifierHead
from minibert.models.checkpoints import PreTrained
from minibert.models.families.summary import SummaryHead
from minibert.models.heads import BertForSequenceClassification
from minibert.typing import Array

GAIN = 0.1  # layer norm leaves numbers of about 1; the curvature of tanh at 0.1 is 0.3 %
SMALL_GAIN = 0.02  # where GELU has no offset: gelu(z) = z / 2 + 0.4 z² + ...
OFFSET = 1.0  # of activations that are 0 for negative numbers


def pass_vectors(model: BertForSequenceClassification) -> None:
    """Let the layer below the logits pass the vector of [CLS] almost unchanged, in place."""
    dense, activation, norm, _ = _layers(model.head)
    has_bias = dense.bias in model.params
    gain = GAIN if has_bias else SMALL_GAIN
    model.params[dense.weight][:] = gain * np.eye(dense.outputs)
    if has_bias:
        model.params[dense.bias][:] = 0 if activation == "tanh" else OFFSET
    if norm is not None:
        model.params[norm.weight][:] = 1


def classifier_inputs(model: BertForSequenceClassification, vectors: Array) -> Array:
    """Return what the linear map to the logits reads (S, D).

    Args:
        model: a classifier of texts.
        vectors (S, D): of [CLS], or the means that the classifier reads.
    """
    dense, activation, norm, _ = _layers(model.head)
    z, _ = dense.forward(model.params, vectors)
    out = np.tanh(z) if activation == "tanh" else activate_forward(z, None, activation)[0]
    return out if norm is None else norm.forward(model.params, out)[0]


def set_classifier(model: BertForSequenceClassification, weight: Array, bias: Array) -> None:
    """Write the linear map to the logits: weights (C, D) and biases (C,), in place."""
    *_, out = _layers(model.head)
    model.params[out.weight][:] = weight
    model.params[out.bias][:] = bias


def scale_outputs(model: PreTrained, scale: float, offset: float) -> None:
    """Let the outputs o be scale · o + offset, in place."""
    *_, out = _layers(getattr(model, "head", None))
    bias = model.params[out.bias]
    model.params[out.weight] *= scale
    bias[:] = bias * scale + offset


def _layers(head: Any) -> tuple[Linear, str, LayerNorm | None, Linear]:
    """Return the dense layer, the name of its activation, its norm, and the map to the logits."""
    if isinstance(head, SummaryHead):
        return head.dense, head.activation, head.norm, head.out
    if isinstance(head, PooledClassifierHead):
        return head.pooler.dense, "tanh", None, head.classifier.linear
    raise TypeError(f"head: expected one with a dense layer, got {type(head).__name__}")

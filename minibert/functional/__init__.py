"""The mathematics of BERT in plain NumPy: each forward with its backward directly beneath it.

Read in this order: `linear`, `normalisation`, `activation`, `dropout`, `embedding`, `attention`,
`loss`. Everywhere B is the batch, T the tokens of a sequence, N = B·T, D the hidden size, K the
heads, H = D/K a head's width, F the feed-forward width, L the layers, V the vocabulary, C the
classes, M the masked places; and where they are needed I the inputs and O the outputs of a linear
map, R the rows of a sequence that are asked for, S the rows or texts of a data set, P the
parameters.
"""

from minibert.functional.activation import (
    ACTIVATIONS,
    gelu_forward,
    gelu_new_forward,
    relu_forward,
    slope_backward,
    tanh_backward,
    tanh_forward,
)
from minibert.functional.attention import (
    attention_backward,
    attention_forward,
    padding_bias,
    softmax_backward,
    softmax_forward,
)
from minibert.functional.dropout import draw_mask, dropout_backward, dropout_forward
from minibert.functional.embedding import (
    embedding_backward,
    embedding_forward,
    sinusoidal_positions,
)
from minibert.functional.linear import linear_backward, linear_forward
from minibert.functional.loss import (
    IGNORED,
    binary_cross_entropy_backward,
    binary_cross_entropy_forward,
    cross_entropy_backward,
    cross_entropy_forward,
    squared_error_backward,
    squared_error_forward,
)
from minibert.functional.normalization import layer_norm_backward, layer_norm_forward

__all__ = [
    "ACTIVATIONS",
    "IGNORED",
    "attention_backward",
    "attention_forward",
    "binary_cross_entropy_backward",
    "binary_cross_entropy_forward",
    "cross_entropy_backward",
    "cross_entropy_forward",
    "draw_mask",
    "dropout_backward",
    "dropout_forward",
    "embedding_backward",
    "embedding_forward",
    "gelu_forward",
    "gelu_new_forward",
    "layer_norm_backward",
    "layer_norm_forward",
    "linear_backward",
    "linear_forward",
    "padding_bias",
    "relu_forward",
    "sinusoidal_positions",
    "slope_backward",
    "softmax_backward",
    "softmax_forward",
    "squared_error_backward",
    "squared_error_forward",
    "tanh_backward",
    "tanh_forward",
]

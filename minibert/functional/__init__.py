"""The mathematics of BERT in NumPy: each forward with its backward directly below it.

Read in this order: `linear`, `dropout`, `normalization`, `activation`, `embedding`, `attention`,
`cross_entropy`. Everywhere B is the batch, T the tokens of a sequence, N = B·T, D the hidden size,
K the heads, H = D/K a head's width, F the feed-forward width, L the layers, V the vocabulary, C the
classes, M the masked positions, R the query positions of a sequence; and where they are needed I
and O the inputs and outputs of a linear map, P the number of parameters.

A function overwrites only an argument that its docstring calls consumed. `keep=False` permits it to
drop its cache and use memory again, because no backward follows; the arithmetic is the same.
"""

from minibert.functional.activation import (
    ACTIVATIONS,
    activate_backward,
    activate_forward,
)
from minibert.functional.attention import (
    AttentionCache,
    attention_backward,
    attention_forward,
    padding_mask,
    softmax_backward,
    softmax_forward,
)
from minibert.functional.cross_entropy import (
    IGNORED,
    cross_entropy_backward,
    cross_entropy_forward,
)
from minibert.functional.dropout import (
    DropoutMask,
    draw_mask,
    dropout_backward,
    dropout_forward,
)
from minibert.functional.embedding import (
    embedding_backward,
    embedding_forward,
    gather_backward,
    gather_forward,
)
from minibert.functional.gate import gate_backward, gate_forward
from minibert.functional.linear import (
    Unwritten,
    add_product,
    linear_backward,
    linear_forward,
)
from minibert.functional.loss import (
    binary_cross_entropy_backward,
    binary_cross_entropy_forward,
    squared_error_backward,
    squared_error_forward,
)
from minibert.functional.normalization import (
    AddNormCache,
    NormCache,
    add_norm_backward,
    add_norm_forward,
    layer_norm_backward,
    layer_norm_forward,
)
from minibert.functional.relative import relative_bias_backward, relative_bias_forward
from minibert.functional.rotary import rotary_table, rotate_backward, rotate_forward
from minibert.functional.sinusoidal import sinusoidal_positions
from minibert.functional.tanh import tanh_backward, tanh_forward

__all__ = [
    "ACTIVATIONS",
    "IGNORED",
    "AddNormCache",
    "AttentionCache",
    "DropoutMask",
    "NormCache",
    "Unwritten",
    "activate_backward",
    "activate_forward",
    "add_norm_backward",
    "add_norm_forward",
    "add_product",
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
    "gate_backward",
    "gate_forward",
    "gather_backward",
    "gather_forward",
    "layer_norm_backward",
    "layer_norm_forward",
    "linear_backward",
    "linear_forward",
    "padding_mask",
    "relative_bias_backward",
    "relative_bias_forward",
    "rotary_table",
    "rotate_backward",
    "rotate_forward",
    "sinusoidal_positions",
    "softmax_backward",
    "softmax_forward",
    "squared_error_backward",
    "squared_error_forward",
    "tanh_backward",
    "tanh_forward",
]

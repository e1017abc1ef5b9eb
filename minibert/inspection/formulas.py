"""The formula of each activation of a BERT, forward and backward, and the parameters it uses.

Each formula is about the arrays that are printed above it, by their names. In the backward, d x is
the gradient of the loss with respect to x.
"""

from typing import NamedTuple

from minibert.layers.embeddings import POSITIONS, SEGMENTS, WORDS
from minibert.layers.masked_lm import MaskedLMHead


class Entry(NamedTuple):
    """How an activation is computed.

    Attributes:
        forward: the formula of its value.
        backward: the formula of its gradient.
        parameters: names in their scope, and the formulas of their gradients.
    """

    forward: str
    backward: str
    parameters: tuple[tuple[str, str], ...] = ()


def _linear(name: str, out: str, x: str) -> tuple[tuple[str, str], ...]:
    """Return the parameters of `out` = `x` Wᵀ + b."""
    return (
        (f"{name}.weight", f"(d {out})ᵀ {x}"),
        (f"{name}.bias", f"d {out}, summed over the tokens"),
    )


def _norm(name: str) -> tuple[tuple[str, str], ...]:
    """Return the parameters of a layer norm."""
    return (
        (f"{name}.weight", "d normalized * x̂, summed over the tokens"),
        (f"{name}.bias", "d normalized, summed over the tokens"),
    )


def _role(role: str, backward: str) -> Entry:
    """Return the entry of query, key or value."""
    forward = "x Wᵀ + b, cut into heads; x is the last normalized array"
    return Entry(forward, backward, _linear(f"attention.self.{role}", role, "x"))


NORM = "x̂ * weight + bias, x̂ = (s - mean) / √(variance + ε) of each token; s is the array above"
NORM_BACKWARD = "(g - mean(g) - x̂ mean(g * x̂)) / √(variance + ε), g = d normalized * weight"
SUMMAND = "d embedding sum: a sum passes its gradient to each summand"
ABOVE = "d residual sum + d query Wq + d key Wk + d value Wv, of the block above"
SCORES, WEIGHTS = "attention scores", "attention weights"  # (K, T, T), a token in each column

# The names of parameters are those in the scope of the embeddings.
EMBEDDINGS = {
    "word embedding": Entry(
        "the table's row of the token's id",
        SUMMAND,
        ((WORDS, "d word embedding of each token, added to the row of its id"),),
    ),
    "position embedding": Entry(
        "the table's row of the token's position",
        SUMMAND,
        ((POSITIONS, "d position embedding, in the row of each position"),),
    ),
    "segment embedding": Entry(
        "the table's row of the token's segment",
        SUMMAND,
        ((SEGMENTS, "d segment embedding of each token, added to the row of its segment"),),
    ),
    "embedding sum": Entry("word + position + segment embedding", NORM_BACKWARD),
    "normalized": Entry(NORM, ABOVE, _norm("LayerNorm")),
}
# In the scope of the block.
BLOCK = {
    "query": _role("query", "d scores key / √H"),
    "key": _role("key", "(d scores)ᵀ query / √H"),
    "value": _role("value", "weightsᵀ d heads"),
    SCORES: Entry("query keyᵀ / √H", "w * (d w - Σ d w * w) of each row, w the weights"),
    WEIGHTS: Entry("softmax of each row of the scores", "d heads valueᵀ"),
    "heads' output": Entry("weights value, the heads side by side", "d attention output W"),
    "attention output": Entry(
        "heads' output Wᵀ + b",
        "d residual sum (attention), unchanged",
        _linear("attention.output.dense", "attention output", "heads' output"),
    ),
    "residual sum (attention)": Entry("x + attention output", NORM_BACKWARD),
    "normalized (attention)": Entry(
        NORM,
        "d residual sum (feed-forward) + d up-projection W",
        _norm("attention.output.LayerNorm"),
    ),
    "up-projection": Entry(
        "h Wᵀ + b; h is the last normalized array",
        "d activation * ACTIVATION'(up-projection)",
        _linear("intermediate.dense", "up-projection", "h"),
    ),
    "activation": Entry("ACTIVATION(up-projection)", "d down-projection W"),
    "down-projection": Entry(
        "activation Wᵀ + b",
        "d residual sum (feed-forward), unchanged",
        _linear("output.dense", "down-projection", "activation"),
    ),
    "residual sum (feed-forward)": Entry("h + down-projection", NORM_BACKWARD),
    "normalized (feed-forward)": Entry(NORM, ABOVE, _norm("output.LayerNorm")),
}
# Of both heads; full names.
TRANSFORM = "cls.predictions.transform"
HEAD = {
    "transform": Entry(
        "x Wᵀ + b; x is the last normalized array",
        "d activation * ACTIVATION'(transform)",
        _linear(f"{TRANSFORM}.dense", "transform", "x"),
    ),
    "activation": Entry("ACTIVATION(transform)", NORM_BACKWARD),
    "normalized": Entry(NORM, "d logits E", _norm(f"{TRANSFORM}.LayerNorm")),
    "pooler": Entry(
        "tanh(x₀ Wᵀ + b); x₀ is the last vector of [CLS]",
        "d logits W",
        (
            ("bert.pooler.dense.weight", "(d pooler * (1 - pooler²))ᵀ x₀"),
            ("bert.pooler.dense.bias", "d pooler * (1 - pooler²)"),
        ),
    ),
}
LOGITS = {
    "BertForMaskedLM": Entry(
        "normalized Eᵀ + bias; E is the table of word embeddings",
        "(softmax - one-hot of the label) / M for the M labels, 0 elsewhere",
        ((MaskedLMHead.bias, "d logits, summed over the tokens"),),
    ),
    "BertForSequenceClassification": Entry(
        "pooler Wᵀ + b",
        "softmax - one-hot of the label",
        (("classifier.weight", "(d logits)ᵀ pooler"), ("classifier.bias", "d logits")),
    ),
}
# The gradient of the last block's output.
TOP = {
    "BertForMaskedLM": "d transform W",
    "BertForSequenceClassification": "(d pooler * (1 - pooler²)) W for [CLS], 0 for the others",
}
TIED = "; and (d logits)ᵀ normalized of the head, because the table is used twice"

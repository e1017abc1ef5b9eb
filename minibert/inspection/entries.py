"""The formulas of layers that contain no other: their activations, gradients and parameters.

Each formula is about the arrays that are printed above it, by their names. In the backward, d x is
the gradient of the loss with respect to x.
"""

from collections.abc import Sequence
from typing import NamedTuple

from minibert.layers import (
    Embeddings,
    FeedForward,
    GatedFeedForward,
    LayerNorm,
    LayerNormWithoutBias,
    LinearWithoutBias,
    MaskedLMHead,
    PooledClassifierHead,
    Positions,
    WordEmbeddings,
)
from minibert.layers.embeddings import POSITIONS, SEGMENTS, WORDS
from minibert.layers.families.disentangled import ProjectedNorm
from minibert.layers.linear import WeightAndBias
from minibert.models.families.summary import SummaryHead

LAST_NORM, EMBEDDED = "the last normalized array", "the normalized embeddings"
Parameters = tuple[tuple[str, str], ...]


class Entry(NamedTuple):
    """How an activation is computed.

    Attributes:
        forward: the formula of its value.
        backward: the formula of its gradient.
        parameters: names in their scope, and the formulas of their gradients.
    """

    forward: str
    backward: str
    parameters: Parameters = ()


Entries = dict[str, Entry]  # by name, in the order of the forward pass


class Around(NamedTuple):
    """What surrounds a layer.

    Attributes:
        above: the gradient of the layer's output, which the layers that read it hand back.
        x: what the layer reads.
        positions: those beside attention; None: there are none.
    """

    above: str
    x: str = LAST_NORM
    positions: Positions | None = None


def mapped(linear: WeightAndBias, x: str, weight: str = "W") -> str:
    """Return the formula of a linear map of `x` (str)."""
    return f"{x} {weight}ᵀ" if isinstance(linear, LinearWithoutBias) else f"{x} {weight}ᵀ + b"


def linear_parameters(names: WeightAndBias, out: str, x: str) -> Parameters:
    """Return the parameters of the map from `x` to `out`; without a bias, a name is unknown."""
    return (names.weight, f"(d {out})ᵀ {x}"), (names.bias, f"d {out}, summed over the tokens")


def norm_entry(norm: LayerNorm, backward: str) -> Entry:
    """Return the entry of a norm's output, given the formula of its gradient."""
    bias = "" if isinstance(norm, LayerNormWithoutBias) else " + bias"
    standard = "x̂ = (s - mean) / √(variance + ε) of each token; s is the array above"
    parameters = (
        (norm.weight, "d normalized * x̂, summed over the tokens"),
        (norm.bias, "d normalized, summed over the tokens"),
    )
    return Entry(f"x̂ * weight{bias}, {standard}", backward, parameters)


def norm_handed(out: str = "normalized") -> str:
    """Return the gradient of a norm's input, from that of its output (str)."""
    return f"(g - mean(g) - x̂ mean(g * x̂)) / √(variance + ε), g = d {out} * weight"


# Embeddings.

SUMMAND = "d embedding sum: a sum passes its gradient to each summand"
TABLES = {
    WORDS: ("word", "id", "d word embedding of each token, added to the row of its id"),
    POSITIONS: ("position", "position", "d position embedding, in the row of each position"),
    SEGMENTS: (
        "segment", "segment", "d segment embedding of each token, added to the row of its segment"
    ),
}  # fmt: skip


def _summed(tables: Sequence[str], backward: str) -> Entries:
    """Return the entries of tables whose rows are added, and of their sum."""
    entries, several = {}, len(tables) > 1
    for table in tables:
        kind, number, gradient = TABLES[table]
        forward = f"the table's row of the token's {number}"
        one = Entry(forward, SUMMAND if several else backward, ((table, gradient),))
        entries[f"{kind} embedding"] = one
    if several:
        kinds = " + ".join(TABLES[table][0] for table in tables)
        entries["embedding sum"] = Entry(f"{kinds} embedding", backward)
    return entries


def embeddings(layer: Embeddings, around: Around) -> Entries:
    """Return the entries of BERT's embeddings."""
    tables = [WORDS, *([POSITIONS] if layer.positions is not None else []), SEGMENTS]
    return {**_summed(tables, norm_handed()), "normalized": norm_entry(layer.norm, around.above)}


def word_embeddings(layer: WordEmbeddings, around: Around) -> Entries:
    """Return the entries of a relative's embeddings, with a projection before the norm or after."""
    tables, norm = [WORDS, *(table.name for table in layer.added)], layer.norm
    if isinstance(norm, ProjectedNorm):
        total = "embedding sum" if layer.added else "word embedding"
        parameters = linear_parameters(norm.project, "projection", total)
        return {
            **_summed(tables, "d projection W"),
            "projection": Entry(mapped(norm.project, total), norm_handed(), parameters),
            "normalized": norm_entry(norm, around.above),
        }
    entries = _summed(tables, norm_handed())
    if layer.project is None:
        return {**entries, "normalized": norm_entry(norm, around.above)}
    parameters = linear_parameters(layer.project, "projection", "normalized")
    return {
        **entries,
        "normalized": norm_entry(norm, "d projection W"),
        "projection": Entry(mapped(layer.project, "normalized"), around.above, parameters),
    }


# Feed-forward sublayers.


def feed_forward(layer: FeedForward, around: Around) -> Entries:
    """Return the entries of a feed-forward sublayer."""
    f, up, down = layer.activation, "up-projection", "down-projection"
    return {
        up: Entry(
            f"{mapped(layer.up, 'h')}; h is {LAST_NORM}",
            f"d activation * {f}'({up})",
            linear_parameters(layer.up, up, "h"),
        ),
        "activation": Entry(f"{f}({up})", f"d {down} W"),
        down: Entry(
            mapped(layer.down, "activation"),
            around.above,
            linear_parameters(layer.down, down, "activation"),
        ),
    }


def gated(layer: GatedFeedForward, around: Around) -> Entries:
    """Return the entries of a gated feed-forward sublayer."""
    f, up, out, down = layer.activation, "up-projection", "gated activation", "down-projection"
    first, second = (WeightAndBias(f"intermediate.{half}") for half in ("dense", "gate"))
    return {
        up: Entry(
            f"{mapped(layer.up, 'h')}; h is {LAST_NORM}",
            f"d {out} * gate * {f}'({up})",
            linear_parameters(first, up, "h"),
        ),
        "gate": Entry(
            f"{mapped(layer.up, 'h', 'V')}; h is {LAST_NORM}",
            f"d {out} * {f}({up})",
            linear_parameters(second, "gate", "h"),
        ),
        out: Entry(f"{f}({up}) * gate", f"d {down} W"),
        down: Entry(
            mapped(layer.down, out), around.above, linear_parameters(layer.down, down, out)
        ),
    }


# Heads, whose parameters have full names, and to which the loss hands its gradient.


def masked_lm(layer: MaskedLMHead, around: Around) -> Entries:
    """Return the entries of the masked-LM head."""
    f = layer.activation
    return {
        "transform": Entry(
            f"{mapped(layer.dense, 'x')}; x is {LAST_NORM}",
            f"d activation * {f}'(transform)",
            linear_parameters(layer.dense, "transform", "x"),
        ),
        "activation": Entry(f"{f}(transform)", norm_handed()),
        "normalized": norm_entry(layer.norm, "d logits E"),
        "logits": Entry(
            "normalized Eᵀ + bias; E is the table of word embeddings",
            around.above,
            ((layer.bias, "d logits, summed over the tokens"),),
        ),
    }


def _vector(names: WeightAndBias, gradient: str) -> Parameters:
    """Return the parameters of a map of the vector x₀."""
    return (names.weight, f"({gradient})ᵀ x₀"), (names.bias, gradient)


def _classes(names: WeightAndBias, x: str, around: Around) -> Entry:
    """Return the entry of the logits of classes."""
    parameters = (names.weight, f"(d logits)ᵀ {x}"), (names.bias, "d logits")
    return Entry(mapped(names, x), around.above, parameters)


def pooled(layer: PooledClassifierHead, around: Around) -> Entries:
    """Return the entries of the pooler and the classifier."""
    dense = layer.pooler.dense
    forward = f"tanh({mapped(dense, 'x₀')}); x₀ is {around.x}"
    pooler = Entry(forward, "d logits W", _vector(dense, "d pooler * (1 - pooler²)"))
    return {"pooler": pooler, "logits": _classes(layer.classifier.linear, "pooler", around)}


def summary(layer: SummaryHead, around: Around) -> Entries:
    """Return the entries of a classifier of two maps."""
    f, back = layer.activation, "d logits W"
    slope = "(1 - activation²)" if f == "tanh" else f"{f}'(dense)"
    forward = f"{mapped(layer.dense, 'x₀')}; x₀ is {around.x}"
    entries = {
        "dense": Entry(forward, f"d activation * {slope}", _vector(layer.dense, "d dense")),
        "activation": Entry(f"{f}(dense)", back),
    }
    if layer.norm is None:
        return {**entries, "logits": _classes(layer.out, "activation", around)}
    entries["activation"] = Entry(f"{f}(dense)", norm_handed())
    normalized = norm_entry(layer.norm, back)
    return {
        **entries,
        "normalized": normalized,
        "logits": _classes(layer.out, "normalized", around),
    }

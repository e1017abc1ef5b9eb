"""The activations of a model on one text, and their gradients.

A model's own layers compute. Each layer that is shown is wrapped in a `Recorder`, which reads the
activations from the layer's cache after the forward, and their gradients before the backward.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from minibert.functional import (
    AttentionCache,
    activate_backward,
    activate_forward,
    attention_backward,
    embedding_forward,
    layer_norm_backward,
    linear_forward,
)
from minibert.layers import (
    Block,
    Embeddings,
    FeedForward,
    GatedFeedForward,
    MaskedLMHead,
    Pooler,
    PreNormResidual,
    Residual,
    SelfAttention,
    WordEmbeddings,
)
from minibert.layers.attention import SelfAttentionCache
from minibert.layers.block import ResidualCache
from minibert.layers.embeddings import POSITIONS, SEGMENTS, WORDS, EmbeddingsCache
from minibert.layers.families.windowed import WindowedSelfAttention
from minibert.layers.feed_forward import FeedForwardCache
from minibert.layers.gated import GatedFeedForwardCache
from minibert.layers.heads import PoolerCache
from minibert.layers.masked_lm import MaskedLMCache
from minibert.layers.word_embeddings import WordEmbeddingsCache

Arrays = dict[str, np.ndarray]
ADDED = {POSITIONS: "position embedding", SEGMENTS: "segment embedding"}  # of `WordEmbeddings`
RESIDUALS = Residual, PreNormResidual
FEED_FORWARDS = FeedForward, GatedFeedForward


@dataclass(frozen=True)
class Activation:
    """An array that is computed on the way through a model.

    Attributes:
        name: unique within its part.
        part: "embeddings", "block 1" to "block L", or "head".
        value: of one text, without the batch axis.
        gradient: of the score with respect to the value; None: there was no backward.
    """

    name: str
    part: str
    value: np.ndarray
    gradient: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The value's shape."""
        return self.value.shape

    @property
    def norm(self) -> float:
        """The value's Euclidean norm."""
        return float(np.linalg.norm(self.value))

    @property
    def gradient_norm(self) -> float | None:
        """The gradient's Euclidean norm; None: there is no gradient."""
        return None if self.gradient is None else float(np.linalg.norm(self.gradient))


@dataclass(eq=False, repr=False)
class Recorder:
    """A layer that records its activations, and is the same layer otherwise.

    Attributes:
        layer: computes.
        part: the part of the model.
        records: the recorders of the model, in the order in which their forwards end.
        unknown: the name of the output of a layer that has no reader; empty: not recorded.
        name: of the layer inside its part.
        out: the last output.
        values, gradients: the activations by name, with the batch axis.
        observe: called with the cache after the forward.
    """

    layer: Any
    part: str
    records: list["Recorder"]
    unknown: str = ""
    name: str = ""
    out: Any = None
    values: Arrays = field(default_factory=dict)
    gradients: Arrays = field(default_factory=dict)
    observe: Callable[[Any], None] | None = None

    def forward(self, params: Any, x: Any, *more: Any, **options: Any) -> tuple[Any, Any]:
        """Run the layer's forward, and record its activations."""
        out, cache = self.layer.forward(params, x, *more, **options)
        self.out = np.copy(out)
        if self.observe is not None:
            self.observe(cache)
        reader = reader_of(self.layer)
        values = {self.unknown: out} if self.unknown else {}
        if reader is not None:
            values = reader.values(self.layer, cache, params, x, out)
        self.values = {name + self.name: np.copy(value) for name, value in values.items()}
        self.records.append(self)
        return out, cache

    def backward(self, dout: Any, cache: Any, params: Any, grads: Any, *more: Any) -> Any:
        """Record the gradients of the activations, and run the layer's backward."""
        reader = reader_of(self.layer)
        gradients = {self.unknown: dout} if self.unknown else {}
        if reader is not None:
            gradients = reader.gradients(self.layer, cache, params, dout)
        self.gradients = {name + self.name: np.copy(value) for name, value in gradients.items()}
        return self.layer.backward(dout, cache, params, grads, *more)

    def __getattr__(self, name: str) -> Any:
        """Return the layer's attribute."""
        return getattr(self.layer, name)

    def activations(self) -> Iterator[Activation]:
        """Yield the activations of the batch's only text."""
        for name, value in self.values.items():
            gradient = self.gradients.get(name)
            yield Activation(name, self.part, value[0], None if gradient is None else gradient[0])


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape as it is printed, such as "4 x 128" (str)."""
    return " x ".join(map(str, shape))


def record_block(block: Any, part: str, records: list[Recorder]) -> Recorder:
    """Wrap a block and the layers in it that are shown.

    Args:
        block: a layer, whose attributes are replaced.
        part: its name.
        records: filled during the forward.
    """
    _record_inside(block, part, records)
    return Recorder(block, part, records, unknown="block output")


def _record_inside(layer: Any, part: str, records: list[Recorder]) -> None:
    """Replace the attributes that are shown, at any depth, by recorders of them."""
    for name, inner in list(getattr(layer, "__dict__", {}).items()):
        if name == "sublayer" and isinstance(layer, RESIDUALS):
            _record_inside(inner, part, records)
            setattr(layer, name, Recorder(inner, part, records, unknown="sublayer output"))
        elif isinstance(inner, (Block, SelfAttention, *FEED_FORWARDS, *RESIDUALS)):
            _record_inside(inner, part, records)
            kind = f" ({_kind(inner.sublayer)})" if isinstance(inner, RESIDUALS) else ""
            setattr(layer, name, Recorder(inner, part, records, name=kind))


def _kind(sublayer: Any) -> str:
    """Name the sublayer of a residual."""
    layer = sublayer.layer if isinstance(sublayer, Recorder) else sublayer
    if isinstance(layer, SelfAttention):
        return "attention"
    return "feed-forward" if isinstance(layer, FEED_FORWARDS) else type(layer).__name__


class Reader(NamedTuple):
    """How to read activations from a cache.

    Attributes:
        values: called as `values(layer, cache, params, x, out)`.
        gradients: called as `gradients(layer, cache, params, dout)`.
    """

    values: Callable[[Any, Any, Any, Any, Any], Arrays]
    gradients: Callable[[Any, Any, Any, Any], Arrays]


def _attention_values(
    layer: Any, cache: SelfAttentionCache, params: Any, x: Any, out: Any
) -> Arrays:
    heads = cache.heads
    H = heads.key.shape[-1]
    return {
        "query": heads.query,
        "key": heads.key,
        "value": heads.value,
        # (B, K, R, H) @ (B, K, H, T) -> (B, K, R, T)
        "attention scores": heads.query @ heads.key.swapaxes(-1, -2) / math.sqrt(H),
        "attention weights": heads.weights,
        "heads' output": cache.merged.reshape(out.shape),  # (B·R, D) -> (B, R, D)
        "attention output": out,
    }


def _attention_gradients(layer: Any, cache: SelfAttentionCache, params: Any, dout: Any) -> Arrays:
    # Of all pairs of tokens; a window has weights of 0 outside of it, so their gradients are 0.
    heads = AttentionCache(cache.heads.weights, *cache.heads[1:])
    B, K, R, H = heads.query.shape
    dmerged = dout @ params[layer.output.weight]  # (B, R, D) @ (D, D) -> (B, R, D)
    dheads = dmerged.reshape(B, R, K, H).transpose(0, 2, 1, 3)  # (B, R, D) -> (B, K, R, H)
    dscores = np.empty_like(heads.weights)
    dquery, dkey, dvalue = attention_backward(dheads, heads, dscores)
    return {
        "query": dquery,
        "key": dkey,
        "value": dvalue,
        "attention scores": dscores,
        # (B, K, R, H) @ (B, K, H, T) -> (B, K, R, T)
        "attention weights": dheads @ heads.value.swapaxes(-1, -2),
        "heads' output": dmerged,
        "attention output": dout,
    }


def _feed_forward_values(
    layer: Any, cache: FeedForwardCache, params: Any, x: Any, out: Any
) -> Arrays:
    z, _ = linear_forward(cache.rows, params[layer.up.weight], params[layer.up.bias])  # (N, F)
    leading = out.shape[:-1]
    return {
        "up-projection": z.reshape(*leading, -1),  # (N, F) -> (B, R, F)
        "activation": cache.active.reshape(*leading, -1),
        "down-projection": out,
    }


def _feed_forward_gradients(layer: Any, cache: FeedForwardCache, params: Any, dout: Any) -> Arrays:
    dactive = dout @ params[layer.down.weight]  # (B, R, D) @ (D, F) -> (B, R, F)
    dz = activate_backward(dactive.reshape(cache.active.shape), cache.slope)
    return {
        "up-projection": dz.reshape(dactive.shape),
        "activation": dactive,
        "down-projection": dout,
    }


def _residual_values(layer: Any, cache: ResidualCache, params: Any, x: Any, out: Any) -> Arrays:
    # The norm consumed the sublayer's output, of which its recorder kept a copy.
    return {"residual sum": x + layer.sublayer.out, "normalized": out}


def _residual_gradients(layer: Any, cache: ResidualCache, params: Any, dout: Any) -> Arrays:
    dsum = _norm_input_gradient(dout, cache.norm.norm, params[layer.norm.weight])
    return {"residual sum": dsum, "normalized": dout}


def _gated_values(
    layer: Any, cache: GatedFeedForwardCache, params: Any, x: Any, out: Any
) -> Arrays:
    product = cache.product.reshape(*out.shape[:-1], -1)  # (N, F) -> (B, R, F)
    return {"gated activation": product, "down-projection": out}


def _gated_gradients(layer: Any, cache: GatedFeedForwardCache, params: Any, dout: Any) -> Arrays:
    dproduct = dout @ params[layer.down.weight]  # (B, R, D) @ (D, F) -> (B, R, F)
    return {"gated activation": dproduct, "down-projection": dout}


def _pre_norm_values(layer: Any, cache: Any, params: Any, x: Any, out: Any) -> Arrays:
    return {"residual sum": out}


def _pre_norm_gradients(layer: Any, cache: Any, params: Any, dout: Any) -> Arrays:
    return {"residual sum": dout}


def _norm_input_gradient(dout: Any, cache: Any, weight: Any) -> Any:
    """Return the gradient of a layer norm's input (..., D)."""
    unused = np.zeros_like(weight)
    dx = layer_norm_backward(dout.reshape(-1, dout.shape[-1]), cache, weight, unused, unused)
    return dx.reshape(dout.shape)


def _embeddings_values(layer: Any, cache: EmbeddingsCache, params: Any, x: Any, out: Any) -> Arrays:
    words, _ = embedding_forward(cache.ids, params[WORDS])  # (B, T, D)
    segments, _ = embedding_forward(cache.types, params[SEGMENTS])
    values = {"word embedding": words}
    if layer.positions is not None:
        positions = layer.positions.forward(params, words.shape[1], words.dtype)[None]
        values["position embedding"] = positions  # (1, T, D), the same for every sequence
    values["segment embedding"] = segments
    total = sum(values.values())
    return {**values, "embedding sum": np.asarray(total), "normalized": out}


def _embeddings_gradients(layer: Any, cache: EmbeddingsCache, params: Any, dout: Any) -> Arrays:
    dsum = _norm_input_gradient(dout, cache.norm, params[layer.norm.weight])
    summands = ("word embedding", "position embedding", "segment embedding", "embedding sum")
    return {**dict.fromkeys(summands, dsum), "normalized": dout}


def _words_values(layer: Any, cache: WordEmbeddingsCache, params: Any, x: Any, out: Any) -> Arrays:
    words, _ = embedding_forward(cache.ids, params[WORDS])  # (B, T, E)
    values = {"word embedding": words}
    for table, numbers in zip(layer.added, cache.numbers, strict=True):
        rows, _ = embedding_forward(numbers, params[table.name])
        values[ADDED[table.name]] = rows.reshape(-1, *words.shape[1:])  # (T, E) -> (1, T, E)
    if layer.added:
        values["embedding sum"] = np.asarray(sum(values.values()))
    if layer.project is None or cache.rows is None:
        return {**values, "normalized": out}
    # (N, E) -> (B, T, E)
    return {**values, "normalized": cache.rows.reshape(words.shape), "projection": out}


def _words_gradients(layer: Any, cache: WordEmbeddingsCache, params: Any, dout: Any) -> Arrays:
    dnormed = dout
    if layer.project is not None:
        dnormed = dout @ params[layer.project.weight]  # (B, T, D) @ (D, E) -> (B, T, E)
    dsum = _norm_input_gradient(dnormed, cache.norm, params[layer.norm.weight])
    summands = ("word embedding", *ADDED.values(), "embedding sum")
    return {**dict.fromkeys(summands, dsum), "normalized": dnormed, "projection": dout}


def _pooler_values(layer: Any, cache: PoolerCache, params: Any, x: Any, out: Any) -> Arrays:
    return {"pooler": out}


def _pooler_gradients(layer: Any, cache: PoolerCache, params: Any, dout: Any) -> Arrays:
    return {"pooler": dout}


def _masked_lm_values(layer: Any, cache: MaskedLMCache, params: Any, x: Any, out: Any) -> Arrays:
    z, _ = linear_forward(cache.rows, *layer.dense.of(params))  # (M, D) -> (M, E)
    active, _ = activate_forward(z.copy(), None, layer.activation, keep=False)
    values = {"transform": z, "activation": active, "normalized": cache.h}
    return {name: value.reshape(*x.shape[:-1], -1) for name, value in values.items()}


def _masked_lm_gradients(layer: Any, cache: MaskedLMCache, params: Any, dout: Any) -> Arrays:
    dh = dout @ params[layer.table]  # (B, T, V) @ (V, E) -> (B, T, E)
    dactive = _norm_input_gradient(dh, cache.norm, params[layer.norm.weight])
    dz = activate_backward(dactive.reshape(cache.h.shape), cache.slope)
    return {"transform": dz.reshape(dh.shape), "activation": dactive, "normalized": dh}


def _nothing(*_: Any) -> Arrays:
    return {}


READERS: dict[type, Reader] = {
    Block: Reader(_nothing, _nothing),  # its two halves have recorders of their own
    Residual: Reader(_residual_values, _residual_gradients),
    WindowedSelfAttention: Reader(_attention_values, _attention_gradients),
    SelfAttention: Reader(_attention_values, _attention_gradients),
    FeedForward: Reader(_feed_forward_values, _feed_forward_gradients),
    Embeddings: Reader(_embeddings_values, _embeddings_gradients),
    PreNormResidual: Reader(_pre_norm_values, _pre_norm_gradients),
    GatedFeedForward: Reader(_gated_values, _gated_gradients),
    WordEmbeddings: Reader(_words_values, _words_gradients),
    Pooler: Reader(_pooler_values, _pooler_gradients),
    MaskedLMHead: Reader(_masked_lm_values, _masked_lm_gradients),
}


def reader_of(layer: Any) -> Reader | None:
    """Return the reader of a layer; None: its class is unknown, or changes forward or backward."""
    kind: Any = type(layer)
    known: Any
    for known, reader in READERS.items():
        if issubclass(kind, known):
            same = kind.forward is known.forward and kind.backward is known.backward
            return reader if same else None
    return None

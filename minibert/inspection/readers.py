"""How the activations of each layer, and their gradients, are read from the layer's cache."""

from typing import Any

import numpy as np

from minibert.functional import (
    activate_backward,
    activate_forward,
    embedding_forward,
    gate_backward,
    linear_forward,
    tanh_backward,
    tanh_forward,
)
from minibert.inspection.attention_readers import (
    Arrays,
    Reader,
    attention_gradients,
    attention_values,
    disentangled_gradients,
    disentangled_values,
    norm_input_gradient,
    nothing,
)
from minibert.layers import (
    Block,
    Embeddings,
    FeedForward,
    GatedFeedForward,
    LayerNorm,
    MaskedLMHead,
    Pooler,
    PreNormResidual,
    Residual,
    SelfAttention,
    WordEmbeddings,
)
from minibert.layers.block import ResidualCache
from minibert.layers.embeddings import POSITIONS, SEGMENTS, WORDS, EmbeddingsCache
from minibert.layers.families.disentangled import (
    DisentangledAttention,
    ProjectedNorm,
)
from minibert.layers.families.windowed import WindowedSelfAttention
from minibert.layers.feed_forward import FeedForwardCache
from minibert.layers.gated import GatedFeedForwardCache
from minibert.layers.heads import PoolerCache
from minibert.layers.masked_lm import MaskedLMCache
from minibert.layers.word_embeddings import WordEmbeddingsCache
from minibert.models.families.summary import (
    SummaryCache,
    SummaryHead,
    TwoLayerCache,
    TwoLayerHead,
)

ADDED = {POSITIONS: "position embedding", SEGMENTS: "segment embedding"}  # of `WordEmbeddings`


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
    dsum = norm_input_gradient(dout, cache.norm.norm, params[layer.norm.weight])
    return {"residual sum": dsum, "normalized": dout}


def _gated_values(
    layer: Any, cache: GatedFeedForwardCache, params: Any, x: Any, out: Any
) -> Arrays:
    z, _ = layer.up.forward(params, cache.rows)  # (N, D) -> (N, 2F)
    halves = np.split(z.reshape(*out.shape[:-1], -1), 2, axis=-1)  # (N, 2F) -> (B, R, F) twice
    product = cache.product.reshape(halves[0].shape)  # (N, F) -> (B, R, F)
    values = dict(zip(("up-projection", "gate"), halves, strict=True))
    return {**values, "gated activation": product, "down-projection": out}


def _gated_gradients(layer: Any, cache: GatedFeedForwardCache, params: Any, dout: Any) -> Arrays:
    dproduct = dout @ params[layer.down.weight]  # (B, R, D) @ (D, F) -> (B, R, F)
    dz = gate_backward(dproduct.reshape(cache.product.shape), cache.slopes)  # (N, 2F)
    dhalves = np.split(dz.reshape(*dout.shape[:-1], -1), 2, axis=-1)
    gradients = dict(zip(("up-projection", "gate"), dhalves, strict=True))
    return {**gradients, "gated activation": dproduct, "down-projection": dout}


def _pre_norm_values(layer: Any, cache: Any, params: Any, x: Any, out: Any) -> Arrays:
    return {"residual sum": out}  # its norm has a recorder of its own


def _pre_norm_gradients(layer: Any, cache: Any, params: Any, dout: Any) -> Arrays:
    return {"residual sum": dout}


def _norm_values(layer: Any, cache: Any, params: Any, x: Any, out: Any) -> Arrays:
    return {"normalized": out}


def _norm_gradients(layer: Any, cache: Any, params: Any, dout: Any) -> Arrays:
    return {"normalized": dout}


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
    dsum = norm_input_gradient(dout, cache.norm, params[layer.norm.weight])
    summands = ("word embedding", "position embedding", "segment embedding", "embedding sum")
    return {**dict.fromkeys(summands, dsum), "normalized": dout}


def _words_values(layer: Any, cache: WordEmbeddingsCache, params: Any, x: Any, out: Any) -> Arrays:
    words, _ = embedding_forward(cache.ids, params[WORDS])  # (B, T, E)
    values = {"word embedding": words}
    for table, numbers in zip(layer.added, cache.numbers, strict=True):
        rows, _ = embedding_forward(numbers, params[table.name])
        values[ADDED[table.name]] = rows.reshape(-1, *words.shape[1:])  # (T, E) -> (1, T, E)
    total = np.asarray(sum(values.values()))
    if layer.added:
        values["embedding sum"] = total
    if isinstance(layer.norm, ProjectedNorm):
        values["projection"], _ = layer.norm.project.forward(params, total)
    if layer.project is None or cache.rows is None:
        return {**values, "normalized": out}
    # (N, E) -> (B, T, E)
    return {**values, "normalized": cache.rows.reshape(words.shape), "projection": out}


def _words_gradients(layer: Any, cache: WordEmbeddingsCache, params: Any, dout: Any) -> Arrays:
    dnormed, norm = dout, cache.norm
    gradients = {}
    if layer.project is not None:
        gradients["projection"] = dout
        dnormed = dout @ params[layer.project.weight]  # (B, T, D) @ (D, E) -> (B, T, E)
    projected = isinstance(layer.norm, ProjectedNorm)
    own: Any = norm
    dsum = norm_input_gradient(dnormed, own.norm if projected else norm, params[layer.norm.weight])
    if projected:
        gradients["projection"] = dsum
        dsum = dsum @ params[layer.norm.project.weight]  # (B, T, D) @ (D, E) -> (B, T, E)
    summands = ("word embedding", *ADDED.values(), "embedding sum")
    return {**dict.fromkeys(summands, dsum), "normalized": dnormed, **gradients}


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
    dactive = norm_input_gradient(dh, cache.norm, params[layer.norm.weight])
    dz = activate_backward(dactive.reshape(cache.h.shape), cache.slope)
    return {"transform": dz.reshape(dh.shape), "activation": dactive, "normalized": dh}


def _two_layer_values(layer: Any, cache: TwoLayerCache, params: Any, x: Any, out: Any) -> Arrays:
    z, _ = layer.dense.forward(params, cache.rows)  # (N, D)
    active = _activated(layer, z.copy())
    values = {"dense": z, "activation": active}
    if layer.norm is not None:
        values["normalized"], _ = layer.norm.forward(params, active)
    return {name: value.reshape(*out.shape[:-1], -1) for name, value in values.items()}


def _activated(layer: Any, z: Any) -> Any:
    if layer.activation == "tanh":
        return tanh_forward(z)[0]
    return activate_forward(z, None, layer.activation, keep=False)[0]


def _two_layer_gradients(layer: Any, cache: TwoLayerCache, params: Any, dout: Any) -> Arrays:
    drows = dout.reshape(len(cache.rows), -1) @ params[layer.out.weight]  # (N, C) @ (C, D)
    gradients = {}
    if layer.norm is not None:
        gradients["normalized"] = drows
        drows = norm_input_gradient(drows, cache.norm, params[layer.norm.weight])
    undo: Any = tanh_backward if layer.activation == "tanh" else activate_backward
    gradients |= {"activation": drows, "dense": undo(drows.copy(), cache.slope)}
    return {name: value.reshape(*dout.shape[:-1], -1) for name, value in gradients.items()}


def _summary_values(layer: Any, cache: SummaryCache, params: Any, x: Any, out: Any) -> Arrays:
    return _two_layer_values(layer, cache.head, params, x, out)


def _summary_gradients(layer: Any, cache: SummaryCache, params: Any, dout: Any) -> Arrays:
    return _two_layer_gradients(layer, cache.head, params, dout)


READERS: dict[type, Reader] = {
    Block: Reader(nothing, nothing),  # its two halves have recorders of their own
    Residual: Reader(_residual_values, _residual_gradients),
    WindowedSelfAttention: Reader(attention_values, attention_gradients),
    SelfAttention: Reader(attention_values, attention_gradients),
    FeedForward: Reader(_feed_forward_values, _feed_forward_gradients),
    Embeddings: Reader(_embeddings_values, _embeddings_gradients),
    PreNormResidual: Reader(_pre_norm_values, _pre_norm_gradients),
    GatedFeedForward: Reader(_gated_values, _gated_gradients),
    WordEmbeddings: Reader(_words_values, _words_gradients),
    Pooler: Reader(_pooler_values, _pooler_gradients),
    MaskedLMHead: Reader(_masked_lm_values, _masked_lm_gradients),
    DisentangledAttention: Reader(disentangled_values, disentangled_gradients),
    LayerNorm: Reader(_norm_values, _norm_gradients),
    SummaryHead: Reader(_summary_values, _summary_gradients),
    TwoLayerHead: Reader(_two_layer_values, _two_layer_gradients),
}


def reader_of(layer: Any) -> Reader | None:
    """Return the reader of a layer; None: its class is unknown, or changes forward or backward."""
    kind = stock_class(layer)
    return None if kind is None else READERS[kind]


def stock_class(layer: Any) -> type | None:
    """Return the class in `READERS` that computes what a layer does; None: there is none."""
    kind, classes = type(layer), list(READERS)
    same = (each for each in classes if issubclass(kind, each) and _computes_alike(kind, each))
    return next(same, None)


def _computes_alike(one: Any, other: Any) -> bool:
    """Return whether two classes have the same forward and backward."""
    return one.forward is other.forward and one.backward is other.backward

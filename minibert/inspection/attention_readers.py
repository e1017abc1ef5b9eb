"""How the activations of attention and of the positions beside it are read."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minibert.functional import (
    AttentionCache,
    attention_backward,
    embedding_backward,
    layer_norm_backward,
)
from minibert.functional.families.disentangled import disentangled_backward, disentangled_forward
from minibert.layers import (
    Positions,
    RelativeBias,
    RotaryPositions,
)
from minibert.layers.attention import SelfAttentionCache
from minibert.layers.families.disentangled import (
    CONTENT_TO_POSITION,
    POSITION_TO_CONTENT,
    TERMS,
    DisentangledAttention,
    DisentangledHeads,
    Distances,
    RelativeEmbeddings,
)
from minibert.layers.families.windowed import RotaryByKind, RotaryTables

Arrays = dict[str, np.ndarray]
# The vectors of distances that content reads in either term.
DISTANCES = {CONTENT_TO_POSITION: "distance key", POSITION_TO_CONTENT: "distance query"}


class Reader(NamedTuple):
    """How to read activations from a cache.

    Attributes:
        values: called as `values(layer, cache, params, x, out)`.
        gradients: called as `gradients(layer, cache, params, dout)`.
    """

    values: Callable[[Any, Any, Any, Any, Any], Arrays]
    gradients: Callable[[Any, Any, Any, Any], Arrays]


def nothing(*_: Any) -> Arrays:
    """Return no activations: there are none, or they have no gradients."""
    return {}


def norm_input_gradient(dout: Any, cache: Any, weight: Any) -> Any:
    """Return the gradient of a layer norm's input (..., D)."""
    unused = np.zeros_like(weight)
    dx = layer_norm_backward(dout.reshape(-1, dout.shape[-1]), cache, weight, unused, unused)
    return dx.reshape(dout.shape)


def attention_values(
    layer: Any, cache: SelfAttentionCache, params: Any, x: Any, out: Any
) -> Arrays:
    """Return the activations of self-attention by name."""
    heads, site = cache.heads, cache.site
    H = heads.key.shape[-1]
    query, key, _ = layer._project(x, slice(3 * layer.width), *layer.roles.of(params))
    values = {"query": query, "key": key, "value": heads.value}
    if turns(site.positions):
        values |= {"turned query": heads.query, "turned key": heads.key}
    # (B, K, R, H) @ (B, K, H, T) -> (B, K, R, T)
    scores = heads.query @ heads.key.swapaxes(-1, -2) / math.sqrt(H)
    if site.positions is not None and site.positions.adds_scores:
        scores += site.positions.scores(site)
    return {
        **values,
        "attention scores": scores,
        "attention weights": heads.weights,
        "heads' output": cache.merged.reshape(out.shape),  # (B·R, D) -> (B, R, D)
        "attention output": out,
    }


def attention_gradients(layer: Any, cache: SelfAttentionCache, params: Any, dout: Any) -> Arrays:
    """Return the gradients of the activations of self-attention by name."""
    site, positions = cache.site, cache.site.positions
    gradients = _weighted_gradients(layer, cache.heads, params, dout)
    if not turns(positions):
        return gradients
    dturned = {f"turned {role}": gradients[role] for role in ("query", "key")}
    back = {
        role: positions.turn_backward(gradients[role], site.keys, site.tables)
        for role in ("query", "key")
    }
    return {**gradients, **back, **dturned}


def turns(positions: Positions | None) -> bool:
    """Return whether positions turn queries and keys (bool)."""
    return positions is not None and type(positions).turn is not Positions.turn


def _weighted_gradients(layer: Any, cache: AttentionCache, params: Any, dout: Any) -> Arrays:
    """Return the gradients of what attention reads, makes and returns."""
    # Of all pairs of tokens; a window has weights of 0 outside of it, so their gradients are 0.
    heads = AttentionCache(cache.weights, *cache[1:])
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


def disentangled_values(
    layer: DisentangledAttention, cache: SelfAttentionCache, params: Any, x: Any, out: Any
) -> Arrays:
    """Return the activations of attention that reads distances, by name."""
    heads: DisentangledHeads = cache.heads
    query, key, value = layer._project(x, slice(3 * layer.width), *layer.roles.of(params))
    values = {"query": query, "key": key, "value": value}
    # (B, K, R, H) @ (B, K, H, T) -> (B, K, R, T)
    scores = query @ key.swapaxes(-1, -2) * layer.scale
    if heads.scores is not None:
        for term, own in heads.terms.items():
            vectors, _ = layer.maps[term].forward(params, own.rows)  # (U, D)
            values[DISTANCES[term]] = _split(layer, vectors)[None]
        relative, _ = disentangled_forward(*heads.scores)
        values["relative scores"] = relative
        scores += relative
    return {
        **values,
        "attention scores": scores,
        "attention weights": heads.attention.weights,
        "heads' output": cache.merged.reshape(out.shape),  # (B·R, D) -> (B, R, D)
        "attention output": out,
    }


def disentangled_gradients(
    layer: DisentangledAttention, cache: SelfAttentionCache, params: Any, dout: Any
) -> Arrays:
    """Return the gradients of the activations of attention that reads distances."""
    heads: DisentangledHeads = cache.heads
    gradients = _weighted_gradients(layer, heads.attention, params, dout)
    gradients["query"] *= layer.content_scale  # attention reads the scaled queries
    if heads.scores is None:
        return gradients
    dscores = gradients["attention scores"]
    dquery, dkey, *dat = disentangled_backward(dscores.copy(), heads.scores)
    gradients["query"] += dquery
    gradients["key"] += dkey
    for term, dvectors in zip(TERMS, dat, strict=True):
        if dvectors is not None:
            own = heads.terms[term]
            drows = np.zeros_like(own.rows)  # (U, D)
            # (K, 2T, H) -> (2T, K, H) -> (2T, D)
            dmapped = dvectors.swapaxes(0, 1).reshape(len(own.at), layer.width)
            embedding_backward(dmapped * layer.scale, own.at, drows)
            gradients[DISTANCES[term]] = _split(layer, drows)[None]
    return {**gradients, "relative scores": dscores}


def _split(layer: DisentangledAttention, rows: Any) -> Any:
    """Cut rows (U, D) into heads (K, U, H)."""
    return rows.reshape(len(rows), layer.count, -1).swapaxes(0, 1)


def _rotary_values(layer: Any, tables: Any, params: Any, keys: Any, out: Any) -> Arrays:
    if isinstance(tables, RotaryTables):
        return {
            "angle": np.angle(tables.full)[None],
            "angle in a window": np.angle(tables.near)[None],
        }
    return {"angle": np.angle(tables)[None]}  # (T, H/2) -> (1, T, H/2)


def _bias_values(layer: Any, tables: Any, params: Any, keys: Any, out: Any) -> Arrays:
    return {"relative bias": tables.swapaxes(0, 1)[None]}  # (T, K, T) -> (1, K, T, T)


def _bias_gradients(layer: Any, tables: Any, params: Any, dtables: Any) -> Arrays:
    return {"relative bias": dtables.swapaxes(0, 1)[None]}


def _distance_values(layer: Any, tables: Distances, params: Any, keys: Any, out: Any) -> Arrays:
    if layer.norm is None:
        return {"distance embedding": tables.rows[None]}  # (U, D) -> (1, U, D)
    rows = params[layer.weight][tables.first : tables.first + len(tables.rows)]
    return {"distance embedding": rows[None], "normalized (distances)": tables.rows[None]}


def _distance_gradients(layer: Any, tables: Distances, params: Any, dtables: Any) -> Arrays:
    if layer.norm is None:
        return {"distance embedding": dtables[None]}
    drows = norm_input_gradient(dtables, tables.norm, params[layer.norm.weight])
    return {"distance embedding": drows[None], "normalized (distances)": dtables[None]}


# Of positions, whose cache is the tables.
POSITION_READERS: dict[type, Reader] = {
    RotaryPositions: Reader(_rotary_values, nothing),
    RotaryByKind: Reader(_rotary_values, nothing),
    RelativeBias: Reader(_bias_values, _bias_gradients),
    RelativeEmbeddings: Reader(_distance_values, _distance_gradients),
}

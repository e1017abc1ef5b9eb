"""Cases of `minibert.layers`: every parameter and every input, element by element."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from minibert import layers
from minibert.layers import Site
from minibert.models import bert_block, bert_embeddings
from minibert.parameters import Views
from minibert.specs import ParameterSpec, Spec, Specs
from minibert.testing.cases.examples import CONFIG, B, C, D, F, K, T, V
from minibert.testing.cases.helpers import (
    SOME,
    Called,
    EmbeddedBatch,
    Positioned,
    encoder_case,
    layer_case,
    new_params,
    site_case,
    sites,
)
from minibert.testing.cases.records import ZEROS, Case, normal
from minibert.testing.cases.relatives import relative_cases
from minibert.typing import Array

INNER = 4  # the width of a table of word embeddings that is not D


def layer_cases() -> Iterator[Case]:
    """Yield a case for each layer, with its options."""
    yield from _small_layer_cases()
    yield from _head_cases()
    yield from _embeddings_cases()
    yield from _sublayer_cases()
    yield from _block_cases()
    yield from _encoder_cases()
    yield from relative_cases()


def _small_layer_cases() -> Iterator[Case]:
    x = normal(B, T, D)
    yield layer_case(layers.Linear("dense", D, F), x=x)
    yield layer_case(layers.LayerNorm("LayerNorm", D, 1e-12), x=x)
    yield layer_case(layers.Pooler("pooler.dense", D), x=x)


def _head_cases() -> Iterator[Case]:
    x = normal(B, T, D)
    for kind in (layers.ClassifierHead, layers.PooledClassifierHead):
        for variant, dropout in (("", False), ("dropout", True)):
            head = Called(kind("classifier", D, C, rate=0.4), dropout=dropout)
            yield layer_case(head, variant, subject=kind.__name__, x=x)
    for variant, activation, width, absent in (
        ("tied", "gelu", None, False),
        ("tied, gelu_new", "gelu_new", None, False),
        ("tied to a narrow table", "gelu", INNER, False),
        ("tied to a frozen table", "gelu", None, True),
    ):
        masked = layers.MaskedLMHead(V, D, activation, CONFIG.layer_norm_eps, width)
        # The table belongs to the embeddings, and the head has none of its own.
        params = new_params({**masked.specs(), masked.table: ParameterSpec((V, width or D))})
        still = (masked.table,) if absent else ()
        called = Called(masked, absent=still)
        yield layer_case(called, variant, subject="MaskedLMHead", params=params, still=still, x=x)


class RepeatedPositions:
    """A table of positions, added to each sequence of a batch."""

    def __init__(self, table: layers.LearnedPositions):
        self.table = table

    def specs(self) -> Specs:
        """Return the declaration of the table."""
        return self.table.specs()

    def forward(self, params: Views, x: Array) -> tuple[Array, None]:
        """Add the positions to x (B, T, D)."""
        return x + self.table.forward(params, x.shape[1], x.dtype), None

    def backward(self, dout: Array, cache: None, params: Views, grads: Views) -> Array:
        """Run the backward of the table; dx is dout."""
        self.table.backward(dout, grads)
        return dout


def _embeddings_cases() -> Iterator[Case]:
    for positions in ("absolute", "sinusoidal"):
        embeddings = bert_embeddings(replace(CONFIG, position_embedding_type=positions))
        batch = EmbeddedBatch(embeddings)
        yield layer_case(batch, f"{positions}, dropout", subject="Embeddings")
    embeddings = layers.Embeddings(V, D, 2, None, 0, CONFIG.layer_norm_eps, 0.3)
    yield layer_case(EmbeddedBatch(embeddings), "no positions, dropout", subject="Embeddings")
    table = RepeatedPositions(layers.LearnedPositions(8, D))
    yield layer_case(table, "shorter sequences", subject="LearnedPositions", x=normal(B, T, D))


class ToyPositions(layers.Positions):
    """Positions that do everything that positions can do in attention.

    They rotate the first two units of queries and keys, and add a learned bias to the scores, a
    number for each head and distance:

        scores += tanh(w)[head, key - query]

    Args:
        length: the largest number of tokens.
    """

    name = "relative_bias.weight"

    def __init__(self, length: int):
        self.length = length

    def specs(self) -> dict[str, Spec]:
        """Return the declaration of the bias (K, 2 · length - 1)."""
        return {self.name: ParameterSpec((K, 2 * self.length - 1))}

    def prepare(self, params: Views, keys: Array, dtype: Any) -> Array:
        """Return tanh of the parameter."""
        return np.tanh(params[self.name])

    def turn(self, heads: Array, at: Array, tables: Any) -> Array:
        """Rotate the first two units by an angle of 0.7 a position."""
        return self._rotated(heads, 0.7 * at)

    def turn_backward(self, dheads: Array, at: Array, tables: Any) -> Array:
        """Rotate back."""
        return self._rotated(dheads, -0.7 * at)

    def scores(self, site: Site) -> Array:
        """Return the bias (1 or B, K, R, T)."""
        bias = site.tables[:, self._distances(site)]  # (K, R, T) or (K, B, R, T)
        return bias[None] if bias.ndim == 3 else bias.swapaxes(0, 1)

    def scores_backward(self, dscores: Array, site: Site, dtables: Array) -> None:
        """Add the gradient of each score to that of its distance."""
        distances = np.broadcast_to(self._distances(site), dscores[:, 0].shape)  # (B, R, T)
        for k in range(dscores.shape[1]):
            np.add.at(dtables[k], distances, dscores[:, k])

    def zeros(self, tables: Array) -> Array:
        """Return zeros for the gradient of the tables."""
        return np.zeros_like(tables)

    def backward(self, dtables: Array, tables: Array, params: Views, grads: Views) -> None:
        """Gradient of `prepare`."""
        grads[self.name] += dtables * (1 - tables**2)

    def _distances(self, site: Site) -> Array:
        """Return key minus query position, as columns of the parameter: (R, T) or (B, R, T)."""
        return site.keys - site.queries[..., None] + self.length - 1

    def _rotated(self, heads: Array, angles: Array) -> Array:
        if angles.ndim == 2:
            angles = angles[:, None]  # (B, R) -> (B, 1, R), the same for every head
        cos, sin = np.cos(angles), np.sin(angles)
        first, second = heads[..., 0], heads[..., 1]
        out = heads.copy()
        out[..., 0], out[..., 1] = first * cos - second * sin, first * sin + second * cos
        return out


def _sublayer_cases() -> Iterator[Case]:
    feed_forward = layers.FeedForward(D, F, "gelu")
    anywhere = Site(np.arange(T))
    yield site_case(feed_forward, "", anywhere)
    yield site_case(layers.FeedForward(D, F, "gelu_new"), "gelu_new", anywhere)
    norm = layers.LayerNorm("LayerNorm", D, 1e-12)
    residual = layers.Residual(feed_forward, norm, 0.3)
    yield site_case(residual, "feed-forward", anywhere, entries=SOME)
    yield site_case(residual, "feed-forward, dropout", anywhere, dropout=True)
    for which, site in sites():
        for heads, name in ((K, ""), (1, "one head, ")):
            attention = layers.SelfAttention("attention", D, heads, rate=0.2)
            yield site_case(attention, f"{which}, {name}masked, dropout", site, dropout=True)
        positioned = Positioned(
            layers.SelfAttention("attention", D, K, rate=0.2), ToyPositions(T), site
        )
        variant = f"{which}, rotation and bias, masked, dropout"
        # Rotated, the key's bias differs between positions, so its gradient is not zero.
        yield layer_case(
            positioned, variant, subject="SelfAttention", zeros=(), entries=SOME, x=normal(B, T, D)
        )
        residual = layers.Residual(
            layers.SelfAttention("attention", D, K, rate=0.2),
            layers.LayerNorm("LayerNorm", D, 1e-12),
            0.3,
        )
        variant = f"attention, {which}, masked, dropout"
        yield site_case(residual, variant, site, dropout=True, entries=SOME)


def _block_cases() -> Iterator[Case]:
    block = bert_block(CONFIG)
    for which, site in sites():
        yield site_case(block, which, site._replace(mask=None))
        for each in (block, layers.Recomputed(block)):
            yield site_case(each, f"{which}, masked, dropout", site, dropout=True)


def _encoder_cases() -> Iterator[Case]:
    def blocks() -> list[layers.Layer]:
        return [bert_block(CONFIG) for _ in range(2)]

    shared = bert_block(CONFIG)
    recomputed = [layers.recomputed(block) for block in blocks()]
    encoders = {
        "": layers.Encoder(blocks()),
        "recomputed, ": layers.Encoder(recomputed),
        "shared block, ": layers.Encoder([shared, shared], ["layer.", "layer."]),
        "rotation and bias, ": layers.Encoder(blocks(), positions=ToyPositions(T)),
        "rotation and bias, recomputed, ": layers.Encoder(recomputed, positions=ToyPositions(T)),
    }
    x = normal(B, T, D)
    for which, site in sites():
        for name, encoder in encoders.items():
            variant = f"{which}, {name}masked, dropout"
            zeros = () if "rotation" in name else ZEROS
            yield encoder_case(encoder, variant, site, zeros=zeros, x=x)
        lowest, highest = blocks()
        encoder = layers.Encoder([layers.frozen(lowest), highest])
        still = [name for name in new_params(encoder.specs()) if name.startswith("layer.0.")]
        variant = f"{which}, one frozen block, masked, dropout"
        yield encoder_case(encoder, variant, site, fixed=x, still=still)

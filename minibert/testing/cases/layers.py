"""Cases of `minibert.layers`: every parameter and every input, element by element."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from minibert import functional as f
from minibert import layers
from minibert.gradcheck import away_from_initial, check_layer
from minibert.layers import Site
from minibert.models import bert_block, bert_embeddings
from minibert.parameters import Parameters, Views
from minibert.specs import ParameterSpec, Spec, Specs
from minibert.testing.cases.examples import CONFIG, IDS, MASK, ROWS, TYPES, B, C, D, F, K, T, V
from minibert.testing.cases.records import ZEROS, Case, dropout_rng, normal
from minibert.typing import Array

INNER = 4  # the width of a table of word embeddings that is not D
SOME = 9  # elements of each array that are checked in stacks, and in variants of a checked layer


def layer_cases() -> Iterator[Case]:
    """Yield a case for each layer, with its options."""
    yield from _small_layer_cases()
    yield from _head_cases()
    yield from _embeddings_cases()
    yield from _sublayer_cases()
    yield from _block_cases()
    yield from _encoder_cases()


def _layer(
    layer: Any,
    variant: str = "",
    *,
    subject: str = "",
    params: Parameters | None = None,
    output: Callable[[bool], Any] | None = None,
    entries: int | None = None,
    still: Iterable[str] = (),
    zeros: Iterable[str] = ZEROS,
    **inputs: Any,
) -> Case:
    """Return the case of a layer.

    Args:
        layer: has `forward(params, **inputs)` and `backward(dout, cache, params, grads)`.
        variant: the options.
        subject: the layer's name; empty: that of its class.
        params: away from initial values; None: made from `layer.specs()`.
        output: as in `Case`.
        entries: the number of elements to check of each array; None: all.
        still: the frozen parameters.
        zeros: endings of the names of gradients that are provably zero.
        inputs: the arrays by name.
    """
    params = _params(layer.specs()) if params is None else params
    check = partial(check_layer, layer, inputs, params, zeros=zeros, still=still)
    if entries is not None:
        check = partial(check, entries=entries)
    return Case(subject or type(layer).__name__, variant, check, output)


def _params(specs: Specs) -> Parameters:
    return away_from_initial(Parameters(specs, dtype=np.float64))


class Called:
    """A layer as `check_layer` calls it: with further arguments filled in.

    Args:
        layer: the layer.
        forward: arguments of its forward besides params and x; its dropout is replayed.
        backward: arguments of its backward besides dout, cache, params and grads.
        dropout: whether there is dropout.
        absent: names of parameters that have no gradient.
    """

    def __init__(
        self,
        layer: Any,
        forward: Mapping[str, Any] | None = None,
        backward: tuple[Any, ...] = (),
        dropout: bool = False,
        absent: tuple[str, ...] = (),
    ):
        self.layer, self.dropout, self.absent = layer, dropout, absent
        self.forward_arguments, self.backward_arguments = dict(forward or {}), backward

    def specs(self) -> Specs:
        """Return the layer's declarations."""
        specs: Specs = self.layer.specs()
        return specs

    def forward(self, params: Views, **inputs: Any) -> tuple[Any, Any]:
        """Run the layer's forward."""
        rng = {"rng": dropout_rng()} if self.dropout else {}
        out, cache = self.layer.forward(params, **inputs, **self.forward_arguments, **rng)
        return out, cache

    def backward(self, dout: Array, cache: Any, params: Views, grads: Views) -> Any:
        """Run the layer's backward."""
        learning = grads.without(self.absent) if self.absent else grads
        return self.layer.backward(dout, cache, params, learning, *self.backward_arguments)


def _at_site(layer: Any, variant: str, site: Site, dropout: bool = False, **options: Any) -> Case:
    """Return the case of a layer that reads a site."""
    x = normal(B, T, D)
    called = Called(layer, {"site": site}, (None,), dropout)
    params = _params(layer.specs())
    rng = dropout_rng if dropout else lambda: None

    def output(keep):
        return layer.forward(params, x, site, rng(), keep)[0]

    subject = type(layer).__name__
    return _layer(called, variant, subject=subject, params=params, output=output, x=x, **options)


def _sites() -> Iterator[tuple[str, Site]]:
    """Yield sites with padding, at all tokens and at some."""
    site = Site(np.arange(T), f.padding_mask(MASK, np.float64))
    yield "all rows", site
    yield "some rows", site._replace(rows=ROWS)


def _small_layer_cases() -> Iterator[Case]:
    x = normal(B, T, D)
    yield _layer(layers.Linear("dense", D, F), x=x)
    yield _layer(layers.LayerNorm("LayerNorm", D, 1e-12), x=x)
    yield _layer(layers.Pooler("pooler.dense", D), x=x)


def _head_cases() -> Iterator[Case]:
    x = normal(B, T, D)
    for kind in (layers.ClassifierHead, layers.PooledClassifierHead):
        for variant, dropout in (("", False), ("dropout", True)):
            head = Called(kind("classifier", D, C, rate=0.4), dropout=dropout)
            yield _layer(head, variant, subject=kind.__name__, x=x)
    for variant, activation, width, absent in (
        ("tied", "gelu", None, False),
        ("tied, gelu_new", "gelu_new", None, False),
        ("tied to a narrow table", "gelu", INNER, False),
        ("tied to a frozen table", "gelu", None, True),
    ):
        masked = layers.MaskedLMHead(V, D, activation, CONFIG.layer_norm_eps, width)
        # The table belongs to the embeddings, and the head has none of its own.
        params = _params({**masked.specs(), masked.table: ParameterSpec((V, width or D))})
        still = (masked.table,) if absent else ()
        called = Called(masked, absent=still)
        yield _layer(called, variant, subject="MaskedLMHead", params=params, still=still, x=x)


class EmbeddedBatch:
    """Embeddings as a layer without input, because ids have no gradient."""

    def __init__(self, embeddings: layers.Embeddings):
        self.embeddings = embeddings

    def specs(self) -> Specs:
        """Return the declarations of the embeddings."""
        return self.embeddings.specs()

    def forward(self, params: Views) -> tuple[Array, Any]:
        """Embed the batch, with dropout."""
        return self.embeddings.forward(params, IDS, TYPES, dropout_rng())

    def backward(self, dout: Array, cache: Any, params: Views, grads: Views) -> tuple[()]:
        """Run the backward of the embeddings; there are no input gradients."""
        self.embeddings.backward(dout, cache, params, grads)
        return ()


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
        yield _layer(batch, f"{positions}, dropout", subject="Embeddings")
    embeddings = layers.Embeddings(V, D, 2, None, 0, CONFIG.layer_norm_eps, 0.3)
    yield _layer(EmbeddedBatch(embeddings), "no positions, dropout", subject="Embeddings")
    table = RepeatedPositions(layers.LearnedPositions(8, D))
    yield _layer(table, "shorter sequences", subject="LearnedPositions", x=normal(B, T, D))


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


class Positioned:
    """A layer together with the positions that it reads from its site."""

    def __init__(self, layer: Any, positions: layers.Positions, site: Site):
        self.layer, self.positions, self.site = layer, positions, site

    def specs(self) -> Specs:
        """Return the declarations of both."""
        return {**self.layer.specs(), **self.positions.specs()}

    def forward(self, params: Views, x: Array) -> tuple[Array, Any]:
        """Prepare the positions and run the layer, with dropout."""
        tables = self.positions.prepare(params, self.site.keys, x.dtype)
        site = self.site._replace(positions=self.positions, tables=tables)
        out, cache = self.layer.forward(params, x, site, dropout_rng())
        return out, (cache, tables)

    def backward(self, dout: Array, cache: Any, params: Views, grads: Views) -> Array:
        """Run the layer's backward, then that of the positions."""
        own, tables = cache
        dtables = self.positions.zeros(tables)
        dx: Array = self.layer.backward(dout, own, params, grads, dtables)
        self.positions.backward(dtables, tables, params, grads)
        return dx


def _sublayer_cases() -> Iterator[Case]:
    feed_forward = layers.FeedForward(D, F, "gelu")
    anywhere = Site(np.arange(T))
    yield _at_site(feed_forward, "", anywhere)
    yield _at_site(layers.FeedForward(D, F, "gelu_new"), "gelu_new", anywhere)
    norm = layers.LayerNorm("LayerNorm", D, 1e-12)
    residual = layers.Residual(feed_forward, norm, 0.3)
    yield _at_site(residual, "feed-forward", anywhere, entries=SOME)
    yield _at_site(residual, "feed-forward, dropout", anywhere, dropout=True)
    for which, site in _sites():
        for heads, name in ((K, ""), (1, "one head, ")):
            attention = layers.SelfAttention("attention", D, heads, rate=0.2)
            yield _at_site(attention, f"{which}, {name}masked, dropout", site, dropout=True)
        positioned = Positioned(
            layers.SelfAttention("attention", D, K, rate=0.2), ToyPositions(T), site
        )
        variant = f"{which}, rotation and bias, masked, dropout"
        # Rotated, the key's bias differs between positions, so its gradient is not zero.
        yield _layer(
            positioned, variant, subject="SelfAttention", zeros=(), entries=SOME, x=normal(B, T, D)
        )
        residual = layers.Residual(
            layers.SelfAttention("attention", D, K, rate=0.2),
            layers.LayerNorm("LayerNorm", D, 1e-12),
            0.3,
        )
        variant = f"attention, {which}, masked, dropout"
        yield _at_site(residual, variant, site, dropout=True, entries=SOME)


def _block_cases() -> Iterator[Case]:
    block = bert_block(CONFIG)
    for which, site in _sites():
        yield _at_site(block, which, site._replace(mask=None))
        for each in (block, layers.Recomputed(block)):
            yield _at_site(each, f"{which}, masked, dropout", site, dropout=True)


class EncodedBatch:
    """An encoder as a layer of a fixed site."""

    def __init__(self, encoder: layers.Encoder, site: Site, x: Array | None = None):
        self.encoder, self.site, self.x = encoder, site, x

    def specs(self) -> Specs:
        """Return the encoder's declarations."""
        return self.encoder.specs()

    def forward(self, params: Views, x: Array | None = None) -> tuple[Array, Any]:
        """Run the encoder with dropout, on a fixed x if there is no other."""
        own = self.x if x is None else x
        assert own is not None
        return self.encoder.forward(params, own, self.site, dropout_rng())

    def backward(self, dout: Array, cache: Any, params: Views, grads: Views) -> Any:
        """Run the encoder's backward; a fixed x has no gradient."""
        dx = self.encoder.backward(dout, cache, params, grads)
        return () if self.x is not None else dx


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
    for which, site in _sites():
        for name, encoder in encoders.items():
            variant = f"{which}, {name}masked, dropout"
            zeros = () if "rotation" in name else ZEROS
            yield _encoder(encoder, variant, site, zeros=zeros, x=x)
        lowest, highest = blocks()
        encoder = layers.Encoder([layers.frozen(lowest), highest])
        still = [name for name in _params(encoder.specs()) if name.startswith("layer.0.")]
        variant = f"{which}, one frozen block, masked, dropout"
        yield _encoder(encoder, variant, site, fixed=x, still=still)


def _encoder(
    encoder: layers.Encoder, variant: str, site: Site, fixed: Array | None = None, **options: Any
) -> Case:
    """Return the case of an encoder, with the law that `keep` changes nothing."""
    params = _params(encoder.specs())
    x = options["x"] if fixed is None else fixed

    def output(keep):
        return encoder.forward(params, x, site, dropout_rng(), keep)[0]

    layer = EncodedBatch(encoder, site, fixed)
    return _layer(
        layer, variant, subject="Encoder", params=params, output=output, entries=SOME, **options
    )

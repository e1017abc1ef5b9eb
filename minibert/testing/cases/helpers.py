"""Helpers of the cases of layers: a layer as `check_layer` calls it, alone or at a site."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from minibert import functional as f
from minibert import layers
from minibert.gradcheck import away_from_initial, check_layer
from minibert.layers import Site
from minibert.parameters import Parameters, Views
from minibert.specs import Specs
from minibert.testing.cases.examples import IDS, MASK, ROWS, TYPES, B, D, T
from minibert.testing.cases.records import ZEROS, Case, dropout_rng, normal
from minibert.typing import Array

SOME = 9  # elements of each array that are checked in stacks, and in variants of a checked layer


def layer_case(
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
    params = new_params(layer.specs()) if params is None else params
    check = partial(check_layer, layer, inputs, params, zeros=zeros, still=still)
    if entries is not None:
        check = partial(check, entries=entries)
    return Case(subject or type(layer).__name__, variant, check, output)


def new_params(specs: Specs) -> Parameters:
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


def site_case(layer: Any, variant: str, site: Site, dropout: bool = False, **options: Any) -> Case:
    """Return the case of a layer that reads a site."""
    x = normal(B, T, D)
    called = Called(layer, {"site": site}, (None,), dropout)
    params = new_params(layer.specs())
    rng = dropout_rng if dropout else lambda: None

    def output(keep):
        return layer.forward(params, x, site, rng(), keep)[0]

    subject = type(layer).__name__
    return layer_case(
        called, variant, subject=subject, params=params, output=output, x=x, **options
    )


def sites() -> Iterator[tuple[str, Site]]:
    """Yield sites with padding, at all tokens and at some."""
    site = Site(np.arange(T), f.padding_mask(MASK, np.float64))
    yield "all rows", site
    yield "some rows", site._replace(rows=ROWS)


class EmbeddedBatch:
    """Embeddings as a layer without input, because ids have no gradient."""

    def __init__(self, embeddings: layers.Embeddings | layers.WordEmbeddings):
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


def encoder_case(
    encoder: layers.Encoder, variant: str, site: Site, fixed: Array | None = None, **options: Any
) -> Case:
    """Return the case of an encoder, with the law that `keep` changes nothing."""
    params = new_params(encoder.specs())
    x = options["x"] if fixed is None else fixed

    def output(keep):
        return encoder.forward(params, x, site, dropout_rng(), keep)[0]

    layer = EncodedBatch(encoder, site, fixed)
    return layer_case(
        layer,
        variant,
        subject=type(encoder).__name__,
        params=params,
        output=output,
        entries=SOME,
        **options,
    )

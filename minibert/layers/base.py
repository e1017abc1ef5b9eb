"""What a layer is, and the two wrappers that change how any layer runs.

A layer declares its parameters and has a forward and a backward. It keeps nothing on itself between
calls: the cache is returned and handed back.
"""

import copy
from typing import Any, NamedTuple, Protocol

import numpy as np

from minibert.layers.positions import Positions
from minibert.parameters import Specs, Views
from minibert.typing import Array, Rng


class Site(NamedTuple):
    """What a batch tells every layer.

    Attributes:
        keys (T,): the positions of the tokens.
        mask (B, 1, 1, T): 0 for a token and -inf for padding; None: nothing is padding.
        rows (B, R): the tokens to compute, the query positions; None: all, R = T.
        positions: relates query and key positions in attention.
        tables: made by `positions.prepare` for this batch.
    """

    keys: Array
    mask: Array | None = None
    rows: Array | None = None
    positions: Positions = Positions()
    tables: Any = None

    @property
    def queries(self) -> Array:
        """The positions of the tokens to compute: (T,), or (B, R) with `rows`."""
        queries: Array = self.keys if self.rows is None else self.keys[self.rows]
        return queries

    def at_all_tokens(self) -> "Site":
        """Return the site with every token to compute."""
        return self._replace(rows=None)


def site_of(x: Array) -> Site:
    """Return the site of a batch x (B, T, D) without padding, at all tokens."""
    return Site(np.arange(x.shape[1]))


class Layer(Protocol):
    """A block or a sublayer: x (B, T, D) -> (B, T, D), or (B, R, D) at `site.rows`."""

    def specs(self) -> Specs:
        """Return the declarations of the parameters by name, in the order of the layout."""

    def forward(
        self, params: Views, x: Array, site: Site, rng: Rng | None = None, keep: bool = True
    ) -> tuple[Array, Any]:
        """Return out and the cache for `backward`.

        Args:
            params: in this layer's scope.
            x (B, T, D): not written to.
            site: of the batch.
            rng: of the dropout; None: no dropout.
            keep: False: no backward follows, so the cache may be None and memory used again.
        """

    def backward(
        self, dout: Array, cache: Any, params: Views, grads: Views, dsite: Any
    ) -> Array | None:
        """Return dx (B, T, D), or None if nothing below learns; adds into `grads` and `dsite`.

        Args:
            dout (B, R, D): the gradient of out.
            cache: of the forward; consumed.
            params, grads: in this layer's scope.
            dsite: the gradient of `site.tables`, of the same form; None: they do not learn.
        """


class RecomputedCache(NamedTuple):
    """The input of a recomputed layer, and its generator as it was before the forward."""

    x: Array
    site: Site
    rng: Rng | None


class Recomputed:
    """A layer that keeps its input alone and computes the rest again in the backward.

    Less memory for a third more time: Chen et al. (2016), section 4. The same dropout is drawn
    again, so the gradients are bitwise the same.

    Args:
        layer: computes.
    """

    def __init__(self, layer: Layer):
        self.layer = layer

    def specs(self) -> Specs:
        """Return the layer's declarations."""
        return self.layer.specs()

    def forward(
        self, params: Views, x: Array, site: Site, rng: Rng | None = None, keep: bool = True
    ) -> tuple[Array, RecomputedCache | None]:
        """Run the layer without keeping its cache."""
        cache = RecomputedCache(x, site, copy.deepcopy(rng)) if keep else None
        return self.layer.forward(params, x, site, rng, keep=False)[0], cache

    def backward(
        self, dout: Array, cache: RecomputedCache, params: Views, grads: Views, dsite: Any
    ) -> Array | None:
        """Run the layer's forward again, then its backward."""
        rng = copy.deepcopy(cache.rng)
        _, own = self.layer.forward(params, cache.x, cache.site, rng)
        return self.layer.backward(dout, own, params, grads, dsite)


class Frozen:
    """A layer that computes without dropout and does not learn, nor anything below it.

    Args:
        layer: computes.
    """

    def __init__(self, layer: Layer):
        self.layer = layer

    def specs(self) -> Specs:
        """Return the layer's declarations."""
        return self.layer.specs()

    def forward(
        self, params: Views, x: Array, site: Site, rng: Rng | None = None, keep: bool = True
    ) -> tuple[Array, None]:
        """Run the layer as in prediction."""
        return self.layer.forward(params, x, site, rng=None, keep=False)[0], None

    def backward(
        self, dout: Array, cache: None, params: Views, grads: Views, dsite: Any
    ) -> Array | None:
        """Return None: the backward ends here."""
        return None


def unwrapped(layer: Layer) -> Layer:
    """Return the layer inside of any `Frozen` and `Recomputed`."""
    while isinstance(layer, Frozen | Recomputed):
        layer = layer.layer
    return layer


def frozen(layer: Layer, wanted: bool = True) -> Layer:
    """Return the layer, frozen once or not at all; recomputation is kept."""
    layer = layer.layer if isinstance(layer, Frozen) else layer
    return Frozen(layer) if wanted else layer


def recomputed(layer: Layer, wanted: bool = True) -> Layer:
    """Return the layer, recomputed once or not at all; freezing is kept."""
    if isinstance(layer, Frozen):
        return Frozen(recomputed(layer.layer, wanted))
    layer = layer.layer if isinstance(layer, Recomputed) else layer
    return Recomputed(layer) if wanted else layer

"""Two wrappers that change how any layer runs: recomputed, or frozen."""

import copy
from typing import Any, NamedTuple

from minibert.layers.base import Layer, Site
from minibert.parameters import Views
from minibert.specs import Specs
from minibert.typing import Array, Rng


class Wrapper:
    """A layer inside another one; its parameters are those of the layer.

    Args:
        layer: computes.
    """

    def __init__(self, layer: Layer):
        self.layer = layer

    def specs(self) -> Specs:
        """Return the layer's declarations."""
        return self.layer.specs()


class RecomputedCache(NamedTuple):
    """The input of a recomputed layer, and its generator as it was before the forward."""

    x: Array
    site: Site
    rng: Rng | None


class Recomputed(Wrapper):
    """A layer that keeps its input alone and computes the rest again in the backward.

    Less memory for a third more time: Chen et al. (2016), section 4. The same dropout is drawn
    again, so the gradients are bitwise the same.
    """

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


class Frozen(Wrapper):
    """A layer that computes without dropout and does not learn, nor anything below it."""

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
    while isinstance(layer, Wrapper):
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

"""A block of the encoder: attention and feed-forward, each with a residual and a norm."""

from typing import Any, NamedTuple

from minibert.functional import (
    AddNormCache,
    add_norm_backward,
    add_norm_forward,
    gather_backward,
    gather_forward,
)
from minibert.layers.base import Layer, Site
from minibert.layers.linear import LayerNorm
from minibert.parameters import Views
from minibert.specs import Spec, merged
from minibert.typing import Array, Rng


class ResidualCache(NamedTuple):
    """What `Residual.backward` needs: the caches of sublayer and norm, and the site."""

    sublayer: Any
    norm: AddNormCache
    site: Site


class Residual:
    """A sublayer whose output is added to its input and then normalized (post-norm).

        out = layer_norm(x + dropout(sublayer(x)))

    Vaswani et al. (2017), sections 3.1 and 5.4.

    Args:
        sublayer: computes what is added; its output is consumed.
        norm: of the sum.
        rate: of the dropout on the sublayer's output.
    """

    def __init__(self, sublayer: Layer, norm: LayerNorm, rate: float = 0.0):
        self.sublayer, self.norm, self.rate = sublayer, norm, rate

    def specs(self) -> dict[str, Spec]:
        """Return the declarations of sublayer and norm."""
        return merged(self, self.sublayer.specs(), self.norm.specs())

    def forward(
        self, params: Views, x: Array, site: Site, rng: Rng | None = None, keep: bool = True
    ) -> tuple[Array, ResidualCache | None]:
        """Transform the tokens at `site.rows`; see `layers.Layer`."""
        y, sublayer_cache = self.sublayer.forward(params, x, site, rng, keep)  # (B, R, D)
        residual = x if site.rows is None else gather_forward(x, site.rows)  # (B, R, D)
        norm, shape = self.norm, y.shape
        y, residual = y.reshape(-1, norm.width), residual.reshape(-1, norm.width)  # -> (B·R, D)
        out, norm_cache = add_norm_forward(
            y, residual, *norm.of(params), norm.eps, self.rate, rng, keep
        )
        cache = ResidualCache(sublayer_cache, norm_cache, site) if keep else None
        return out.reshape(shape), cache  # (B·R, D) -> (B, R, D)

    def backward(
        self, dout: Array, cache: ResidualCache, params: Views, grads: Views, dsite: Any
    ) -> Array | None:
        """Gradient of `forward`: dx (B, T, D)."""
        norm, shape = self.norm, dout.shape
        rows = dout.reshape(-1, norm.width)  # (B, R, D) -> (B·R, D)
        dy, dresidual = add_norm_backward(rows, cache.norm, params[norm.weight], *norm.of(grads))
        # x reaches the sum twice, as it is and through the sublayer, so its gradients add.
        dx = self.sublayer.backward(dy.reshape(shape), cache.sublayer, params, grads, dsite)
        if dx is None:
            return None
        if cache.site.rows is None:
            dx += dresidual.reshape(shape)
        else:
            gather_backward(dresidual.reshape(shape), cache.site.rows, dx)
        return dx


class BlockCache(NamedTuple):
    """The caches of the two halves of a block."""

    attention: Any
    feed_forward: Any


class Block:
    """Two layers in sequence: one that reads other tokens, and one for each token by itself.

        h = attention(x),   out = feed_forward(h)

    Vaswani et al. (2017), section 3.1.

    Args:
        attention: with its residual; computes only the tokens at `site.rows`.
        feed_forward: with its residual.
    """

    def __init__(self, attention: Layer, feed_forward: Layer):
        self.attention, self.feed_forward = attention, feed_forward

    def specs(self) -> dict[str, Spec]:
        """Return the declarations of both."""
        return merged(self, self.attention.specs(), self.feed_forward.specs())

    def forward(
        self, params: Views, x: Array, site: Site, rng: Rng | None = None, keep: bool = True
    ) -> tuple[Array, BlockCache | None]:
        """Transform the tokens at `site.rows`; see `layers.Layer`.

        Keys and values are made of every token in any case, so these tokens come out the same.
        """
        h, attention_cache = self.attention.forward(params, x, site, rng, keep)
        out, feed_forward_cache = self.feed_forward.forward(
            params, h, site.at_all_tokens(), rng, keep
        )
        return out, BlockCache(attention_cache, feed_forward_cache) if keep else None

    def backward(
        self, dout: Array, cache: BlockCache, params: Views, grads: Views, dsite: Any
    ) -> Array | None:
        """Gradient of `forward`: dx (B, T, D)."""
        dh = self.feed_forward.backward(dout, cache.feed_forward, params, grads, dsite)
        if dh is None:
            return None
        return self.attention.backward(dh, cache.attention, params, grads, dsite)

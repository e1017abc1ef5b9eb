"""Pre-norm: the norm before each sublayer instead of after the sum, and one after the last block.

The residual stream then reaches from the embeddings to the last norm without a norm in between, so
deep models learn at higher rates: Xiong et al. (2020), sections 3 and 4.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from minibert.functional.dropout import DropoutMask, dropout_backward, dropout_forward
from minibert.functional.embedding import gather_backward, gather_forward
from minibert.functional.normalization import NormCache
from minibert.layers.base import Layer, Site
from minibert.layers.encoder import Encoder
from minibert.layers.linear import LayerNorm
from minibert.layers.positions import Positions
from minibert.parameters import Views
from minibert.specs import Spec, merged
from minibert.typing import Array, Rng


class PreNormResidualCache(NamedTuple):
    """What `PreNormResidual.backward` needs."""

    norm: NormCache | None
    sublayer: Any
    mask: DropoutMask | None
    site: Site


class PreNormResidual:
    """A sublayer that reads its normalized input, and whose output is added to the input.

        out = x + dropout(sublayer(layer_norm(x)))

    Xiong et al. (2020), figure 1 (b).

    Args:
        sublayer: computes what is added.
        norm: of its input; None: the sublayer reads x, which was just normalized.
        rate: of the dropout on the sublayer's output.
    """

    def __init__(self, sublayer: Layer, norm: LayerNorm | None, rate: float = 0.0):
        self.sublayer, self.norm, self.rate = sublayer, norm, rate

    def specs(self) -> dict[str, Spec]:
        """Return the declarations of norm and sublayer."""
        return merged(self, {} if self.norm is None else self.norm.specs(), self.sublayer.specs())

    def forward(
        self, params: Views, x: Array, site: Site, rng: Rng | None = None, keep: bool = True
    ) -> tuple[Array, PreNormResidualCache | None]:
        """Transform the tokens at `site.rows`; see `layers.Layer`."""
        normed, norm_cache = (x, None) if self.norm is None else self.norm.forward(params, x)
        y, sublayer_cache = self.sublayer.forward(params, normed, site, rng, keep)  # (B, R, D)
        out, mask = dropout_forward(y, self.rate, rng)
        out += x if site.rows is None else gather_forward(x, site.rows)  # (B, R, D)
        return out, PreNormResidualCache(norm_cache, sublayer_cache, mask, site) if keep else None

    def backward(
        self, dout: Array, cache: PreNormResidualCache, params: Views, grads: Views, dsite: Any
    ) -> Array | None:
        """Gradient of `forward`: dx (B, T, D)."""
        norm_cache, sublayer_cache, mask, site = cache
        dy = dropout_backward(dout, mask)
        dx = self.sublayer.backward(dy, sublayer_cache, params, grads, dsite)
        if dx is None:
            return None
        if self.norm is not None and norm_cache is not None:
            dx = self.norm.backward(dx, norm_cache, params, grads)
        # x reaches the sum twice, as it is and through the sublayer, so its gradients add.
        if site.rows is None:
            dx += dout
        else:
            gather_backward(dout, site.rows, dx)
        return dx


class PreNormEncoderCache(NamedTuple):
    """What `PreNormEncoder.backward` needs: the fields of `EncoderCache`, and the norm's cache."""

    blocks: list[Any]
    site: Site
    norm: NormCache | None


class PreNormEncoder(Encoder):
    """Pre-norm blocks in sequence, and a norm after the last one.

    The hidden state number L is the norm's output.

    Args:
        blocks, positions: as in `Encoder`.
        norm: of the last block's output.
    """

    def __init__(
        self, blocks: Sequence[Layer], norm: LayerNorm, positions: Positions | None = None
    ):
        super().__init__(blocks, positions=positions)
        self.norm = norm

    def specs(self) -> dict[str, Spec]:
        """Return the declarations of the blocks, the positions and the norm."""
        return merged(self, super().specs(), self.norm.specs())

    def forward(
        self, params: Views, x: Array, site: Site, rng: Rng | None = None, keep: bool = True,
        states: dict[int, Array] | None = None,
    ) -> tuple[Array, Any]:  # fmt: skip
        """Run the blocks and the norm; see `Encoder.forward`."""
        x, cache = super().forward(params, x, site, rng, keep, states)
        last, norm_cache = len(self.blocks), None
        if states is None or last in states:
            x, norm_cache = self.norm.forward(params, x)
            if states is not None:
                states[last] = x
        return x, PreNormEncoderCache(cache.blocks, cache.site, norm_cache)

    def backward(self, dx: Array, cache: Any, params: Views, grads: Views) -> Array | None:
        """Gradient of `forward`: dx (B, T, D), or None if the lowest block is frozen."""
        dx = self.norm.backward(dx, cache.norm, params, grads)
        return super().backward(dx, cache, params, grads)

"""The gated feed-forward sublayer."""

from typing import Any, NamedTuple

from minibert.functional import draw_mask, dropout_backward, gate_backward, gate_forward
from minibert.functional.dropout import DropoutMask
from minibert.layers.base import Site
from minibert.layers.without_bias import LinearWithoutBias
from minibert.parameters import Views
from minibert.specs import Joined, ParameterSpec, Spec, merged
from minibert.typing import Array, Rng


class GatedFeedForwardCache(NamedTuple):
    """What `GatedFeedForward.backward` needs."""

    rows: Array  # (N, D), the input
    slopes: Array | None  # (N, 2F), of the gate
    mask: DropoutMask | None
    product: Array  # (N, F), after the gate and its dropout


class GatedFeedForward:
    """out = linear(dropout(f(linear(x)) · linear(x))), D -> F twice -> D, without biases.

    Shazeer (2020), eq. 6. The two maps of x are one matmul. With 2/3 of the width F of a
    `FeedForward`, it has as many parameters and FLOPs.

    Args:
        width: D.
        inner: F.
        activation: f, as in `FeedForward`.
        rate: of the dropout on the product.
        gain: the factor of the initial weights of the last map.
    """

    def __init__(
        self, width: int, inner: int, activation: str, rate: float = 0.0, gain: float = 1.0
    ):
        self.activation, self.rate = activation, rate
        self.up = LinearWithoutBias("intermediate", width, 2 * inner)
        self.down = LinearWithoutBias("output.dense", inner, width, gain)

    def specs(self) -> dict[str, Spec]:
        """Return the declarations of the three maps; the first two are adjacent."""
        names = tuple(f"intermediate.{half}.weight" for half in ("dense", "gate"))
        half = ParameterSpec((self.up.outputs // 2, self.up.inputs))
        joined = {self.up.weight: Joined(names)}
        return merged(self, dict.fromkeys(names, half), joined, self.down.specs())

    def forward(
        self, params: Views, x: Array, site: Site, rng: Rng | None = None, keep: bool = True
    ) -> tuple[Array, GatedFeedForwardCache | None]:
        """Transform each token of x (..., D); see `layers.Layer`."""
        z, rows = self.up.forward(params, x.reshape(-1, self.up.inputs))  # (N, D) -> (N, 2F)
        product, slopes = gate_forward(z, self.activation, keep)  # (N, F)
        mask = draw_mask(product.shape, self.rate, rng)
        product = dropout_backward(product, mask)
        out, _ = self.down.forward(params, product)  # (N, F) -> (N, D)
        cache = GatedFeedForwardCache(rows, slopes, mask, product) if keep else None
        return out.reshape(x.shape), cache  # (N, D) -> (..., D)

    def backward(
        self, dout: Array, cache: GatedFeedForwardCache, params: Views, grads: Views, dsite: Any
    ) -> Array:
        """Gradient of `forward`: dx (..., D)."""
        rows, slopes, mask, product = cache
        drows = dout.reshape(len(rows), -1)  # (..., D) -> (N, D)
        dproduct = dropout_backward(self.down.backward(drows, product, params, grads), mask)
        dx = self.up.backward(gate_backward(dproduct, slopes), rows, params, grads)
        return dx.reshape(dout.shape)  # (N, D) -> (..., D)

"""The feed-forward sublayer: up-projection, nonlinearity, down-projection."""

from typing import Any, NamedTuple

from minibert.functional import activate_backward, activate_forward, linear_forward
from minibert.layers.base import Site
from minibert.layers.linear import Linear
from minibert.parameters import Views
from minibert.specs import Spec, merged
from minibert.typing import Array, Rng


class FeedForwardCache(NamedTuple):
    """What `FeedForward.backward` needs."""

    rows: Array  # (N, D), the input
    active: Array  # (N, F), after the nonlinearity
    slope: Array | None  # (N, F), of the nonlinearity


class FeedForward:
    """out = linear(activation(linear(x))), D -> F -> D, every token by itself.

    Vaswani et al. (2017), section 3.3, with GELU as in Devlin et al. (2019), section A.2.

    Args:
        width: D.
        inner: F.
        activation: `gelu`, `gelu_new` or `relu`.
        up, down: the names of the two maps in their scope.
    """

    def __init__(
        self,
        width: int,
        inner: int,
        activation: str,
        up: str = "intermediate.dense",
        down: str = "output.dense",
    ):
        self.activation = activation
        self.up, self.down = Linear(up, width, inner), Linear(down, inner, width)

    def specs(self) -> dict[str, Spec]:
        """Return the declarations of both maps."""
        return merged(self, self.up.specs(), self.down.specs())

    def forward(
        self, params: Views, x: Array, site: Site, rng: Rng | None = None, keep: bool = True
    ) -> tuple[Array, FeedForwardCache | None]:
        """Transform each token of x (..., D); see `layers.Layer`."""
        rows = x.reshape(-1, self.up.inputs)  # (..., D) -> (N, D)
        z, _ = linear_forward(rows, params[self.up.weight], None)  # (N, F), its bias is added next
        active, slope = activate_forward(z, params[self.up.bias], self.activation, keep)
        out, _ = self.down.forward(params, active)  # (N, F) -> (N, D)
        cache = FeedForwardCache(rows, active, slope) if keep else None
        return out.reshape(x.shape), cache  # (N, D) -> (..., D)

    def backward(
        self, dout: Array, cache: FeedForwardCache, params: Views, grads: Views, dsite: Any
    ) -> Array:
        """Gradient of `forward`: dx (..., D)."""
        drows = dout.reshape(len(cache.rows), -1)  # (..., D) -> (N, D)
        dactive = self.down.backward(drows, cache.active, params, grads)
        dz = activate_backward(dactive, cache.slope)
        dx = self.up.backward(dz, cache.rows, params, grads)
        return dx.reshape(dout.shape)  # (N, D) -> (..., D)

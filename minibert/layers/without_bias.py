"""Linear maps, norms and attention without biases, as in most models after 2020.

They have the names, the order and the computation of the layers with biases, and leave the biases
out: Raffel et al. (2020), section 2.1, and ModernBERT (Warner et al., 2024), section 2.1.1.
"""

from minibert.functional import linear_backward, linear_forward
from minibert.layers.attention import SelfAttention
from minibert.layers.linear import LayerNorm, Linear
from minibert.parameters import Views
from minibert.specs import ParameterSpec, Spec
from minibert.typing import Array


class LinearWithoutBias(Linear):
    """out = x Wᵀ on the last axis, (..., I) -> (..., O).

    Args:
        name, inputs, outputs: as in `Linear`.
        gain: the factor of the initial weights.
    """

    def __init__(self, name: str, inputs: int, outputs: int, gain: float = 1.0):
        super().__init__(name, inputs, outputs)
        self.gain = gain

    def specs(self) -> dict[str, Spec]:
        """Return the declaration of the weight (O, I)."""
        return {self.weight: ParameterSpec((self.outputs, self.inputs), gain=self.gain)}

    def forward(self, params: Views, x: Array) -> tuple[Array, Array]:
        """Map the last axis of x; the cache is x as rows (N, I)."""
        rows = x.reshape(-1, self.inputs)  # (..., I) -> (N, I)
        out, cache = linear_forward(rows, params[self.weight], None)
        return out.reshape(*x.shape[:-1], self.outputs), cache  # (N, O) -> (..., O)

    def backward(self, dout: Array, cache: Array, params: Views, grads: Views) -> Array:
        """Gradient of `forward`: dx (..., I)."""
        rows = dout.reshape(-1, self.outputs)  # (..., O) -> (N, O)
        dx = linear_backward(rows, cache, params[self.weight], *self.sums(grads))
        return dx.reshape(*dout.shape[:-1], self.inputs)  # (N, I) -> (..., I)

    def of(self, views: Views) -> tuple[Array, None]:
        """Return the weight, and None for the bias."""
        return views[self.weight], None

    def sums(self, grads: Views) -> tuple[Array, None]:
        """Return the weight's gradient, to add products to, and None for the bias."""
        return grads.unwritten(self.weight), None


class LayerNormWithoutBias(LayerNorm):
    """Layer norm with a scale and without a shift, out = x̂ · weight; see `LayerNorm`."""

    def specs(self) -> dict[str, Spec]:
        """Return the declaration of the weight (D,)."""
        return {self.weight: super().specs()[self.weight]}

    def of(self, views: Views) -> tuple[Array, None]:
        """Return the weight, and None for the bias."""
        return views[self.weight], None


class SelfAttentionWithoutBias(SelfAttention):
    """Self-attention whose four maps have no biases; see `SelfAttention`.

    Args:
        name, width, heads, rate: as in `SelfAttention`.
        gain: the factor of the initial weights of the map at the end.
    """

    def __init__(self, name: str, width: int, heads: int, rate: float = 0.0, gain: float = 1.0):
        super().__init__(name, width, heads, rate)
        self.roles = LinearWithoutBias(f"{name}.self", width, 3 * width)
        self.output = LinearWithoutBias(f"{name}.output.dense", width, width, gain)

    def specs(self) -> dict[str, Spec]:
        """Return the declarations of the four weights."""
        return {name: spec for name, spec in super().specs().items() if not name.endswith("bias")}

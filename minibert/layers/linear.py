"""Linear and layer norm with their parameters' names: the smallest layers."""

from minibert.functional import (
    NormCache,
    layer_norm_backward,
    layer_norm_forward,
    linear_backward,
    linear_forward,
)
from minibert.parameters import Views
from minibert.specs import ParameterSpec, Spec
from minibert.typing import Array


class WeightAndBias:
    """The names of a weight and a bias in their scope."""

    def __init__(self, name: str):
        self.weight, self.bias = f"{name}.weight", f"{name}.bias"

    def of(self, views: Views) -> tuple[Array, Array | None]:
        """Return the weight and the bias among parameters or gradients."""
        return views[self.weight], views[self.bias]

    def sums(self, grads: Views) -> tuple[Array, Array | None]:
        """Return both gradients, that of the weight to add products to."""
        return grads.unwritten(self.weight), grads[self.bias]


class Linear(WeightAndBias):
    """`functional.linear_forward` on the last axis, (..., I) -> (..., O).

    Args:
        name: of the layer in its scope.
        inputs: I.
        outputs: O.
    """

    def __init__(self, name: str, inputs: int, outputs: int):
        super().__init__(name)
        self.inputs, self.outputs = inputs, outputs

    def specs(self) -> dict[str, Spec]:
        """Return the declarations of the weight (O, I) and the bias (O,)."""
        return {
            self.weight: ParameterSpec((self.outputs, self.inputs)),
            self.bias: ParameterSpec((self.outputs,), init="zeros", decay=False),
        }

    def forward(self, params: Views, x: Array) -> tuple[Array, Array]:
        """Map the last axis of x; the cache is x as rows (N, I)."""
        rows = x.reshape(-1, self.inputs)  # (..., I) -> (N, I)
        out, cache = linear_forward(rows, params[self.weight], params[self.bias])
        return out.reshape(*x.shape[:-1], self.outputs), cache  # (N, O) -> (..., O)

    def backward(self, dout: Array, cache: Array, params: Views, grads: Views) -> Array:
        """Gradient of `forward`: dx (..., I)."""
        rows = dout.reshape(-1, self.outputs)  # (..., O) -> (N, O)
        sums = grads.unwritten(self.weight), grads[self.bias]
        dx = linear_backward(rows, cache, params[self.weight], *sums)
        return dx.reshape(*dout.shape[:-1], self.inputs)  # (N, I) -> (..., I)


class LayerNorm(WeightAndBias):
    """`functional.layer_norm_forward` on the last axis, (..., D) -> (..., D).

    Args:
        name: of the layer in its scope.
        width: D.
        eps: added to the variance.
    """

    def __init__(self, name: str, width: int, eps: float):
        super().__init__(name)
        self.width, self.eps = width, eps

    def specs(self) -> dict[str, Spec]:
        """Return the declarations of the weight and the bias, (D,) each."""
        return {
            self.weight: ParameterSpec((self.width,), init="ones", decay=False),
            self.bias: ParameterSpec((self.width,), init="zeros", decay=False),
        }

    def forward(self, params: Views, x: Array) -> tuple[Array, NormCache]:
        """Normalize the last axis of x."""
        rows = x.reshape(-1, self.width)  # (..., D) -> (N, D)
        out, cache = layer_norm_forward(rows, *self.of(params), self.eps)
        return out.reshape(x.shape), cache  # (N, D) -> (..., D)

    def backward(self, dout: Array, cache: NormCache, params: Views, grads: Views) -> Array:
        """Gradient of `forward`: dx (..., D)."""
        rows = dout.reshape(-1, self.width)  # (..., D) -> (N, D)
        dx = layer_norm_backward(rows, cache, params[self.weight], *self.of(grads))
        return dx.reshape(dout.shape)  # (N, D) -> (..., D)

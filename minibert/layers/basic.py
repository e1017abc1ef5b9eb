"""Linear and layer norm with their parameters' names: the smallest layers.

Every layer is stateless and has the same three methods: `shapes()`, the parameters that it needs;
`forward(params, x, ...) -> out, cache`; `backward(dout, cache, params, grads) -> dx`, which adds
into `grads`. What a layer knows between calls is its sizes and its parameters' names.
"""

from minibert.functional import (
    layer_norm_backward,
    layer_norm_forward,
    linear_backward,
    linear_forward,
)
from minibert.parameters import prefixed


class Linear:
    """`functional.linear_forward` on the last axis, (..., I) -> (..., O).

    Args:
        name: of the layer in its scope.  inputs, outputs: I and O.
    """

    def __init__(self, name, inputs, outputs):
        self.name, self.inputs, self.outputs = name + ".", inputs, outputs

    def shapes(self):
        """Return the shapes of the weight (O, I) and the bias (O,)."""
        return prefixed(self.name, {"weight": (self.outputs, self.inputs), "bias": (self.outputs,)})

    def forward(self, params, x):
        """Map the last axis of x."""
        params = params.scope(self.name)
        rows = x.reshape(-1, self.inputs)  # (..., I) -> (N, I)
        out, cache = linear_forward(rows, params["weight"], params["bias"])
        return out.reshape(*x.shape[:-1], self.outputs), cache  # (N, O) -> (..., O)

    def backward(self, dout, cache, params, grads):
        """Gradient of `forward`."""
        params, grads = params.scope(self.name), grads.scope(self.name)
        rows = dout.reshape(-1, self.outputs)  # (..., O) -> (N, O)
        dx = linear_backward(rows, cache, params["weight"], grads["weight"], grads["bias"])
        return dx.reshape(*dout.shape[:-1], self.inputs)  # (N, I) -> (..., I)


class LayerNorm:
    """`functional.layer_norm_forward` on the last axis, (..., D) -> (..., D).

    Args:
        name: of the layer in its scope.  width: D.  eps: added to the variance.
    """

    def __init__(self, name, width, eps):
        self.name, self.width, self.eps = name + ".", width, eps

    def shapes(self):
        """Return the shapes of the weight and the bias, (D,) both."""
        return prefixed(self.name, {"weight": (self.width,), "bias": (self.width,)})

    def forward(self, params, x):
        """Normalise the last axis of x."""
        params = params.scope(self.name)
        rows = x.reshape(-1, self.width)  # (..., D) -> (N, D)
        out, cache = layer_norm_forward(rows, params["weight"], params["bias"], self.eps)
        return out.reshape(x.shape), cache  # (N, D) -> (..., D)

    def backward(self, dout, cache, params, grads):
        """Gradient of `forward`."""
        params, grads = params.scope(self.name), grads.scope(self.name)
        rows = dout.reshape(-1, self.width)  # (..., D) -> (N, D)
        dx = layer_norm_backward(rows, cache, params["weight"], grads["weight"], grads["bias"])
        return dx.reshape(dout.shape)  # (N, D) -> (..., D)

"""Six right layers of users, and ten errors to plant in the backward of each.

The layers are smooth, but their slopes vary from row to row: a row whose elements are nearly equal
is divided by a small standard deviation. An error is a pair of texts: a piece of the source and
its replacement.
"""

import inspect
import textwrap

import numpy as np
from hypothesis import strategies as st

from minibert.testing import float_arrays, parameters


def mean(x):
    """Return the mean over the last axis (..., 1)."""
    return x.mean(axis=-1, keepdims=True)


class LayerNorm:
    """Rows of mean 0 and variance 1, scaled and shifted."""

    def __init__(self, width, eps):
        self.width, self.eps = width, eps

    def specs(self):
        return {"weight": (self.width,), "bias": (self.width,)}

    def forward(self, params, x):
        centred = x - mean(x)
        std = np.sqrt(mean(centred**2) + self.eps)  # (N, 1)
        normed = centred / std
        return normed * params["weight"] + params["bias"], (normed, std)

    def backward(self, dout, cache, params, grads):
        normed, std = cache
        grads["weight"] += (dout * normed).sum(axis=0)
        grads["bias"] += dout.sum(axis=0)
        dnormed = dout * params["weight"]
        return (dnormed - mean(dnormed) - normed * mean(dnormed * normed)) / std


class RMSNorm:
    """Rows of a mean square of 1, scaled."""

    def __init__(self, width, eps):
        self.width, self.eps = width, eps

    def specs(self):
        return {"weight": (self.width,)}

    def forward(self, params, x):
        rms = np.sqrt(mean(x**2) + self.eps)  # (N, 1)
        normed = x / rms
        return normed * params["weight"], (normed, rms)

    def backward(self, dout, cache, params, grads):
        normed, rms = cache
        grads["weight"] += (dout * normed).sum(axis=0)
        dnormed = dout * params["weight"]
        return (dnormed - normed * mean(dnormed * normed)) / rms


class BatchNorm:
    """Columns of mean 0 and variance 1 over the batch, scaled and shifted."""

    def __init__(self, width, eps):
        self.width, self.eps = width, eps

    def specs(self):
        return {"weight": (self.width,), "bias": (self.width,)}

    def forward(self, params, x):
        centred = x - x.mean(axis=0)
        std = np.sqrt((centred**2).mean(axis=0) + self.eps)  # (D,)
        normed = centred / std
        return normed * params["weight"] + params["bias"], (normed, std)

    def backward(self, dout, cache, params, grads):
        normed, std = cache
        dweight, dbias = (dout * normed).sum(axis=0), dout.sum(axis=0)
        grads["weight"] += dweight
        grads["bias"] += dbias
        return params["weight"] * (dout - dbias / len(dout) - normed * dweight / len(dout)) / std


class Softmax:
    """Rows of probabilities."""

    def specs(self):
        return {}

    def forward(self, params, x):
        exp = np.exp(x - x.max(axis=-1, keepdims=True))
        out = exp / exp.sum(axis=-1, keepdims=True)
        return out, out

    def backward(self, dout, out, params, grads):
        return out * (dout - (dout * out).sum(axis=-1, keepdims=True))


class SwiGLU:
    """The feed-forward layer of Llama: (silu(x gateᵀ) · (x upᵀ)) downᵀ."""

    def __init__(self, width, inner):
        self.width, self.inner = width, inner

    def specs(self):
        inner, width = self.inner, self.width
        return {"gate": (inner, width), "up": (inner, width), "down": (width, inner)}

    def forward(self, params, x):
        gate, up = x @ params["gate"].T, x @ params["up"].T  # (N, D) @ (D, F) -> (N, F)
        share = 1 / (1 + np.exp(-gate))
        hidden = gate * share * up
        return hidden @ params["down"].T, (x, gate, up, share, hidden)

    def backward(self, dout, cache, params, grads):
        x, gate, up, share, hidden = cache
        grads["down"] += dout.T @ hidden
        dhidden = dout @ params["down"]  # (N, D) @ (D, F) -> (N, F)
        dup = dhidden * gate * share
        dgate = dhidden * up * (share + gate * share * (1 - share))
        grads["up"] += dup.T @ x
        grads["gate"] += dgate.T @ x
        return dgate @ params["gate"] + dup @ params["up"]


class Rotary:
    """Queries (B, T, H) turned by angles that grow with the position, then scaled."""

    def __init__(self, tokens, width):
        self.width = width
        angles = np.arange(tokens)[:, None] / 10.0 ** np.arange(width // 2)  # (T, H/2)
        self.cos, self.sin = np.cos(angles + 0.3), np.sin(angles + 0.3)

    def specs(self):
        return {"scale": (self.width,)}

    def forward(self, params, x):
        first, second = np.split(x, 2, axis=-1)
        left = first * self.cos - second * self.sin
        right = first * self.sin + second * self.cos
        turned = np.concatenate([left, right], axis=-1)
        return turned * params["scale"], turned

    def backward(self, dout, turned, params, grads):
        grads["scale"] += (dout * turned).sum(axis=(0, 1))
        dleft, dright = np.split(dout * params["scale"], 2, axis=-1)
        dfirst = dleft * self.cos + dright * self.sin
        dsecond = dright * self.cos - dleft * self.sin
        return np.concatenate([dfirst, dsecond], axis=-1)


NORM_ERRORS = [
    ("dnormed * normed", "dnormed"),
    ("dout * params[\"weight\"]", "dout * 1"),
    ("(dout * normed).sum(axis=0)", "dout.sum(axis=0)"),
    ("(dout * normed).sum(axis=0)", "(dout * normed).mean(axis=0)"),
    ("- normed * mean", "+ normed * mean"),
    ("- normed * mean(dnormed * normed)", ""),
]  # fmt: skip
ERRORS = {
    LayerNorm: [
        *NORM_ERRORS,
        ("- mean(dnormed) ", ""),
        ("dout.sum(axis=0)\n", "dout.mean(axis=0)\n"),
        (") / std\n", ") * std\n"),
        ("return (", "return 1.0001 * ("),
    ],
    RMSNorm: [
        *NORM_ERRORS,
        ("(dnormed - ", "(dnormed - mean(dnormed) - "),
        (") / rms\n", ")\n"),
        (") / rms\n", ") / rms**2\n"),
        ("return (", "return 1.0001 * ("),
    ],
    BatchNorm: [
        ("- dbias / len(dout)", ""),
        ("- normed * dweight / len(dout)", ""),
        ("normed * dweight / len(dout)", "normed * dweight"),
        ("- normed * dweight", "+ normed * dweight"),
        ("dbias / len(dout)", "dbias"),
        ("params[\"weight\"] * (dout", "(dout"),
        ("len(dout)) / std", "len(dout))"),
        ("+= dweight", "+= dweight / len(dout)"),
        ("+= dbias", "+= dweight"),
        ("dbias / len(dout) - normed * dweight / len(dout)",
         "mean(dout) - normed * mean(dout * normed)"),
    ],
    Softmax: [
        ("(dout * out).sum", "(dout * out).mean"),
        ("(dout * out).sum", "dout.mean"),
        ("(dout * out).sum", "dout.sum"),
        ("sum(axis=-1", "sum(axis=0"),
        ("- (dout", "+ (dout"),
        ("out * (dout - (dout * out).sum(axis=-1, keepdims=True))", "out * dout"),
        ("out * (dout - (dout * out).sum(axis=-1, keepdims=True))", "out * (1 - out) * dout"),
        ("out * (dout - (dout * out).sum(axis=-1, keepdims=True))",
         "dout - (dout * out).sum(axis=-1, keepdims=True)"),
        ("return out *", "return out**2 *"),
        ("return out *", "return 1.0001 * out *"),
    ],
    SwiGLU: [
        ("dhidden * up * (share + gate * share * (1 - share))", "dhidden * up * share"),
        ("(1 - share)", "(1 + share)"),
        ("share + gate * share * (1 - share)", "share * (1 - share)"),
        ("dup = dhidden * gate * share", "dup = dhidden * gate"),
        ("dgate = dhidden * up *", "dgate = dhidden *"),
        ("dgate @ params[\"gate\"] + dup @ params[\"up\"]", "dgate @ params[\"gate\"]"),
        ("dgate @ params[\"gate\"] + dup @ params[\"up\"]",
         "dgate @ params[\"up\"] + dup @ params[\"gate\"]"),
        ("dgate.T @ x", "dgate.T @ x / len(x)"),
        ("+= dout.T @ hidden", "+= dout.T @ (gate * up)"),
        ("dup.T @ x", "dgate.T @ x"),
    ],
    Rotary: [
        ("dleft * self.cos + dright * self.sin", "dleft * self.cos - dright * self.sin"),
        ("dright * self.cos - dleft * self.sin", "dright * self.cos + dleft * self.sin"),
        ("dleft * self.cos + dright * self.sin", "dleft * self.sin + dright * self.cos"),
        ("dright * self.cos - dleft * self.sin", "dright * self.cos"),
        ("[dfirst, dsecond]", "[dsecond, dfirst]"),
        ("dout * params[\"scale\"]", "dout * 1"),
        ("dout * turned", "dout"),
        ("(dout * turned).sum(axis=(0, 1))", "(dout * turned).mean(axis=(0, 1))"),
        ("(dout * turned).sum(axis=(0, 1))", "(dout * turned).mean(axis=0).sum(axis=0)"),
        ("[dfirst, dsecond]", "[1.0001 * dfirst, dsecond]"),
    ],
}  # fmt: skip


def planted(kind, old, new):
    """Return the class with an error in its backward (class)."""
    source = textwrap.dedent(inspect.getsource(kind))
    head, marker, body = source.partition("    def backward(")
    assert body.count(old) == 1, (kind.__name__, old)
    names = dict(globals())
    exec(head + marker + body.replace(old, new), names)
    return names[kind.__name__]


@st.composite
def examples(draw, kind):
    """Draw the arguments of the class, its parameters and its input."""
    eps = draw(st.sampled_from([1e-12, 1e-5]))
    width = draw(st.integers(4, 16))
    if kind in (LayerNorm, RMSNorm):
        sizes, shape = (width, eps), (3, width)
    elif kind is BatchNorm:
        sizes, shape = (3, eps), (width, 3)
    elif kind is Softmax:
        sizes, shape = (), (3, width)
    elif kind is SwiGLU:
        sizes, shape = (4, 5), (3, 4)
    else:
        sizes, shape = (3, 4), (2, 3, 4)
    x = draw(float_arrays(shape, varied=True))
    return sizes, draw(parameters(kind(*sizes).specs())), x

"""Plain twins: one expression for each operation that `minibert.by_hand` does not contain.

They are test oracles. A twin computes in float64, keeps no cache and optimises nothing, so it can
be compared with its formula at a glance; the fast form in `minibert.functional` is compared with
its twin. Labels of -100 are ignored, as in the package.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

IGNORED = -100  # the label of a position that does not count


def gelu_new(x: Array) -> Array:
    """Return the tanh form of GELU; Hendrycks and Gimpel (2016), section 2."""
    return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def gelu_new_slope(x: Array) -> Array:
    """Return the derivative of `gelu_new`: with t its tanh, (1 + t)/2 + x/2 · (1 - t²) · z'."""
    tanh = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
    dz = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)
    return (1 + tanh) / 2 + x / 2 * (1 - tanh**2) * dz


def relu(x: Array) -> Array:
    """Return max(x, 0)."""
    return np.maximum(x, 0)


def relu_slope(x: Array) -> Array:
    """Return the derivative of `relu`, which is taken as 0 at 0."""
    return np.where(x > 0, 1.0, 0.0)


def sinusoidal_positions(length: int, width: int) -> Array:
    """Return the table (length, D) of sines and cosines; Vaswani et al. (2017), section 3.5.

    Column 2i is sin(t / 10000^(2i/D)), column 2i + 1 is cos(t / 10000^(2i/D)).
    """
    return np.array(
        [
            [
                (math.cos if d % 2 else math.sin)(t / 10000 ** (d // 2 * 2 / width))
                for d in range(width)
            ]
            for t in range(length)
        ]
    )


def dropout(x: Array, kept: NDArray[np.bool_], rate: float) -> Array:
    """Return x · kept / (1 - rate); Srivastava et al. (2014), section 4.

    It is linear in x and its own transpose, so it is also its own backward.

    Args:
        x: any shape.
        kept: the mask, the same shape; false where a number is dropped.
        rate: the probability of being dropped, the actual one.
    """
    return x * kept / (1 - rate)


def binary_cross_entropy(logits: Array, labels: Array, denominator: float | None = None) -> float:
    """Return -Σ y log σ(s) + (1 - y) log(1 - σ(s)), divided by the number of counted labels.

    Args:
        logits: s, any shape.
        labels: y, the same shape; from 0 to 1, or -100.
        denominator: divide by this number instead.
    """
    s, y = logits[labels != IGNORED], labels[labels != IGNORED]
    yes, no = 1 / (1 + np.exp(-s)), 1 / (1 + np.exp(s))  # σ(s) and 1 - σ(s) = σ(-s)
    return float(-(y * np.log(yes) + (1 - y) * np.log(no)).sum() / (denominator or max(len(y), 1)))


def binary_cross_entropy_gradient(
    logits: Array, labels: Array, denominator: float | None = None
) -> Array:
    """Return the gradient of `binary_cross_entropy` in the logits: (σ(s) - y) / n."""
    counted = labels != IGNORED
    n = denominator or max(counted.sum(), 1)
    return np.where(counted, (1 / (1 + np.exp(-logits)) - labels) / n, 0)


def squared_error(outputs: Array, targets: Array, denominator: float | None = None) -> float:
    """Return Σ (o - y)², divided by the number of targets or by `denominator`."""
    return float(((outputs - targets) ** 2).sum() / (denominator or targets.size))


def squared_error_gradient(
    outputs: Array, targets: Array, denominator: float | None = None
) -> Array:
    """Return the gradient of `squared_error` in the outputs: 2 (o - y) / n."""
    return 2 * (outputs - targets) / (denominator or targets.size)


def weighted_cross_entropy(
    logits: Array, labels: Ids, weights: Array, denominator: float | None = None
) -> float:
    """Return -Σ w[label] · log softmax(logits)[label], divided by Σ w[label].

    Args:
        logits: (..., C).
        labels: (...), from 0 to C - 1, or -100.
        weights: w, (C,), one for each class.
        denominator: divide by this number instead.
    """
    s, right = logits[labels != IGNORED], labels[labels != IGNORED]  # (M, C), (M,)
    softmax = np.exp(s) / np.exp(s).sum(axis=-1, keepdims=True)  # (M, C)
    surprise = -weights[right] * np.log(softmax[np.arange(len(right)), right])  # (M,)
    return float(surprise.sum() / (denominator or weights[right].sum() or 1))


def weighted_cross_entropy_gradient(
    logits: Array, labels: Ids, weights: Array, denominator: float | None = None
) -> Array:
    """Return the gradient of `weighted_cross_entropy`: w[label] (softmax - one_hot) / n."""
    counted = labels != IGNORED
    right = np.where(counted, labels, 0)  # (...), any class where ignored
    w = weights[right] * counted  # (...)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)  # (..., C)
    one_hot = np.eye(logits.shape[-1])[right]  # (..., C)
    return w[..., None] * (softmax - one_hot) / (denominator or w.sum() or 1)


def embedding_gradient(dout: Array, ids: Ids, rows: int) -> Array:
    """Return the gradient (V, D) of the table in `table[ids]`; equal ids add up.

    Args:
        dout: (..., D).
        ids: (...), from 0 to V - 1.
        rows: V.
    """
    table = np.zeros((rows, dout.shape[-1]))
    np.add.at(table, ids, dout)  # (..., D) into (V, D) at (...)
    return table


def clip_by_global_norm(gradients: list[Array], longest: float) -> list[Array]:
    """Return the gradients times min(1, longest / norm), with the norm of all gradients together.

    Pascanu, Mikolov and Bengio (2013), algorithm 1.
    """
    norm = math.sqrt(sum((gradient**2).sum() for gradient in gradients))
    return [gradient * min(1, longest / norm) if norm else gradient for gradient in gradients]


def dropout_add_norm(
    y: Array,
    residual: Array,
    kept: NDArray[np.bool_],
    rate: float,
    weight: Array,
    bias: Array,
    eps: float,
) -> Array:
    """Return layer_norm(dropout(y) + residual), the end of each of a block's two sublayers.

    Args:
        y: (..., D), the sublayer's output.
        residual: (..., D), the sublayer's input.
        kept, rate: as in `dropout`.
        weight, bias: (D,), of the layer norm.
        eps: added to the variance, inside the root.
    """
    x = dropout(y, kept, rate) + residual
    normed = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + eps)
    return normed * weight + bias


def rotary(x: Array, theta: float) -> Array:
    """Return heads x (K, T, H), rotated by their positions; Su et al. (2021), section 3.2.

    The pair of unit j is unit j + H/2: (x1 cos - x2 sin, x2 cos + x1 sin), the angle t θ^(-2j/H).
    """
    half = x.shape[-1] // 2
    t, j = np.arange(x.shape[1])[:, None], np.arange(half)
    cos, sin = np.cos(t * theta ** (-j / half)), np.sin(t * theta ** (-j / half))  # (T, H/2)
    x1, x2 = x[..., :half], x[..., half:]
    return np.concatenate([x1 * cos - x2 * sin, x2 * cos + x1 * sin], axis=-1)


def gelu(x: Array) -> Array:
    """Return x Φ(x)."""
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


def gated(x: Array, activation: Callable[[Array], Array]) -> Array:
    """Return activation(a) · g of x = [a; g] (N, 2F); Shazeer (2020), eq. 5."""
    a, g = np.split(x, 2, axis=-1)
    return activation(a) * g


def modernbert_logits(
    arrays: dict[str, Array],
    ids: Ids,
    heads: int,
    thetas: Sequence[float],
    eps: float,
    windows: Sequence[int | None],
) -> Array:
    """Return the logits (T, V) of a ModernBERT for masked tokens, from the tensors of its file.

    Args:
        arrays: by their names in `transformers`.
        ids: (T,), one text.
        heads: K.
        thetas: of the rotary positions, for each layer.
        eps: of the norms.
        windows: the largest distance of a token that another one attends to; None: any.
    """
    table = arrays["model.embeddings.tok_embeddings.weight"]

    def norm(x: Array, name: str) -> Array:
        mean, var = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
        return (x - mean) / np.sqrt(var + eps) * arrays[f"{name}.weight"]

    x = norm(table[ids], "model.embeddings.norm")  # (T, D)
    distance = np.abs(np.arange(len(ids))[:, None] - np.arange(len(ids)))
    for layer, (theta, window) in enumerate(zip(thetas, windows, strict=True)):
        scope = f"model.layers.{layer}."
        h = norm(x, f"{scope}attn_norm") if layer else x
        # (T, 3D) -> three of (K, T, H)
        q, k, v = (
            each.reshape(len(ids), heads, -1).swapaxes(0, 1)
            for each in np.split(h @ arrays[f"{scope}attn.Wqkv.weight"].T, 3, axis=-1)
        )
        scores = rotary(q, theta) @ rotary(k, theta).swapaxes(1, 2) / math.sqrt(q.shape[-1])
        if window is not None:
            scores = np.where(distance <= window, scores, -np.inf)
        weights = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)  # (K, T, T)
        merged = (weights @ v).swapaxes(0, 1).reshape(len(ids), -1)  # (K, T, H) -> (T, D)
        x = x + merged @ arrays[f"{scope}attn.Wo.weight"].T
        h = norm(x, f"{scope}mlp_norm") @ arrays[f"{scope}mlp.Wi.weight"].T  # (T, 2F)
        x = x + gated(h, gelu) @ arrays[f"{scope}mlp.Wo.weight"].T
    h = gelu(norm(x, "model.final_norm") @ arrays["head.dense.weight"].T)
    return norm(h, "head.norm") @ table.T + arrays["decoder.bias"]


def orthogonalized(matrix: Array, steps: int = 5) -> Array:
    """Return U φ(φ(…φ(Σ / ‖Σ‖))) Vᵀ of M = U Σ Vᵀ, with φ(σ) = 3.4445 σ - 4.7750 σ³ + 2.0315 σ⁵.

    Jordan et al. (2024). M is not 0.
    """
    u, sigma, vt = np.linalg.svd(matrix, full_matrices=False)
    sigma = sigma / math.sqrt((sigma**2).sum())
    for _ in range(steps):
        sigma = 3.4445 * sigma - 4.7750 * sigma**3 + 2.0315 * sigma**5
    return u * sigma @ vt  # (m, r) @ (r, n) -> (m, n)


def muon_update(
    weight: Array,
    gradient: Array,
    momentum: Array,
    rate: float,
    mu: float = 0.95,
    weight_decay: float = 0.01,
    nesterov: bool = True,
) -> tuple[Array, Array]:
    """Return the weight and the momentum after a step; Liu et al. (2025), equations 1 and 4."""
    momentum = mu * momentum + (1 - mu) * gradient
    ahead = mu * momentum + (1 - mu) * gradient if nesterov else momentum
    update = 0.2 * math.sqrt(max(weight.shape)) * orthogonalized(ahead)
    return weight - rate * (update + weight_decay * weight), momentum

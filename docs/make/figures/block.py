"""The figures of chapter 9: a block forward and backward, and gradients through twelve blocks."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from docs.make.data import load
from docs.make.svg import Axes, Drawing
from minibert import by_hand
from minibert.typing import Array

B, T, D, F, K, BLOCKS = 4, 16, 64, 256, 4, 12  # of the stacks whose gradients are measured
SEEDS = 5
KINDS = ("post-norm", "pre-norm", "residual only", "norm only", "neither, small W")
SMALL = 0.02  # the deviation of BERT's initial weights; of the other kinds it is D^-0.5

Backward = Callable[[Array], Array]


def block() -> str:
    """Return the parts of a block, with the arrays of the forward and of the backward (SVG)."""
    drawing = Drawing(600, 590, "A block, forward (upwards) and backward (downwards)")
    left, right = 180, 500  # the middle of each column
    for x, words in ((left, "forward"), (right, "backward")):
        drawing.text(x, 52, words, "strong", "middle")
    for i, (norm, sublayer, names) in enumerate(
        (("layer norm", "feed-forward", ("out", "h")), ("layer norm", "attention", ("h", "x")))
    ):
        top = 84 + 240 * i
        half(drawing, left, top, (norm, sublayer), names, is_backward=False)
        half(drawing, right, top, (norm, sublayer), names, is_backward=True)
    return drawing.svg()


def half(
    drawing: Drawing,
    x: float,
    top: float,
    parts: tuple[str, str],
    names: tuple[str, str],
    is_backward: bool,
) -> None:
    """Draw a sublayer with its residual and its norm, 240 pixels high.

    Args:
        drawing: where to draw.
        x: the middle of the column; the residual is drawn to the left of it.
        top: where the output is.
        parts: the names of the norm and of the sublayer.
        names: of the output and of the input.
        is_backward: whether arrows lead down.
    """
    norm, sublayer = parts
    out, inner = (f"d{name}" if is_backward else name for name in names)
    kind = "warm" if is_backward else "accent"
    around = x - 100  # of the residual

    def arrow(*points: tuple[float, float]) -> None:
        drawing.arrow(*(points[::-1] if is_backward else points), is_backward=is_backward)

    drawing.text(x + 10, top + 4, out, "code")
    arrow((x, top + 34), (x, top + 8))
    drawing.box(x - 60, top + 34, 120, 30, [norm], kind)
    arrow((x, top + 100), (x, top + 64))
    drawing.text(x + 10, top + 88, "ds" if is_backward else "s", "code")
    drawing.text(x, top + 116, "copied" if is_backward else "+", "strong", "middle")
    arrow((x, top + 146), (x, top + 124))
    drawing.box(x - 60, top + 146, 120, 30, [sublayer], kind)
    arrow((x, top + 206), (x, top + 176))
    gap = 30 if is_backward else 10
    arrow((x - 8, top + 214), (around, top + 214), (around, top + 112), (x - gap, top + 112))
    drawing.text(x, top + 219, "+" if is_backward else "•", "strong", "middle")
    label = "undamped" if is_backward else "residual"
    drawing.text(around - 6, top + 166, label, "small", "end")
    arrow((x, top + 240), (x, top + 224))
    if inner.endswith("x"):  # others are drawn as the output of the half below
        drawing.text(x + 10, top + 244, inner, "code")


def residuals() -> str:
    """Return the length of the gradient below each block, by kind of stack (SVG)."""
    drawing = Drawing(600, 350, "Length of the gradient in a stack of 12 blocks, 1 at the top")
    axes = Axes(drawing, (60, 60, 516, 230), (1.0, BLOCKS + 1.0), (-1.0, 8.0))
    labels = ("below block (13: above the last one)", "log₁₀ of the length")
    axes.ticks(range(1, BLOCKS + 2), range(-1, 9), labels)
    stored = load("residuals")
    axes.curves(
        {
            kind: [(i + 1, math.log10(one)) for i, one in enumerate(stored[kind]["gradient"])]
            for kind in KINDS[:-1]
        },
        corner=(400, 80),
    )
    return drawing.svg()


def record() -> dict[str, dict[str, Any]]:
    """Return what happens in stacks before training, by kind, as means over some seeds.

    Of each kind: the lengths of the gradient below blocks 1 to 12 and above the last, the deviation
    of the output, and the mean cosine between tokens after each block.
    """
    found = {}
    for kind in KINDS:
        runs = [measure(kind, seed) for seed in range(SEEDS)]
        means = (np.mean(own, axis=0) for own in zip(*runs, strict=True))
        rounded = [np.vectorize(lambda one: float(f"{one:.4g}"))(own).tolist() for own in means]
        found[kind] = dict(zip(("gradient", "deviation", "cosine"), rounded, strict=True))
    return found


def measure(kind: str, seed: int) -> tuple[list[float], float, list[float]]:
    """Run a stack forward and backward; return what `record` describes.

    Args:
        kind: one of `KINDS`.
        seed: of the parameters, the input and the cotangent.
    """
    std = SMALL if kind == "neither, small W" else D**-0.5
    p = by_hand.initial_params(4, D, F, BLOCKS, T, 2, std=std, seed=seed)
    rng = np.random.default_rng(seed)
    x, dx = rng.normal(size=(2, B, T, D))
    backwards, cosines = [], []
    for i in range(BLOCKS):
        name = f"bert.encoder.layer.{i}."
        read = name + "attention."
        x, undo_attention = step(kind, x, p, read + "output.LayerNorm", read)
        x, undo_feed_forward = step(kind, x, p, name + "output.LayerNorm", name)
        backwards.append((undo_attention, undo_feed_forward))
        directions = x / np.linalg.norm(x, axis=-1, keepdims=True)
        own = directions @ directions.swapaxes(1, 2)  # (B, T, D) @ (B, D, T) -> (B, T, T)
        cosines.append(float(own[:, ~np.eye(T, dtype=bool)].mean()))
    dx /= np.linalg.norm(dx)
    lengths = [1.0]
    for undo_attention, undo_feed_forward in reversed(backwards):
        dx = undo_attention(undo_feed_forward(dx))
        lengths.append(float(np.linalg.norm(dx)))
    return lengths[::-1], float(x.std()), cosines


def step(
    kind: str, x: Array, p: by_hand.Params, norm: str, sublayer: str
) -> tuple[Array, Backward]:
    """Return the output of a sublayer in a kind of stack, and its backward."""
    if kind == "pre-norm":
        normed, undo_norm = layer_norm(p, norm, x)
        y, undo = run(p, sublayer, normed)
        return x + y, lambda dout: dout + undo_norm(undo(dout))
    y, undo = run(p, sublayer, x)
    if kind == "residual only":
        return x + y, lambda dout: dout + undo(dout)
    if kind == "neither, small W":
        return y, undo
    if kind == "norm only":
        out, undo_norm = layer_norm(p, norm, y)
        return out, lambda dout: undo(undo_norm(dout))
    out, undo_norm = layer_norm(p, norm, x + y)

    def undo_both(dout: Array) -> Array:
        ds = undo_norm(dout)
        return ds + undo(ds)

    return out, undo_both


def layer_norm(p: by_hand.Params, name: str, x: Array) -> tuple[Array, Backward]:
    """Return the output of a norm, and its backward."""
    out, cache = by_hand.layer_norm_forward(p, name, x)
    return out, lambda dout: by_hand.layer_norm_backward(dout, cache, p, zeros(p), name)


def run(p: by_hand.Params, name: str, x: Array) -> tuple[Array, Backward]:
    """Return the output of attention or feed-forward, and its backward."""
    if name.endswith("attention."):
        out, cache = by_hand.heads_forward(p, name, x, np.ones((B, T), np.int64), K)
        return out, lambda dout: by_hand.heads_backward(dout, cache, p, zeros(p), name)
    wide, _ = by_hand.linear_forward(p, name + "intermediate.dense", x)
    active, gelu_cache = by_hand.gelu_forward(wide)
    out, _ = by_hand.linear_forward(p, name + "output.dense", active)

    def undo(dout: Array) -> Array:
        dactive = by_hand.linear_backward(dout, active, p, zeros(p), name + "output.dense")
        dwide = by_hand.gelu_backward(dactive, gelu_cache)
        return by_hand.linear_backward(dwide, x, p, zeros(p), name + "intermediate.dense")

    return out, undo


def zeros(p: by_hand.Params) -> by_hand.Params:
    """Return gradients that nobody reads (dict)."""
    return {name: np.zeros_like(array) for name, array in p.items()}


FIGURES = {"block": block, "residuals": residuals}
RECORDS = {"residuals": record}

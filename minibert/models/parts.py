"""Parts of a model that are not BERT's own: a caller's block, embeddings, positions or encoder."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from minibert.layers import Embeddings, Encoder, Layer, Positions, Site
from minibert.models.config import BertConfig
from minibert.parameters import Parameters
from minibert.typing import Array


@dataclass(frozen=True)
class Parts:
    """Factories: each a class or function that is called with the configuration; None: BERT's own.

    Attributes:
        block: makes a block; called once for each.
        embeddings: makes the embeddings.
        positions: makes what relates query and key positions in attention.
        encoder: makes the whole encoder, instead of `block` and `positions`.
    """

    block: Callable[[BertConfig], Layer] | None = None
    embeddings: Callable[[BertConfig], Embeddings] | None = None
    positions: Callable[[BertConfig], Positions] | None = None
    encoder: Callable[[BertConfig], Encoder] | None = None

    def __post_init__(self) -> None:
        """Refuse a part that is not callable, or that another one replaces."""
        for name, factory in self.given().items():
            if not callable(factory):
                raise TypeError(f"{name}: expected a class or function of the configuration, "
                                f"got {type(factory).__name__}")  # fmt: skip
        if self.encoder is not None and (self.block or self.positions):
            raise ValueError("encoder: expected it alone; it makes blocks and positions itself")

    def given(self) -> dict[str, Any]:
        """Return the factories that are not None, by field."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def names(self) -> dict[str, str]:
        """Return their names, which a config.json states."""
        return {
            field: getattr(factory, "__name__", type(factory).__name__)
            for field, factory in self.given().items()
        }


# What a model calls of each part.
METHODS = {
    "block": {
        "specs": "specs()",
        "forward": "forward(params, x, site, rng, keep)",
        "backward": "backward(dout, cache, params, grads, dsite)",
    },
    "embeddings": {
        "specs": "specs()",
        "constants": "constants()",
        "forward": "forward(params, ids, types, rng)",
        "backward": "backward(dx, cache, params, grads)",
    },
    "positions": {
        "specs": "specs()",
        "prepare": "prepare(params, keys, dtype)",
        "turn": "turn(heads, at, tables)",
        "turn_backward": "turn_backward(dheads, at, tables)",
        "scores": "scores(site)",
        "scores_backward": "scores_backward(dscores, site, dtables)",
        "zeros": "zeros(tables)",
        "backward": "backward(dtables, tables, params, grads)",
    },
    "encoder": {
        "specs": "specs()",
        "forward": "forward(params, x, site, rng, keep, states)",
        "backward": "backward(dx, cache, params, grads)",
    },
}


def require_methods(field: str, part: Any) -> None:
    """Raise TypeError unless a caller's part has the methods that a model calls.

    Args:
        field: a key of `METHODS`, which is the name of the argument.
        part: what the caller's factory made.
    """
    for method, signature in METHODS[field].items():
        if not callable(getattr(part, method, None)):
            raise TypeError(
                f"{field}: expected {type(part).__name__} to have a method {signature}, found none"
            )


def try_block(layer: Any, width: int) -> None:
    """Run a caller's layer on a tiny batch, before anything depends on it.

    Args:
        layer: what the caller's factory made.
        width: D.

    Raises:
        TypeError: it lacks a method.
        ValueError: it returns another shape, writes to its input, keeps state between calls, or
            computes something else without `keep` or at some tokens only.
    """
    name = type(layer).__name__
    require_methods("block", layer)
    params = Parameters(layer.specs(), dtype=np.float64)
    rng = np.random.default_rng(0)
    params.vector[:] = rng.normal(0, 0.1, params.vector.shape)
    x = rng.normal(size=(2, 3, width))  # (B, T, D)
    before, state = x.copy(), _attributes(layer)
    site = Site(np.arange(3))
    out, cache = _run(name, layer, params, x, site)
    again, _ = _run(name, layer, params, x, site, keep=False)
    _require(np.array_equal(x, before), name, "forward: expected x unchanged, it was written to")
    _require(_near(out, again), name, "forward: expected the same out with keep=False")
    trimmed = site._replace(rows=np.array([[1], [2]]))
    part, _ = _run(name, layer, params, x, trimmed)
    _require(
        _near(part[:, 0], out[[0, 1], [1, 2]]), name, "forward: expected the same out at site.rows"
    )
    grads = params.zeros_like()
    dout = rng.normal(size=out.shape)
    dx = layer.backward(dout.copy(), cache, params, grads, None)
    got = getattr(dx, "shape", type(dx).__name__)
    _require(got == x.shape, name, f"backward: expected dx of the shape {x.shape}, got {got}")
    changed = _attributes(layer) ^ state
    _require(
        not changed, name, f"expected no state between calls, got {sorted(n for n, _ in changed)}"
    )


def _run(
    name: str, layer: Any, params: Parameters, x: Array, site: Site, keep: bool = True
) -> tuple[Array, Any]:
    returned = layer.forward(params, x, site, None, keep)
    pair = isinstance(returned, tuple) and len(returned) == 2
    _require(pair, name, f"forward: expected a pair (out, cache), got {type(returned).__name__}")
    out, cache = returned
    shape = (2, 3 if site.rows is None else 1, x.shape[-1])
    got = getattr(out, "shape", type(out).__name__)
    _require(got == shape, name, f"forward: expected out of the shape {shape}, got {got}")
    return out, cache


def _attributes(layer: Any) -> set[tuple[str, int]]:
    """Return the names of a layer's attributes, and which objects they are."""
    return {(name, id(value)) for name, value in vars(layer).items()}


def _near(one: Array, other: Array) -> bool:
    return bool(np.allclose(one, other, rtol=1e-9, atol=1e-9))


def _require(holds: bool, name: str, message: str) -> None:
    if not holds:
        raise ValueError(f"{name}: {message}")

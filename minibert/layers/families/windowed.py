"""Self-attention to near tokens alone, and rotary positions with a base of their own for it."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from minibert.functional import AttentionCache, attention_forward
from minibert.functional.families.window import (
    WindowCache,
    window_attention_backward,
    window_attention_forward,
    window_bias,
)
from minibert.layers.attention import SelfAttentionCache
from minibert.layers.base import Site
from minibert.layers.rotary import RotaryPositions
from minibert.layers.without_bias import SelfAttentionWithoutBias
from minibert.parameters import Views
from minibert.typing import Array, Rng


class RotaryTables(NamedTuple):
    """The rotations of the positions, (T, H/2) each."""

    full: Array
    near: Array


class RotaryByKind(RotaryPositions):
    """Rotary positions with a base for full attention, and another one for windows.

    Near tokens are told apart by faster turns, so the base of the windows is smaller.

    Args:
        head_width: H, even.
        theta: the base of layers with full attention.
        near_theta: that of layers with a window.

    Raises:
        ValueError: H is odd.
    """

    def __init__(self, head_width: int, theta: float, near_theta: float):
        super().__init__(head_width, theta)
        self.near = RotaryPositions(head_width, near_theta)

    def prepare(self, params: Views, keys: Array, dtype: np.dtype[Any]) -> Any:
        """Return the rotations of both kinds (`RotaryTables`)."""
        full, near = super().prepare(params, keys, dtype), self.near.prepare(params, keys, dtype)
        return RotaryTables(full, near)

    def turn(self, heads: Array, at: Array, tables: Any) -> Array:
        """Rotate heads (B, K, R, H) of a layer with full attention."""
        return super().turn(heads, at, tables.full)

    def turn_backward(self, dheads: Array, at: Array, tables: Any) -> Array:
        """Gradient of `turn` with respect to the heads."""
        return super().turn_backward(dheads, at, tables.full)


class WindowedSelfAttention(SelfAttentionWithoutBias):
    """Self-attention to the tokens at most w places away, without biases.

    If only some tokens are computed, their scores with all keys are, too, because they are few.

    Args:
        name, width, heads, rate, gain: as in `SelfAttentionWithoutBias`.
        window: w.
        size: as in `window_attention_forward`.
    """

    def __init__(
        self, name: str, width: int, heads: int, window: int, rate: float = 0.0, gain: float = 1.0,
        size: int | None = None,
    ):  # fmt: skip
        super().__init__(name, width, heads, rate, gain)
        self.window, self.size = window, size

    def forward(
        self, params: Views, x: Array, site: Site, rng: Rng | None = None, keep: bool = True
    ) -> tuple[Array, SelfAttentionCache | None]:
        """Let each token at `site.rows` attend to the tokens near it; see `layers.Layer`."""
        positions, tables = site.positions, site.tables
        if isinstance(positions, RotaryByKind):
            positions, tables = positions.near, tables.near
        attend = partial(self._attend, site.rows)
        if site.attend is not None:  # for several batches side by side, in each of which at = rows
            at = None if site.rows is None else site.queries[0]
            attend = partial(site.attend, each=self._attend, at=at)
        own = site._replace(positions=positions, tables=tables, attend=attend)
        return super().forward(params, x, own, rng, keep)

    def _attend(
        self, at: Array | None, query: Array, key: Array, value: Array, mask: Array | None,
        bias: None, rate: float = 0.0, rng: Rng | None = None, keep: bool = True,
    ) -> tuple[Array, AttentionCache | None]:  # fmt: skip
        """Attend from the queries at positions `at` (B, R), None for all of them."""
        if at is None:
            heads = query, key, value
            return window_attention_forward(*heads, self.window, mask, rate, rng, keep, self.size)
        near = window_bias(at, np.arange(key.shape[2]), self.window, query.dtype)
        near = None if near is None else near[:, None]  # (B, R, T) -> (B, 1, R, T)
        return attention_forward(query, key, value, mask, near, rate, rng, keep)

    def backward(
        self, dout: Array, cache: SelfAttentionCache, params: Views, grads: Views, dsite: Any,
        attend: Any = None,
    ) -> Array:  # fmt: skip
        """Gradient of `forward`: dx (B, T, D)."""
        attend = _band_backward if isinstance(cache.heads, WindowCache) else None
        return super().backward(dout, cache, params, grads, dsite, attend)


def _band_backward(
    dheads: Array, cache: WindowCache, dscores: None, droles: Sequence[Array]
) -> None:
    """Gradient of `window_attention_forward`; writes into `droles`."""
    for each in droles:  # (B, K, T, H), to which the blocks of the band add
        each[...] = 0
    window_attention_backward(dheads, cache, droles)

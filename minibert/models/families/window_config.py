"""A configuration with windows: which layers have one, its width, and two rotary bases.

`transformers` 4 writes a period of the layers with full attention (`global_attn_every_n_layers`)
and two bases (`global_rope_theta`, `local_rope_theta`), version 5 a kind for each layer
(`layer_types`) and `rope_parameters` for each kind. A file may have both if they agree.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from minibert.models.config import require_int
from minibert.models.families.relative import RelativeConfig

FULL, SLIDING = "full_attention", "sliding_attention"
EVERY = 3  # the period of a file without one
PERIOD, KINDS, WIDTH, HALF = (
    "global_attn_every_n_layers", "layer_types", "local_attention", "sliding_window"
)  # fmt: skip
# By kind: the field in memory, that of transformers 4, and the value of a file without it.
THETAS: dict[str, tuple[str, str, float]] = {
    FULL: ("rope_theta", "global_rope_theta", 160000.0),
    SLIDING: ("local_rope_theta", "local_rope_theta", 10000.0),
}


@dataclass(frozen=True)
class WindowedConfig(RelativeConfig):
    """A configuration of layers with full attention and layers with a window.

    Args:
        rope_theta: the base of the rotary positions where attention is full.
        local_rope_theta: the base where it has a window.
        local_attention: width of a window: a token attends to those at most half of it away.
        global_attn_every_n_layers: n; the layers 0, n, 2n and so on have full attention.
        layer_types: `full_attention` or `sliding_attention` for each layer, if that has no period.

    Raises:
        ValueError: as `BertConfig`; or these fields contradict each other.
    """

    rope_theta: float = THETAS[FULL][2]
    local_rope_theta: float = THETAS[SLIDING][2]
    local_attention: int = 128
    global_attn_every_n_layers: int = EVERY
    layer_types: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Check all fields; kinds of layers that have a period are stated by it."""
        super().__post_init__()
        if self.layer_types is not None:  # equal kinds make equal configurations
            every = period_of(self.layer_types)
            object.__setattr__(self, KINDS, None if every else tuple(self.layer_types))
            object.__setattr__(self, PERIOD, every or EVERY)

    def _check_choices(self) -> None:
        super()._check_choices()
        for name, _, _ in THETAS.values():
            theta = getattr(self, name)
            if not isinstance(theta, int | float) or not 0 < theta < math.inf:
                raise ValueError(f"{name}: expected more than 0, got {theta!r}")
        for name in (WIDTH, PERIOD):
            require_int(name, getattr(self, name), at_least=1)
        if self.layer_types is not None:
            _check_kinds(self.layer_types, self.num_hidden_layers)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kind of each layer's attention."""
        every = self.global_attn_every_n_layers
        return self.layer_types or kinds_by_period(self.num_hidden_layers, every)

    @property
    def window(self) -> int:
        """The largest distance of a token inside a window."""
        return self.local_attention // 2

    def with_layers(self, numbers: Sequence[int]) -> Self:
        """Return the configuration of a model of these layers of this one, each of its kind."""
        kinds = tuple(self.kinds[i] for i in numbers)
        return replace(self, num_hidden_layers=len(kinds), layer_types=kinds)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields of a Hugging Face `config.json`, for `transformers` 4 and 5."""
        values = super().to_dict()
        if self.layer_types is not None:  # without a period, so version 4 does not open the file
            del values[PERIOD]
        thetas = {kind: values.pop(ours) for kind, (ours, _, _) in THETAS.items()}
        rope = {kind: {"rope_type": "default", "rope_theta": t} for kind, t in thetas.items()}
        old = {THETAS[kind][1]: theta for kind, theta in thetas.items()}
        return {**values, KINDS: list(self.kinds), "rope_parameters": rope, **old}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from the fields of a `config.json` of `transformers` 4 or 5.

        Raises:
            ValueError: the fields contradict each other, or describe another kind of model or an
                invalid one.
        """
        layers = values.get("num_hidden_layers", cls.num_hidden_layers)
        own = {**_read_kinds(values, layers), **_read_width(values), **_read_thetas(values)}
        return super().from_dict({**values, **own})


def kinds_by_period(layers: int, every: int) -> tuple[str, ...]:
    """Return the kinds of layers of which the first and every `every`-th one after it are full.

    >>> [kind.partition("_")[0] for kind in kinds_by_period(4, 3)]
    ['full', 'sliding', 'sliding', 'full']
    """
    return tuple(SLIDING if i % every else FULL for i in range(layers))


def period_of(kinds: Sequence[str]) -> int | None:
    """Return the period of the layers with full attention; None if they have none."""
    periods = [EVERY, *range(1, len(kinds) + 1)]
    return next((n for n in periods if tuple(kinds) == kinds_by_period(len(kinds), n)), None)


def _check_kinds(kinds: Any, layers: Any) -> None:
    """Raise ValueError unless there is a known kind for each layer."""
    if not isinstance(kinds, list | tuple):
        raise ValueError(f"{KINDS}: expected a kind for each layer, got {kinds!r}")
    for kind in kinds:
        if kind not in (FULL, SLIDING):
            raise ValueError(f"{KINDS}: expected {FULL} or {SLIDING}, got {kind!r}")
    if len(kinds) != layers:
        raise ValueError(f"{KINDS}: expected {layers}, one for each layer, got {len(kinds)}")


def _read_kinds(values: Mapping[str, Any], layers: Any) -> dict[str, Any]:
    kinds, every = values.get(KINDS), values.get(PERIOD)
    if every is not None:
        require_int(PERIOD, every, at_least=1)
    if kinds is None:
        return {PERIOD: EVERY if every is None else every, KINDS: None}
    _check_kinds(kinds, layers)
    if every is None:
        return {KINDS: tuple(kinds)}
    expected = kinds_by_period(layers, every)
    for i, (kind, other) in enumerate(zip(kinds, expected, strict=True)):
        if kind != other:
            raise ValueError(f"{KINDS}: expected {other} in layer {i}, as {PERIOD} {every} states, "
                             f"got {kind}")  # fmt: skip
    return {PERIOD: every, KINDS: None}


def _read_width(values: Mapping[str, Any]) -> dict[str, Any]:
    """Read the width of a window, and half of it, which the code of transformers 5 uses."""
    width, half = values.get(WIDTH), values.get(HALF)
    for name, value in ((WIDTH, width), (HALF, half)):
        if value is not None:
            require_int(name, value, at_least=1 if name == WIDTH else 0)
    if half is not None and width is not None and half != width // 2:
        raise ValueError(f"{HALF}: expected {width // 2}, half of {WIDTH} {width}, got {half}")
    if width is None and half is not None:
        width = max(2 * half, 1)
    return {} if width is None else {WIDTH: width}


def _read_thetas(values: Mapping[str, Any]) -> dict[str, Any]:
    if values.get("rope_scaling") is not None:
        raise ValueError(f"rope_scaling: expected null, got {values['rope_scaling']!r}")
    kinds, found = values.get("rope_parameters") or {}, {}
    others = [name for name in kinds if name not in THETAS] if isinstance(kinds, dict) else []
    if others:
        raise ValueError(f"rope_parameters: expected {FULL} and {SLIDING}, got {others[0]!r}")
    for kind, (ours, old, default) in THETAS.items():
        rope = (kinds.get(kind) or {}) if isinstance(kinds, dict) else kinds
        if not isinstance(rope, dict) or rope.get("rope_type", "default") != "default":
            raise ValueError(f"rope_parameters: expected the type default for {kind}, got {rope!r}")
        theta = rope.get("rope_theta", values.get(old, default))
        if values.get(old, theta) != theta:
            raise ValueError(
                f"{old}: expected {theta!r} as in rope_parameters, got {values[old]!r}"
            )
        found[ours] = theta
    return found

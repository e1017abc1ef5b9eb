"""The activations of a model on one text, and their gradients.

A model's own layers compute. Each layer that is shown is wrapped in a `Recorder`, which reads the
activations from the layer's cache after the forward, and their gradients before the backward.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minibert.inspection.attention_readers import POSITION_READERS, Arrays
from minibert.inspection.readers import reader_of
from minibert.layers import (
    Block,
    FeedForward,
    GatedFeedForward,
    LayerNorm,
    Positions,
    PreNormResidual,
    Residual,
    SelfAttention,
)

RESIDUALS = Residual, PreNormResidual
FEED_FORWARDS = FeedForward, GatedFeedForward


@dataclass(frozen=True)
class Activation:
    """An array that is computed on the way through a model.

    Attributes:
        name: unique within its part.
        part: "embeddings", "positions" beside attention, "block 1" to "block L", "last norm" after
            blocks with pre-norm, or "head".
        value: of one text, without the batch axis.
        gradient: of the score with respect to the value; None: there was no backward.
    """

    name: str
    part: str
    value: np.ndarray
    gradient: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The value's shape."""
        return self.value.shape

    @property
    def norm(self) -> float:
        """The value's Euclidean norm."""
        return float(np.linalg.norm(self.value))

    @property
    def gradient_norm(self) -> float | None:
        """The gradient's Euclidean norm; None: there is no gradient."""
        return None if self.gradient is None else float(np.linalg.norm(self.gradient))


@dataclass(eq=False, repr=False)
class Recorder:
    """A layer that records its activations, and is the same layer otherwise.

    Attributes:
        layer: computes.
        part: the part of the model.
        records: the recorders of the model, in the order in which their forwards end.
        unknown: the name of the output of a layer that has no reader; empty: not recorded.
        name: of the layer inside its part.
        out: the last output.
        values, gradients: the activations by name, with the batch axis.
        observe: called with the cache after the forward.
    """

    layer: Any
    part: str
    records: list["Recorder"]
    unknown: str = ""
    name: str = ""
    out: Any = None
    values: Arrays = field(default_factory=dict)
    gradients: Arrays = field(default_factory=dict)
    observe: Callable[[Any], None] | None = None

    def forward(self, params: Any, x: Any, *more: Any, **options: Any) -> tuple[Any, Any]:
        """Run the layer's forward, and record its activations."""
        out, cache = self.layer.forward(params, x, *more, **options)
        self.out = np.copy(out)
        if self.observe is not None:
            self.observe(cache)
        reader = reader_of(self.layer)
        values = {self.unknown: out} if self.unknown else {}
        if reader is not None:
            values = reader.values(self.layer, cache, params, x, out)
        self.values = {name + self.name: np.copy(value) for name, value in values.items()}
        self.records.append(self)
        return out, cache

    def backward(self, dout: Any, cache: Any, params: Any, grads: Any, *more: Any) -> Any:
        """Record the gradients of the activations, and run the layer's backward."""
        reader = reader_of(self.layer)
        gradients = {self.unknown: dout} if self.unknown else {}
        if reader is not None:
            gradients = reader.gradients(self.layer, cache, params, dout)
        self.gradients = {name + self.name: np.copy(value) for name, value in gradients.items()}
        return self.layer.backward(dout, cache, params, grads, *more)

    def __getattr__(self, name: str) -> Any:
        """Return the layer's attribute."""
        return getattr(self.layer, name)

    def activations(self) -> Iterator[Activation]:
        """Yield the activations of the batch's only text."""
        for name, value in self.values.items():
            gradient = self.gradients.get(name)
            yield Activation(name, self.part, value[0], None if gradient is None else gradient[0])


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape as it is printed, such as "4 x 128" (str)."""
    return " x ".join(map(str, shape))


def record_block(block: Any, part: str, records: list[Recorder]) -> Recorder:
    """Wrap a block and the layers in it that are shown.

    Args:
        block: a layer, whose attributes are replaced.
        part: its name.
        records: filled during the forward.
    """
    _record_inside(block, part, records)
    return Recorder(block, part, records, unknown="block output")


def _record_inside(layer: Any, part: str, records: list[Recorder]) -> None:
    """Replace the attributes that are shown, at any depth, by recorders of them."""
    for name, inner in list(getattr(layer, "__dict__", {}).items()):
        if isinstance(layer, PreNormResidual) and isinstance(inner, LayerNorm):
            kind = f" ({kind_of(layer.sublayer)})"
            setattr(layer, name, Recorder(inner, part, records, name=kind))
        elif name == "sublayer" and isinstance(layer, RESIDUALS):
            _record_inside(inner, part, records)
            setattr(layer, name, Recorder(inner, part, records, unknown="sublayer output"))
        elif isinstance(inner, (Block, SelfAttention, *FEED_FORWARDS, *RESIDUALS)):
            _record_inside(inner, part, records)
            kind = f" ({kind_of(inner.sublayer)})" if isinstance(inner, RESIDUALS) else ""
            setattr(layer, name, Recorder(inner, part, records, name=kind))


def kind_of(sublayer: Any) -> str:
    """Return the name of a residual's sublayer: "attention" or "feed-forward" (str)."""
    layer = sublayer.layer if isinstance(sublayer, Recorder) else sublayer
    if isinstance(layer, SelfAttention):
        return "attention"
    return "feed-forward" if isinstance(layer, FEED_FORWARDS) else type(layer).__name__


def record_positions(positions: Positions, records: list[Recorder]) -> None:
    """Let positions beside attention record what they prepare for a batch, and its gradient.

    They stay of their class, which some layers ask for, so two methods of this object are replaced.

    Args:
        positions: changed in place.
        records: filled during the forward.
    """
    reader = POSITION_READERS.get(type(positions))
    if reader is None:
        return
    own: Any = positions
    recorder = Recorder(positions, "positions", records)
    prepare, backward = positions.prepare, positions.backward

    def prepared(params: Any, keys: Any, dtype: Any) -> Any:
        tables = prepare(params, keys, dtype)
        recorder.values = reader.values(positions, tables, params, keys, tables)
        records.append(recorder)
        return tables

    def returned(dtables: Any, tables: Any, params: Any, grads: Any) -> None:
        recorder.gradients = reader.gradients(positions, tables, params, dtables)
        backward(dtables, tables, params, grads)

    own.prepare, own.backward = prepared, returned

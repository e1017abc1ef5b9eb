"""Declarations of parameters, and how containers put those of their parts together."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

Init: TypeAlias = Literal["normal", "zeros", "ones"]


@dataclass(frozen=True)
class ParameterSpec:
    """The declaration of one parameter.

    Attributes:
        shape: of the array.
        init: its initial values: drawn from a normal distribution, zeros, or ones.
        decay: whether weight decay applies; it does not to biases and to the weights of norms.
        depth: how far up it works: 0 for the embeddings, 1 to L for a block, L + 1 for a head;
            containers set it, because a layer does not know where it is used.
        zero_row: the row that is initially 0, which is the padding token's embedding; None: none.
        gain: the factor of the standard deviation of normal initial values.
    """

    shape: tuple[int, ...]
    init: Init = "normal"
    decay: bool = True
    depth: int | None = None
    zero_row: int | None = None
    gain: float = 1.0


@dataclass(frozen=True)
class Joined:
    """A view of adjacent parameters as one array, stacked along the first axis.

    Attributes:
        names: the parameters, which must be declared one after the other in this order.
    """

    names: tuple[str, ...]


Spec: TypeAlias = ParameterSpec | Joined
Specs: TypeAlias = Mapping[str, Spec]
# Shapes alone are enough where nothing is initialized, decayed or frozen.
Layout: TypeAlias = Mapping[str, Spec | tuple[int, ...]]


def prefixed(prefix: str, specs: Specs) -> dict[str, Spec]:
    """Return specs whose names begin with `prefix`: those of a part, as the whole declares them."""
    return {
        prefix + name: Joined(tuple(prefix + each for each in spec.names))
        if isinstance(spec, Joined)
        else spec
        for name, spec in specs.items()
    }


def merged(owner: object, *parts: Specs) -> dict[str, Spec]:
    """Return the specs of all parts in order.

    Raises:
        ValueError: a parameter is declared twice; the message names the owner's class.
    """
    specs: dict[str, Spec] = {}
    for part in parts:
        for name, spec in part.items():
            if name in specs:
                raise ValueError(
                    f"{type(owner).__name__}: expected distinct parameters, got {name!r} twice"
                )
            specs[name] = spec
    return specs


def at_depth(specs: Specs, depth: int) -> dict[str, Spec]:
    """Return the specs with their depth set."""
    return {
        name: spec if isinstance(spec, Joined) else replace(spec, depth=depth)
        for name, spec in specs.items()
    }


def tree_lines(shapes: Mapping[str, tuple[int, ...]], indent: int = 0) -> list[str]:
    """Return a line for each node of the tree of dotted names: name, shape, number of elements."""
    lines = []
    groups: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in shapes.items():
        head, _, rest = name.partition(".")
        groups.setdefault(head, {})[rest] = shape
    for head, below in groups.items():
        while len(below) == 1 and "" not in below:  # an only child is written on its parent's line
            ((name, shape),) = below.items()
            child, _, rest = name.partition(".")
            head, below = f"{head}.{child}", {rest: shape}
        label = " " * indent + head + (f" {below['']}" if "" in below else "")
        lines.append(f"{label:<22} {sum(map(math.prod, below.values())):>6,}")
        if "" not in below:
            lines += tree_lines(below, indent + 2)
    return lines

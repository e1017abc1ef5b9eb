"""The names of parameters in files: a family's names there, and BERT's in memory.

In memory every family has BERT's names, so freezing, gradients, checkpoints of runs and inspection
know one set of names. A table translates them where a file is read or written.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from minibert.models.weights import Tensor
from minibert.parameters import Parameters
from minibert.typing import Array

BODY = "bert."  # prefix of the body's parameters in memory; a body alone has none
JOINT = " + "  # between the parameters that a file stacks into one tensor
NUMBER = r"([0-9]{1,9})"


@dataclass(frozen=True)
class Names:
    """A table of names.

    Attributes:
        prefix: of the body's parameters in a file; a body alone has none.
        table: pairs of what names begin with, in memory and in a file; the first match counts. `*`
            is the number of a layer. `a + b` are parameters that a file stacks along the rows.
    """

    prefix: str
    table: tuple[tuple[str, str], ...]

    def outward(self, params: Parameters) -> dict[str, Array]:
        """Return the parameters by their names in a file (dict); stacked ones are one view."""
        arrays: dict[str, Array] = {}
        for name, array in params.items():
            if not self._is_stacked_before(name):
                theirs, group = self._outward(name)
                arrays[theirs] = array if len(group) == 1 else params.fused(*group)
        return arrays

    def inward(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors of a file by their names in memory (dict); unknown names stay."""
        found: dict[str, Tensor] = {}
        for theirs, tensor in tensors.items():
            ours = self._inward(theirs)
            for i, name in enumerate(ours):
                found[name] = tensor if len(ours) == 1 else tensor.part(i, len(ours))
        return found

    def _rows(self) -> Iterator[tuple[list[str], str]]:
        for ours, theirs in self.table:
            yield ours.split(JOINT), theirs

    def _is_stacked_before(self, name: str) -> bool:
        """Return whether a parameter is in a tensor that another one before it names."""
        return any(_replaced(each, name, "") is not None
                   for group, _ in self._rows() for full in group[1:]
                   for each in (full, full.removeprefix(BODY)))  # fmt: skip

    def _outward(self, name: str) -> tuple[str, list[str]]:
        """Return the name in a file, and the parameters in memory that it stacks."""
        for group, theirs in self._rows():
            for bare in (False, True):
                own = [each.removeprefix(BODY) if bare else each for each in group]
                file_name = theirs.removeprefix(self.prefix) if bare else theirs
                found = _replaced(own[0], name, file_name)
                if found is not None:
                    return found, [_replaced(own[0], name, each) or name for each in own]
        return name, [name]

    def _inward(self, theirs: str) -> list[str]:
        """Return the names in memory of the parameters in a tensor of a file."""
        for alias in (theirs, self.prefix + theirs):
            for group, pattern in self._rows():
                names = [_replaced(pattern, alias, each) for each in group]
                if None not in names:
                    return [name for name in names if name is not None]
        return [theirs]


def _replaced(pattern: str, name: str, by: str) -> str | None:
    """Return the name with another front, if it begins with the pattern; None otherwise.

    >>> _replaced("layers.*.mlp.", "layers.12.mlp.Wo.weight", "layer.*.")
    'layer.12.Wo.weight'
    """
    match = re.match(re.escape(pattern).replace(r"\*", NUMBER), name)
    if match is None:
        return None
    for number in match.groups():
        by = by.replace("*", number, 1)
    return by + name[match.end() :]


SAME = Names(BODY, ())  # BERT's own: nothing is renamed

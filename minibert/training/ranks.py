"""Ranks: the processes that share the shards of a step; here, one process alone.

Every rank draws the whole batch, which is cheap, and computes its own shards. After one all-reduce
of the flat gradient all ranks have the same sum and take the same step. `training.mpi` has the
ranks that `mpiexec` starts.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from minibert.typing import Array

Result = TypeVar("Result")


class Ranks:
    """One process alone: all shards are its own, and there is nothing to add.

    Attributes:
        rank: number of this process.
        size: number of processes.
        neighbours: number of processes that share this machine's cores.
    """

    rank, size, neighbours = 0, 1, 1

    def part_of(self, count: int) -> range:
        """Return the shards of this rank, adjacent and about as many as those of others."""
        return range(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def sum_up(self, vector: Array, loss: float) -> float:
        """Replace each rank's vector (P,) by the sum of all; return the sum of the losses."""
        return loss

    def gather(self, parts: list[Any]) -> list[Any]:
        """Return the lists of all ranks as one list, in the order of the shards."""
        return parts

    def any(self, flag: bool) -> bool:
        """Return whether the flag of any rank is set."""
        return flag

    def agree(self, what: str, value: Any) -> None:
        """Check that all ranks have the same value.

        Raises:
            ValueError: they differ; the message names `what`.
        """

    def of_first(self, value: Any) -> Any:
        """Return the value of rank 0."""
        return value

    def one_by_one(self, work: Callable[[], Result]) -> Result:
        """Call a function on rank 0 first, then on the others, which find its files."""
        return work()

    def abort(self) -> None:
        """End the other ranks, because this one cannot continue."""


ALONE = Ranks()

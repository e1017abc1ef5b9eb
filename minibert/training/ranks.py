"""Training past one machine: processes that share the shards of a step and add up their gradients.

Every rank draws the whole batch, for that is cheap, and works on its own shards of it. One
all-reduce of the flat gradient later all ranks have the same sum, and take the same step.
"""

import os
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

Result = TypeVar("Result")
GRACE = 0.3  # seconds: mpiexec forgets what it was told just before an abort
LAUNCHED_BY = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK")  # Open MPI, MPICH and their like


class Ranks:
    """One process alone: all shards are its own, and there is nothing to add up.

    Attributes:
        rank: this process's number.  size: how many there are.
        neighbours: how many of them share this machine's cores.
    """

    rank, size, neighbours = 0, 1, 1

    def part_of(self, count: int) -> range:
        """Return the numbers below `count` that are this rank's: neighbours, as many as others'."""
        return range(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def sum_up(self, vector: np.ndarray, loss: float) -> float:
        """Write the sum of all ranks' vectors over each; return the sum of their losses."""
        return loss

    def gather(self, parts: list[Any]) -> list[Any]:
        """Return the lists of all ranks as one, in the order of their shards."""
        return parts

    def any(self, flag: bool) -> bool:
        """Whether the flag is up on any rank."""
        return flag

    def agree(self, what: str, value: Any) -> None:
        """Check that all ranks came with the same value.

        Raises:
            ValueError: they didn't; it says what it is.
        """

    def of_first(self, value: Any) -> Any:
        """Return what rank 0 came with."""
        return value

    def one_by_one(self, work: Callable[[], Result]) -> Result:
        """Do some work first on rank 0 and then on the others, who find what it made."""
        return work()

    def abort(self) -> None:
        """End the other ranks too, for this one can't go on."""


class MPIRanks(Ranks):
    """The processes that `mpiexec` started.

    Args:
        communicator: of mpi4py.
    """

    def __init__(self, communicator):
        from mpi4py import MPI

        self.communicator = communicator
        self.rank, self.size = communicator.Get_rank(), communicator.Get_size()
        self.neighbours = communicator.Split_type(MPI.COMM_TYPE_SHARED).Get_size()

    def sum_up(self, vector, loss):
        """One all-reduce in place: its order of summation is MPI's, and the same on all ranks."""
        from mpi4py import MPI

        self.communicator.Allreduce(MPI.IN_PLACE, vector)
        return self.communicator.allreduce(loss)

    def gather(self, parts):
        """Concatenate the lists of all ranks; their shards are in the order of the ranks."""
        return [part for own in self.communicator.allgather(parts) for part in own]

    def any(self, flag):
        """Whether the flag is up on any rank."""
        return bool(self.communicator.allreduce(int(flag)))

    def agree(self, what, value):
        """Compare checksums with rank 0's."""
        own = zlib.crc32(value if isinstance(value, bytes) else repr(value).encode())
        found = self.communicator.allgather(own)
        if len(set(found)) > 1:
            others = ", ".join(str(i) for i, one in enumerate(found) if one != found[0])
            raise ValueError(f"{what}: rank 0 and rank {others} disagree; start all ranks alike")

    def of_first(self, value):
        """Return what rank 0 came with."""
        return self.communicator.bcast(value)

    def one_by_one(self, work):
        """Rank 0 first, then the others."""
        if self.rank:
            self.communicator.Barrier()
            return work()
        result = work()
        self.communicator.Barrier()
        return result

    def abort(self):
        """End the other ranks too, once they had time to say the same and to tidy up."""
        time.sleep(GRACE)
        self.communicator.Abort(1)


ALONE = Ranks()


@contextmanager
def ending_together(ranks: Ranks) -> Iterator[None]:
    """Let an error of one rank end all: the others would wait for it for ever."""
    try:
        yield
    except KeyboardInterrupt:
        if ranks.rank:
            raise SystemExit(0) from None  # all stop after the same step, and rank 0 says so
        raise
    except Exception as error:
        if ranks.size > 1:
            sys.stderr.write(f"minibert: rank {ranks.rank}: {error}\n")
            sys.stderr.flush()
            ranks.abort()
        raise


def launched_ranks() -> Ranks:
    """Return the ranks that `mpiexec` started, or this process alone.

    Raises:
        ModuleNotFoundError: `mpiexec` started several, and mpi4py is missing.
    """
    if not any(name in os.environ for name in LAUNCHED_BY):
        return ALONE
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise ModuleNotFoundError(
            f"started by mpiexec, but mpi4py can't be used ({error}); "
            "install the extra minibert[mpi]"
        ) from None
    return MPIRanks(MPI.COMM_WORLD) if MPI.COMM_WORLD.Get_size() > 1 else ALONE

"""Training on several processes or machines, started by `mpiexec` (extra: mpi)."""

import os
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from minibert.training.ranks import ALONE, Ranks, Result
from minibert.typing import Array

ABORT_DELAY = 0.3  # seconds; mpiexec loses output that was written just before an abort
# Set by Open MPI, and by MPICH and its relatives.
LAUNCHER_VARIABLES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK")


class MPIRanks(Ranks):
    """The processes of an MPI communicator.

    Args:
        communicator: a communicator of mpi4py.
    """

    def __init__(self, communicator: Any):
        from mpi4py import MPI

        self.communicator = communicator
        self.rank, self.size = communicator.Get_rank(), communicator.Get_size()
        self.neighbours = communicator.Split_type(MPI.COMM_TYPE_SHARED).Get_size()

    def sum_up(self, vector: Array, loss: float) -> float:
        """Sum by one all-reduce in place; MPI decides the order, the same for all ranks."""
        from mpi4py import MPI

        self.communicator.Allreduce(MPI.IN_PLACE, vector)
        return float(self.communicator.allreduce(loss))

    def gather(self, parts: list[Any]) -> list[Any]:
        """Concatenate the lists of all ranks, whose shards are in the order of the ranks."""
        return [part for own in self.communicator.allgather(parts) for part in own]

    def any(self, flag: bool) -> bool:
        """Return whether the flag of any rank is set."""
        return bool(self.communicator.allreduce(int(flag)))

    def agree(self, what: str, value: Any) -> None:
        """Compare checksums with that of rank 0.

        Raises:
            ValueError: they differ; the message names `what` and the ranks.
        """
        own = zlib.crc32(value if isinstance(value, bytes) else repr(value).encode())
        found = self.communicator.allgather(own)
        if len(set(found)) > 1:
            others = ", ".join(str(i) for i, one in enumerate(found) if one != found[0])
            raise ValueError(f"{what}: rank 0 and rank {others} disagree; start all ranks alike")

    def of_first(self, value: Any) -> Any:
        """Return the value of rank 0."""
        return self.communicator.bcast(value)

    def one_by_one(self, work: Callable[[], Result]) -> Result:
        """Call a function on rank 0 first, then on the others, which find its files."""
        if self.rank:
            self.communicator.Barrier()
            return work()
        result = work()
        self.communicator.Barrier()
        return result

    def abort(self) -> None:
        """End the other ranks, after they had time to report the same and to clean up."""
        time.sleep(ABORT_DELAY)
        self.communicator.Abort(1)


@contextmanager
def ending_together(ranks: Ranks) -> Iterator[None]:
    """End all ranks on an error of one, because the others would wait for it forever."""
    try:
        yield
    except KeyboardInterrupt:
        if ranks.rank:
            raise SystemExit(0) from None  # all stop after the same step, and rank 0 reports it
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
    if not any(name in os.environ for name in LAUNCHER_VARIABLES):
        return ALONE
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise ModuleNotFoundError(
            f"started by mpiexec, but mpi4py can't be used ({error}); "
            "install the extra minibert[mpi]"
        ) from None
    return MPIRanks(MPI.COMM_WORLD) if MPI.COMM_WORLD.Get_size() > 1 else ALONE

"""A command on the processes that `mpiexec` starts: the first one writes and prints for all."""

import argparse
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from minibert.cli.resume import run_folder
from minibert.data.token_cache import STDIN
from minibert.models import PreTrained
from minibert.training.loop import Settings, require_shards
from minibert.training.mpi import ending_together, launched_ranks
from minibert.training.ranks import Ranks


@contextmanager
def shared_run(options: argparse.Namespace) -> Iterator[Ranks]:
    """Give a run its ranks (`Ranks`) for a `with` block; rank 0 locks its folder, see `run_folder`.

    Raises:
        ModuleNotFoundError: as `launched_ranks`.
    """
    ranks = launched_ranks()
    folder = nullcontext() if ranks.rank else run_folder(options)
    with ending_together(ranks), folder:
        if ranks.rank:
            logging.disable()
        yield ranks


def require_agreement(ranks: Ranks, settings: Settings, model: PreTrained) -> None:
    """Raise ValueError if the ranks have different settings or weights, or one has no shard."""
    ranks.agree("settings", settings)
    ranks.agree("configuration", model.config)
    ranks.agree("weights", model.params.vector.tobytes())
    require_shards(settings, ranks)


def refuse_standard_input(ranks: Ranks, files: Sequence[Path]) -> None:
    """Raise ValueError if several ranks would read standard input."""
    if ranks.size > 1 and STDIN in files:
        raise ValueError("standard input: several ranks can't share it; name a file")

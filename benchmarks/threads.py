"""How much of a training step do the threads share, and is a process as good as a thread?

BERT-tiny and BERT-mini are pre-trained without dropout, with one thread per core. Timestamps around
the pieces of work that the threads do together show the serial share of a step: the part in which
only one of them could work, masks and batches included. The busy share is the time that the threads
work, divided by the time that all of them could. For comparison, as many processes as there are
cores train on their part of the batch at the same time, each with one thread: they need neither
wait for each other nor add gradients.

    python -m benchmarks.threads
"""

import time
from collections.abc import Iterator

import numpy as np

from benchmarks.harness import (
    Processes,
    Worker,
    alternate,
    options,
    parse,
    ratios,
    report,
    spread,
    table,
)
from benchmarks.peers import Minibert
from benchmarks.train_step import SIZES, config_of, steps
from minibert.runtime.threads import Team, usable_cores

HEADS = ("model", "threads", "tokens/s", "threads / processes", "serial share", "busy share")


class Clock:
    """Measures a team: seconds of its pieces of work, and of each thread's work in them."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin again."""
        self.together: list[float] = []
        self.busy: list[float] = []  # several threads append to it

    def watch(self, team: Team) -> None:
        """Let the team's `run` be measured."""
        run = team.run

        def timed(work, most=None):
            def piece():
                start = time.perf_counter()
                try:
                    work()
                finally:
                    self.busy.append(time.perf_counter() - start)

            start = time.perf_counter()
            try:
                run(piece, most)
            finally:
                self.together.append(time.perf_counter() - start)

        team.run = timed


def main() -> None:
    """Measure both models and print the table."""
    parser = options(__doc__)
    parser.add_argument("--models", nargs="+", choices=("tiny", "mini"), default=["tiny", "mini"])
    parser.add_argument(
        "--seconds", type=float, help="length of a round (default: 3; --quick: 0.3)"
    )
    o = parse(parser)
    seconds, rows = o.seconds or (0.3 if o.quick else 3), []
    for model in o.models:
        sides = {
            "threads": Worker(together, model, seconds),
            "processes": Processes(usable_cores(), alone, model, seconds),
        }
        found = alternate(o, sides)
        for side in sides.values():
            side.close()
        speeds, serial, busy = zip(*found["threads"], strict=True)
        rows.append(
            (model, usable_cores(), spread(speeds, ",.0f"),
             spread(ratios(speeds, found["processes"])), spread(serial, ".1%"), spread(busy, ".1%"))
        )  # fmt: skip
    report(o, "The threads of a training step", table(HEADS, rows), f"NumPy {np.__version__}.")


def alone(model: str, seconds: float) -> Iterator:
    """Yield the tokens/s of each round, with one thread on one core's part of the batch."""
    B, T = SIZES[model]
    trained = Minibert(config_of(model), threads=1)
    yield from steps(trained, config_of(model), B // usable_cores(), T, seconds)


def together(model: str, seconds: float) -> Iterator:
    """Yield tokens/s, serial share and busy share of each round, with one thread per core."""
    B, T = SIZES[model]
    trained, clock = Minibert(config_of(model)), Clock()
    threads = trained.engine.threads
    with trained.engine.running():
        clock.watch(trained.engine._team)
        speeds = steps(trained, config_of(model), B, T, seconds)
        yield next(speeds)
        while True:
            clock.clear()
            start = time.perf_counter()
            speed = next(speeds)
            wall = time.perf_counter() - start
            yield speed, 1 - sum(clock.together) / wall, sum(clock.busy) / wall / threads


if __name__ == "__main__":
    main()

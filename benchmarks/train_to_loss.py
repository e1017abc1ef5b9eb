"""What has a model learned after the same time on the clock, beside PyTorch?

Both pre-train BERT-tiny on the built-in corpus from the same weights, on the same batches with the
same places masked, with dropout, and by the same recipe: the rate rises for a tenth of the steps
and then falls to zero. A few discarded steps say how many steps a side can do in its time. The
held-out loss is that of the same masked rows; the time to compute it isn't counted. The two take
turns every quarter of a run; each run has a seed of its own, the same on both sides.

    pip install torch==2.13.0 && pip install '.[parity]'
    python -m benchmarks.train_to_loss --seconds 120
"""

import time
from collections.abc import Iterator
from itertools import count

from benchmarks.harness import alternate, options, parse, repeat, report, spread, table, workers
from benchmarks.peers import SIDES
from benchmarks.texts import packed, tokenizer
from minibert import BertConfig
from minibert.data.masking import mask_sequences
from minibert.data.rng import generator
from minibert.data.sampling import batch_indices
from minibert.training import Settings

V, B, T = 8192, 32, 64
RATE, DEVIATION = 2e-3, 0.06  # as `minibert pretrain` chooses them for this width
QUARTERS = 4
HEADS = ("side", "steps", "seconds", "loss after a quarter", "half", "three quarters", "all")
NOTE = """BERT-tiny, vocabulary {V:,}, batch {B} x {T}, {rows:,} rows to train on, {held_out:,} held
out, dropout {dropout}, {seconds:g} seconds of training a side and run, {runs} runs."""


def main() -> None:
    """Train on both sides several times and print the table."""
    parser = options(__doc__)
    parser.add_argument("--seconds", type=float, help="of training, a side (120; quick: 4)")
    parser.add_argument("--dropout", type=float, default=0.1, help="(%(default)s)")
    o = parse(parser)
    o.seconds = o.seconds or (4 if o.quick else 120)
    rows, held_out = packed("train", V, T), packed("held_out", V, T)
    sides = ("minibert", "PyTorch")
    with workers({side: (runs, side, o.seconds, o.dropout) for side in sides}) as (running, _):
        found = alternate(o, running, turns=QUARTERS)
        about = {side: worker.ready for side, worker in running.items()}
    last = {side: [loss for _, _, loss in found[side][QUARTERS - 1 :: QUARTERS]] for side in sides}
    gaps = [ours - theirs for ours, theirs in zip(*last.values(), strict=True)]
    note = NOTE.format(V=V, B=B, T=T, rows=len(rows), held_out=len(held_out), dropout=o.dropout,
                       seconds=o.seconds, runs=o.rounds)  # fmt: skip
    report(
        o,
        "Held-out loss at the same time on the clock",
        table(HEADS, [(side, *columns(found[side])) for side in sides]),
        f"minibert's loss less PyTorch's, run by run: {spread(gaps, '+.3f')}.",
        note,
        table(("side", ""), about.items()),
    )


def columns(turns: list[tuple[int, float, float]]) -> Iterator[str]:
    """Write what the runs of a side had in common: steps, seconds, and each quarter's loss."""
    steps, seconds, _ = zip(*turns[QUARTERS - 1 :: QUARTERS], strict=True)
    yield spread(steps, ",.0f")
    yield spread(seconds, ".1f")
    for quarter in range(QUARTERS):
        yield spread([loss for _, _, loss in turns[quarter::QUARTERS]], ".3f")


def runs(side: str, seconds: float, dropout: float) -> Iterator:
    """One side: yields what it is; then, after each quarter of a run, steps, seconds and loss."""
    pieces, rows = tokenizer(V), packed("train", V, T)
    held_out = mask_sequences(packed("held_out", V, T), pieces, generator(0, "evaluation"))
    config = BertConfig.preset(
        "tiny",
        vocab_size=V,
        max_position_embeddings=T,
        pad_token_id=pieces.pad_token_id,
        initializer_range=DEVIATION,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )

    def fresh(seed, steps):
        """Return a new model, and what does a step of it."""
        model = SIDES[side](config, seed)
        settings = Settings(steps=steps, batch_size=B, learning_rate=RATE, seed=seed)

        def step(number):
            chosen = rows[batch_indices(number, len(rows), B, seed)]
            shown, labels = mask_sequences(chosen, pieces, generator(seed, "masking", number))
            model.step(shown, labels, settings.rate(number))

        return model, step

    yield SIDES[side](config).about
    for seed in count():
        steps = affordable(fresh(seed, steps=10**6)[1], seconds)
        model, step = fresh(seed, steps)
        spent = 0.0
        for quarter in range(QUARTERS):
            start = time.perf_counter()
            for number in range(steps * quarter // QUARTERS, steps * (quarter + 1) // QUARTERS):
                step(number)
            spent += time.perf_counter() - start
            yield steps, spent, model.loss(*held_out)


def affordable(step, seconds: float) -> int:
    """Return how many steps fit into so many seconds, by the time that a few of them take."""
    numbers = count()
    for _ in range(2):  # the first time warms up
        done, spent = repeat(lambda: step(next(numbers)), seconds / 20)
    return max(round(seconds * done / spent), QUARTERS)


if __name__ == "__main__":
    main()

"""What is the held-out loss after the same wall-clock time, compared with PyTorch?

Both sides pre-train BERT-tiny on the built-in corpus from the same weights, on the same batches
with the same masks, with dropout and the same learning-rate schedule: warm-up for a tenth of the
steps, then linear decay to zero. The number of steps is estimated from a few discarded ones. The
held-out loss is computed on the same masked sequences; its time does not count. The sides alternate
after every quarter of a run; each run has its own seed, the same on both sides.

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
RATE, INIT_STD = 2e-3, 0.06  # those of recipe 1 for this hidden size
QUARTERS = 4
HEADS = ("side", "steps", "seconds", "loss after a quarter", "half", "three quarters", "all")
NOTE = """BERT-tiny, vocabulary {V:,}, batch {B} x {T}, {rows:,} training and {held_out:,} held-out
sequences, dropout {dropout}, {seconds:g} seconds of training per side and run, {runs} runs."""


def main() -> None:
    """Train on both sides several times and print the table."""
    parser = options(__doc__, can_limit=True)
    parser.add_argument(
        "--seconds", type=float, help="of training per side (default: 120; --quick: 4)"
    )
    parser.add_argument("--dropout", type=float, default=0.1, help="(default: %(default)s)")
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
        "Held-out loss after the same wall-clock time",
        table(HEADS, [(side, *columns(found[side])) for side in sides]),
        f"minibert's loss minus PyTorch's, per run: {spread(gaps, '+.3f')}.",
        note,
        table(("side", ""), about.items()),
    )


def columns(turns: list[tuple[int, float, float]]) -> Iterator[str]:
    """Yield the columns of a side: steps, seconds, and the loss of each quarter."""
    steps, seconds, _ = zip(*turns[QUARTERS - 1 :: QUARTERS], strict=True)
    yield spread(steps, ",.0f")
    yield spread(seconds, ".1f")
    for quarter in range(QUARTERS):
        yield spread([loss for _, _, loss in turns[quarter::QUARTERS]], ".3f")


def runs(side: str, seconds: float, dropout: float) -> Iterator:
    """One side: yield a description, then steps, seconds and loss of each quarter."""
    wordpiece, rows = tokenizer(V), packed("train", V, T)
    held_out = mask_sequences(packed("held_out", V, T), wordpiece, generator(0, "evaluation"))
    config = BertConfig.preset(
        "tiny",
        vocab_size=V,
        max_position_embeddings=T,
        pad_token_id=wordpiece.pad_token_id,
        initializer_range=INIT_STD,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )

    def fresh(seed, steps):
        """Return a new model and a function that trains one step."""
        model = SIDES[side](config, seed)
        settings = Settings(steps=steps, batch_size=B, learning_rate=RATE, seed=seed)

        def step(number):
            chosen = rows[batch_indices(number, len(rows), B, seed)]
            ids, labels = mask_sequences(chosen, wordpiece, generator(seed, "masking", number))
            model.step(ids, labels, settings.rate(number))

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
    """Return the number of steps for a number of seconds (int), estimated from a few steps."""
    numbers = count()
    for _ in range(2):  # the first is a warm-up
        done, spent = repeat(lambda: step(next(numbers)), seconds / 20)
    return max(round(seconds * done / spent), QUARTERS)


if __name__ == "__main__":
    main()

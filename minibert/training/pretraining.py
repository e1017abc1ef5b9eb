"""Pre-training by masked language modelling, and what a pre-trained model guesses."""

import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from minibert.data.corpus import Rows, as_batch
from minibert.data.masking import masked
from minibert.data.pairs import pair_rows
from minibert.data.sampling import generator, rows_at
from minibert.functional import softmax_forward
from minibert.models import BertForMaskedLM, BertForPreTraining
from minibert.objectives.evaluation import Evaluation, MaskedScore, count_tokens
from minibert.optim.adamw import AdamW
from minibert.tokenization import WordPieceTokenizer
from minibert.training.engine import Engine, Shard, split_batch
from minibert.training.loop import Settings, train
from minibert.training.ranks import ALONE, Ranks

TIMED, TIMED_SECONDS = 5, 3.0  # the steps that tell how long a step takes: so many, and so long


def train_masked_lm(
    model: BertForMaskedLM,
    tokenizer: WordPieceTokenizer,
    rows: Rows | np.ndarray,
    held_out: np.ndarray,
    settings: Settings,
    *,
    optimizer: AdamW | None = None,
    run: Path | None = None,
    threads: int | None = None,
    ranks: Ranks = ALONE,
    progress: bool = False,
) -> MaskedScore:
    """Train `model` in place to guess masked tokens; each time a row is seen, others are masked.

    A `BertForPreTraining` learns at the same time whether two segments follow each other.

    Args:
        model: what to train.
        tokenizer: knows the special tokens.
        rows: (S, T), packed ids to train on; `Rows` if they are larger than memory.
        held_out: (S', T), packed ids to measure on.
        settings: how to train.
        optimizer: one in the middle of a run to go on with it; None: a new run.
        run: the folder for checkpoints and the history; None: none are written.
        threads: how many shards to work on at a time; None: one for each core.
        ranks: the processes that share the work.
        progress: show a bar.

    Returns:
        the score on the held-out rows.

    Raises:
        ValueError: there is no ordinary token to train on or to measure on.
        FloatingPointError, Interrupted: as `loop.train` does.
    """
    if optimizer is None:
        optimizer = AdamW(model.params, weight_decay=settings.weight_decay)
    counts = count_tokens(rows, tokenizer)
    for name, total in (("to train on", counts.sum()),
                        ("held out", count_tokens(held_out, tokenizer).sum())):  # fmt: skip
        if not total:
            raise ValueError(f"no text {name}: every token of it is unknown or special")
    engine = Engine(
        model, optimizer, seed=settings.seed, clip=settings.clip, threads=threads, ranks=ranks
    )
    evaluation = Evaluation(model, tokenizer, counts, held_out, settings, threads)
    train(
        engine,
        batches(model, tokenizer, rows, settings),
        settings,
        tokenizer,
        run=run,
        evaluate=lambda: evaluation.at(optimizer.step),
        title="pre-training",
        progress=progress,
    )
    result = evaluation.latest or evaluation.score()
    if not np.isfinite(result.loss):
        raise FloatingPointError(
            f"step {optimizer.step}: the held-out loss is {result.loss}; "
            "a lower learning rate or a longer warm-up may help"
        )
    return result


def batches(
    model: BertForMaskedLM,
    tokenizer: WordPieceTokenizer,
    rows: Rows | np.ndarray,
    settings: Settings,
) -> Callable[[int], list[Shard]]:
    """Return the function that makes the shards of a step, from its number alone."""
    pairs = isinstance(model, BertForPreTraining)

    def shards_at(step: int) -> list[Shard]:
        numbers = rows_at(step, len(rows), settings.batch_size, settings.seed)
        masking = generator(settings.seed, "masking", step)
        if not pairs:
            shown, labels = masked(rows[numbers], tokenizer, masking)
            batch = as_batch(shown, tokenizer.pad_token_id)
            return split_batch(batch, labels, settings.shards, trim=True)
        batch, both = masked_pairs(
            rows, numbers, tokenizer, generator(settings.seed, "pairs", step), masking
        )
        return split_batch(batch, both, settings.shards, trim=True)

    return shards_at


def masked_pairs(rows, numbers, tokenizer, pairing, masking):
    """Pair rows and mask them: a batch, and both labels of a `BertForPreTraining`."""
    ids, types, follows = pair_rows(rows, numbers, tokenizer, pairing)
    shown, labels = masked(ids, tokenizer, masking)
    batch = as_batch(shown, tokenizer.pad_token_id) | {"token_type_ids": types}
    return batch, {"labels": labels, "next_sentence_label": follows}


def steps_in(
    minutes: float,
    model: BertForMaskedLM,
    tokenizer: WordPieceTokenizer,
    rows: Rows | np.ndarray,
    settings: Settings,
    threads: int | None = None,
) -> int:
    """Return how many steps fit into so many minutes, by timing a few on a copy of the model.

    Raises:
        ValueError: no time is given.
    """
    if not 0 < minutes < math.inf:
        raise ValueError(f"minutes: expected more than 0, got {minutes}")
    copy = model.astype(model.params.vector.dtype)
    engine = Engine(copy, AdamW(copy.params), seed=settings.seed, threads=threads)
    shards_at = batches(copy, tokenizer, rows, settings)
    times: list[float] = []
    while len(times) < 3 + TIMED or (sum(times) < TIMED_SECONDS and len(times) < 200):
        start = time.perf_counter()
        engine.step(shards_at(len(times)), 0.0)
        times.append(time.perf_counter() - start)
    return max(round(60 * minutes / statistics.median(times[3:])), 1)  # three to warm up


def guess(
    model: BertForMaskedLM, tokenizer: WordPieceTokenizer, text: str, top: int
) -> list[list[tuple[str, float]]]:
    """Return the best pieces for each [MASK] in `text`, with their probabilities.

    Raises:
        ValueError: there is no [MASK], or the text is longer than the model's positions.
    """
    batch = model.check(**tokenizer.encode_batch([text]))
    places = np.flatnonzero(batch.input_ids[0] == tokenizer.mask_token_id)
    if not len(places):
        raise ValueError(f"expected a {tokenizer.mask_token} in the text, got {text!r}")
    logits = model.predict(batch, places[None, :])[0]  # (M, V)
    probabilities, _ = softmax_forward(logits)
    best = np.argsort(-probabilities, axis=-1, kind="stable")[:, :top]
    return [
        [(piece, float(row[i])) for i, piece in zip(ids, pieces, strict=True)]
        for row, ids in zip(probabilities, best, strict=True)
        for pieces in [tokenizer.convert_ids_to_tokens(ids.tolist())]
    ]

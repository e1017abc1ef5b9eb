"""What `minibert train-embeddings` reads: pairs to train on, and pairs that are held out."""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from minibert.data.embedding_examples import EmbeddingExamples
from minibert.data.splits import linked_split, stratified_split
from minibert.data.text_pairs import PairKind, TextPairs, join_pairs, read_pairs, scale_of
from minibert.data.token_cache import expand
from minibert.inference.features import FeatureExtractor
from minibert.tasks.metrics import Metrics
from minibert.tasks.vector_metrics import RetrievalMetrics, SimilarityMetrics
from minibert.training.card import describe_files
from minibert.typing import Array

log = logging.getLogger("minibert")

FEWEST = 2  # rows on each side: one alone has nothing to be compared with


@dataclass(frozen=True)
class PairData:
    """The texts of a run.

    Attributes:
        kind: pairs, triplets or scored pairs.
        examples: to train on.
        held_out: to evaluate on.
        names: the texts by their role, for the card.
    """

    kind: PairKind
    examples: EmbeddingExamples
    held_out: EmbeddingExamples
    names: dict[str, str]

    def metrics(self, extractor: FeatureExtractor, threads: int | None = None) -> Metrics:
        """Return the metrics of an extractor's vectors on the held-out texts (`Metrics`)."""

        def encode(texts: Sequence[str]) -> Array:
            return extractor(texts, threads=threads)

        rows, scores = self.held_out.rows, self.held_out.scores
        if scores is None:
            return RetrievalMetrics.of_rows(rows, encode)
        return SimilarityMetrics.of_rows(rows, scores, encode)


def read_pair_data(options: argparse.Namespace) -> PairData:
    """Read the files of the command, and hold some of their rows out if there is no other file.

    Args:
        options (Namespace): files, columns, dev, dev_share and split_seed.

    Raises:
        OSError, ValueError: a file cannot be read, a row is invalid, or there are too few.
    """
    paths = expand(options.files)
    rows = join_pairs([read_pairs(path, options.columns or ()) for path in paths])
    dev = read_pairs(options.dev, options.columns or ()) if options.dev else None
    if dev is not None:
        join_pairs([rows, dev])  # of the same kind
    scale = 1
    if rows.scores is not None:
        scale = scale_of([*rows.scores, *(dev.scores or () if dev else ())])
        if scale > 1:
            log.info("the scores are from 0 to %d: divided by %d", scale, scale)
    examples, file = _examples(rows, scale), describe_files(paths)
    if dev is None:
        examples, held_out = _hold_out(examples, rows, options)
        held_out_file = f"{options.dev_share:.0%} of {file}"
    else:
        held_out, held_out_file = _examples(dev, scale), describe_files([options.dev])
        known = {tuple(row) for row in examples.rows}
        shared = sum(tuple(row) in known for row in held_out.rows)
        if shared:
            log.warning("warning: %s of the rows in %s are also trained on", shared, options.dev)
    for name, part in ((file, examples), (held_out_file, held_out)):
        if len(part) < FEWEST:
            raise ValueError(f"{name}: expected at least {FEWEST} {rows.kind}, got {len(part)}")
    if held_out.scores is not None and len({*held_out.scores}) == 1:
        log.warning("warning: all held-out scores are equal, so no correlation can be measured")
    log.info("%s %s to train on, %s held out", f"{len(examples):,}", rows.kind,
             f"{len(held_out):,}")  # fmt: skip
    names = {
        "training texts": f"{file}: {len(examples):,} {rows.kind}",
        "held-out texts": f"{held_out_file}: {len(held_out):,} {rows.kind}",
    }
    return PairData(rows.kind, examples, held_out, names)


def _examples(pairs: TextPairs, scale: int) -> EmbeddingExamples:
    scores = None if pairs.scores is None else [score / scale for score in pairs.scores]
    return EmbeddingExamples(pairs.rows, scores)


def _hold_out(
    examples: EmbeddingExamples, rows: TextPairs, options: argparse.Namespace
) -> tuple[EmbeddingExamples, EmbeddingExamples]:
    """Return the rows to train on and those held out, which share no text where that is possible.

    Raises:
        ValueError: the share is not between 0 and 1, or there are too few rows.
    """
    if not 0 < options.dev_share < 1:
        raise ValueError(f"dev_share: expected a fraction between 0 and 1, got {options.dev_share}")
    count = min(max(round(options.dev_share * len(rows)), FEWEST), len(rows) - FEWEST)
    if count < FEWEST:
        raise ValueError(
            f"{rows.path}: expected at least {2 * FEWEST} {rows.kind} to hold some out, got "
            f"{len(rows)}; use --dev FILE"
        )
    share = count / len(rows)
    chosen = linked_split(rows.rows, share, options.split_seed)
    if len(chosen) < FEWEST:
        chosen = stratified_split([0] * len(rows), share, options.split_seed)
        log.warning("warning: %s: most rows are connected by texts that they share, so texts that "
                    "are held out are also trained on; use --dev FILE", rows.path)  # fmt: skip
    is_held_out = {*chosen.tolist()}
    rest = [i for i in range(len(rows)) if i not in is_held_out]
    return examples.select(rest), examples.select(chosen.tolist())

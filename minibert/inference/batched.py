"""Predicting for many texts: batches of like length, side by side on the cores."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from minibert.data.ragged import Sequences
from minibert.runtime.threads import in_order, number_of_threads, one_blas_thread
from minibert.tokenization import WordPieceTokenizer
from minibert.tokenization.framing import with_pairs

# Tokens in a batch, padding included: 1,000 sentences take as long with 1,024, longer with 2,048.
TOKENS = 512


def for_texts(
    function: Callable[[Mapping[str, np.ndarray]], np.ndarray],
    tokenizer: WordPieceTokenizer,
    texts: Sequence[str],
    pairs: Sequence[str] | None = None,
    *,
    max_length: int,
    threads: int | None = None,
    title: str = "predicting",
    progress: bool = False,
) -> np.ndarray:
    """Return what `function` makes of the texts, in their order: (S, ...).

    Texts of like length go together, a batch to a core, with BLAS on one thread: any number of
    threads gives the same bits, and so does any order of the texts, unless two are alike.

    Args:
        function: of a model's batch: (B, ...) for `input_ids`, `token_type_ids`, `attention_mask`
            of (B, T).
        tokenizer: makes the ids.
        texts: S texts.  pairs: a second one for each; None: there are none.
        max_length: longer texts are cut, in tokens.
        threads: how many batches to work on at a time; None: one for each core.
        title, progress: of the bar, and whether to show it.

    Raises:
        TypeError, ValueError: as `WordPieceTokenizer.encode_batch`.
    """
    sequences = Sequences(
        tokenizer.encode(text, pair, max_length=max_length)
        for text, pair in with_pairs(texts, pairs)
    )
    found = list(
        for_sequences(
            function,
            sequences,
            tokenizer.pad_token_id,
            threads=threads,
            title=title,
            progress=progress,
        )
    )
    order = np.concatenate([rows for rows, _ in found])
    return np.concatenate([made for _, made in found])[np.argsort(order)]


def for_sequences(
    function: Callable[[Mapping[str, np.ndarray]], np.ndarray],
    sequences: Sequences,
    pad_id: int,
    *,
    threads: int | None = None,
    title: str = "predicting",
    progress: bool = False,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows of each batch with what `function` makes of them, as `for_texts` does."""
    from tqdm import tqdm  # here, for it costs more to import than to use

    @one_blas_thread()
    def work(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(all="ignore"):  # whoever asked looks for what isn't finite, once
            return rows, function(sequences.batch(rows, pad_id))

    threads = number_of_threads(threads)
    bar = tqdm(total=len(sequences), desc=title, unit=" texts", disable=not progress)
    with one_blas_thread(), bar:
        order = sequences.longest_first()
        batches = (order[rows] for rows in by_length(sequences.lengths[order], TOKENS))
        for rows, made in in_order(work, batches, threads, ahead=threads):
            yield rows, made
            bar.update(len(rows))


def by_length(lengths: np.ndarray, tokens: int) -> Iterator[np.ndarray]:
    """Yield the rows of batches, longest first, of like length and at most so many tokens.

    >>> [rows.tolist() for rows in by_length(np.array([2, 5, 3, 2]), 6)]
    [[1], [2, 0], [3]]

    Args:
        lengths: (S,), of the sequences.  tokens: in a batch, padding included; a longer sequence is
            a batch by itself.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        rows = max(tokens // int(lengths[order[start]]), 1)
        yield order[start : start + rows]
        start += rows

"""Batched prediction: batches of similar length, computed side by side on the cores."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from minibert.data.ragged import RaggedSequences
from minibert.io.rows import texts_of
from minibert.runtime.blas import one_blas_thread
from minibert.runtime.threads import number_of_threads, ordered_map
from minibert.tokenization import PreTrainedTokenizer
from minibert.tokenization.framing import with_pairs

# In a batch with padding. 1,000 sentences take as long with 1,024, longer with 2,048; but then 8
# texts of 128 tokens are one batch, which one thread computes.
MAX_BATCH_TOKENS = 512
# In a batch without padding; see `even_batches`. Of the time with padding, 1,000 sentences take
# 0.94 with 512 tokens a batch, 0.91 with 1,024, 0.90 with 2,048, 0.89 with 4,096. On two cores, 128
# sentences take 0.83 of the time with 4 as CORES instead of 8, and 1,000 sentences as long.
MAX_UNPADDED_TOKENS, MIN_UNPADDED_TOKENS, CORES = 3_072, 512, 4


def map_texts(
    function: Callable[[list[Mapping[str, np.ndarray]]], np.ndarray],
    tokenizer: PreTrainedTokenizer,
    texts: Sequence[str],
    pairs: Sequence[str] | None = None,
    *,
    max_length: int,
    padded: bool = False,
    threads: int | None = None,
    title: str = "predicting",
    progress: bool = False,
) -> np.ndarray:
    """Apply a function to all texts in batches; return its results in order (S, ...).

    Without texts, the result is an array (0, ...). Texts of similar length share a batch, each
    batch is computed on one core, and BLAS uses one thread. The result is bitwise the same
    for any number of threads, and for any order of the texts unless two of them are equal.

    Args:
        function: maps several of a model's batches, each of `input_ids`, `token_type_ids` and
            `attention_mask` of its own (B, T), to one array (S, ...). The texts of a batch have
            the same length.
        tokenizer: the model's tokenizer.
        texts: S texts.
        pairs: S second texts, or None.
        max_length: in tokens; longer texts are cut.
        padded: give the function one batch at a time, whose shorter texts are padded.
        threads: how many batches are computed at a time; None: one for each core.
        title: the label of the progress bar.
        progress: show a progress bar.

    Raises:
        TypeError, ValueError: as `WordPieceTokenizer.encode_batch`.
    """
    if are_empty(texts, pairs):
        # The dtype and the other sizes are those of the result for any text.
        return map_texts(function, tokenizer, [""], max_length=max_length, threads=1)[:0]
    sequences = RaggedSequences(
        tokenizer.encode(text, pair, max_length=max_length)
        for text, pair in with_pairs(texts, pairs)
    )
    options = {"padded": padded, "threads": threads, "title": title, "progress": progress}
    return map_in_order(function, sequences, tokenizer.pad_token_id, **options)


def are_empty(texts: Sequence[str], pairs: Sequence[str] | None) -> bool:
    """Return whether there are neither texts nor second texts (bool)."""
    sides = {"texts": texts, "pairs": [] if pairs is None else pairs}
    return not any(isinstance(each, str) or texts_of(each, name) for name, each in sides.items())


def map_in_order(
    function: Callable[[list[Mapping[str, np.ndarray]]], np.ndarray],
    sequences: RaggedSequences,
    pad_id: int,
    **options: Any,
) -> np.ndarray:
    """Return the function's results for S sequences, at least one, in their order (S, ...).

    Args:
        function, sequences, pad_id, options: as in `map_sequences`.
    """
    batches = list(map_sequences(function, sequences, pad_id, **options))
    order = np.concatenate([indices for indices, _ in batches])
    results: np.ndarray = np.concatenate([each for _, each in batches])[np.argsort(order)]
    return results


def map_sequences(
    function: Callable[[list[Mapping[str, np.ndarray]]], Any],
    sequences: RaggedSequences,
    pad_id: int,
    *,
    padded: bool = False,
    threads: int | None = None,
    title: str = "predicting",
    progress: bool = False,
) -> Generator[tuple[np.ndarray, Any], None, None]:
    """Yield the indices of each batch of sequences with the function's results.

    Close it if not all batches are read, because it holds threads and the limit of BLAS.

    Args:
        function, padded, threads, title, progress: as in `map_texts`.
        sequences: S sequences of token ids.
        pad_id: the id of [PAD].
    """
    from tqdm import tqdm  # imported here because its import costs more than most calls

    @one_blas_thread()
    def compute(indices: np.ndarray) -> tuple[np.ndarray, Any]:
        with np.errstate(all="ignore"):  # callers check once that the results are finite
            parts = [indices] if padded else by_length(indices)
            return indices, function([sequences.batch(part, pad_id) for part in parts])

    def by_length(indices: np.ndarray) -> list[np.ndarray]:
        return np.split(indices, np.flatnonzero(np.diff(sequences.lengths[indices])) + 1)

    threads = number_of_threads(threads)
    bar = tqdm(total=len(sequences), desc=title, unit=" texts", disable=not progress)
    with one_blas_thread(), bar:
        order = sequences.longest_first()
        if padded:
            rows = length_bucketed_batches(sequences.lengths[order], MAX_BATCH_TOKENS)
        else:
            rows = even_batches(sequences.lengths[order])
        batches = (order[indices] for indices in rows)
        for indices, results in ordered_map(compute, batches, threads, ahead=threads):
            yield indices, results
            bar.update(len(indices))


def length_bucketed_batches(lengths: np.ndarray, max_tokens: int) -> Iterator[np.ndarray]:
    """Yield the indices of batches of similar length, the longest first.

    >>> [each.tolist() for each in length_bucketed_batches(np.array([2, 5, 3, 2]), 6)]
    [[1], [2, 0], [3]]

    Args:
        lengths (S,): the lengths of the sequences.
        max_tokens: in a batch, padding included; a longer sequence is a batch of one.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        size = max(max_tokens // int(lengths[order[start]]), 1)
        yield order[start : start + size]
        start += size


def even_batches(lengths: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the indices of batches of about the same number of tokens, in order.

    Many tokens in a batch cost the least each, because the weights are rearranged and read once for
    all of them. But the cores are only busy to the end if they share the batches evenly, so their
    number is a multiple of CORES if there are enough tokens. It does not depend on the threads,
    because the sums in a product of another size may be rounded differently.

    Args:
        lengths (S,): the lengths of the sequences.
    """
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    number = CORES * -(-total // (CORES * MAX_UNPADDED_TOKENS))  # rounded up
    number = min(number, -(-total // MIN_UNPADDED_TOKENS))
    middles = ends - lengths / 2
    cuts = np.searchsorted(middles, total / max(number, 1) * np.arange(1, number))
    for indices in np.split(np.arange(len(lengths)), cuts):
        if len(indices):
            yield indices

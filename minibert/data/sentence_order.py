"""Sentence-order prediction: pairs of segments; the label tells whether they were swapped."""

import numpy as np

from minibert.data.corpus import PackedSequences
from minibert.data.next_sentence import longest_text, write_pair
from minibert.tokenization import PreTrainedTokenizer

# Signs at the end of a sentence, and what kinds of tokenizers put before them.
ENDS = (".", "!", "?", "。", "！", "？")
FRONTS = ("##", "▁", "Ġ")


def sentence_order_pairs(
    sequences: PackedSequences | np.ndarray,
    indices: np.ndarray,
    tokenizer: PreTrainedTokenizer,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make pairs [CLS] A [SEP] B [SEP] of packed sequences, half of them in the wrong order.

    The text of a sequence is its longest part that belongs to one document. It is cut after the end
    of a sentence, the nearest to its middle, or in the middle if no sentence ends inside. A and B
    are the two segments or, in half of the cases, the same two swapped. Both are about the same
    thing, so the order is what the label is about; a random B, as in next-sentence prediction, can
    be told by its subject alone. Lan et al. (2020), section 3.1.

    Args:
        sequences (S, T): packed sequences, a `data.corpus.PackedSequences` or an int array.
        indices (B,), int: the sequences to make pairs from.
        tokenizer: supplies the special ids and the signs at the ends of sentences.
        rng: random generator; equal generators make equal pairs.

    Returns:
        ids (B, T), int64; segments (B, T), int64; labels (B,), int64: 1 if the segments were
        swapped, else 0. A text of one token has an empty B and the label 0.
    """
    own = sequences[indices]
    swapped = rng.random(len(own)) < 0.5
    ids = np.full(own.shape, tokenizer.pad_token_id, np.int64)
    types, labels = np.zeros_like(ids), np.zeros(len(ids), np.int64)
    ends = sentence_ends(tokenizer)
    for i, sequence in enumerate(own):
        text = longest_text(sequence, tokenizer)[: len(sequence) - 3]  # without [CLS] and two [SEP]
        first, second = np.split(text, [middle_of(np.isin(text, ends))])
        if swapped[i] and len(second):
            first, second = second, first
            labels[i] = 1
        write_pair(ids[i], types[i], first, second, tokenizer)
    return ids, types, labels


def sentence_ends(tokenizer: PreTrainedTokenizer) -> np.ndarray:
    """Return the ids (n,) of the signs at the end of a sentence, which a vocabulary may lack."""
    forms = [front + end for end in ENDS for front in ("", *FRONTS)]
    return np.array([tokenizer.vocab[form] for form in forms if form in tokenizer.vocab], np.int64)


def middle_of(ends: np.ndarray) -> int:
    """Return the length of the first segment of a text of T tokens.

    >>> middle_of(np.array([0, 1, 0, 0, 1, 0])), middle_of(np.array([0, 0, 0, 0, 1]))
    (2, 3)

    Args:
        ends (T,): whether a sentence ends with the token; the last one is not asked.
    """
    half = -(-len(ends) // 2)
    cuts = np.flatnonzero(ends[:-1]) + 1
    return int(cuts[np.abs(cuts - len(ends) / 2).argmin()]) if len(cuts) else half

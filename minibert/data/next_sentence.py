"""Next-sentence prediction: make segment pairs; the label tells whether B follows A."""

import numpy as np

from minibert.data.corpus import PackedSequences
from minibert.tokenization import PreTrainedTokenizer


def next_sentence_pairs(
    sequences: PackedSequences | np.ndarray,
    indices: np.ndarray,
    tokenizer: PreTrainedTokenizer,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make pairs [CLS] A [SEP] B [SEP] of packed sequences, half with a random B.

    The text of a sequence is its longest part that belongs to one document. A is the first half of
    the text. B is the second half or, in half of the cases, the second half of the text of a
    random sequence. Devlin et al. (2019), section 3.1 and appendix A.2.

    Args:
        sequences (S, T): packed sequences, a `data.corpus.PackedSequences` or an int array.
        indices (B,), int: the sequences to make pairs from.
        tokenizer: supplies the special ids.
        rng: random generator; equal generators make equal pairs.

    Returns:
        ids (B, T), int64; segments (B, T), int64; labels (B,), int64: 0 if B follows A, else 1.
    """
    own = sequences[indices]
    others = sequences[rng.integers(0, len(sequences), len(own))]
    follows = rng.random(len(own)) < 0.5
    ids = np.full(own.shape, tokenizer.pad_token_id, np.int64)
    types, labels = np.zeros_like(ids), np.zeros(len(ids), np.int64)
    for i, (sequence, other) in enumerate(zip(own, others, strict=True)):
        room = len(sequence) - 3  # without [CLS] and two [SEP]
        text = longest_text(sequence, tokenizer)[:room]
        first, second = np.split(text, [-(-len(text) // 2)])
        if not follows[i] or not len(second):
            random_text = longest_text(other, tokenizer)
            second = random_text[len(random_text) // 2 :][: room - len(first)]
            labels[i] = 1
        write_pair(ids[i], types[i], first, second, tokenizer)
    return ids, types, labels


def write_pair(
    ids: np.ndarray,
    types: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    tokenizer: PreTrainedTokenizer,
) -> None:
    """Write a pair [CLS] A [SEP] B [SEP] into ids (T,) and segments (T,), in place."""
    start, end = len(first) + 2, len(first) + len(second) + 3
    ids[0] = tokenizer.cls_token_id
    ids[1 : start - 1], ids[start - 1] = first, tokenizer.sep_token_id
    ids[start : end - 1], ids[end - 1] = second, tokenizer.sep_token_id
    types[start:end] = 1


def longest_text(sequence: np.ndarray, tokenizer: PreTrainedTokenizer) -> np.ndarray:
    """Return the longest run of ids in a sequence (T,) without [CLS], [SEP] and [PAD]."""
    framing = [tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id]
    special_positions = np.flatnonzero(np.isin(sequence, framing))
    parts = np.split(sequence, special_positions)  # each but the first starts with a special id
    longest = max(parts, key=lambda part: len(part) - int(np.isin(part[:1], framing).sum()))
    return longest[1:] if np.isin(longest[:1], framing).any() else longest

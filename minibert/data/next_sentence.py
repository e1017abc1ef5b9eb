"""Next-sentence prediction's task: two segments, and whether the second one follows the first."""

import numpy as np


def next_sentence_pairs(rows, numbers, tokenizer, rng):
    """Make [CLS] A [SEP] B [SEP] of each row's text, B what follows A or a text from elsewhere.

    A row's text is its longest stretch of one document. A is its first half; B is the second half,
    or, in half of the cases, the second half of a random row's text. Devlin et al. (2019), section
    3.1 and appendix A.2.

    Args:
        rows: S packed rows of T ids, a `data.corpus.PackedSequences` or an array (S, T).
        numbers: (B,), the rows to pair.
        tokenizer: knows the special tokens.
        rng: chooses what B is; the same one chooses the same.

    Returns:
        ids (B, T), segments (B, T), and the labels (B,): 0 where B follows A, 1 where it does not.
    """
    own = rows[numbers]
    others = rows[rng.integers(0, len(rows), len(own))]
    follows = rng.random(len(own)) < 0.5
    ids = np.full(own.shape, tokenizer.pad_token_id, np.int64)
    types, labels = np.zeros_like(ids), np.zeros(len(ids), np.int64)
    framing = [tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id]
    for i, (row, other) in enumerate(zip(own, others, strict=True)):
        text = _longest_stretch(row, framing)[: len(row) - 3]  # room for [CLS] and two [SEP]
        first, second = np.split(text, [-(-len(text) // 2)])
        if not follows[i] or not len(second):
            elsewhere = _longest_stretch(other, framing)
            second = elsewhere[len(elsewhere) // 2 :][: len(row) - 3 - len(first)]
            labels[i] = 1
        start, end = len(first) + 2, len(first) + len(second) + 3
        ids[i, 0] = tokenizer.cls_token_id
        ids[i, 1 : start - 1], ids[i, start - 1] = first, tokenizer.sep_token_id
        ids[i, start : end - 1], ids[i, end - 1] = second, tokenizer.sep_token_id
        types[i, start:end] = 1
    return ids, types, labels


def _longest_stretch(row, framing):
    """Return the longest part of a row without [CLS], [SEP] and [PAD]."""
    ends = np.flatnonzero(np.isin(row, framing))
    stretches = np.split(row, ends)
    longest = max(stretches, key=lambda part: len(part) - np.isin(part[:1], framing).sum())
    return longest[1:] if np.isin(longest[:1], framing).any() else longest

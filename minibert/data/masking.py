"""Masked language modelling's task: hide some tokens, to be guessed from the others."""

import numpy as np

from minibert.functional import IGNORED
from minibert.tokenization import WordPieceTokenizer

MASKED, NOISED = 0.8, 0.9  # below 0.8 a target becomes [MASK], below 0.9 noise, else it stays


def mask_tokens(ids, special_ids, mask_id, vocab_size, rng, share=0.15):
    """Choose targets among the tokens, and hide most of them.

    Of a sequence's n ordinary tokens, max(1, round(share · n)) are targets: the model must say what
    stood there. One draw for each target decides what it shows instead: [MASK] in 80 % of cases, a
    random ordinary token in 10 %, what it was in 10 %. Special tokens are neither targets nor
    noise. Devlin et al. (2019), section 3.1 and appendix A.1.

    >>> ids = np.array([[2, 7, 8, 9, 3, 0]])
    >>> shown, labels = mask_tokens(ids, [0, 1, 2, 3, 4], 4, 10, np.random.default_rng(2))
    >>> shown.tolist(), labels.tolist()
    ([[2, 7, 8, 4, 3, 0]], [[-100, -100, -100, 9, -100, -100]])

    Args:
        ids: (B, T) of token ids.
        special_ids: the ids of [CLS], [SEP], [PAD] and the like.
        mask_id: the id of [MASK].
        vocab_size: V.
        rng: a generator; the same one chooses the same targets.
        share: of the ordinary tokens that become targets.

    Returns:
        what the model sees (B, T), and the labels (B, T): the token at a target, -100 elsewhere.
    """
    ids = np.asarray(ids, np.int64)  # an unsigned label could not be -100
    ordinary = ~np.isin(ids, special_ids)  # (B, T)
    counts = ordinary.sum(axis=1)
    wanted = np.where(counts > 0, np.maximum(1, np.rint(share * counts)), 0)  # (B,)
    # A target is among the first `wanted` of its sequence when its ordinary tokens are shuffled.
    keys = np.where(ordinary, rng.random(ids.shape), 2.0)
    ranks = np.argsort(np.argsort(keys, axis=1), axis=1)  # (B, T)
    targets = ranks < wanted[:, None]
    labels = np.where(targets, ids, IGNORED)
    draw = rng.random(ids.shape)
    candidates = np.setdiff1d(np.arange(vocab_size), special_ids)
    noise = candidates[rng.integers(0, len(candidates), ids.shape)]
    shown = np.where(targets & (draw < MASKED), mask_id, ids)
    shown = np.where(targets & (draw >= MASKED) & (draw < NOISED), noise, shown)
    return shown, labels


def mask_sequences(
    rows: np.ndarray, tokenizer: WordPieceTokenizer, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Mask rows of this tokenizer's ids; see `mask_tokens`."""
    return mask_tokens(
        rows, tokenizer.all_special_ids, tokenizer.mask_token_id, len(tokenizer), rng
    )

"""Masked language modelling: choose target tokens and replace most of them in the input."""

import numpy as np
from numpy.typing import ArrayLike

from minibert.functional import IGNORED
from minibert.tokenization import PreTrainedTokenizer

# One draw from [0, 1) per target: [MASK] below MASK_BELOW, then noise below NOISE_BELOW, then the
# token itself.
MASK_BELOW, NOISE_BELOW = 0.8, 0.9

MASKED_SHARE = 0.15  # of the ordinary tokens; Devlin et al. (2019), section 3.1


def mask_tokens(
    ids: ArrayLike,
    special_ids: ArrayLike,
    mask_id: int,
    vocab_size: int,
    rng: np.random.Generator,
    share: float = MASKED_SHARE,
) -> tuple[np.ndarray, np.ndarray]:
    """Return masked input ids (B, T) and labels (B, T) for masked language modelling.

    Of the n ordinary tokens of a sequence, max(1, round(share · n)) are targets. The input contains
    [MASK] in place of 80 % of the targets, a random ordinary token in place of 10 %, and the
    unchanged token for 10 %. Special tokens are neither targets nor noise. Devlin et al. (2019),
    section 3.1 and appendix A.1.

    >>> ids = np.array([[2, 7, 8, 9, 3, 0]])
    >>> rng = np.random.default_rng(2)
    >>> input_ids, labels = mask_tokens(ids, [0, 1, 2, 3, 4], 4, 10, rng)
    >>> input_ids.tolist(), labels.tolist()
    ([[2, 7, 8, 4, 3, 0]], [[-100, -100, -100, 9, -100, -100]])

    Args:
        ids (B, T), int: token ids.
        special_ids (any length, int): ids of [CLS], [SEP], [PAD] and the other special tokens.
        mask_id (int): id of [MASK].
        vocab_size (int): V.
        rng: random generator; equal generators choose equal targets.
        share (float): fraction of the ordinary tokens that become targets.

    Returns:
        input ids (B, T), int64, and labels (B, T), int64: the original id at a target, -100
        elsewhere.
    """
    ids = np.asarray(ids, np.int64)  # an unsigned label could not be -100
    is_ordinary = ~np.isin(ids, special_ids)  # (B, T)
    counts = is_ordinary.sum(axis=1)
    num_targets = np.where(counts > 0, np.maximum(1, np.rint(share * counts)), 0)  # (B,)
    # Shuffle each sequence's ordinary tokens; the first `num_targets` of them are its targets.
    keys = np.where(is_ordinary, rng.random(ids.shape), 2.0)
    ranks = np.argsort(np.argsort(keys, axis=1), axis=1)  # (B, T)
    is_target = ranks < num_targets[:, None]
    draw = rng.random(ids.shape)
    return replace_targets(ids, is_target, draw, special_ids, mask_id, vocab_size, rng)


def replace_targets(
    ids: np.ndarray,
    is_target: np.ndarray,
    draw: np.ndarray,
    special_ids: ArrayLike,
    mask_id: int,
    vocab_size: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the input ids (B, T) and the labels (B, T) of chosen targets; see `mask_tokens`.

    Args:
        ids (B, T), int64: token ids.
        is_target (B, T), bool: the tokens to predict.
        draw (B, T): numbers from [0, 1), by which a target becomes [MASK], noise or itself.
        special_ids, mask_id, vocab_size: as in `mask_tokens`.
        rng: draws the noise.
    """
    labels = np.where(is_target, ids, IGNORED)
    candidates = np.flatnonzero(~np.isin(np.arange(vocab_size), special_ids))
    noise = candidates[rng.integers(0, len(candidates), ids.shape)]
    input_ids = np.where(is_target & (draw < MASK_BELOW), mask_id, ids)
    input_ids = np.where(is_target & (draw >= MASK_BELOW) & (draw < NOISE_BELOW), noise, input_ids)
    return input_ids, labels


def mask_sequences(
    ids: np.ndarray,
    tokenizer: PreTrainedTokenizer,
    rng: np.random.Generator,
    share: float = MASKED_SHARE,
) -> tuple[np.ndarray, np.ndarray]:
    """Return masked input ids (B, T) and labels (B, T); see `mask_tokens`.

    Args:
        ids (B, T), int: token ids of `tokenizer`.
        tokenizer: supplies the special ids, the id of [MASK] and V.
        rng: random generator.
        share (float): fraction of the ordinary tokens that become targets.
    """
    special, mask_id = tokenizer.all_special_ids, tokenizer.mask_token_id
    return mask_tokens(ids, special, mask_id, len(tokenizer), rng, share)

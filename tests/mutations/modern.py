"""Bugs in ModernBERT: rotary positions, the gate, and where the norms are."""

import numpy as np

from minibert import layers
from minibert.functional import gate_backward, gate_forward, rotate_backward
from minibert.layers import Encoder, PreNormEncoder, PreNormResidual, RotaryPositions
from minibert.models.families import modernbert
from minibert.models.weights import Tensor
from tests.models import test_modernbert
from tests.mutations.checks import example, gradients
from tests.mutations.mutation import Mutation, Place, mutation

RIGHT_BLOCK, RIGHT_TURN = modernbert.modern_block, RotaryPositions.turn
RIGHT_PART, RIGHT_RESIDUAL = Tensor.part, PreNormResidual.forward

FORMULA = example(test_modernbert.test_logits_equal_the_plain_formula_of_the_file)
ROTARY = "SelfAttentionWithoutBias, all rows, rotary, masked, dropout"


def neighbours(x, turns):
    """Pair unit 2j with unit 2j + 1, as in the paper, in weights whose pairs are halves."""
    return (x.view(turns.dtype) * turns).view(x.dtype)


def neighbours_backward(dout, turns):
    """Return the right gradient of the wrong forward above."""
    return (dout.view(turns.dtype) * turns.conj()).view(dout.dtype)


def not_turned_back(dout, turns):
    """Rotate the gradient as the forward does."""
    return rotate_backward(dout, turns.conj())


def order_of_pairs_kept(dout, turns):
    """Rotate back, and leave the two units of a pair side by side."""
    return (dout.view(turns.dtype) * turns.conj()).view(dout.dtype)


def turned_against_each_other(self, heads, at, tables):
    """Turn the keys back, which are those of all tokens in order."""
    return RIGHT_TURN(self, heads, at, tables.conj() if at.ndim == 1 else tables)


def positions_in_the_array(self, heads, at, tables):
    """Take trimmed queries as the first tokens."""
    return RIGHT_TURN(self, heads, np.arange(heads.shape[2]), tables)


def exchanged(x):
    return np.concatenate(np.split(x, 2, axis=1)[::-1], axis=1)


def gate_activated(x, kind, keep=True):
    """Activate the second half instead of the first."""
    return gate_forward(exchanged(x), kind, keep)


def gate_activated_backward(dout, slopes):
    """Return the right gradient of the wrong forward above."""
    return exchanged(gate_backward(dout, slopes))


def gate_without_its_slope(dout, slopes):
    """Return a gradient for the first half alone."""
    dx = gate_backward(dout, slopes)
    dx[:, dx.shape[1] // 2 :] = 0
    return dx


def norm_in_every_block(config, *, is_first=False):
    return RIGHT_BLOCK(config)


def no_last_norm(self, *arguments):
    x, cache = Encoder.forward(self, *arguments)
    return x, layers.pre_norm.PreNormEncoderCache(cache.blocks, cache.site, None)


def no_last_norm_backward(self, dx, cache, params, grads):
    """Return the right gradient of the wrong forward above."""
    return Encoder.backward(self, dx, cache, params, grads)


def normed_residual(self, params, x, *arguments):
    """Add the sublayer's output to its normalized input."""
    out, cache = RIGHT_RESIDUAL(self, params, x, *arguments)
    if self.norm is None or arguments[0].rows is not None:
        return out, cache
    return out - x + self.norm.forward(params, x)[0], cache


def thirds_in_reverse(self, i, count):
    """Read value, key, query, and gate before activation."""
    return RIGHT_PART(self, count - 1 - i, count)


MUTATIONS = [
    Mutation(
        "rotary positions pair neighbours instead of halves",
        {
            Place(layers.rotary, "rotate_forward"): neighbours,
            Place(layers.rotary, "rotate_backward"): neighbours_backward,
        },
        FORMULA,
    ),
    mutation(
        "gradients of rotary positions are not turned back",
        Place(layers.rotary, "rotate_backward"),
        not_turned_back,
        gradients(ROTARY),
    ),
    mutation(
        "gradients of rotary positions keep the order of the pairs",
        Place(layers.rotary, "rotate_backward"),
        order_of_pairs_kept,
        gradients(ROTARY),
    ),
    mutation(
        "trimmed queries rotated as the first tokens",
        Place(RotaryPositions, "turn"),
        positions_in_the_array,
        example(
            test_modernbert.test_loss_of_training_equals_that_of_a_call_and_trimming_changes_nothing
        ),
    ),
    mutation(
        "keys of trimmed queries turned back",
        Place(RotaryPositions, "turn"),
        turned_against_each_other,
        example(
            test_modernbert.test_loss_of_training_equals_that_of_a_call_and_trimming_changes_nothing
        ),
    ),
    Mutation(
        "the gate activated instead of its other half",
        {
            Place(layers.gated, "gate_forward"): gate_activated,
            Place(layers.gated, "gate_backward"): gate_activated_backward,
        },
        FORMULA,
    ),
    mutation(
        "the gate gets no gradient",
        Place(layers.gated, "gate_backward"),
        gate_without_its_slope,
        gradients("GatedFeedForward, gelu"),
    ),
    mutation(
        "a norm before attention in the first block",
        Place(modernbert, "modern_block"),
        norm_in_every_block,
        FORMULA,
    ),
    Mutation(
        "no norm after the last block",
        {
            Place(PreNormEncoder, "forward"): no_last_norm,
            Place(PreNormEncoder, "backward"): no_last_norm_backward,
        },
        FORMULA,
    ),
    mutation(
        "the residual of a pre-norm block is normalized",
        Place(PreNormResidual, "forward"),
        normed_residual,
        FORMULA,
    ),
    mutation(
        "stacked tensors read in reverse",
        Place(Tensor, "part"),
        thirds_in_reverse,
        example(
            test_modernbert.test_saved_model_has_the_names_of_transformers_and_is_loaded_bitwise,
            dtype=np.float64,
        ),
    ),
]

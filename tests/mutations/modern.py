"""Bugs in ModernBERT: rotary positions, windows, the gate, pooling, and where the norms are."""

import numpy as np

from minibert import layers
from minibert.functional import attention_backward, gate_backward, gate_forward, rotate_backward
from minibert.functional.families import window
from minibert.layers import Encoder, PreNormEncoder, PreNormResidual, RotaryPositions
from minibert.layers.families import windowed
from minibert.layers.families.windowed import RotaryByKind, RotaryTables, WindowedSelfAttention
from minibert.models.families import modernbert, pooled, window_config
from minibert.models.families.modernbert import ModernBertForQuestionAnswering
from minibert.models.families.pooled import PooledText
from minibert.models.families.window_config import FULL, SLIDING, WindowedConfig
from minibert.models.weights import Tensor
from tests.models import test_modernbert, test_relatives
from tests.mutations.checks import example, gradients
from tests.mutations.mutation import Mutation, Place, mutation

RIGHT_BLOCK, RIGHT_TURN = modernbert.modern_block, RotaryPositions.turn
RIGHT_PART, RIGHT_RESIDUAL = Tensor.part, PreNormResidual.forward
RIGHT_BIAS, RIGHT_WINDOW = window.window_bias, window.window_attention_forward
RIGHT_ATTEND, RIGHT_MEAN = WindowedSelfAttention._attend, pooled._mean_forward

FORMULA = example(test_modernbert.test_logits_equal_the_plain_formula_of_the_file)
WINDOWS = example(test_modernbert.test_logits_with_windows_equal_the_plain_formula_of_the_file)
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


def norm_in_every_block(config, number):
    return RIGHT_BLOCK(config, number + 1 if number == 0 else number)


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


def ends_left_out(queries, keys, width, dtype):
    """Leave out the tokens exactly w places away."""
    return RIGHT_BIAS(queries, keys, width - 1, dtype)


def one_base(self, params, keys, dtype):
    """Give windows the rotations of full attention."""
    full = RotaryPositions.prepare(self, params, keys, dtype)
    return RotaryTables(full, full)


def last_layer_of_each_group(layers, every):
    """Let the last of every three layers have full attention instead of the first."""
    return tuple(SLIDING if (i + 1) % every else FULL for i in range(layers))


def each_key_once(dout, cache, gradients=None):
    """Assign the gradients of keys and values, which are near several blocks."""
    dquery, dkey, dvalue = gradients
    for own, near, attention in cache.blocks:
        parts = attention_backward(dout[:, :, own], attention)
        dquery[:, :, own], dkey[:, :, near], dvalue[:, :, near] = parts


def padding_near(query, key, value, width, mask=None, *more):
    """Attend to padding inside a window."""
    return RIGHT_WINDOW(query, key, value, width, None, *more)


def window_of_the_first_tokens(self, at, query, *more):
    """Take trimmed queries as the first tokens."""
    at = None if at is None else np.arange(query.shape[2])[None] + 0 * at
    return RIGHT_ATTEND(self, at, query, *more)


def mean_over_padding(batch, x):
    everything = np.ones_like(batch.attention_mask)
    return RIGHT_MEAN(batch._replace(attention_mask=everything), x)


def first_token_even_if_padding(self, batch):
    return None if self.reads_mean else super(PooledText, self).rows_read(batch)


def head_of_bert(self, **parts):
    """Make BERT's head of answers, with its name and without a layer below it."""
    super(ModernBertForQuestionAnswering, self).build(**parts)


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
        "a window leaves out the tokens at its ends",
        Place(window, "window_bias"),
        ends_left_out,
        WINDOWS,
    ),
    mutation(
        "a window of the whole width on each side",
        Place(WindowedConfig, "window"),
        property(lambda self: self.local_attention),
        WINDOWS,
    ),
    mutation(
        "windows have the rotary base of full attention",
        Place(RotaryByKind, "prepare"),
        one_base,
        WINDOWS,
    ),
    mutation(
        "the last of three layers has full attention",
        Place(window_config, "kinds_by_period"),
        last_layer_of_each_group,
        example(test_modernbert.test_config_reads_the_fields_of_transformers_4_and_5),
    ),
    mutation(
        "keys learn from one block of a band",
        Place(windowed, "window_attention_backward"),
        each_key_once,
        gradients("WindowedSelfAttention, all rows, rotary, masked, dropout"),
    ),
    mutation(
        "windows read padding",
        Place(windowed, "window_attention_forward"),
        padding_near,
        example(test_modernbert.test_padding_of_long_texts_changes_nothing),
    ),
    mutation(
        "trimmed queries have the window of the first tokens",
        Place(WindowedSelfAttention, "_attend"),
        window_of_the_first_tokens,
        example(
            test_relatives.test_loss_of_training_equals_that_of_a_call,
            family="modernbert",
            use="ForMaskedLM",
        ),
    ),
    mutation(
        "padding counts in the mean that a classifier reads",
        Place(pooled, "_mean_forward"),
        mean_over_padding,
        example(
            test_modernbert.test_mean_pooling_reads_the_tokens_that_are_not_padding,
            kind=modernbert.ModernBertForSequenceClassification,
        ),
    ),
    mutation(
        "choices read padding in front of [CLS]",
        Place(PooledText, "rows_read"),
        first_token_even_if_padding,
        example(test_modernbert.test_choices_read_the_first_token_that_is_not_padding),
    ),
    mutation(
        "the head of answers is named as BERT's",
        Place(ModernBertForQuestionAnswering, "build"),
        head_of_bert,
        example(
            test_modernbert.test_heads_have_the_names_of_transformers_in_files,
            use="ForQuestionAnswering",
        ),
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

"""Bugs in layers: embeddings, attention, blocks, the encoder, wrappers, heads."""

import copy

import numpy as np

from minibert import layers
from minibert.functional import (
    add_norm_backward,
    add_norm_forward,
    attention_backward,
    attention_forward,
    draw_mask,
    embedding_backward,
    normalization,
)
from minibert.layers import (
    Encoder,
    Frozen,
    LearnedPositions,
    Linear,
    PooledClassifierHead,
    Recomputed,
    Residual,
    SelfAttention,
)
from minibert.layers.wrappers import RecomputedCache
from minibert.parameters import Views
from minibert.specs import Joined
from minibert.testing.cases.examples import CONFIG
from tests.layers import test_layers
from tests.models import test_models
from tests.mutations.checks import distinct_masks, example, gradients
from tests.mutations.mutation import Mutation, Place, mutation
from tests.optim import test_adamw

RIGHT_ATTENTION = SelfAttention.backward
RIGHT_ATTENTION_SPECS = SelfAttention.specs
RIGHT_UNPROJECT = layers.attention.unproject
RIGHT_RECOMPUTED = Recomputed.backward
RIGHT_ENCODER = Encoder.forward
RIGHT_HEAD = PooledClassifierHead.backward
RIGHT_LINEAR_SPECS = Linear.specs
RIGHT_WITHOUT = Views.without


def unmerged(*arguments, **options):
    """Return heads for which the layer's transpose and reshape give a reshape alone."""
    heads, cache = attention_forward(*arguments, **options)
    B, K, R, H = heads.shape
    return heads.reshape(B, R, K, H).transpose(0, 2, 1, 3), cache


def unmerged_backward(dheads, *arguments):
    """Return the right gradient of the wrong forward above."""
    B, K, R, H = dheads.shape
    return attention_backward(dheads.transpose(0, 2, 1, 3).reshape(B, K, R, H), *arguments)


def query_left_out(dheads, *arguments):
    if dheads.shape[2] == 3:
        dheads = dheads.copy()
        dheads[:, :, 0] = 0
    return RIGHT_UNPROJECT(dheads, *arguments)


def key_before_query(self):
    """Declare the key before the query, while the layer reads the query first."""

    def swapped(name):
        role = name.split(".")[-2]
        return name.replace(role, {"query": "key", "key": "query"}.get(role, role))

    return {
        swapped(name): Joined(tuple(map(swapped, spec.names))) if isinstance(spec, Joined) else spec
        for name, spec in RIGHT_ATTENTION_SPECS(self).items()
    }


def last_layer_of_the_bias(self, dout, cache, params, grads, dsite):
    """Assign the gradient of the tables in each layer instead of summing over the layers."""
    if dsite is not None:
        dsite[...] = 0
    return RIGHT_ATTENTION(self, dout, cache, params, grads, dsite)


def residual_forgotten(self, dout, cache, params, grads, dsite):
    """Return the gradient through the sublayer alone."""
    norm, width = self.norm, dout.shape[-1]
    dy, _ = add_norm_backward(
        dout.reshape(-1, width),
        cache.norm,
        params[norm.weight],
        grads[norm.weight],
        grads[norm.bias],
    )
    return self.sublayer.backward(dy.reshape(dout.shape), cache.sublayer, params, grads, dsite)


def residual_twice(*arguments):
    dy, dresidual = add_norm_backward(*arguments)
    return dy, 2 * dresidual


def no_residual_without_keep(y, residual, weight, bias, eps, rate, rng, keep):
    residual = residual if keep else np.zeros_like(residual)
    return add_norm_forward(y, residual, weight, bias, eps, rate, rng, keep)


def same_mask_everywhere(shape, rate, rng):
    return draw_mask(shape, rate, None if rng is None else np.random.default_rng(0))


def recomputed_with_another_dropout(self, dout, cache, *arguments):
    rng = None if cache.rng is None else np.random.default_rng(99)
    return RIGHT_RECOMPUTED(self, dout, cache._replace(rng=rng), *arguments)


def generator_after_the_forward(self, params, x, site, rng=None, keep=True):
    out, _ = self.layer.forward(params, x, site, rng, keep=False)
    return out, RecomputedCache(x, site, copy.deepcopy(rng)) if keep else None


def frozen_with_dropout(self, params, x, site, rng=None, keep=True):
    return self.layer.forward(params, x, site, rng, keep=False)[0], None


def rows_in_every_block(self, params, x, site, *arguments, **options):
    """Compute the query positions alone in every block, not only in the last one."""

    class AllRows(type(site)):
        def at_all_tokens(self):
            return site

    return RIGHT_ENCODER(self, params, x, AllRows(*site), *arguments, **options)


def segments_without_gradient(dout, ids, dtable):
    if len(dtable) > CONFIG.type_vocab_size:
        embedding_backward(dout, ids, dtable)


def positions_from_1(self, params, length, dtype):
    return params["position_embeddings.weight"][1 : length + 1]


def tied_table_overwritten(dout, x, weight, dweight, dbias):
    dbias += dout.sum(axis=0)
    if dweight is not None:
        dweight[...] = dout.T @ x
    return dout @ weight


def head_overwrites_its_gradients(self, dlogits, cache, params, grads):
    for name in self.classifier.specs():
        grads[name][...] = 0
    return RIGHT_HEAD(self, dlogits, cache, params, grads)


def frozen_table_learns(self, names):
    return RIGHT_WITHOUT(self, [name for name in names if "word_embeddings" not in name])


def decaying_bias(self):
    specs = RIGHT_LINEAR_SPECS(self)
    return {name: type(spec)(spec.shape, spec.init) for name, spec in specs.items()}


MUTATIONS = [
    Mutation(
        "heads merged without the transpose",
        {
            Place(layers.attention, "attention_forward"): unmerged,
            Place(layers.attention, "attention_backward"): unmerged_backward,
        },
        example(
            test_models.test_encoder_without_positions_is_permutation_equivariant,
            training=True, order=[1, 2, 0, 3, 5, 4],
        ),
    ),
    mutation(
        "queries left out of the fused map's gradient",
        Place(layers.attention, "unproject"),
        query_left_out,
        gradients("Block, all rows"),
    ),
    mutation(
        "query and key exchanged in the joined view",
        Place(SelfAttention, "specs"),
        key_before_query,
        example(test_layers.test_self_attention_equals_the_formula, rows=None),
    ),
    mutation(
        "the gradient of a relative bias is that of one layer",
        Place(SelfAttention, "backward"),
        last_layer_of_the_bias,
        example(test_layers.test_positions_get_the_gradients_of_all_layers, rows=None),
    ),
    mutation(
        "the residual forgotten in the backward",
        Place(Residual, "backward"),
        residual_forgotten,
        gradients("Block, all rows"),
    ),
    mutation(
        "the residual's gradient counted twice",
        Place(layers.block, "add_norm_backward"),
        residual_twice,
        gradients("Block, all rows"),
    ),
    mutation(
        "the residual forgotten in prediction",
        Place(layers.block, "add_norm_forward"),
        no_residual_without_keep,
        example(
            test_layers.test_block_without_keep_gives_the_same_bits,
            rows=None, padded=True, dtype=np.float64,
        ),
    ),
    mutation(
        "one dropout mask for both sublayers",
        Place(normalization, "draw_mask"),
        same_mask_everywhere,
        distinct_masks,
    ),
    mutation(
        "recomputed with another dropout",
        Place(Recomputed, "backward"),
        recomputed_with_another_dropout,
        gradients("Recomputed, all rows, masked, dropout"),
    ),
    mutation(
        "recomputed with the generator after the forward",
        Place(Recomputed, "forward"),
        generator_after_the_forward,
        example(test_layers.test_recomputed_block_equals_the_block_bitwise, rows=None),
    ),
    mutation(
        "frozen layers apply dropout",
        Place(Frozen, "forward"),
        frozen_with_dropout,
        example(test_layers.test_each_dropout_draws_a_mask_of_its_own),
    ),
    mutation(
        "query positions trimmed in every block",
        Place(Encoder, "forward"),
        rows_in_every_block,
        example(test_layers.test_encoder_at_the_first_token_equals_this_token_of_all),
    ),
    mutation(
        "segments get no gradient",
        Place(layers.embeddings, "embedding_backward"),
        segments_without_gradient,
        gradients("Embeddings, absolute, dropout"),
    ),
    mutation(
        "positions from 1 on",
        Place(LearnedPositions, "forward"),
        positions_from_1,
        gradients("Embeddings, absolute, dropout"),
    ),
    mutation(
        "tied table overwritten",
        Place(layers.masked_lm, "linear_backward"),
        tied_table_overwritten,
        example(
            test_models.test_loss_and_grads_adds_to_existing_gradients,
            task=test_models.TASKS["BertForMaskedLM"],
        ),
    ),
    mutation(
        "a frozen table learns from the head",
        Place(Views, "without"),
        frozen_table_learns,
        gradients("BertForMaskedLM, frozen embeddings"),
    ),
    mutation(
        "a head overwrites its gradients",
        Place(PooledClassifierHead, "backward"),
        head_overwrites_its_gradients,
        gradients("BertForSequenceClassification"),
    ),
    mutation(
        "a bias that decays",
        Place(Linear, "specs"),
        decaying_bias,
        example(test_adamw.test_spans_decay_all_but_biases_and_norms),
    ),
]  # fmt: skip

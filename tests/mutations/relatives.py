"""Bugs in BERT's relatives: positions, the relative bias, and what each left out."""

import numpy as np

from minibert.functional.relative import relative_buckets
from minibert.layers import Encoder, RelativeBias
from minibert.layers.word_embeddings import after_padding
from minibert.models.families import mpnet, roberta
from minibert.models.families.albert import AlbertBased, AlbertConfig, AlbertForPreTraining
from minibert.models.families.distilbert import DistilBertBased
from minibert.models.families.electra import ElectraForPreTraining
from minibert.models.families.relative import Relative
from minibert.models.families.roberta import RobertaForMaskedLM
from minibert.models.inputs import match_classes
from minibert.specs import ParameterSpec, at_depth, merged, prefixed
from tests.models import test_albert
from tests.models import test_relatives as tests
from tests.mutations.checks import example, gradients
from tests.mutations.mutation import Everywhere, Place, mutation


def from_zero(padding, ids, types):
    """Number the tokens from 0 on, as BERT does."""
    return after_padding(padding, ids, types) * (ids != padding) - (padding + 1) * (ids != padding)


def every_token(padding, ids, types):
    """Give padding inside a text a position."""
    return padding + 1 + np.arange(ids.shape[1])


def before_the_token(padding, ids, types):
    """Leave out the token itself when the tokens up to it are counted."""
    return after_padding(padding, ids, types) - (ids != padding)


def activation_of_the_encoder(self, **parts):
    """Make the head of BERT."""
    super(RobertaForMaskedLM, self).build(**parts)


def padding_counts(self, batch, labels):
    """Count the labels of padding."""
    return match_classes("labels", labels, batch.input_ids.shape, 2)


def keys_minus_queries_reversed(length):
    """Read the bias of a distance in the other direction."""
    return relative_buckets(length).T


def first_tokens(self, site):
    """Take trimmed queries as the first tokens."""
    rows = site.tables if site.rows is None else site.tables[: site.rows.shape[1]]
    return rows.swapaxes(0, 1)[None]


def last_layer_alone(self, dscores, site, dtables):
    """Assign the gradient of each layer instead of adding it."""
    dtables[...] = 0
    RIGHT_BACKWARD(self, dscores, site, dtables)


def each_position_once(self, dscores, site, dtables):
    """Assign the gradients of trimmed queries, of which some are the same token."""
    if site.rows is None:
        return RIGHT_BACKWARD(self, dscores, site, dtables)
    for own, rows in zip(dscores.swapaxes(1, 2), site.rows, strict=True):
        dtables[rows] = own
    return None


def each_use_alone(self, dx, cache, params, grads):
    """Assign the gradient of each use of a block instead of adding it."""
    for i in reversed(range(len(self.blocks))):
        own = grads.scope(self.scopes[i])
        for name, spec in self.blocks[i].specs().items():
            if isinstance(spec, ParameterSpec):
                own[name][...] = 0
        dx = self.blocks[i].backward(dx, cache.blocks[i], params.scope(self.scopes[i]), own, None)
    return dx


def first_depths(self):
    """Give a shared block the depth of its first use."""
    parts = {}
    for depth, (scope, block) in enumerate(zip(self.scopes, self.blocks, strict=True), 1):
        parts.setdefault(scope, at_depth(prefixed(scope, block.specs()), depth))
    return merged(self, *parts.values())


def only_where_widths_differ(self):
    """Leave out the projection if E is D, as ELECTRA does."""
    embeddings = RIGHT_EMBEDDINGS(self)
    if self.config.embedding_size == self.config.hidden_size:
        embeddings.project = None
    return embeddings


def without_dropout_of_pairs(self, **parts):
    """Make BERT's head of pairs, which has no dropout."""
    super(AlbertForPreTraining, self).build(**parts)


RIGHT_BACKWARD = RelativeBias.scores_backward
RIGHT_EMBEDDINGS = AlbertBased.make_embeddings
LATER = example(tests.test_roberta_is_a_bert_whose_positions_begin_later, family="roberta")
COUNT = example(
    tests.test_positions_count_the_ids_that_are_not_padding_whatever_the_mask_says, family="mpnet"
)
BIAS = example(tests.test_attention_weights_of_an_mpnet_are_multiplied_by_exp_of_the_bias)
TRIMMED = example(
    tests.test_loss_of_training_equals_that_of_a_call, family="mpnet", use="ForMaskedLM"
)
RELATIVE = "Encoder, all rows, relative bias, masked, dropout"

MUTATIONS = [
    mutation(
        "positions of a RoBERTa begin at 0", Place(roberta, "after_padding"), from_zero, LATER
    ),
    mutation(
        "positions of a RoBERTa begin at the padding id",
        Place(roberta, "after_padding"),
        before_the_token,
        LATER,
    ),
    mutation(
        "a padding id inside a text takes a position",
        Place(mpnet, "after_padding"),
        every_token,
        COUNT,
    ),
    mutation(
        "the masked-LM head of a RoBERTa has the encoder's activation",
        Place(RobertaForMaskedLM, "build"),
        activation_of_the_encoder,
        example(
            tests.test_the_masked_lm_head_has_exact_gelu_whatever_the_encoder_has, family="roberta"
        ),
    ),
    mutation(
        "a DistilBERT has dropout after attention",
        Place(DistilBertBased, "make_block"),
        lambda self: Relative.make_block(self),
        example(tests.test_distilbert_has_no_dropout_after_attention),
    ),
    mutation(
        "padding counts in the loss of replaced tokens",
        Place(ElectraForPreTraining, "match"),
        padding_counts,
        example(tests.test_padding_does_not_count_for_the_discriminator),
    ),
    mutation(
        "the relative bias of the opposite distance",
        Everywhere(relative_buckets),
        keys_minus_queries_reversed,
        BIAS,
    ),
    mutation(
        "trimmed queries have the bias of the first tokens",
        Place(RelativeBias, "scores"),
        first_tokens,
        TRIMMED,
    ),
    mutation(
        "the relative bias learns from one layer alone",
        Place(RelativeBias, "scores_backward"),
        last_layer_alone,
        gradients(RELATIVE),
    ),
    mutation(
        "the relative bias learns from each trimmed query once",
        Place(RelativeBias, "scores_backward"),
        each_position_once,
        gradients("RelativeBias, some rows, masked, dropout"),
    ),
    mutation(
        "a shared block learns from its lowest use alone",
        Place(Encoder, "backward"),
        each_use_alone,
        example(
            test_albert.test_gradient_of_a_shared_weight_is_the_sum_over_its_uses,
            changes={},
            recomputed=False,
        ),
    ),
    mutation(
        "a shared block has the rate of its first use",
        Place(Encoder, "specs"),
        first_depths,
        example(test_albert.test_a_shared_layer_has_the_rate_of_its_last_use),
    ),
    mutation(
        "the layers of an ALBERT take turns among the groups",
        Place(AlbertConfig, "groups"),
        lambda self: [i % self.num_hidden_groups for i in range(self.num_hidden_layers)],
        example(test_albert.test_groups_are_consecutive_of_similar_size_and_all_used),
    ),
    mutation(
        "an ALBERT has dropout after the feed-forward sublayer",
        Place(AlbertBased, "make_block"),
        lambda self: Relative.make_block(self),
        example(test_albert.test_an_albert_has_no_dropout_after_the_feed_forward_sublayer),
    ),
    mutation(
        "an ALBERT has no projection where E is D",
        Place(AlbertBased, "make_embeddings"),
        only_where_widths_differ,
        example(
            test_albert.test_an_albert_whose_layers_are_all_their_own_is_a_bert_after_its_projection
        ),
    ),
    mutation(
        "an ALBERT's head of pairs has no dropout",
        Place(AlbertForPreTraining, "build"),
        without_dropout_of_pairs,
        example(test_albert.test_heads_drop_units_at_the_rate_of_a_classifier),
    ),
]

"""Bugs in DeBERTa's attention: distances, scale, padding, and the shared table's gradient."""

import numpy as np

from minibert.functional.families import disentangled as functions
from minibert.functional.families.disentangled import log_buckets
from minibert.layers.families import disentangled as layers
from minibert.layers.families.disentangled import DisentangledAttention, RelativeEmbeddings
from minibert.models.families.deberta_v2 import DebertaV2Based
from minibert.models.families.relative import Relative
from tests.models import test_deberta as tests
from tests.mutations.checks import example, gradients
from tests.mutations.mutation import Everywhere, Place, mutation

RIGHT_INIT = DisentangledAttention.__init__
RIGHT_NUMBERS = RelativeEmbeddings.numbers
RIGHT_POSITIONS = DisentangledAttention._positions_backward
RIGHT_AT_QUERIES_BACKWARD = functions._at_queries_backward


def as_many_terms_as_bert(self, *sizes, factor, **options):
    """Divide the sum of three products by the root for one."""
    RIGHT_INIT(self, *sizes, factor=1, **options)


def directions_exchanged(self, length):
    """Read the row of j - i where i - j is meant."""
    return RIGHT_NUMBERS(self, length)[::-1]


def keys_first(products, rows):
    """Add the scores of keys with distances without the transpose."""
    whole = functions._by_token(products)
    return whole if rows is None else np.take_along_axis(whole, rows[:, None, :, None], axis=2)


def rounded_down(distances, buckets, farthest):
    """Round the bucket of a far distance down, as T5 does."""
    middle = buckets // 2
    n = np.maximum(np.abs(distances), middle).astype(np.float64)
    steps = np.log(n / middle) / np.log((farthest - 1) / middle) * (middle - 1)
    far = np.sign(distances) * (middle + np.floor(steps + 1e-6).astype(np.int64))
    return np.where(np.abs(distances) <= middle, distances, far)


def last_layer_alone(self, dat, caches, params, grads, drows):
    """Assign the gradient of each layer instead of adding it."""
    if drows is not None:
        drows[...] = 0
    RIGHT_POSITIONS(self, dat, caches, params, grads, drows)


def each_query_once(dscores, rows, length):
    """Assign the gradients of trimmed queries, of which some are the same token."""
    if rows is None:
        return RIGHT_AT_QUERIES_BACKWARD(dscores, rows, length)
    b, K, _, S = dscores.shape
    whole = np.zeros((b, K, length, S), dscores.dtype)
    np.put_along_axis(whole, rows[:, None, :, None], dscores, axis=2)
    return RIGHT_AT_QUERIES_BACKWARD(whole, None, length)


def without_the_norm(self, dtables, tables, params, grads):
    """Add the gradient of the normalized rows to the table."""
    grads[self.weight][tables.first : tables.first + len(dtables)] += dtables


FORMULA = example(tests.test_attention_weights_are_those_of_the_formula)
PADDING = example(tests.test_padding_reads_all_tokens_equally_and_begins_as_zero)
BUCKETS = gradients("DisentangledAttention, all rows, buckets, masked, dropout")

MUTATIONS = [
    mutation(
        "three products of a DeBERTa divided by the root for one",
        Place(DisentangledAttention, "__init__"),
        as_many_terms_as_bert,
        FORMULA,
    ),
    mutation(
        "distances of a DeBERTa in the other direction",
        Place(RelativeEmbeddings, "numbers"),
        directions_exchanged,
        FORMULA,
    ),
    mutation(
        "position to content without the transpose",
        Place(functions, "_at_queries"),
        keys_first,
        FORMULA,
    ),
    mutation(
        "far buckets rounded down",
        Everywhere(log_buckets),
        rounded_down,
        example(tests.test_buckets_are_odd_monotone_and_the_formula_in_places),
    ),
    mutation(
        "the table of distances learns from one layer alone",
        Place(DisentangledAttention, "_positions_backward"),
        last_layer_alone,
        gradients("DisentangledEncoder, all rows, buckets, masked, dropout"),
    ),
    mutation(
        "position to content learns from each trimmed query once",
        Place(functions, "_at_queries_backward"),
        each_query_once,
        gradients("disentangled, some rows"),
    ),
    mutation(
        "the table of distances learns without its norm",
        Place(RelativeEmbeddings, "backward"),
        without_the_norm,
        BUCKETS,
    ),
    mutation(
        "the rows of distances learn without their dropout",
        Place(layers, "dropout_backward"),
        lambda dout, mask: dout,
        BUCKETS,
    ),
    mutation(
        "padding of a DeBERTa reads the tokens alone, as in BERT",
        Place(layers, "_visible"),
        lambda site: (site.mask, None),
        PADDING,
    ),
    mutation(
        "padding of a DeBERTa is embedded",
        Place(layers, "_tokens"),
        lambda mask: mask[:, 0, 0, :, None] <= 0,
        PADDING,
    ),
    mutation(
        "fewer positions of a DeBERTa move its buckets",
        Place(DebertaV2Based, "_resize"),
        lambda self, **sizes: super(Relative, self)._resize(**sizes),
        example(tests.test_fewer_positions_keep_the_distances),
    ),
]

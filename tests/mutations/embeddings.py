"""Bugs in pooling, in the losses on vectors, and in their objective."""

import numpy as np

from minibert.models.pooling import (
    mean_pooling_forward,
    normalize_backward,
)
from minibert.objectives.embedding_losses import (
    contrastive_backward,
    positives_of,
    ranking_backward,
    triplet_backward,
)
from minibert.objectives.embeddings import SentenceVectors, _sum_by_text, wrong_negatives
from tests.models import test_sentence
from tests.mutations.checks import example, gradients
from tests.mutations.mutation import Everywhere, Place, mutation
from tests.objectives import test_embedding_losses, test_embeddings

RIGHT_LOSS_AND_GRADS = SentenceVectors.loss_and_grads


def component_along_the_vector_kept(dout, cache):
    return (dout / np.maximum(cache.lengths, 1e-12)).astype(dout.dtype)


def padding_pooled(x, mask):
    return mean_pooling_forward(x, np.ones_like(mask))


def temperature_left_out(cache):
    return ranking_backward(cache._replace(scale=1 / len(cache.shares)))


def candidates_without_gradient(cache):
    danchors, dcandidates = ranking_backward(cache)
    return danchors, np.zeros_like(dcandidates)


def inactive_triplets_too(cache):
    return triplet_backward(cache._replace(active=np.full_like(cache.active, cache.active.max())))


def one_side_of_each_score(cache):
    return normalize_backward(cache.dscores @ cache.vectors.unit, cache.vectors)


def own_text_is_a_positive(labels):
    return positives_of(labels) | (np.eye(len(labels)) == 1)


def equal_texts_as_negatives(comparison):
    return np.zeros_like(wrong_negatives(comparison))


def last_gradient_of_each_text(vectors, gradients):
    dvectors = np.zeros_like(vectors)
    for places, own in gradients:
        dvectors[places] = own
    return dvectors


def other_dropout_in_the_second_phase(self, shard, extra, rng, grads, denominator):
    other = np.random.default_rng(99)
    return RIGHT_LOSS_AND_GRADS(self, shard, extra, other, grads, denominator)


MUTATIONS = [
    mutation(
        "the gradient of a normalized vector keeps its component along the vector",
        Everywhere(normalize_backward),
        component_along_the_vector_kept,
        gradients("normalize"),
    ),
    mutation(
        "padding pooled",
        Everywhere(mean_pooling_forward),
        padding_pooled,
        example(test_sentence.test_padding_changes_no_vector, pooling="mean"),
    ),
    mutation(
        "the temperature left out of the gradient",
        Everywhere(ranking_backward),
        temperature_left_out,
        gradients("ranking"),
    ),
    mutation(
        "candidates without a gradient",
        Everywhere(ranking_backward),
        candidates_without_gradient,
        gradients("ranking"),
    ),
    mutation(
        "triplets without loss have a gradient",
        Everywhere(triplet_backward),
        inactive_triplets_too,
        gradients("triplet, euclidean, some without loss"),
    ),
    mutation(
        "only one vector of each pair of texts has a gradient",
        Everywhere(contrastive_backward),
        one_side_of_each_score,
        gradients("contrastive"),
    ),
    mutation(
        "a text is a positive of itself",
        Everywhere(positives_of),
        own_text_is_a_positive,
        example(test_embedding_losses.test_contrastive_is_the_mean_over_texts_with_a_positive),
    ),
    mutation(
        "equal texts of a batch are negatives",
        Everywhere(wrong_negatives),
        equal_texts_as_negatives,
        example(
            test_embeddings.test_equal_texts_and_rows_with_equal_labels_are_no_negatives,
        ),
    ),
    mutation(
        "the last gradient of a text that occurs several times",
        Everywhere(_sum_by_text),
        last_gradient_of_each_text,
        example(test_embeddings.test_a_text_in_two_rows_gets_the_sum_of_its_gradients),
    ),
    mutation(
        "other dropout where vectors are recomputed",
        Place(SentenceVectors, "loss_and_grads"),
        other_dropout_in_the_second_phase,
        example(
            test_embeddings.test_neither_threads_nor_recomputation_change_a_bit, name="ranking"
        ),
    ),
]

"""Bugs in replaced-token detection: gradients, labels, the weight, and the samples."""

from functools import partial

import numpy as np

from minibert.functional import IGNORED
from minibert.models.replaced_tokens import TABLES, GeneratorAndDiscriminator
from minibert.objectives import replaced_tokens
from minibert.objectives.replaced_tokens import ReplacedTokens, replace_tokens, sample_categories
from tests.mutations.checks import example
from tests.mutations.mutation import Everywhere, Place, mutation
from tests.objectives import test_replaced_tokens as tests

WORDS = TABLES[0]
RIGHT_GRADIENTS = GeneratorAndDiscriminator.gradients_of
RIGHT_LOSS_AND_GRADS = ReplacedTokens.loss_and_grads
RIGHT_FIND = ReplacedTokens._find


def generator_alone_in_the_tables(self, grads):
    """Leave the discriminator's gradient of the tables out."""
    own, _ = RIGHT_GRADIENTS(self, grads)
    return own, RIGHT_GRADIENTS(self, Apart(grads, grads.zeros_like()))[1]


def discriminator_alone_in_the_tables(self, grads):
    """Leave the generator's gradient of the tables out."""
    _, others = RIGHT_GRADIENTS(self, grads)
    return RIGHT_GRADIENTS(self, Apart(grads, grads.zeros_like()))[0], others


class Apart:
    """Gradients whose tables are not those of the step."""

    def __init__(self, grads, other):
        self.grads, self.other = grads, other

    def scope(self, front):
        return (self.other if front == "shared." else self.grads).scope(front)


def through_the_samples(self, shard, extra, rng, grads, denominator):
    """Let a sample be the mean of all words, by which the generator's logits have a gradient."""
    before = grads["shared." + WORDS].copy()
    loss = RIGHT_LOSS_AND_GRADS(self, shard, extra, rng, grads, denominator)
    dwords = (grads["shared." + WORDS] - before).sum(axis=0)
    grads["generator.cls.predictions.bias"] += self.model.generator.params[WORDS] @ dwords
    return loss


def every_sample_is_replaced(ids, labels, rows, weights, draws):
    replaced, _ = replace_tokens(ids, labels, rows, weights, draws)
    return replaced, (labels != IGNORED).astype(np.int64)


def padding_counted(self, shard):
    batch, labels = shard
    return np.array([self.model.generator.count(labels["labels"]), batch["input_ids"].size])


def without_the_weight(self, batch, is_replaced, rng, grads, denominator):
    return RIGHT_FIND(self, batch, is_replaced, rng, grads, denominator * replaced_tokens.WEIGHT)


def most_probable(weights, draws):
    return weights.argmax(axis=1)


def first_at_the_number(weights, draws):
    """Look in the running sum up to the category before."""
    return np.maximum(sample_categories(weights, draws) - 1, 0)


def draws_of_the_shard(self, shard, extra, rng, grads, denominator):
    """Draw within the shard instead of for each token of the batch."""
    batch, labels = shard
    draws = np.random.default_rng(0).random(labels["draws"].shape)
    shard = batch, {**labels, "draws": draws}
    return RIGHT_LOSS_AND_GRADS(self, shard, extra, rng, grads, denominator)


gradient_of = partial(example, tests.test_the_gradient_of_each_part_is_that_of_the_joint_loss)
LOSS = example(tests.test_the_loss_is_the_generators_plus_fifty_times_the_discriminators)

MUTATIONS = [
    mutation(
        "the tables do not learn from the discriminator",
        Place(GeneratorAndDiscriminator, "gradients_of"),
        generator_alone_in_the_tables,
        gradient_of(front="shared."),
    ),
    mutation(
        "the tables do not learn from the generator",
        Place(GeneratorAndDiscriminator, "gradients_of"),
        discriminator_alone_in_the_tables,
        gradient_of(front="shared."),
    ),
    mutation(
        "the generator learns through its samples",
        Place(ReplacedTokens, "loss_and_grads"),
        through_the_samples,
        gradient_of(front="generator."),
    ),
    mutation(
        "a sample that is the token itself counts as replaced",
        Everywhere(replace_tokens),
        every_sample_is_replaced,
        example(tests.test_a_sample_that_is_the_token_itself_counts_as_original),
    ),
    mutation(
        "padding counts in the loss of both models",
        Place(ReplacedTokens, "count"),
        padding_counted,
        LOSS,
    ),
    mutation(
        "the weight of the discriminator left out",
        Place(ReplacedTokens, "_find"),
        without_the_weight,
        LOSS,
    ),
    mutation(
        "the most probable token instead of a sample",
        Everywhere(sample_categories),
        most_probable,
        example(tests.test_samples_have_the_probabilities_of_the_softmax),
    ),
    mutation(
        "the sample before the right one",
        Everywhere(sample_categories),
        first_at_the_number,
        example(tests.test_samples_are_the_inverse_of_the_distribution_function, size=300, seed=1),
    ),
    mutation(
        "samples drawn within the shard",
        Place(ReplacedTokens, "loss_and_grads"),
        draws_of_the_shard,
        example(tests.test_neither_samples_nor_loss_depend_on_the_number_of_shards),
    ),
]

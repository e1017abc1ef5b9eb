"""Bugs in distillation: soft targets, what counts, hidden states, the student's layers, units."""

import copy
from functools import partial

import numpy as np

from minibert.models.classifier_head import scale_outputs
from minibert.models.pooling import mean_pooling_forward
from minibert.objectives import distillation
from minibert.objectives.distillation import Distilled
from minibert.objectives.distillation_losses import (
    binary_kl_divergence_backward,
    cosine_embedding_backward,
    cosine_embedding_forward,
    kl_divergence_backward,
    kl_divergence_forward,
)
from minibert.objectives.distilled_models import DistilledClassifier, DistilledMaskedLM
from minibert.tasks import RegressionTask
from minibert.training.distillation import evenly_spaced
from tests.models import test_classifier_head
from tests.mutations.checks import example, gradients
from tests.mutations.mutation import Everywhere, Place, mutation
from tests.objectives import test_distillation as tests
from tests.objectives import test_distillation_losses as losses
from tests.training import test_distillation as students

RIGHT_HEAD = Distilled._head


def without_the_square(logits, teacher, temperature, counted=None, denominator=None):
    """Leave the factor T² out."""
    loss, cache = kl_divergence_forward(logits, teacher, temperature, counted, denominator)
    return loss / temperature**2, cache._replace(scale=cache.scale / temperature**2)


def hard_teacher(logits, teacher, temperature, *more):
    """Soften the student alone."""
    return kl_divergence_forward(logits, temperature * teacher, temperature, *more)


def the_other_direction(logits, teacher, *more):
    """Weight the differences by the student's probabilities."""
    loss, _ = kl_divergence_forward(teacher, logits, *more)
    return loss, kl_divergence_forward(logits, teacher, *more)[1]


def both_columns(cache):
    """Differentiate by the logit of no, which is constant, as well."""
    dpairs = kl_divergence_backward(cache)
    return dpairs[..., 0] - dpairs[..., 1]


def padding_compared(x, target, counted=None, denominator=None):
    return cosine_embedding_forward(x, target, None, denominator)


def along_the_vector(cache):
    """Let the length of x change the cosine."""
    return cosine_embedding_backward(cache._replace(cosine=0 * cache.cosine))


def soft_targets_counted_as_labels(self, shard):
    labels = self.model.count(shard[1])
    return np.array([labels, labels, self.tokens(shard)])


def texts_counted_as_labels(self, batch, labels):
    return len(labels)


def every_token(self, attention_mask, labels):
    return attention_mask != 0


def the_students_head(self, *arguments):
    """Let the student's own head read the teacher's hidden states."""
    other = copy.copy(self)
    other.teacher = self.model
    return RIGHT_HEAD(other, *arguments)


def assigned(dread, rows, dx):
    """Overwrite the gradient of the hidden states at the tokens that the head reads."""
    np.put_along_axis(dx, rows[..., None], dread, axis=1)


def padding_in_the_mean(x, mask):
    return mean_pooling_forward(x, np.ones_like(mask))


def the_first_layers(layers, count):
    return list(range(count))


def times_the_deviation(self, model):
    scale_outputs(model, self.std, -self.mean / self.std)


masked_lm = partial(example, tests.test_the_loss_of_a_masked_lm_is_the_weighted_sum_of_its_parts)
ALL, MASKED = masked_lm(soft_tokens="all"), masked_lm(soft_tokens="masked")

MUTATIONS = [
    mutation(
        "the factor of the temperature forgotten", Everywhere(kl_divergence_forward),
        without_the_square, losses.test_a_high_temperature_has_the_limit_of_equal_logits,
    ),
    mutation(
        "the teacher without the temperature", Everywhere(kl_divergence_forward), hard_teacher, ALL,
    ),
    mutation(
        "the divergence of teacher and student exchanged", Everywhere(kl_divergence_forward),
        the_other_direction, ALL,
    ),
    mutation(
        "the gradient of a question counted twice", Everywhere(binary_kl_divergence_backward),
        both_columns, gradients("binary_kl_divergence"),
    ),
    mutation(
        "padding in the cosine of hidden states", Everywhere(cosine_embedding_forward),
        padding_compared, ALL,
    ),
    mutation(
        "the cosine's gradient along the vector", Everywhere(cosine_embedding_backward),
        along_the_vector, gradients("cosine_embedding"),
    ),
    mutation(
        "soft targets divided by the number of labels", Place(Distilled, "count"),
        soft_targets_counted_as_labels, ALL,
    ),
    mutation(
        "several labels divided by the number of texts", Place(DistilledClassifier, "count_soft"),
        texts_counted_as_labels,
        example(tests.test_the_loss_of_a_classifier_is_the_weighted_sum_of_its_parts,
                name="several labels"),
    ),
    mutation(
        "tokens that are not masked imitated too", Place(DistilledMaskedLM, "_has_soft_target"),
        every_token, MASKED,
    ),
    mutation(
        "soft targets from the student's head", Place(Distilled, "_head"), the_students_head, ALL,
    ),
    mutation(
        "the head's gradient assigned", Place(distillation, "gather_backward"), assigned,
        example(tests.test_gradients_are_those_of_the_loss_for_any_number_of_shards,
                name="masked LM, all tokens", entries=0),
    ),
    mutation(
        "padding in the mean that a head reads", Place(distillation, "mean_pooling_forward"),
        padding_in_the_mean,
        example(tests.test_heads_may_read_the_mean_over_the_tokens,
                own="mean", other="mean", hidden_weight=1.0),
    ),
    mutation(
        "the first layers instead of evenly spaced ones", Everywhere(evenly_spaced),
        the_first_layers, students.test_layers_are_evenly_spaced_and_include_both_ends,
    ),
    mutation(
        "a teacher's number multiplied by the deviation", Place(RegressionTask, "normalize_head"),
        times_the_deviation,
        example(test_classifier_head.test_numbers_of_every_family_change_their_unit_and_back,
                family="roberta"),
    ),
]  # fmt: skip

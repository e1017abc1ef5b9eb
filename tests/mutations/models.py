"""Bugs in models: masks, losses, heads, and saved files."""

import numpy as np

from minibert.functional import (
    binary_cross_entropy_forward,
    cross_entropy_forward,
    padding_mask,
)
from minibert.models import (
    BertForMultipleChoice,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    body,
    checkpoints,
    task_model,
)
from minibert.models.bert import BertBased
from minibert.models.heads import SequenceLevelModel
from minibert.models.task_model import BertWithHead
from minibert.models.unit import vocabulary_checksum
from tests.models import test_models, test_pretrained
from tests.mutations.checks import example, gradients, mean_loss_with_class_0
from tests.mutations.mutation import Everywhere, Place, mutation
from tests.training import test_engine, test_finetune

RIGHT_LOSS = BertWithHead.loss_and_grads
RIGHT_CRITERION = BertForPreTraining.criterion_forward
RIGHT_SPAN = BertForQuestionAnswering.head_backward
RIGHT_CHOICE = BertForMultipleChoice.head_backward
RIGHT_DEPTHS = BertBased.depths


def queries_masked(mask, dtype):
    """Mask the scores of padded queries instead of those of padded keys."""
    bias = padding_mask(mask, dtype)
    return None if bias is None else bias.swapaxes(-1, -2)


def inverted_mask(mask, dtype):
    return padding_mask(1 - mask, dtype)


def divided_twice(logits, labels, denominator=None):
    loss, cache = cross_entropy_forward(logits, labels, denominator)
    return loss, cache._replace(scale=cache.scale / (denominator or (labels != -100).sum()))


def class_zero_ignored(logits, labels, denominator=None):
    return cross_entropy_forward(logits, np.where(labels == 0, -100, labels), denominator)


def divided_by_all_positions(logits, labels, denominator=None):
    return cross_entropy_forward(logits, labels, denominator or labels.size)


def gradients_zeroed_first(self, *arguments, grads=None, **options):
    if grads is not None:
        grads.vector[:] = 0
    return RIGHT_LOSS(self, *arguments, grads=grads, **options)


def mean_of_the_shards_means(self, batch, labels, rng=None, *, grads=None, denominator=None):
    return RIGHT_LOSS(self, batch, labels, rng, grads=grads)


def pair_loss_over_the_masked_count(self, logits, targets, denominator=None):
    count = denominator if denominator is not None else [(targets[0] != -100).sum()] * 2
    return RIGHT_CRITERION(self, logits, targets, [count[0], count[0]])


def ignored_labels_counted(logits, labels, denominator=None):
    return binary_cross_entropy_forward(logits, np.maximum(labels, 0), denominator)


def starts_taken_for_ends(self, dlogits, cache, grads):
    return RIGHT_SPAN(self, dlogits[:, ::-1], cache, grads)


def choices_shifted(self, dlogits, cache, grads):
    return RIGHT_CHOICE(self, np.roll(dlogits, 1, axis=1), cache, grads)


def weights_left_out_of_the_count(self, labels):
    return int((np.asarray(labels) != -100).sum())


def last_token_for_the_class(self, batch):
    B, T = batch.input_ids.shape
    return np.full((B, 1), T - 1)


def block_of_one_digit(self):
    return {
        name: 1 + int(name.split(".layer.")[1][0]) if ".layer." in name else depth
        for name, depth in RIGHT_DEPTHS(self).items()
    }


def any_two_saves(folder, fields, saves):
    return vocabulary_checksum(folder)


LOSS = Place(task_model, "cross_entropy_forward")
PADDING = Place(body, "padding_mask")

MUTATIONS = [
    mutation(
        "inverted mask",
        PADDING,
        inverted_mask,
        example(test_models.test_token_ids_at_padding_change_no_bit, seed=0),
    ),
    mutation(
        "padding masked as queries instead of keys",
        PADDING,
        queries_masked,
        example(
            test_models.test_padding_batch_order_and_batch_size_change_rounding_only,
            dtype=np.float64,
            tolerance=1e-13,
        ),
    ),
    mutation(
        "gradient divided by the count twice", LOSS, divided_twice, gradients("BertForMaskedLM")
    ),
    mutation("class 0 ignored", LOSS, class_zero_ignored, mean_loss_with_class_0),
    mutation(
        "loss divided by all positions",
        LOSS,
        divided_by_all_positions,
        example(test_models.test_masked_lm_loss_at_masked_positions_equals_that_at_all_positions),
    ),
    mutation(
        "gradients zeroed instead of added to",
        Place(BertWithHead, "loss_and_grads"),
        gradients_zeroed_first,
        gradients("BertForMaskedLM"),
    ),
    mutation(
        "accumulated gradients are a mean of means",
        Place(BertWithHead, "loss_and_grads"),
        mean_of_the_shards_means,
        example(test_engine.test_step_on_shards_equals_a_step_on_the_batch),
    ),
    mutation(
        "the next-sentence loss divided by the masked count",
        Place(BertForPreTraining, "criterion_forward"),
        pair_loss_over_the_masked_count,
        example(test_models.test_pretraining_loss_is_the_sum_of_both_losses),
    ),
    mutation(
        "ignored labels counted in binary cross-entropy",
        Everywhere(binary_cross_entropy_forward),
        ignored_labels_counted,
        example(test_models.test_multi_label_loss_is_a_mean_of_binary_losses),
    ),
    mutation(
        "start and end logits exchanged in the backward",
        Place(BertForQuestionAnswering, "head_backward"),
        starts_taken_for_ends,
        gradients("BertForQuestionAnswering"),
    ),
    mutation(
        "choices shifted in the backward",
        Place(BertForMultipleChoice, "head_backward"),
        choices_shifted,
        gradients("BertForMultipleChoice"),
    ),
    mutation(
        "class weights left out of the count",
        Place(BertForSequenceClassification, "count"),
        weights_left_out_of_the_count,
        example(test_finetune.test_class_weights_equal_repeated_examples),
    ),
    mutation(
        "the class read from the last token",
        Place(SequenceLevelModel, "rows_read"),
        last_token_for_the_class,
        example(test_models.test_classifier_logits_from_cls_alone_equal_those_from_all_rows),
    ),
    mutation(
        "blocks numbered by their first digit",
        Place(BertBased, "depths"),
        block_of_one_digit,
        example(test_finetune.test_depths_orders_blocks_with_two_digits),
    ),
    mutation(
        "weights and configuration of two saves opened",
        Place(checkpoints, "check_same_save"),
        any_two_saves,
        example(test_pretrained.test_file_of_another_save_is_refused_until_the_field_is_removed),
    ),
]

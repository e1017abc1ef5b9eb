"""The field's real bugs, each put into one function, and the check that must catch it by name.

A mutation that its check lets pass fails the test; so does a check that fails without a mutation.
Which check catches which stands in `benchmarks/results/mutations.md`, written by
`python -m tests.mutations.test_mutations`.
"""

import tempfile
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from minibert import (
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    FeatureExtractor,
    kernels,
)
from minibert.data import corpus as corpus_module
from minibert.data import next_sentence as pairs_module
from minibert.data import rng as rng_module
from minibert.data import token_cache as tokens_module
from minibert.data.corpus import pack
from minibert.data.masking import mask_tokens
from minibert.data.word_alignment import word_windows
from minibert.functional import attention as attention_module
from minibert.functional import embedding as embedding_module
from minibert.functional import loss as loss_module
from minibert.gradcheck import away_from_initial, check_pair
from minibert.layers import attention as attention_layer
from minibert.layers import basic as basic_layer
from minibert.layers import embeddings as embeddings_layer
from minibert.layers import encoder as encoder_layer
from minibert.layers import feed_forward as feed_forward_layer
from minibert.layers import heads as head_layers
from minibert.layers import lean as lean_layer
from minibert.models import base, bert
from minibert.models import heads as heads_module
from minibert.objectives import masked_lm as masked_lm_module
from minibert.optim import adamw as optimizer_module
from minibert.parameters import Parameters
from minibert.tasks import entities as entities_module
from minibert.tasks import metrics as metrics_module
from minibert.tasks import regression as regression_module
from minibert.tasks import tagging as tagging_module
from minibert.testing import cases as proofs
from minibert.testing.cases import functions as functional_proofs
from minibert.testing.cases.examples import BATCH, CONFIG, MASK, MASKED_LABELS, tasks
from minibert.tokenization import Vocabulary
from minibert.training import AdamW, Engine
from minibert.training import early_stopping as best_module
from minibert.training import engine as engine_module
from tests import test_kernels
from tests.conftest import small_tokenizer
from tests.data import test_corpus, test_next_sentence
from tests.data import test_token_cache as test_tokens
from tests.functional import test_functional
from tests.inference import test_features
from tests.layers import test_layers
from tests.models import test_models
from tests.objectives import test_masked_lm
from tests.optim import test_adamw as test_optimizer
from tests.optim import test_schedule
from tests.properties import test_numbers
from tests.tasks import test_metrics
from tests.tokenization import test_vocabulary
from tests.training import test_engine, test_finetune


@cache
def gradients(name):
    """The check `name` of `minibert gradcheck`, built only when it runs: after the mutation.

    A few elements and a direction through all of them are enough to catch what is caught here.
    """

    def gradient_check():
        return next(case for case in proofs.cases() if case.name == name).check(entries=3)

    gradient_check.what = f"gradient check of {name}"
    return gradient_check


def square_attention():
    """Attention with T = R = H, where a forgotten transpose still fits."""
    inputs = {
        n: np.random.default_rng(i).standard_normal((2, 3, 4, 4)) for i, n in enumerate("qkv")
    }
    check_pair(
        lambda q, k, v: attention_module.attention_forward(q, k, v),
        lambda dout, cache, q, k, v: dict(
            zip("qkv", attention_module.attention_backward(dout, cache), strict=True)
        ),
        inputs,
    )


def masking():
    """The shares and the specials of `mask_tokens`."""
    from tests.data import test_masking

    test_masking.test_mask_tokens_replaces_80_10_10_per_cent_of_targets()
    test_masking.test_mask_tokens_chooses_the_exact_number_of_ordinary_tokens()


def engine_parts():
    """A step on shards is a step on the batch."""
    from tests.training import test_engine

    test_engine.test_step_on_shards_equals_a_step_on_the_batch()


# Each mutation: where the function is looked up, its name, and the wrong one.
def key_gradient_without_transpose(dout, cache):
    dquery, _, dvalue = RIGHT_ATTENTION(dout, cache)
    weights, _, _, query, _, value = cache
    dscores = attention_module.softmax_backward(dout @ value.swapaxes(-1, -2), weights)
    return dquery, dscores @ query / np.sqrt(query.shape[-1]), dvalue


RIGHT_ATTENTION = attention_module.attention_backward


def norm_weight_outside_the_mean(dout, cache, weight, dweight, dbias):
    normed, inv_std = cache
    dbias += dout.sum(axis=0)
    dweight += (dout * normed).sum(axis=0)
    mean = dout.mean(-1, keepdims=True)
    along = normed * (dout * normed).mean(-1, keepdims=True)
    return inv_std * weight * (dout - mean - along)


def last_of_repeated_ids(dout, ids, dtable):
    dtable[ids.reshape(-1)] += dout.reshape(-1, dout.shape[-1])


def divided_twice(logits, labels, denominator=None):
    loss, dlogits = loss_module.cross_entropy_forward(logits, labels, denominator)
    return loss, dlogits / (denominator or (labels != -100).sum())


def class_zero_ignored(logits, labels, denominator=None):
    return loss_module.cross_entropy_forward(
        logits, np.where(labels == 0, -100, labels), denominator
    )


def divided_by_all_places(logits, labels, denominator=None):
    return loss_module.cross_entropy_forward(logits, labels, denominator or labels.size)


def inverted_mask(mask, dtype):
    return attention_module.padding_bias(1 - mask, dtype)


def tied_table_overwritten(dout, x, weight, dweight, dbias):
    dbias += dout.sum(axis=0)
    dweight[...] = dout.T @ x
    return dout @ weight


RIGHT_LOSS = base.Model.loss_and_grads
RIGHT_HEAD = heads_module.BertForSequenceClassification.head_backward


def gradients_zeroed_first(self, *arguments, grads=None, **options):
    if grads is not None:
        grads.vector[:] = 0
    return RIGHT_LOSS(self, *arguments, grads=grads, **options)


def head_overwrites_its_gradients(self, dlogits, cache, grads):
    grads.scope("classifier.").vector[:] = 0
    return RIGHT_HEAD(self, dlogits, cache, grads)


def same_mask_everywhere(x, rate, rng):
    return attention_module.dropout_forward(
        x, rate, None if rng is None else np.random.default_rng(0)
    )


def dropout_without_scale(x, rate, rng):
    out, mask = attention_module.dropout_forward(x, rate, rng)
    return (out, None) if mask is None else (x * mask[0], (mask[0], 1.0))


def dropout_backward_with_another_mask(dout, mask):
    return dout if mask is None else dout * np.roll(mask[0], 1) * mask[1]


def slope_of_the_output(dout, slope):
    return dout * slope**2


def softmax_without_the_mean(dweights, weights):
    return dweights * weights


def unscaled_scores(query, key, value, bias=None, rate=0.0, rng=None):
    return attention_module.attention_forward(query * 2, key, value, bias, rate, rng)


def rows_not_added(drows, rows, dx):
    for i, chosen in enumerate(rows):
        dx[i, chosen] = drows[i]


def no_clipping(gradient, longest):
    return float(np.linalg.norm(gradient)), 1.0


def unmerged(query, key, value, bias=None, rate=0.0, rng=None):
    """Heads such that `heads.transpose(0, 2, 1, 3).reshape(B, R, D)` is `heads.reshape(B, R, D)`.

    That is how it comes out if the transpose is forgotten.
    """
    heads, cache = attention_module.attention_forward(query, key, value, bias, rate, rng)
    B, K, R, H = heads.shape
    return heads.reshape(B, R, K, H).transpose(0, 2, 1, 3), cache


def unmerged_backward(dheads, cache):
    """The right gradient of the wrong forward above."""
    B, K, R, H = dheads.shape
    return RIGHT_ATTENTION(dheads.transpose(0, 2, 1, 3).reshape(B, K, R, H), cache)


def unbiased_variance(x, weight, bias, eps):
    width = x.shape[-1]
    centred = x - x.mean(axis=-1, keepdims=True)
    inv_std = 1 / np.sqrt((centred**2).sum(axis=-1, keepdims=True) / (width - 1) + eps)
    return centred * inv_std * weight + bias, (centred * inv_std, inv_std)


def eps_outside_the_root(x, weight, bias, eps):
    centred = x - x.mean(axis=-1, keepdims=True)
    inv_std = 1 / (np.sqrt((centred**2).mean(axis=-1, keepdims=True)) + eps)
    return centred * inv_std * weight + bias, (centred * inv_std, inv_std)


def skip_connection_forgotten(self, dout, cache, params, grads):
    """The block adds what came in; without it, only the path through the sublayer is left."""
    return RIGHT_FEED_FORWARD(self, dout, cache, params, grads) - dout


RIGHT_FEED_FORWARD = feed_forward_layer.FeedForward.backward


def padding_asks_no_questions(mask, dtype):
    """Hides the padded rows that ask, instead of those that answer."""
    bias = attention_module.padding_bias(mask, dtype)
    return None if bias is None else bias.swapaxes(-1, -2)


def last_row_for_the_class(self, batch):
    B, T = batch.input_ids.shape
    return np.full((B, 1), T - 1)


def one_position_too_far(self, params, length, dtype):
    return params["position_embeddings.weight"][1 : length + 1]


def bias_of_the_mean(dout, x, weight, dweight, dbias):
    dbias += dout.mean(axis=0)
    dweight += dout.T @ x
    return dout @ weight


def distinct_masks():
    """The two hidden dropouts of a block must not fall on the same units."""
    model = BertModel(CONFIG, params=away_from_initial(Parameters(BertModel(CONFIG).shapes())))
    _, caches = model.bert.forward(model.params, model.check(**BATCH), np.random.default_rng(0))
    attention_mask, feed_forward_mask = caches[1][0][-1], caches[1][2][-1]
    assert (attention_mask[0] != feed_forward_mask[0]).any()


def clips():
    model = BertForMaskedLM(CONFIG, params=away_from_initial(
        Parameters(BertForMaskedLM(CONFIG).shapes())))  # fmt: skip
    adam = AdamW(model.params, betas=(0.0, 0.999))
    norm = Engine(model, adam, clip=0.01).step([(BATCH, MASKED_LABELS)], 1e-9).norm
    assert norm > 0.01
    assert np.linalg.norm(adam.first) == pytest.approx(0.01, rel=1e-6)


def special_noise(ids, special_ids, mask_id, vocab_size, rng, share=0.15):
    shown, labels = mask_tokens(ids, special_ids, mask_id, vocab_size, rng, share)
    noise = (labels != -100) & (shown != mask_id) & (shown != ids)
    return np.where(noise, rng.integers(0, vocab_size, ids.shape), shown), labels


def two_draws(ids, special_ids, mask_id, vocab_size, rng, share=0.15):
    """80 % masked by one draw, and 10 % noise of all by another."""
    shown, labels = mask_tokens(ids, special_ids, mask_id, vocab_size, rng, share)
    noise = (labels != -100) & (rng.random(ids.shape) < 0.1)
    return np.where(noise, rng.integers(5, vocab_size, ids.shape), shown), labels


def pair_loss_over_the_masked_count(self, logits, targets, denominator=None):
    count = denominator if denominator is not None else [(targets[0] != -100).sum()] * 2
    return RIGHT_CRITERION(self, logits, targets, [count[0], count[0]])


RIGHT_CRITERION = heads_module.BertForPreTraining.criterion_forward


def mean_over_padding_too(self, x, mask):
    return x.mean(axis=1)


def residual_forgotten(x, bias, residual, weight, shift, eps):
    return kernels.add_and_normalise(x, bias, np.zeros_like(residual), weight, shift, eps)


def questions_that_all_count(logits, labels, denominator=None):
    return loss_module.binary_cross_entropy_forward(logits, np.maximum(labels, 0), denominator)


def starts_taken_for_ends(self, dlogits, cache, grads):
    return RIGHT_SPAN(self, dlogits[:, ::-1], cache, grads)


RIGHT_SPAN = heads_module.BertForQuestionAnswering.head_backward


def first_choice_for_all(self, dlogits, cache, grads):
    return RIGHT_CHOICE(self, np.roll(dlogits, 1, axis=1), cache, grads)


RIGHT_CHOICE = heads_module.BertForMultipleChoice.head_backward


def recomputed_with_other_dropout(self, params, cache):
    x, bias, before, rows = cache
    other = None if before is None else np.random.default_rng(99)
    return encoder_layer.EncoderBlock.forward(self, params, x, bias, other, rows)[1]


def query_left_out(dheads, x, roles, params, grads):
    dheads = tuple(d * (role != "query") for d, role in zip(dheads, roles, strict=True))
    return RIGHT_HEADS(dheads, x, roles, params, grads)


RIGHT_HEADS = attention_layer.heads_backward


def weights_left_out_of_the_count(self, labels):
    return int((np.asarray(labels) != -100).sum())


def frozen_spans_too(params, rates):
    return RIGHT_SPANS(params, {name: rate or 1.0 for name, rate in rates.items()})


RIGHT_SPANS = optimizer_module.spans


def first_of_equal_scores(self, step, score):
    better = self.score is None or score > self.score
    if better:
        self.step, self.score = step, score
    self.evals_since_best = 0 if better else self.evals_since_best + 1
    return better


def neighbours_joined(tags):
    return entities_module.find_entities([tag.replace("B-", "I-") for tag in tags])


def never_denormalized(self, model):
    return type(self)(self.names)


def maximum_of_all_rows(scores, bias=None):
    weights = scores + (0 if bias is None else bias)
    weights = np.exp(weights - max(weights.max(), np.finfo(weights.dtype).min))
    total = weights.sum(axis=-1, keepdims=True)
    return weights / np.where(total == 0, 1, total), weights


def norm_of_squares_that_vanish(gradient, longest):
    norm = float(np.sqrt(np.dot(gradient, gradient)))
    return norm, min(1.0, longest / norm) if norm > 0 else 1.0


def slope_without_the_density(x):
    out, _ = functional_proofs.f.gelu_forward(x)
    return out, out / x


def tanh_slope_of_the_value(dout, out):
    return dout * (1 - out)


def half_of_the_square(cache):
    return loss_module.squared_error_backward(cache) / 2


def unweighted_gradient(logits, labels, denominator=None, weights=None):
    loss, dlogits = loss_module.cross_entropy_forward(logits, labels, denominator, weights)
    if weights is not None:
        dlogits = dlogits / weights[np.maximum(labels, 0)][:, None]
    return loss, dlogits


def mean_of_the_shards_means(self, batch, labels, rng=None, *, grads=None, denominator=None):
    return RIGHT_LOSS(self, batch, labels, rng, grads=grads)


def all_of_it_decays(params, rates):
    return [(span, True, rate) for span, _, rate in RIGHT_SPANS(params, rates)]


def moments_as_they_start(self, gradient, scale, place):
    step, self.step = self.step, 10**9
    RIGHT_UPDATE(self, gradient, scale, place)
    self.step = step


RIGHT_UPDATE = optimizer_module.AdamW._update


def no_warm_up(step, total, warmup, peak):
    return RIGHT_SCHEDULE(step, total, 0, peak)


RIGHT_SCHEDULE = test_schedule.linear_schedule


def cosines_first(length, width):
    table = RIGHT_SINUSOIDS(length, width)
    return np.stack([table[:, 1::2], table[:, ::2]], axis=-1).reshape(table.shape)


RIGHT_SINUSOIDS = embedding_module.sinusoidal_positions


def shortest_first(self, word):
    pieces, start = [], 0
    while start < len(word):
        for stop in range(start + 1, len(word) + 1):
            if (self.prefix if start else "") + word[start:stop] in self.ids:
                break
        else:
            return None
        pieces.append((start, stop))
        start = stop
    return pieces


def frozen_table_learns(self, dlogits, cache, params, grads):
    self.frozen_table = False
    return RIGHT_VOCABULARY(self, dlogits, cache, params, grads)


RIGHT_VOCABULARY = head_layers.VocabularyScores.backward


def kept_rows_left_as_they_are(x, rate, rng):
    out, mask = attention_module.dropout_forward(x, rate, rng)
    return (x, mask) if mask is not None else (out, mask)


def segments_forgotten(dout, ids, dtable):
    if len(dtable) > CONFIG.type_vocab_size:
        RIGHT_EMBEDDING(dout, ids, dtable)


RIGHT_EMBEDDING = embedding_module.embedding_backward


def twice_the_residual(self, dout, cache, params, grads):
    return RIGHT_FEED_FORWARD(self, dout, cache, params, grads) + dout


RIGHT_GENERATOR = rng_module.generator


def one_dropout_for_all_shards(seed, purpose, *numbers):
    return RIGHT_GENERATOR(seed, purpose, numbers[0], 0)


def masked_alike_at_each_step(seed, purpose, step):
    return RIGHT_GENERATOR(seed, purpose, 0 if purpose == "masking" else step)


def hidden_anew():
    """Each step hides other tokens."""
    tokenizer = small_tokenizer()
    rows = pack([["the cat sat on the mat ."] * 3], tokenizer, 16)
    test_masked_lm.test_shards_mask_other_tokens_for_each_step_and_seed(tokenizer, (rows, None))


def never_another_text(rows, numbers, tokenizer, rng):
    own = SimpleNamespace(integers=lambda *_: numbers, random=rng.random)
    return RIGHT_PAIRS(rows, numbers, tokenizer, own)


RIGHT_PAIRS = pairs_module.next_sentence_pairs


def first_words_again(tokenizer, words, longest):
    return (
        (encoding, 0, places) for encoding, _, places in word_windows(tokenizer, words, longest)
    )


def attention_in_pieces():
    """Attention in pieces is the plain one, with as many sequences as make a shorter last piece."""
    with pytest.MonkeyPatch.context() as patch:
        test_kernels.test_attention_in_pieces_is_the_plain_one(2, False, 0.0, np.float64, patch)


def last_piece_left_out(count, size):
    step = max(kernels.ATTENTION // size, 1)
    return [slice(start, start + step) for start in range(0, count - step + 1, step)]


def block_of_one_digit(self):
    depths = RIGHT_DEPTHS(self)
    return {name: 1 + int(name.split(".layer.")[1][0]) if ".layer." in name else depth
            for name, depth in depths.items()}  # fmt: skip


RIGHT_DEPTHS = bert.BertBased.depths


def mean_of_all_kinds(self):
    return float(metrics_module.f1(self.true_positives, self.predicted, self.actual).mean())


def held_out_files_left_out_of_the_key(texts, others, share, tokenizer):
    return RIGHT_KEY(texts, [], share, tokenizer)


RIGHT_KEY = tokens_module._key


def other_files():
    """The same bytes in other files are another corpus."""
    with tempfile.TemporaryDirectory() as folder:
        test_tokens.test_the_same_bytes_in_other_files_are_another_corpus(
            small_tokenizer(), Path(folder)
        )


def separator_after_the_padding(self, numbers):
    rows = RIGHT_ROWS(self, numbers)
    for row in rows[rows[:, -1] == self.tokenizer.pad_token_id]:
        row[np.flatnonzero(row != self.tokenizer.pad_token_id)[-1]] = self.tokenizer.pad_token_id
    rows[:, -1] = self.tokenizer.sep_token_id
    return rows


RIGHT_ROWS = corpus_module.PackedSequences.__getitem__


MUTATIONS = {
    "one dropout for all shards": (
        engine_module, "generator", one_dropout_for_all_shards,
        test_engine.test_step_draws_other_dropout_for_each_shard_step_and_seed),
    "the same tokens hidden at each step": (
        masked_lm_module, "generator", masked_alike_at_each_step, hidden_anew),
    "no second segment from another text": (
        test_next_sentence, "next_sentence_pairs", never_another_text,
        test_next_sentence.test_next_sentence_pairs_follow_in_half_of_the_cases),
    "each window tagged like the first": (
        tagging_module, "word_windows", first_words_again,
        lambda: test_finetune.test_tokenize_examples_labels_the_first_token_of_each_word(
            small_tokenizer())),
    "the last piece left out": (
        kernels, "_sequences", last_piece_left_out, attention_in_pieces),
    "blocks known by their first digit": (
        bert.BertBased, "depths", block_of_one_digit,
        lambda: test_finetune.test_depths_orders_blocks_with_two_digits(small_tokenizer())),
    "absent kinds in the mean F1": (
        metrics_module.F1Metrics, "macro_f1", property(mean_of_all_kinds),
        test_metrics.test_macro_f1_leaves_out_names_without_label_and_prediction),
    "tokens kept though other files are held out": (
        tokens_module, "_key", held_out_files_left_out_of_the_key, other_files),
    "[SEP] after the padding": (
        corpus_module.PackedSequences, "__getitem__", separator_after_the_padding,
        # One example: Hypothesis would take half a minute to find the smallest that fails.
        lambda: test_corpus.test_pack_keeps_all_tokens_in_order.hypothesis.inner_test(
            small_tokenizer(), [["the cat sat"]], 9)),
    "softmax's maximum taken over all rows": (
        test_numbers.f, "softmax_forward", maximum_of_all_rows,
        test_numbers.test_each_row_of_a_softmax_is_by_itself),
    "a gradient's norm by squares that vanish": (
        test_numbers, "clip_scale", norm_of_squares_that_vanish,
        lambda: test_numbers.test_gradients_of_any_size_are_clipped_and_applied(1e-30)),
    "GELU's slope without the density": (
        functional_proofs.f, "ACTIVATIONS",
        {**functional_proofs.f.ACTIVATIONS, "gelu": slope_without_the_density}, gradients("gelu")),
    "tanh's slope of the value": (
        functional_proofs.f, "tanh_backward", tanh_slope_of_the_value, gradients("tanh")),
    "half of the squared error's gradient": (
        functional_proofs.f, "squared_error_backward", half_of_the_square,
        gradients("squared_error")),
    "class weights left out of the gradient": (
        functional_proofs.f, "cross_entropy_forward", unweighted_gradient,
        gradients("cross_entropy, class weights")),
    "accumulated gradients are a mean of means": (
        base.Model, "loss_and_grads", mean_of_the_shards_means, engine_parts),
    "biases and norms decay": (
        test_optimizer, "spans", all_of_it_decays,
        test_optimizer.test_spans_decay_all_but_biases_and_norms),
    "moments not corrected for their start": (
        AdamW, "_update", moments_as_they_start,
        test_optimizer.test_update_follows_the_equations),
    "no warm-up": (
        test_schedule, "linear_schedule", no_warm_up,
        test_schedule.test_linear_schedule_rises_and_falls_in_straight_lines),
    "sine and cosine exchanged": (
        test_functional.f, "sinusoidal_positions", cosines_first,
        test_functional.test_sinusoids_are_the_formula),
    "the shortest piece first": (
        Vocabulary, "split_word", shortest_first, test_vocabulary.test_split_word_is_greedy),
    "a frozen table learns from the head": (
        head_layers.VocabularyScores, "backward", frozen_table_learns,
        gradients("BertForMaskedLM, frozen embeddings")),
    "dropout that drops nothing": (
        functional_proofs.f, "dropout_forward", kept_rows_left_as_they_are,
        gradients("dropout, a rate of 0.4")),
    "segments learn nothing": (
        embeddings_layer, "embedding_backward", segments_forgotten,
        gradients("Embeddings, absolute, dropout")),
    "the residual counted twice on the way back": (
        feed_forward_layer.FeedForward, "backward", twice_the_residual,
        gradients("EncoderBlock, all rows")),
    "class weights left out of the count": (
        heads_module.BertForSequenceClassification, "count", weights_left_out_of_the_count,
        lambda: test_finetune.test_class_weights_equal_repeated_examples(small_tokenizer())),
    "frozen layers decay": (
        optimizer_module, "spans", frozen_spans_too,
        lambda: test_finetune.test_freeze_keeps_the_lowest_blocks_and_their_gradients_at_zero(
            small_tokenizer(), 1)),
    "of equal evaluations the first is kept": (
        best_module.BestCheckpoint, "_record", first_of_equal_scores,
        test_finetune.test_best_checkpoint_should_stop_after_patience_evaluations),
    "neighbouring entities joined": (
        test_metrics, "find_entities", neighbours_joined,
        test_metrics.test_find_entities_equals_a_search_word_by_word),
    "numbers left in the model's units": (
        regression_module.RegressionTask, "denormalize_head", never_denormalized,
        lambda: test_finetune.test_fine_tune_does_not_depend_on_the_unit_of_numbers(
            small_tokenizer())),
    "recomputed with another dropout": (
        encoder_layer.RecomputedBlock, "_again", recomputed_with_other_dropout,
        gradients("RecomputedBlock, all rows, masked, dropout")),
    "queries left out of the fused map's gradient": (
        attention_layer, "heads_backward", query_left_out, gradients("EncoderBlock, all rows")),
    "the pair's loss divided by the masked count": (
        heads_module.BertForPreTraining, "criterion_forward", pair_loss_over_the_masked_count,
        test_models.test_pretraining_is_both_of_its_tasks),
    "starts taken for ends": (
        heads_module.BertForQuestionAnswering, "head_backward", starts_taken_for_ends,
        gradients("BertForQuestionAnswering")),
    "choices mixed on the way back": (
        heads_module.BertForMultipleChoice, "head_backward", first_choice_for_all,
        gradients("BertForMultipleChoice")),
    "questions that don't count counted": (
        heads_module, "CRITERIA", {"multi_label_classification": (
            questions_that_all_count, loss_module.binary_cross_entropy_backward)},
        test_models.test_many_labels_are_many_questions),
    "padding in the mean": (
        FeatureExtractor, "_pooled", mean_over_padding_too,
        lambda: test_features.test_each_pooling_equals_pooling_by_hand(small_tokenizer(), "mean")),
    "residual forgotten in predicting": (
        lean_layer, "add_and_normalise", residual_forgotten,
        lambda: test_kernels.test_the_lean_block_is_the_block(None, True)),
    "gradients zeroed instead of added to": (
        base.Model, "loss_and_grads", gradients_zeroed_first, gradients("BertForMaskedLM")),
    "a head overwrites its gradients": (
        heads_module.BertForSequenceClassification, "head_backward", head_overwrites_its_gradients,
        gradients("BertForSequenceClassification")),
    "dK without the transpose": (
        attention_module, "attention_backward", key_gradient_without_transpose, square_attention),
    "layer norm's weight outside the mean": (
        functional_proofs.f, "layer_norm_backward", norm_weight_outside_the_mean,
        gradients("layer_norm, eps 1e-12")),
    "repeated ids keep the last row": (
        embeddings_layer, "embedding_backward", last_of_repeated_ids,
        gradients("Embeddings, absolute, dropout")),
    "rows asked for twice keep the last": (
        encoder_layer, "_add_rows", rows_not_added, gradients("EncoderBlock, some rows")),
    "gradient divided by the count twice": (
        base, "cross_entropy_forward", divided_twice, gradients("BertForMaskedLM")),
    "class 0 ignored": (
        base, "cross_entropy_forward", class_zero_ignored,
        lambda: test_models_loss_is_the_mean()),
    "loss divided by all places": (
        base, "cross_entropy_forward", divided_by_all_places,
        test_models.test_masked_places_alone_give_the_loss_and_gradient_of_all_places),
    "inverted mask": (
        bert, "padding_bias", inverted_mask,
        lambda: test_models.test_the_content_of_padding_changes_no_bit.hypothesis.inner_test(0)),
    "tied table overwritten": (
        head_layers, "linear_backward", tied_table_overwritten,
        lambda: test_models.test_gradients_accumulate(tasks()[0])),
    "one dropout mask for two places": (
        (attention_layer, feed_forward_layer), "dropout_forward", same_mask_everywhere,
        distinct_masks),
    "dropout without its scale": (
        functional_proofs.f, "dropout_forward", dropout_without_scale,
        test_functional.test_dropout_keeps_its_rate_and_the_mean),
    "dropout's backward with another mask": (
        feed_forward_layer, "dropout_backward", dropout_backward_with_another_mask,
        gradients("FeedForward, dropout")),
    "activation's slope squared": (
        feed_forward_layer, "slope_backward", slope_of_the_output,
        gradients("FeedForward, dropout")),
    "softmax without the mean": (
        attention_module, "softmax_backward", softmax_without_the_mean, gradients("attention")),
    "scores scaled otherwise": (
        functional_proofs.f, "attention_forward", unscaled_scores,
        test_functional.test_attention_is_the_formula),
    "heads merged without the transpose": (
        attention_layer, ("attention_forward", "attention_backward"),
        (unmerged, unmerged_backward),
        lambda: test_models.test_without_positions_the_encoder_does_not_know_the_order(True)),
    "unbiased variance": (
        basic_layer, "layer_norm_forward", unbiased_variance,
        lambda: test_layers.test_layer_norm_is_the_formula(1e-12)),
    "eps outside the root": (
        basic_layer, "layer_norm_forward", eps_outside_the_root,
        lambda: test_layers.test_layer_norm_is_the_formula(0.5)),
    "the tanh form under gelu's name": (
        feed_forward_layer, "ACTIVATIONS", {"gelu": functional_proofs.f.gelu_new_forward},
        lambda: test_layers.test_feed_forward_is_the_formula("gelu")),
    "skip connection forgotten on the way back": (
        feed_forward_layer.FeedForward, "backward", skip_connection_forgotten,
        gradients("EncoderBlock, all rows")),
    "padding hidden where it asks": (
        bert, "padding_bias", padding_asks_no_questions,
        lambda: test_models.test_the_content_of_padding_changes_no_bit.hypothesis.inner_test(0)),
    "class read from the last row": (
        BertForSequenceClassification, "rows_read", last_row_for_the_class,
        test_models.test_cls_alone_gives_the_logits_of_all_rows),
    "positions from 1 on": (
        embeddings_layer.Embeddings, "position_rows", one_position_too_far,
        gradients("Embeddings, absolute, dropout")),
    "bias gradient averaged over the rows": (
        basic_layer, "linear_backward", bias_of_the_mean, gradients("Linear")),
    "no clipping": (engine_module, "clip_scale", no_clipping, clips),
    "noise drawn from special tokens": ("tests.data.test_masking", "mask_tokens", special_noise,
                                        masking),
    "80/10/10 by two draws": ("tests.data.test_masking", "mask_tokens", two_draws, masking),
}  # fmt: skip


def test_models_loss_is_the_mean():
    """The loss is the mean of the labels' negative log-probabilities, class 0 included."""
    model = test_models.away(BertForMaskedLM)
    labels = np.where(MASK == 1, 0, -100)
    out = model(**BATCH, labels=labels)
    logits = out.logits[MASK == 1]
    expected = np.log(np.exp(logits).sum(axis=-1)) - logits[:, 0]
    assert out.loss == pytest.approx(expected.mean())


def inject(monkeypatch, place, attribute, wrong):
    for module in place if isinstance(place, tuple) else (place,):
        if isinstance(attribute, tuple):
            for one, value in zip(attribute, wrong, strict=True):
                monkeypatch.setattr(module, one, value)
        elif isinstance(module, str):
            monkeypatch.setattr(f"{module}.{attribute}", wrong)
        else:
            monkeypatch.setattr(module, attribute, wrong)


KEPT = Path(__file__).parents[2] / "benchmarks/results/mutations.md"


def caught_by(check):
    """What a check is called, for the table: itself, or the test that it runs."""
    if hasattr(check, "what"):
        return check.what
    called = [name for name in check.__code__.co_names if name.startswith("test_")]
    return f"`{called[-1]}`" if check.__name__ == "<lambda>" else f"`{check.__name__}`"


def table():
    """Return the mutations as a Markdown table: the bug, the function it is in, what catches it."""
    lines = [
        "# Bugs of the field, and what catches them",
        "",
        "Written by `python -m tests.mutations.test_mutations`; the tests there put each into the",
        "code, and fail if the check beside it passes.",
        "",
        "| bug | put into | caught by |",
        "| --- | --- | --- |",
    ]
    for name, (_, attribute, _, check) in MUTATIONS.items():
        functions = attribute if isinstance(attribute, tuple) else (attribute,)
        where = ", ".join(f"`{function}`" for function in functions)
        lines.append(f"| {name} | {where} | {caught_by(check)} |")
    return "\n".join(lines) + "\n"


def test_the_kept_table_is_that_of_the_mutations():
    assert KEPT.read_text() == table()


@cache
def passes(check):
    """Run a check on the code as it is, once for all the mutations that it catches."""
    check()


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_mutation_is_caught(name, monkeypatch):
    place, attribute, wrong, check = MUTATIONS[name]
    passes(check)
    inject(monkeypatch, place, attribute, wrong)
    with pytest.raises((AssertionError, ExceptionGroup)):
        check()


@pytest.mark.parametrize(
    ("name", "blind"),
    [
        ("heads merged without the transpose", "EncoderBlock, all rows, masked, dropout"),
        ("padding hidden where it asks", "BertModel"),
        ("class read from the last row", "BertForSequenceClassification"),
    ],
)
def test_a_gradient_check_alone_would_not_do(name, blind, monkeypatch):
    """These are wrong forward and backward alike, which is why the properties are tested too."""
    inject(monkeypatch, *MUTATIONS[name][:3])
    rows = gradients(blind)()
    assert rows
    assert all(row.error < 1e-6 for row in rows)


if __name__ == "__main__":
    KEPT.write_text(table())

"""The field's real bugs, each put into one function, and the check that must catch it by name.

A mutation that its check lets pass fails the test; so does a check that fails without a mutation.
"""

import numpy as np
import pytest

from minibert import BertForMaskedLM, BertModel, proofs
from minibert.data.masking import mask_tokens
from minibert.functional import attention as attention_module
from minibert.functional import loss as loss_module
from minibert.layers import attention as attention_layer
from minibert.layers import embeddings as embeddings_layer
from minibert.layers import encoder as encoder_layer
from minibert.layers import feed_forward as feed_forward_layer
from minibert.models import base, bert
from minibert.models import heads as heads_module
from minibert.parameters import Parameters
from minibert.proofs import BATCH, CONFIG, MASK, MASKED_LABELS, away_from_initial
from minibert.training import AdamW, Engine
from minibert.training import engine as engine_module
from tests.models import test_models

CASES = {case.name: case for case in proofs.cases()}


def gradients(name):
    """The check `name` of `minibert gradcheck`."""
    return lambda: CASES[name].check()


def square_attention():
    """Attention with T = R = H, where a forgotten transpose still fits."""
    from minibert.gradcheck import check_pair

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

    test_masking.test_four_in_five_targets_are_hidden_one_in_ten_is_noise_one_in_ten_stays()
    test_masking.test_targets_are_ordinary_tokens_and_their_number_is_exact()


def engine_parts():
    """A step on shards is a step on the batch."""
    from tests.training import test_engine

    test_engine.test_a_step_on_shards_is_a_step_on_the_batch()


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


def divided_twice(cache):
    return loss_module.cross_entropy_backward(cache) / cache[-1]


def class_zero_ignored(logits, labels, denominator=None):
    return loss_module.cross_entropy_forward(
        logits, np.where(labels == 0, -100, labels), denominator
    )


def divided_by_all_places(logits, labels, denominator=None):
    return loss_module.cross_entropy_forward(logits, labels, denominator or len(labels))


def inverted_mask(mask, dtype):
    return attention_module.padding_bias(1 - mask, dtype)


def tied_table_overwritten(dout, x, weight, dweight, dbias):
    dbias += dout.sum(axis=0)
    dweight[...] = dout.T @ x
    return dout @ weight


def same_mask_everywhere(x, rate, rng):
    return attention_module.dropout_forward(
        x, rate, None if rng is None else np.random.default_rng(0)
    )


def dropout_without_scale(x, rate, rng):
    out, mask = attention_module.dropout_forward(x, rate, rng)
    return (out, None) if mask is None else (x * (mask > 0), (mask > 0) * 1.0)


def dropout_backward_with_another_mask(dout, mask):
    return dout if mask is None else dout * np.roll(mask, 1)


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


def heads_stay_unmerged(self, params, asking, x, bias=None, rng=None):
    """Heads joined along the wrong axes: the shapes fit, and the gradient would be consistent."""
    out, cache = RIGHT_FORWARD(self, params, asking, x, bias, rng)
    B, R, D = out.shape
    K, H = self.config.num_attention_heads, self.config.head_width
    # The transpose forgotten: (B, K, R, H) -> (B, R, D) by reshape alone.
    heads = np.ascontiguousarray(out.reshape(B, R, K, H).transpose(0, 2, 1, 3))
    return heads.reshape(B, R, D), cache


RIGHT_FORWARD = attention_layer.SelfAttention.forward


def expected_dropout():
    from tests.functional import test_functional

    test_functional.test_dropout_keeps_its_rate_and_the_mean()


def distinct_masks():
    """The two hidden dropouts of a block must not fall on the same units."""
    model = BertModel(CONFIG, params=away_from_initial(Parameters(BertModel(CONFIG).shapes())))
    _, caches = model.bert.forward(model.params, model.check(**BATCH), np.random.default_rng(0))
    attention_mask, feed_forward_mask = caches[1][0][-1], caches[1][2][-1]
    assert (attention_mask != feed_forward_mask).any()


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


MUTATIONS = {
    "dK without the transpose": (
        attention_module, "attention_backward", key_gradient_without_transpose, square_attention),
    "layer norm's weight outside the mean": (
        proofs.f, "layer_norm_backward", norm_weight_outside_the_mean,
        gradients("layer_norm, eps 1e-12")),
    "repeated ids keep the last row": (
        embeddings_layer, "embedding_backward", last_of_repeated_ids,
        gradients("Embeddings, absolute, dropout")),
    "rows asked for twice keep the last": (
        encoder_layer, "_add_rows", rows_not_added, gradients("EncoderBlock, some rows")),
    "gradient divided by the count twice": (
        base, "cross_entropy_backward", divided_twice, gradients("BertForMaskedLM, gelu")),
    "class 0 ignored": (
        heads_module, "cross_entropy_forward", class_zero_ignored,
        lambda: test_models_loss_is_the_mean()),
    "loss divided by all places": (
        base, "cross_entropy_forward", divided_by_all_places,
        test_models.test_masked_places_alone_give_the_loss_and_gradient_of_all_places),
    "inverted mask": (
        bert, "padding_bias", inverted_mask,
        test_models.test_the_content_of_padding_changes_no_bit),
    "tied table overwritten": (
        heads_module, "linear_backward", tied_table_overwritten,
        test_models.test_gradients_accumulate_and_nothing_given_is_written_to),
    "one dropout mask for two places": (
        (attention_layer, feed_forward_layer), "dropout_forward", same_mask_everywhere,
        distinct_masks),
    "dropout without its scale": (
        proofs.f, "dropout_forward", dropout_without_scale, expected_dropout),
    "dropout's backward with another mask": (
        feed_forward_layer, "dropout_backward", dropout_backward_with_another_mask,
        gradients("FeedForward, dropout")),
    "activation's slope squared": (
        feed_forward_layer, "slope_backward", slope_of_the_output,
        gradients("FeedForward, dropout")),
    "softmax without the mean": (
        attention_module, "softmax_backward", softmax_without_the_mean, gradients("attention")),
    "scores scaled otherwise": (
        proofs.f, "attention_forward", unscaled_scores, lambda: formula()),
    "heads merged without the transpose": (
        attention_layer.SelfAttention, "forward", heads_stay_unmerged,
        test_models.test_without_positions_the_encoder_does_not_know_the_order),
    "no clipping": (engine_module, "clip_scale", no_clipping, clips),
    "noise drawn from special tokens": ("tests.data.test_masking", "mask_tokens", special_noise,
                                        masking),
    "80/10/10 by two draws": ("tests.data.test_masking", "mask_tokens", two_draws, masking),
}  # fmt: skip


def formula():
    from tests.functional import test_functional

    test_functional.test_attention_is_the_formula()


def test_models_loss_is_the_mean():
    """The loss is the mean of the labels' negative log-probabilities, class 0 included."""
    model = test_models.away(BertForMaskedLM)
    labels = np.where(MASK == 1, 0, -100)
    out = model(**BATCH, labels=labels)
    logits = out.logits[MASK == 1]
    expected = np.log(np.exp(logits).sum(axis=-1)) - logits[:, 0]
    assert out.loss == pytest.approx(expected.mean())


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_mutation_is_caught(name, monkeypatch):
    place, attribute, wrong, check = MUTATIONS[name]
    check()
    for module in place if isinstance(place, tuple) else (place,):
        target = f"{module}.{attribute}" if isinstance(module, str) else (module, attribute)
        monkeypatch.setattr(*(target if isinstance(target, tuple) else (target,)), wrong)
    with pytest.raises((AssertionError, ExceptionGroup)):
        check()

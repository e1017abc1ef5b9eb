"""Outputs that are asked for one by one equal those asked for together."""

from itertools import combinations

import numpy as np
import pytest

from minibert import FeatureExtractor
from minibert import models as m
from tests.conftest import small_tokenizer
from tests.laws.reference import Reference
from tests.laws.test_configuration import BASE, KINDS, batch_for, labels_for, made

OPTIONS = ("output_hidden_states", "output_attentions", "labels")
FIELDS = set(m.ModelOutput.__dataclass_fields__)


def plain(model):
    return model


def frozen(model):
    model.freeze(1)
    return model


def recomputed(model):
    model.gradient_checkpointing_enable()
    return model


def called(model, options):
    """Call a model with some of the options; return the fields that are not None."""
    kind, given = type(model), dict.fromkeys(set(options) - {"labels"}, True)
    if "labels" in options:
        labels = labels_for(kind, model.config)
        given |= labels if isinstance(labels, dict) else {"labels": labels}
    out = vars(model(**batch_for(kind), **given))
    assert {*out} == FIELDS
    return {name: value for name, value in out.items() if value is not None}


@pytest.mark.parametrize("wrap", [plain, frozen, recomputed])
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_do_not_depend_on_the_others_that_are_asked_for(kind, wrap):
    model = wrap(made(kind, BASE))
    options = OPTIONS[: 2 + (kind is not m.BertModel)]
    blocks = [*model.bert.encoder.blocks]
    whole = called(model, options)
    decided = {"output_hidden_states": "hidden_states", "output_attentions": "attentions",
               "labels": "loss"}  # fmt: skip
    optional = set(decided.values())
    for count in range(len(options)):
        for chosen in combinations(options, count):
            some = called(model, chosen)
            assert {*some} & optional == {decided[name] for name in chosen}
            assert {*some} - optional == {*whole} - optional
            for name, value in some.items():
                np.testing.assert_allclose(value, whole[name], 1e-10, 1e-12, err_msg=name)
    assert model.bert.encoder.blocks == blocks
    reference = Reference(kind, BASE, model.params, training=False)
    batch = [array.reshape(-1, 7) for array in batch_for(kind).values()]
    states = reference.hidden_states(*batch)
    np.testing.assert_allclose(
        np.reshape(whole["hidden_states"], np.shape(states)), states, 1e-9, 1e-11
    )
    weights = [x for (_, name), x in reference.seen.items() if name == "attention weights"]
    np.testing.assert_allclose(
        np.reshape(whole["attentions"], np.shape(weights)), weights, 1e-9, 1e-11
    )


@pytest.mark.parametrize("kind", KINDS[:3])
def test_hidden_states_by_number_equal_those_of_a_call(kind):
    model = made(kind, BASE)
    whole = called(model, ["output_hidden_states"])["hidden_states"]
    batch = model.check(**batch_for(kind))
    numbers = range(len(whole))
    for count in range(1, len(whole) + 1):
        for chosen in combinations(numbers, count):
            some = model.hidden_states(batch, set(chosen))
            assert {*some} == {*chosen}
            for number, x in some.items():
                np.testing.assert_allclose(x, whole[number], rtol=1e-12, atol=1e-13)
    last = model.hidden_states(batch, {numbers[-1]}, np.array([[2, 0]] * 3))[numbers[-1]]
    np.testing.assert_allclose(last, whole[-1][:, [2, 0]], rtol=1e-10, atol=1e-12)


TEXTS = ["the cat sat on a mat", "a dog", "red and big and red"]


@pytest.fixture(scope="module")
def body():
    config = {**vars(BASE), "vocab_size": len(small_tokenizer()), "pad_token_id": 0}
    return made(m.BertModel, m.BertConfig(**config)), small_tokenizer()


def test_vectors_of_one_layer_equal_those_of_several(body):
    """And those of one text those of all."""
    for pooling in ("mean", "cls"):
        options = {"pooling": pooling, "max_length": 6}
        single = [FeatureExtractor(*body, layers=i, **options)(TEXTS) for i in range(3)]
        for chosen in ([2, 0, 1], [-1, -3]):
            parts = [single[i] for i in chosen]
            joined = FeatureExtractor(*body, layers=chosen, **options)
            np.testing.assert_allclose(joined(TEXTS), np.concatenate(parts, axis=1), rtol=1e-10)
            assert joined.width == joined(TEXTS).shape[1]
            summed = FeatureExtractor(*body, layers=chosen, combine="sum", **options)(TEXTS)
            np.testing.assert_allclose(summed, np.sum(parts, axis=0), rtol=1e-9, atol=1e-12)
            unit = FeatureExtractor(*body, layers=chosen, normalize=True, **options)(TEXTS)
            lengths = np.linalg.norm(joined(TEXTS), axis=1, keepdims=True)
            np.testing.assert_allclose(unit * lengths, joined(TEXTS), rtol=1e-9, atol=1e-12)
            each = np.concatenate([joined([text]) for text in TEXTS])
            np.testing.assert_allclose(each, joined(TEXTS), rtol=1e-9, atol=1e-12)


def test_vectors_are_the_pooled_hidden_states(body):
    model, tokenizer = body
    batch = tokenizer.encode_batch(TEXTS, max_length=6)
    out = model(**batch, output_hidden_states=True)
    inside = batch["attention_mask"][..., None] == 1
    for layer, states in enumerate(out.hidden_states):
        pooled = {
            "mean": np.where(inside, states, 0).sum(axis=1) / inside.sum(axis=1),
            "max": np.where(inside, states, -np.inf).max(axis=1),
            "cls": states[:, 0],
        }
        for pooling, expected in pooled.items():
            vectors = FeatureExtractor(*body, pooling=pooling, layers=layer, max_length=6)(TEXTS)
            np.testing.assert_allclose(vectors, expected, rtol=1e-9, atol=1e-12)
    vectors = FeatureExtractor(*body, pooling="pooler", max_length=6)(TEXTS)
    np.testing.assert_allclose(vectors, out.pooler_output, rtol=1e-9, atol=1e-12)


def test_encodings_asked_for_one_by_one_equal_those_asked_for_together(body):
    _, tokenizer = body
    options = ("return_special_tokens_mask", "return_offsets_mapping", "return_overflowing_tokens")
    given = {"max_length": 5, "truncation": "longest_first"}
    names = dict(zip(options, ("special_tokens_mask", "offset_mapping",
                               "overflow_to_sample_mapping"), strict=True))  # fmt: skip
    for overflow in (False, True):
        base = {**given, options[2]: overflow}
        whole = tokenizer.encode_batch(TEXTS, **base, **dict.fromkeys(options[:2], True))
        for count in range(2):
            for chosen in combinations(options[:2], count):
                some = tokenizer.encode_batch(TEXTS, **base, **dict.fromkeys(chosen, True))
                assert {*some} == {*whole} - {names[name] for name in options[:2]
                                              if name not in chosen}  # fmt: skip
                for name, array in some.items():
                    np.testing.assert_array_equal(array, whole[name])
        assert ("overflow_to_sample_mapping" in whole) == overflow
    for text in TEXTS:
        encoding = tokenizer.encode(text)
        assert encoding.input_ids[1:-1] == tokenizer.ids_of(text).tolist()
        assert encoding.tokens[1:-1] == tokenizer.tokenize(text)
        assert encoding.tokens == tokenizer.convert_ids_to_tokens(encoding.input_ids)

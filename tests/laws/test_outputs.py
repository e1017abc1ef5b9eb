"""Outputs that are asked for one by one equal those asked for together."""

import inspect
from itertools import combinations
from typing import get_args

import numpy as np
import pytest

from minibert import FeatureExtractor
from minibert import models as m
from minibert.inference.features import Pooling
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


def pooled(mode, states, mask, first=0):
    """Return the pooled vectors of hidden states (B, T, D), from a first token on."""
    rows = []
    for x, inside in zip(states, mask, strict=True):
        x = x[first : inside.sum()]  # (T, D)
        places = np.arange(first, first + len(x))
        rows.append({
            "mean": x.mean(axis=0),
            "max": x.max(axis=0),
            "cls": x[0],
            "mean_sqrt_len_tokens": x.sum(axis=0) / np.sqrt(len(x)),
            "weightedmean": (places + 1) @ x / (places + 1).sum(),
            "lasttoken": x[-1],
        }[mode])  # fmt: skip
    return np.array(rows)


MODES = ("mean", "max", "cls", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")


def test_vectors_are_the_pooled_hidden_states(body):
    model, tokenizer = body
    assert {*MODES, "pooler"} == {*get_args(Pooling)}
    batch = tokenizer.encode_batch(TEXTS, max_length=6)
    out, mask = model(**batch, output_hidden_states=True), batch["attention_mask"]
    for layer, states in enumerate(out.hidden_states):
        for mode in MODES:
            vectors = FeatureExtractor(*body, pooling=mode, layers=layer, max_length=6)(TEXTS)
            np.testing.assert_allclose(vectors, pooled(mode, states, mask), 1e-9, 1e-12)
    vectors = FeatureExtractor(*body, pooling="pooler", max_length=6)(TEXTS)
    np.testing.assert_allclose(vectors, out.pooler_output, rtol=1e-9, atol=1e-12)


def test_each_argument_of_the_extractor_changes_the_vectors(body):
    model, tokenizer = body
    last = model(**tokenizer.encode_batch(TEXTS, max_length=8), output_hidden_states=True)
    mask = tokenizer.encode_batch(TEXTS, max_length=8)["attention_mask"]
    means = pooled("mean", last.last_hidden_state, mask)
    prompted = tokenizer.encode_batch([f"it {text}" for text in TEXTS], max_length=8)
    states, inside = model(**prompted).last_hidden_state, prompted["attention_mask"]
    projections = [lambda x: x[:, :3] + 1, lambda x: 2 * x]
    expected = {
        "pooling": (["max", "mean"], np.concatenate(
            [pooled("max", last.last_hidden_state, mask), means], axis=1)),
        "layers": (0, pooled("mean", last.hidden_states[0], mask)),
        "projections": (projections, 2 * (means[:, :3] + 1)),
        "normalize": (True, means / np.linalg.norm(means, axis=1, keepdims=True)),
        "max_length": (3, FeatureExtractor(*body)(["the", "a", "red"])),
        "prompt": ("it ", pooled("mean", states, inside)),
    }  # fmt: skip
    together = {"combine", "include_prompt"}  # see below
    arguments = set(inspect.signature(FeatureExtractor.__init__).parameters)
    assert {*expected} | together | {"self", "model", "tokenizer"} == arguments
    plain = {"max_length": 8}
    np.testing.assert_allclose(FeatureExtractor(*body, **plain)(TEXTS), means, 1e-9, 1e-12)
    expected["combine"] = ("sum", sum(pooled("mean", each, mask) for each in last.hidden_states))
    expected["include_prompt"] = (False, pooled("mean", states, inside, first=2))
    more = {"combine": {"layers": [0, 1, 2]}, "include_prompt": {"prompt": "it "}}
    for name, (value, vectors) in expected.items():
        options = {**plain, **more.get(name, {}), name: value}
        extractor = FeatureExtractor(*body, **options)
        np.testing.assert_allclose(extractor(TEXTS), vectors, 1e-9, 1e-12, err_msg=name)
        assert extractor.width == vectors.shape[1]
        if vectors.shape == means.shape:
            assert np.abs(vectors - means).max() > 1e-3


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

"""Every field of BertConfig decides what it names, in every model and by every route."""

import copy
import dataclasses
import functools
import pickle

import numpy as np
import pytest

from minibert import BertConfig
from minibert import models as m
from minibert.gradcheck import away_from_initial
from minibert.tasks import task_for
from tests.laws.reference import INPUTS, AllKept, Reference

# No two sizes and no two rates are equal.
BASE = BertConfig(
    vocab_size=17,
    hidden_size=8,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=5,
    hidden_act="gelu",
    hidden_dropout_prob=0.25,
    attention_probs_dropout_prob=0.5,
    max_position_embeddings=9,
    type_vocab_size=3,
    initializer_range=0.3,
    layer_norm_eps=0.1,
    pad_token_id=1,
    position_embedding_type="absolute",
    classifier_dropout=0.75,
    problem_type="single_label_classification",
    id2label={0: "no", 1: "ja"},
)
CHANGES = {
    "vocab_size": [18],
    "hidden_size": [12],
    "num_hidden_layers": [1, 3],
    "num_attention_heads": [4],
    "intermediate_size": [6],
    "hidden_act": ["gelu_new", "relu"],
    "hidden_dropout_prob": [0.0, 0.125],
    "attention_probs_dropout_prob": [0.0, 0.125],
    "max_position_embeddings": [8],
    "type_vocab_size": [2],
    "initializer_range": [0.0, 0.6],
    "layer_norm_eps": [0.0, 2.0],
    "pad_token_id": [0, 2],
    "position_embedding_type": ["sinusoidal"],
    "classifier_dropout": [None, 0.0],
    "problem_type": ["multi_label_classification", "regression", None],
    "id2label": [{0: "ja", 1: "no"}, {0: "a", 1: "b", 2: "c"}],
}
KINDS = [m.BertModel, m.BertForMaskedLM, m.BertForPreTraining, m.BertForNextSentencePrediction,
         m.BertForSequenceClassification, m.BertForTokenClassification, m.BertForMultipleChoice,
         m.BertForQuestionAnswering]  # fmt: skip
CLASSIFIERS = [m.BertForSequenceClassification, m.BertForTokenClassification]
# The models whose loss a field decides; of the others, it does not. Fields that are not here: all.
DECIDED = {
    "initializer_range": [],
    "pad_token_id": [],
    "classifier_dropout": [*CLASSIFIERS, m.BertForMultipleChoice],
    "problem_type": [m.BertForSequenceClassification],
    "id2label": CLASSIFIERS,
}
# A change of these is not compared in every model, because their heads have the same parts.
OF_THE_BODY = {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
               "intermediate_size", "max_position_embeddings", "type_vocab_size", "pad_token_id",
               "initializer_range", "position_embedding_type"}  # fmt: skip
FIELDS = [field.name for field in dataclasses.fields(BertConfig)]


def changed(name, kind=None):
    """Return the base configuration with other values of one field, those that a model takes."""
    configs = [dataclasses.replace(BASE, **{name: value}) for value in CHANGES[name]]
    two_classes = kind is m.BertForQuestionAnswering
    return [each for each in configs if not two_classes or each.num_labels == 2]


def made(kind, config):
    """Return a float64 model whose parameters are away from their initial values."""
    model = kind(config, dtype=np.float64)
    model.params.vector[:] = away_from_initial(model.params).vector
    return model


def kinds_for(name):
    """Return the models in which a field is compared."""
    return [m.BertModel, m.BertForMaskedLM, *CLASSIFIERS] if name in OF_THE_BODY else KINDS


def batch_for(kind):
    """Return a batch with padding, of three tokens of [CLS] and more, as a model reads it."""
    rng = np.random.default_rng(0)
    shape = (3, 2, 7) if kind is m.BertForMultipleChoice else (3, 7)
    mask = (np.arange(7) < rng.integers(3, 8, (*shape[:-1], 1))).astype(np.int64)
    return dict(zip(INPUTS, (rng.integers(2, 17, shape), rng.integers(0, 2, shape), mask),
                    strict=True))  # fmt: skip


def labels_for(kind, config):
    """Return labels for `batch_for`; some tokens have none."""
    rng = np.random.default_rng(1)
    masked = rng.integers(0, 17, (3, 7))
    masked[rng.random((3, 7)) < 0.5] = -100
    several = {"multi_label_classification", "regression"}
    if kind is m.BertForSequenceClassification and config.problem_type in several:
        return rng.integers(0, 2, (3, config.num_labels)).astype(float)
    return {
        m.BertForMaskedLM: masked,
        m.BertForPreTraining: {"labels": masked, "next_sentence_label": np.array([0, 1, 1])},
        m.BertForQuestionAnswering: {
            "start_positions": np.array([0, 2, 1]), "end_positions": np.array([3, 2, 4])},
        m.BertForTokenClassification: np.where(masked == -100, -100, masked % 2),
    }.get(kind, np.array([0, 1, 1]))  # fmt: skip


@functools.cache
def computed(kind, config):
    """Return outputs in prediction and the loss in training: the model's, and the reference's."""
    model, batch, labels = made(kind, config), batch_for(kind), labels_for(kind, config)
    predicting, training = (Reference(kind, config, model.params, mode) for mode in (False, True))
    if kind is m.BertModel:
        out = model(**batch)
        return [out.last_hidden_state, out.pooler_output], predicting.logits(*batch.values())
    loss, _ = model.loss_forward(batch, labels, AllKept())
    by_name = labels if isinstance(labels, dict) else {"labels": labels}
    ours = [model(**batch, **by_name).loss, loss]
    return ours, [predicting.loss(batch, labels), training.loss(batch, labels)]


def test_every_field_has_a_changed_value():
    assert list(CHANGES) == FIELDS
    for name in FIELDS:
        assert all(getattr(each, name) != getattr(BASE, name) for each in changed(name))


@pytest.mark.parametrize("name", FIELDS)
def test_outputs_and_loss_depend_on_each_field_as_in_the_reference(name):
    for kind in kinds_for(name):
        for config in changed(name, kind):
            for one, other in zip(*computed(kind, config), strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-10, err_msg=kind.__name__)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_the_loss_in_training_changes_with_the_fields_that_decide_it(kind):
    """Otherwise the comparison with the reference would say nothing about them."""
    before = computed(kind, BASE)[1][-1]
    for name in FIELDS:
        if name == "max_position_embeddings" or kind not in kinds_for(name):
            continue  # the positions decide which batches are refused
        after = [computed(kind, config)[1][-1] for config in changed(name, kind)]
        if name == "problem_type" and kind is m.BertForSequenceClassification:
            after.pop()  # None with two classes is a single label
        if name == "id2label":
            assert after.pop(0) == before  # other names, the same number
        decided = kind in DECIDED.get(name, KINDS)
        assert all((value != before) == decided for value in after), name


@pytest.mark.parametrize("kind", KINDS)
def test_initial_values_follow_initializer_range_padding_and_seed(kind):
    configs = [BASE, BASE, *changed("initializer_range"), *changed("pad_token_id")]
    for seed, config in enumerate(configs):
        rng = np.random.default_rng(seed)
        for name, array in kind(config, seed=seed, dtype=np.float64).params.items():
            if name.endswith("LayerNorm.weight"):
                assert (array == 1).all(), name
            elif name.endswith("bias"):
                assert not array.any(), name
            else:
                drawn = rng.normal(0, config.initializer_range, array.shape)
                if name.endswith("word_embeddings.weight"):
                    drawn[config.pad_token_id] = 0
                np.testing.assert_array_equal(array, drawn, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_decide_the_batches_that_are_refused(kind):
    sizes = {"vocab_size": "input_ids", "type_vocab_size": "token_type_ids"}
    for config in (BASE, *changed("vocab_size"), *changed("type_vocab_size")):
        model, batch = kind(config), batch_for(kind)
        for size, name in sizes.items():
            array = batch[name].copy()
            array[-1, ..., 0] = getattr(config, size) - 1
            model(**{**batch, name: array})
            array[-1, ..., 0] += 1
            with pytest.raises(ValueError, match=f"{name}: expected"):
                model(**{**batch, name: array})
    for config in (BASE, *changed("max_position_embeddings")):
        longest = np.full((*batch_for(kind)["input_ids"].shape[:-1],
                           config.max_position_embeddings), 3)  # fmt: skip
        kind(config)(longest)
        with pytest.raises(ValueError, match="max_position_embeddings"):
            kind(config)(np.concatenate([longest, longest[..., :1]], axis=-1))


ROUTES = {
    "to_dict": lambda config: BertConfig.from_dict(config.to_dict()),
    "to_json": lambda config: BertConfig.from_json(config.to_json()),
    "pickle": lambda config: pickle.loads(pickle.dumps(config)),
    "deepcopy": lambda config: copy.deepcopy(config),
    "preset": lambda config: BertConfig.preset(
        "tiny", **{name: getattr(config, name) for name in FIELDS}
    ),
    "astype": lambda config: m.BertModel(config).astype(np.float64).config,
    "sharing": lambda config: m.BertForMaskedLM.sharing(m.BertForPreTraining(config)).config,
}  # fmt: skip


@pytest.mark.parametrize("route", ROUTES)
def test_every_field_survives(route):
    for name in FIELDS:
        for config in changed(name)[-1:]:
            back = ROUTES[route](config)
            assert back == config, name
            assert list(back.id2label.items()) == list(config.id2label.items())


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_survives_save_pretrained_and_can_be_changed_by_from_pretrained(name, tmp_path):
    kind = m.BertForSequenceClassification
    for i, config in enumerate(changed(name)):
        model = made(kind, config)
        model.save_pretrained(tmp_path / str(i))
        back = kind.from_pretrained(tmp_path / str(i), dtype=np.float64)
        assert back.config == config
        np.testing.assert_array_equal(back.params.vector, model.params.vector)
    made(kind, BASE).save_pretrained(tmp_path / "base")
    for config, value in zip(changed(name), CHANGES[name], strict=True):
        fits = kind(config).shapes().items() <= kind(BASE).shapes().items()
        if not fits and name != "id2label":  # other classes give a new classifier
            with pytest.raises(ValueError, match=r"expected the shape|lacks"):
                kind.from_pretrained(tmp_path / "base", **{name: value})
            continue
        other = kind.from_pretrained(tmp_path / "base", **{name: value}, dtype=np.float64)
        assert other.config == config
        batch, labels = batch_for(kind), labels_for(kind, config)
        reference = Reference(kind, config, other.params, training=True)
        assert other.loss_forward(batch, labels, AllKept())[0] == pytest.approx(
            reference.loss(batch, labels)
        )


def test_from_pretrained_draws_a_new_head_by_seed_and_initializer_range(tmp_path):
    m.BertModel(BASE).save_pretrained(tmp_path)
    kind = m.BertForTokenClassification
    for seed, std in ((0, 0.3), (5, 0.3), (5, 0.6)):
        model = kind.from_pretrained(
            tmp_path, seed=seed, dtype=np.float64, initializer_range=std, id2label={0: "x", 1: "y"}
        )
        drawn = np.random.default_rng(seed).normal(0, std, (2, 8))
        np.testing.assert_array_equal(model.params["classifier.weight"], drawn)
        assert not model.params["classifier.bias"].any()


def test_class_names_keep_the_order_of_their_numbers():
    names = {i: f"class {11 - i}" for i in range(12)}
    shuffled = {str(i): names[i] for i in np.random.default_rng(0).permutation(12)}
    for labels in (names, {int(i): name for i, name in shuffled.items()}):
        config = BertConfig(id2label=labels)
        assert list(config.id2label.items()) == list(names.items())
        assert config.label2id == {name: i for i, name in names.items()}
    fields = {**BASE.to_dict(), "id2label": shuffled}
    for kind in CLASSIFIERS:
        model = kind(BertConfig.from_dict(fields))
        task = task_for(model)
        assert task.names == list(names.values())
        one_hot = np.eye(12)[[3, 10]]
        decoded = task.decode_outputs(one_hot if kind is CLASSIFIERS[0] else [one_hot])
        assert np.ravel(decoded).tolist() == ["class 8", "class 1"]

"""ALBERT: shared layers and narrow tables; what all families do is in test_relatives."""

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import minibert as m
from minibert.functional.activation import ACTIVATIONS
from minibert.inspection import inspect_text
from minibert.layers import Site
from minibert.models.families.albert import MAX_BLOCKS
from minibert.models.pooling_block import has_room, with_pooling_block
from minibert.models.weights import open_weights
from minibert.tasks import Examples, SingleLabelTask
from minibert.training.distillation import make_student
from minibert.training.finetuning import FineTuning, ModelSource, block_rates, chosen_strategy
from tests.conftest import small_tokenizer
from tests.models.relatives import HIDDEN, IDS, SIZES, D, batch_of, config, made, use_of

WORDS = {"input_ids": [[2, 7, 9, 30, 3]]}


def separate(model):
    """Return a BERT that has, in each layer, the parameters that an ALBERT has there.

    The projection of the ALBERT becomes the identity.
    """
    own = model.params
    own["bert.embeddings.project.weight"][:] = np.eye(D)
    own["bert.embeddings.project.bias"][:] = 0
    sizes = {n: getattr(model.config, n) for n in SIZES} | {"hidden_act": model.config.hidden_act}
    sizes["num_hidden_layers"] = model.config.num_blocks
    other = m.BertForMaskedLM(
        m.BertConfig(**sizes, hidden_dropout_prob=0, attention_probs_dropout_prob=0),
        dtype=np.float64,
    )
    for name, array in other.params.items():
        array[:] = own[shared_name(model, name)]
    return other


def shared_name(model, name):
    """Return the ALBERT's name of a BERT's parameter."""
    scopes = model.bert.encoder.scopes
    return re.sub(r"layer\.(\d+)\.", lambda found: scopes[int(found[1])], name)


GROUPED = {"num_hidden_layers": 5, "num_hidden_groups": 2, "inner_group_num": 2}


@pytest.mark.parametrize("changes", [{}, {"num_hidden_groups": 1}, GROUPED], ids=str)
@pytest.mark.parametrize("recomputed", [False, True])
def test_gradient_of_a_shared_weight_is_the_sum_over_its_uses(changes, recomputed):
    model, batch = made("albert", embedding_size=D, **changes), batch_of("albert")
    other = separate(model)
    if recomputed:
        model.gradient_checkpointing_enable()
    loss, grads = model.loss_and_grads(batch, HIDDEN)
    expected, each = other.loss_and_grads(batch, HIDDEN)
    assert loss == pytest.approx(expected, rel=1e-12)
    sums = {name: np.zeros_like(array) for name, array in grads.items()}
    for name, array in each.items():
        sums[shared_name(model, name)] += array
    for name, array in grads.items():
        if "project" not in name:
            np.testing.assert_allclose(array, sums[name], rtol=1e-9, atol=1e-12)
    assert len(model.params.vector) < len(other.params.vector)


def test_an_albert_whose_layers_are_all_their_own_is_a_bert_after_its_projection():
    model, batch = made("albert", embedding_size=D, num_hidden_groups=3), batch_of("albert")
    assert model.params.shapes.get("bert.embeddings.project.weight") == (D, D)  # even if E is D
    expected = separate(model)(**batch).logits
    np.testing.assert_allclose(model(**batch).logits, expected, rtol=1e-12, atol=1e-13)


def test_hidden_state_zero_is_the_projection_of_the_normalized_sum():
    model = made("albert", "Model")
    params = model.params
    x = params["embeddings.word_embeddings.weight"][IDS[1, :4]]
    x = x + params["embeddings.position_embeddings.weight"][:4]
    x = x + params["embeddings.token_type_embeddings.weight"][0]
    x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-12)
    x = x * params["embeddings.LayerNorm.weight"] + params["embeddings.LayerNorm.bias"]
    assert x.shape == (4, 10)
    expected = x @ params["embeddings.project.weight"].T + params["embeddings.project.bias"]
    state = model(IDS[1:2, :4], output_hidden_states=True).hidden_states[0]
    np.testing.assert_allclose(state[0], expected, rtol=1e-10, atol=1e-12)


def test_groups_are_consecutive_of_similar_size_and_all_used():
    for layers in range(1, 26):
        for groups in range(1, layers + 1):
            found = replace(
                config("albert"), num_hidden_layers=layers, num_hidden_groups=groups
            ).groups()
            assert len(found) == layers
            assert [*dict.fromkeys(found)] == list(range(groups))
            assert all(0 <= b - a <= 1 for a, b in pairwise(found))
            sizes = np.bincount(found)
            assert sizes.max() - sizes.min() <= 1
    assert config("albert").groups() == [0, 0, 1]


def test_a_layer_is_one_object_and_its_parameters_exist_once():
    model = made("albert", **GROUPED)
    encoder = model.bert.encoder
    assert model.config.num_blocks == len(encoder.blocks) == 10
    assert encoder.scopes[:4] == ["layer.0.0.", "layer.0.1."] * 2
    for i, scope in enumerate(encoder.scopes):
        first = encoder.scopes.index(scope)
        assert encoder.blocks[i] is encoder.blocks[first]
    assert len({*encoder.scopes}) == model.config.num_stored_blocks == 4
    numbers = {re.search(r"layer\.(\d\.\d)\.", n)[1] for n in model.params if "layer." in n}
    assert numbers == {"0.0", "0.1", "1.0", "1.1"}
    states = model(**WORDS, output_hidden_states=True, output_attentions=True)
    assert (len(states.hidden_states), len(states.attentions)) == (11, 10)


def test_an_albert_has_no_dropout_after_the_feed_forward_sublayer():
    model = made("albert", attention_probs_dropout_prob=0.0, hidden_dropout_prob=0.5)
    x = np.random.default_rng(3).normal(size=(2, 5, 24))
    scope, site = model.params.scope("bert.encoder.layer.0.0."), Site(np.arange(5))
    block = model.bert.encoder.blocks[0]

    def outs(half):
        return [half.forward(scope, x, site, rng)[0] for rng in (None, np.random.default_rng(4))]

    np.testing.assert_array_equal(*outs(block.feed_forward))
    assert np.abs(np.subtract(*outs(block.attention))).max() > 0.1


def test_the_head_and_the_blocks_have_the_tanh_form_of_gelu_by_default():
    model = made("albert")
    assert model.head.activation == "gelu_new"
    assert model.bert.encoder.blocks[0].feed_forward.sublayer.activation == "gelu_new"
    assert ACTIVATIONS["gelu_new"] is not ACTIVATIONS["gelu"]


def test_heads_drop_units_at_the_rate_of_a_classifier():
    for use, head in (("ForPreTraining", "pair_head"), ("ForSequenceClassification", "head"),
                      ("ForMultipleChoice", "head")):  # fmt: skip
        model = made("albert", use, classifier_dropout=0.25, hidden_dropout_prob=0.0)
        assert getattr(model, head).classifier.rate == 0.25
    assert made("albert", "ForTokenClassification", classifier_dropout=0.25).head.rate == 0.25
    assert made("albert", "ForQuestionAnswering", classifier_dropout=0.25).head.rate == 0


def test_loss_of_pre_training_is_the_sum_of_both_and_ignores_pairs_without_a_label():
    model, batch = made("albert", "ForPreTraining"), batch_of("albert")
    labels = use_of("albert", "ForPreTraining")[1]
    out = model(**batch, **labels)
    words, pairs = out.prediction_logits, out.sop_logits
    assert (words.shape[-1], pairs.shape) == (37, (4, 2))

    def loss(logits, targets):
        logits, targets = logits[targets >= 0], targets[targets >= 0]
        chosen = logits[np.arange(len(targets)), targets]
        return (np.log(np.exp(logits).sum(axis=-1)) - chosen).mean()

    order = labels["sentence_order_label"]
    assert out.loss == pytest.approx(loss(words, HIDDEN) + loss(pairs, order), rel=1e-12)
    assert model.count(labels).tolist() == [(HIDDEN >= 0).sum(), 3]
    with pytest.raises(TypeError, match="expected a dictionary of labels and sentence_order_label"):
        model.loss_and_grads(batch, {"labels": HIDDEN, "next_sentence_label": order})
    with pytest.raises(ValueError, match="id2label: expected two for sentence order, got 3"):
        m.AlbertForPreTraining(config("albert"))


# Freezing and the rates of layers.


def test_layers_are_frozen_with_all_that_share_their_parameters():
    model, batch = made("albert"), batch_of("albert")
    before = model.loss_and_grads(batch, HIDDEN)[1]
    model.freeze(2)
    _, grads = model.loss_and_grads(batch, HIDDEN)
    for name, array in grads.items():
        top = name.startswith(("cls.", "bert.encoder.layer.1."))
        np.testing.assert_array_equal(array, before[name] if top else 0)
    model.freeze(0)
    _, grads = model.loss_and_grads(batch, HIDDEN)
    table = "bert.embeddings.word_embeddings.weight"
    assert not grads[table].any()
    np.testing.assert_allclose(
        grads["bert.encoder.layer.0.0.output.dense.weight"],
        before["bert.encoder.layer.0.0.output.dense.weight"],
    )
    model.freeze(3)
    model.freeze(None)
    np.testing.assert_array_equal(model.loss_and_grads(batch, HIDDEN)[1].vector, before.vector)


def test_freezing_a_part_of_a_group_is_refused():
    with pytest.raises(ValueError, match=r"freeze: expected 0 or 2 or 3 layers, .*share.*, got 1"):
        made("albert").freeze(1)
    with pytest.raises(ValueError, match=r"freeze: expected 0 or 6 or 10 layers, .*, got 4"):
        made("albert", **GROUPED).freeze(4)
    with pytest.raises(ValueError, match="freeze: expected 0 to 3 layers, got 4"):
        made("albert").freeze(4)


def test_a_shared_layer_has_the_rate_of_its_last_use():
    model = made("albert")
    rates = block_rates(model, FineTuning(steps=1, layer_decay=0.5))
    for name, rate in rates.items():
        depth = {"bert.encoder.layer.0": 2, "bert.encoder.layer.1": 3}.get(name[:20], 0)
        assert rate == (1.0 if name.startswith("cls.") else 0.5 ** (4 - depth)), name
    settings = FineTuning(steps=1, layer_decay=0.5)
    one = block_rates(made("albert", num_hidden_groups=1), settings)
    assert one["bert.encoder.layer.0.0.output.dense.weight"] == 0.5


# Students, and the block of the mean.


def test_a_student_uses_the_shared_layers_less_often():
    teacher = made("albert", num_hidden_groups=1)
    student = make_student(teacher, 2)
    assert student.config.num_hidden_layers == 2
    np.testing.assert_array_equal(student.params.vector, teacher.params.vector)
    states = teacher(**WORDS, output_hidden_states=True).hidden_states
    own = student(**WORDS, output_hidden_states=True).hidden_states
    np.testing.assert_array_equal(own[2], states[2])


def test_a_student_takes_each_group_from_one_group_of_its_teacher():
    teacher = made("albert", **GROUPED)
    student = make_student(teacher, [0, 2, 3])  # of the groups 0, 0, 1, as in the student
    assert student.config.num_blocks == 6
    assert student.config.groups() == [0, 0, 1]
    np.testing.assert_array_equal(student.params.vector, teacher.params.vector)
    with pytest.raises(ValueError, match=r"layers: expected those of one group .* got \[0, 3, 4\]"):
        make_student(teacher, [0, 3, 4])
    assert make_student(teacher, 1).config.num_hidden_groups == 1


def test_no_block_of_its_own_can_be_added_to_shared_layers(tmp_path):
    model = made("albert", "ForSequenceClassification", np.float32)
    assert has_room(m.ElectraConfig())
    assert not has_room(model.config)
    assert not has_room(replace(model.config, num_hidden_groups=3))
    for count in range(1, 14):  # in no division is the last of 13 layers alone, and the rest equal
        groups = replace(model.config, num_hidden_layers=13, num_hidden_groups=count).groups()
        assert groups[-1] == groups[-2] or len({*groups[:-1]}) > 1
    with pytest.raises(ValueError, match="AlbertForSequenceClassification: expected layers with p"):
        with_pooling_block(model)
    model.save_pretrained(tmp_path)
    labels = ["a", "b"] * 2
    examples = Examples(["x", "y", "z", "w"], None, labels)
    task, source = SingleLabelTask.from_labels(labels), ModelSource(str(tmp_path))
    assert chosen_strategy("auto", task, examples, source) == "direct"
    with pytest.raises(ValueError, match=r"expected direct, because the layers .* share their par"):
        chosen_strategy("pairs", task, examples, source)


# Files and inspection.


def test_files_with_other_groups_than_the_configuration_are_refused(tmp_path):
    made("albert", dtype=np.float32, **GROUPED).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    for field, value, stated in (("num_hidden_groups", 1, 2), ("inner_group_num", 1, 2),
                                 ("num_hidden_groups", 3, 6)):  # fmt: skip
        text = path.read_text()
        path.write_text(text.replace(f'"{field}": 2', f'"{field}": {value}'))
        with pytest.raises(ValueError, match=f"expected the weights of {stated} layers .* got 4"):
            m.AlbertForMaskedLM.from_pretrained(tmp_path)
        path.write_text(text)
    with open_weights(tmp_path) as tensors:
        names = {name.split(".attention")[0] for name in tensors if ".attention.query.w" in name}
    front = "albert.encoder.albert_layer_groups"
    assert names == {f"{front}.{g}.albert_layers.{j}" for g in (0, 1) for j in (0, 1)}


def test_the_configuration_of_an_old_file_is_read():
    """That of albert-base-v2, in which fields of the original code are unknown ones."""
    fields = {
        "architectures": ["AlbertForMaskedLM"], "attention_probs_dropout_prob": 0,
        "classifier_dropout_prob": 0.1, "down_scale_factor": 1, "embedding_size": 128,
        "gap_size": 0, "hidden_act": "gelu_new", "hidden_dropout_prob": 0, "hidden_size": 768,
        "initializer_range": 0.02, "inner_group_num": 1, "intermediate_size": 3072,
        "layer_norm_eps": 1e-12, "max_position_embeddings": 512, "net_structure_type": 0,
        "num_attention_heads": 12, "num_hidden_groups": 1, "num_hidden_layers": 12,
        "num_memory_blocks": 0, "type_vocab_size": 2, "vocab_size": 30000,
    }  # fmt: skip
    own = m.AutoConfig.from_dict(fields)
    assert own == m.AlbertConfig.preset("base")
    params = m.AlbertForMaskedLM(replace(own, vocab_size=30)).params
    # 12 M parameters, as Lan et al. (2020), table 1, count with 30,000 words; without a pooler.
    assert params.vector.size + (30000 - 30) * (128 + 1) == 11_221_680
    assert MAX_BLOCKS > 1000


def test_each_use_of_a_shared_block_is_inspected():
    tokenizer = small_tokenizer()
    model = made("albert", "ForSequenceClassification", vocab_size=len(tokenizer))
    found = inspect_text(model, tokenizer, "the cat sat", backward=True)
    blocks = [
        [a for a in found.activations if a.part == f"block {i}"] for i in (1, 2, 3)
    ]  # fmt: skip
    assert len({len(block) for block in blocks}) == 1
    for first, second in pairwise(blocks):
        assert not np.array_equal(first[0].value, second[0].value)
        assert not np.array_equal(first[0].gradient, second[0].gradient)
    assert found.attentions.shape[0] == 3

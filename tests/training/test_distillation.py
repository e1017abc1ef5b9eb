"""Students are made of their teacher's layers; the settings of a distillation are checked."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from minibert import BertConfig, BertForMaskedLM, BertModel, WordPieceTokenizer
from minibert.data.corpus import pack, read_corpus
from minibert.models.families.modernbert import ModernBertConfig, ModernBertForMaskedLM
from minibert.objectives import DistilledMaskedLM, MaskedLM
from minibert.training import pretrain
from minibert.training.distillation import (
    Distillation,
    evenly_spaced,
    make_student,
    optimizer_for,
    weights_checksum,
)

SIZES = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 5, "num_attention_heads": 2,
         "intermediate_size": 6, "max_position_embeddings": 9}  # fmt: skip
CONFIG = BertConfig(**SIZES)


def test_layers_are_evenly_spaced_and_include_both_ends():
    assert evenly_spaced(12, 6) == [0, 2, 4, 7, 9, 11]  # DistilBERT's
    for layers in range(1, 25):
        assert evenly_spaced(layers, layers) == list(range(layers))
        for count in range(2, layers):
            chosen = evenly_spaced(layers, count)
            assert (chosen[0], chosen[-1], len(chosen)) == (0, layers - 1, count)
            assert set(np.diff(chosen)) <= {
                (layers - 1) // (count - 1),
                -(-(layers - 1) // (count - 1)),
            }


@pytest.mark.parametrize("layers", [0, -1, 6])
def test_a_number_of_layers_that_the_teacher_does_not_have_is_refused(layers):
    with pytest.raises(ValueError, match=f"layers: expected 1 to 5, .* got {layers}"):
        make_student(BertForMaskedLM(CONFIG), layers)
    with pytest.raises(ValueError, match="layers: expected numbers from 0 to 4"):
        make_student(BertForMaskedLM(CONFIG), [0, 5])


@pytest.mark.parametrize("kind", [BertForMaskedLM, BertModel])
def test_a_student_copies_its_layers_the_embeddings_and_the_head(kind, tmp_path):
    teacher = kind(CONFIG, seed=4)
    student = make_student(teacher, 3, hidden_dropout_prob=0.4)
    assert student.config == dataclasses.replace(
        CONFIG, num_hidden_layers=3, hidden_dropout_prob=0.4
    )
    numbers = {0: 0, 1: 2, 2: 4}
    for name, array in student.params.items():
        for own, other in numbers.items():
            if f"layer.{own}." in name:
                name = name.replace(f"layer.{own}.", f"layer.{other}.")
                break
        assert (array == teacher.params[name]).all()
    array[...] = 7  # a copy, not a view
    assert not (teacher.params[name] == 7).any()
    student.save_pretrained(tmp_path)
    opened = kind.from_pretrained(tmp_path, strict=True)
    assert (opened.params.vector == student.params.vector).all()


def test_a_student_of_all_layers_computes_what_its_teacher_computes():
    teacher = BertForMaskedLM(CONFIG, seed=4, dtype=np.float64)
    ids = [[2, 5, 9, 3]]
    assert (make_student(teacher, 5)(ids).logits == teacher(ids).logits).all()
    assert (make_student(teacher, [0, 1, 2, 3])(ids).logits != teacher(ids).logits).any()


def test_a_student_of_another_family_has_its_first_block_without_a_norm():
    teacher = ModernBertForMaskedLM(ModernBertConfig(**SIZES, pad_token_id=0), seed=4)
    student = make_student(teacher, 2)
    name = "bert.encoder.layer.{}.output.dense.weight"
    assert (student.params[name.format(1)] == teacher.params[name.format(4)]).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"temperature": 0.0}, "temperature: expected more than 0, got 0.0"),
        ({"temperature": -1.0}, "temperature: expected more than 0"),
        ({"temperature": np.nan}, "temperature: expected more than 0, got nan"),
        ({"soft_weight": -1.0}, "soft_weight: expected 0 or more, got -1.0"),
        ({"label_weight": np.inf}, "label_weight: expected 0 or more, got inf"),
        ({"soft_weight": 0.0, "label_weight": 0.0, "hidden_weight": 0.0}, "expected one at least"),
        ({"soft_tokens": "some"}, "soft_tokens: expected one of all, masked, got 'some'"),
        ({"masked_share": 1.0}, "masked_share: expected more than 0 and less than 1, got 1.0"),
        ({"steps": 0}, "steps: expected at least 1"),
    ],
)
def test_a_setting_out_of_range_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Distillation(**{"steps": 3, **fields})


def test_the_default_weights_are_those_of_distilbert():
    settings = Distillation(steps=1)
    weights = settings.soft_weight, settings.label_weight, settings.hidden_weight
    assert (*weights, settings.temperature) == (5, 2, 1, 2)
    assert settings.masked_share_at(0) == 0.15


def test_the_pooler_of_a_body_does_not_decay():
    model = BertModel(CONFIG)
    before = model.params.vector.copy()
    optimizer = optimizer_for(model, Distillation(steps=1, weight_decay=0.5))
    for job in optimizer.jobs(np.zeros_like(before), 0.1):
        job()
    after = dict(model.params.items())
    model.params = model.params.astype(before.dtype)
    model.params.vector[:] = before
    assert (after["pooler.dense.weight"] == model.params["pooler.dense.weight"]).all()
    name = "encoder.layer.0.output.dense.weight"
    assert (np.abs(after[name]) < np.abs(model.params[name])).any()


def test_the_checksum_depends_on_every_weight():
    model = BertModel(CONFIG)
    before = weights_checksum(model)
    model.params.vector[-1] += 1
    assert weights_checksum(model) != before


@pytest.mark.slow
def test_a_distilled_student_is_better_than_one_without_a_teacher_after_as_many_steps():
    """One layer of the two of `tiny`, on other text than that of the package's corpus."""
    tokenizer = WordPieceTokenizer.from_pretrained("tiny")
    teacher = BertForMaskedLM.from_pretrained("tiny", strict=True)
    path = Path(__file__).parents[2] / "corpora" / "sample.txt"
    rows = pack(read_corpus([path]), tokenizer, 32)
    held_out, rows = rows[::10], np.delete(rows, np.s_[::10], axis=0)
    losses = []
    for weights in ({}, {"soft_weight": 0.0, "hidden_weight": 0.0}):
        student = make_student(teacher, 1)
        settings = Distillation(steps=60, learning_rate=2e-3, shards=2, **weights)
        texts = tokenizer, rows, held_out, settings
        if weights:
            objective = MaskedLM(student, *texts)
        else:
            objective = DistilledMaskedLM(student, teacher, *texts)
        pretrain(student, objective, settings, tokenizer)
        losses.append(objective.result().loss)
    assert losses[0] < losses[1] - 0.05

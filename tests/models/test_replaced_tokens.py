"""A generator and a discriminator share their tables, in memory and in files."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest

from minibert import ElectraConfig, ElectraForMaskedLM, ElectraForPreTraining
from minibert.gradients import Gradients
from minibert.models.replaced_tokens import (
    GENERATOR,
    TABLES,
    GeneratorAndDiscriminator,
    generator_config,
)
from minibert.optim import hidden_matrices

CONFIG = ElectraConfig(
    vocab_size=30, hidden_size=12, num_hidden_layers=2, num_attention_heads=3,
    intermediate_size=16, max_position_embeddings=9, embedding_size=10,
)  # fmt: skip
SMALL = replace(CONFIG, hidden_size=6, num_hidden_layers=1, num_attention_heads=2,
                intermediate_size=5)  # fmt: skip


def assert_shared(models):
    """Check that the vector is both models' parameters, those of the tables once."""
    generator, discriminator = models.generator.params, models.discriminator.params
    for params in (generator, discriminator):
        assert np.shares_memory(params.vector, models.params.vector)
    for name in TABLES:
        assert np.shares_memory(generator[name], discriminator[name])
    shared = sum(generator[name].size for name in TABLES)
    assert models.params.vector.size == generator.vector.size + discriminator.vector.size - shared
    models.params.vector[:] = np.arange(models.params.vector.size)
    found = np.concatenate([generator.vector, discriminator.vector[shared:]])
    assert (found == models.params.vector).all()
    models.params.vector[:] = 0


def test_both_models_read_one_vector_which_has_the_tables_once():
    models = GeneratorAndDiscriminator(CONFIG, SMALL, seed=3)
    alone = ElectraForPreTraining(CONFIG), ElectraForMaskedLM(SMALL)
    assert models.discriminator.params.shapes == alone[0].params.shapes
    assert models.generator.params.shapes == alone[1].params.shapes
    assert models.params["shared." + TABLES[0]][1:].std() > 0
    assert_shared(models)


@pytest.mark.parametrize(
    "made",
    [copy.deepcopy, lambda models: pickle.loads(pickle.dumps(models)),
     lambda models: models.astype(np.float64)],
    ids=["deepcopy", "pickle", "astype"],
)  # fmt: skip
def test_a_copy_shares_its_own_tables(made):
    models = GeneratorAndDiscriminator(CONFIG, SMALL)
    other = made(models)
    assert (other.params.vector == models.params.vector).all()
    assert not np.shares_memory(other.params.vector, models.params.vector)
    assert_shared(other)


@pytest.mark.parametrize("kind", ["parameters", "gradients"])
def test_gradients_of_both_models_add_in_the_tables(kind):
    models = GeneratorAndDiscriminator(CONFIG, SMALL)
    grads = models.params.zeros_like()
    if kind == "gradients":
        grads = Gradients(models.params.layout)
    own, others = models.gradients_of(grads)
    assert set(own) == set(models.generator.params)
    assert set(others) == set(models.discriminator.params)
    rows = np.array([4, 7])
    own.scope("bert.").rows("embeddings.word_embeddings.weight", rows)[rows] += 1
    others.scope("bert.").rows("embeddings.word_embeddings.weight", rows[:1])[4] += 2
    own["cls.predictions.bias"][:] += 3
    table = grads["shared." + TABLES[0]]
    assert table[:, 0].tolist() == [{4: 3, 7: 1}.get(i, 0) for i in range(30)]
    assert (grads["generator.cls.predictions.bias"] == 3).all()
    assert grads.vector.sum() == 40 + 90


def test_muon_updates_the_matrices_of_both_models_blocks():
    found = hidden_matrices(GeneratorAndDiscriminator(CONFIG, SMALL).params)
    fronts = [name.split(".bert.encoder.")[0] for name in found]
    assert fronts == ["generator"] * 6 + ["discriminator"] * 12


def test_the_generator_has_by_default_a_quarter_of_the_width():
    for size, heads in (("nano", 1), ("tiny", 1), ("mini", 1), ("small", 2), ("base", 3)):
        config = ElectraConfig.preset(size, embedding_size=64, vocab_size=50)
        small = generator_config(config)
        assert small.hidden_size * 4 == config.hidden_size
        assert (small.num_attention_heads, small.embedding_size) == (heads, 64)
    odd = replace(CONFIG, hidden_size=20, num_attention_heads=10)
    assert (generator_config(odd).hidden_size, generator_config(odd).num_attention_heads) == (4, 2)
    models = GeneratorAndDiscriminator(CONFIG)
    assert models.generator.config == generator_config(CONFIG)


def test_saved_models_are_loaded_and_are_ordinary_ones(tmp_path):
    models = GeneratorAndDiscriminator(CONFIG, SMALL, seed=5)
    models.save_pretrained(tmp_path)
    back = GeneratorAndDiscriminator.from_pretrained(tmp_path, strict=True)
    assert (back.params.vector == models.params.vector).all()
    assert (back.config, back.generator.config) == (CONFIG, SMALL)
    for kind, folder, own in (
        (ElectraForPreTraining, tmp_path, models.discriminator),
        (ElectraForMaskedLM, tmp_path / GENERATOR, models.generator),
    ):
        alone = kind.from_pretrained(folder, strict=True)
        assert all((alone.params[name] == own.params[name]).all() for name in own.params)
    dropping = GeneratorAndDiscriminator.from_pretrained(tmp_path, hidden_dropout_prob=0.5)
    assert dropping.generator.config.hidden_dropout_prob == dropping.config.hidden_dropout_prob
    assert_shared(back)


def test_recomputation_changes_no_gradient():
    models = GeneratorAndDiscriminator(CONFIG, SMALL, dtype=np.float64)
    ids, labels = np.array([[2, 7, 8, 3]]), np.array([[-100, 7, -100, -100]])

    def gradients():
        grads = models.params.zeros_like()
        for model, own, answers in zip((models.generator, models.discriminator),
                                       models.gradients_of(grads), (labels, labels > 0),
                                       strict=True):  # fmt: skip
            rng = np.random.default_rng(1)
            _, (loss, cache) = model.loss_forward({"input_ids": ids}, answers, rng)
            model.backward(model.criterion_backward(loss), cache, own)
        return grads.vector

    before = gradients()
    models.gradient_checkpointing_enable()
    assert (gradients() == before).all()
    assert before.any()


SIZES = {"vocab_size": 31, "embedding_size": 11, "max_position_embeddings": 8,
         "type_vocab_size": 3, "pad_token_id": 1}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_tables_of_different_sizes_are_refused_in_one_line(name, tmp_path):
    other = replace(SMALL, **{name: SIZES[name]})
    line = f"generator: expected {name} {getattr(CONFIG, name)}, the discriminator's, got "
    line += str(SIZES[name])
    with pytest.raises(ValueError, match=f"^{line}$"):
        GeneratorAndDiscriminator(CONFIG, other)
    ElectraForPreTraining(CONFIG).save_pretrained(tmp_path)
    ElectraForMaskedLM(other).save_pretrained(tmp_path / GENERATOR)
    with pytest.raises(ValueError, match=f"^{tmp_path}: {line}$"):
        GeneratorAndDiscriminator.from_pretrained(tmp_path)


def test_folders_that_do_not_belong_together_are_refused_in_one_line(tmp_path):
    models = GeneratorAndDiscriminator(CONFIG, SMALL)
    models.discriminator.save_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match="generator: no such folder; expected the gener"):
        GeneratorAndDiscriminator.from_pretrained(tmp_path)
    ElectraForMaskedLM(SMALL, seed=9).save_pretrained(tmp_path / GENERATOR)
    table = "bert.embeddings.word_embeddings.weight"
    with pytest.raises(ValueError, match=f"{tmp_path}: generator: .*discriminator's {table}, got"):
        GeneratorAndDiscriminator.from_pretrained(tmp_path)
    generator = models.generator
    generator.vocabulary, models.discriminator.vocabulary = "a", "b"
    with pytest.raises(ValueError, match="expected the discriminator's vocabulary, got another"):
        GeneratorAndDiscriminator.of(generator, models.discriminator)
    generator.vocabulary = None
    GeneratorAndDiscriminator.of(generator, models.discriminator)

"""The settings of pre-training, and the recipes that choose them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert import BertConfig, BertForMaskedLM
from minibert.data.masking import MASKED_SHARE
from minibert.functional import IGNORED
from minibert.objectives import MaskedLM
from minibert.optim import SCHEDULES, AdamW, Muon
from minibert.training import Settings, train_masked_lm
from minibert.training.pretraining import optimizer_for
from minibert.training.recipes import DEFAULT_RECIPE, RECIPES, PreTraining


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": "sgd"}, "optimizer: expected one of adamw, muon, got 'sgd'"),
        ({"schedule": "x"}, "schedule: expected one of linear"),
        ({"initialization": "x"}, "initialization: expected one of random, text, trained, got 'x'"),
        ({"masked_share": 0}, "masked_share: expected more than 0 and less than 1, got 0"),
        ({"last_masked_share": 1.0}, "last_masked_share: expected more than 0"),
        ({"masked_share": float("nan")}, "masked_share: expected"),
        ({"beta2": 1.0}, "beta2: expected 0 or more and less than 1, got 1.0"),
        ({"beta2": -0.1}, "beta2: expected"),
    ],
)
def test_a_setting_out_of_range_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        PreTraining(steps=3, **change)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_rate_follows_the_schedule(schedule):
    settings = PreTraining(steps=20, schedule=schedule, warmup=0.2, learning_rate=0.5)
    expected = [SCHEDULES[schedule](step, 20, 4, 0.5) for step in range(20)]
    assert [settings.rate(step) for step in range(20)] == expected


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_rate_of_an_extension_is_that_of_a_run_of_its_own(schedule):
    given = {"schedule": schedule, "warmup": 0.2, "learning_rate": 0.5}
    extended = PreTraining(steps=35, extended_from=15, **given)
    own = PreTraining(steps=20, **given)
    assert [extended.rate(15 + step) for step in range(20)] == [*map(own.rate, range(20))]


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.integers(1, 50))
def test_the_masked_share_goes_linearly_from_the_first_to_the_last(first, last, steps):
    settings = PreTraining(steps=steps, masked_share=first, last_masked_share=last)
    shares = [settings.masked_share_at(step) for step in range(steps)]
    assert shares[0] == first
    assert steps == 1 or shares[-1] == pytest.approx(last)
    np.testing.assert_allclose(np.diff(shares, 2), 0, atol=1e-12)


def test_other_settings_mask_as_bert_does():
    assert Settings(steps=5).masked_share_at(3) == MASKED_SHARE
    assert not Settings(steps=5).whole_words


def test_a_step_masks_the_share_of_its_settings(tokenizer, packed):
    rows, held_out = packed
    model = BertForMaskedLM(BertConfig.preset("tiny", vocab_size=len(tokenizer)), seed=0)
    settings = PreTraining(steps=2, batch_size=8, shards=2, masked_share=0.5, last_masked_share=0.1)
    objective = MaskedLM(model, tokenizer, rows, held_out, settings)
    masked, ordinary = [], []
    for step in range(2):
        labels = [labels for _, labels in objective.shards(step)]
        masked.append(sum((each != IGNORED).sum() for each in labels))
        ordinary.append(sum(objective.tokens(shard) for shard in objective.shards(step)) - 16)
    assert masked[0] == pytest.approx(0.5 * ordinary[0], rel=0.15)
    assert masked[1] == pytest.approx(0.1 * ordinary[1], rel=0.5)
    evaluated = (objective.held_out_labels != IGNORED).sum()
    assert evaluated == pytest.approx(MASKED_SHARE * (held_out != 0).sum(), rel=0.35)


def test_the_settings_name_the_optimizer():
    model = BertForMaskedLM(BertConfig.preset("tiny", vocab_size=50), seed=0)
    muon = optimizer_for(model, PreTraining(steps=1, optimizer="muon", beta2=0.9, weight_decay=0.2))
    assert isinstance(muon, Muon)
    assert (muon.adamw.betas, muon.weight_decay) == ((0.9, 0.9), 0.2)
    adamw = optimizer_for(model, PreTraining(steps=1, beta2=0.9))
    assert isinstance(adamw, AdamW)
    assert adamw.betas == (0.9, 0.9)
    assert optimizer_for(model, Settings(steps=1)).betas == (0.9, 0.999)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_the_optimizer_of_an_extension_updates_as_a_new_one(name):
    model = BertForMaskedLM(BertConfig.preset("tiny", vocab_size=50), seed=0)
    vectors = []
    for settings in (
        PreTraining(steps=9, optimizer=name, extended_from=6),
        PreTraining(steps=3, optimizer=name),
    ):
        copy = model.astype(np.float32)
        optimizer = optimizer_for(copy, settings)
        assert optimizer.step == (settings.extended_from or 0)
        rng = np.random.default_rng(0)
        for _ in range(2):
            optimizer.update(rng.normal(size=copy.params.vector.shape).astype(np.float32), 0.01)
        vectors.append(copy.params.vector)
    assert (vectors[0] == vectors[1]).all()
    assert (vectors[0] != model.params.vector).any()


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_makes_settings_that_name_it(name):
    config = BertConfig.preset("mini", vocab_size=50, max_position_embeddings=32)
    settings = RECIPES[name].settings(config, 100, seed=3, batch_size=16)
    assert (settings.recipe, settings.steps, settings.seed, settings.batch_size) == (
        name,
        100,
        3,
        16,
    )
    assert settings.shards == 2  # 512 tokens a step
    assert settings.learning_rate == RECIPES[name].rate_times_width / 256
    assert settings.masked_share == RECIPES[name].masked_share


def test_the_recipe_of_version_1_is_its_default():
    config = BertConfig.preset("tiny", vocab_size=50, max_position_embeddings=32)
    settings = RECIPES["1"].settings(config, 2400)
    assert (settings.learning_rate, settings.batch_size, settings.shards) == (0.002, 64, 4)
    plain = Settings(steps=2400, batch_size=64, learning_rate=0.002)
    for step in (0, 100, 239, 240, 241, 2399):
        assert settings.rate(step) == plain.rate(step)
        assert settings.masked_share_at(step) == plain.masked_share_at(step)
    model = BertForMaskedLM(config, seed=0)
    optimizer, other = optimizer_for(model, settings), optimizer_for(model, plain)
    assert isinstance(optimizer, AdamW)
    assert vars(optimizer)["betas"] == vars(other)["betas"] == (0.9, 0.999)
    assert RECIPES["1"].dropout == 0
    assert RECIPES["bert"].dropout == 0.1
    assert RECIPES["bert"].settings(config, 2400, recipe="1") == settings


def test_the_recipe_of_version_1_gives_the_bits_of_its_settings(tokenizer, packed):
    rows, held_out = packed
    vectors = []
    for make in (RECIPES["1"].settings, lambda config, steps, **more: Settings(
        steps=steps, learning_rate=0.256 / config.hidden_size, **more
    )):  # fmt: skip
        config = BertConfig.preset("tiny", vocab_size=len(tokenizer), max_position_embeddings=64)
        model = BertForMaskedLM(config, seed=0)
        settings = make(config, 3, batch_size=8, shards=2)
        train_masked_lm(model, tokenizer, rows, held_out, settings)
        vectors.append(model.params.vector.tobytes())
    assert vectors[0] == vectors[1]


def test_the_default_recipe_exists():
    assert DEFAULT_RECIPE in RECIPES

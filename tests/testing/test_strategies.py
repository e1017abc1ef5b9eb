"""The strategies draw valid examples, reach the hard cases and shrink to small ones."""

import subprocess
import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from minibert import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel
from minibert.gradcheck import GradientError, away_from_initial, check_layer, check_model
from minibert.layers import FeedForward
from minibert.models.config import ACTIVATIONS, POSITIONS
from minibert.parameters import ParameterSpec
from minibert.testing.strategies import (
    HOSTILE,
    batches,
    configs,
    float_arrays,
    parameters,
    texts,
    vocabularies,
)
from minibert.tokenization import WordPieceTokenizer


def model_of(kind, config, seed=0):
    return kind(config, params=away_from_initial(kind(config).params, seed))


@st.composite
def cases(draw, **fixed):
    config = draw(configs(**fixed))
    return config, draw(batches(config))


@given(cases(), st.sampled_from([BertModel, BertForMaskedLM, BertForSequenceClassification]))
@settings(max_examples=40)
def test_every_model_accepts_every_batch(case, kind):
    config, batch = case
    out = model_of(kind, config)(**batch)
    array = out.last_hidden_state if kind is BertModel else out.logits
    assert np.isfinite(array).all()
    assert array.shape[:1] == batch["input_ids"].shape[:1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::minibert.gradcheck.BlindSpotWarning")  # for batches of one
@given(cases(hidden_act="gelu"), st.data())
@settings(max_examples=12)
def test_check_model_passes_on_every_batch(case, data):
    config, batch = case
    kind = data.draw(st.sampled_from([BertForMaskedLM, BertForSequenceClassification]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    if kind is BertForMaskedLM:
        labels = rng.integers(0, config.vocab_size, batch["input_ids"].shape)
        labels = np.where(rng.random(labels.shape) < 0.5, labels, -100)
    else:
        labels = rng.integers(0, config.num_labels, len(batch["input_ids"]))
    model = model_of(kind, config)
    for seed in (None, 3):
        # Gradients of small models may be rounding errors only; then both sides must be tiny.
        for row in check_model(
            model, batch, labels, dropout_seed=seed, entries=0, tolerance=np.inf
        ):
            difference = abs(row.analytic - row.numeric)
            assert row.error <= 1e-5 or difference <= 1e-10, row


@given(cases(pad_token_id=3))
@settings(max_examples=30)
def test_padded_positions_contain_the_padding_id_and_segment_0(case):
    _, batch = case
    padding = batch["attention_mask"] == 0
    assert (batch["input_ids"][padding] == 3).all()
    assert (batch["token_type_ids"][padding] == 0).all()


def test_configs_and_batches_reach_hard_cases_and_shrink():
    seen = set()

    @settings(max_examples=100)
    @given(configs())
    def look(config):
        seen.update({config.hidden_act, config.position_embedding_type, config.num_hidden_layers})
        seen.add("dropout" if config.hidden_dropout_prob else "no dropout")

    look()
    assert seen >= {*ACTIVATIONS, *POSITIONS, 1, 2, "dropout", "no dropout"}
    smallest = find(configs(), lambda c: c.hidden_act == "relu")
    assert (smallest.hidden_size, smallest.num_attention_heads) == (4, 1)
    assert (smallest.num_hidden_layers, smallest.vocab_size) == (1, 5)

    repeated = find(
        batches(smallest), lambda b: len(np.unique(b["input_ids"])) < b["input_ids"].size
    )
    assert repeated["input_ids"].size == 2
    padded = find(batches(smallest), lambda b: b["attention_mask"].min() == 0)
    assert padded["attention_mask"].tolist() == [[1, 0]]
    assert find(batches(smallest), lambda b: True)["input_ids"].tolist() == [[0]]


@given(configs(vocab_size=7, hidden_size=12, num_attention_heads=3))
@settings(max_examples=10)
def test_configs_keeps_given_fields(config):
    assert (config.vocab_size, config.hidden_size, config.num_attention_heads) == (7, 12, 3)


@pytest.mark.parametrize(
    ("fixed", "heads", "positions"),
    [
        ({"num_attention_heads": 5}, {5}, {*POSITIONS}),
        ({"hidden_size": 5}, {1}, {"absolute"}),
        ({"hidden_size": 8}, {1, 2}, {*POSITIONS}),
        ({"hidden_size": 9, "num_attention_heads": 9}, {9}, {"absolute"}),
        ({"position_embedding_type": "sinusoidal"}, {1, 2, 3}, {"sinusoidal"}),
        ({"pad_token_id": 30}, {1, 2, 3}, {*POSITIONS}),
    ],
)
def test_configs_draws_fields_that_fit_the_given_ones(fixed, heads, positions):
    seen = []

    @settings(max_examples=50)
    @given(configs(**fixed))
    def look(config):
        seen.append(config)

    look()
    assert all(getattr(config, name) == fixed[name] for config in seen for name in fixed)
    assert {config.num_attention_heads for config in seen} == heads
    assert {config.position_embedding_type for config in seen} == positions


@given(configs(hidden_act="gelu").flatmap(lambda c: st.tuples(st.just(c), batches(c))))
@settings(max_examples=20)
def test_batches_have_a_token_per_sequence_and_right_padding(case):
    config, batch = case
    mask = batch["attention_mask"]
    assert (mask[:, 0] == 1).all()
    assert (np.diff(mask, axis=1) <= 0).all()
    assert (batch["input_ids"][mask == 0] == config.pad_token_id).all()
    assert all(array.dtype == np.int64 for array in batch.values())


@given(
    float_arrays((2, 3), largest=2, dtype=np.float32),
    parameters({"dense.weight": (50,), "dense.bias": (50,)}, dtype=np.float32),
)
@settings(max_examples=20)
def test_float_arrays_are_bounded_and_parameters_are_away_from_initial_values(array, params):
    assert array.shape == (2, 3)
    assert array.dtype == params.vector.dtype == np.float32
    assert np.abs(array).max() <= 2
    assert (params["dense.weight"] != 1).all()
    assert abs(params["dense.weight"].mean()) < 0.3
    assert (params["dense.bias"] != 0).all()


def reaches(strategy, condition):
    """Find an example of the condition; Hypothesis raises NoSuchExample if there is none."""
    how = settings(max_examples=3000, database=None, phases=[Phase.generate], derandomize=True)
    return find(strategy, condition, settings=how)


@pytest.mark.parametrize(
    ("largest", "dtype"),
    [(1 / 256, np.float64), (0.01, np.float32), (2.999, np.float64), (65536, np.float32)],
)
def test_float_arrays_reach_both_bounds_and_never_pass_them(largest, dtype):
    bound = np.floor(largest * 256) / 256
    strategy = float_arrays((6,), largest=largest, dtype=dtype)
    highest = reaches(strategy, lambda x: x.max() >= bound)
    lowest = reaches(strategy, lambda x: x.min() <= -bound)
    assert highest.max() == -lowest.min() == bound


RANGES = {
    "vocab_size": (5, 20),
    "num_hidden_layers": (1, 2),
    "num_attention_heads": (1, 3),
    "hidden_size": (4, 18),
    "intermediate_size": (2, 9),
    "hidden_dropout_prob": (0.0, 0.5),
    "attention_probs_dropout_prob": (0.0, 0.5),
    "classifier_dropout": (None, 0.5),
    "max_position_embeddings": (2, 8),
    "type_vocab_size": (1, 3),
    "num_labels": (2, 4),
}


@pytest.mark.parametrize("field", RANGES)
def test_configs_reach_both_ends_of_every_range(field):
    for end in RANGES[field]:
        reaches(configs(), lambda config, end=end: getattr(config, field) == end)


def test_batches_reach_both_ends_of_sizes_and_ids():
    config = BertConfig(vocab_size=7, type_vocab_size=3, max_position_embeddings=5, pad_token_id=2)
    strategy = batches(config, max_batch=4, max_length=9)
    for shape in ((1, 1), (4, 5)):
        reaches(strategy, lambda batch, shape=shape: batch["input_ids"].shape == shape)
    for name, largest in (("input_ids", 6), ("token_type_ids", 2)):
        reaches(strategy, lambda batch, n=name, ends={0, largest}: ends <= {*batch[n].flat})
    reaches(strategy, lambda batch: {1, 5} <= {*batch["attention_mask"].sum(axis=1)})
    short = batches(config, max_length=2)
    reaches(short, lambda batch: batch["input_ids"].shape == (3, 2))


def test_parameters_reach_both_sides_of_their_mean():
    specs = {"scale": ParameterSpec((3,), "ones"), "shift": ParameterSpec((2, 2), "zeros")}
    for name, mean in (("scale", 1), ("shift", 0)):
        reaches(parameters(specs), lambda p, n=name, m=mean: p[n].min() < m - 0.5)
        reaches(parameters(specs), lambda p, n=name, m=mean: p[n].max() > m + 0.5)


def test_texts_and_vocabularies_reach_their_largest_size_and_all_their_letters():
    for part in (HOSTILE[1], HOSTILE[-1]):
        assert reaches(texts(max_size=1), lambda text, part=part: text == part)
    for size in (0, 3):
        reaches(texts(max_size=size), lambda text, size=size: len(text) >= 4 * size)
    for size in (0, 3):
        reaches(vocabularies(max_size=size), lambda pieces, size=size: len(pieces) == 5 + size)
    for start in ("a", "'", "##a", "##'"):
        reaches(vocabularies(), lambda pieces, s=start: any(p.startswith(s) for p in pieces))
    reaches(vocabularies(), lambda pieces: any(len(p.removeprefix("##")) == 4 for p in pieces[5:]))


@given(float_arrays((2, 2), largest=0.01, varied=True))
@settings(max_examples=20)
def test_varied_arrays_are_never_constant(array):
    assert np.ptp(array) > 0


@given(vocabularies(), texts(), texts())
@settings(max_examples=60)
def test_every_vocabulary_encodes_every_text(vocabulary, text, pair):
    tokenizer = WordPieceTokenizer(vocabulary)
    encoding = tokenizer.encode(text, pair)
    assert all(0 <= i < tokenizer.vocab_size for i in encoding.input_ids)
    assert [encoding.tokens[0], encoding.tokens[-1]] == ["[CLS]", "[SEP]"]
    assert isinstance(tokenizer.decode(encoding.input_ids), str)
    text.encode("utf-8")  # raises on a lone surrogate


def test_texts_reach_hard_characters_and_shrink():
    seen = set()

    @settings(max_examples=500, derandomize=True)
    @given(texts())
    def look(text):
        seen.update(text)

    look()
    assert seen >= set("\x00\u200b\ufeff\u0301\u3000İ한👩")
    assert find(texts(), lambda text: "\u0301" in text) == "\u0301"
    assert find(texts(), lambda text: len(text) > 50) == "a" * 101
    smallest = find(vocabularies(), lambda pieces: "##a" in pieces)
    assert smallest == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "##a"]


def test_check_layer_rejects_a_wrong_layer_with_drawn_parameters():
    class Wrong(FeedForward):
        def backward(self, dout, cache, params, grads, dsite):
            return super().backward(dout, cache, params, grads, dsite) + 0.01

    def sizes(config):
        return config.hidden_size, config.intermediate_size, config.hidden_act

    @settings(max_examples=5, database=None, phases=[Phase.generate])
    @given(configs(hidden_act="gelu").flatmap(
        lambda c: st.tuples(st.just(c), parameters(Wrong(*sizes(c)).specs()),
                            float_arrays((2, 3, c.hidden_size), varied=True))))  # fmt: skip
    def check(case):
        config, params, x = case
        check_layer(Wrong(*sizes(config)), {"x": x, "site": None}, params, entries=2)

    with pytest.raises(GradientError, match=r"x at"):
        check()


def test_cli_and_cases_do_not_import_hypothesis():
    code = "import sys, minibert.cli, minibert.testing.cases; sys.exit('hypothesis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: float_arrays((2,), largest=-1), "largest: expected a number from 0 .*, got -1"),
        (lambda: float_arrays((2,), largest=np.nan), "largest: expected .*, got nan"),
        (lambda: float_arrays((2,), largest=np.inf), "largest: expected .*, got inf"),
        (lambda: float_arrays((2,), dtype=int), "dtype: expected float32 or float64, got int64"),
        (lambda: float_arrays((1,), varied=True), r"varied: arrays of the shape \(1,\)"),
        (lambda: float_arrays((0, 3), varied=True), r"varied: arrays of the shape \(0, 3\)"),
        (lambda: float_arrays((2,), largest=0.001, varied=True), "varied: .* up to 0.001 are all"),
        (lambda: configs(num_attention_heads=0), "num_attention_heads: expected .*, got 0"),
        (lambda: configs(num_attention_heads="2"), "num_attention_heads: expected .*, got '2'"),
        (lambda: configs(hidden_size="8"), "hidden_size: expected a whole number .*, got '8'"),
        (lambda: configs(pad_token_id=None), "pad_token_id: expected a whole number .*, got None"),
        (lambda: configs(pad_token_id=-9), "pad_token_id: expected a whole number .*, got -9"),
        (lambda: find(batches(BertConfig(), max_batch=0), bool), "max_batch: expected .*, got 0"),
        (lambda: find(batches(BertConfig(), max_length=0), bool), "max_length: expected .*, got 0"),
    ],
)
def test_strategies_name_an_invalid_argument(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_float_arrays_of_shape_0_are_arrays():
    assert isinstance(find(float_arrays(()), lambda x: x > 0), np.ndarray)


def test_hostile_parts_are_distinct_in_several_normal_forms():
    assert len(set(HOSTILE)) == len(HOSTILE)
    for form in ("NFC", "NFD", "NFKC"):
        assert any(unicodedata.normalize(form, part) != part for part in HOSTILE)
    assert {"한", unicodedata.normalize("NFD", "한"), "\u212b"} <= set(HOSTILE)

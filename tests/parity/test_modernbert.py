"""Parity with transformers' ModernBERT: texts beyond a window, pooling, kinds of layers, files.

Every parameter is away from its initial value. `transformers` computes the rotary positions in
float32 whatever the dtype, so its own code is compared with a tolerance of 1e-6, and one that
computes them in float64 with 1e-10. See `test_relatives` for the heads.
"""

import json

import numpy as np
import pytest

from minibert import (
    ModernBertConfig,
    ModernBertForMaskedLM,
    ModernBertForMultipleChoice,
    ModernBertForSequenceClassification,
    ModernBertForTokenClassification,
    ModernBertModel,
)
from minibert.models.families.window_config import FULL, SLIDING
from minibert.models.weights import open_weights
from tests.parity.exact_modernbert import compute_exactly
from tests.parity.test_relatives import assert_parity
from tests.parity.test_transformers import close, tensors

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

B, T, V, D = 4, 11, 37, 24
RNG = np.random.default_rng(0)
MASK = (np.arange(T) < np.array([T, 7, 4, 9])[:, None]).astype(np.int64)
MASK[0, 3] = MASK[3, 5] = 0  # padding inside a text
IDS = np.where(MASK, RNG.integers(1, V, (B, T)), 0)
BATCH = {"input_ids": IDS, "attention_mask": MASK}
LABELS = np.where(MASK & (RNG.random((B, T)) < 0.4), IDS, -100)
# Of models that transformers makes; its padding token is 50283.
SIZES = {"vocab_size": 50300, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8}
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-6}


def config(**changes):
    fields = {
        "vocab_size": V,
        "hidden_size": D,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "intermediate_size": 40,
        "max_position_embeddings": 80,
        "pad_token_id": 0,
        "local_attention": 4,
        "local_rope_theta": 90.0,
        "id2label": {0: "a", 1: "b", 2: "c"},
    }
    return ModernBertConfig(**{**fields, **changes})


def ours(kind, dtype, **changes):
    model = kind(config(**changes), dtype=dtype)
    rng = np.random.default_rng(1)
    for name, array in model.params.items():
        array[...] = rng.normal(0, 0.15, array.shape) + name.endswith("LayerNorm.weight")
    return model


def theirs(model, folder):
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    dtype = torch.float64 if model.params.vector.dtype == np.float64 else torch.float32
    kind = getattr(transformers, type(model).__name__)
    loaded, info = kind.from_pretrained(
        folder, attn_implementation="sdpa", dtype=dtype, output_loading_info=True
    )
    assert not any(info.values()), info  # no missing, unexpected or mismatched tensor
    return loaded.eval()


def gradients_by_file_name(model, grads):
    """Return the gradients under the names and in the shapes of a file."""
    return model.file_names.outward(grads)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "changes",
    [{}, {"rope_theta": 100.0}, {"global_attn_every_n_layers": 1}, {"local_attention": 100}],
    ids=str,
)  # fmt: skip
def test_masked_lm_gives_the_logits_losses_and_gradients_of_transformers(tmp_path, changes, dtype):
    model = ours(ModernBertForMaskedLM, dtype, **changes)
    hf = theirs(model, tmp_path)
    out = hf(**tensors(BATCH), **tensors({"labels": LABELS}))
    out.loss.backward()
    loss, grads = model.loss_and_grads(BATCH, LABELS)
    mine, real, tolerance = model(**BATCH, labels=LABELS), MASK == 1, TOLERANCE[dtype]
    assert abs(loss - out.loss.item()) <= tolerance
    assert abs(mine.loss - out.loss.item()) <= tolerance
    assert close(mine.logits[real], out.logits[real], tolerance)
    reference = {name: tensor.grad.numpy() for name, tensor in hf.named_parameters()}
    own = gradients_by_file_name(model, grads)
    assert own.keys() == reference.keys()
    for name, gradient in reference.items():
        assert own[name].shape == gradient.shape
        assert np.linalg.norm(own[name] - gradient) <= tolerance * np.linalg.norm(gradient), name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_body_gives_the_outputs_and_hidden_states_of_transformers(tmp_path, dtype):
    model = ours(ModernBertModel, dtype)
    hf = theirs(model, tmp_path)
    mine = model(**BATCH, output_hidden_states=True, output_attentions=True)
    out = hf(**tensors(BATCH), output_hidden_states=True)
    real = MASK == 1
    assert close(mine.last_hidden_state[real], out.last_hidden_state[real], TOLERANCE[dtype])
    assert len(mine.hidden_states) == len(out.hidden_states) == 4
    for a, b in zip(mine.hidden_states, out.hidden_states, strict=True):
        assert close(a[real], b[real], TOLERANCE[dtype])
    assert [each.shape for each in mine.attentions] == 3 * [(B, 3, T, T)]


LONG = 70  # tokens, of which five blocks of a window of 16 on each side are made
LONG_MASK = (np.arange(LONG) < np.array([LONG, 41, 66])[:, None]).astype(np.int64)
LONG_MASK[0, 20:27] = LONG_MASK[2, 0] = 0  # padding inside, and in front
LONG_IDS = np.where(LONG_MASK, RNG.integers(1, V, LONG_MASK.shape), 0)
LONG_IDS[2, 0] = 5  # which a classifier reads; PyTorch drops the gradient of the padding id
LONG_BATCH = {"input_ids": LONG_IDS, "attention_mask": LONG_MASK}
LONG_LABELS = np.where(LONG_MASK & (RNG.random(LONG_MASK.shape) < 0.3), LONG_IDS, -100)
ALTERNATING = {"num_hidden_layers": 5, "local_attention": 33}  # odd: 16 on each side
KINDS = {
    "every third": ALTERNATING,
    "the last has a window": {**ALTERNATING, "num_hidden_layers": 3},
    "no period": {"layer_types": (SLIDING, FULL, SLIDING), "local_attention": 32},
    "windows alone": {"layer_types": (SLIDING,) * 3, "local_attention": 32},
    "narrow": {"local_attention": 3, "global_attn_every_n_layers": 2},
}


@pytest.mark.parametrize("kinds", KINDS)
def test_texts_beyond_the_window_equal_transformers(tmp_path, monkeypatch, kinds):
    compute_exactly(monkeypatch)
    model = ours(ModernBertForMaskedLM, np.float64, **KINDS[kinds])
    assert_parity(model, LONG_BATCH, LONG_LABELS, tmp_path)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize(
    "kind",
    [ModernBertForSequenceClassification, ModernBertForTokenClassification,
     ModernBertForMultipleChoice],
)  # fmt: skip
def test_heads_of_long_texts_equal_transformers(tmp_path, monkeypatch, kind, pooling):
    compute_exactly(monkeypatch)
    model = ours(kind, np.float64, **ALTERNATING, classifier_pooling=pooling)
    batch, labels, zeros = LONG_BATCH, np.array([2, 0, 1]), ()
    if kind is ModernBertForTokenClassification:
        labels = np.where(LONG_LABELS < 0, -100, LONG_LABELS % 3)
    if kind is ModernBertForMultipleChoice:
        batch = {n: np.stack([a, a[::-1], np.roll(a, 1, 0)], axis=1) for n, a in batch.items()}
        zeros = ("classifier.bias",)
    assert_parity(model, batch, labels, tmp_path, zeros)


@pytest.mark.parametrize("kind", [ModernBertForMaskedLM, ModernBertModel])
def test_checkpoint_saved_by_transformers_is_bitwise_equal(tmp_path, kind):
    model = ours(kind, np.float32, rope_theta=20000.0, layer_norm_eps=1e-3)
    theirs(model, tmp_path / "ours").save_pretrained(tmp_path / "theirs")
    back = kind.from_pretrained(tmp_path / "theirs", strict=True)
    assert (back.params.vector == model.params.vector).all()
    assert back.config == model.config
    with open_weights(tmp_path / "ours") as own, open_weights(tmp_path / "theirs") as other:
        assert own.keys() == other.keys()


def test_new_model_of_transformers_is_opened(tmp_path):
    import transformers

    sizes = {**SIZES, "num_hidden_layers": 2, "layer_types": ["full_attention"] * 2}
    theirs = transformers.ModernBertForMaskedLM(transformers.ModernBertConfig(**sizes)).eval()
    theirs.save_pretrained(tmp_path)
    model = ModernBertForMaskedLM.from_pretrained(tmp_path, strict=True)
    assert model.config.pad_token_id == 50283
    assert model.config.rope_theta == 160000.0
    assert close(
        model([[1, 5, 9]]).logits,
        theirs(**tensors({"input_ids": np.array([[1, 5, 9]])})).logits,
        1e-5,
    )


@pytest.mark.parametrize("version", [4, 5])
def test_new_model_with_the_windows_of_transformers_is_opened(tmp_path, version):
    import transformers

    sizes = {**SIZES, "num_hidden_layers": 5, "local_attention": 8, "classifier_pooling": "mean"}
    hf = transformers.ModernBertForMaskedLM(transformers.ModernBertConfig(**sizes)).eval()
    hf.save_pretrained(tmp_path)
    if version == 4:
        stated = json.loads((tmp_path / "config.json").read_text())
        del stated["layer_types"], stated["rope_parameters"]
        old = {"global_attn_every_n_layers": 3, "global_rope_theta": 160000.0,
               "local_rope_theta": 10000.0}  # fmt: skip
        (tmp_path / "config.json").write_text(json.dumps({**stated, **old}))
    model = ModernBertForMaskedLM.from_pretrained(tmp_path, strict=True)
    assert model.config.kinds == (FULL, SLIDING, SLIDING, FULL, SLIDING)
    assert (model.config.local_attention, model.config.classifier_pooling) == (8, "mean")
    ids = np.arange(1, 41)[None] * 7
    out = hf(**tensors({"input_ids": ids})).logits
    assert close(model(ids).logits, out, 1e-5)


def test_classifier_of_a_masked_lm_begins_with_its_transform(tmp_path):
    """As in transformers, whose names of both heads are the same."""
    import transformers

    model = ours(ModernBertForMaskedLM, np.float32)
    model.save_pretrained(tmp_path)
    classifier = ModernBertForSequenceClassification.from_pretrained(tmp_path)
    hf = transformers.ModernBertForSequenceClassification.from_pretrained(tmp_path)
    own = classifier.params["cls.predictions.transform.dense.weight"]
    np.testing.assert_array_equal(own, hf.head.dense.weight.detach().numpy())
    np.testing.assert_array_equal(own, model.params["cls.predictions.transform.dense.weight"])

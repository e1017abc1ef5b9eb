"""Parity with transformers' ModernBERT: outputs, losses, every gradient, files in both directions.

Every parameter is away from its initial value. `transformers` computes the rotary positions in
float32 whatever the dtype, so float64 is compared with a tolerance of 1e-6.
"""

import json

import numpy as np
import pytest

from minibert import ModernBertConfig, ModernBertForMaskedLM, ModernBertModel
from minibert.models.checkpoints import read_config
from minibert.models.weights import open_weights
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
        "max_position_embeddings": 17,
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
    [{}, {"rope_theta": 100.0}, {"hidden_act": "gelu_new"}, {"hidden_act": "relu"},
     {"num_attention_heads": 1, "layer_norm_eps": 0.1}],
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


def test_attention_weights_equal_transformers(tmp_path):
    import transformers

    model = ours(ModernBertModel, np.float32)
    theirs(model, tmp_path)
    hf = transformers.ModernBertModel.from_pretrained(tmp_path, attn_implementation="eager").eval()
    out = hf(**tensors(BATCH), output_attentions=True).attentions
    for a, b in zip(model(**BATCH, output_attentions=True).attentions, out, strict=True):
        assert close(a[MASK[:, 0] == 1], b, 1e-5)


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


def test_local_attention_is_refused(tmp_path):
    import transformers

    sizes = {**SIZES, "num_hidden_layers": 4}
    transformers.ModernBertForMaskedLM(transformers.ModernBertConfig(**sizes)).save_pretrained(
        tmp_path
    )
    message = "layer_types: expected full_attention in every layer, got 'sliding_attention'"
    with pytest.raises(ValueError, match=message):
        ModernBertForMaskedLM.from_pretrained(tmp_path)
    stated = json.loads((tmp_path / "config.json").read_text())
    del stated["layer_types"]  # as transformers 4 writes it
    (tmp_path / "config.json").write_text(json.dumps({**stated, "global_attn_every_n_layers": 3}))
    with pytest.raises(ValueError, match=message):
        read_config(tmp_path)

"""Parity of BERT's relatives with transformers: outputs, losses, every gradient, files.

Every parameter is away from its initial value; texts are padded at the end and inside.
"""

import inspect

import numpy as np
import pytest

from minibert import AutoModel
from minibert.models.table import FAMILIES, model_class
from minibert.models.weights import open_weights
from tests.models.relatives import CASES, MASK, RELATIVES, USES, batch_of, made
from tests.parity.test_transformers import close, named, tensors

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

TOLERANCE = 1e-10
REAL = MASK == 1


def theirs(model, folder, attention="sdpa"):
    """Save a model, and return it as transformers opens it."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    dtype = torch.float64 if model.params.vector.dtype == np.float64 else torch.float32
    kind = getattr(transformers, type(model).__name__)
    loaded, info = kind.from_pretrained(
        folder, attn_implementation=attention, dtype=dtype, output_loading_info=True
    )
    assert not any(info.values()), info  # no missing, unexpected or mismatched tensor
    return loaded.eval()


def inputs(hf, batch):
    """Return the arrays of a batch that a model of transformers takes."""
    taken = inspect.signature(hf.forward).parameters
    return tensors({name: array for name, array in batch.items() if name in taken})


def scores_of(out):
    """Return the logits of an output by name, of either program."""
    fields = vars(out) if not hasattr(out, "keys") else dict(out)
    return {n: value for n, value in fields.items() if n.endswith("logits") and value is not None}


def assert_same_gradients(model, grads, hf, zeros=()):
    words = f"{model.file_names.prefix}embeddings.word_embeddings.weight"
    reference = {  # an XLM-RoBERTa's table is named by its head, which is tied to it
        words if name == "lm_head.decoder.weight" else name: each.grad.numpy()
        for name, each in hf.named_parameters()
    }
    own = model.file_names.outward(grads)
    zero = [n for n in model.params if f".{n}".endswith((".key.bias", *(f".{z}" for z in zeros)))]
    zero_names = model.file_names.outward(
        type(grads)({n: model.params.shapes[n] for n in zero})
    ).keys()
    assert own.keys() == reference.keys()
    for name, gradient in reference.items():
        if name in zero_names:
            assert max(np.abs(own[name]).max(), np.abs(gradient).max()) <= TOLERANCE, name
            continue
        assert np.linalg.norm(gradient) > 0, name
        difference = np.linalg.norm(own[name] - gradient)
        assert difference <= TOLERANCE * np.linalg.norm(gradient), name


def assert_parity(model, batch, labels, folder, zeros=()):
    """Compare logits, loss and all gradients."""
    hf = theirs(model, folder)
    out = hf(**inputs(hf, batch), **tensors(named(labels)))
    out.loss.backward()
    loss, grads = model.loss_and_grads(batch, labels)
    mine = model(**batch, **named(labels))
    assert abs(loss - out.loss.item()) <= TOLERANCE
    assert abs(mine.loss - out.loss.item()) <= TOLERANCE
    own, other = scores_of(mine), scores_of(out)
    assert own.keys() == other.keys()
    for name, logits in own.items():
        real = batch["attention_mask"] == 1
        assert logits.shape == other[name].shape
        where = real if logits.shape[:2] == real.shape else slice(None)
        assert close(logits[where], other[name][where], TOLERANCE)
    assert_same_gradients(model, grads, hf, zeros)


@pytest.mark.parametrize(("family", "use"), CASES)
def test_models_give_the_logits_losses_and_gradients_of_transformers(tmp_path, family, use):
    _, labels, zeros = USES[use]
    assert_parity(made(family, use), batch_of(family, use), labels, tmp_path, zeros)


ODD = {
    "gelu_new": {"hidden_act": "gelu_new"},
    "relu": {"hidden_act": "relu"},
    "padding elsewhere": {"pad_token_id": 36},
    "eps": {"layer_norm_eps": 1e-3},
    "one head": {"num_attention_heads": 1},
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("use", ["ForMaskedLM", "ForSequenceClassification"])
@pytest.mark.parametrize("family", RELATIVES)
def test_options_of_the_configuration(tmp_path, family, use, odd):
    kind = model_class(f"{FAMILIES[family].front}Config")
    if next(iter(ODD[odd])) in kind.left_out or (family, odd) == ("mpnet", "padding elsewhere"):
        with pytest.raises(ValueError, match=next(iter(ODD[odd]))):
            made(family, use, **ODD[odd])
        return
    batch, labels = batch_of(family), USES[use][1]
    changes = dict(ODD[odd])
    if odd == "padding elsewhere":
        batch["input_ids"] = np.where(MASK, np.minimum(batch["input_ids"], 35), 36)
        labels = np.where(labels == 36, 35, labels)
        changes["max_position_embeddings"] = 36 + 1 + 17  # which is enough where positions count
    assert_parity(made(family, use, **changes), batch, labels, tmp_path)


@pytest.mark.parametrize("family", RELATIVES)
def test_bodies_give_the_outputs_states_and_gradients_of_transformers(tmp_path, family):
    import torch

    model, batch = made(family, "Model"), batch_of(family)
    hf = theirs(model, tmp_path, attention="eager")
    mine = model(**batch, output_hidden_states=True, output_attentions=True)
    out = hf(**inputs(hf, batch), output_hidden_states=True, output_attentions=True)
    assert len(mine.hidden_states) == len(out.hidden_states) == 4
    pairs = zip((mine.last_hidden_state, *mine.hidden_states),
                (out.last_hidden_state, *out.hidden_states), strict=True)  # fmt: skip
    assert all(close(a[REAL], b[REAL], TOLERANCE) for a, b in pairs)
    for a, b in zip(mine.attentions, out.attentions, strict=True):
        assert close(a, b, TOLERANCE)
    rng = np.random.default_rng(2)  # random cotangents, zero at padded positions
    dx = rng.standard_normal(mine.last_hidden_state.shape) * MASK[..., None]
    total, douts = (out.last_hidden_state * torch.tensor(dx)).sum(), dx
    if mine.pooler_output is not None:
        assert close(mine.pooler_output, out.pooler_output, TOLERANCE)
        dpooled = rng.standard_normal(mine.pooler_output.shape)
        total, douts = total + (out.pooler_output * torch.tensor(dpooled)).sum(), (dx, dpooled)
    total.backward()
    _, cache = model.forward(model.check(**batch))
    grads = model.params.zeros_like()
    model.backward(douts, cache, grads)
    assert_same_gradients(model, grads, hf)


@pytest.mark.parametrize(("family", "use"), [*CASES, *((name, "Model") for name in RELATIVES)])
def test_checkpoint_saved_by_transformers_is_bitwise_equal(tmp_path, family, use):
    model = made(family, use, np.float32)
    theirs(model, tmp_path / "ours").save_pretrained(tmp_path / "theirs")
    back = type(model).from_pretrained(tmp_path / "theirs", strict=True)
    assert (back.params.vector == model.params.vector).all()
    assert back.config == model.config
    with open_weights(tmp_path / "ours") as own, open_weights(tmp_path / "theirs") as other:
        assert own.keys() == other.keys()


@pytest.mark.parametrize("family", RELATIVES)
def test_new_model_of_transformers_with_its_default_fields_is_opened(tmp_path, family):
    import transformers

    front = FAMILIES[family].front
    small = {"vocab_size": 20, "num_hidden_layers": 1, "n_layers": 1, "hidden_size": 12, "dim": 12,
             "num_attention_heads": 3, "n_heads": 3, "intermediate_size": 8,
             "hidden_dim": 8, "embedding_size": 6}  # fmt: skip
    known = vars(getattr(transformers, f"{front}Config")())
    config = getattr(transformers, f"{front}Config")(
        **{name: value for name, value in small.items() if name in known}
    )
    hf = getattr(transformers, f"{front}Model")(config).eval()
    hf.save_pretrained(tmp_path)
    model = AutoModel.from_pretrained(tmp_path, strict=True)
    assert type(model).__name__ == f"{front}Model"
    stated = {name: getattr(model.config, name) for name in vars(model.config)}
    for name in ("pad_token_id", "max_position_embeddings", "hidden_dropout_prob"):
        assert stated[name] == getattr(config, model.config.renamed.get(name, name))
    ids = np.array([[0, 5, 9, 7, 2]])
    out = hf(**inputs(hf, {"input_ids": ids})).last_hidden_state
    assert close(model(ids).last_hidden_state, out, 1e-5)

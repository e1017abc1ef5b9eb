"""Parity of BERT's relatives with transformers: outputs, losses, every gradient, files.

Every parameter is away from its initial value; texts are padded at the end and inside.
"""

import inspect

import numpy as np
import pytest

from minibert import AutoModel
from minibert.functional.families.disentangled import log_buckets
from minibert.functional.relative import relative_buckets
from minibert.models.table import FAMILIES, model_class
from minibert.models.weights import open_weights
from tests.models.relatives import CASES, MASK, RELATIVES, USES, B, T, batch_of, made, use_of
from tests.parity.exact_modernbert import compute_exactly
from tests.parity.test_transformers import close, named, tensors

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

TOLERANCE = 1e-10
REAL = MASK == 1


@pytest.fixture(autouse=True)
def _exactly(monkeypatch):
    compute_exactly(monkeypatch)


def theirs(model, folder, attention="eager"):
    """Save a model, and return it as transformers opens it; an MPNet's attention is eager alone."""
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
    if model.config.model_type != "deberta-v2":  # whose keys meet positions, too
        zeros = ("key.bias", *zeros)
    zero = [n for n in model.params if f".{n}".endswith(tuple(f".{z}" for z in zeros))]
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


def loss_of(out, batch, labels, hf):
    """Return the loss of transformers; again in float64 where it computes in float32."""
    import torch

    if type(out).__name__ == "ElectraForPreTrainingOutput":
        real = torch.tensor(batch["attention_mask"] == 1)
        each = out.logits[real], torch.tensor(labels, dtype=torch.float64)[real]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(*each)
    elif type(hf).__name__ == "ModernBertForMaskedLM":
        flat = out.logits.flatten(0, 1), torch.tensor(labels).flatten()
        loss = torch.nn.functional.cross_entropy(*flat)
    else:
        return out.loss
    assert abs(loss.item() - out.loss.item()) <= 1e-6
    return loss


def assert_parity(model, batch, labels, folder, zeros=()):
    """Compare logits, loss and all gradients."""
    hf = theirs(model, folder)
    out = hf(**inputs(hf, batch), **tensors(named(labels)))
    reference = loss_of(out, batch, labels, hf)
    reference.backward()
    loss, grads = model.loss_and_grads(batch, labels)
    mine = model(**batch, **named(labels))
    assert abs(loss - reference.item()) <= TOLERANCE
    assert abs(mine.loss - reference.item()) <= TOLERANCE
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
    _, labels, zeros = use_of(family, use)
    assert_parity(made(family, use), batch_of(family, use), labels, tmp_path, zeros)


# Of DeBERTa, each with 3H a square or with the factor of the terms that are left.
DEBERTA = {
    "content to position": {"pos_att_type": ["c2p"], "num_attention_heads": 3},
    "position to content": {"pos_att_type": "p2c", "num_attention_heads": 3},
    "maps of their own": {"share_att_key": False},
    "own map, content to position": {
        "share_att_key": False, "pos_att_type": ["c2p"], "num_attention_heads": 3,
    },
    "no buckets, no norm": {"position_buckets": -1, "norm_rel_ebd": "none"},
    "distances clipped": {"position_buckets": -1, "max_relative_positions": 4},
    "buckets to another distance": {"max_relative_positions": 8, "position_buckets": 4},
    "positions, segments, projection": {
        "position_biased_input": True, "type_vocab_size": 3, "embedding_size": 10,
    },
    "no distances": {
        "relative_attention": False, "norm_rel_ebd": "none", "position_biased_input": True,
    },
    "no terms": {"pos_att_type": None, "hidden_size": 12, "num_attention_heads": 3},
    "the new head": {"legacy": False},
    "tanh, dropouts": {"pooler_hidden_act": "tanh", "cls_dropout": 0.3, "pooler_dropout": 0.2},
}  # fmt: skip


@pytest.mark.parametrize("option", DEBERTA)
@pytest.mark.parametrize("use", ["ForMaskedLM", "ForSequenceClassification"])
def test_options_of_a_deberta(tmp_path, use, option):
    changes = DEBERTA[option]
    batch = batch_of("deberta-v2", use)
    batch["token_type_ids"] %= changes.get("type_vocab_size", 2)
    model = made("deberta-v2", use, **changes)
    hf = theirs(model, tmp_path)
    labels = USES[use][1]
    out = hf(**inputs(hf, batch), **tensors(named(labels)))
    out.loss.backward()
    loss, grads = model.loss_and_grads(batch, labels)
    assert abs(loss - out.loss.item()) <= TOLERANCE
    where = REAL if use == "ForMaskedLM" else slice(None)
    assert close(model(**batch).logits[where], out.logits[where], TOLERANCE)
    own, reference = model.file_names.outward(grads), dict(hf.named_parameters())
    assert own.keys() == reference.keys()
    for name, parameter in reference.items():
        gradient = np.zeros(parameter.shape) if parameter.grad is None else parameter.grad.numpy()
        norm = max(np.linalg.norm(gradient), 1e-3)
        assert np.linalg.norm(own[name] - gradient) <= TOLERANCE * norm, name
    # Softmax ignores what is added to all scores of a query, and without terms R is not read.
    zero = {name for name, own in grads.items() if np.abs(own).max() <= TOLERANCE}
    unread = ("key.bias", "encoder.LayerNorm.bias")
    if option == "no terms":
        unread += ("encoder.LayerNorm.weight", "rel_embeddings.weight")
    assert all(name.endswith(unread) for name in zero), zero


@pytest.mark.parametrize("length", [250, 100])
def test_texts_beyond_the_buckets_of_a_deberta_equal_transformers(tmp_path, length):
    """Of 16 buckets in each direction, of which the farthest distances share the last."""
    changes = {"max_position_embeddings": 256, "num_hidden_layers": 2, "position_buckets": 16}
    changes |= {"max_relative_positions": 60}  # of distances beyond 60, some are clipped
    model = made("deberta-v2", **changes)
    rng = np.random.default_rng(7)
    ids = rng.integers(2, 37, (2, length))
    mask = np.arange(length) < np.array([[length], [length * 2 // 3]])
    mask[0, 50:53] = False
    batch = {"input_ids": np.where(mask, ids, 0), "attention_mask": mask * 1}
    labels = np.where(mask & (rng.random(ids.shape) < 0.2), ids, -100)
    assert_parity(model, batch, labels, tmp_path)


@pytest.mark.parametrize(("buckets", "farthest"), [(256, 512), (16, 60), (2, 9), (64, 2048)])
def test_the_bucket_of_each_distance_equals_transformers(buckets, farthest):
    import torch
    from transformers.models.deberta_v2 import modeling_deberta_v2

    distances = np.arange(-2047, 2048)
    expected = modeling_deberta_v2.make_log_bucket_position(
        torch.tensor(distances), buckets, farthest
    )
    np.testing.assert_array_equal(log_buckets(distances, buckets, farthest), expected.numpy())


ODD = {
    "gelu_new": {"hidden_act": "gelu_new"},
    "relu": {"hidden_act": "relu"},
    "padding elsewhere": {"pad_token_id": 36},
    "eps": {"layer_norm_eps": 1e-3},
    "one head": {"num_attention_heads": 1},
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("use", ["ForMaskedLM", "ForSequenceClassification"])
@pytest.mark.parametrize(
    "family", ["distilbert", "roberta", "electra", "mpnet", "albert", "deberta-v2", "modernbert"]
)
def test_options_of_the_configuration(tmp_path, family, use, odd):
    kind = model_class(f"{FAMILIES[family].front}Config")
    if next(iter(ODD[odd])) in kind.left_out or (family, odd) == ("mpnet", "padding elsewhere"):
        with pytest.raises(ValueError, match=next(iter(ODD[odd]))):
            made(family, use, **ODD[odd])
        return
    batch, labels = batch_of(family), USES[use][1]
    changes = dict(ODD[odd])
    if (family, odd) == ("deberta-v2", "one head"):
        changes["hidden_size"] = 12  # 3H is a square
    if odd == "padding elsewhere":
        batch["input_ids"] = np.where(MASK, np.minimum(batch["input_ids"], 35), 36)
        labels = np.where(labels == 36, 35, labels)
        changes["max_position_embeddings"] = 36 + 1 + 17  # which is enough where positions count
    assert_parity(made(family, use, **changes), batch, labels, tmp_path)


@pytest.mark.parametrize("family", RELATIVES)
def test_bodies_give_the_outputs_states_and_gradients_of_transformers(tmp_path, family):
    import torch

    model, batch = made(family, "Model"), batch_of(family)
    hf = theirs(model, tmp_path)
    mine = model(**batch, output_hidden_states=True, output_attentions=True)
    out = hf(**inputs(hf, batch), output_hidden_states=True, output_attentions=True)
    assert len(mine.hidden_states) == len(out.hidden_states) == 4
    pairs = zip((mine.last_hidden_state, *mine.hidden_states),
                (out.last_hidden_state, *out.hidden_states), strict=True)  # fmt: skip
    assert all(close(a[REAL], b[REAL], TOLERANCE) for a, b in pairs)
    for a, b in zip(mine.attentions, out.attentions, strict=True):
        # A padded token that has no token in its window attends to nothing here.
        rows = REAL if family == "modernbert" else slice(None)
        a, b = a.swapaxes(1, 2), b.swapaxes(1, 2)  # (B, K, T, T) -> (B, T, K, T)
        assert close(a[rows], b[rows], TOLERANCE)
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
    if family == "modernbert":  # whose padding token is 50283
        small["vocab_size"] = 50300
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


def test_distances_beyond_the_last_bucket_equal_transformers(tmp_path):
    """Of T = 260 tokens, and the buckets of 1,024."""
    import torch
    import transformers

    changes = {"max_position_embeddings": 262, "num_hidden_layers": 2}
    model = made("mpnet", **changes)
    rng = np.random.default_rng(7)
    ids = rng.integers(2, 37, (2, 260))
    mask = np.arange(260) < np.array([[260], [173]])
    batch = {"input_ids": np.where(mask, ids, 1), "attention_mask": mask * 1}
    labels = np.where(mask & (rng.random(ids.shape) < 0.2), ids, -100)
    assert_parity(model, batch, labels, tmp_path)
    distance = torch.arange(1024)[None] - torch.arange(1024)[:, None]
    encoder = transformers.models.mpnet.modeling_mpnet.MPNetEncoder
    expected = encoder.relative_position_bucket(distance).numpy()
    np.testing.assert_array_equal(relative_buckets(1024), expected)


@pytest.mark.parametrize("family", ["roberta", "mpnet"])
def test_a_padding_id_inside_a_text_equals_transformers(tmp_path, family):
    """Where the mask does not hide it, PyTorch drops the gradient of its rows, and only theirs."""
    model, batch = made(family), batch_of(family)
    batch["attention_mask"] = np.ones_like(MASK)
    hf = theirs(model, tmp_path)
    labels = USES["ForMaskedLM"][1]
    out = hf(**inputs(hf, batch), **tensors({"labels": labels}))
    out.loss.backward()
    loss, grads = model.loss_and_grads(batch, labels)
    assert abs(loss - out.loss.item()) <= TOLERANCE
    assert close(model(**batch).logits, out.logits, TOLERANCE)
    words = dict(hf.named_parameters())[f"{family}.embeddings.word_embeddings.weight"]
    own = grads["bert.embeddings.word_embeddings.weight"].copy()
    own[1] = words.grad[1]
    assert np.linalg.norm(own - words.grad.numpy()) <= TOLERANCE * np.linalg.norm(own)


@pytest.mark.parametrize(
    "front", ["DistilBert", "Roberta", "Electra", "MPNet", "Albert", "DebertaV2", "ModernBert"]
)
def test_pairs_of_texts_with_padding_in_front_equal_transformers(tmp_path, front):
    """Pairs with segments where the family has them, padded in front."""
    family = next(name for name in RELATIVES if FAMILIES[name].front == front)
    model = made(family)
    batch = {name: array[:, ::-1].copy() for name, array in batch_of(family).items()}
    segments = (model.config.type_vocab_size or 2) if family != "mpnet" else 1
    batch["token_type_ids"] = (np.arange(T) > 5).astype(int)[None].repeat(B, 0) % segments
    assert_parity(model, batch, USES["ForMaskedLM"][1][:, ::-1].copy(), tmp_path)


SHARED = {
    "one group": {"num_hidden_groups": 1},
    "five layers in two groups of two blocks": {
        "num_hidden_layers": 5, "num_hidden_groups": 2, "inner_group_num": 2
    },
    "tables of the full width": {"embedding_size": 24},
}  # fmt: skip


@pytest.mark.parametrize("use", ["ForPreTraining", "ForSequenceClassification"])
@pytest.mark.parametrize("name", SHARED)
def test_groups_of_an_albert_equal_transformers(tmp_path, name, use):
    model, (_, labels, zeros) = made("albert", use, **SHARED[name]), use_of("albert", use)
    assert_parity(model, batch_of("albert", use), labels, tmp_path, zeros)
    hf = theirs(model, tmp_path)
    batch = batch_of("albert", use)
    own = model(**batch, output_hidden_states=True, output_attentions=True)
    out = hf(**inputs(hf, batch), output_hidden_states=True, output_attentions=True)
    for mine, other in zip(own.hidden_states, out.hidden_states, strict=True):
        assert close(mine[REAL], other[REAL], TOLERANCE)
    for mine, other in zip(own.attentions, out.attentions, strict=True):
        assert close(mine, other, TOLERANCE)

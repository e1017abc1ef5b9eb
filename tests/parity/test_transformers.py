"""Parity with transformers on PyTorch: outputs, losses, every gradient, twenty steps.

Weights are away from their initial values, where many gradients are smaller than any absolute
tolerance. The padding id is only at padded positions, because `padding_idx` of PyTorch drops the
gradient of its row. In question answering the loss depends on padded positions, so another id is
used there.
"""

import numpy as np
import pytest

import minibert
from minibert import BertConfig, BertModel
from minibert.training import AdamW, Engine, Settings

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

B, T, V = 4, 11, 37
RNG = np.random.default_rng(0)
MASK = (np.arange(T) < np.array([T, 7, 4, 9])[:, None]).astype(np.int64)
IDS = np.where(MASK, RNG.integers(1, V, (B, T)), 0)
BATCH = {
    "input_ids": IDS,
    "token_type_ids": RNG.integers(0, 2, (B, T)),
    "attention_mask": MASK,
}
HIDDEN = np.where(MASK & (RNG.random((B, T)) < 0.4), IDS, -100)
NUMBERS = RNG.standard_normal((B, 3)).astype(np.float32)
CHOICES = {name: np.stack([array, array[::-1], array], axis=1) for name, array in BATCH.items()}
CHOICES["token_type_ids"][:, 2] ^= 1
# Each head: its class, fields of the configuration, the batch, the labels, and the names of
# parameters without a gradient, because they add the same to all logits of a softmax.
TWO = {"id2label": {0: "no", 1: "yes"}}
HEADS = {
    "masked tokens": ("BertForMaskedLM", {}, BATCH, HIDDEN, ()),
    "classes": ("BertForSequenceClassification", {}, BATCH, np.array([0, 2, 1, 1]), ()),
    "many labels": (
        "BertForSequenceClassification", {"problem_type": "multi_label_classification"},
        BATCH, (NUMBERS > 0).astype(np.float32), (),
    ),
    "numbers": (
        "BertForSequenceClassification", {"problem_type": "regression"}, BATCH, NUMBERS, (),
    ),
    "one number": (
        "BertForSequenceClassification", {"id2label": {0: "stars"}}, BATCH, NUMBERS[:, 0], (),
    ),
    "tokens": (
        "BertForTokenClassification", {}, BATCH, np.where(HIDDEN < 0, HIDDEN, HIDDEN % 3), (),
    ),
    "next sentence": ("BertForNextSentencePrediction", {}, BATCH, np.array([0, 1, 1, 0]), ()),
    "pre-training": (
        "BertForPreTraining", {}, BATCH,
        {"labels": HIDDEN, "next_sentence_label": np.array([0, 1, 1, 0])}, (),
    ),
    "spans": (
        "BertForQuestionAnswering", TWO, {**BATCH, "input_ids": np.where(MASK, IDS, 7)},
        {"start_positions": np.array([2, 1, 0, 5]), "end_positions": np.array([9, 4, 0, 8])},
        ("qa_outputs.bias", "layer.2.output.LayerNorm.bias"),
    ),
    "choices": (
        "BertForMultipleChoice", {}, CHOICES, np.array([0, 2, 1, 1]), ("classifier.bias",),
    ),
}  # fmt: skip
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-10}


def config(**changes):
    fields = {
        "vocab_size": V,
        "hidden_size": 24,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "intermediate_size": 40,
        "max_position_embeddings": 17,
        "id2label": {0: "a", 1: "b", 2: "c"},
    }
    return BertConfig(**{**fields, **changes})


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
    return kind.from_pretrained(folder, attn_implementation="sdpa", dtype=dtype).eval()


def tensors(values):
    import torch

    return {name: torch.tensor(value) for name, value in values.items()}


def close(a, b, tolerance):
    return np.abs(a - b.detach().numpy()).max() <= tolerance


def same_gradients(grads, hf, tolerance, zeros=()):
    """Compare gradients by name: same names, relative norm per tensor."""
    gradients = {name: tensor.grad.numpy() for name, tensor in hf.named_parameters()}
    assert gradients.keys() == grads.keys()
    for name, reference in gradients.items():
        difference = np.linalg.norm(grads[name] - reference)
        if name.endswith(
            ("key.bias", *zeros)
        ):  # exactly zero; both sides contain rounding errors only
            assert max(np.abs(grads[name]).max(), np.abs(reference).max()) <= tolerance, name
        else:
            assert difference <= tolerance * np.linalg.norm(reference), name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_body_gives_the_outputs_of_transformers(tmp_path, dtype):
    model = ours(BertModel, dtype)
    hf = theirs(model, tmp_path)
    mine = model(**BATCH, output_hidden_states=True)
    out = hf(**tensors(BATCH), output_hidden_states=True)
    real = MASK == 1
    tolerance = TOLERANCE[dtype]
    assert close(mine.pooler_output, out.pooler_output, tolerance)
    assert close(mine.last_hidden_state[real], out.last_hidden_state[real], tolerance)
    assert len(mine.hidden_states) == len(out.hidden_states) == 4
    for a, b in zip(mine.hidden_states, out.hidden_states, strict=True):
        assert close(a[real], b[real], tolerance)


def test_attention_weights_equal_transformers(tmp_path):
    import transformers

    model = ours(BertModel, np.float64)
    theirs(model, tmp_path)
    hf = transformers.BertModel.from_pretrained(
        tmp_path, attn_implementation="eager", dtype="float64"
    ).eval()
    mine = model(**BATCH, output_attentions=True).attentions
    out = hf(**tensors(BATCH), output_attentions=True).attentions
    assert len(mine) == len(out) == 3
    for a, b in zip(mine, out, strict=True):
        assert close(a, b, 1e-10)


def named(labels):
    return labels if isinstance(labels, dict) else {"labels": labels}


ODD = {
    "gelu_new": {"hidden_act": "gelu_new"},
    "relu": {"hidden_act": "relu"},
    "one segment": {"type_vocab_size": 1},
    "padding elsewhere": {"pad_token_id": 36},
    "other eps, own classifier dropout": {"layer_norm_eps": 1e-5, "classifier_dropout": 0.3},
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("head", "odd"),
    [(head, None) for head in HEADS]
    + [(head, odd) for head in ("masked tokens", "classes") for odd in ODD],
)
def test_heads_give_the_logits_losses_and_gradients_of_transformers(tmp_path, head, odd, dtype):

    name, changes, batch, labels, zeros = HEADS[head]
    if odd == "one segment":
        batch = {**batch, "token_type_ids": np.zeros_like(batch["token_type_ids"])}
    if odd == "padding elsewhere":
        batch = {**batch, "input_ids": np.where(MASK, np.minimum(IDS, 35), 36)}
        labels = np.where(labels == 36, 35, labels)
    model = ours(getattr(minibert, name), dtype, **changes, **ODD.get(odd, {}))
    hf = theirs(model, tmp_path)
    torch_labels = tensors(named(labels))
    for key, tensor in torch_labels.items():
        if tensor.is_floating_point():
            torch_labels[key] = tensor.to(next(hf.parameters()).dtype)
    out = hf(**tensors(batch), **torch_labels)
    out.loss.backward()
    loss, grads = model.loss_and_grads(batch, labels)
    mine = model(**batch, **named(labels))
    tolerance = TOLERANCE[dtype]
    assert abs(loss - out.loss.item()) <= tolerance
    assert abs(mine.loss - out.loss.item()) <= tolerance
    given = [key for key, value in vars(mine).items() if value is not None]
    scores = [key for key in given if key.endswith("logits")]
    assert scores == [key for key in out if key.endswith("logits")]
    for key in scores:
        a, b = getattr(mine, key), getattr(out, key)
        real = MASK == 1 if a.shape[:2] == MASK.shape else slice(None)
        assert close(a[real], b[real], tolerance)
    same_gradients(grads, hf, tolerance, zeros)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_body_gives_the_gradients_of_transformers(tmp_path, activation, dtype):
    import torch

    model = ours(BertModel, dtype, hidden_act=activation)
    hf = theirs(model, tmp_path)
    rng = np.random.default_rng(2)
    # Random cotangents for each output; zero at padded positions.
    dx = (rng.standard_normal((B, T, 24)) * MASK[..., None]).astype(dtype)
    dpooled = rng.standard_normal((B, 24)).astype(dtype)
    out = hf(**tensors(BATCH))
    weighed = (out.last_hidden_state * torch.tensor(dx)).sum()
    (weighed + (out.pooler_output * torch.tensor(dpooled)).sum()).backward()
    _, cache = model.forward(model.check(**BATCH))
    grads = model.params.zeros_like()
    model.backward((dx, dpooled), cache, grads)
    same_gradients(grads, hf, TOLERANCE[dtype])


@pytest.mark.parametrize("head", ["body", *HEADS])
def test_checkpoint_saved_by_transformers_is_bitwise_equal(tmp_path, head):
    name, changes, *_ = HEADS.get(head, ("BertModel", {}))
    model = ours(getattr(minibert, name), np.float32, **changes)
    theirs(model, tmp_path / "ours").save_pretrained(tmp_path / "theirs")
    back = type(model).from_pretrained(tmp_path / "theirs", strict=True)
    assert (back.params.vector == model.params.vector).all()
    assert back.config == model.config


@pytest.mark.parametrize("head", HEADS)
def test_twenty_steps_have_the_losses_of_pytorch(tmp_path, head):
    import torch

    name, changes, batch, labels, _ = HEADS[head]
    kind = getattr(minibert, name)
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = ours(kind, np.float32, **dropout, **changes)
    hf = theirs(model, tmp_path).train()
    settings = Settings(steps=20, learning_rate=1e-3, clip=0.5, weight_decay=0.1)
    decayed, others = [], []
    for name, tensor in hf.named_parameters():
        others_ = name.endswith("bias") or "LayerNorm" in name
        (others if others_ else decayed).append(tensor)
    adam = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    )
    engine = Engine(model, AdamW(model.params, weight_decay=0.1), clip=settings.clip)
    mine, reference = [], []
    for step in range(settings.steps):
        for group in adam.param_groups:
            group["lr"] = settings.rate(step)
        loss = hf(**tensors(batch), **tensors(named(labels))).loss
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(hf.parameters(), settings.clip)
        adam.step()
        reference.append(loss.item())
        mine.append(engine.step([(batch, labels)], settings.rate(step)).loss)
    assert mine[-1] < 0.8 * mine[0]
    np.testing.assert_allclose(mine, reference, rtol=0, atol=1e-5)

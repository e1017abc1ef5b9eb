"""Parity with PyTorch: the losses and gradients as DistilBERT's training script computes them.

The script is `distiller.py` of the research project of Sanh et al. (2019); what follows is written
from its description, with the same functions of PyTorch.
"""

import numpy as np
import pytest

from minibert import BertConfig, BertForMaskedLM, BertForSequenceClassification
from minibert.gradcheck import away_from_initial
from minibert.objectives import DistilledClassifier, DistilledMaskedLM
from minibert.objectives.distillation_losses import (
    binary_kl_divergence_backward,
    binary_kl_divergence_forward,
    cosine_embedding_backward,
    cosine_embedding_forward,
    kl_divergence_backward,
    kl_divergence_forward,
)
from minibert.tasks import Examples, MultiLabelTask, RegressionTask
from minibert.training.distillation import Distillation, make_student
from tests.conftest import small_tokenizer

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

B, T, C, D = 3, 6, 11, 8
RNG = np.random.default_rng(0)
MASK = (np.arange(T) < np.array([6, 2, 4])[:, None]).astype(np.int64)


def loss_of_distilbert(torch, student, teacher, states, labels, settings):
    """Return the loss of tensors: logits (B, T, C), hidden states (B, T, D), labels (B, T)."""
    functional = torch.nn.functional
    real = torch.tensor(MASK, dtype=torch.bool)
    chosen = labels != -100 if settings.soft_tokens == "masked" else real
    temperature = settings.temperature
    soft = (
        torch.nn.KLDivLoss(reduction="batchmean")(
            functional.log_softmax(student[chosen] / temperature, dim=-1),
            functional.softmax(teacher[chosen] / temperature, dim=-1),
        )
        * temperature**2
    )
    hard = torch.nn.CrossEntropyLoss(ignore_index=-100)(student.reshape(-1, C), labels.reshape(-1))
    own, other = (each[real] for each in states)
    ones = torch.ones(len(own), dtype=own.dtype)
    hidden = torch.nn.CosineEmbeddingLoss(reduction="mean")(own, other, ones)
    parts = zip((settings.soft_weight, settings.label_weight, settings.hidden_weight),
                (soft, hard, hidden), strict=True)  # fmt: skip
    return sum(weight * part for weight, part in parts)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_kl_divergence_is_that_of_pytorch(temperature):
    import torch

    student, teacher = 3 * RNG.standard_normal((B, T, C)), 3 * RNG.standard_normal((B, T, C))
    s = torch.tensor(student, requires_grad=True)
    real = torch.tensor(MASK, dtype=torch.bool)
    log_q = torch.log_softmax(s[real] / temperature, dim=-1)
    p = torch.softmax(torch.tensor(teacher)[real] / temperature, dim=-1)
    expected = torch.nn.KLDivLoss(reduction="batchmean")(log_q, p) * temperature**2
    expected.backward()
    loss, cache = kl_divergence_forward(student, teacher, temperature, MASK)
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(
        kl_divergence_backward(cache), s.grad.numpy(), rtol=1e-10, atol=1e-15
    )


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_soft_targets_of_several_labels_are_the_binary_cross_entropy_of_pytorch(temperature):
    """Minus the entropy of the targets, which no student changes."""
    import torch

    student, teacher = 3 * RNG.standard_normal((B, C)), 3 * RNG.standard_normal((B, C))
    s, t = torch.tensor(student, requires_grad=True), torch.tensor(teacher) / temperature
    compare = torch.nn.BCEWithLogitsLoss()
    expected = compare(s / temperature, t.sigmoid()) - compare(t, t.sigmoid())
    expected = expected * temperature**2
    expected.backward()
    loss, cache = binary_kl_divergence_forward(student, teacher, temperature)
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(
        binary_kl_divergence_backward(cache), s.grad.numpy(), rtol=1e-10, atol=1e-15
    )


@pytest.mark.parametrize("problem", ["multi_label_classification", "regression"])
def test_loss_and_every_gradient_of_a_classifier_are_those_of_transformers(problem, tmp_path):
    """With soft targets and labels, a temperature and padding."""
    import torch
    import transformers

    task, numbers = (MultiLabelTask(["a", "b", "c"]), [["a"], ["b", "c"], []])
    if problem == "regression":
        task, numbers = RegressionTask(), [0.5, -1.0, 2.0]
    config = BertConfig(
        vocab_size=C, hidden_size=D, num_hidden_layers=3, num_attention_heads=2,
        intermediate_size=10, max_position_embeddings=T, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, **task.config(),
    )  # fmt: skip
    kind = BertForSequenceClassification
    teacher = kind(config, params=away_from_initial(kind(config).params))
    student = make_student(teacher, 2)
    student.params.vector[:] += RNG.normal(0, 0.1, student.params.vector.size)
    settings = Distillation(steps=1, temperature=3.0, hidden_weight=0.0)
    tokens = type(small_tokenizer())(list(small_tokenizer().vocab)[:C])
    examples = Examples(["a", "b", "c"], None, numbers)
    objective = DistilledClassifier(student, teacher, tokens, task, examples, settings)
    labels = objective.labels_at(np.arange(B))
    ids = np.where(MASK, RNG.integers(1, C, (B, T)), 0)
    shard = {"input_ids": ids, "attention_mask": MASK}, labels
    grads = student.params.zeros_like()
    loss = objective.loss_and_grads(shard, None, None, grads, objective.count(shard))
    theirs, logits = [], []
    for name, model in (("student", student), ("teacher", teacher)):
        model.save_pretrained(tmp_path / name)
        other = transformers.BertForSequenceClassification.from_pretrained(
            tmp_path / name, dtype=torch.float64
        ).eval()
        theirs.append(other)
        logits.append(other(torch.tensor(ids), attention_mask=torch.tensor(MASK)).logits)
    own, goal, targets = logits[0], logits[1].detach(), torch.tensor(labels).double()
    if problem == "regression":
        compare = torch.nn.MSELoss()
        expected = 5 * compare(own, goal) + 2 * compare(own, targets.reshape(B, 1))
    else:
        compare, soft = torch.nn.BCEWithLogitsLoss(), (goal / 3).sigmoid()
        expected = 45 * (compare(own / 3, soft) - compare(goal / 3, soft))
        expected = expected + 2 * compare(own, targets)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-10)
    named = dict(theirs[0].named_parameters())
    for name, gradient in grads.items():
        want = named[name].grad.numpy()
        error = np.linalg.norm(gradient - want) / max(np.linalg.norm(want), 1e-3)
        assert error < 1e-10, name


def test_cosine_embedding_is_that_of_pytorch():
    import torch

    x, target = RNG.standard_normal((B, T, D)), RNG.standard_normal((B, T, D))
    tensor = torch.tensor(x, requires_grad=True)
    real = torch.tensor(MASK, dtype=torch.bool)
    ones = torch.ones(int(MASK.sum()), dtype=torch.float64)
    expected = torch.nn.CosineEmbeddingLoss()(tensor[real], torch.tensor(target)[real], ones)
    expected.backward()
    loss, cache = cosine_embedding_forward(x, target, MASK)
    assert loss == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(cosine_embedding_backward(cache), tensor.grad.numpy(), rtol=1e-10,
                               atol=1e-15)  # fmt: skip


@pytest.mark.parametrize("soft_tokens", ["all", "masked"])
def test_loss_and_every_gradient_of_a_student_are_those_of_transformers(soft_tokens, tmp_path):
    """A student of 2 layers of 3, with padding, all parameters away from their initial values."""
    import torch
    import transformers

    tokenizer = small_tokenizer()
    config = BertConfig(
        vocab_size=C, hidden_size=D, num_hidden_layers=3, num_attention_heads=2,
        intermediate_size=10, max_position_embeddings=T, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    teacher = BertForMaskedLM(config, params=away_from_initial(BertForMaskedLM(config).params))
    student = make_student(teacher, 2)
    student.params.vector[:] += RNG.normal(0, 0.1, student.params.vector.size)
    settings = Distillation(steps=1, temperature=3.0, soft_tokens=soft_tokens)
    tokens = type(tokenizer)(list(tokenizer.vocab)[:C])
    objective = DistilledMaskedLM(student, teacher, tokens, np.zeros((1, T), int), None, settings)
    ids = np.where(MASK, RNG.integers(1, C, (B, T)), 0)
    labels = np.where(MASK & (np.arange(T) % 2), ids, -100)
    shard = {"input_ids": ids, "attention_mask": MASK}, labels
    grads = student.params.zeros_like()
    loss = objective.loss_and_grads(shard, None, None, grads, objective.count(shard))
    outputs, theirs = [], []
    for name, model in (("student", student), ("teacher", teacher)):
        model.save_pretrained(tmp_path / name)
        other = transformers.BertForMaskedLM.from_pretrained(tmp_path / name, dtype=torch.float64)
        theirs.append(other.eval())
        outputs.append(other(torch.tensor(ids), attention_mask=torch.tensor(MASK),
                             output_hidden_states=True))  # fmt: skip
    assert theirs[0].config.num_hidden_layers == 2
    states = outputs[0].hidden_states[-1], outputs[1].hidden_states[-1].detach()
    expected = loss_of_distilbert(torch, outputs[0].logits, outputs[1].logits.detach(), states,
                                  torch.tensor(labels), settings)  # fmt: skip
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-10)
    named = dict(theirs[0].named_parameters())
    assert grads.shapes.keys() <= {*named, "cls.predictions.bias"}
    for name, gradient in grads.items():
        want = named[name].grad.numpy()
        error = np.linalg.norm(gradient - want) / max(np.linalg.norm(want), 1e-3)
        assert error < 1e-10, name

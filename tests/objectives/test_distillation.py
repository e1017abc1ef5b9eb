"""Objectives with a teacher: their loss, gradient, shards, threads, and what they refuse."""

from dataclasses import replace

import numpy as np
import pytest

from minibert import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    ModernBertConfig,
    ModernBertForSequenceClassification,
)
from minibert.data.corpus import as_batch
from minibert.gradcheck import away_from_initial, check_objective
from minibert.objectives import (
    DistilledClassifier,
    DistilledHiddenStates,
    DistilledMaskedLM,
    MaskedLM,
)
from minibert.objectives.shards import split_batch
from minibert.tasks.classification import MultiLabelTask, SingleLabelTask
from minibert.tasks.examples import Examples
from minibert.tasks.regression import RegressionTask
from minibert.training import AdamW, Engine, train
from minibert.training.distillation import Distillation, make_student
from minibert.training.ranks import ALONE
from tests.training.test_ranks import Rank

TEXTS = ["the cat sat", "a dog ran under the tree", "it was red", "big and red", "the mat", "a cat"]
LABELS = ["cat", "dog", "red", "red", "red", "cat"]
TASK = SingleLabelTask.from_labels(LABELS)
SEVERAL = [["cat"], ["dog", "red"], [], ["red"], ["cat", "dog", "red"], ["dog"]]
NUMBERS = [1.0, 5.0, 2.0, 9.0, 3.0, 4.0]
# What a text may have, by the name of a kind.
TASKS = {
    "several labels": (MultiLabelTask.from_labels(SEVERAL), SEVERAL),
    "numbers": (RegressionTask.from_labels(NUMBERS), NUMBERS),
}
HELD_OUT = Examples(TEXTS[:2], None, LABELS[:2])
SETTINGS = Distillation(steps=4, batch_size=6, shards=2, learning_rate=1e-2, seed=1)
KINDS = {
    "masked LM, all tokens": (BertForMaskedLM, {"soft_tokens": "all"}),
    "masked LM, masked tokens": (BertForMaskedLM, {}),
    "masked LM without hidden states": (BertForMaskedLM, {"hidden_weight": 0.0}),
    "masked LM, hidden states and labels": (BertForMaskedLM, {"soft_weight": 0.0}),
    "classifier": (BertForSequenceClassification, {}),
    "classifier without hidden states": (BertForSequenceClassification, {"hidden_weight": 0.0}),
    "several labels": (BertForSequenceClassification, {}),
    "numbers": (BertForSequenceClassification, {}),
    "body": (BertModel, {"soft_weight": 0.0, "label_weight": 0.0}),
}


def config_of(tokenizer, **changes):
    return BertConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=12, num_hidden_layers=2,
        num_attention_heads=3, intermediate_size=20, max_position_embeddings=16,
        **{**TASK.config(), **changes},
    )  # fmt: skip


def models(kind, tokenizer, dtype=np.float32, **changes):
    """Return a student of one layer and its teacher of two, which differ in every parameter."""
    config = config_of(tokenizer, **changes)
    teacher = kind(config, params=away_from_initial(kind(config).params, 1)).astype(dtype)
    student = make_student(teacher, 1)
    student.params.vector[:] += np.random.default_rng(2).normal(0, 0.1, student.params.vector.size)
    return student, teacher


def objective_of(name, tokenizer, packed, dtype=np.float32, settings=SETTINGS, held=False,
                 **changes):  # fmt: skip
    kind, weights = KINDS[name]
    task, labels = TASKS.get(name, (TASK, LABELS))
    student, teacher = models(kind, tokenizer, dtype, **task.config(), **changes)
    settings = replace(settings, **weights)
    rows, held_out = packed[0][:50], packed[1]
    if kind is BertForSequenceClassification:
        examples, few = Examples(TEXTS, None, labels), Examples(TEXTS[:2], None, labels[:2])
        return DistilledClassifier(student, teacher, tokenizer, task, examples, settings,
                                   held_out=few if held else None)  # fmt: skip
    objective = DistilledMaskedLM if kind is BertForMaskedLM else DistilledHiddenStates
    return objective(student, teacher, tokenizer, rows, held_out[:9] if held else None, settings)


def whole_and_parts(objective):
    """Return the batch of a step as one shard and as three, with padding."""
    objective.settings = replace(objective.settings, shards=1)
    ((batch, labels),) = objective.shards(0)
    if not isinstance(objective, DistilledClassifier):  # whose texts differ in length
        lengths = np.array([16, 5, 9, 16, 12, 7])[:, None]
        batch = {name: array.copy() for name, array in batch.items()}
        batch["attention_mask"][np.arange(16) >= lengths] = 0
        if np.shape(labels) == (6, 16):
            labels = np.where(batch["attention_mask"], labels, -100)
            assert (labels != -100).any()
    return (batch, labels), split_batch(batch, labels, 3, trim=True)


QUICK = {"masked LM, all tokens", "several labels"}
# In a random direction; in the slow tests of all kinds in single elements as well.
CHECKS = [(name, 0) for name in KINDS if name in QUICK]
CHECKS += [pytest.param(name, 2, marks=pytest.mark.slow) for name in KINDS]


@pytest.mark.parametrize(("name", "entries"), CHECKS)
def test_gradients_are_those_of_the_loss_for_any_number_of_shards(name, entries, tokenizer, packed):
    plain = {"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.1}
    objective = objective_of(name, tokenizer, packed, np.float64, **plain)
    whole, parts = whole_and_parts(objective)
    before = objective.teacher.params.vector.copy()
    results = check_objective(
        objective, objective.model.params, whole, parts, dropout_seed=3, entries=entries,
        zeros=("key.bias", *(("pooler.dense.weight", "pooler.dense.bias") * (name == "body"))),
    )  # fmt: skip
    assert all(result.passed for result in results)
    assert (objective.teacher.params.vector == before).all()


def softmax(z):
    shares = np.exp(z - z.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("soft_tokens", ["all", "masked"])
def test_the_loss_of_a_masked_lm_is_the_weighted_sum_of_its_parts(soft_tokens, tokenizer, packed):
    """Computed token by token from the outputs of both models."""
    student, teacher = models(BertForMaskedLM, tokenizer, np.float64)
    settings = replace(SETTINGS, soft_tokens=soft_tokens, temperature=3.0)
    objective = DistilledMaskedLM(student, teacher, tokenizer, packed[0], None, settings)
    (batch, labels), _ = whole_and_parts(objective)
    denominator = objective.count((batch, labels))
    loss = objective.loss_and_grads((batch, labels), None, None, student.params.zeros_like(),
                                    denominator)  # fmt: skip
    own, other = (each(**batch, output_hidden_states=True) for each in (student, teacher))
    soft, hard, hidden = [], [], []
    for place in zip(*np.nonzero(batch["attention_mask"]), strict=True):
        q, p = (softmax(out.logits[place] / 3) for out in (own, other))
        x, y = (out.hidden_states[-1][place] for out in (own, other))
        hidden.append(1 - x @ y / (np.linalg.norm(x) * np.linalg.norm(y)))
        if labels[place] != -100:
            hard.append(-np.log(softmax(own.logits[place])[labels[place]]))
        if soft_tokens == "all" or labels[place] != -100:
            soft.append(9 * (p * np.log(p / q)).sum())
    assert loss == pytest.approx(5 * np.mean(soft) + 2 * np.mean(hard) + np.mean(hidden), rel=1e-9)


@pytest.mark.parametrize("name", ["several labels", "numbers"])
def test_the_loss_of_a_classifier_is_the_weighted_sum_of_its_parts(name, tokenizer, packed):
    """Computed label by label from the outputs of both models."""
    objective = objective_of(name, tokenizer, packed, np.float64,
                             replace(SETTINGS, temperature=3.0, hidden_weight=0.0))  # fmt: skip
    (batch, labels), _ = whole_and_parts(objective)
    student, teacher = objective.model, objective.teacher
    loss = objective.loss_and_grads((batch, labels), None, None, student.params.zeros_like(),
                                    objective.count((batch, labels)))  # fmt: skip
    own, other = (each(**batch).logits for each in (student, teacher))
    if name == "numbers":
        soft, hard = np.square(own - other), np.square(own[:, 0] - labels)
    else:
        pairs = [(1 / (1 + np.exp(-z)), 1 / (1 + np.exp(z))) for z in (own / 3, other / 3)]
        soft = 9 * sum(p * np.log(p / q) for q, p in zip(*pairs, strict=True))
        hard = np.where(labels, np.log1p(np.exp(-own)), np.log1p(np.exp(own)))
    assert own.shape == (6, 1 if name == "numbers" else 3)
    assert loss == pytest.approx(5 * np.mean(soft) + 2 * np.mean(hard), rel=1e-9)


def objective_of_means(tokenizer, own="mean", other="mean", hidden_weight=1.0):
    """Return the objective of ModernBERTs, whose heads read the mean over the tokens or [CLS]."""
    config = ModernBertConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=6, num_hidden_layers=1,
        num_attention_heads=3, intermediate_size=10, max_position_embeddings=16,
        pad_token_id=tokenizer.pad_token_id, classifier_pooling=other, classifier_dropout=0.2,
        **TASK.config(),
    )  # fmt: skip
    kind = ModernBertForSequenceClassification
    teacher = kind(config, params=away_from_initial(kind(config).params, 1)).astype(np.float64)
    student = kind(replace(config, classifier_pooling=own), dtype=np.float64)
    student.params.vector[:] = away_from_initial(student.params, 2).vector
    settings = replace(SETTINGS, hidden_weight=hidden_weight)
    examples = Examples(TEXTS, None, LABELS)
    return DistilledClassifier(student, teacher, tokenizer, TASK, examples, settings)


@pytest.mark.parametrize(
    ("own", "other", "hidden_weight"),
    [
        ("mean", "mean", 1.0),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (("mean", "mean", 0.0), ("cls", "mean", 0.0), ("mean", "cls", 1.0))
        ),
    ],
)
def test_heads_may_read_the_mean_over_the_tokens(own, other, hidden_weight, tokenizer):
    objective = objective_of_means(tokenizer, own, other, hidden_weight)
    student, teacher, settings = objective.model, objective.teacher, objective.settings
    whole, parts = whole_and_parts(objective)
    assert all(result.passed for result in check_objective(
        objective, student.params, whole, parts, dropout_seed=3, entries=0))  # fmt: skip
    batch, labels = whole
    loss = objective.loss_and_grads(whole, None, None, student.params.zeros_like(),
                                    objective.count(whole))  # fmt: skip
    ours, theirs = (each(**batch, output_hidden_states=True) for each in (student, teacher))
    q, p = (softmax(out.logits / settings.temperature) for out in (ours, theirs))
    soft = settings.temperature**2 * (p * np.log(p / q)).sum(axis=1)
    hard = -np.log(softmax(ours.logits)[np.arange(6), labels])
    x, y = (out.hidden_states[-1][batch["attention_mask"] != 0] for out in (ours, theirs))
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    hidden = np.mean(1 - (x * y).sum(axis=1) / lengths)
    want = 5 * soft.mean() + 2 * hard.mean() + hidden_weight * hidden
    assert loss == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize("name", ["masked LM, all tokens", "classifier", *TASKS])
def test_a_copy_of_the_teacher_has_no_gradient_without_labels(name, tokenizer, packed):
    objective = objective_of(name, tokenizer, packed, np.float64)
    objective.teacher = objective.model
    objective.settings = replace(objective.settings, label_weight=0.0)
    whole, _ = whole_and_parts(objective)
    grads = objective.model.params.zeros_like()
    loss = objective.loss_and_grads(whole, None, None, grads, objective.count(whole))
    assert abs(loss) < 1e-12
    assert np.abs(grads.vector).max() < 1e-12


@pytest.mark.parametrize("name", ["masked LM, all tokens", "classifier", "body"])
def test_engine_gives_the_same_bits_for_any_number_of_threads(name, tokenizer, packed):
    vectors = []
    for threads in (1, 3):
        objective = objective_of(name, tokenizer, packed, settings=replace(SETTINGS, shards=3),
                                 hidden_dropout_prob=0.2)  # fmt: skip
        engine = Engine(objective.model, AdamW(objective.model.params), threads=threads,
                        objective=objective)  # fmt: skip
        for step in range(2):
            engine.step(objective.shards(step), 1e-2)
        vectors.append(objective.model.params.vector.copy())
    assert (vectors[0] == vectors[1]).all()


@pytest.mark.parametrize("name", ["masked LM, all tokens", "classifier", *TASKS, "body"])
def test_a_step_of_two_ranks_gives_the_bits_of_one_process(name, tokenizer, packed):
    """What a teacher says of a shard depends on no other, and the denominators are the batch's.

    The norm is summed in other pieces, so nothing is clipped.
    """

    def stepped(ranks):
        objective = objective_of(name, tokenizer, packed, hidden_dropout_prob=0.2)
        model = objective.model
        engine = Engine(model, AdamW(model.params), clip=1e9, ranks=ranks, objective=objective)
        return engine.step(objective.shards(0), 1e-2), model.params.vector

    other = Rank(1)
    stepped(other)
    (alone, vector), (together, same) = (
        stepped(each) for each in (ALONE, Rank(0, heard=[other.sent]))
    )
    assert alone.loss == together.loss
    assert alone.norm == pytest.approx(together.norm, rel=1e-6)
    assert (vector == same).all()


@pytest.mark.parametrize("name", ["masked LM, all tokens", "classifier", *TASKS, "body"])
def test_training_brings_the_student_nearer_to_its_teacher(name, tokenizer, packed):
    settings = replace(SETTINGS, steps=12, warmup=0.0)
    objective = objective_of(name, tokenizer, packed, settings=settings, held=True)
    student = objective.model
    objective.settings = replace(objective.settings, label_weight=0.0)
    losses = []
    for _ in range(2):
        whole = objective.shards(0)
        losses.append(sum(objective.loss_and_grads(
            shard, None, None, student.params.zeros_like(), sum(map(objective.count, whole))
        ) for shard in whole))  # fmt: skip
        engine = Engine(student, AdamW(student.params), threads=1, objective=objective)
        train(engine, objective, settings, tokenizer)
    assert losses[1] < 0.8 * losses[0]
    line, figures = objective.evaluate(12)
    assert line.startswith("held-out ")
    assert objective.score(student) in line
    assert all(np.isfinite(value) for value in figures.values())
    if name not in ("classifier", "several labels"):  # two texts, whose classes both may predict
        assert objective.score(student) != objective.score(objective.teacher)


def test_a_student_sees_the_batches_of_a_masked_lm(tokenizer, packed):
    student, teacher = models(BertForMaskedLM, tokenizer)
    ours = DistilledMaskedLM(student, teacher, tokenizer, packed[0], None, SETTINGS).shards(1)
    theirs = MaskedLM(student, tokenizer, packed[0], None, SETTINGS).shards(1)
    for (batch, labels), (other, other_labels) in zip(ours, theirs, strict=True):
        assert (batch["input_ids"] == other["input_ids"]).all()
        assert (labels == other_labels).all()


def test_hidden_states_are_compared_on_unmasked_text(tokenizer, packed):
    objective = objective_of("body", tokenizer, packed)
    for batch, _ in objective.shards(0):
        assert tokenizer.mask_token_id not in batch["input_ids"]
        expected = as_batch(batch["input_ids"], tokenizer.pad_token_id)
        assert (batch["attention_mask"] == expected["attention_mask"]).all()
    assert objective.evaluate(1) is None


def test_a_teacher_that_does_not_fit_is_refused(tokenizer, packed):
    student, teacher = models(BertForMaskedLM, tokenizer)

    def refused(match, student, teacher):
        with pytest.raises(ValueError, match=match):
            DistilledMaskedLM(student, teacher, tokenizer, packed[0], None, SETTINGS)

    V = tokenizer.vocab_size
    small = BertForMaskedLM(replace(teacher.config, vocab_size=V - 1))
    refused(f"teacher: expected vocab_size {V}, the student's, got {V - 1}", student, small)
    wide = BertForMaskedLM(replace(teacher.config, hidden_size=24))
    refused("teacher: expected hidden_size 12, the student's, got 24", student, wide)
    student.vocabulary, teacher.vocabulary = "a", "b"
    refused("teacher: expected the student's vocabulary, got another", student, teacher)
    student.vocabulary = None
    DistilledMaskedLM(student, teacher, tokenizer, packed[0], None, SETTINGS)
    config = replace(teacher.config, problem_type="multi_label_classification")
    several = BertForSequenceClassification(config)
    single = BertForSequenceClassification(teacher.config)
    expected = "expected one for single_label_classification, got multi_label_classification"
    with pytest.raises(ValueError, match=f"teacher: {expected}"):
        DistilledClassifier(single, several, tokenizer, TASK, HELD_OUT, SETTINGS)

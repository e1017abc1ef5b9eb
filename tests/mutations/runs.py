"""Small runs of everything that the mutations are planted in."""

from pathlib import Path

import numpy as np

from minibert import (
    AlbertConfig,
    AlbertForPreTraining,
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertModel,
    FeatureExtractor,
    ModernBertForMaskedLM,
)
from minibert.data.corpus import pack
from minibert.data.token_cache import tokenize_corpus
from minibert.optim import AdamW, Muon
from minibert.tasks import Examples, MultiLabelTask, RegressionTask, SingleLabelTask, TaggingTask
from minibert.testing.cases.examples import (
    BATCH,
    CONFIG,
    MASKED_LABELS,
    MODERN_CONFIG,
    labelled_models,
)
from minibert.training import Engine, FineTuning, Settings, evaluate, fine_tune, train_masked_lm
from tests.conftest import small_tokenizer
from tests.models.relatives import SIZES, batch_of, made, use_of
from tests.objectives import test_distillation, test_embeddings, test_replaced_tokens
from tests.objectives.language import packed_language
from tests.objectives.test_two_phase import InBatchNegatives, one_step
from tests.objectives.test_two_phase import model as two_phase_model


def run_everything(folder: Path) -> None:
    """Run models, training, tasks, tokenizer and data once, as a user does."""
    run_models(folder / "model")
    run_relatives()
    run_pretraining(folder / "corpus.txt")
    run_fine_tuning()
    run_muon()
    one_step(InBatchNegatives(two_phase_model(), (3, 3)))
    run_embeddings()
    run_distillation()
    test_replaced_tokens.trained(small_tokenizer(), threads=1, steps=1)


def run_models(folder: Path) -> None:
    """Compute gradients with dropout and padding, and predict, for each head; save and load."""
    for case in labelled_models():
        model = case.kind(case.config)
        model.loss_and_grads(case.batch, case.labels, np.random.default_rng(0))
        named = case.labels if isinstance(case.labels, dict) else {"labels": case.labels}
        model(**case.batch, **named)
    sinusoidal = BertConfig(**{**vars(CONFIG), "position_embedding_type": "sinusoidal"})
    model = BertForMaskedLM(sinusoidal)
    model.gradient_checkpointing_enable()
    model.freeze(1)
    model.loss_and_grads(BATCH, MASKED_LABELS, np.random.default_rng(0))
    model.save_pretrained(folder)
    BertForMaskedLM.from_pretrained(folder)
    ModernBertForMaskedLM(MODERN_CONFIG).save_pretrained(folder)
    ModernBertForMaskedLM.from_pretrained(folder)


def run_relatives() -> None:
    """Compute gradients of a model of each family that computes something of its own."""
    for family, use in (
        ("distilbert", "ForMaskedLM"),
        ("roberta", "ForMaskedLM"),
        ("electra", "ForPreTraining"),
        ("mpnet", "ForMaskedLM"),
        ("albert", "ForPreTraining"),
        ("deberta-v2", "ForMaskedLM"),
        ("modernbert", "ForQuestionAnswering"),
    ):
        model, labels = made(family, use), use_of(family, use)[1]
        model.loss_and_grads(batch_of(family, use), labels, np.random.default_rng(0))
        model.resize_position_embeddings(9)
    mean = made("modernbert", "ForSequenceClassification", classifier_pooling="mean")
    mean.loss_and_grads(batch_of("modernbert"), np.array([0, 2, 1, 1]))


def run_pretraining(path: Path) -> None:
    """Tokenize a text, pack it, and pre-train on it for a step."""
    tokenizer = small_tokenizer()
    text = "the cat sat on the mat .\na dog ran under a tree !\n\nthen it was red\n\n"
    path.write_text(text * 9, "utf-8")
    tokenize_corpus([path], tokenizer, folder=path.parent / "cache")
    rows = pack([paragraph.split("\n") for paragraph in (text * 9).split("\n\n")], tokenizer, 12)
    config = BertConfig(**{**vars(CONFIG), "vocab_size": len(tokenizer),
                           "max_position_embeddings": 12})  # fmt: skip
    settings = Settings(steps=1, batch_size=4, shards=2)
    train_masked_lm(BertForPreTraining(config), tokenizer, rows[2:], rows[:2], settings, threads=1)
    own = AlbertConfig(**SIZES | {"vocab_size": len(tokenizer), "id2label": None})
    train_masked_lm(AlbertForPreTraining(own), tokenizer, rows[2:], rows[:2], settings, threads=1)
    FeatureExtractor(BertModel(config), tokenizer)(["the cat", "a dog ran"], threads=1)


TEXTS = ["the cat sat", "a dog ran", "the cat ran under a tree", "then a dog sat"] * 2
LABELS = {
    SingleLabelTask: ["cat", "dog", "cat", "dog"] * 2,
    MultiLabelTask: [["cat"], ["dog"], ["cat", "tree"], ["dog"]] * 2,
    RegressionTask: [1.0, 2.0, 3.0, 4.0] * 2,
    TaggingTask: [
        ["B-PET" if word in ("cat", "dog") else "O" for word in text.split()] for text in TEXTS
    ],
}


def run_fine_tuning() -> None:
    """Fine-tune each task for a step, with an evaluation."""
    tokenizer = small_tokenizer()
    for kind, labels in LABELS.items():
        texts = [text.split() for text in TEXTS] if kind is TaggingTask else TEXTS
        examples = Examples(texts, None, labels)
        task = kind.from_labels(labels)
        fields = {**vars(CONFIG), "vocab_size": len(tokenizer), **task.config()}
        model = task.model_class(BertConfig(**fields))
        settings = FineTuning(
            steps=1, batch_size=8, shards=2, evaluate_every=1, freeze=1, patience=1,
            class_weight="balanced" if kind is SingleLabelTask else None,
        )  # fmt: skip
        task = fine_tune(model, tokenizer, task, examples, settings, held_out=examples, threads=1)
        evaluate(model, tokenizer, task, examples).figures()


def run_embeddings() -> None:
    """Compute the gradient of a batch for each loss on vectors."""
    for name in test_embeddings.KINDS:
        test_embeddings.one_step(test_embeddings.objective_of(name, small_tokenizer()))


def run_distillation() -> None:
    """Take a step of each kind of student, and let a teacher's number change its unit."""
    tokenizer = small_tokenizer()
    packed = packed_language(tokenizer)
    kinds = ("masked LM, masked tokens", "several labels", "numbers")
    objectives = [test_distillation.objective_of(name, tokenizer, packed) for name in kinds]
    for objective in (test_distillation.objective_of_means(tokenizer), *objectives):
        engine = Engine(objective.model, AdamW(objective.model.params), objective=objective)
        engine.step(objective.shards(0), 1e-3)
    task, _ = test_distillation.TASKS["numbers"]
    task.normalize_head(objective.teacher)


def run_muon() -> None:
    """Take a step with Muon, and store its state."""
    model = BertForMaskedLM(CONFIG)
    muon = Muon(model.params)
    Engine(model, muon).step([(BATCH, MASKED_LABELS)], 1e-3)
    muon.state()

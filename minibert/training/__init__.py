"""Training: engine and loop; pre-training, fine-tuning, distillation and sentence vectors."""

from minibert.data.embedding_examples import EmbeddingExamples, pairs_from_labels
from minibert.objectives.baselines import unigram_baseline
from minibert.objectives.evaluation import MaskedLMMetrics
from minibert.objectives.shards import split_batch
from minibert.objectives.supervised import evaluate
from minibert.optim import AdamW, linear_schedule
from minibert.training.distillation import Distillation, make_student
from minibert.training.embeddings import EmbeddingTraining, train_embeddings
from minibert.training.engine import Engine, StepResult
from minibert.training.epochs import TrainingHistory
from minibert.training.finetuning import FineTuning, fine_tune, optimizer_for
from minibert.training.loop import Interrupted, Settings, train
from minibert.training.pretraining import pretrain, train_masked_lm

__all__ = [
    "AdamW",
    "Distillation",
    "EmbeddingExamples",
    "EmbeddingTraining",
    "Engine",
    "FineTuning",
    "Interrupted",
    "MaskedLMMetrics",
    "Settings",
    "StepResult",
    "TrainingHistory",
    "evaluate",
    "fine_tune",
    "linear_schedule",
    "make_student",
    "optimizer_for",
    "pairs_from_labels",
    "pretrain",
    "split_batch",
    "train",
    "train_embeddings",
    "train_masked_lm",
    "unigram_baseline",
]

"""What everything is proven on: sizes, arrays, and one example of each task.

Sizes that could meet in one array differ pairwise, so that no transposed shape fits by chance; ids
repeat, sequences are padded, one has nothing to attend to.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from minibert import models
from minibert.models import Labels
from minibert.models.config import BertConfig

B, T, K, H, D, F, V, C = 3, 6, 2, 5, 10, 11, 13, 7  # the sizes, in the alphabet of `functional`
R = 4  # rows that are asked for, of T

CONFIG = BertConfig(
    vocab_size=V,
    hidden_size=D,
    num_hidden_layers=2,
    num_attention_heads=K,
    intermediate_size=F,
    max_position_embeddings=8,
    type_vocab_size=2,
    hidden_dropout_prob=0.3,
    attention_probs_dropout_prob=0.2,
    id2label={i: f"class {i}" for i in range(C)},
)
MASK = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0]])  # the last hides all
IDS = np.array([[2, 7, 7, 9, 12, 3], [2, 9, 7, 3, 1, 1], [2, 7, 12, 5, 9, 3]])
TYPES = np.array([[0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0]])
ROWS = np.array([[0, 3, 5, 1], [2, 2, 0, 4], [4, 1, 3, 0]])  # one is asked for twice, as to pad
BATCH = {"input_ids": IDS, "token_type_ids": TYPES, "attention_mask": MASK}
MASKED_LABELS = np.array(
    [[-100, 7, 4, -100, 12, 9], [-100, 0, 6, -100, -100, -100], [-100, 3] + 4 * [-100]]
)
CLASS_LABELS = np.array([5, -100, 0])
TWO_CLASSES = replace(CONFIG, id2label=None)
# (B, T) -> (B, 2, T)
CHOICES = {name: np.stack([array, array[::-1]], axis=1) for name, array in BATCH.items()}


@dataclass(frozen=True)
class Task:
    """A model with a head, and labels for a batch: `name` is the class's, and what is special.

    Attributes:
        name: of the task.
        kind: the model's class.
        labels: as `loss_and_grads` takes them.
        config: the sizes.
        batch: what the model reads.
        zeros: gradients that are provably zero: what all scores of a softmax share.
    """

    name: str
    kind: Any
    labels: Labels
    config: BertConfig = CONFIG
    batch: Mapping[str, np.ndarray] = field(default_factory=lambda: BATCH)
    zeros: tuple[str, ...] = ()


def tasks() -> list[Task]:
    """Return an example of each task."""
    yes_no = np.array([1, -100, 0])
    shares = np.array([[1, 0, 0, 1, -100, 0.25, 0], 7 * [-100], [0, 1, 1, 0, 1, 0, -100]])
    numbers = np.random.default_rng(3).standard_normal((B, C))
    problem = "BertForSequenceClassification, "
    return [
        Task("BertForMaskedLM", models.BertForMaskedLM, MASKED_LABELS),
        Task("BertForSequenceClassification", models.BertForSequenceClassification, CLASS_LABELS),
        Task(
            problem + "multi-label", models.BertForSequenceClassification, shares,
            replace(CONFIG, problem_type="multi_label_classification"),
        ),
        Task(
            problem + "regression", models.BertForSequenceClassification, numbers,
            replace(CONFIG, problem_type="regression"),
        ),
        Task(
            problem + "one number", models.BertForSequenceClassification, numbers[:, 0],
            replace(CONFIG, id2label={0: "stars"}),
        ),
        Task(
            "BertForTokenClassification", models.BertForTokenClassification,
            np.where(MASKED_LABELS >= 0, MASKED_LABELS % C, -100),
        ),
        Task("BertForNextSentencePrediction", models.BertForNextSentencePrediction, yes_no),
        Task(
            "BertForPreTraining", models.BertForPreTraining,
            {"labels": MASKED_LABELS, "next_sentence_label": yes_no},
        ),
        Task(
            "BertForQuestionAnswering", models.BertForQuestionAnswering,
            {"start_positions": np.array([1, -100, 0]), "end_positions": np.array([4, -100, 3])},
            TWO_CLASSES, zeros=("qa_outputs.bias", "layer.1.output.LayerNorm.bias"),
        ),
        Task(
            "BertForMultipleChoice", models.BertForMultipleChoice, np.array([1, 0, -100]),
            batch=CHOICES, zeros=("classifier.bias",),
        ),
    ]  # fmt: skip

"""The examples of all cases: sizes, arrays, and each model with labels.

Sizes that can occur in one array differ pairwise, so that no transposed shape fits by chance; ids
repeat, sequences are padded, and one consists of padding alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from minibert.models.config import BertConfig
from minibert.models.families.modernbert import ModernBertConfig
from minibert.models.table import MODELS, model_class
from minibert.models.task_model import Labels

B, T, K, H, D, F, V, C = 3, 6, 2, 5, 10, 11, 13, 7  # the sizes, in the alphabet of `functional`
R = 4  # query positions

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
# Its heads have an even width, 10, of which rotary positions pair the units; its second layer has a
# window of a token on each side.
MODERN_CONFIG = ModernBertConfig(
    vocab_size=V,
    hidden_size=2 * D,
    num_hidden_layers=2,
    num_attention_heads=K,
    intermediate_size=F,
    max_position_embeddings=8,
    hidden_dropout_prob=0.3,
    attention_probs_dropout_prob=0.2,
    pad_token_id=0,
    rope_theta=7.0,
    local_rope_theta=3.0,
    local_attention=2,
)
MASK = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0]])
IDS = np.array([[2, 7, 7, 9, 12, 3], [2, 9, 7, 3, 1, 1], [2, 7, 12, 5, 9, 3]])
TYPES = np.array([[0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0]])
ROWS = np.array([[0, 3, 5, 1], [2, 2, 0, 4], [4, 1, 3, 0]])  # query positions; one occurs twice
BATCH = {"input_ids": IDS, "token_type_ids": TYPES, "attention_mask": MASK}
MASKED_LABELS = np.array(
    [[-100, 7, 4, -100, 12, 9], [-100, 0, 6, -100, -100, -100], [-100, 3] + 4 * [-100]]
)
TOKEN_LABELS = np.where(MASKED_LABELS >= 0, MASKED_LABELS % C, -100)
CLASS_LABELS = np.array([5, -100, 0])
PAIR_LABELS = np.array([1, -100, 0])
MULTI_LABELS = np.array([[1, 0, 0, 1, -100, 0.25, 0], 7 * [-100], [0, 1, 1, 0, 1, 0, -100]])
NUMBERS = np.random.default_rng(3).standard_normal((B, C))
TWO_CLASSES = replace(CONFIG, id2label=None)
# (B, T) -> (B, 2, T)
CHOICES = {name: np.stack([array, array[::-1]], axis=1) for name, array in BATCH.items()}


@dataclass(frozen=True)
class ModelCase:
    """A model class with a batch and its labels.

    Attributes:
        name: the name of the class, and of the variant if there are several.
        kind: the model's class.
        labels: the argument of `loss_and_grads`.
        config: the sizes.
        batch: the arrays that the model reads.
        zeros: endings of the names of gradients that are provably zero, because they move all
            logits of a softmax equally.
    """

    name: str
    kind: Any
    labels: Labels
    config: BertConfig = CONFIG
    batch: Mapping[str, np.ndarray] = field(default_factory=lambda: BATCH)
    zeros: tuple[str, ...] = ()


# For each class of `MODELS` that has labels: the variants by name, as fields of a `ModelCase`.
LABELLED: dict[str, dict[str, dict[str, Any]]] = {
    "BertForMaskedLM": {"": {"labels": MASKED_LABELS}},
    "BertForSequenceClassification": {
        "": {"labels": CLASS_LABELS},
        "multi-label": {
            "labels": MULTI_LABELS,
            "config": replace(CONFIG, problem_type="multi_label_classification"),
        },
        "regression": {"labels": NUMBERS, "config": replace(CONFIG, problem_type="regression")},
        "one number": {"labels": NUMBERS[:, 0], "config": replace(CONFIG, id2label={0: "stars"})},
    },
    "BertForTokenClassification": {"": {"labels": TOKEN_LABELS}},
    "BertForNextSentencePrediction": {"": {"labels": PAIR_LABELS}},
    "BertForPreTraining": {
        "": {"labels": {"labels": MASKED_LABELS, "next_sentence_label": PAIR_LABELS}}
    },
    "BertForQuestionAnswering": {
        "": {
            "labels": {
                "start_positions": np.array([1, -100, 0]),
                "end_positions": np.array([4, -100, 3]),
            },
            "config": TWO_CLASSES,
            "zeros": ("qa_outputs.bias", "layer.1.output.LayerNorm.bias"),
        }
    },
    "BertForMultipleChoice": {
        "": {"labels": np.array([1, 0, -100]), "batch": CHOICES, "zeros": ("classifier.bias",)}
    },
    "ModernBertForMaskedLM": {"": {"labels": MASKED_LABELS, "config": MODERN_CONFIG}},
}


def labelled_models() -> list[ModelCase]:
    """Return each model class that has labels, in each variant."""
    return [
        ModelCase(f"{name}, {variant}" if variant else name, model_class(name), **fields)
        for name in MODELS
        if name in LABELLED
        for variant, fields in LABELLED[name].items()
    ]

"""BertForMaskedLM: a body and the masked-LM head."""

from typing import Any

import numpy as np

from minibert.functional import IGNORED
from minibert.layers import MaskedLMHead
from minibert.models.inputs import Batch, match_classes
from minibert.models.task_model import BertWithHead
from minibert.specs import ParameterSpec
from minibert.typing import Array

WORDS = "embeddings.word_embeddings.weight"


class BertForMaskedLM(BertWithHead):
    """Predict the masked tokens: logits (B, T, V) over the vocabulary.

    Devlin et al. (2019), section 3.1. The labels are (B, T), -100 where nothing is masked; training
    computes the last block and the head at the masked positions only.
    """

    predicts_tokens = True

    def build(self, **parts: Any) -> None:
        """Make the body and the head, whose table is that of the word embeddings.

        Raises:
            ValueError: a caller's embeddings have no such table.
        """
        super().build(**parts)
        config, words = self.config, self.bert.specs().get(WORDS)
        if not isinstance(words, ParameterSpec):
            raise ValueError(
                f"embeddings: expected {type(self.bert.embeddings).__name__} to declare "
                f"{WORDS.removeprefix('embeddings.')}, to which the head is tied, found none"
            )
        self.head = MaskedLMHead(
            config.vocab_size,
            config.hidden_size,
            config.hidden_act,
            config.layer_norm_eps,
            table_width=words.shape[1],
        )

    def match(self, batch: Batch, labels: Any) -> Array:
        """Return the labels (B, T), each a token."""
        return match_classes("labels", labels, batch.input_ids.shape, self.config.vocab_size)

    def targets(self, batch: Batch, labels: Any) -> tuple[Array, Any]:
        """Return the masked positions (B, R) and their labels, R the most that a sequence has.

        >>> from minibert import BertConfig
        >>> model = BertForMaskedLM(BertConfig.preset("tiny", vocab_size=9))
        >>> batch = model.check([[1, 1, 1, 1], [1, 1, 1, 1]])
        >>> labels = np.array([[-100, 7, -100, 8], [5, -100, -100, -100]])
        >>> rows, targets = model.targets(batch, labels)
        >>> rows.tolist(), targets.tolist()
        ([[1, 3], [0, 1]], [[7, 8], [5, -100]])
        """
        labels = self.match(batch, labels)
        rows = positions_of(labels != IGNORED)
        return rows, np.take_along_axis(labels, rows, axis=1)


def positions_of(wanted: Array) -> Array:
    """Return the positions of the wanted tokens of each sequence, (B, R).

    R is the most that a sequence has. A stable sort brings the wanted ones to the front, in order;
    a sequence with fewer is filled up with other positions.

    Args:
        wanted (B, T): booleans.
    """
    most = max(int(wanted.sum(axis=1).max()), 1)
    return np.argsort(~wanted, axis=1, kind="stable")[:, :most]

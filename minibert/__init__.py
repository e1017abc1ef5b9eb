"""minibert: BERT from scratch in pure NumPy, hand-written backward pass included."""

from typing import TYPE_CHECKING, Any

from minibert.config import BertConfig
from minibert.models import (
    BertForMaskedLM,
    BertForMultipleChoice,
    BertForNextSentencePrediction,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
)
from minibert.parameters import Parameters

if TYPE_CHECKING:
    from minibert.tokenization import WordPieceTokenizer

__all__ = [
    "BertConfig",
    "BertForMaskedLM",
    "BertForMultipleChoice",
    "BertForNextSentencePrediction",
    "BertForPreTraining",
    "BertForQuestionAnswering",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertModel",
    "Parameters",
    "WordPieceTokenizer",
]


def __getattr__(name: str) -> Any:
    """Import the tokenizer when it is first asked for: its patterns take a third of the import."""
    if name == "WordPieceTokenizer":
        from minibert.tokenization import WordPieceTokenizer

        return WordPieceTokenizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""minibert: BERT from scratch in pure NumPy, hand-written backward pass included."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
from minibert.models.config import BertConfig
from minibert.parameters import Parameters

if TYPE_CHECKING:
    from minibert.estimators import TextClassifier, TextRegressor, TokenTagger
    from minibert.inference.features import FeatureExtractor
    from minibert.tokenization import WordPieceTokenizer

# Imported when they are first asked for: the tokenizer's patterns take a third of the import.
_LATER = {
    "FeatureExtractor": "minibert.inference.features",
    "TextClassifier": "minibert.estimators",
    "TextRegressor": "minibert.estimators",
    "TokenTagger": "minibert.estimators",
    "WordPieceTokenizer": "minibert.tokenization",
}

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
    "FeatureExtractor",
    "Parameters",
    "TextClassifier",
    "TextRegressor",
    "TokenTagger",
    "WordPieceTokenizer",
]


def __getattr__(name: str) -> Any:
    """Import what isn't imported yet."""
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

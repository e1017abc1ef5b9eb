"""minibert: BERT from scratch in pure NumPy, hand-written backward pass included."""

from minibert.config import BertConfig
from minibert.models import BertForMaskedLM, BertForSequenceClassification, BertModel
from minibert.parameters import Parameters

__all__ = [
    "BertConfig",
    "BertForMaskedLM",
    "BertForSequenceClassification",
    "BertModel",
    "Parameters",
]

"""The models: a body, and one small class for each thing that it is used for."""

from minibert.models.base import Batch, Model
from minibert.models.bert import Bert, BertBased, BertModel, ModelOutput
from minibert.models.checkpoints import PreTrained, read_config
from minibert.models.heads import (
    BertForMaskedLM,
    BertForMultipleChoice,
    BertForNextSentencePrediction,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)

__all__ = [
    "Batch",
    "Bert",
    "BertBased",
    "BertForMaskedLM",
    "BertForMultipleChoice",
    "BertForNextSentencePrediction",
    "BertForPreTraining",
    "BertForQuestionAnswering",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertModel",
    "Model",
    "ModelOutput",
    "PreTrained",
    "read_config",
]

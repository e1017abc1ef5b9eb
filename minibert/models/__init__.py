"""The models: a body, and one small class for each thing that it is used for."""

from minibert.models.base import Batch, Model
from minibert.models.bert import Bert, BertModel, ModelOutput, Pooler
from minibert.models.heads import BertForMaskedLM, BertForSequenceClassification
from minibert.models.pretrained import PreTrained, read_config

__all__ = [
    "Batch",
    "Bert",
    "BertForMaskedLM",
    "BertForSequenceClassification",
    "BertModel",
    "Model",
    "ModelOutput",
    "Pooler",
    "PreTrained",
    "read_config",
]

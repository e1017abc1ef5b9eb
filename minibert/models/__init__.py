"""The models: a body, and one small class for each use of it."""

from minibert.models.base import Model
from minibert.models.bert import BertBased, BertModel
from minibert.models.body import Bert
from minibert.models.checkpoints import PreTrained, read_config
from minibert.models.compose import bert_block, bert_embeddings
from minibert.models.config import BertConfig
from minibert.models.heads import (
    BertForMultipleChoice,
    BertForNextSentencePrediction,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)
from minibert.models.inputs import Batch
from minibert.models.masked_lm import BertForMaskedLM
from minibert.models.output import ModelOutput
from minibert.models.parts import Parts
from minibert.models.sentence import SentenceEncoder
from minibert.models.task_model import BertWithHead, Labels

__all__ = [
    "Batch",
    "Bert",
    "BertBased",
    "BertConfig",
    "BertForMaskedLM",
    "BertForMultipleChoice",
    "BertForNextSentencePrediction",
    "BertForPreTraining",
    "BertForQuestionAnswering",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertModel",
    "BertWithHead",
    "Labels",
    "Model",
    "ModelOutput",
    "Parts",
    "PreTrained",
    "SentenceEncoder",
    "bert_block",
    "bert_embeddings",
    "read_config",
]

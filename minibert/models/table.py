"""The table of models: the name of each class, and the module that defines it."""

from importlib import import_module
from typing import Any

MODELS: dict[str, str] = {
    "BertModel": "minibert.models.bert",
    "BertForMaskedLM": "minibert.models.masked_lm",
    "BertForSequenceClassification": "minibert.models.heads",
    "BertForTokenClassification": "minibert.models.heads",
    "BertForNextSentencePrediction": "minibert.models.heads",
    "BertForPreTraining": "minibert.models.heads",
    "BertForQuestionAnswering": "minibert.models.heads",
    "BertForMultipleChoice": "minibert.models.heads",
}


def model_class(name: str) -> Any:
    """Return the model class of this name, a key of `MODELS`.

    >>> model_class("BertForMaskedLM").__name__
    'BertForMaskedLM'
    """
    return getattr(import_module(MODELS[name]), name)

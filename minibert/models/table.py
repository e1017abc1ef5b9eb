"""The tables of models: the module that defines each class, and the families of classes."""

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
    "ModernBertModel": "minibert.models.families.modernbert",
    "ModernBertForMaskedLM": "minibert.models.families.modernbert",
}
# By the `model_type` of a config.json: the module of the family's configuration and body, and what
# the names of its classes begin with.
FAMILIES: dict[str, tuple[str, str]] = {
    "bert": ("minibert.models.bert", "Bert"),
    "modernbert": ("minibert.models.families.modernbert", "ModernBert"),
}


def model_class(name: str) -> Any:
    """Return the model class of this name, a key of `MODELS`.

    >>> model_class("BertForMaskedLM").__name__
    'BertForMaskedLM'
    """
    return getattr(import_module(MODELS[name]), name)


def family_class(model_type: str, use: str) -> Any:
    """Return a class of a family, such as its `Config`, `Based` or `ForMaskedLM`.

    >>> family_class("modernbert", "ForMaskedLM").__name__
    'ModernBertForMaskedLM'

    Args:
        model_type: of a config.json; an unknown one is read as BERT's, whose configuration
            refuses it.
        use: the end of the class's name.

    Raises:
        ValueError: the family has no such class.
    """
    module, front = FAMILIES.get(model_type, FAMILIES["bert"])
    name = front + use
    found = getattr(import_module(MODELS.get(name, module)), name, None)
    if found is None:
        raise ValueError(f"model_type: {model_type} has no {name} in minibert")
    return found

"""The tables of models: the module that defines each class, and the families of classes."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

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


class Family(NamedTuple):
    """The classes of a family.

    Attributes:
        module: of the configuration and the body.
        front: what the names of the classes begin with.
        uses: what they end with.
    """

    module: str
    front: str
    uses: tuple[str, ...]


_ROOM = "minibert.models.families."
_TASKS = (
    "Model", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification",
    "ForQuestionAnswering", "ForMultipleChoice",
)  # fmt: skip
_BERT = Family(
    "minibert.models.bert", "Bert", (*_TASKS, "ForNextSentencePrediction", "ForPreTraining")
)
# By the `model_type` of a config.json.
FAMILIES: dict[str, Family] = {
    "bert": _BERT,
    "minibert": _BERT,  # a composition of a caller's parts
    "distilbert": Family(_ROOM + "distilbert", "DistilBert", _TASKS),
    "roberta": Family(_ROOM + "roberta", "Roberta", _TASKS),
    "xlm-roberta": Family(_ROOM + "xlm_roberta", "XLMRoberta", _TASKS),
    "camembert": Family(_ROOM + "camembert", "Camembert", _TASKS),
    "electra": Family(_ROOM + "electra", "Electra", (*_TASKS, "ForPreTraining")),
    "mpnet": Family(_ROOM + "mpnet", "MPNet", _TASKS),
    "albert": Family(_ROOM + "albert", "Albert", (*_TASKS, "ForPreTraining")),
    "deberta-v2": Family(_ROOM + "deberta_v2", "DebertaV2", _TASKS),
    "modernbert": Family(_ROOM + "modernbert", "ModernBert", _TASKS),
}
# The classes of the relatives that are not in `MODELS`, and the family and use of each class.
RELATIVES: dict[str, str] = {
    family.front + use: family.module
    for family in FAMILIES.values()
    for use in ("Config", *family.uses)
    if family is not _BERT and family.front + use not in MODELS
}
_USES = {family.front + use: use for family in FAMILIES.values() for use in family.uses}


def model_class(name: str) -> Any:
    """Return the model class of this name, a key of `MODELS` or `RELATIVES`.

    >>> model_class("BertForMaskedLM").__name__
    'BertForMaskedLM'
    """
    return getattr(import_module(MODELS.get(name) or RELATIVES[name]), name)


def family_class(model_type: str, *uses: str) -> Any:
    """Return a class of a family, such as its `Config`, `Based` or `ForMaskedLM`.

    >>> family_class("modernbert", "ForMaskedLM").__name__
    'ModernBertForMaskedLM'

    Args:
        model_type: of a config.json.
        uses: the ends of class names; the first that the family has is taken.

    Raises:
        ValueError: there is no such family, or it has no such class.
    """
    if model_type not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise ValueError(f"model_type: expected one of {known}, got {model_type!r}")
    module, front, _ = FAMILIES[model_type]
    names = [front + use for use in uses]
    for name in names:
        found = getattr(import_module(MODELS.get(name, module)), name, None)
        if found is not None:
            return found
    raise ValueError(f"model_type: {model_type} has no {' or '.join(names)} in minibert")


def family_of(model_type: Any, architectures: Any) -> str:
    """Return the family of a `config.json`, which is a key of `FAMILIES` if one fits.

    >>> family_of(None, ["ModernBertForMaskedLM"]), family_of(None, None)
    ('modernbert', 'bert')

    Args:
        model_type: its field of this name, which old files lack.
        architectures: its field of this name: the names of classes.
    """
    if model_type is not None:
        return str(model_type)
    named = [str(name) for name in architectures] if isinstance(architectures, list) else []
    return next(
        (key for key, family in FAMILIES.items()
         for use in family.uses if family.front + use in named),
        "bert",
    )  # fmt: skip


def bert_names(architectures: Sequence[str]) -> list[str]:
    """Return the names of BERT's classes with the same uses as the classes named.

    >>> bert_names(["ModernBertForMaskedLM", "Other"])
    ['BertForMaskedLM', 'Other']
    """
    return [_BERT.front + _USES[name] if name in _USES else name for name in architectures]


def relative_class(kind: Any, model_type: str) -> Any:
    """Return the class of a family with the use of one of BERT's classes.

    >>> relative_class(model_class("BertForMaskedLM"), "modernbert").__name__
    'ModernBertForMaskedLM'

    Args:
        kind: the class; one that is not in the tables is returned unchanged.
        model_type: a key of `FAMILIES`.

    Raises:
        ValueError: the family has no such class.
    """
    name = kind.__name__
    is_known = name in _USES and model_class(name) is kind
    return family_class(model_type, _USES[name]) if is_known else kind

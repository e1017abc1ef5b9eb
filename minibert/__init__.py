"""minibert: BERT from scratch in pure NumPy, hand-written backward pass included."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minibert.estimators import TextClassifier, TextRegressor, TokenTagger, load
    from minibert.inference.cross_encoder import CrossEncoder
    from minibert.inference.features import FeatureExtractor
    from minibert.inference.question_answering import QuestionAnswerer
    from minibert.inference.vector_store import VectorStore
    from minibert.models import (
        BertConfig,
        BertForMaskedLM,
        BertForMultipleChoice,
        BertForNextSentencePrediction,
        BertForPreTraining,
        BertForQuestionAnswering,
        BertForSequenceClassification,
        BertForTokenClassification,
        BertModel,
    )
    from minibert.models.auto import (
        AutoConfig,
        AutoModel,
        AutoModelForMaskedLM,
        AutoModelForMultipleChoice,
        AutoModelForPreTraining,
        AutoModelForQuestionAnswering,
        AutoModelForSequenceClassification,
        AutoModelForTokenClassification,
    )
    from minibert.models.families.modernbert import (
        ModernBertConfig,
        ModernBertForMaskedLM,
        ModernBertModel,
    )
    from minibert.parameters import Parameters
    from minibert.tokenization import (
        AutoTokenizer,
        ByteLevelBPETokenizer,
        UnigramTokenizer,
        WordPieceTokenizer,
    )

__version__ = "0.2.0.dev0"

# Imported on first use, as the models are: compiling the patterns of the tokenizer takes a third of
# the import, and the command line is ready for Ctrl-C at once.
_MODULES = {
    "AutoConfig": "minibert.models.auto",
    "AutoModel": "minibert.models.auto",
    "AutoModelForMaskedLM": "minibert.models.auto",
    "AutoModelForMultipleChoice": "minibert.models.auto",
    "AutoModelForPreTraining": "minibert.models.auto",
    "AutoModelForQuestionAnswering": "minibert.models.auto",
    "AutoModelForSequenceClassification": "minibert.models.auto",
    "AutoModelForTokenClassification": "minibert.models.auto",
    "AutoTokenizer": "minibert.tokenization",
    "BertConfig": "minibert.models.config",
    "ByteLevelBPETokenizer": "minibert.tokenization",
    "CrossEncoder": "minibert.inference.cross_encoder",
    "FeatureExtractor": "minibert.inference.features",
    "ModernBertConfig": "minibert.models.families.modernbert",
    "Parameters": "minibert.parameters",
    "QuestionAnswerer": "minibert.inference.question_answering",
    "TextClassifier": "minibert.estimators",
    "TextRegressor": "minibert.estimators",
    "TokenTagger": "minibert.estimators",
    "UnigramTokenizer": "minibert.tokenization",
    "VectorStore": "minibert.inference.vector_store",
    "WordPieceTokenizer": "minibert.tokenization",
    "load": "minibert.estimators",
}

__all__ = [
    "AutoConfig",
    "AutoModel",
    "AutoModelForMaskedLM",
    "AutoModelForMultipleChoice",
    "AutoModelForPreTraining",
    "AutoModelForQuestionAnswering",
    "AutoModelForSequenceClassification",
    "AutoModelForTokenClassification",
    "AutoTokenizer",
    "BertConfig",
    "BertForMaskedLM",
    "BertForMultipleChoice",
    "BertForNextSentencePrediction",
    "BertForPreTraining",
    "BertForQuestionAnswering",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertModel",
    "ByteLevelBPETokenizer",
    "CrossEncoder",
    "FeatureExtractor",
    "ModernBertConfig",
    "ModernBertForMaskedLM",
    "ModernBertModel",
    "Parameters",
    "QuestionAnswerer",
    "TextClassifier",
    "TextRegressor",
    "TokenTagger",
    "UnigramTokenizer",
    "VectorStore",
    "WordPieceTokenizer",
    "load",
]


def _modules() -> dict[str, str]:
    """Return the module of each public name, those of the models too."""
    from minibert.models.table import MODELS, RELATIVES

    return MODELS | RELATIVES | _MODULES


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if not name.startswith("_"):
        if name in (modules := _modules()):
            globals()[name] = getattr(import_module(modules[name]), name)
        if name in globals():  # or a room that was imported with the models
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names, imported or not."""
    return sorted({*globals(), *_modules()})

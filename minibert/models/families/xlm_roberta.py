"""XLM-RoBERTa: RoBERTa in a hundred languages.

Differences from RoBERTa:

    tokens          pieces of SentencePiece's Unigram model, about 250,000, instead of bytes

The computation is the same. Conneau et al. (2020), section 3.
"""

from dataclasses import dataclass
from typing import ClassVar

from minibert.models.config import BertConfig
from minibert.models.families.roberta import (
    RobertaBased,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForMultipleChoice,
    RobertaForQuestionAnswering,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
    RobertaModel,
)


@dataclass(frozen=True)
class XLMRobertaConfig(RobertaConfig):
    """The sizes and options of an XLM-RoBERTa; see `RobertaConfig`.

    >>> XLMRobertaConfig().model_type
    'xlm-roberta'
    """

    vocab_size: int = 30522
    model_type: ClassVar[str] = "xlm-roberta"


class XLMRobertaBased(RobertaBased):
    """A model with the body of an XLM-RoBERTa."""

    config_class: type[BertConfig] = XLMRobertaConfig


class XLMRobertaModel(XLMRobertaBased, RobertaModel):
    """See `RobertaModel`."""


class XLMRobertaForMaskedLM(XLMRobertaBased, RobertaForMaskedLM):
    """See `RobertaForMaskedLM`."""


class XLMRobertaForSequenceClassification(XLMRobertaBased, RobertaForSequenceClassification):
    """See `RobertaForSequenceClassification`."""


class XLMRobertaForTokenClassification(XLMRobertaBased, RobertaForTokenClassification):
    """See `RobertaForTokenClassification`."""


class XLMRobertaForQuestionAnswering(XLMRobertaBased, RobertaForQuestionAnswering):
    """See `RobertaForQuestionAnswering`."""


class XLMRobertaForMultipleChoice(XLMRobertaBased, RobertaForMultipleChoice):
    """See `RobertaForMultipleChoice`."""

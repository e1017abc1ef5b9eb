"""CamemBERT: RoBERTa in French.

Differences from RoBERTa:

    tokens          pieces of SentencePiece's Unigram model, about 32,000, instead of bytes
    training        whole words are masked

The computation is the same. Martin et al. (2020), section 4.
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
class CamembertConfig(RobertaConfig):
    """The sizes and options of a CamemBERT; see `RobertaConfig`.

    >>> CamembertConfig().model_type
    'camembert'
    """

    vocab_size: int = 30522
    model_type: ClassVar[str] = "camembert"


class CamembertBased(RobertaBased):
    """A model with the body of a CamemBERT."""

    config_class: type[BertConfig] = CamembertConfig


class CamembertModel(CamembertBased, RobertaModel):
    """See `RobertaModel`."""


class CamembertForMaskedLM(CamembertBased, RobertaForMaskedLM):
    """See `RobertaForMaskedLM`."""


class CamembertForSequenceClassification(CamembertBased, RobertaForSequenceClassification):
    """See `RobertaForSequenceClassification`."""


class CamembertForTokenClassification(CamembertBased, RobertaForTokenClassification):
    """See `RobertaForTokenClassification`."""


class CamembertForQuestionAnswering(CamembertBased, RobertaForQuestionAnswering):
    """See `RobertaForQuestionAnswering`."""


class CamembertForMultipleChoice(CamembertBased, RobertaForMultipleChoice):
    """See `RobertaForMultipleChoice`."""

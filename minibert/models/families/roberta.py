"""RoBERTa: BERT trained longer on more text, without the task of next sentences.

Differences from BERT, in the order of the computation:

    positions       p_t = pad + m_t Σ_{s <= t} m_s, m_t = [id_t is not pad]   from pad + 1 on
    segments        one table, usually of a single row
    masked-LM head  exact gelu, whatever the encoder's activation is
    classifier      linear(dropout(tanh(linear(dropout(x_0)))))           of the text; no pooler
    choices         linear(dropout(pooler(x)))                            rate of hidden units

Liu et al. (2019), section 3, and their code. Positions depend on the ids, not on the attention
mask, so of the position table's rows the first pad + 1 belong to no token: with 514 rows and the
padding id 1, a text has at most 512 tokens.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from minibert import layers
from minibert.layers.embeddings import POSITIONS, SEGMENTS
from minibert.layers.word_embeddings import after_padding, by_segment
from minibert.models.bert import BertModel
from minibert.models.config import BertConfig
from minibert.models.families.relative import Relative, RelativeConfig
from minibert.models.families.summary import classification_head
from minibert.models.heads import (
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)
from minibert.models.masked_lm import BertForMaskedLM
from minibert.models.names import Names

_TRANSFORM = "cls.predictions.transform."
HEAD_NAMES = (
    (f"{_TRANSFORM}dense.", "lm_head.dense."),
    (f"{_TRANSFORM}LayerNorm.", "lm_head.layer_norm."),
    ("cls.predictions.bias", "lm_head.bias"),
    ("cls.predictions.decoder.", "lm_head.decoder."),
)


@dataclass(frozen=True)
class RobertaConfig(RelativeConfig):
    """The sizes and options of a RoBERTa; the names in a file are those of `transformers`.

    >>> RobertaConfig(max_position_embeddings=514).longest
    512

    Raises:
        ValueError: as `BertConfig`; or there is no position for a token.
    """

    vocab_size: int = 50265
    pad_token_id: int = 1
    model_type: ClassVar[str] = "roberta"
    fixed: ClassVar = {"position_embedding_type": "absolute"}
    left_out: ClassVar[tuple[str, ...]] = ("position_embedding_type",)

    @property
    def longest(self) -> int:
        """The most tokens of a sequence: the rows of the position table after that of padding."""
        return self.max_position_embeddings - self.pad_token_id - 1

    def _check_sizes(self) -> None:
        super()._check_sizes()
        if self.longest < 1:
            raise ValueError(
                f"max_position_embeddings: expected at least {self.pad_token_id + 2}, because "
                f"positions begin after pad_token_id {self.pad_token_id}, got "
                f"{self.max_position_embeddings}"
            )


class RobertaBased(Relative):
    """A model with a RoBERTa's body."""

    config_class: type[BertConfig] = RobertaConfig
    file_names = Names("roberta.", (*HEAD_NAMES, ("bert.", "roberta.")))

    def make_embeddings(self) -> layers.WordEmbeddings:
        """Return embeddings of words, positions after padding, and segments."""
        c, D, pad = self.config, self.config.hidden_size, self.config.pad_token_id
        number = partial(after_padding, pad)
        return layers.WordEmbeddings(
            c.vocab_size, D, pad, layers.LayerNorm("LayerNorm", D, c.layer_norm_eps),
            c.hidden_dropout_prob,
            added=[
                layers.AddedTable(POSITIONS, c.max_position_embeddings, number, zero_row=pad),
                layers.AddedTable(SEGMENTS, c.type_vocab_size, by_segment),
            ],
        )  # fmt: skip


class RobertaModel(RobertaBased, BertModel):
    """RoBERTa without a head: `last_hidden_state` for each token, `pooler_output` for the text.

    >>> model = RobertaModel(RobertaConfig.preset("tiny", vocab_size=100))
    >>> model([[0, 17, 54, 2]]).pooler_output.shape
    (1, 128)
    """


class RobertaForMaskedLM(RobertaBased, BertForMaskedLM):
    """Predict the masked tokens: logits (B, T, V); see `BertForMaskedLM`."""

    head: layers.MaskedLMHead

    def build(self, **parts: Any) -> None:
        """Make the body and the head."""
        super().build(**parts)
        self.head.activation = "gelu"


class RobertaForSequenceClassification(RobertaBased, BertForSequenceClassification):
    """Put the whole text into classes: logits (B, C); see `BertForSequenceClassification`."""

    def build(self, **parts: Any) -> None:
        """Make the body and the head."""
        super().build(**parts)
        self.head = classification_head(self.config, "tanh")


class RobertaForTokenClassification(RobertaBased, BertForTokenClassification):
    """Put each token into a class: logits (B, T, C); see `BertForTokenClassification`."""


class RobertaForQuestionAnswering(RobertaBased, BertForQuestionAnswering):
    """Find where an answer begins and ends; see `BertForQuestionAnswering`."""


class RobertaForMultipleChoice(RobertaBased, BertForMultipleChoice):
    """Choose among several sequences: logits (B, C); see `BertForMultipleChoice`."""

    def build(self, **parts: Any) -> None:
        """Make the body and the head."""
        super().build(**parts)
        D, rate = self.config.hidden_size, self.config.hidden_dropout_prob
        self.head = layers.PooledClassifierHead("classifier", D, 1, rate)

"""MPNet: BERT that sees the positions of all tokens and predicts masked ones in a random order.

Differences from BERT, in the order of the computation:

    positions       p_t = 1 + m_t Σ_{s <= t} m_s, m_t = [id_t is not 1]   as in RoBERTa
    segments        none: they are ignored
    attention       softmax(Q Kᵀ / √H + bias[j - i]) V                    one bias for all layers
    masked-LM head  exact gelu, whatever the encoder's activation is
    classifier      linear(dropout(tanh(linear(dropout(x_0)))))           of the text; no pooler
    choices         linear(dropout(pooler(x)))

Song et al. (2020), section 3.1, and their code; the bias is T5's, see `layers.RelativeBias`. The
padding id is 1 and there are 32 buckets, because the code of `transformers` fixes both.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from minibert import layers
from minibert.layers.embeddings import POSITIONS
from minibert.layers.word_embeddings import after_padding
from minibert.models.bert import BertModel
from minibert.models.config import BertConfig
from minibert.models.families.relative import Relative
from minibert.models.families.roberta import HEAD_NAMES, RobertaConfig
from minibert.models.families.summary import classification_head
from minibert.models.heads import (
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)
from minibert.models.masked_lm import BertForMaskedLM
from minibert.models.names import Names

PADDING, BUCKETS = 1, 32
_OURS, _THEIRS = "bert.encoder.layer.*.attention.", "mpnet.encoder.layer.*.attention."
FILE_NAMES = Names(
    "mpnet.",
    (
        *HEAD_NAMES,
        (f"{_OURS}self.query.", f"{_THEIRS}attn.q."),
        (f"{_OURS}self.key.", f"{_THEIRS}attn.k."),
        (f"{_OURS}self.value.", f"{_THEIRS}attn.v."),
        (f"{_OURS}output.dense.", f"{_THEIRS}attn.o."),
        (f"{_OURS}output.LayerNorm.", f"{_THEIRS}LayerNorm."),
        ("bert.", "mpnet."),
    ),
)


@dataclass(frozen=True)
class MPNetConfig(RobertaConfig):
    """The sizes and options of an MPNet; the names in a file are those of `transformers`.

    >>> MPNetConfig(max_position_embeddings=514).longest
    512

    Raises:
        ValueError: as `BertConfig`; the padding id is not 1; or there is no position for a token.
    """

    vocab_size: int = 30527
    model_type: ClassVar[str] = "mpnet"
    fixed: ClassVar = {
        "position_embedding_type": "absolute", "relative_attention_num_buckets": BUCKETS
    }  # fmt: skip
    left_out: ClassVar[tuple[str, ...]] = (
        "position_embedding_type",
        "type_vocab_size",
        "classifier_dropout",
    )

    def _check_sizes(self) -> None:
        super()._check_sizes()
        if self.pad_token_id != PADDING:
            raise ValueError(f"pad_token_id: expected {PADDING}, got {self.pad_token_id}")


class MPNetBased(Relative):
    """A model with an MPNet's body."""

    config_class: type[BertConfig] = MPNetConfig
    file_names = FILE_NAMES

    def make_embeddings(self) -> layers.WordEmbeddings:
        """Return embeddings of words and positions after padding."""
        c, D, rows = self.config, self.config.hidden_size, self.config.max_position_embeddings
        number = partial(after_padding, PADDING)
        return layers.WordEmbeddings(
            c.vocab_size, D, PADDING, layers.LayerNorm("LayerNorm", D, c.layer_norm_eps),
            c.hidden_dropout_prob,
            added=[layers.AddedTable(POSITIONS, rows, number, zero_row=PADDING)],
        )  # fmt: skip

    def make_positions(self) -> layers.RelativeBias:
        """Return the bias of all layers."""
        return layers.RelativeBias(self.config.num_attention_heads)


class MPNetModel(MPNetBased, BertModel):
    """MPNet without a head: `last_hidden_state` for each token, `pooler_output` for the text.

    >>> model = MPNetModel(MPNetConfig.preset("tiny", vocab_size=100))
    >>> model([[0, 17, 54, 2]]).pooler_output.shape
    (1, 128)
    """


class MPNetForMaskedLM(MPNetBased, BertForMaskedLM):
    """Predict the masked tokens: logits (B, T, V); see `BertForMaskedLM`."""

    head: layers.MaskedLMHead

    def build(self, **parts: Any) -> None:
        """Make the body and the head."""
        super().build(**parts)
        self.head.activation = "gelu"


class MPNetForSequenceClassification(MPNetBased, BertForSequenceClassification):
    """Put the whole text into classes: logits (B, C); see `BertForSequenceClassification`."""

    def build(self, **parts: Any) -> None:
        """Make the body and the head."""
        super().build(**parts)
        self.head = classification_head(self.config, "tanh")


class MPNetForTokenClassification(MPNetBased, BertForTokenClassification):
    """Put each token into a class: logits (B, T, C); see `BertForTokenClassification`."""


class MPNetForQuestionAnswering(MPNetBased, BertForQuestionAnswering):
    """Find where an answer begins and ends; see `BertForQuestionAnswering`."""


class MPNetForMultipleChoice(MPNetBased, BertForMultipleChoice):
    """Choose among several sequences: logits (B, C); see `BertForMultipleChoice`."""

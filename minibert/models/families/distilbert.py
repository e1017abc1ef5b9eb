"""DistilBERT: BERT with half of the layers, trained to predict as BERT does.

Differences from BERT, in the order of the computation:

    embeddings      x = dropout(norm(word[id] + position[t]))       no segments: they are ignored
    blocks          h = norm(x + attention(x))                      no dropout on attention's output
    pooler          none
    classifiers     linear(dropout(relu(linear(x_0))))              of texts and of choices
    answers         linear(dropout(x))                              a dropout before the logits

Sanh et al. (2019), section 3, and their code. The eps of every norm is 1e-12.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from minibert import layers
from minibert.models.config import BertConfig
from minibert.models.families.relative import BodyModel, Relative, RelativeConfig, word_embeddings
from minibert.models.families.summary import SummaryHead
from minibert.models.heads import (
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)
from minibert.models.masked_lm import BertForMaskedLM
from minibert.models.names import Names

_OURS, _THEIRS = "bert.encoder.layer.*.", "distilbert.transformer.layer.*."
FILE_NAMES = Names(
    "distilbert.",
    (
        ("cls.predictions.transform.dense.", "vocab_transform."),
        ("cls.predictions.transform.LayerNorm.", "vocab_layer_norm."),
        ("cls.predictions.bias", "vocab_projector.bias"),
        ("cls.predictions.decoder.weight", "vocab_projector.weight"),
        (f"{_OURS}attention.self.query.", f"{_THEIRS}attention.q_lin."),
        (f"{_OURS}attention.self.key.", f"{_THEIRS}attention.k_lin."),
        (f"{_OURS}attention.self.value.", f"{_THEIRS}attention.v_lin."),
        (f"{_OURS}attention.output.dense.", f"{_THEIRS}attention.out_lin."),
        (f"{_OURS}attention.output.LayerNorm.", f"{_THEIRS}sa_layer_norm."),
        (f"{_OURS}intermediate.dense.", f"{_THEIRS}ffn.lin1."),
        (f"{_OURS}output.dense.", f"{_THEIRS}ffn.lin2."),
        (f"{_OURS}output.LayerNorm.", f"{_THEIRS}output_layer_norm."),
        ("bert.", "distilbert."),
    ),
)


@dataclass(frozen=True)
class DistilBertConfig(RelativeConfig):
    """The sizes and options of a DistilBERT; the names in a file are those of `transformers`.

    >>> DistilBertConfig().to_dict()["n_layers"]
    6

    Args:
        qa_dropout: dropout rate before the logits of answers.
        seq_classif_dropout: dropout rate before the logits of a text or a choice.

    Raises:
        ValueError: as `BertConfig`; or a field has another value than the only one here.
    """

    num_hidden_layers: int = 6
    qa_dropout: float = 0.1
    seq_classif_dropout: float = 0.2
    model_type: ClassVar[str] = "distilbert"
    renamed: ClassVar = {
        "hidden_size": "dim", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads",
        "intermediate_size": "hidden_dim", "hidden_act": "activation",
        "hidden_dropout_prob": "dropout", "attention_probs_dropout_prob": "attention_dropout",
    }  # fmt: skip
    left_out: ClassVar[tuple[str, ...]] = (
        "type_vocab_size", "layer_norm_eps", "position_embedding_type", "classifier_dropout",
    )  # fmt: skip

    def _check_rates(self) -> None:
        super()._check_rates()
        self._check_more_rates("qa_dropout", "seq_classif_dropout")


class DistilBertBased(Relative):
    """A model with a DistilBERT's body."""

    config: DistilBertConfig
    config_class: type[BertConfig] = DistilBertConfig
    file_names = FILE_NAMES

    def make_embeddings(self) -> layers.WordEmbeddings:
        """Return embeddings of words and positions."""
        return word_embeddings(self.config, segments=False)

    def make_block(self) -> layers.Layer:
        """Return BERT's block without the dropout on the output of attention."""
        block: Any = super().make_block()
        block.attention.rate = 0.0
        return block  # type: ignore[no-any-return]

    def make_summary_head(self, classes: int) -> SummaryHead:
        """Return the head of texts and of choices."""
        D, rate = self.config.hidden_size, self.config.seq_classif_dropout
        return SummaryHead("pre_classifier", "classifier", D, classes, "relu", after=rate)


class DistilBertModel(DistilBertBased, BodyModel):
    """DistilBERT without a head: `last_hidden_state` for each token; there is no pooler.

    >>> model = DistilBertModel(DistilBertConfig.preset("tiny", vocab_size=100))
    >>> model([[2, 17, 54, 3]]).last_hidden_state.shape
    (1, 4, 128)
    """


class DistilBertForMaskedLM(DistilBertBased, BertForMaskedLM):
    """Predict the masked tokens: logits (B, T, V); see `BertForMaskedLM`."""


class DistilBertForSequenceClassification(DistilBertBased, BertForSequenceClassification):
    """Put the whole text into classes: logits (B, C); see `BertForSequenceClassification`."""

    def build(self, **parts: Any) -> None:
        """Make the body and the head."""
        super().build(**parts)
        self.head = self.make_summary_head(self.config.num_labels)


class DistilBertForTokenClassification(DistilBertBased, BertForTokenClassification):
    """Put each token into a class: logits (B, T, C); see `BertForTokenClassification`."""


class DistilBertForQuestionAnswering(DistilBertBased, BertForQuestionAnswering):
    """Find where an answer begins and ends; see `BertForQuestionAnswering`."""

    def build(self, **parts: Any) -> None:
        """Make the body and the head."""
        super().build(**parts)
        config = self.config
        self.head = layers.ClassifierHead("qa_outputs", config.hidden_size, 2, config.qa_dropout)


class DistilBertForMultipleChoice(DistilBertBased, BertForMultipleChoice):
    """Choose among several sequences: logits (B, C); see `BertForMultipleChoice`."""

    def build(self, **parts: Any) -> None:
        """Make the body and the head."""
        super().build(**parts)
        self.head = self.make_summary_head(1)

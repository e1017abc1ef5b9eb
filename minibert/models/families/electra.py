"""ELECTRA: two models, of which one replaces tokens and the other finds the replaced ones.

Differences from BERT, in the order of the computation:

    embeddings      x = project(dropout(norm(word[id] + position[t] + segment[type])))
                    tables of width E, and a linear map E -> D if E is not D
    pooler          none
    discriminator   s_t = linear(activation(linear(x_t))), one logit for each token
                    loss = mean binary cross-entropy of [token t was replaced]
    generator       norm(gelu(linear(x))) Wᵀ + b, D -> E -> V; exact gelu
    classifier      linear(dropout(gelu(linear(dropout(x_0)))))           of the text
    choices         linear(dropout(gelu(linear(x_0))))

Clark et al. (2020), section 2, and their code. `ElectraForPreTraining` is the discriminator, which
is the model to fine-tune; `ElectraForMaskedLM` is the generator.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from minibert import layers
from minibert.functional import (
    IGNORED,
    binary_cross_entropy_backward,
    binary_cross_entropy_forward,
)
from minibert.models.config import BertConfig, require_int
from minibert.models.families.relative import BodyModel, Relative, RelativeConfig, word_embeddings
from minibert.models.families.summary import SummaryHead, TwoLayerHead, classification_head
from minibert.models.heads import (
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)
from minibert.models.inputs import Batch, match_classes
from minibert.models.masked_lm import BertForMaskedLM
from minibert.models.names import Names
from minibert.models.task_model import BertWithHead
from minibert.parameters import Views
from minibert.typing import Array, Rng

FILE_NAMES = Names(
    "electra.",
    (
        ("cls.predictions.transform.", "generator_predictions."),
        ("cls.predictions.bias", "generator_lm_head.bias"),
        ("cls.predictions.decoder.weight", "generator_lm_head.weight"),
        ("bert.embeddings.project.", "electra.embeddings_project."),
        ("bert.", "electra."),
    ),
)


@dataclass(frozen=True)
class ElectraConfig(RelativeConfig):
    """The sizes and options of an ELECTRA; the names in a file are those of `transformers`.

    >>> ElectraConfig().embedding_size, ElectraConfig().hidden_size
    (128, 256)

    Args:
        embedding_size: E, the width of the tables of embeddings.
        summary_last_dropout: dropout rate before the logits of choices.

    Raises:
        ValueError: as `BertConfig`.
    """

    hidden_size: int = 256
    num_attention_heads: int = 4
    intermediate_size: int = 1024
    embedding_size: int = 128
    summary_last_dropout: float = 0.1
    model_type: ClassVar[str] = "electra"
    fixed: ClassVar = {
        "position_embedding_type": "absolute", "summary_type": "first", "summary_use_proj": True,
        "summary_activation": "gelu",
    }  # fmt: skip
    left_out: ClassVar[tuple[str, ...]] = ("position_embedding_type",)

    def _check_sizes(self) -> None:
        super()._check_sizes()
        require_int("embedding_size", self.embedding_size, at_least=1)

    def _check_rates(self) -> None:
        super()._check_rates()
        self._check_more_rates("summary_last_dropout")


class ElectraBased(Relative):
    """A model with an ELECTRA's body."""

    config: ElectraConfig
    config_class: type[BertConfig] = ElectraConfig
    file_names = FILE_NAMES

    def make_embeddings(self) -> layers.WordEmbeddings:
        """Return embeddings of width E, and their projection to D."""
        E, D = self.config.embedding_size, self.config.hidden_size
        return word_embeddings(self.config, None if E == D else layers.Linear("project", E, D))


class ElectraModel(ElectraBased, BodyModel):
    """ELECTRA without a head: `last_hidden_state` for each token; there is no pooler.

    >>> model = ElectraModel(ElectraConfig.preset("tiny", vocab_size=100, embedding_size=32))
    >>> model([[2, 17, 54, 3]]).last_hidden_state.shape
    (1, 4, 128)
    """


class ElectraForPreTraining(ElectraBased, BertWithHead):
    """The discriminator: tell which tokens were replaced: logits (B, T).

    Clark et al. (2020), section 2. The labels are (B, T), 1 for a replaced token, 0 for another,
    -100 where nothing counts. Padding does not count, whatever its label is; `count` sees labels
    alone, so for it padding has the label -100.
    """

    def build(self, **parts: Any) -> None:
        """Make the body and the head."""
        super().build(**parts)
        front, config = "discriminator_predictions", self.config
        self.head = TwoLayerHead(
            f"{front}.dense", f"{front}.dense_prediction", config.hidden_size, 1, config.hidden_act
        )

    def match(self, batch: Batch, labels: Any) -> Array:
        """Return the labels (B, T), 0 or 1, -100 for padding."""
        found = match_classes("labels", labels, batch.input_ids.shape, 2)
        matched: Array = found + (batch.attention_mask == 0) * (IGNORED - found)
        return matched

    def criterion_forward(
        self, logits: Any, targets: Any, denominator: Any = None
    ) -> tuple[float, Any]:
        """Compare logits (B, T) with their targets: the loss, and the cache."""
        return binary_cross_entropy_forward(logits, targets, denominator)

    def criterion_backward(self, cache: Any) -> Any:
        """Gradient of `criterion_forward`: dlogits (B, T)."""
        return binary_cross_entropy_backward(cache)

    def head_forward(self, x: Array, rng: Rng | None = None) -> tuple[Any, Any]:
        """Return the logits (B, T) for the tokens x (B, T, D), and the cache."""
        logits, cache = super().head_forward(x, rng)
        return logits[..., 0], cache  # (B, T, 1) -> (B, T)

    def head_backward(self, dlogits: Any, cache: Any, grads: Views) -> Array:
        """Gradient of `head_forward`: dx (B, T, D)."""
        return super().head_backward(dlogits[..., None], cache, grads)  # (B, T) -> (B, T, 1)


class ElectraForMaskedLM(ElectraBased, BertForMaskedLM):
    """The generator: predict the masked tokens: logits (B, T, V); see `BertForMaskedLM`."""

    head: layers.MaskedLMHead

    def build(self, **parts: Any) -> None:
        """Make the body and the head."""
        super().build(**parts)
        self.head.activation = "gelu"


class ElectraForSequenceClassification(ElectraBased, BertForSequenceClassification):
    """Put the whole text into classes: logits (B, C); see `BertForSequenceClassification`."""

    def build(self, **parts: Any) -> None:
        """Make the body and the head."""
        super().build(**parts)
        self.head = classification_head(self.config, "gelu")


class ElectraForTokenClassification(ElectraBased, BertForTokenClassification):
    """Put each token into a class: logits (B, T, C); see `BertForTokenClassification`."""


class ElectraForQuestionAnswering(ElectraBased, BertForQuestionAnswering):
    """Find where an answer begins and ends; see `BertForQuestionAnswering`."""


class ElectraForMultipleChoice(ElectraBased, BertForMultipleChoice):
    """Choose among several sequences: logits (B, C); see `BertForMultipleChoice`."""

    def build(self, **parts: Any) -> None:
        """Make the body and the head."""
        super().build(**parts)
        D, rate = self.config.hidden_size, self.config.summary_last_dropout
        self.head = SummaryHead("sequence_summary.summary", "classifier", D, 1, "gelu", after=rate)

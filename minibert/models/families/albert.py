"""ALBERT: BERT with one block for all layers, and narrow tables of embeddings.

Differences from BERT, in the order of the computation:

    embeddings      x = project(dropout(norm(word[id] + position[t] + segment[type])))
                    tables of width E, and a linear map E -> D, even if E is D
    layers          layer i of L has the parameters of group ⌊i G / L⌋ of G
                    dW_g = Σ_i dW_i over the layers of group g: gradients of a shared weight add
    blocks          out = norm(h + feed_forward(h))       no dropout on the feed-forward's output
    activation      gelu_new, the tanh approximation
    masked-LM head  norm(gelu_new(linear(x))) Wᵀ + b, D -> E -> V
    pre-training    [segment A follows B in the text], instead of [B is from another text]

Lan et al. (2020), section 3.1, and their code. A group is usually one block; `inner_group_num`
makes it several in sequence, each with parameters of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from minibert import layers
from minibert.models.bert import BertModel
from minibert.models.config import BertConfig, require_int
from minibert.models.families.relative import Relative, RelativeConfig, word_embeddings
from minibert.models.heads import (
    BertForMultipleChoice,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)
from minibert.models.masked_lm import BertForMaskedLM
from minibert.models.names import Names

MAX_BLOCKS = 10_000  # weights that are shared do not limit the number of layers in a file
_OURS = "bert.encoder.layer.*.*."
_THEIRS = "albert.encoder.albert_layer_groups.*.albert_layers.*."
FILE_NAMES = Names(
    "albert.",
    (
        ("cls.predictions.bias", "predictions.bias"),
        ("cls.predictions.decoder.", "predictions.decoder."),
        ("cls.predictions.transform.", "predictions."),
        ("cls.seq_relationship.", "sop_classifier.classifier."),
        ("bert.embeddings.project.", "albert.encoder.embedding_hidden_mapping_in."),
        *(
            (f"{_OURS}attention.self.{role}.", f"{_THEIRS}attention.{role}.")
            for role in ("query", "key", "value")
        ),
        (f"{_OURS}attention.output.", f"{_THEIRS}attention."),
        (f"{_OURS}intermediate.dense.", f"{_THEIRS}ffn."),
        (f"{_OURS}output.dense.", f"{_THEIRS}ffn_output."),
        (f"{_OURS}output.LayerNorm.", f"{_THEIRS}full_layer_layer_norm."),
        ("bert.pooler.dense.", "albert.pooler."),
        ("bert.", "albert."),
    ),
)


@dataclass(frozen=True)
class AlbertConfig(RelativeConfig):
    """The sizes and options of an ALBERT; the names in a file are those of `transformers`.

    >>> AlbertConfig(num_hidden_groups=3).groups()
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]

    Args:
        embedding_size: E, the width of the tables of embeddings.
        num_hidden_groups: G, the number of layers with parameters of their own.
        inner_group_num: blocks of a layer.

    Raises:
        ValueError: as `BertConfig`; or there are more groups than layers, or too many blocks.
    """

    vocab_size: int = 30000
    hidden_size: int = 4096
    num_attention_heads: int = 64
    intermediate_size: int = 16384
    hidden_act: str = "gelu_new"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    classifier_dropout: float | None = 0.1
    embedding_size: int = 128
    num_hidden_groups: int = 1
    inner_group_num: int = 1
    model_type: ClassVar[str] = "albert"
    renamed: ClassVar = {"classifier_dropout": "classifier_dropout_prob"}
    fixed: ClassVar = {"position_embedding_type": "absolute"}
    left_out: ClassVar[tuple[str, ...]] = ("position_embedding_type",)

    @property
    def num_blocks(self) -> int:
        """The number of blocks that a text passes."""
        return self.num_hidden_layers * self.inner_group_num

    @property
    def num_stored_blocks(self) -> int:
        """The number of blocks with parameters of their own."""
        return self.num_hidden_groups * self.inner_group_num

    def groups(self) -> list[int]:
        """Return the group of each layer, as `transformers` does if G does not divide L."""
        size = self.num_hidden_layers / self.num_hidden_groups
        return [int(i / size) for i in range(self.num_hidden_layers)]

    def with_layers(self, numbers: Sequence[int]) -> Self:
        """Return the configuration of a model of these layers, with at most as many groups."""
        groups = min(self.num_hidden_groups, len(numbers))
        return replace(self, num_hidden_layers=len(numbers), num_hidden_groups=groups)

    def _check_sizes(self) -> None:
        super()._check_sizes()
        for name in ("embedding_size", "num_hidden_groups", "inner_group_num"):
            require_int(name, getattr(self, name), at_least=1)
        if self.num_hidden_groups > self.num_hidden_layers:
            raise ValueError(
                f"num_hidden_groups: expected at most num_hidden_layers {self.num_hidden_layers}, "
                f"got {self.num_hidden_groups}"
            )
        if self.num_blocks > MAX_BLOCKS:
            raise ValueError(
                f"num_hidden_layers: expected at most {MAX_BLOCKS:,} blocks, "
                f"got {self.num_blocks:,}"
            )

    def _check_rates(self) -> None:
        super()._check_rates()
        self._check_more_rates("classifier_dropout")  # None is none of its values


class AlbertBased(Relative):
    """A model with an ALBERT's body."""

    config: AlbertConfig
    config_class: type[BertConfig] = AlbertConfig
    file_names = FILE_NAMES

    def make_embeddings(self) -> layers.WordEmbeddings:
        """Return embeddings of width E, and their projection to D."""
        E, D = self.config.embedding_size, self.config.hidden_size
        return word_embeddings(self.config, layers.Linear("project", E, D))

    def make_block(self) -> layers.Layer:
        """Return BERT's block without the dropout on the output of the feed-forward sublayer."""
        block: Any = super().make_block()
        block.feed_forward.rate = 0.0
        return block  # type: ignore[no-any-return]

    def make_encoder(self) -> layers.Encoder:
        """Return the encoder: each group's blocks, once for each of its layers."""
        c = self.config
        own = [[self.make_block() for _ in range(c.inner_group_num)]
               for _ in range(c.num_hidden_groups)]  # fmt: skip
        places = [(group, inner) for group in c.groups() for inner in range(c.inner_group_num)]
        return layers.Encoder(
            [own[group][inner] for group, inner in places],
            scopes=[f"layer.{group}.{inner}." for group, inner in places],
        )

    def freeze(self, layers: int | None) -> None:
        """Train neither the embeddings nor the first `layers` blocks; see `BertBased.freeze`.

        Raises:
            ValueError: there are fewer blocks, or one above them has the same parameters.
        """
        scopes, count = self.bert.encoder.scopes, layers or 0
        if 0 < count < len(scopes) and {*scopes[:count]} & {*scopes[count:]}:
            free = [i for i in range(len(scopes) + 1) if not {*scopes[:i]} & {*scopes[i:]}]
            raise ValueError(
                f"freeze: expected {' or '.join(map(str, free))} layers, because others share "
                f"their parameters, got {layers}"
            )
        super().freeze(layers)


class AlbertModel(AlbertBased, BertModel):
    """ALBERT without a head: `last_hidden_state` for each token, `pooler_output` for the text.

    >>> model = AlbertModel(AlbertConfig.preset("tiny", vocab_size=100))
    >>> model([[2, 17, 54, 3]]).pooler_output.shape
    (1, 128)
    """


class AlbertForPreTraining(AlbertBased, BertForPreTraining):
    """Masked LM and sentence order: logits (B, T, V) and (B, 2); the loss is the sum of theirs.

    Lan et al. (2020), section 3.1. The labels are a dictionary: `labels` (B, T) of the masked
    tokens, `sentence_order_label` (B,), 0 for two segments in the order of the text, 1 for swapped
    ones.
    """

    label_names = ("labels", "sentence_order_label")

    def build(self, **parts: Any) -> None:
        """Make the body and both heads.

        Raises:
            ValueError: the configuration does not have two labels.
        """
        super().build(**parts)
        if self.config.num_labels != 2:
            raise ValueError(
                f"id2label: expected two for sentence order, got {self.config.num_labels}"
            )
        self.pair_head.classifier.rate = self.config.classifier_rate

    def outputs(self, logits: Any) -> dict[str, Any]:
        """Return both logits under their names."""
        return dict(zip(("prediction_logits", "sop_logits"), logits, strict=True))


class AlbertForMaskedLM(AlbertBased, BertForMaskedLM):
    """Predict the masked tokens: logits (B, T, V); see `BertForMaskedLM`."""


class AlbertForSequenceClassification(AlbertBased, BertForSequenceClassification):
    """Put the whole text into classes: logits (B, C); see `BertForSequenceClassification`."""


class AlbertForTokenClassification(AlbertBased, BertForTokenClassification):
    """Put each token into a class: logits (B, T, C); see `BertForTokenClassification`."""


class AlbertForQuestionAnswering(AlbertBased, BertForQuestionAnswering):
    """Find where an answer begins and ends; see `BertForQuestionAnswering`."""


class AlbertForMultipleChoice(AlbertBased, BertForMultipleChoice):
    """Choose among several sequences: logits (B, C); see `BertForMultipleChoice`."""

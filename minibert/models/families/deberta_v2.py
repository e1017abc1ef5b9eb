"""DeBERTa-v2 and v3: BERT whose attention treats what a token is and where it is separately.

Differences from BERT, in the order of the computation:

    embeddings      x = dropout(m · norm(project(word[id])))        m = 0 for padding, else 1
                    positions, segments and the projection E -> D if the configuration has them
    attention       softmax((q_i·k_j + q_i·kʳ[i - j] + k_j·qʳ[i - j]) / √(3H)) V
                    kʳ = K r, qʳ = Q r: each layer maps one table r of distances, or of buckets
    masked-LM head  two names in files: cls.predictions, lm_predictions.lm_head
    classifiers     linear(dropout(gelu(linear(dropout(x_0)))))     of texts and of choices
    pooler          none

He et al. (2021), sections 3 and 4, and (2023); their code. With "position_buckets", far distances
share a row of the table: see `log_buckets`. The convolution of v2's xlarge model is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from minibert import layers
from minibert.layers.embeddings import POSITIONS, SEGMENTS
from minibert.layers.families import disentangled
from minibert.layers.families.disentangled import TERMS
from minibert.layers.word_embeddings import by_segment, in_order
from minibert.models import heads
from minibert.models.config import BertConfig, require_int
from minibert.models.families.relative import BodyModel, Relative, RelativeConfig, require_one
from minibert.models.families.summary import SummaryHead
from minibert.models.masked_lm import BertForMaskedLM
from minibert.models.names import Names

NORMS, ACTIVATIONS = ("none", "layer_norm"), ("gelu", "gelu_new", "relu", "tanh")
_OURS, _THEIRS = "bert.encoder.layer.*.attention.self.", "deberta.encoder.layer.*.attention.self."
_HEAD, _NEW_HEAD = "cls.predictions.", "lm_predictions.lm_head."
_BODY_NAMES = (
    ("cls.", "cls."),
    (f"{_OURS}query.", f"{_THEIRS}query_proj."),
    (f"{_OURS}key.", f"{_THEIRS}key_proj."),
    (f"{_OURS}value.", f"{_THEIRS}value_proj."),
    (f"{_OURS}relative_key.", f"{_THEIRS}pos_key_proj."),
    (f"{_OURS}relative_query.", f"{_THEIRS}pos_query_proj."),
    ("bert.pooler.dense.", "pooler.dense."),
    ("bert.embeddings.project.", "deberta.embeddings.embed_proj."),
    ("bert.", "deberta."),
)
LEGACY_NAMES = Names("deberta.", _BODY_NAMES)
_NEW_HEAD_NAMES = (f"{_HEAD}bias", f"{_NEW_HEAD}bias"), (f"{_HEAD}transform.", _NEW_HEAD)
FILE_NAMES = Names("deberta.", (*_NEW_HEAD_NAMES, *_BODY_NAMES))


@dataclass(frozen=True)
class DebertaV2Config(RelativeConfig):
    """The sizes and options of a DeBERTa-v2 or v3, with the names and defaults of `transformers`.

    >>> DebertaV2Config(relative_attention=True, position_buckets=256).span
    256

    Args:
        embedding_size: E, the width of the word embeddings; None: D.
        relative_attention: whether attention reads distances.
        pos_att_type: the terms of the scores with distances, "c2p" and "p2c".
        max_relative_positions: the largest distance; below 1: `max_position_embeddings`.
        position_buckets: buckets in each direction; below 1: each distance has a row of the table.
        share_att_key: whether the maps of queries and keys also map the table.
        norm_rel_ebd: `none`, or `layer_norm` for a norm of the table.
        position_biased_input: whether positions are added to the embeddings.
        pooler_hidden_act, pooler_dropout, cls_dropout: of the classifiers; None: that of hidden
            units.
        legacy: whether the masked-LM head in a file has the names of BERT's.

    Raises:
        ValueError: as `BertConfig`; or an option of attention is invalid or contradicts another.
    """

    vocab_size: int = 128100
    hidden_size: int = 1536
    num_hidden_layers: int = 24
    num_attention_heads: int = 24
    intermediate_size: int = 6144
    type_vocab_size: int = 0
    layer_norm_eps: float = 1e-7
    embedding_size: int | None = None
    relative_attention: bool = False
    pos_att_type: Sequence[str] = ()
    max_relative_positions: int = -1
    position_buckets: int = -1
    share_att_key: bool = False
    norm_rel_ebd: str = "none"
    position_biased_input: bool = True
    pooler_hidden_act: str = "gelu"
    pooler_dropout: float = 0.0
    cls_dropout: float | None = None
    legacy: bool = True
    model_type: ClassVar[str] = "deberta-v2"
    may_be_zero: ClassVar[tuple[str, ...]] = ("type_vocab_size",)
    fixed: ClassVar = {"position_embedding_type": "absolute", "conv_kernel_size": 0}
    left_out: ClassVar[tuple[str, ...]] = ("position_embedding_type", "classifier_dropout")

    def __post_init__(self) -> None:
        """Read the terms, which old files state as "p2c|c2p", and check all fields."""
        terms: Any = self.pos_att_type or ()
        terms = terms.lower().split("|") if isinstance(terms, str) else terms
        terms = tuple(str(t).strip() for t in terms) if isinstance(terms, list | tuple) else terms
        object.__setattr__(self, "pos_att_type", terms)
        super().__post_init__()

    @property
    def farthest(self) -> int:
        """The largest distance of two tokens that is not one of others."""
        return max(self.max_relative_positions, 0) or self.max_position_embeddings

    @property
    def span(self) -> int:
        """S: the table of distances has 2S rows."""
        return self.position_buckets if self.position_buckets > 0 else self.farthest

    def _check_sizes(self) -> None:
        super()._check_sizes()
        require_int("max_relative_positions", self.max_relative_positions, at_least=-1)
        S, E, most = self.position_buckets, self.embedding_size, 2 * self.farthest - 3
        require_int("position_buckets", S, at_least=-1)
        require_int("embedding_size", 1 if E is None else E, at_least=1)
        if self.relative_attention and S > 0:  # half of the buckets have one distance each
            require_one("position_buckets", S, range(2, most + 1), f"2 to {most}")

    def _check_choices(self) -> None:
        super()._check_choices()
        terms: Any = self.pos_att_type
        known = isinstance(terms, tuple) and set(terms) <= set(TERMS)
        require_one("pos_att_type", terms, [terms] if known else [], " and ".join(TERMS))
        require_one("norm_rel_ebd", self.norm_rel_ebd, NORMS[: 1 + self.relative_attention])
        require_one("pooler_hidden_act", self.pooler_hidden_act, ACTIVATIONS)
        if self.embedding_size not in (None, self.hidden_size):
            require_one("legacy", self.legacy, [True], "true with an embedding_size")

    def _check_rates(self) -> None:
        super()._check_rates()
        stated = [] if self.cls_dropout is None else ["cls_dropout"]
        self._check_more_rates("pooler_dropout", *stated)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields of a Hugging Face `config.json`."""
        values = {**super().to_dict(), "pos_att_type": [*self.pos_att_type]}
        return {k: v for k, v in values.items() if k != "embedding_size" or v is not None}


class DebertaV2Based(Relative):
    """A model with a DeBERTa's body."""

    config: DebertaV2Config
    config_class: type[BertConfig] = DebertaV2Config
    file_names = FILE_NAMES

    def make_embeddings(self) -> layers.WordEmbeddings:
        """Return embeddings of words, and of positions and segments if there are any."""
        c, D, eps = self.config, self.config.hidden_size, self.config.layer_norm_eps
        E, norm = c.embedding_size or D, layers.LayerNorm("LayerNorm", D, eps)
        if E != D:
            norm = disentangled.ProjectedNorm("LayerNorm", D, eps, "project", E)
        added = [layers.AddedTable(POSITIONS, c.max_position_embeddings, in_order)]
        added = added if c.position_biased_input else []
        if c.type_vocab_size:
            added.append(layers.AddedTable(SEGMENTS, c.type_vocab_size, by_segment))
        pad, rate = c.pad_token_id, c.hidden_dropout_prob
        return layers.WordEmbeddings(c.vocab_size, E, pad, norm, rate, added)

    def make_block(self) -> layers.Layer:
        """Return BERT's block with disentangled attention."""
        c, block = self.config, cast("Any", super().make_block())
        terms = [term for term in TERMS if term in c.pos_att_type]
        block.attention.sublayer = disentangled.DisentangledAttention(
            "attention", c.hidden_size, c.num_attention_heads, c.attention_probs_dropout_prob,
            terms=terms if c.relative_attention else (), factor=1 + len(terms),
            shared=c.share_att_key, row_rate=c.hidden_dropout_prob,
        )  # fmt: skip
        return block  # type: ignore[no-any-return]

    def make_positions(self) -> disentangled.RelativeEmbeddings | None:
        """Return the embeddings of distances of all layers."""
        c = self.config
        last = c.farthest if c.position_buckets > 0 else None
        eps = None if c.norm_rel_ebd == "none" else c.layer_norm_eps
        made = disentangled.RelativeEmbeddings(c.hidden_size, c.span, last, eps)
        return made if c.relative_attention else None

    def make_encoder(self) -> layers.Encoder:
        """Return the encoder, whose padding is zero."""
        blocks = [self.make_block() for _ in range(self.config.num_hidden_layers)]
        return disentangled.DisentangledEncoder(blocks, positions=self.make_positions())

    def _resize(self, **sizes: Any) -> None:
        if "max_position_embeddings" in sizes:  # distances keep their rows
            sizes["max_relative_positions"] = self.config.farthest
        super()._resize(**sizes)

    def context_head(self, classes: int) -> SummaryHead:
        """Return the classifier of the first token."""
        c, rate = self.config, self.config.cls_dropout
        return SummaryHead(
            "bert.pooler.dense", "classifier", c.hidden_size, classes, c.pooler_hidden_act,
            c.pooler_dropout, c.hidden_dropout_prob if rate is None else rate,
        )  # fmt: skip


class DebertaV2Model(DebertaV2Based, BodyModel):
    """DeBERTa without a head: `last_hidden_state` for each token; there is no pooler.

    >>> terms = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
    >>> model = DebertaV2Model(DebertaV2Config.preset("tiny", vocab_size=100, **terms))
    >>> model([[1, 17, 54, 2]]).last_hidden_state.shape
    (1, 4, 128)
    """


class DebertaV2ForMaskedLM(DebertaV2Based, BertForMaskedLM):
    """Predict the masked tokens: logits (B, T, V); see `BertForMaskedLM`."""

    def build(self, **parts: Any) -> None:
        """Make the body and the head; a file with the names of either head is read."""
        super().build(**parts)
        self.file_names = LEGACY_NAMES if self.config.legacy else FILE_NAMES


class DebertaV2ForSequenceClassification(DebertaV2Based, heads.BertForSequenceClassification):
    """Put the whole text into classes: logits (B, C); see `BertForSequenceClassification`."""

    def build(self, **parts: Any) -> None:
        """Make the body and the head."""
        super().build(**parts)
        self.head = self.context_head(self.config.num_labels)


class DebertaV2ForTokenClassification(DebertaV2Based, heads.BertForTokenClassification):
    """Put each token into a class: logits (B, T, C); see `BertForTokenClassification`."""


class DebertaV2ForQuestionAnswering(DebertaV2Based, heads.BertForQuestionAnswering):
    """Find where an answer begins and ends; see `BertForQuestionAnswering`."""


class DebertaV2ForMultipleChoice(DebertaV2Based, heads.BertForMultipleChoice):
    """Choose among several sequences: logits (B, C); see `BertForMultipleChoice`."""

    def build(self, **parts: Any) -> None:
        """Make the body and the head."""
        super().build(**parts)
        self.head = self.context_head(1)

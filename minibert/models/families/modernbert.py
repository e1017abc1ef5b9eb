"""ModernBERT: BERT's encoder with what was found in the six years after it.

Differences from BERT, in the order of the computation:

    embeddings      x = norm(word[id])                       no positions, no segments
    blocks          x = x + attention(norm(x))               pre-norm, and the first block reads
                    x = x + feed_forward(norm(x))            its x without attention's norm
    attention       softmax over |i - j| <= w of q_i · k_j / √H    a window in two of three layers
    positions       (q_j + i q_{j+H/2}) e^{i t θ^(-2j/H)}    rotary, of the keys too; θ by kind
    feed-forward    W (gelu(U x) · G x)                      a gate; F is 2/3 of BERT's
    encoder         norm(x) after the last block
    everywhere      no biases, but those of logits; norm(x) = x̂ · weight
    pooler          none
    classifiers     linear(dropout(norm(gelu(linear(x)))))   x of each token, of [CLS] or the mean

Warner et al. (2024), section 2.1. `transformers` opens what is saved.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self

from minibert import layers
from minibert.layers.families.windowed import RotaryByKind, WindowedSelfAttention
from minibert.models import heads
from minibert.models.config import BertConfig
from minibert.models.families.pooled import PooledText
from minibert.models.families.relative import BodyModel, Relative
from minibert.models.families.summary import SummaryHead, TwoLayerHead
from minibert.models.families.window_config import SLIDING, WindowedConfig
from minibert.models.masked_lm import BertForMaskedLM
from minibert.models.names import Names

_LAYER, _TRANSFORM = "bert.encoder.layer.*.", "cls.predictions.transform."
_ROLES = " + ".join(f"{_LAYER}attention.self.{role}." for role in ("query", "key", "value"))
FILE_NAMES = Names(
    "model.",
    (
        ("bert.embeddings.word_embeddings.", "model.embeddings.tok_embeddings."),
        ("bert.embeddings.LayerNorm.", "model.embeddings.norm."),
        (f"{_LAYER}attention.LayerNorm.", "model.layers.*.attn_norm."),
        (_ROLES, "model.layers.*.attn.Wqkv."),
        (f"{_LAYER}attention.output.dense.", "model.layers.*.attn.Wo."),
        (f"{_LAYER}intermediate.LayerNorm.", "model.layers.*.mlp_norm."),
        (f"{_LAYER}intermediate.dense. + {_LAYER}intermediate.gate.", "model.layers.*.mlp.Wi."),
        (f"{_LAYER}output.dense.", "model.layers.*.mlp.Wo."),
        ("bert.encoder.LayerNorm.", "model.final_norm."),
        # Below the logits of tokens and of classes alike, so a classifier begins with what a
        # masked LM has learned there.
        (f"{_TRANSFORM}dense.", "head.dense."),
        (f"{_TRANSFORM}LayerNorm.", "head.norm."),
        ("cls.predictions.bias", "decoder.bias"),
        ("cls.predictions.decoder.weight", "decoder.weight"),
    ),
)


@dataclass(frozen=True)
class ModernBertConfig(WindowedConfig):
    """The sizes and options of a ModernBERT; the names in a file are those of `transformers`.

    >>> ModernBertConfig(num_hidden_layers=4).kinds.count("sliding_attention")
    2

    Args:
        classifier_pooling: what a classifier of texts reads: `cls`, or `mean` over the tokens.

    Raises:
        ValueError: as `WindowedConfig`.
    """

    vocab_size: int = 50368
    num_hidden_layers: int = 22
    intermediate_size: int = 1152
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    max_position_embeddings: int = 8192
    layer_norm_eps: float = 1e-5
    pad_token_id: int = 50283
    classifier_dropout: float | None = 0.0
    classifier_pooling: str = "cls"
    model_type: ClassVar[str] = "modernbert"
    renamed: ClassVar[Mapping[str, str]] = {
        "hidden_act": "hidden_activation", "hidden_dropout_prob": "mlp_dropout",
        "attention_probs_dropout_prob": "attention_dropout", "layer_norm_eps": "norm_eps",
    }  # fmt: skip
    fixed: ClassVar[Mapping[str, Any]] = {
        "norm_bias": False, "attention_bias": False, "mlp_bias": False, "classifier_bias": False,
        "decoder_bias": True, "classifier_activation": "gelu", "tie_word_embeddings": True,
    }  # fmt: skip
    left_out: ClassVar[tuple[str, ...]] = ("position_embedding_type", "type_vocab_size")

    def _check_choices(self) -> None:
        super()._check_choices()
        if (pooling := self.classifier_pooling) not in ("cls", "mean"):
            raise ValueError(f"classifier_pooling: expected cls or mean, got {pooling!r}")

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """Return a named size, as `BertConfig.preset`, with F for as many FLOPs as BERT's.

        All layers have full attention, because the texts that such sizes learn from are short.

        >>> ModernBertConfig.preset("tiny", vocab_size=8192).intermediate_size
        344
        """
        F = 8 * round(BertConfig.preset(name).intermediate_size / 12)  # 2/3, a multiple of 8
        own = {"intermediate_size": F, "pad_token_id": 0, "global_attn_every_n_layers": 1}
        return super().preset(name, **{**own, **changes})

    def to_dict(self) -> dict[str, Any]:
        """Return the fields of a Hugging Face `config.json`, for `transformers` 4 and 5."""
        return {
            **super().to_dict(),
            "embedding_dropout": self.hidden_dropout_prob,
            "classifier_dropout": self.classifier_rate,
            **dict.fromkeys(("bos_token_id", "cls_token_id", "eos_token_id", "sep_token_id")),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from the fields of a `config.json` of `transformers` 4 or 5.

        Raises:
            ValueError: the fields contradict each other, or describe another kind of model or an
                invalid one.
        """
        rate = values.get("mlp_dropout", 0.0)
        if values.get("embedding_dropout", rate) != rate:
            raise ValueError(f"embedding_dropout: expected {rate!r}, got "
                             f"{values['embedding_dropout']!r}")  # fmt: skip
        has_padding = values.get("pad_token_id", 0) is not None
        return super().from_dict({**values, **({} if has_padding else {"pad_token_id": 0})})


def _norm(name: str, config: BertConfig) -> layers.LayerNormWithoutBias:
    return layers.LayerNormWithoutBias(name, config.hidden_size, config.layer_norm_eps)


def _output_gain(config: BertConfig) -> float:
    """Return the factor of initial weights whose products are summed over 2L sublayers."""
    return 1 / math.sqrt(2 * config.num_hidden_layers)


def modern_block(config: ModernBertConfig, number: int) -> layers.Block:
    """Return a block of a ModernBERT: attention and gated feed-forward, both with pre-norm.

    The first block, number 0, has no norm before attention, because the embeddings end with one.
    """
    D, K, F = config.hidden_size, config.num_attention_heads, config.intermediate_size
    rate, inner_rate = config.attention_probs_dropout_prob, config.hidden_dropout_prob
    gain = _output_gain(config)
    make: Any = partial(layers.SelfAttentionWithoutBias, "attention", D, K)
    if config.kinds[number] == SLIDING:
        make = partial(WindowedSelfAttention, "attention", D, K, config.window)
    feed_forward = layers.GatedFeedForward(D, F, config.hidden_act, inner_rate, gain)
    norm = None if number == 0 else _norm("attention.LayerNorm", config)
    return layers.Block(
        layers.PreNormResidual(make(rate=rate, gain=gain), norm, rate),
        layers.PreNormResidual(feed_forward, _norm("intermediate.LayerNorm", config)),
    )


class ModernBertBased(Relative):
    """A model with a ModernBERT's body."""

    config: ModernBertConfig
    config_class = ModernBertConfig
    file_names = FILE_NAMES

    def make_embeddings(self) -> layers.WordEmbeddings:
        """Return embeddings of words alone."""
        c, norm = self.config, _norm("LayerNorm", self.config)
        sizes = c.vocab_size, c.hidden_size, c.pad_token_id
        return layers.WordEmbeddings(*sizes, norm, c.hidden_dropout_prob)

    def make_positions(self) -> layers.RotaryPositions:
        """Return rotary positions, with another base where attention has a window."""
        c = self.config
        if SLIDING in c.kinds:
            return RotaryByKind(c.head_width, c.rope_theta, c.local_rope_theta)
        return layers.RotaryPositions(c.head_width, c.rope_theta)

    def make_encoder(self) -> layers.PreNormEncoder:
        """Return the encoder: L blocks, positions and the last norm."""
        blocks = [modern_block(self.config, i) for i in range(self.config.num_hidden_layers)]
        return layers.PreNormEncoder(blocks, _norm("LayerNorm", self.config), self.make_positions())

    def transform(self) -> tuple[layers.LinearWithoutBias, layers.LayerNormWithoutBias]:
        """Return the map and the norm below all logits."""
        D, gain = self.config.hidden_size, _output_gain(self.config)
        dense = layers.LinearWithoutBias(f"{_TRANSFORM}dense", D, D, gain)
        return dense, _norm(f"{_TRANSFORM}LayerNorm", self.config)

    def make_head(self, classes: int, kind: type[TwoLayerHead] = TwoLayerHead) -> TwoLayerHead:
        """Return the head for some classes, by default of each token."""
        dense, norm = self.transform()
        D, rate = self.config.hidden_size, self.config.classifier_rate
        head = kind(f"{_TRANSFORM}dense", "classifier", D, classes, "gelu", after=rate, norm=norm)
        head.dense = dense
        return head


class ModernBertModel(ModernBertBased, BodyModel):
    """ModernBERT without a head: `last_hidden_state` for each token; there is no pooler.

    >>> model = ModernBertModel(ModernBertConfig.preset("tiny", vocab_size=100))
    >>> model([[2, 17, 54, 3]]).last_hidden_state.shape
    (1, 4, 128)
    """


class ModernBertForMaskedLM(ModernBertBased, BertForMaskedLM):
    """Predict the masked tokens: logits (B, T, V); see `BertForMaskedLM`.

    >>> config = ModernBertConfig.preset("tiny", vocab_size=100)
    >>> loss, _ = ModernBertForMaskedLM(config).loss_and_grads(
    ...     {"input_ids": [[2, 17, 4, 3]]}, [[-100, -100, 54, -100]]
    ... )
    >>> round(loss)
    5
    """

    head: layers.MaskedLMHead

    def build(self, **parts: Any) -> None:
        """Make the body and the head, whose map and norm have no biases."""
        super().build(**parts)
        self.head.activation, (self.head.dense, self.head.norm) = "gelu", self.transform()


class ModernBertForSequenceClassification(
    ModernBertBased, PooledText, heads.BertForSequenceClassification
):
    """Put the whole text into classes: logits (B, C); see `BertForSequenceClassification`."""

    def build(self, **parts: Any) -> None:
        """Make the body and the head."""
        super().build(**parts)
        self.head = self.make_head(self.config.num_labels, SummaryHead)


class ModernBertForTokenClassification(ModernBertBased, heads.BertForTokenClassification):
    """Put each token into a class: logits (B, T, C); see `BertForTokenClassification`."""

    def build(self, **parts: Any) -> None:
        """Make the body and the head."""
        super().build(**parts)
        self.head = self.make_head(self.config.num_labels)


class ModernBertForQuestionAnswering(ModernBertBased, heads.BertForQuestionAnswering):
    """Find where an answer begins and ends; see `BertForQuestionAnswering`."""

    def build(self, **parts: Any) -> None:
        """Make the body and the head."""
        super().build(**parts)
        self.head = self.make_head(2)


class ModernBertForMultipleChoice(ModernBertBased, PooledText, heads.BertForMultipleChoice):
    """Choose among several sequences: logits (B, C); see `BertForMultipleChoice`."""

    skips_padding = True

    def build(self, **parts: Any) -> None:
        """Make the body and the head."""
        super().build(**parts)
        self.head = self.make_head(1, SummaryHead)

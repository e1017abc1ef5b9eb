"""ModernBERT: BERT's encoder with what was found in the six years after it.

Differences from BERT, in the order of the computation:

    embeddings      x = norm(word[id])                       no positions, no segments
    blocks          x = x + attention(norm(x))               pre-norm, and the first block reads
                    x = x + feed_forward(norm(x))            its x without attention's norm
    attention       (q_j + i q_{j+H/2}) e^{i t θ^(-2j/H)}    rotary positions, of the keys too
    feed-forward    W (gelu(U x) · G x)                      a gate; F is 2/3 of BERT's
    encoder         norm(x) after the last block
    everywhere      no biases, but that of the logits; norm(x) = x̂ · weight

Warner et al. (2024), section 2.1. Theirs has layers that attend to near tokens alone
(`sliding_attention` in `layer_types`): files with such layers are refused, and a model from here
has none. `transformers` opens what is saved.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from minibert import layers
from minibert.models.bert import BertBased
from minibert.models.config import BertConfig
from minibert.models.families.relative import BodyModel
from minibert.models.masked_lm import BertForMaskedLM
from minibert.models.names import Names
from minibert.models.parts import Parts

FULL = "full_attention"
THETA, PADDING = 160000.0, 50283  # of a file that does not state them
# Fields of a config.json with other names than BERT's.
RENAMED = {
    "hidden_act": "hidden_activation", "hidden_dropout_prob": "mlp_dropout",
    "attention_probs_dropout_prob": "attention_dropout", "layer_norm_eps": "norm_eps",
}  # fmt: skip
# Fields with one value here, which is also that of a file without them.
FIXED: dict[str, Any] = {
    "norm_bias": False, "attention_bias": False, "mlp_bias": False, "classifier_bias": False,
    "decoder_bias": True, "classifier_activation": "gelu", "tie_word_embeddings": True,
}  # fmt: skip
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
        (f"{_TRANSFORM}dense.", "head.dense."),
        (f"{_TRANSFORM}LayerNorm.", "head.norm."),
        ("cls.predictions.bias", "decoder.bias"),
        ("cls.predictions.decoder.weight", "decoder.weight"),
    ),
)


@dataclass(frozen=True)
class ModernBertConfig(BertConfig):
    """The sizes and options of a ModernBERT; the names in a file are those of `transformers`.

    Args:
        rope_theta: the base of the frequencies of the rotary positions.

    Raises:
        ValueError: as `BertConfig`; or the positions are not `absolute`, BERT's default.
    """

    vocab_size: int = 50368
    num_hidden_layers: int = 22
    intermediate_size: int = 1152
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    max_position_embeddings: int = 8192
    layer_norm_eps: float = 1e-5
    classifier_dropout: float | None = 0.0
    rope_theta: float = THETA
    model_type: ClassVar[str] = "modernbert"

    def _check_choices(self) -> None:
        super()._check_choices()
        if self.position_embedding_type != "absolute":
            raise ValueError("position_embedding_type: leave it out; a ModernBERT's are rotary")
        theta = self.rope_theta
        if not isinstance(theta, int | float) or not 0 < theta < math.inf:
            raise ValueError(f"rope_theta: expected more than 0, got {theta!r}")

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """Return a named size, as `BertConfig.preset`, with F for as many FLOPs as BERT's.

        >>> ModernBertConfig.preset("tiny", vocab_size=8192).intermediate_size
        344
        """
        F = 8 * round(BertConfig.preset(name).intermediate_size / 12)  # 2/3, a multiple of 8
        return super().preset(name, **{"intermediate_size": F, "pad_token_id": 0, **changes})

    def to_dict(self) -> dict[str, Any]:
        """Return the fields of a Hugging Face `config.json`, for `transformers` 4 and 5."""
        values = super().to_dict()
        del values["position_embedding_type"], values["rope_theta"]
        return {
            **{RENAMED.get(name, name): value for name, value in values.items()},
            **FIXED,
            "embedding_dropout": self.hidden_dropout_prob,
            "classifier_dropout": self.classifier_rate,
            "layer_types": [FULL] * self.num_hidden_layers,
            "rope_parameters": {FULL: {"rope_type": "default", "rope_theta": self.rope_theta}},
            "global_attn_every_n_layers": 1,
            "global_rope_theta": self.rope_theta,
            **dict.fromkeys(("bos_token_id", "cls_token_id", "eos_token_id", "sep_token_id")),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from the fields of a `config.json` of `transformers` 4 or 5.

        Raises:
            ValueError: the fields describe another kind of model, one with local attention, or an
                invalid one.
        """
        every = values.get("global_attn_every_n_layers", 3)
        kinds = values.get("layer_types") or [FULL, FULL if every == 1 else "sliding_attention"]
        for kind in kinds if isinstance(kinds, list) else [kinds]:
            if kind != FULL:
                raise ValueError(f"layer_types: expected {FULL} in every layer, got {kind!r}")
        for name, only in {**FIXED, "embedding_dropout": values.get("mlp_dropout", 0.0)}.items():
            if values.get(name, only) != only:
                raise ValueError(f"{name}: expected {only!r}, got {values[name]!r}")
        kept = {name: value for name, value in values.items() if name not in RENAMED}
        kept |= {ours: values[theirs] for ours, theirs in RENAMED.items() if theirs in values}
        theta = _rope(values).get("rope_theta", values.get("global_rope_theta", THETA))
        return super().from_dict({"pad_token_id": PADDING, **kept, "rope_theta": theta})


def _rope(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parameters of the rotary positions in a config.json of `transformers` 5."""
    kinds = values.get("rope_parameters") or {}
    rope = (kinds.get(FULL) or {}) if isinstance(kinds, dict) else kinds
    if not isinstance(rope, dict) or rope.get("rope_type", "default") != "default":
        raise ValueError(f"rope_parameters: expected the type default for {FULL}, got {rope!r}")
    return rope


def _norm(name: str, config: BertConfig) -> layers.LayerNormWithoutBias:
    return layers.LayerNormWithoutBias(name, config.hidden_size, config.layer_norm_eps)


def _output_gain(config: BertConfig) -> float:
    """Return the factor of initial weights whose products are summed over 2L sublayers."""
    return 1 / math.sqrt(2 * config.num_hidden_layers)


def modern_embeddings(config: BertConfig) -> layers.WordEmbeddings:
    """Return the embeddings of a ModernBERT: words alone."""
    sizes = config.vocab_size, config.hidden_size, config.pad_token_id
    return layers.WordEmbeddings(*sizes, _norm("LayerNorm", config), config.hidden_dropout_prob)


def modern_block(config: BertConfig, *, is_first: bool = False) -> layers.Block:
    """Return a block of a ModernBERT: attention and gated feed-forward, both with pre-norm.

    The first block has no norm before attention, because the embeddings end with one.
    """
    D, K, F = config.hidden_size, config.num_attention_heads, config.intermediate_size
    rate, inner_rate = config.attention_probs_dropout_prob, config.hidden_dropout_prob
    gain = _output_gain(config)
    attention = layers.SelfAttentionWithoutBias("attention", D, K, rate, gain)
    feed_forward = layers.GatedFeedForward(D, F, config.hidden_act, inner_rate, gain)
    norm = None if is_first else _norm("attention.LayerNorm", config)
    return layers.Block(
        layers.PreNormResidual(attention, norm, rate),
        layers.PreNormResidual(feed_forward, _norm("intermediate.LayerNorm", config)),
    )


def modern_encoder(config: BertConfig) -> layers.PreNormEncoder:
    """Return the encoder of a ModernBERT: its blocks, rotary positions and the last norm."""
    assert isinstance(config, ModernBertConfig)
    blocks = [modern_block(config, is_first=i == 0) for i in range(config.num_hidden_layers)]
    positions = layers.RotaryPositions(config.head_width, config.rope_theta)
    return layers.PreNormEncoder(blocks, _norm("LayerNorm", config), positions)


class ModernBertBased(BertBased):
    """A model with a ModernBERT's body; its parts are not replaced by a caller's."""

    config_class = ModernBertConfig
    file_names = FILE_NAMES

    def build(self, **parts: Any) -> None:
        """Make the body.

        Raises:
            TypeError: a caller gives a part, or another family's configuration.
        """
        if not isinstance(self.config, ModernBertConfig):
            got = type(self.config).__name__
            raise TypeError(f"config: expected a ModernBertConfig, got {got}")
        if given := Parts(**parts).given():
            raise TypeError(f"{next(iter(given))}: leave it out; a ModernBERT has its own")
        super().build(embeddings=modern_embeddings, encoder=modern_encoder)
        self.parts = Parts()  # none of them is the caller's


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

    def build(self, **parts: Any) -> None:
        """Make the body and the head, whose map and norm have no biases."""
        super().build(**parts)
        config, D = self.config, self.config.hidden_size
        head = layers.MaskedLMHead(config.vocab_size, D, "gelu", config.layer_norm_eps)
        head.dense = layers.LinearWithoutBias(f"{_TRANSFORM}dense", D, D, _output_gain(config))
        head.norm = _norm(f"{_TRANSFORM}LayerNorm", config)
        self.head = head

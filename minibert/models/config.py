"""BertConfig: the sizes and options of a BERT model."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from numbers import Integral
from operator import attrgetter
from types import MappingProxyType
from typing import Any, ClassVar, Self

from minibert.io.json import parse_json

ACTIVATIONS = ("gelu", "gelu_new", "relu")
# Other names of the same functions in `transformers`.
SAME_ACTIVATION = {
    "gelu_python": "gelu",
    "gelu_pytorch_tanh": "gelu_new",
    "gelu_fast": "gelu_new",
}
POSITIONS = ("absolute", "sinusoidal")
CUSTOM = "minibert"  # the model_type of a composition that is not BERT
FIXED = "fixed_positions"  # minibert's own field of config.json: non-trainable positions
MAX_NUMBER = 10**30  # larger integers count as infinite, because they may overflow a float
MAX_DEFAULT_LABELS = 100_000  # classes without names, by the field `num_labels` of a file
PROBLEM_TYPES = (
    None,
    "single_label_classification",
    "multi_label_classification",
    "regression",
)

# Devlin et al. (2019), section 3, and Turc et al. (2019), table 1; nano is minibert's own.
PRESETS: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        name: MappingProxyType(
            {
                "num_hidden_layers": layers,
                "hidden_size": width,
                "num_attention_heads": width // 64,
                "intermediate_size": 4 * width,
            }
        )
        for name, layers, width in [
            ("nano", 1, 64),
            ("tiny", 2, 128),
            ("mini", 4, 256),
            ("small", 4, 512),
            ("medium", 8, 512),
            ("base", 12, 768),
            ("large", 24, 1024),
        ]
    }
)


@dataclass(frozen=True)
class BertConfig:
    """The sizes and options of a model under Hugging Face's names; defaults are BERT-base.

    Args:
        vocab_size: V, the number of token ids.
        hidden_size: D, the width of a token's vector.
        num_hidden_layers: L, the number of encoder blocks.
        num_attention_heads: K, a divisor of D; each head has the width H = D / K.
        intermediate_size: F, the width inside the feed-forward sublayer.
        hidden_act: `gelu` (exact), `gelu_new` (tanh approximation) or `relu`.
        hidden_dropout_prob: dropout rate of hidden units.
        attention_probs_dropout_prob: dropout rate of attention weights.
        max_position_embeddings: the maximum length of a sequence in tokens.
        type_vocab_size: the number of segments that a sequence may have.
        initializer_range: standard deviation of the initial weights.
        layer_norm_eps: constant added to the variance in every layer norm.
        pad_token_id: the id whose initial embedding is zero.
        position_embedding_type: `absolute` (learned) or `sinusoidal` (fixed).
        classifier_dropout: dropout rate before a classifier; None: `hidden_dropout_prob`.
        problem_type: kind of a classifier's labels; None: `single_label_classification`.
        id2label: the class names by number, 0 to C - 1.

    Raises:
        ValueError: a value or a combination of values is invalid.
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0
    position_embedding_type: str = "absolute"
    classifier_dropout: float | None = None
    problem_type: str | None = None
    id2label: Mapping[int, str] | None = field(default=None, hash=False)
    model_type: ClassVar[str] = "bert"
    may_be_zero: ClassVar[tuple[str, ...]] = ()  # sizes of tables that a family may lack
    # The most tokens of a sequence; in some families there are fewer than positions.
    longest = property(attrgetter("max_position_embeddings"))
    # Blocks that a text passes, and those in a file; an ALBERT uses a block in several layers.
    num_blocks = num_stored_blocks = property(attrgetter("num_hidden_layers"))

    def __post_init__(self) -> None:
        """Check all fields; an error names the field, the expected value and the given one."""
        self._check_sizes()
        self._check_choices()
        self._check_rates()
        labels = _checked_labels(self.id2label)
        object.__setattr__(self, "id2label", MappingProxyType(labels))

    def _check_sizes(self) -> None:
        for name in _SIZES:
            require_int(name, getattr(self, name), at_least=int(name not in self.may_be_zero))
        require_int("pad_token_id", self.pad_token_id, at_least=0)
        if self.pad_token_id >= self.vocab_size:
            raise ValueError(
                f"pad_token_id: expected less than vocab_size {self.vocab_size}, "
                f"got {self.pad_token_id}"
            )
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads "
                f"{self.num_attention_heads}: the heads must share it equally"
            )

    def _check_choices(self) -> None:
        _require_choice("hidden_act", self.hidden_act, ACTIVATIONS)
        _require_choice("position_embedding_type", self.position_embedding_type, POSITIONS)
        _require_choice("problem_type", self.problem_type, PROBLEM_TYPES)
        if self.position_embedding_type == "sinusoidal" and self.hidden_size % 2:
            raise ValueError(
                f"hidden_size {self.hidden_size} is odd: sinusoidal positions pair sine with cosine"
            )

    def _check_rates(self) -> None:
        require_float("hidden_dropout_prob", self.hidden_dropout_prob, below=1)
        require_float("attention_probs_dropout_prob", self.attention_probs_dropout_prob, below=1)
        if self.classifier_dropout is not None:
            require_float("classifier_dropout", self.classifier_dropout, below=1)
        require_float("initializer_range", self.initializer_range)
        require_float("layer_norm_eps", self.layer_norm_eps)

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """Return a size: `nano`, `tiny`, `mini`, `small`, `medium`, `base` or `large`.

        >>> BertConfig.preset("tiny", vocab_size=8192).hidden_size
        128
        """
        _require_choice("preset", name, tuple(PRESETS))
        return cls(**{**PRESETS[name], **changes})

    def with_layers(self, numbers: Sequence[int]) -> Self:
        """Return the configuration of a model of these layers of this one, numbered from 0."""
        return replace(self, num_hidden_layers=len(numbers))

    @property
    def head_width(self) -> int:
        """H = D / K, the width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def num_labels(self) -> int:
        """C, the number of classes."""
        return len(self.id2label or {})

    @property
    def classifier_rate(self) -> float:
        """Dropout rate before a classifier."""
        own = self.classifier_dropout
        return self.hidden_dropout_prob if own is None else own

    @property
    def label2id(self) -> dict[str, int]:
        """The class numbers by name."""
        return {label: i for i, label in (self.id2label or {}).items()}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy as a dict, because a `MappingProxyType` can't be pickled."""
        return type(self).from_dict, (self.to_dict(),)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields of a Hugging Face `config.json`."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        labels = {"id2label": dict(self.id2label or {}), "label2id": self.label2id}
        # Other programs read the fixed positions as a learned table from the weights.
        fixed = self.position_embedding_type == "sinusoidal"
        positions = {"position_embedding_type": "absolute", FIXED: "sinusoidal"} if fixed else {}
        return {"model_type": self.model_type, **values, **labels, **positions}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from the fields of a `config.json`; unknown fields are ignored.

        Raises:
            ValueError: the fields describe another kind of model, or an invalid one.
        """
        if (stated := values.get("model_type", cls.model_type)) != CUSTOM:
            _require_choice("model_type", stated, (cls.model_type,))
        for switch in ("is_decoder", "add_cross_attention"):
            if values.get(switch):
                raise ValueError(f"{switch}: expected false, an encoder, got {values[switch]!r}")
        known = {one.name for one in fields(cls)} & set(values)
        kept = {name: values[name] for name in known}
        if values.get(FIXED):
            kept["position_embedding_type"] = values[FIXED]
        if isinstance(kept.get("hidden_act"), str):
            kept["hidden_act"] = SAME_ACTIVATION.get(kept["hidden_act"], kept["hidden_act"])
        if kept.get("pad_token_id", 0) is None:  # no padding token
            del kept["pad_token_id"]
        kept["id2label"], _ = read_labels(values)
        return cls(**kept)

    def to_json(self, **more: Any) -> str:
        """Return the text of a `config.json` with additional fields (str)."""
        return json.dumps({**self.to_dict(), **more}, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Build from the text of a `config.json`; the inverse of `to_json`.

        Raises:
            ValueError: the text is not a JSON object, or see `from_dict`.
        """
        try:
            values = parse_json(text)
        except ValueError as error:
            raise ValueError(f"expected JSON: {error}") from None
        if not isinstance(values, dict):
            raise ValueError(f"expected a JSON object of fields, got {type(values).__name__}")
        return cls.from_dict(values)


_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
)


def require_int(name: str, value: Any, *, at_least: int) -> None:
    """Raise ValueError unless `value` is an integer of at least `at_least`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < at_least:
        raise ValueError(f"{name}: expected a whole number of at least {at_least}, got {value!r}")


def require_float(name: str, value: Any, *, below: float = float("inf")) -> None:
    if isinstance(value, int) and abs(value) > MAX_NUMBER:
        value = float("inf")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < below:
        raise ValueError(f"{name}: expected a number from 0 to below {below}, got {value!r}")


def _require_choice(name: str, value: Any, choices: Sequence[str | None]) -> None:
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(map(str, choices))}, got {value!r}")


def _checked_labels(labels: Any) -> dict[int, str]:
    """Return the class names by number, in order (dict); two classes by default."""
    labels = {0: "LABEL_0", 1: "LABEL_1"} if labels is None else labels
    if not isinstance(labels, Mapping) or not all(
        isinstance(i, int) and isinstance(label, str) for i, label in labels.items()
    ):
        raise ValueError(f"id2label: expected class names by number, got {labels!r}")
    if sorted(labels) != list(range(len(labels))) or not labels:
        raise ValueError(
            f"id2label: expected the keys 0 to {max(len(labels) - 1, 0)}, got {sorted(labels)}"
        )
    if len(set(labels.values())) < len(labels):
        raise ValueError(f"id2label: two classes have the same name: {list(labels.values())}")
    return {i: labels[i] for i in range(len(labels))}


def read_labels(values: Mapping[str, Any]) -> tuple[dict[int, str] | None, str | None]:
    """Return the class names of a `config.json`, and their fault, if any.

    Numbers are read as text. Other programs also write classes without names, with equal names or
    with numbers that do not begin at 0. The number of classes is enough for a model, so these get
    the default names, LABEL_0, LABEL_1, and so on; a task needs the names and reports the fault.

    >>> read_labels({"id2label": {"0": "a", "1": "a"}})
    ({0: 'LABEL_0', 1: 'LABEL_1'}, "id2label: two classes have the same name: ['a', 'a']")

    Raises:
        ValueError: `id2label` does not contain names by number, or `num_labels` is out of range.
    """
    stated, count = values.get("id2label"), values.get("num_labels")
    if not stated:
        return (_default_labels(count) if count else None), None
    labels = _with_int_keys(stated)
    names = [str(label) if isinstance(label, int | float) else label for label in labels.values()]
    if not all(isinstance(name, str | None) for name in names):
        raise ValueError(f"id2label: expected class names by number, got {stated!r}")
    if type(count) is int and 0 < count != len(labels):  # which counts in transformers
        return _default_labels(count), f"id2label: expected {count} names, as num_labels states"
    default = _default_labels(len(labels))
    if len(labels) == 1:
        return default if names[0] is None else {0: names[0]}, None
    try:
        return _checked_labels(dict(zip(labels, names, strict=True))), None
    except ValueError as error:
        return default, str(error)


def _default_labels(count: Any) -> dict[int, str]:
    require_int("num_labels", count, at_least=1)
    if count > MAX_DEFAULT_LABELS:
        raise ValueError(f"num_labels: expected at most {MAX_DEFAULT_LABELS:,}, got {count}")
    return {i: f"LABEL_{i}" for i in range(count)}


def _with_int_keys(labels: Any) -> dict[int, Any]:
    """Return class names with numbers as keys (dict), because keys in JSON are strings."""
    try:
        return {int(i): label for i, label in labels.items()}
    except (ValueError, AttributeError):
        raise ValueError(f"id2label: expected class names by number, got {labels!r}") from None

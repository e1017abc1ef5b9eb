"""What BERT's relatives share: a body of their own parts, and how a config.json states their sizes.

A family has a `RelativeConfig` and a `Relative`, and a class of a few lines for each task: the
task's own class computes loss and labels, the family's class makes body and head.
"""

from collections.abc import Container, Mapping
from dataclasses import fields
from typing import Any, ClassVar, Self

from minibert.layers import (
    AddedTable,
    Encoder,
    Layer,
    LayerNorm,
    Linear,
    Positions,
    WordEmbeddings,
)
from minibert.layers.embeddings import POSITIONS, SEGMENTS
from minibert.layers.word_embeddings import by_segment, in_order
from minibert.models.bert import BertBased
from minibert.models.compose import bert_block
from minibert.models.config import BertConfig, require_float
from minibert.models.inputs import Batch
from minibert.models.parts import Parts
from minibert.parameters import Views
from minibert.typing import Array, Rng


def word_embeddings(
    config: Any, project: Linear | None = None, segments: bool = True
) -> WordEmbeddings:
    """Return embeddings of words, positions in order, and segments, as BERT's.

    Args:
        config: the sizes; the tables are `embedding_size` wide if it has that field.
        project: the map to the width of the blocks; None: there is none.
        segments: whether there are segments.
    """
    E = getattr(config, "embedding_size", config.hidden_size)
    added = [AddedTable(POSITIONS, config.max_position_embeddings, in_order)]
    if segments:
        added.append(AddedTable(SEGMENTS, config.type_vocab_size, by_segment))
    norm = LayerNorm("LayerNorm", E, config.layer_norm_eps)
    pad, rate = config.pad_token_id, config.hidden_dropout_prob
    return WordEmbeddings(config.vocab_size, E, pad, norm, rate, added, project=project)


class RelativeConfig(BertConfig):
    """A configuration whose fields in a file may have other names than BERT's, or no place there.

    Attributes:
        renamed: the names of fields in a file, by BERT's.
        fixed: fields of a file with one value here, which is also that of a file without them.
        left_out: fields of BERT with one value here, which a file of the family does not have.
    """

    renamed: ClassVar[Mapping[str, str]] = {}
    fixed: ClassVar[Mapping[str, Any]] = {}
    left_out: ClassVar[tuple[str, ...]] = ()

    def _check_choices(self) -> None:
        super()._check_choices()
        for each in fields(self):
            value = getattr(self, each.name)
            if each.type is bool and not isinstance(value, bool):
                raise ValueError(f"{each.name}: expected true or false, got {value!r}")
            if each.name in self.left_out and value != each.default:
                raise ValueError(f"{each.name}: expected {each.default!r}, the only value of a "
                                 f"{self.model_type}, got {value!r}")  # fmt: skip

    def _check_more_rates(self, *names: str) -> None:
        for name in names:
            require_float(name, getattr(self, name), below=1)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields of a Hugging Face `config.json`."""
        values = {k: v for k, v in super().to_dict().items() if k not in self.left_out}
        return {**{self.renamed.get(k, k): v for k, v in values.items()}, **self.fixed}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from the fields of a `config.json`; unknown fields are ignored.

        Raises:
            ValueError: the fields contradict each other, or describe another kind of model or an
                invalid one.
        """
        for name, only in cls.fixed.items():
            if values.get(name, only) != only:
                raise ValueError(f"{name}: expected {only!r}, got {values[name]!r}")
        for ours, theirs in cls.renamed.items():
            if ours in values and values[ours] != values.get(theirs, values[ours]):
                raise ValueError(
                    f"{theirs}: expected {values[ours]!r} as in {ours}, got {values[theirs]!r}"
                )
        kept = {name: value for name, value in values.items() if name not in cls.left_out}
        own = {ours: values[theirs] for ours, theirs in cls.renamed.items() if theirs in values}
        return super().from_dict({**kept, **own})


def require_one(name: str, value: Any, choices: Container[Any], expected: str = "") -> None:
    """Raise ValueError unless a value is one of the choices; the message names or lists them."""
    if value not in choices:
        expected = expected or f"one of {choices}"
        raise ValueError(f"{name}: expected {expected}, got {value!r}")


class Relative(BertBased):
    """A model with a family's body; its parts are not replaced by a caller's.

    A family overrides the methods that make its parts.
    """

    def make_embeddings(self) -> Any:
        """Return the embeddings: ids to x."""
        raise NotImplementedError

    def make_block(self) -> Layer:
        """Return a block of the encoder; by default, BERT's."""
        return bert_block(self.config)

    def make_positions(self) -> Positions | None:
        """Return the positions in attention; by default, none."""
        return None

    def make_encoder(self) -> Encoder:
        """Return the encoder: L blocks, and positions."""
        blocks = [self.make_block() for _ in range(self.config.num_hidden_layers)]
        return Encoder(blocks, positions=self.make_positions())

    def build(self, **parts: Any) -> None:
        """Make the body.

        Raises:
            TypeError: a caller gives a part, or another family's configuration.
        """
        expected, got = self.config_class, type(self.config)
        if got.model_type != expected.model_type:
            raise TypeError(f"config: expected a {expected.__name__}, got {got.__name__}")
        if given := Parts(**parts).given():
            family = type(self).__name__
            raise TypeError(f"{next(iter(given))}: leave it out; a {family} has its own")
        super().build(
            embeddings=lambda _: self.make_embeddings(), encoder=lambda _: self.make_encoder()
        )
        self.parts = Parts()  # none of them is the caller's


class BodyModel(BertBased):
    """A family's body without a head: `last_hidden_state` for each token; there is no pooler."""

    prefix = ""

    def forward(
        self, batch: Batch, rows: Array | None = None, rng: Rng | None = None
    ) -> tuple[Array, Any]:
        """Run the body: x (B, T, D), or (B, R, D) with `rows`, and the cache."""
        return self.bert.forward(self.params, batch, rows, rng)

    def backward(self, dx: Array, cache: Any, grads: Views) -> None:
        """Gradient of `forward`; adds into `grads`."""
        self.bert.backward(dx, cache, self.params, grads)

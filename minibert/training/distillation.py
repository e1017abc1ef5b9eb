"""Distillation: the settings of a run, and a student made of its teacher's layers."""

import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar, get_args

from minibert.data.masking import MASKED_SHARE
from minibert.models.bert import BertBased
from minibert.objectives.distillation import SoftTokens
from minibert.optim import AdamW
from minibert.parameters import Parameters
from minibert.training.loop import Settings

Student = TypeVar("Student", bound=BertBased)


@dataclass(frozen=True)
class Distillation(Settings):
    """The settings of a distillation: those of `Settings`, and seven more.

    The weights and the temperature are those with which DistilBERT was trained; see the code of
    Sanh et al. (2019), which compares the predictions of all tokens.

    Args:
        temperature: T, which softens the predictions of student and teacher.
        soft_weight: the weight of the teacher's predictions in the loss.
        label_weight: the weight of the labels: the masked tokens, or the labels of the texts.
        hidden_weight: the weight of the cosine of the hidden states.
        soft_tokens: the tokens whose predictions a masked LM imitates: "all", or "masked".
        masked_share: share of the ordinary tokens that are masked.
        teacher: checksum of the teacher; a run is not resumed with another one.

    Raises:
        ValueError: a setting is out of range, or all weights are 0.
    """

    split_pieces: ClassVar[float] = 0.0  # of labelled texts, which stay whole

    temperature: float = 2.0
    soft_weight: float = 5.0
    label_weight: float = 2.0
    hidden_weight: float = 1.0
    soft_tokens: SoftTokens = "masked"
    masked_share: float = MASKED_SHARE
    teacher: str = ""

    def __post_init__(self) -> None:
        """Check the settings; the message names the one that is wrong."""
        super().__post_init__()
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature: expected more than 0, got {self.temperature}")
        weights = {name: getattr(self, name) for name in WEIGHTS}
        for name, weight in weights.items():
            if not 0 <= weight < math.inf:
                raise ValueError(f"{name}: expected 0 or more, got {weight}")
        if not any(weights.values()):
            raise ValueError(f"{', '.join(weights)}: expected one at least above 0, got 0 for all")
        if self.soft_tokens not in get_args(SoftTokens):
            names = ", ".join(get_args(SoftTokens))
            raise ValueError(f"soft_tokens: expected one of {names}, got {self.soft_tokens!r}")
        if not 0 < self.masked_share < 1:
            raise ValueError(
                f"masked_share: expected more than 0 and less than 1, got {self.masked_share}"
            )

    def masked_share_at(self, step: int) -> float:
        """Return the share of the tokens that are masked in a step."""
        return self.masked_share


WEIGHTS = ("soft_weight", "label_weight", "hidden_weight")


def evenly_spaced(layers: int, count: int) -> list[int]:
    """Return the numbers of `count` of a teacher's layers, from 0, the first and the last included.

    Layer i of the student is layer i (L - 1) / (count - 1) of the teacher, rounded, half up; a
    student of one layer has the first one. Of 12 layers, 6 are those of DistilBERT.

    >>> evenly_spaced(12, 6), evenly_spaced(12, 3), evenly_spaced(6, 3), evenly_spaced(2, 1)
    ([0, 2, 4, 7, 9, 11], [0, 6, 11], [0, 3, 5], [0])

    Args:
        layers: L, of the teacher.
        count: from 1 to L.

    Raises:
        ValueError: there are not as many layers.
    """
    if not 1 <= count <= layers:
        raise ValueError(f"layers: expected 1 to {layers}, the teacher's layers, got {count}")
    gaps = max(count - 1, 1)
    return [(2 * i * (layers - 1) + gaps) // (2 * gaps) for i in range(count)]


def make_student(teacher: Student, layers: int | Sequence[int], **changes: Any) -> Student:
    """Return a model with some of a teacher's layers; embeddings and head are copied as well.

    >>> from minibert import BertConfig, BertForMaskedLM
    >>> teacher = BertForMaskedLM(BertConfig.preset("mini", vocab_size=50))
    >>> student = make_student(teacher, 2)
    >>> student.config.num_hidden_layers
    2
    >>> name = "bert.encoder.layer.{}.output.dense.weight"
    >>> bool((student.params[name.format(1)] == teacher.params[name.format(3)]).all())
    True

    Args:
        teacher: stays as it is.
        layers: the number of layers, chosen by `evenly_spaced`; or the numbers of the layers, from
            0.
        changes: fields of the configuration with other values, such as the dropout.

    Raises:
        ValueError: the teacher does not have these layers; or layers share their parameters in the
            student that do not in the teacher; or a layer has other parameters than those of its
            place, as the first one of a ModernBERT has.
    """
    L = teacher.config.num_hidden_layers
    chosen = evenly_spaced(L, layers) if isinstance(layers, int) else list(layers)
    if not chosen or not all(0 <= layer < L for layer in chosen):
        raise ValueError(f"layers: expected numbers from 0 to {L - 1}, got {chosen}")
    config = replace(teacher.config.with_layers(chosen), **changes)
    kind, parts = type(teacher), teacher.parts.given()
    bare = kind(config, params=Parameters({}), **parts)
    params = Parameters(bare.specs(), dtype=teacher.params.vector.dtype)
    fronts = _fronts(bare, teacher, chosen)
    if any(_below(own, params) != _below(other, teacher.params) for own, other in fronts.items()):
        raise ValueError(
            "layers: expected the teacher's first layer in the first place alone, because it has "
            f"other parameters than the others, got {chosen}"
        )
    for name, array in params.items():
        own = next((front for front in fronts if name.startswith(front)), "")
        array[...] = teacher.params[fronts.get(own, "") + name.removeprefix(own)]
    student = kind(config, params=params, **parts)
    student.vocabulary = teacher.vocabulary
    return student


def _below(front: str, names: Iterable[str]) -> set[str]:
    """Return the rests of the names that begin with a front."""
    return {name.removeprefix(front) for name in names if name.startswith(front)}


def _fronts(student: BertBased, teacher: BertBased, chosen: Sequence[int]) -> dict[str, str]:
    """Return what the names of a student's blocks begin with, and the teacher's names."""
    fronts: dict[str, str] = {}
    each = teacher.config.num_blocks // teacher.config.num_hidden_layers  # blocks of a layer
    blocks = [layer * each + i for layer in chosen for i in range(each)]
    theirs = teacher.bert.encoder.scopes
    for scope, block in zip(student.bert.encoder.scopes, blocks, strict=True):
        own, other = (f"{student.prefix}encoder.{one}" for one in (scope, theirs[block]))
        if fronts.setdefault(own, other) != other:
            raise ValueError(
                f"layers: expected those of one group for layers that share their parameters, got "
                f"{list(chosen)}"
            )
    return fronts


def optimizer_for(model: BertBased, settings: Settings) -> AdamW:
    """Return AdamW; the pooler of a model without a head, which no loss reads, does not decay."""
    rates = {name: 0.0 for name in model.params if name.startswith("pooler.")}
    return AdamW(model.params, weight_decay=settings.weight_decay, rates=rates)


def weights_checksum(model: BertBased) -> str:
    """Return a CRC-32 of a model's parameters, in hexadecimal (str)."""
    return f"{zlib.crc32(model.params.vector.data):08x}"

"""A generator and a discriminator over one vector of parameters: ELECTRA's two models in training.

    vector = [ the generator's own | tables of embeddings | the discriminator's own ]

The generator's parameters are the first two parts of the vector, those of the discriminator the
last two. So the tables of words, positions and segments are the same memory in both: each model
reads them, and adds its gradient to theirs. Clark et al. (2020), section 3.2, "weight sharing".
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from minibert.layers.embeddings import POSITIONS, SEGMENTS, WORDS
from minibert.models.checkpoints import PreTrained, read_architectures
from minibert.models.families.electra import (
    ElectraConfig,
    ElectraForMaskedLM,
    ElectraForPreTraining,
)
from minibert.models.hub import checkpoint_folder, pinned
from minibert.models.parts import Parts
from minibert.parameters import Parameters, Views
from minibert.specs import Spec, merged, prefixed

TABLES = tuple(f"bert.embeddings.{name}" for name in (WORDS, POSITIONS, SEGMENTS))
# The sizes of the tables, and the row that is padding.
SHARED_SIZES = (
    "vocab_size", "embedding_size", "max_position_embeddings", "type_vocab_size", "pad_token_id",
)  # fmt: skip
GENERATOR = "generator"  # the folder of the generator, in that of the discriminator
TIMES_NARROWER = 4  # Clark et al. (2020), section 3.2: a quarter to a half of the width is best


def generator_config(config: ElectraConfig) -> ElectraConfig:
    """Return the configuration of a discriminator's generator: a quarter of its width.

    >>> generator_config(ElectraConfig.preset("base", embedding_size=768)).hidden_size
    192
    """
    heads = max(config.num_attention_heads // TIMES_NARROWER, 1)
    return replace(
        config,
        hidden_size=max(config.hidden_size // TIMES_NARROWER // heads, 1) * heads,
        num_attention_heads=heads,
        intermediate_size=max(config.intermediate_size // TIMES_NARROWER, 1),
    )


class GeneratorAndDiscriminator(PreTrained):
    """A generator and a discriminator that share their tables of embeddings.

    It is trained by the objective `ReplacedTokens`. A folder contains the discriminator, which is
    the model to fine-tune, and in its folder `generator` the generator; both as `transformers`
    opens them.

    >>> config = ElectraConfig.preset("tiny", vocab_size=100)
    >>> models = GeneratorAndDiscriminator(config)
    >>> name = "bert.embeddings.word_embeddings.weight"
    >>> models.discriminator.params[name][7] = 1
    >>> bool((models.generator.params[name][7] == 1).all())
    True

    Args:
        config: of the discriminator.
        generator_config: of the generator; None: `generator_config(config)`.
        seed, dtype, params: as in `Model`.

    Attributes:
        generator: predicts the tokens at masked places, an `ElectraForMaskedLM`.
        discriminator: tells which tokens were replaced, an `ElectraForPreTraining`.
        architectures: the class names in the config.json of a saved folder.

    Raises:
        ValueError: the two differ in a size of the tables; the message names it.
    """

    config: ElectraConfig
    config_class = ElectraConfig
    architectures = (ElectraForPreTraining.__name__,)

    def __init__(
        self,
        config: ElectraConfig,
        generator_config: ElectraConfig | None = None,
        *,
        seed: int = 0,
        dtype: DTypeLike = np.float32,
        params: Parameters | None = None,
    ):
        super().__init__(
            config, seed=seed, dtype=dtype, params=params, generator_config=generator_config
        )
        self._share()

    def build(self, **parts: Any) -> None:
        """Make both models; they have no parameters yet."""
        small = parts["generator_config"] or generator_config(self.config)
        require_shared_sizes(small, self.config)
        self.parts = Parts()
        self.generator = ElectraForMaskedLM(small, params=Parameters({}))
        self.discriminator = ElectraForPreTraining(self.config, params=Parameters({}))

    def specs(self) -> dict[str, Spec]:
        """Return the declarations of both models, those of the tables once."""
        own, tables, others = self._parts_of_the_layout()
        return merged(
            self,
            prefixed("generator.", own),
            prefixed("shared.", tables),
            prefixed("discriminator.", others),
        )

    def _parts_of_the_layout(self) -> tuple[dict[str, Spec], dict[str, Spec], dict[str, Spec]]:
        """Return the declarations of the generator's own, the tables, the discriminator's own."""
        own, others = (
            {name: spec for name, spec in model.specs().items() if name not in TABLES}
            for model in (self.generator, self.discriminator)
        )
        specs = self.discriminator.specs()
        return own, {name: specs[name] for name in TABLES}, others

    def _share(self) -> None:
        """Give each model its part of the vector."""
        own, tables, others = self._parts_of_the_layout()
        start, stop = (
            getattr(self.params.slices[f"shared.{name}"], end)
            for name, end in ((TABLES[0], "start"), (TABLES[-1], "stop"))
        )
        self.generator.params = Parameters({**own, **tables}, self.params.vector[:stop])
        self.discriminator.params = Parameters({**tables, **others}, self.params.vector[start:])

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Share the tables of a copy, too, which `copy`, `pickle` and `astype` make."""
        vars(self).update(state)
        self._share()

    def gradients_of(self, grads: Views) -> tuple[Views, Views]:
        """Return the gradients of the generator and of the discriminator, under their own names.

        Args:
            grads: of the layout of `params`. Both parts are views of it, so what the two models add
                to a table adds up.
        """
        tables = grads.scope("shared.")
        return (
            _united(grads.scope("generator."), tables),
            _united(tables, grads.scope("discriminator.")),
        )

    def gradient_checkpointing_enable(self) -> None:
        """Train both with less memory and a third more time: see `layers.Recomputed`."""
        self.generator.gradient_checkpointing_enable()
        self.discriminator.gradient_checkpointing_enable()

    def save_pretrained(
        self, folder: str | os.PathLike[str], *, dtype: DTypeLike | None = None
    ) -> None:
        """Write the discriminator to `folder`, and the generator to its folder `generator`.

        Arguments and errors are those of `PreTrained.save_pretrained`.
        """
        self.generator.save_pretrained(Path(folder) / GENERATOR, dtype=dtype)
        self.discriminator.save_pretrained(folder, dtype=dtype)

    @classmethod
    def from_pretrained(
        cls, folder: str | os.PathLike[str], *, revision: str | None = None, **options: Any
    ) -> Self:
        """Load both models from `folder`.

        Args:
            folder, revision, options: as in `PreTrained.from_pretrained`, for both.

        Raises:
            OSError, ValueError: as there; or the two do not belong together.
        """
        folder = checkpoint_folder(pinned(folder, revision))
        place = folder / GENERATOR
        if not place.is_dir():
            raise FileNotFoundError(
                f"{place}: no such folder; expected the generator of the model in {folder}"
            )
        try:
            return cls.of(
                ElectraForMaskedLM.from_pretrained(place, **options),
                ElectraForPreTraining.from_pretrained(folder, **options),
            )
        except ValueError as error:
            where = "" if str(error).startswith(str(folder)) else f"{folder}: "
            raise ValueError(f"{where}{error}") from None

    @classmethod
    def of(cls, generator: ElectraForMaskedLM, discriminator: ElectraForPreTraining) -> Self:
        """Return copies of two models that share their tables, which must be equal.

        Raises:
            ValueError: the vocabularies, the sizes or the values of the tables differ.
        """
        require_shared_sizes(generator.config, discriminator.config)
        if None is not generator.vocabulary != discriminator.vocabulary is not None:
            raise ValueError("generator: expected the discriminator's vocabulary, got another")
        for name in TABLES:
            if not np.array_equal(generator.params[name], discriminator.params[name]):
                raise ValueError(
                    f"generator: expected the values of the discriminator's {name}, got others"
                )
        dtype = discriminator.params.vector.dtype
        made = cls(discriminator.config, generator.config, dtype=dtype)
        for own, given in ((made.generator, generator), (made.discriminator, discriminator)):
            own.vocabulary = given.vocabulary
            for name, array in own.params.items():
                array[...] = given.params[name]
        return made


def refuse_discriminator(folder: str | os.PathLike[str]) -> None:
    """Raise ValueError if the model of a folder is a discriminator, which predicts no tokens.

    >>> refuse_discriminator("tiny")

    Args:
        folder (str or path): as in `PreTrained.from_pretrained`.
    """
    folder = checkpoint_folder(folder)
    if ElectraForPreTraining.__name__ in read_architectures(folder):
        place = folder / GENERATOR
        hint = f"; its generator is in {place}" if place.is_dir() else ""
        raise ValueError(
            f"{folder}: expected a model that predicts tokens, got a discriminator{hint}"
        )


def require_shared_sizes(generator: ElectraConfig, discriminator: ElectraConfig) -> None:
    """Raise ValueError if two configurations have tables of different sizes."""
    for name in SHARED_SIZES:
        own, other = (getattr(config, name) for config in (generator, discriminator))
        if own != other:
            raise ValueError(f"generator: expected {name} {other}, the discriminator's, got {own}")


def _united(first: Views, second: Views) -> Views:
    """Return the views of both, whose names are distinct, as those of one model."""
    arrays, joined = {**first._arrays, **second._arrays}, {**first._joined, **second._joined}
    views: Views = first._part_class(arrays, joined)
    return views

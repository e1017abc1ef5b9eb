"""The recipes of pre-training: every choice that decides how much a model learns, under a name.

A recipe is measured as a whole; docs/recipe.md has the evidence. Its choices are written into the
settings of a run, and so into its checkpoints.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

from minibert.data.masking import MASKED_SHARE
from minibert.models.config import BertConfig
from minibert.optim import SCHEDULES
from minibert.training.defaults import default_shards
from minibert.training.loop import Settings

OPTIMIZERS = ("adamw", "muon")
STARTS = ("random", "text")  # see `initialize_from_text`
TRAINED = "trained"  # a third start: the weights of another model

# Narrow models tolerate a higher learning rate, so that of every recipe is a constant over the
# width. That of version 1, measured for tiny and mini: with 2.5 times of it, tiny was no better
# than the unigram baseline after 600 steps, and mini with twice after 800.
RATE_TIMES_WIDTH_1 = 0.256


@dataclass(frozen=True)
class PreTraining(Settings):
    """The settings of a pre-training run: those of `Settings`, and eleven more.

    Args:
        recipe: the name of the recipe that the other values are from, for the record.
        optimizer: "adamw" or "muon".
        schedule: a name in `optim.SCHEDULES`.
        beta2: β₂ of AdamW.
        masked_share: share of the ordinary tokens that are masked in the first step.
        last_masked_share: the same in the last step; it changes linearly between them.
        initialization: "random", or "text": see `initialize_from_text`; or "trained": those of
            `start`.
        whole_words: whether all pieces of a word are masked together; see `mask_words`.
        start: the model whose pre-training the run continues, with a checksum of its weights; None
            for new weights.
        extended_from: the number of steps after which the run was extended from its weights alone:
            the moments of the optimizer and the warm-up began again; None: it was not.
        chosen: what `minibert pretrain` chose for text, machine and time, for the record.

    Raises:
        ValueError: a setting is out of range.
    """

    recipe: str = ""
    optimizer: str = "adamw"
    schedule: str = "linear"
    beta2: float = 0.999
    masked_share: float = MASKED_SHARE
    last_masked_share: float = MASKED_SHARE
    initialization: str = "random"
    whole_words: bool = False
    start: str | None = None
    extended_from: int | None = None
    chosen: str = ""

    def __post_init__(self) -> None:
        """Check the settings; the message names the one that is wrong."""
        super().__post_init__()
        choices = {
            "optimizer": OPTIMIZERS,
            "schedule": tuple(SCHEDULES),
            "initialization": (*STARTS, TRAINED),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name}: expected one of {', '.join(known)}, got {getattr(self, name)!r}"
                )
        for name in ("masked_share", "last_masked_share"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(
                    f"{name}: expected more than 0 and less than 1, got {getattr(self, name)}"
                )
        if not 0 <= self.beta2 < 1:
            raise ValueError(f"beta2: expected 0 or more and less than 1, got {self.beta2}")

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""
        first = self.extended_from or 0
        steps = self.steps - first
        warmup = round(self.warmup * steps)
        return SCHEDULES[self.schedule](step - first, steps, warmup, self.learning_rate)

    def masked_share_at(self, step: int) -> float:
        """Return the share of the tokens that are masked in a step."""
        done = step / max(self.steps - 1, 1)
        return self.masked_share + done * (self.last_masked_share - self.masked_share)


@dataclass(frozen=True)
class PretrainingRecipe:
    """The choices of pre-training that do not depend on the text.

    Attributes:
        rate_times_width: the peak learning rate · D.
        length: default length of a sequence, in tokens.
        dropout: of hidden states and attention weights.
        batch_size, warmup, weight_decay, clip: as in `Settings`.
        optimizer, schedule, beta2, masked_share, last_masked_share, initialization: as in
            `PreTraining`.
    """

    name: str
    rate_times_width: float = RATE_TIMES_WIDTH_1
    length: int = 32
    dropout: float = 0.0
    batch_size: int = 64
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    optimizer: str = "adamw"
    schedule: str = "linear"
    beta2: float = 0.999
    masked_share: float = MASKED_SHARE
    last_masked_share: float = MASKED_SHARE
    initialization: str = "random"

    def settings(self, config: BertConfig, steps: int, **changes: Any) -> PreTraining:
        """Return the settings of a run.

        >>> from minibert import BertConfig
        >>> config = BertConfig.preset("tiny", vocab_size=100)
        >>> RECIPES["1"].settings(config, steps=10).learning_rate
        0.002

        Args:
            config: of the model.
            steps: number of updates.
            changes: settings with other values.
        """
        names = {field.name for field in fields(PreTraining)}
        own = {name: value for name, value in vars(self).items() if name in names}
        rate = self.rate_times_width / config.hidden_size
        values = {"recipe": self.name, "learning_rate": rate, **own, "steps": steps, **changes}
        shards = default_shards(values["batch_size"], config.longest)
        return PreTraining(**{"shards": shards, **values})


RECIPES: Mapping[str, PretrainingRecipe] = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in (
            # See docs/recipe.md for what each of these values is worth.
            PretrainingRecipe(
                "2",
                rate_times_width=0.512,
                warmup=0.03,
                optimizer="muon",
                schedule="trapezoid",
                beta2=0.98,
                masked_share=0.3,
                last_masked_share=0.3,
                initialization="text",
            ),
            PretrainingRecipe("1"),  # the default of version 1
            # Devlin et al. (2019), appendix A.2, with the rate and the batch of version 1.
            PretrainingRecipe("bert", dropout=0.1),
        )
    }
)
DEFAULT_RECIPE = "2"

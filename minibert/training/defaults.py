"""Sizes and rates that were found good, so that nobody has to search for them."""

from dataclasses import dataclass, fields, replace
from typing import Any, Self

from minibert.models.config import PRESETS, BertConfig
from minibert.tokenization import WordPieceTokenizer

# Narrow models learn faster with larger initial weights and bear a higher rate. For tiny and for
# the built-in corpus, 64 tokens a row, after 800 steps the held-out loss was 0.10 lower with 0.06
# (0.68 / √128) than with 0.02, and a rate of 0.005 was no better than counts after 600. mini, 800
# steps of 64 x 32 tokens, had 5.61 with the rule's rate and spread, and with twice the rate 6.18,
# no better than counts (6.17). For wider models both come near BERT's own 0.02 and small rates.
RATE_BY_WIDTH, SPREAD_BY_WIDTH = 0.256, 0.68


def pretraining_rate(config: BertConfig) -> float:
    """Return the learning rate for pre-training from nothing."""
    return RATE_BY_WIDTH / config.hidden_size


def fresh_config(size: str, tokenizer: WordPieceTokenizer, length: int, **changes: Any):
    """Return the configuration of a new model of a preset's size for a tokenizer's ids.

    Args:
        size: the preset.  tokenizer: whose ids it reads.  length: the longest sequence, in tokens.
        changes: fields to set otherwise.

    Raises:
        ValueError: an unknown preset, too short a length, or a field out of its range.
    """
    if length < 3:
        raise ValueError(f"length: expected at least 3 tokens, got {length}")
    config = BertConfig.preset(
        size,
        vocab_size=len(tokenizer),
        max_position_embeddings=length,
        pad_token_id=tokenizer.pad_token_id,
        **changes,
    )
    spread = round(SPREAD_BY_WIDTH / PRESETS[size]["hidden_size"] ** 0.5, 3)
    return replace(config, initializer_range=spread)


# On 100, 300 and 701 sentences of a first state of corpora/situations, from MiniLM, 384 units wide:
# half as much again of this rate was no better, half of it up to 6 points worse; with a decay of 1
# instead of 0.8 accuracy was 4, 1 and 2 points lower (two seeds each, on texts not trained on).
FINE_RATE, FINE_WIDTH, MOST, LAYER_DECAY = 2e-4, 384, 5e-4, 0.8
BATCHES, FEWEST_EPOCHS, MOST_EPOCHS = 250, 3, 20


@dataclass(frozen=True)
class Recipe:
    """How to fine-tune on so many examples.

    Attributes:
        batch_size, epochs, learning_rate, layer_decay: as `FineTuning` and `steps_for` take them.

    Raises:
        ValueError: no epochs, or empty batches.
    """

    batch_size: int
    epochs: int
    learning_rate: float
    layer_decay: float

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")

    def changed(self, source: Any) -> Self:
        """Return the recipe with what `source` has of its fields and isn't None."""
        given = {field.name: getattr(source, field.name, None) for field in fields(self)}
        return replace(self, **{name: value for name, value in given.items() if value is not None})


def finetuning_recipe(examples: int, config: BertConfig, *, pretrained: bool) -> Recipe:
    """Return what was found good for so many examples and for a model so wide.

    Few examples are gone through often, many only a few times: about 250 batches in all, between 3
    and 20 epochs. A wider model bears a lower rate, as the square of its width, which makes 5e-5 of
    BERT-base's, the highest that Devlin et al. (2019, section A.3) tried.

    Args:
        examples: how many there are.  config: of the model.
        pretrained: whether it starts from a pre-trained model, or from nothing.
    """
    batch_size = 16 if examples < 5000 else 32
    epochs = round(BATCHES * batch_size / examples)
    rate = FINE_RATE * (FINE_WIDTH / config.hidden_size) ** 2
    return Recipe(
        batch_size,
        min(max(epochs, FEWEST_EPOCHS), MOST_EPOCHS),
        min(rate, MOST),
        LAYER_DECAY if pretrained else 1.0,
    )

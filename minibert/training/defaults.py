"""Default sizes and learning rates, found by experiment.

| constant | unit | role |
|---|---|---|
| `INIT_STD_TIMES_ROOT_WIDTH` | standard deviation · √D | initial weights of a new model |
| `FINETUNE_RATE` | learning rate at `FINETUNE_RATE_WIDTH` | learning rate of fine-tuning |
| `FINETUNE_RATE_WIDTH` | D | the width that `FINETUNE_RATE` is for |
| `MAX_FINETUNE_RATE` | learning rate | upper limit for narrow models |
| `LAYER_DECAY` | ratio of learning rates | each block of a pre-trained model, to the block above |
| `FINETUNE_BATCHES` | batches | length of a fine-tuning run |
| `MIN_EPOCHS`, `MAX_EPOCHS` | epochs | limits of that length |
| `SCRATCH_RATE_TIMES_WIDTH` | learning rate · D | learning rate of new weights, on labelled texts |
| `SCRATCH_BATCH_SIZE` | texts | their batch |
| `SCRATCH_BATCHES` | batches | their length of a run |
| `SCRATCH_MIN_EPOCHS`, `SCRATCH_MAX_EPOCHS` | epochs | limits of that length |
| `COUNTED_RATE_TIMES_WIDTH`, `COUNTED_BATCHES` | as above | if they start from counts |
| `SCRATCH_EVALUATIONS` | evaluations | at most, of a run of new weights |
| `SCRATCH_SPLIT_PIECES` | probability | how often they see a piece split |
| `PAIR_RATE` | learning rate at `FINETUNE_RATE_WIDTH` | learning rate of vectors on pairs |
| `PAIR_BATCH_SIZE` | texts | their batch |
| `PAIR_EPOCHS`, `PAIR_TEXTS` | epochs, texts | length of a run, the lesser of the two |
| `MAX_TEXTS_PER_CLASS` | texts | up to which pairs are better |
| `BATCH_SIZE`, `LARGE_BATCH_SIZE` | texts | below and from `LARGE_DATA` examples |
| `SHARDS`, `LARGE_SHARDS` | shards | parts of a batch below and from `LARGE_STEP` tokens |
| `DROPOUT` | probability | dropout of fine-tuning |
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Self

from minibert.models.config import BertConfig
from minibert.tokenization import PreTrainedTokenizer

# Narrow models learn faster with larger initial weights. Measured as held-out loss on the built-in
# corpus: tiny with 64 tokens a sequence, after 800 steps of version 1's recipe, had a loss 0.10
# lower with a standard deviation of 0.06 (0.68 / √128) than with 0.02. For wide models it comes
# near BERT's own 0.02.
INIT_STD_TIMES_ROOT_WIDTH = 0.68

# On 100, 300 and 701 sentences of a first version of corpora/situations, from MiniLM (D = 384):
# 1.5 times this rate was no better, half of it up to 6 points of accuracy worse; with a layer decay
# of 1 instead of 0.8 accuracy was 4, 1 and 2 points lower (two seeds each, held-out texts).
FINETUNE_RATE, FINETUNE_RATE_WIDTH, MAX_FINETUNE_RATE = 2e-4, 384, 5e-4
LAYER_DECAY = 0.8
FINETUNE_BATCHES, MIN_EPOCHS, MAX_EPOCHS = 250, 3, 20
BATCH_SIZE, LARGE_BATCH_SIZE, LARGE_DATA = 16, 32, 5000
SHARDS, LARGE_SHARDS, LARGE_STEP = 2, 4, 1024
DROPOUT = 0.1

# Test accuracy for the language, of 50, of a message of Django (`benchmarks.from_nothing` makes
# such sets) after training on 1,700 messages of 20 tokens, one seed. TF-IDF of letters on all
# 2,000 had 91.2 %, and the former rule (3 epochs of 16 texts, 5e-4, without accents) 28.7 %. With
# random embeddings and 4,096 pieces, 800 batches of 32, tiny: 77.9 % with 1e-3, 78.5 % with 2e-3;
# 2,000 of 16 with 5e-4: 79.2 %; one layer of 64 with 4e-3: 82.4 %, with pieces split with a
# probability of 0.25: 84.1 %; of 0.5: 82.0 %.
# Words with tags, the only task whose first weights are random, were not compared.
SCRATCH_RATE_TIMES_WIDTH = 0.256
SCRATCH_BATCH_SIZE, SCRATCH_BATCHES = 32, 800
SCRATCH_MIN_EPOCHS, SCRATCH_MAX_EPOCHS = 5, 100
SCRATCH_SPLIT_PIECES = 0.25
SCRATCH_EVALUATIONS = 20
# New weights that begin as naive Bayes have less to learn; docs/recipe.md has the figures.
COUNTED_RATE_TIMES_WIDTH, COUNTED_BATCHES = 0.064, 400


# Accuracy on 310 held-out texts of corpora/questions and on 400 of corpora/situations after 50, 8
# per class, from MiniLM, C = 1 and one sample, so 2 points are chance: 77.1 and 73.8 % with these
# numbers; 73.9 and 73.2 % with twice the rate; 74.8 and 73.5 % in 40 epochs, 76.8 and 73.5 % with
# half the rate then; 71.0 and 69.5 % with the squared error of all cosines in 40 epochs.
# Earlier, on 300 of corpora/situations after 48: 73.0 % with a temperature of 0.05 where 0.1 had
# 75.0 %; a layer decay of 0.8 was 0.7 points worse; vectors of [CLS] had 60 %, the mean over the
# tokens 75 %.
PAIR_RATE, PAIR_BATCH_SIZE = 5e-5, 32
PAIR_EPOCHS, PAIR_TEXTS = 20, 6000
# Pairs are better than fine-tuning after 16 texts and after 50 of corpora/situations, and equal
# after 50 of corpora/questions, see docs/performance.md. With 50 texts per class of
# corpora/situations both have 84.2 % on 400 held-out texts (one sample), and fine-tuning takes 0.6
# times as long. Between 8 and 50 the limit was not measured.
MAX_TEXTS_PER_CLASS = 16


MAX_WEIGHTS = 4_000_000_000  # of one table of a new model: 16 GB in float32


def fresh_config(
    size: str,
    tokenizer: PreTrainedTokenizer,
    length: int,
    family: type[BertConfig] = BertConfig,
    **changes: Any,
) -> BertConfig:
    """Return the configuration (`BertConfig`) of a new model of a preset size.

    Args:
        size: the name of the preset.
        tokenizer: the model's tokenizer, which decides the vocabulary.
        length: the longest sequence, in tokens.
        family: the class of the configuration.
        changes: fields with other values; `initializer_range` depends on the width otherwise.

    Raises:
        ValueError: the preset is unknown, the length is too short, a field is out of range, or a
            table is too large.
    """
    if length < 3:
        raise ValueError(f"length: expected at least 3 tokens, got {length}")
    config = family.preset(
        size,
        vocab_size=len(tokenizer),
        max_position_embeddings=length,
        pad_token_id=tokenizer.pad_token_id,
        **changes,
    )
    require_memory(config)
    if "initializer_range" in changes:
        return config
    std = round(INIT_STD_TIMES_ROOT_WIDTH / config.hidden_size**0.5, 3)
    return replace(config, initializer_range=std)


def require_memory(config: BertConfig) -> None:
    """Raise ValueError if a table of a new model is too large, before memory is requested for it.

    >>> require_memory(BertConfig(max_position_embeddings=100_000))
    """
    width = config.hidden_size
    rows = {"vocab_size": config.vocab_size, "max_position_embeddings": config.longest}
    for name, count in rows.items():
        if count * width > MAX_WEIGHTS:
            raise ValueError(
                f"{name}: expected at most {MAX_WEIGHTS // width:,} rows of {width} weights, "
                f"{4 * MAX_WEIGHTS / 1e9:.0f} GB, got {count:,}"
            )


def default_shards(batch_size: int, tokens: float) -> int:
    """Return the default number of shards of a step (int).

    Each shard reads all weights and adds to the gradient of all weights, and the products of a
    small shard are less efficient; so a small step is cut less. Fine-tuning MiniLM takes with four
    shards 1.17 times the CPU time of two at 208 tokens a step, 1.05 at 416, 1.02 at 640 and 1,024,
    and 0.98 from 1,280 on, because shards of similar lengths have less padding (AMD EPYC). Cores
    and threads have no influence, because a seed must give the same bits on every machine.

    Args:
        batch_size: B, sequences of a step.
        tokens: mean number of tokens of a sequence.
    """
    large = batch_size * tokens >= LARGE_STEP
    return min(LARGE_SHARDS if large else SHARDS, batch_size)


@dataclass(frozen=True)
class Recipe:
    """The hyperparameters of fine-tuning that depend on the number of examples.

    Attributes:
        batch_size: texts in a step.
        epochs: passes over the examples.
        learning_rate: the highest learning rate.
        layer_decay, split_pieces: as in `FineTuning`.

    Raises:
        ValueError: epochs or batch size are below 1.
    """

    batch_size: int
    epochs: int
    learning_rate: float
    layer_decay: float
    split_pieces: float = 0.0

    def __post_init__(self) -> None:
        """Validate epochs and batch size."""
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected at least 1, got {getattr(self, name)}")

    def override(self, source: Any) -> Self:
        """Return the recipe with the attributes of `source` that are not None."""
        given = {field.name: getattr(source, field.name, None) for field in fields(self)}
        return replace(self, **{name: value for name, value in given.items() if value is not None})


def finetuning_recipe(
    examples: int, config: BertConfig, *, pretrained: bool, counted: bool = False
) -> Recipe:
    """Return the default recipe (`Recipe`) for a number of examples and a model's width.

    From a pre-trained model, a run has about 250 batches, but at least 3 and at most 20 epochs, so
    few examples are repeated often. The learning rate falls with the square of the width, to 5e-5
    for BERT-base, the highest one that Devlin et al. (2019, section A.3) tried.

    New weights have everything to learn from the examples: a run has about SCRATCH_BATCHES larger
    batches, at least 5 and at most 100 epochs, with the learning rate of pre-training, and pieces
    are split at random. Those that start from the counts of the labels, see
    `training.naive_bayes`, have half as many batches and a quarter of the rate. Early stopping ends
    a run that is too long.

    Args:
        examples: the number of examples.
        config: the model's configuration.
        pretrained: whether the model is pre-trained.
        counted: whether new weights start from the counts of the labels.
    """
    if not pretrained:
        batches = COUNTED_BATCHES if counted else SCRATCH_BATCHES
        scale = COUNTED_RATE_TIMES_WIDTH if counted else SCRATCH_RATE_TIMES_WIDTH
        epochs = round(batches * SCRATCH_BATCH_SIZE / examples)
        return Recipe(
            SCRATCH_BATCH_SIZE,
            min(max(epochs, SCRATCH_MIN_EPOCHS), SCRATCH_MAX_EPOCHS),
            scale / config.hidden_size,
            1.0,
            SCRATCH_SPLIT_PIECES,
        )
    batch_size = BATCH_SIZE if examples < LARGE_DATA else LARGE_BATCH_SIZE
    epochs = round(FINETUNE_BATCHES * batch_size / examples)
    rate = FINETUNE_RATE * (FINETUNE_RATE_WIDTH / config.hidden_size) ** 2
    return Recipe(
        batch_size,
        min(max(epochs, MIN_EPOCHS), MAX_EPOCHS),
        min(rate, MAX_FINETUNE_RATE),
        LAYER_DECAY,
    )


def pairs_are_better(examples: int, classes: int) -> bool:
    """Return whether pairs from labels were measured to be better than fine-tuning.

    Args:
        examples: the number of examples.
        classes: the number of classes.
    """
    return examples <= MAX_TEXTS_PER_CLASS * classes


def pair_recipe(examples: int, config: BertConfig) -> Recipe:
    """Return the recipe (`Recipe`) of training vectors on the pairs that labels make.

    A run has 20 epochs; from 300 examples on as many as read 6,000 texts, but at least 3.

    Args:
        examples: the number of examples.
        config: the model's configuration.
    """
    epochs = max(round(PAIR_TEXTS / examples), MIN_EPOCHS)
    rate = PAIR_RATE * (FINETUNE_RATE_WIDTH / config.hidden_size) ** 2
    return Recipe(
        PAIR_BATCH_SIZE,
        min(epochs, PAIR_EPOCHS),
        min(rate, MAX_FINETUNE_RATE),
        1.0,
    )

"""Fine-tuning: settings, the start of a run, and the run itself."""

import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np

from minibert.data.token_cache import files_checksum
from minibert.models import BertForSequenceClassification, PreTrained, read_config
from minibert.models.auto import class_for
from minibert.models.hub import checkpoint_folder
from minibert.models.pooling_block import can_read_mean, pooling_names, reading_mean
from minibert.objectives.few_labels import LabelledVectors, why_no_pairs
from minibert.objectives.supervised import Supervised, WeightedSupervised, evaluate
from minibert.optim import AdamW, Optimizer, OptimizerFactory, made_optimizer
from minibert.specs import prefixed
from minibert.tasks.base import Task
from minibert.tasks.examples import Examples
from minibert.tokenization import AutoTokenizer, PreTrainedTokenizer
from minibert.training.defaults import (
    DROPOUT,
    SCRATCH_EVALUATIONS,
    Recipe,
    default_shards,
    finetuning_recipe,
    fresh_config,
    pair_recipe,
    pairs_are_better,
)
from minibert.training.early_stopping import BestCheckpoint
from minibert.training.engine import Engine
from minibert.training.loop import Settings, train
from minibert.training.naive_bayes import initialize_from_labels

__all__ = [
    "FineTuning",
    "FineTuningRun",
    "ModelSource",
    "evaluate",
    "fine_tune",
    "optimizer_for",
    "steps_for",
]

SAMPLE = 500  # texts whose tokens are counted before the default number of shards is chosen
NEW_POSITIONS = 64  # of a new model, in tokens
PAIR_SIZE = "tiny"  # of a new model of pairs; docs/recipe.md has the figures
Strategy = Literal["auto", "pairs", "direct"]
log = logging.getLogger("minibert")


@dataclass(frozen=True)
class FineTuning(Settings):
    """The settings of a fine-tuning run: those of `Settings`, and six more.

    Args:
        layer_decay: the learning rate of each block, divided by that of the block above; below 1,
            lower blocks change more slowly (Howard and Ruder, 2018, section 3.2).
        freeze: the embeddings and this number of the lowest blocks are not trained; None: all are.
        class_weight: the weight of each class in the loss (C,); or "balanced", as if all classes
            were equally frequent (King and Zeng, 2001, section 4.2); None: texts count alike, or
            with pairs as in `LabelledVectors`. Of several labels, the weight of texts that have
            each.
        patience: the number of evaluations without improvement after which to stop; None: never.
        split_pieces: the probability with which a piece of a text is split into smaller ones, other
            pieces at each step; see `data.piece_splits`. Words with tags stay whole.
        strategy: "direct" trains body and head on the labels; "pairs" trains the body on the pairs
            that the labels make, and fits the classifier afterwards; see `LabelledVectors`.

    Raises:
        ValueError: a setting is out of range.
    """

    # The evaluations decide which weights are kept, and when the run stops.
    free: ClassVar[frozenset[str]] = Settings.free - {"evaluate_every"}

    layer_decay: float = 1.0
    freeze: int | None = None
    class_weight: Sequence[float] | Literal["balanced"] | None = None
    patience: int | None = None
    split_pieces: float = 0.0
    strategy: Literal["pairs", "direct"] = "direct"

    def __post_init__(self) -> None:
        """Validate the settings."""
        super().__post_init__()
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay: expected more than 0 and at most 1, got "
                             f"{self.layer_decay}")  # fmt: skip
        weights = self.class_weight
        if isinstance(weights, str | None):
            valid = weights in ("balanced", None)
        else:
            valid = all(0 <= weight < math.inf for weight in weights)
        if not valid:
            raise ValueError(
                f"class_weight: expected 'balanced', or numbers from 0 on, got {weights!r}"
            )
        if not 0 <= self.split_pieces < 1:
            raise ValueError(f"split_pieces: expected a probability from 0 to below 1, got "
                             f"{self.split_pieces}")  # fmt: skip
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience: expected at least 1, got {self.patience}")
        if self.strategy not in ("pairs", "direct"):
            raise ValueError(f"strategy: expected pairs or direct, got {self.strategy!r}")


@dataclass(frozen=True)
class ModelSource:
    """The source of a model to fine-tune: a pre-trained checkpoint, or sizes of a new model.

    Args:
        model: a pre-trained model, by a name that `models.hub.find_folder` finds; None: a new one.
        tokenizer: the folder of a new model's tokenizer; None: it is trained on the examples.
        size: the preset of a new, untrained model; None: "tiny" for tags and pairs, else "nano".
        max_length: in tokens; longer texts are cut. None: the positions of a pre-trained model, or
            64 of a new one.
        dropout: the dropout probability of hidden states and attention.
        config: further fields of a new model's configuration.
    """

    model: str | os.PathLike | None = None
    tokenizer: str | os.PathLike | None = None
    size: str | None = None
    max_length: int | None = None
    dropout: float = DROPOUT
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def trains_tokenizer(self) -> bool:
        """Whether the tokenizer is trained on the examples."""
        return self.model is None and self.tokenizer is None

    def load(self, task: Task, examples: Examples, seed: int) -> tuple[Any, PreTrainedTokenizer]:
        """Return the model to start from, with the task's head, and its tokenizer.

        Args:
            task: decides the model's class and its classes.
            examples: the texts that a new tokenizer is trained on.
            seed: of newly initialized weights.

        Raises:
            OSError, ValueError: as `PreTrained.from_pretrained`, or a size is out of range.
        """
        fields = {
            "hidden_dropout_prob": self.dropout,
            "attention_probs_dropout_prob": self.dropout,
            **task.config(),
        }
        if self.model is not None:
            return self._load_pretrained(task, seed, fields)
        if self.tokenizer is not None:
            tokenizer = AutoTokenizer.from_pretrained(self.tokenizer)
        else:
            tokenizer = task.train_tokenizer(examples.texts, examples.pairs)
        changes = {**self.config, **fields}
        length = NEW_POSITIONS if self.max_length is None else self.max_length
        size = self.size or (PAIR_SIZE if examples.pairs else task.new_model_size)
        config = fresh_config(size, tokenizer, length, **changes)
        return task.model_class(config, seed=seed), tokenizer

    def _load_pretrained(
        self, task: Task, seed: int, fields: Mapping[str, Any]
    ) -> tuple[Any, PreTrainedTokenizer]:
        """Return a pre-trained model and its tokenizer, with a row for each of its tokens."""
        given = [name for name in ("size", "tokenizer") if getattr(self, name) is not None]
        for name in [*given, *self.config]:
            raise ValueError(f"{name}: leave it out; the model in {self.model} determines it")
        folder = checkpoint_folder(str(self.model))
        kind = class_for(task.model_class, folder)
        model: Any = kind.from_pretrained(folder, seed=seed, **fields)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokens, known = len(tokenizer), model.config.vocab_size
        if tokens > known:
            log.warning("%s: %s tokens are new to the model of %s", folder, tokens - known, known)
            model.resize_token_embeddings(tokens)
        if self.max_length is not None:
            longest, rows = model.config.longest, model.config.max_position_embeddings
            if not 3 <= self.max_length <= longest:
                raise ValueError(
                    f"max_length: expected 3 to {longest} tokens, the positions of the model in "
                    f"{self.model}, got {self.max_length}"
                )
            model.resize_position_embeddings(rows - longest + self.max_length)
        return model, tokenizer


@dataclass
class FineTuningRun:
    """The parts of a fine-tuning run: task, examples, model, tokenizer, recipe, settings.

    Attributes:
        optimizer: as in `fine_tune`.
    """

    task: Task
    examples: Examples
    model: Any
    tokenizer: PreTrainedTokenizer
    recipe: Recipe
    settings: FineTuning
    optimizer: Optimizer | OptimizerFactory | None = None

    @classmethod
    def start(
        cls,
        task: Task,
        examples: Examples,
        source: ModelSource,
        *,
        tokenizer_examples: Examples | None = None,
        seed: int = 0,
        overrides: Any = None,
        evaluate_at_most: float = math.inf,
        settings: Mapping[str, Any] | None = None,
        resumes: bool = False,
        strategy: Strategy = "direct",
    ) -> Self:
        """Return a run with a loaded model and with the default recipe and settings.

        Args:
            task: the meaning of the labels.
            examples: labelled texts to train on.
            source: the source of the model.
            tokenizer_examples: labelled texts to train a tokenizer on; None: the same examples.
            seed: the random seed of new weights, order and dropout.
            overrides: an object whose attributes replace the recipe's, unless they are None.
            evaluate_at_most: the largest number of steps between two evaluations; they are an epoch
                apart if that is less.
            settings: fields of `FineTuning` that replace its defaults; the recipe's fields and the
                seed are decided by the other arguments.
            resumes: the weights of a checkpoint will replace those of the model, so these are not
                initialized from the labels.
            strategy: as in `FineTuning`; "auto": as `chosen_strategy`.

        Raises:
            OSError, ValueError: as `ModelSource.load`, or a setting is out of range.
        """
        strategy = chosen_strategy(strategy, task, examples, source, overrides)
        model, tokenizer = source.load(task, tokenizer_examples or examples, seed)
        if strategy == "pairs":
            model = reading_mean(model)
        is_new = source.model is None
        counted = is_new and isinstance(model, BertForSequenceClassification)
        if strategy == "pairs":
            recipe = pair_recipe(len(examples), model.config)
        else:
            recipe = finetuning_recipe(
                len(examples), model.config, pretrained=not is_new, counted=counted
            )
        recipe = recipe.override(overrides)
        steps = steps_for(len(examples), recipe.batch_size, recipe.epochs)
        between = steps_for(len(examples), recipe.batch_size, 1)
        if counted and not resumes:
            length = model.config.longest
            sequences, labels_at = task.tokenize_examples(tokenizer, examples, length)
            labels = labels_at(np.arange(len(sequences)))
            initialize_from_labels(model, list(sequences), labels, tokenizer, seed)
        if is_new or strategy == "pairs":
            # Many short epochs: patience would run out before the first gain.
            between = max(between, math.ceil(steps / SCRATCH_EVALUATIONS))
        defaults = {
            "steps": steps,
            "evaluate_every": min(between, evaluate_at_most),
            "shards": default_shards(
                recipe.batch_size, mean_tokens(task, examples, tokenizer, model)
            ),
        }
        decided = {
            "batch_size": recipe.batch_size,
            "learning_rate": recipe.learning_rate,
            "layer_decay": recipe.layer_decay,
            "split_pieces": recipe.split_pieces,
            "strategy": strategy,
            "seed": seed,
            "tokenizer": files_checksum(tokenizer),
            "data": examples.checksum(),
        }
        fields = FineTuning(**defaults | dict(settings or {}) | decided)
        return cls(task, examples, model, tokenizer, recipe, fields)

    def train(self, **options: Any) -> Task:
        """Train the model in place; return its task. The options are those of `fine_tune`."""
        return fine_tune(
            self.model,
            self.tokenizer,
            self.task,
            self.examples,
            self.settings,
            optimizer=self.optimizer,
            **options,
        )


def chosen_strategy(
    strategy: Strategy, task: Task, examples: Examples, source: ModelSource, overrides: Any = None
) -> Literal["pairs", "direct"]:
    """Return how to learn from labelled texts: the strategy itself, or the choice of "auto".

    That is "pairs" where it was measured to be better: with few texts for each class, and a
    pre-trained model. A caller who gives a number of the recipe has chosen it for fine-tuning, so
    the choice is "direct" then.

    Args:
        strategy: "auto", "pairs" or "direct".
        task: the meaning of the labels.
        examples: labelled texts to train on.
        source: the source of the model.
        overrides: an object whose attributes replace the recipe's, unless they are None.

    Raises:
        OSError: there is no such pre-trained model.
        ValueError: the strategy is unknown, there are no pairs, or the model's layers share their
            parameters.
    """
    if strategy not in get_args(Strategy):
        known = ", ".join(get_args(Strategy))
        raise ValueError(f"strategy: expected one of {known}, got {strategy!r}")
    reason = why_no_pairs(task, examples)
    if strategy == "pairs" and not reason:
        reason = _why_no_mean(source)
    if strategy == "pairs" and reason:
        raise ValueError(f"strategy: expected direct, because {reason}; got pairs")
    if strategy != "auto":
        return strategy
    names = (each.name for each in fields(Recipe))
    is_stated = any(getattr(overrides, name, None) is not None for name in names)
    if reason or is_stated or source.model is None:
        return "direct"
    if not pairs_are_better(len(examples), len(task.names)) or _why_no_mean(source):
        return "direct"
    return "pairs"


def _why_no_mean(source: ModelSource) -> str | None:
    """Return why a pre-trained model's classifier cannot read the mean (str), or None.

    The block that an ALBERT would get for it would need parameters of its own, and so would all
    others then: its configuration divides the layers into groups of about one size, so a model of
    twelve layers would have about twelve times as many. Its pooler reads [CLS] alone.
    """
    if source.model is None or can_read_mean(read_config(checkpoint_folder(str(source.model)))):
        return None
    return (
        f"the layers of the model in {source.model} share their parameters, and a layer that "
        "writes the mean of the tokens to [CLS] needs its own"
    )


def mean_tokens(
    task: Task, examples: Examples, tokenizer: PreTrainedTokenizer, model: PreTrained
) -> float:
    """Return the mean number of tokens (float) of up to `SAMPLE` evenly spaced examples."""
    indices = np.linspace(0, len(examples) - 1, min(len(examples), SAMPLE)).astype(int)
    sequences, _ = task.tokenize_examples(
        tokenizer, examples.select(indices.tolist()), model.config.longest
    )
    return float(np.mean(sequences.lengths))


def optimizer_for(model: Any, settings: FineTuning) -> AdamW:
    """Return AdamW for a model's parameters, with a rate for each block.

    With the strategy "pairs" the head and the block that pools stay as they are.
    """
    rates = block_rates(model, settings)
    if settings.strategy == "pairs":
        body = prefixed(model.prefix, model.bert.specs())
        pooling = pooling_names(model)
        fixed = {*pooling, *(name for name in rates if name not in body)}
        # The highest block that learns has the full rate, as the head has otherwise.
        highest = settings.layer_decay ** (2 if pooling else 1)
        rates = {
            name: 0.0 if name in fixed else min(rate / highest, 1.0) for name, rate in rates.items()
        }
    return AdamW(model.params, weight_decay=settings.weight_decay, rates=rates)


def block_rates(model: Any, settings: Any) -> dict[str, float]:
    """Return the factor of the learning rate of each parameter (dict); 0: it is frozen."""
    depths = model.depths()
    top = max(depths.values())
    lowest = 0 if settings.freeze is None else settings.freeze + 1
    return {
        name: settings.layer_decay ** (top - depth) if depth >= lowest else 0.0
        for name, depth in depths.items()
    }


def fine_tune(
    model: Any,
    tokenizer: PreTrainedTokenizer,
    task: Task,
    examples: Examples,
    settings: FineTuning,
    *,
    held_out: Examples | None = None,
    optimizer: Optimizer | OptimizerFactory | None = None,
    run: Path | None = None,
    threads: int | None = None,
    title: str = "fine-tuning",
    progress: bool = False,
    lines: list[dict[str, Any]] | None = None,
    outputs: list[Any] | None = None,
) -> Task:
    """Train a model in place on labelled examples; return the trained model's task.

    With held-out examples, the final weights are those of the best evaluation, and the thresholds
    of several labels are those with the best F1 on these examples; see `Task.tuned`.

    Args:
        model: a model of the task's class, with its number of classes.
        tokenizer: the model's tokenizer; longer texts are cut at the model's positions.
        task: the meaning of the labels.
        examples: labelled texts to train on; texts of similar length share a batch. Their weights,
            if they have some, weigh the loss; see `WeightedSupervised`.
        settings: the hyperparameters.
        held_out: labelled texts to evaluate on, every `settings.evaluate_every` steps and at the
            end.
        optimizer: an optimizer, whose step is where the run continues; or a function that makes one
            from the model and the settings; it decides itself about `settings.layer_decay`, and
            about weight decay of frozen blocks (see `block_rates`). None: `optimizer_for`.
        run: the folder for checkpoints and the history; None: none are written.
        threads: how many shards are computed at a time; None: one for each core.
        title: the label of the progress bar.
        progress: show a progress bar.
        lines: receives the lines of the history; None: none.
        outputs: receives the outputs of the final weights for the held-out texts, as one element;
            None: none.

    Raises:
        FloatingPointError, Interrupted: as `loop.train`.
        TypeError: the optimizer lacks a method.
        ValueError: the model has fewer blocks than are to be frozen, the task has no class weights,
            or words have example weights.
    """
    weights = task.class_weights(examples.labels, settings.class_weight, examples.weights)
    _freeze(model, settings)
    optimizer = made_optimizer(optimizer or optimizer_for, model, settings)
    if weights is not None:
        model.class_weights = weights
    engine = Engine(model, optimizer, seed=settings.seed, clip=settings.clip, threads=threads)
    best = BestCheckpoint(model, settings.patience, run, optimizer.step)
    kind: Any = Supervised if examples.weights is None else WeightedSupervised
    if settings.strategy == "pairs":
        kind = partial(LabelledVectors, weights=weights)
    objective = kind(
        model, tokenizer, task, examples, settings, held_out=held_out, best=best, threads=threads
    )
    train(
        engine,
        objective,
        settings,
        tokenizer,
        run=run,
        should_stop=best.should_stop,
        title=title,
        progress=progress,
        lines=lines,
    )
    if best.should_stop() and optimizer.step < settings.steps:
        log.info(
            "stopped after step %d of %d: the last %d evaluations were below the best one",
            optimizer.step, settings.steps, best.evals_since_best,
        )  # fmt: skip
    if isinstance(objective, LabelledVectors) and not held_out:
        objective.fit_classifier()
    if held_out:
        best.restore()
        if best.step < optimizer.step:
            log.info("the weights are those of step %d, the best evaluation", best.step)
        if best.outputs is None and (outputs is not None or task.thresholds is not None):
            best.outputs = task.predict(  # an earlier process made the best evaluation
                model, tokenizer, held_out.texts, held_out.pairs, threads=threads
            )
        if outputs is not None:
            outputs.append(best.outputs)
        if task.thresholds is not None:
            task = task.tuned(held_out.labels, best.outputs)
    return task.denormalize_head(model)


def _freeze(model: Any, settings: FineTuning) -> None:
    """Freeze the embeddings and the lowest blocks; the block that pools is not counted."""
    count = model.config.num_blocks - (settings.strategy == "pairs" and bool(pooling_names(model)))
    if settings.freeze is not None and not 0 <= settings.freeze <= count:
        raise ValueError(f"freeze: expected 0 to {count} layers, got {settings.freeze}")
    model.freeze(settings.freeze)


def steps_for(examples: int, batch_size: int, epochs: float) -> int:
    """Return the number of steps (int) for a number of epochs."""
    return max(math.ceil(epochs * math.ceil(examples / batch_size)), 1)

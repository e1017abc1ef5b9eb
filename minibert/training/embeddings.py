"""Training sentence vectors: the settings of a run, and the run itself."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, get_args

from minibert.data.embedding_examples import EmbeddingExamples
from minibert.inference.features import FeatureExtractor
from minibert.models.bert import BertBased
from minibert.models.sentence import SentenceEncoder, TrainablePooling
from minibert.objectives.base import Evaluation
from minibert.objectives.embedding_losses import Distance
from minibert.objectives.embeddings import EmbeddingLoss, SentenceVectors, require_fit
from minibert.optim import AdamW, Optimizer, OptimizerFactory, made_optimizer
from minibert.specs import prefixed
from minibert.training.engine import Engine
from minibert.training.finetuning import block_rates
from minibert.training.loop import Settings, train
from minibert.training.ranks import ALONE, Ranks


@dataclass(frozen=True)
class EmbeddingTraining(Settings):
    """The settings of training sentence vectors: those of `Settings`, and seven more.

    The learning rate is that of sentence-transformers' `fit`; temperature, margin and distance are
    those of its losses, whose `scale` is 1 / temperature.

    Args:
        loss: `ranking`, `cosine`, `triplet` or `contrastive`; see `objectives.SentenceVectors`.
        temperature: by which cosines are divided, in `ranking` and `contrastive`.
        margin: by how much a negative text is to be farther, in `triplet`.
        distance: `euclidean` or `cosine`, in `triplet`.
        layer_decay: the learning rate of each block, divided by that of the block above.
        freeze: the embeddings and this number of the lowest blocks are not trained; None: all are.
        recompute: whether a step computes each text twice, so that it needs memory for one shard a
            thread; None: if the caches of a batch would be larger than 1 GiB. No number depends on
            it.

    Raises:
        ValueError: a setting is out of range.
    """

    free: ClassVar[frozenset[str]] = Settings.free | {"recompute"}

    learning_rate: float = 2e-5
    loss: EmbeddingLoss = "ranking"
    temperature: float = 0.05
    margin: float = 5.0
    distance: Distance = "euclidean"
    layer_decay: float = 1.0
    freeze: int | None = None
    recompute: bool | None = None

    def __post_init__(self) -> None:
        """Check the settings; the message names the one that is wrong."""
        super().__post_init__()
        for name in ("temperature", "margin"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}: expected more than 0, got {getattr(self, name)}")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(
                f"layer_decay: expected more than 0 and at most 1, got {self.layer_decay}"
            )
        for name, choices in (("loss", EmbeddingLoss), ("distance", Distance)):
            if getattr(self, name) not in get_args(choices):
                known = ", ".join(get_args(choices))
                raise ValueError(f"{name}: expected one of {known}, got {getattr(self, name)!r}")


def encoder_of(extractor: FeatureExtractor) -> SentenceEncoder:
    """Return the encoder (`SentenceEncoder`) with the model, pooling and normalization.

    Its forward returns the vectors of the extractor, and it trains the same model.

    Raises:
        ValueError: the extractor has another pooling than mean or cls, another layer than the last
            one, a Dense module, or a prompt that is not pooled; these are not trained.
    """
    poolings, last = get_args(TrainablePooling), extractor.model.config.num_blocks
    for name, expected, got, fits in (
        ("pooling", " or ".join(poolings), extractor.modes,
         len(extractor.modes) == 1 and extractor.modes[0] in poolings),
        ("layers", f"the last one, {last}", extractor.layers, extractor.layers == [last]),
        ("projections", "none", len(extractor.projections), not extractor.projections),
        ("include_prompt", "True", False, extractor.skipped == 0),
    ):  # fmt: skip
        if not fits:
            raise ValueError(f"{name}: expected {expected} to train vectors, got {got}")
    return SentenceEncoder(extractor.model, extractor.modes[0], extractor.normalize)


def optimizer_for(model: BertBased, settings: EmbeddingTraining) -> AdamW:
    """Return AdamW with a rate for each block; a head or a pooler, which no loss reads, stays."""
    body = prefixed(model.prefix, model.bert.specs())
    rates = block_rates(model, settings)
    rates |= {name: 0.0 for name in model.params if name not in body}
    return AdamW(model.params, weight_decay=settings.weight_decay, rates=rates)


def train_embeddings(
    extractor: FeatureExtractor,
    examples: EmbeddingExamples,
    settings: EmbeddingTraining,
    *,
    evaluate: Callable[[int], Evaluation | None] | None = None,
    optimizer: Optimizer | OptimizerFactory | None = None,
    run: Path | None = None,
    threads: int | None = None,
    ranks: Ranks = ALONE,
    should_stop: Callable[[], bool] | None = None,
    title: str = "training vectors",
    progress: bool = False,
) -> None:
    """Train the model of an extractor in place, so that its vectors fit the examples.

    Args:
        extractor: decides model, tokenizer, pooling, normalization, `max_length` and prompt.
        examples: rows of texts, with scores or labels if the loss needs them.
        settings: the hyperparameters.
        evaluate: called with the step every `settings.evaluate_every` steps and at the end; returns
            a line for the log and figures for the history, or None.
        optimizer: an optimizer, whose step is where the run continues; or a function that makes one
            from the model and the settings; None: AdamW, with a rate for each block.
        run: the folder for checkpoints and the history; None: none are written.
        threads: how many shards are computed at a time; None: one for each core.
        ranks: the processes that share the work.
        should_stop: whether to stop early; called before each step.
        title: the label of the progress bar.
        progress: show a progress bar.

    Raises:
        FloatingPointError, Interrupted: as `loop.train`.
        TypeError: the optimizer lacks a method.
        ValueError: the loss does not fit the examples or the batch size, the extractor cannot be
            trained, or the model has fewer blocks than are to be frozen.
    """
    encoder = encoder_of(extractor)
    require_fit(settings.loss, examples, settings.batch_size)
    objective = SentenceVectors(
        encoder,
        extractor.tokenizer,
        examples,
        settings,
        max_length=extractor.max_length,
        prompt=extractor.prompt,
        evaluate=evaluate,
    )
    model = encoder.model
    model.freeze(settings.freeze)
    engine = Engine(
        model,
        made_optimizer(optimizer or optimizer_for, model, settings),
        seed=settings.seed,
        clip=settings.clip,
        threads=threads,
        ranks=ranks,
        objective=objective,
    )
    train(
        engine,
        objective,
        settings,
        extractor.tokenizer,
        run=run,
        should_stop=should_stop,
        title=title,
        progress=progress,
    )

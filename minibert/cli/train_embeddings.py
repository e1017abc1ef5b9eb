"""`minibert train-embeddings`: train sentence vectors on pairs of texts."""

import argparse
import logging
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from minibert.cli.arguments import (
    MODEL_HELP,
    add_freeze_argument,
    add_minutes_argument,
    add_run_arguments,
    add_training_arguments,
    stated_settings,
)
from minibert.cli.embedding_inputs import PairData, read_pair_data
from minibert.cli.output import is_interactive
from minibert.cli.plot import draw_curves
from minibert.cli.resume import resumed_model, run_folder, with_own
from minibert.cli.vectors import add_max_length_argument, make_extractor
from minibert.data.sampling import steps_per_epoch
from minibert.data.token_cache import files_checksum
from minibert.inference.features import FeatureExtractor
from minibert.inference.sentence_writer import save_sentence_folder
from minibert.inference.windows import long_texts
from minibert.io.text import sanitize
from minibert.models.checkpoints import read_config
from minibert.models.hub import checkpoint_folder
from minibert.models.sentence import TrainablePooling
from minibert.models.table import family_class
from minibert.objectives.base import Evaluation
from minibert.objectives.embedding_losses import Distance
from minibert.objectives.embeddings import SentenceVectors, require_fit
from minibert.tasks.metrics import Metrics
from minibert.training.card import THIS, write_card
from minibert.training.checkpoint import finish_run, restore_optimizer, resume_point
from minibert.training.defaults import (
    FINETUNE_RATE_WIDTH,
    MAX_FINETUNE_RATE,
    default_shards,
)
from minibert.training.distillation import weights_checksum
from minibert.training.embedding_card import EmbeddingCard
from minibert.training.embeddings import (
    EmbeddingTraining,
    encoder_of,
    optimizer_for,
    train_embeddings,
)
from minibert.training.finetuning import steps_for
from minibert.training.pretraining import step_seconds, steps_in

log = logging.getLogger("minibert")

EPOCHS, BATCH_SIZE = 4, 32
RATE = 5e-5  # for a width of FINETUNE_RATE_WIDTH; see docs/guides/vectors.md for its choice
MAX_STEPS_BETWEEN_EVALUATIONS = 500  # an epoch, if that is less
SAMPLE = 500  # rows, at least if there are as many, whose tokens are counted for the shards
LOSSES = ("ranking", "cosine", "triplet")

DESCRIPTION = """
Reads TSV, CSV or JSON Lines files, or standard input (-), with or without a header. Two columns of
texts are pairs: all other second texts of a batch are wrong answers to the first. Three are
triplets: the third text is wrong, too. Two texts and a number from 0 to 1, or from 0 to 5, are
scored pairs. What is detected is printed.
The vectors are measured before and after the training on held-out rows: how often the right partner
is the nearest of all (recall@1) or among five, and the mean reciprocal rank; for scored pairs
Spearman's correlation. The new folder opens in sentence-transformers, too.
"""
EXAMPLE = "minibert train-embeddings corpora/paraphrases/train.tsv --model minilm --out vectors"


@dataclass(frozen=True)
class VectorTraining(EmbeddingTraining):
    """The settings of a run: those of `EmbeddingTraining`, and how texts become vectors.

    Args:
        pooling: of the tokens.
        normalize: whether vectors have length 1.
        max_length: in tokens; longer texts are cut.
        prompt: written before each text.
        model: checksum of the model that the run starts from.
    """

    pooling: str = "mean"
    normalize: bool = False
    max_length: int = 0
    prompt: str = ""
    model: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `minibert train-embeddings`."""
    parser.add_argument(
        "files", nargs="+", help="TSV, CSV or JSON Lines files; - is standard input"
    )
    parser.add_argument("--model", required=True, help=MODEL_HELP)
    parser.add_argument("--dev", type=Path, help="file to evaluate on")
    parser.add_argument(
        "--dev-share",
        type=float,
        default=0.15,
        help="without --dev: fraction of the rows that is held out (default: %(default)s)",
    )
    parser.add_argument(
        "--split-seed",
        type=int,
        default=0,
        help="random seed for the choice of the held-out rows (default: %(default)s)",
    )
    parser.add_argument(
        "--columns",
        nargs="+",
        metavar="NAME",
        help="columns to read, written after the files: two texts, and a third text or a score "
        "(default: detected)",
    )
    _add_vector_arguments(parser)
    group = add_training_arguments(
        parser,
        batch_size=str(BATCH_SIZE),
        learning_rate="chosen by the model's width",
        evaluate_every=f"an epoch, but at most {MAX_STEPS_BETWEEN_EVALUATIONS}",
        others={"warmup": "0.1", "weight_decay": "0.01", "clip": "1.0"},
    )
    _add_loss_arguments(parser)
    _add_duration_arguments(group)
    add_run_arguments(parser, "model")


def _add_vector_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("vectors")
    group.add_argument(
        "--pooling",
        choices=get_args(TrainablePooling),
        help="how to pool the tokens' vectors (default: the model's own pooling, or mean)",
    )
    group.add_argument(
        "--normalize",
        action="store_true",
        help="scale each vector to length 1 (default: as the model's folder states)",
    )
    add_max_length_argument(group)


def _add_loss_arguments(parser: argparse.ArgumentParser) -> None:
    group, default = parser.add_argument_group("loss"), EmbeddingTraining(steps=1)
    group.add_argument(
        "--loss",
        choices=LOSSES,
        help="ranking: the right text among all of the batch; cosine: the score as the cosine; "
        "triplet: the distances of the three texts (default: ranking; cosine with scores)",
    )
    group.add_argument(
        "--temperature",
        type=float,
        help="of ranking, by which cosines are divided; lower: more weight on the most similar "
        f"wrong texts (default: {default.temperature})",
    )
    group.add_argument(
        "--margin",
        type=float,
        help="of triplet: by how much the wrong text is to be farther (default: "
        f"{default.margin:g})",
    )
    group.add_argument(
        "--distance",
        choices=get_args(Distance),
        help=f"of triplet (default: {default.distance})",
    )


def _add_duration_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--layer-decay",
        type=float,
        help="learning rate of each block as a fraction of the rate of the block above "
        "(default: 1)",
    )
    add_freeze_argument(group)
    duration = group.add_mutually_exclusive_group()
    duration.add_argument(
        "--epochs", type=float, help=f"passes over the training rows (default: {EPOCHS})"
    )
    duration.add_argument("--steps", type=int, help="number of updates instead of --epochs")
    add_minutes_argument(duration, "--epochs")


def default_rate(width: int) -> float:
    """Return the default learning rate (float), which falls with the square of the width.

    >>> default_rate(384), default_rate(768)
    (5e-05, 1.25e-05)

    Args:
        width: D, the hidden size of the model.
    """
    return min(RATE * (FINETUNE_RATE_WIDTH / width) ** 2, MAX_FINETUNE_RATE)


def run(options: argparse.Namespace) -> None:
    """Train sentence vectors on files of pairs."""
    for name in ("minutes", "epochs"):
        value = getattr(options, name)
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name}: expected more than 0, got {value:g}")
    if options.split_seed < 0:
        raise ValueError(f"split_seed: expected 0 or more, got {options.split_seed}")
    with run_folder(options):
        _train(options)


def _train(options: argparse.Namespace) -> None:
    found = resume_point(options.out) if options.resume else None
    extractor, name = _load_extractor(options)
    stated = _stated(options, extractor)
    VectorTraining(**{"steps": 1, "shards": 1, **stated})  # a wrong option is named first
    data = read_pair_data(options)
    settings = _settings(options, stated, data, extractor, found)
    model = extractor.model
    if found:
        model = resumed_model(options.out, found, type(model), model.config, settings)
    if found == options.out:
        log.info("%s: this run is finished; nothing is left to train", options.out)
        return
    before = data.metrics(extractor, options.threads)
    log.info("before the training: %s; %s", before, before.trivial_baseline())
    extractor.model, optimizer = model, None
    if found:
        optimizer = optimizer_for(model, settings)
        restore_optimizer(found, optimizer)
        log.info("going on after step %d", optimizer.step)
    if options.gradient_checkpointing:
        extractor.model.gradient_checkpointing_enable()
    if options.minutes is not None and not found:
        settings = _timed(options, extractor, data, settings)
    log.info("%s steps of %s %s, learning rate %.2g", f"{settings.steps:,}", settings.batch_size,
             data.kind, settings.learning_rate)  # fmt: skip
    after = None

    def evaluate(step: int) -> Evaluation:
        nonlocal after
        after = data.metrics(extractor, options.threads)
        return f"held-out {after}", {f"held_out_{k}": v for k, v in after.figures().items()}

    train_embeddings(
        extractor,
        data.examples,
        settings,
        evaluate=evaluate,
        optimizer=optimizer,
        run=options.out,
        threads=options.threads,
        progress=is_interactive(),
    )
    if after is None:  # a resumed run that had taken its last step
        after = data.metrics(extractor, options.threads)
    _save(options, extractor, settings, data, name, before, after)


def _load_extractor(options: argparse.Namespace) -> tuple[FeatureExtractor, str]:
    """Return the extractor of the model to train, and the model's name for the card (str).

    Raises:
        OSError, ValueError: there is no model, or its vectors cannot be trained.
    """
    extractor = make_extractor(options, normalize=options.normalize)
    try:
        encoder_of(extractor)
    except ValueError as error:
        raise ValueError(f"{options.model}: {error}") from None
    folder = checkpoint_folder(options.model)
    kind = family_class(read_config(folder).model_type, "Model")
    extractor.model = kind.from_pretrained(folder)  # a class that other programs open
    is_path = Path(options.model).exists()
    name = sanitize(Path(options.model).resolve().name if is_path else options.model)
    pooled = "the mean over the tokens" if extractor.modes == ["mean"] else "that of [CLS]"
    pooled += ", scaled to length 1" if extractor.normalize else ""
    length = extractor.max_length
    log.info("%s: the vector of a text is %s; at most %d tokens", name, pooled, length)
    return extractor, name


def _stated(options: argparse.Namespace, extractor: FeatureExtractor) -> dict[str, Any]:
    """Return the settings that the options and the model's folder state."""
    return stated_settings(options, VectorTraining) | {
        "pooling": extractor.modes[0],
        "normalize": extractor.normalize,
        "max_length": extractor.max_length,
        "prompt": extractor.prompt,
        "model": weights_checksum(extractor.model),
        "tokenizer": files_checksum(extractor.tokenizer),
    }


def _settings(
    options: argparse.Namespace,
    stated: dict[str, Any],
    data: PairData,
    extractor: FeatureExtractor,
    found: Path | None,
) -> VectorTraining:
    """Return the settings of a run; log the loss, and texts that are cut.

    Args:
        options: of the command.
        stated: the settings that are not defaults.
        data: the pairs.
        extractor: counts tokens.
        found: the folder that `resume_point` returns.

    Raises:
        ValueError: the loss does not fit the pairs.
    """
    loss = stated.get("loss", data.examples.default_loss)
    batch = min(stated.get("batch_size", BATCH_SIZE), len(data.examples))
    try:
        require_fit(loss, data.examples, batch)
    except ValueError as error:
        raise ValueError(f"{error}: these are {data.kind}") from None
    log.info("loss: %s", loss)
    tokenizer, length = extractor.tokenizer, extractor.max_length
    texts = [text for row in data.examples.rows for text in row]
    cut = len(long_texts(tokenizer, texts, max_length=length))
    if cut:
        log.info("%s of %s texts are longer than %d tokens and are truncated", f"{cut:,}",
                 f"{len(texts):,}", length)  # fmt: skip
    epoch = steps_per_epoch(len(data.examples), batch)
    sample = data.examples.rows[:: max(len(data.examples) // SAMPLE, 1)]
    tokens = [len(tokenizer.encode(t, max_length=length).input_ids) for row in sample for t in row]
    mean = sum(tokens) / len(sample)  # of a row, because first and second texts differ in length
    defaults = {
        "steps": steps_for(len(data.examples), batch, options.epochs or EPOCHS),
        "batch_size": batch,
        "learning_rate": default_rate(extractor.model.config.hidden_size),
        "shards": default_shards(batch, mean),
        "loss": loss,
        "evaluate_every": min(epoch, MAX_STEPS_BETWEEN_EVALUATIONS),
        "data": data.examples.checksum(),
    }
    settings = VectorTraining(**{**defaults, **stated, "batch_size": batch})
    # Defaults may differ between versions, and minutes were converted when the run started.
    has_steps = options.steps is not None or options.epochs is not None
    own = {"shards": options.shards is None, "steps": not has_steps}
    return with_own(settings, found, [name for name, wanted in own.items() if wanted])


def _timed(
    options: argparse.Namespace,
    extractor: FeatureExtractor,
    data: PairData,
    settings: VectorTraining,
) -> VectorTraining:
    """Return the settings with the number of steps that fit into the minutes."""
    objective = SentenceVectors(
        encoder_of(extractor),
        extractor.tokenizer,
        data.examples,
        settings,
        max_length=extractor.max_length,
        prompt=extractor.prompt,
    )
    step = step_seconds(extractor.model, objective, settings, options.threads)
    steps = max(steps_in(60 * options.minutes, step, settings, len(data.held_out)), 1)
    log.info("%s minutes are %s steps", f"{options.minutes:g}", f"{steps:,}")
    return replace(settings, steps=steps)


def _save(
    options: argparse.Namespace,
    extractor: FeatureExtractor,
    settings: VectorTraining,
    data: PairData,
    name: str,
    before: Metrics,
    after: Metrics,
) -> None:
    """Save the trained model with its card, and print the metrics before and after."""
    save_sentence_folder(extractor, options.out)
    trivial, _, value = before.trivial_baseline().partition(": ")
    scores = {THIS: str(after), f"before the training, {name}": str(before), trivial: value}
    recipe = {"start": name, "optimizer": "adamw"}
    card = EmbeddingCard(extractor.model, settings, data.names, scores, recipe)
    write_card(options.out, card.text(options.out))
    print(after.table())
    for model, score in scores.items():
        print(f"{model}: {score}")
    if after.main < before.main:
        log.warning("warning: the vectors are worse than before the training; more pairs, fewer "
                    "--epochs or a lower --learning-rate may help")  # fmt: skip
    draw_curves(options.out)
    if not options.keep_checkpoints:
        finish_run(options.out)
    print(f"{options.out}: the model; try: minibert similar {options.out} 'some text' FILE")

"""`minibert pretrain --model`: continue the pre-training of a model, on other texts."""

import argparse
import logging
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from minibert.cli.arguments import MODEL_HELP
from minibert.models import read_config
from minibert.models.hub import bare_name, checkpoint_folder
from minibert.models.replaced_tokens import refuse_discriminator
from minibert.models.table import family_class
from minibert.objectives import MaskedLM
from minibert.objectives.evaluation import PAIR_TASKS, MaskedLMMetrics
from minibert.tokenization import AutoTokenizer, PreTrainedTokenizer, WordPieceTokenizer
from minibert.tokenization.widening import read_new_words
from minibert.training.continuing import (
    MAX_LENGTH,
    continued_settings,
    describe_start,
    training_length,
    widen,
)
from minibert.training.history import HISTORY, History, read_history
from minibert.training.recipes import PreTraining, PretrainingRecipe

log = logging.getLogger("minibert")

# Options that describe a new model, which a trained one determines.
DETERMINED = (
    "tokenizer", "vocab_size", "size", "length", "architecture", "positions", "activation",
    "initialization",
)  # fmt: skip


class Source(NamedTuple):
    """The trained model with which a run begins.

    Attributes:
        model: with its masked-LM head, and a row for each token.
        tokenizer: its tokenizer, with the new words.
        start: its name and checksum, for the settings.
    """

    model: Any
    tokenizer: PreTrainedTokenizer
    start: str

    @property
    def length(self) -> int:
        """T, the number of tokens of the sequences to train on (int)."""
        return training_length(self.model.config)

    def settings(self, recipe: PretrainingRecipe, steps: int, **stated: Any) -> PreTraining:
        """Return the settings of the run (PreTraining), with the values that options state."""
        return continued_settings(recipe, self.model.config, self.start, steps, **stated)


def add_continuing_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of continued pre-training."""
    group = parser.add_argument_group("a trained model")
    refused = ", ".join(map(_option, DETERMINED))
    group.add_argument(
        "--model",
        help=f"continue the pre-training of a model: {MODEL_HELP}. Its tokenizer is used, and its "
        "dropout unless --dropout states another; learning rate and batch have other defaults; "
        f"sequences have as many tokens as the model reads, but at most {MAX_LENGTH}; "
        f"{refused} are refused",
    )
    group.add_argument(
        "--new-words",
        type=Path,
        metavar="FILE",
        help="with --model: words to add to its vocabulary, one per line; the vector of a word "
        "begins as the mean of those of its pieces",
    )


def refuse_determined(options: argparse.Namespace) -> None:
    """Raise ValueError if an option contradicts `--model`, or needs it."""
    if options.model is None:
        if options.new_words is not None:
            raise ValueError(
                "--new-words: expected --model; a new tokenizer learns the words of its texts"
            )
        return
    for name in DETERMINED:
        if getattr(options, name) is not None:
            raise ValueError(
                f"{_option(name)}: leave it out; the model in {options.model} determines it"
            )


def trained_use(options: argparse.Namespace) -> str:
    """Return the use of the model's class (str): with or without a head of pairs."""
    return "ForPreTraining" if any(getattr(options, name) for name in PAIR_TASKS) else "ForMaskedLM"


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def read_source(options: argparse.Namespace) -> Source | None:
    """Return the trained model of `--model` with its tokenizer (Source); None without the option.

    Raises:
        OSError, ValueError: a file is missing or invalid, or there is a fault in the new words.
    """
    if options.model is None:
        return None
    folder = checkpoint_folder(options.model)
    refuse_discriminator(folder)
    kind: Any = family_class(read_config(folder).model_type, trained_use(options))
    for name in PAIR_TASKS:
        if getattr(options, name) and f"{name}_label" not in kind.label_names:
            raise ValueError(f"{_option(name)}: the model in {options.model} has no such head")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    words = {}
    if options.new_words:
        if not isinstance(tokenizer, WordPieceTokenizer):
            raise ValueError(
                "--new-words: expected a model with a WordPieceTokenizer, got a "
                f"{type(tokenizer).__name__}"
            )
        words = read_new_words(options.new_words, tokenizer)
    rates = ("hidden_dropout_prob", "attention_probs_dropout_prob")
    changes = {} if options.dropout is None else dict.fromkeys(rates, options.dropout)
    model: Any = kind.from_pretrained(folder, seed=options.seed, **changes)
    start = describe_start(bare_name(options.model), model)
    tokens, known = len(tokenizer), model.config.vocab_size
    if tokens > known:
        log.warning("%s: %s tokens are new to the model of %s", folder, tokens - known, known)
        model.resize_token_embeddings(tokens)
    if words and isinstance(tokenizer, WordPieceTokenizer):
        tokenizer = widen(model, tokenizer, words)
        log.info("%s: %s new words; %s tokens now", options.new_words, f"{len(words):,}",
                 f"{len(tokenizer):,}")  # fmt: skip
    source, longest = Source(model, tokenizer, start), model.config.longest
    if source.length < longest:
        log.info("length: %d of the %s tokens that the model in %s reads",
                 source.length, f"{longest:,}", options.model)  # fmt: skip
    return source


def record_before(run: Path, objective: MaskedLM) -> None:
    """Print the held-out metrics of a model before its training, and write them to the history.

    Nothing is done if the history has them, because a run is resumed before its first step.
    """
    if (run / HISTORY).is_file() and any(line["step"] == 0 for line in read_history(run)):
        return
    metrics, baseline = objective.metrics(), objective.baseline
    figures = metrics.figures()
    if baseline is not None:
        figures["yardstick_loss"] = baseline.loss
    log.info("before training: held-out %s", metrics)
    with closing(History(run)) as history:
        history.write(0, **figures)


def print_before(run: Path) -> MaskedLMMetrics | None:
    """Print and return the metrics before training (MaskedLMMetrics) in the history of a run.

    None if it began with new weights.
    """
    first = next((line for line in read_history(run) if line["step"] == 0), None)
    if first is None:
        return None
    metrics = MaskedLMMetrics.of_figures(first)
    print(f"before training:   {metrics}")
    return metrics

"""The model and the settings of a pre-training run: stated, chosen, or those of a resumed run."""

import argparse
import logging
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from minibert.cli.arguments import stated_settings
from minibert.cli.continued import Source, trained_use
from minibert.cli.pretrain_budget import STEPS, Budget
from minibert.cli.resume import preset_of
from minibert.data.corpus import PackedSequences
from minibert.data.token_cache import TokenizedCorpus
from minibert.models import PreTrained, read_config
from minibert.models.checkpoints import read_architectures
from minibert.models.config import PRESETS, BertConfig
from minibert.models.replaced_tokens import GeneratorAndDiscriminator
from minibert.models.table import family_class
from minibert.tokenization import PreTrainedTokenizer
from minibert.training.choice import TextSize, choose, usual_length
from minibert.training.defaults import fresh_config
from minibert.training.pretraining import objective_for, step_seconds
from minibert.training.ranks import Ranks
from minibert.training.recipes import PreTraining, PretrainingRecipe

log = logging.getLogger("minibert")

# The model_type of each.
ARCHITECTURES = {"bert": "bert", "modern": "modernbert", "albert": "albert"}
MASKED_LM, REPLACED_TOKENS = OBJECTIVES = ("masked-lm", "replaced-tokens")


def with_run(options: argparse.Namespace, found: Path) -> argparse.Namespace:
    """Return the options with objective, size and length of a resumed run where not stated.

    Raises:
        ValueError: the run has another objective than the stated one.
    """
    if options.minutes is not None:
        log.info("%s: the minutes were converted to steps when the run started", options.out)
    run = read_config(found)
    is_electra = read_architectures(found) == list(GeneratorAndDiscriminator.architectures)
    objective = REPLACED_TOKENS if is_electra else MASKED_LM
    if options.objective not in (None, objective):
        raise ValueError(f"objective: the run in {options.out} has {objective}, got "
                         f"{options.objective}")  # fmt: skip
    own = {"size": preset_of(run), "length": run.longest, "objective": objective}
    unstated = {name: value for name, value in own.items() if getattr(options, name) is None}
    return argparse.Namespace(**vars(options) | unstated)


def planned_run(
    options: argparse.Namespace,
    tokenizer: PreTrainedTokenizer,
    recipe: PretrainingRecipe,
    source: Source | None = None,
) -> tuple[BertConfig, PreTraining]:
    """Return the configuration and the settings that the options or a trained model describe."""
    stated = {"steps": STEPS, **stated_settings(options, PreTraining)}
    if "masked_share" in stated:
        stated.setdefault("last_masked_share", stated["masked_share"])
    if source:
        return source.model.config, source.settings(recipe, **stated)
    config = _new_config(options, tokenizer, recipe)
    return config, recipe.settings(config, **stated)


def _new_config(
    options: argparse.Namespace, tokenizer: PreTrainedTokenizer, recipe: PretrainingRecipe
) -> BertConfig:
    """Return the configuration of the model (BertConfig) that the options describe."""
    dropout = recipe.dropout if options.dropout is None else options.dropout
    size, more = options.size or "tiny", {}
    model_type = ARCHITECTURES[options.architecture or "bert"]
    if options.objective == REPLACED_TOKENS:
        model_type, more = "electra", {"embedding_size": PRESETS[size]["hidden_size"]}
    family = family_class(model_type, "Config")
    return fresh_config(
        size,
        tokenizer,
        recipe.length if options.length is None else options.length,
        family,
        hidden_act=options.activation or family.hidden_act,
        position_embedding_type=options.positions or "absolute",
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        **more,
    )


def new_model_of(options: argparse.Namespace, config: BertConfig, settings: PreTraining) -> Any:
    """Return a model with random weights."""
    return model_class(options, config)(config, seed=settings.seed)


def model_class(options: argparse.Namespace, config: BertConfig) -> type[PreTrained]:
    """Return the class of the model that the options describe."""
    if options.objective == REPLACED_TOKENS:
        return GeneratorAndDiscriminator
    return family_class(config.model_type, trained_use(options))


def choose_sizes(
    options: argparse.Namespace,
    tokenizer: PreTrainedTokenizer,
    recipe: PretrainingRecipe,
    corpus: TokenizedCorpus,
    budget: Budget,
    ranks: Ranks,
    source: Source | None = None,
) -> tuple[argparse.Namespace, float]:
    """Choose size, length and batch where no option states them, from timing a few steps.

    A trained model determines all three, so its steps are timed alone.

    Args:
        options (Namespace): options of the command.
        tokenizer (PreTrainedTokenizer): of the run.
        recipe (PretrainingRecipe): of the run.
        corpus (TokenizedCorpus): ids of both parts.
        budget (Budget): the time.
        ranks (Ranks): the processes; the first one decides.
        source (Source or None): the trained model with which the run begins.

    Returns:
        the options with what was chosen, and the seconds of a step.
    """

    def new_model(*sizes: Any) -> tuple[Any, PreTraining]:
        config, settings = planned_run(_with_sizes(options, *sizes), tokenizer, recipe)
        return new_model_of(options, config, settings), settings

    def timed(model: Any, settings: PreTraining) -> float:
        if options.gradient_checkpointing:
            model.gradient_checkpointing_enable()
        length = source.length if source else model.config.longest
        rows = PackedSequences(corpus.train.stream, tokenizer, length, corpus.train.counts)
        objective = objective_for(model)(model, tokenizer, rows, None, settings)
        return step_seconds(model, objective, settings, options.threads, ranks, budget.timed)

    @cache
    def seconds_of(size: str, length: int, batch_size: int) -> float:
        return timed(*new_model(size, length, batch_size))

    def parameters(size: str) -> int:
        model, _ = new_model(size, options.length, options.batch_size)
        return int(model.params.vector.size)

    if source:
        return options, timed(source.model, planned_run(options, tokenizer, recipe, source)[1])
    train = corpus.train
    tokens = len(train.stream)
    text = TextSize(tokens, usual_length(np.diff(train.ends, prepend=0, append=tokens)))
    choice = choose(
        max(ranks.of_first(budget.left()), 0.0),
        text,
        recipe,
        seconds_of,
        parameters,
        size=options.size,
        length=options.length,
        batch_size=options.batch_size,
    )
    for reason in choice.reasons:
        log.info("%s", reason)
    sizes = choice.size, choice.length, choice.batch_size
    return _with_sizes(options, *sizes), seconds_of(*sizes)


def _with_sizes(options: argparse.Namespace, *sizes: Any) -> argparse.Namespace:
    """Return the options with another size, length and batch size."""
    return argparse.Namespace(
        **vars(options) | dict(zip(("size", "length", "batch_size"), sizes, strict=True))
    )


def describe_choice(
    options: argparse.Namespace,
    planned: argparse.Namespace,
    tokenizer: PreTrainedTokenizer,
    settings: PreTraining,
) -> str:
    """Return what no option stated, for the record of the run (str); empty: all was stated.

    Args:
        options (Namespace): options of the command.
        planned (Namespace): the same with what was chosen.
        tokenizer (PreTrainedTokenizer): of the run.
        settings (PreTraining): of the run.
    """
    names = ("size", "length", "batch_size")
    parts = [
        f"{name.replace('_', ' ')} {getattr(planned, name)}"
        for name in names
        if getattr(options, name) != getattr(planned, name)
    ]
    if options.tokenizer is None and options.model is None:
        parts.append(f"a vocabulary of {len(tokenizer):,} learned from the text")
    if options.minutes is not None:
        parts.append(f"{settings.steps:,} steps for {options.minutes:g} minutes")
    return ", ".join(parts)

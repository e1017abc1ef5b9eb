"""The sub-commands that train from text alone: a tokenizer, a masked language model."""

import argparse
import importlib.util
import logging
from contextlib import nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from minibert.cli.shared import interactive
from minibert.data.corpus import Rows, read_corpus
from minibert.data.masking import masked
from minibert.data.sampling import generator
from minibert.data.token_cache import STDIN, expand, fingerprint, tokenize_corpus
from minibert.files import claim, creating, held, shown
from minibert.models import BertForMaskedLM, BertForPreTraining, PreTrained
from minibert.models.checkpoints import read_architectures
from minibert.models.config import BertConfig
from minibert.objectives.evaluation import count_tokens, warn_of_text
from minibert.runtime.threads import number_of_threads
from minibert.tokenization import WordPieceTokenizer
from minibert.training import (
    AdamW,
    FineTuning,
    Interrupted,
    Settings,
    train_masked_lm,
    unigram_score,
)
from minibert.training.checkpoint import checkpoints, read_state, restore_optimizer
from minibert.training.defaults import fresh_config, pretraining_rate
from minibert.training.history import draw
from minibert.training.pretraining import steps_in
from minibert.training.ranks import ending_together, launched_ranks

log = logging.getLogger("minibert")

HELD_OUT = 0.05  # of the documents, where no held-out files are given
HELD_OUT_ROWS = 4096  # of the held-out text, at most, are measured on


def train_tokenizer(options: argparse.Namespace) -> None:
    """Learn a vocabulary."""
    claim(options.out)
    paragraphs = (text for document in read_corpus(options.files) for text in document)
    try:
        tokenizer = WordPieceTokenizer.train(
            paragraphs,
            options.vocab_size,
            score=options.score,
            min_frequency=options.min_frequency,
            limit_alphabet=options.limit_alphabet,
            initial_alphabet=options.initial_alphabet,
            special_tokens=options.special_tokens,
            do_lower_case=not options.cased,
            progress=interactive(),
        )
    except ValueError as error:
        if any(str(error).startswith(str(path)) for path in options.files):
            raise
        raise ValueError(f"{', '.join(map(str, options.files))}: {error}") from None
    with creating(options.out) as temporary:
        tokenizer.save_pretrained(temporary)
    print(f"{options.out}: {tokenizer.vocab_size:,} pieces")


def pretrain(options: argparse.Namespace) -> None:
    """Pre-train on text files, on as many processes as `mpiexec` started."""
    ranks = launched_ranks()
    with ending_together(ranks):
        if options.resume and not checkpoints(options.out):
            raise FileNotFoundError(f"{options.out}: no checkpoint to resume from")
        # One writes for all.
        with nullcontext() if ranks.rank else held(options.out, resume=options.resume):
            _pretrain(options, ranks)


def _pretrain(options, ranks):
    found = checkpoints(options.out) if options.resume else []
    if ranks.rank:
        logging.disable()  # one speaks for all
    tokenizer = WordPieceTokenizer.from_pretrained(options.tokenizer)
    config = new_config(options, tokenizer, 32)
    stated = {"steps": 2400, "learning_rate": pretraining_rate(config)} | stated_settings(options)
    settings = Settings(**stated)
    known = read_state(found[-1])["settings"].get("data") if found else None
    corpus = ranks.one_by_one(lambda: _tokens(options, tokenizer, ranks, known))
    length = config.max_position_embeddings
    rows, held_out_rows = (
        Rows(side.stream, tokenizer, length, side.counts)
        for side in (corpus.train, corpus.held_out)
    )
    for name, packed in (("to train on", rows), ("held out", held_out_rows)):
        if not len(packed):
            raise ValueError(
                f"{options.files[0]}: no text {name}; expected at least some dozen documents, "
                "with a blank line between them"
            )
    tokens = len(corpus.train.stream)
    log.info(
        "%s tokens to train on, %s held out", f"{tokens:,}", f"{len(corpus.held_out.stream):,}"
    )
    # Evenly from all of the held-out text, and no more than is measured in seconds.
    count = min(len(held_out_rows), HELD_OUT_ROWS)
    held_out = held_out_rows[np.linspace(0, len(held_out_rows) - 1, count).astype(int)]
    settings = replace(settings, tokenizer=fingerprint(tokenizer), data=corpus.key)
    kind = BertForPreTraining if options.next_sentence else BertForMaskedLM
    optimizer = None
    if found:
        if options.minutes is not None:  # they became steps when the run began
            settings = replace(settings, steps=read_state(found[-1])["settings"]["steps"])
        model = resumed_model(found[-1], kind, config, settings)
        optimizer = AdamW(model.params, weight_decay=settings.weight_decay)
        restore_optimizer(found[-1], optimizer)
        log.info("going on after step %d", optimizer.step)
    else:
        model = kind(config, seed=settings.seed)
    if options.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    if options.minutes is not None and not found:
        steps = steps_in(options.minutes, model, tokenizer, rows, settings, options.threads)
        settings = replace(settings, steps=ranks.of_first(steps))
        log.info("%s minutes are %s steps", f"{options.minutes:g}", f"{settings.steps:,}")
    epochs = settings.steps * settings.batch_size / len(rows)
    warn_of_text(corpus.repeated, tokens, tokenizer, epochs)
    ranks.agree("settings", settings)
    ranks.agree("configuration", config)
    ranks.agree("weights", model.params.vector.tobytes())
    try:
        result = train_masked_lm(
            model,
            tokenizer,
            rows,
            held_out,
            settings,
            optimizer=optimizer,
            run=options.out,
            threads=options.threads,
            ranks=ranks,
            progress=interactive(),
        )
    except Interrupted as stop:
        raise Interrupted(f"{stop}; the same command with --resume goes on") from None
    if ranks.rank:
        return
    tokenizer.save_pretrained(options.out)
    model.save_pretrained(options.out)
    _, labels = masked(held_out, tokenizer, generator(settings.seed, "evaluation"))
    print(f"held out:          {result}")
    print(f"counts of tokens:  {unigram_score(count_tokens(rows, tokenizer), labels, tokenizer)}")
    draw_curves(options.out)
    print(f"{options.out}: the model; try: minibert fill-mask {options.out} 'A [MASK] of words.'")


def _tokens(options, tokenizer, ranks, known):
    files = expand(options.files)
    if ranks.size > 1 and STDIN in files:
        raise ValueError("standard input: it can't be shared by several ranks; name a file")
    held_out = expand(options.held_out) if options.held_out else HELD_OUT
    workers = number_of_threads(options.threads) if ranks.size == 1 and _large(files) else 1
    return tokenize_corpus(files, tokenizer, held_out=held_out, workers=workers, known=known)


def _large(files):
    """Whether a text is worth the second that it takes to start processes."""
    return STDIN in files or sum(path.stat().st_size for path in files if path.exists()) > 8e6


def draw_curves(run: Path) -> None:
    """Draw a run's curves at its end, if there is matplotlib to draw with."""
    if importlib.util.find_spec("matplotlib"):
        draw(run, run / "curves.svg")


def plot(options: argparse.Namespace) -> None:
    """Draw a run's curves."""
    out = options.out or options.run / "curves.svg"
    draw(options.run, out)
    print(out)


def stated_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of `FineTuning` that the options state."""
    names = {field.name for field in fields(FineTuning)} - {"tokenizer", "data"}
    given = {name: getattr(options, name, None) for name in names}
    return {name: value for name, value in given.items() if value is not None}


def new_config(
    options: argparse.Namespace, tokenizer: WordPieceTokenizer, length: int
) -> BertConfig:
    """Return the configuration of a new model, as the options want it, or so many tokens long."""
    return fresh_config(
        options.size or "tiny",
        tokenizer,
        length if options.length is None else options.length,
        hidden_act=options.activation or "gelu",
        position_embedding_type=options.positions or "absolute",
        hidden_dropout_prob=options.dropout,
        attention_probs_dropout_prob=options.dropout,
    )


def resumed_model(
    checkpoint: Path, kind: type[PreTrained], config: BertConfig, settings: Settings
) -> Any:
    """Read a run's model, if `config` and `settings` are the run's own.

    Raises:
        ValueError: they aren't; it says which.
    """
    saved = read_state(checkpoint)["settings"]
    found = read_architectures(checkpoint)
    if found != [kind.__name__]:
        had = shown(" and ".join(map(str, found)) or "no kind of model")
        raise ValueError(f"model: the run in {checkpoint.parent} has {had}, got {kind.__name__}")
    model = kind.from_pretrained(checkpoint, strict=True)
    free = ("evaluate_every", "save_every", "keep")  # these decide no number
    pairs = [(name, getattr(model.config, name), value) for name, value in vars(config).items()]
    pairs += [(name, saved.get(name), value) for name, value in vars(settings).items()]
    for name, had, got in pairs:
        if had != got and name not in free:
            raise ValueError(f"{name}: the run in {checkpoint.parent} has {shown(had)}, got {got}")
    return model

"""`minibert pretrain`: train a masked language model on text files."""

import argparse
import logging
from contextlib import nullcontext
from dataclasses import replace

import numpy as np

from minibert.cli.arguments import new_config, stated_settings
from minibert.cli.output import interactive
from minibert.cli.plot import draw_curves
from minibert.cli.resume import resumed_model
from minibert.data.corpus import Rows
from minibert.data.masking import masked
from minibert.data.sampling import generator
from minibert.data.token_cache import STDIN, expand, fingerprint, tokenize_corpus
from minibert.files import held
from minibert.models import BertForMaskedLM, BertForPreTraining
from minibert.objectives.evaluation import count_tokens, warn_of_text
from minibert.runtime.threads import number_of_threads
from minibert.tokenization import WordPieceTokenizer
from minibert.training import (
    AdamW,
    Interrupted,
    Settings,
    train_masked_lm,
    unigram_score,
)
from minibert.training.checkpoint import checkpoints, read_state, restore_optimizer
from minibert.training.defaults import pretraining_rate
from minibert.training.pretraining import steps_in
from minibert.training.ranks import ending_together, launched_ranks

log = logging.getLogger("minibert")

HELD_OUT = 0.05  # of the documents, where no held-out files are given
HELD_OUT_ROWS = 4096  # of the held-out text, at most, are measured on


def run(options: argparse.Namespace) -> None:
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
    corpus = ranks.one_by_one(lambda: _tokens(options, tokenizer, ranks))
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


def _tokens(options, tokenizer, ranks):
    files = expand(options.files)
    if ranks.size > 1 and STDIN in files:
        raise ValueError("standard input: it can't be shared by several ranks; name a file")
    held_out = expand(options.held_out) if options.held_out else HELD_OUT
    workers = number_of_threads(options.threads) if ranks.size == 1 and _large(files) else 1
    return tokenize_corpus(files, tokenizer, held_out=held_out, workers=workers)


def _large(files):
    """Whether a text is worth the second that it takes to start processes."""
    return STDIN in files or sum(path.stat().st_size for path in files if path.exists()) > 8e6

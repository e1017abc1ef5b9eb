"""The sub-commands that train: a tokenizer, a masked language model, a classifier."""

import argparse
import importlib.util
import logging
from dataclasses import replace

import numpy as np

from minibert.commands.shared import interactive, print_scores, read, report_cut
from minibert.config import PRESETS, BertConfig
from minibert.data.batching import generator, steps_per_epoch
from minibert.data.corpus import Rows, read_corpus
from minibert.data.masking import masked
from minibert.data.tokens import STDIN, expand, fingerprint, tokenize_corpus
from minibert.files import claim, creating, read_json
from minibert.models import BertForMaskedLM, BertForPreTraining, BertForSequenceClassification
from minibert.threads import number_of_threads
from minibert.tokenization import WordPieceTokenizer
from minibert.training import (
    AdamW,
    Examples,
    Interrupted,
    Settings,
    evaluate_classifier,
    train_classifier,
    train_masked_lm,
    unigram_score,
)
from minibert.training.checkpoint import checkpoints, read_state, restore_optimizer
from minibert.training.evaluation import count_tokens, warn_of_text
from minibert.training.history import draw
from minibert.training.pretrain import steps_in
from minibert.training.ranks import ending_together, launched_ranks

log = logging.getLogger("minibert")

HELD_OUT = 0.05  # of the documents, where no held-out files are given
HELD_OUT_ROWS = 4096  # of the held-out text, at most, are measured on
# Narrow models learn faster with larger initial weights and bear a higher rate. For tiny and for
# the built-in corpus, 64 tokens a row, after 800 steps the held-out loss was 0.10 lower with 0.06
# (0.68 / √128) than with 0.02, and a rate of 0.005 was no better than counts after 600. mini, 800
# steps of 64 x 32 tokens, had 5.61 with the rule's rate and spread, and with twice the rate 6.18,
# no better than counts (6.17). For wider models both come near BERT's own 0.02 and small rates.
RATE_BY_WIDTH, SPREAD_BY_WIDTH = 0.256, 0.68


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
        _pretrain(options, ranks)


def _pretrain(options, ranks):
    found = checkpoints(options.out) if options.resume else []
    if options.resume and not found:
        raise FileNotFoundError(f"{options.out}: no checkpoint to resume from")
    if not options.resume and not ranks.rank:
        claim(options.out)
    if ranks.rank:
        logging.disable()  # one speaks for all
    tokenizer = WordPieceTokenizer.from_pretrained(options.tokenizer)
    config = _config(options, tokenizer)
    if options.learning_rate is None:
        options.learning_rate = RATE_BY_WIDTH / config.hidden_size
    settings = _settings(options, 2400 if options.steps is None else options.steps)
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
        model, optimizer = _resumed(found[-1], kind, config, settings)
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
    _draw_curves(options.out)
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


def _draw_curves(run):
    """Draw a run's curves at its end, if there is matplotlib to draw with."""
    if importlib.util.find_spec("matplotlib"):
        draw(run, run / "curves.svg")


def plot(options: argparse.Namespace) -> None:
    """Draw a run's curves."""
    out = options.out or options.run / "curves.svg"
    draw(options.run, out)
    print(out)


def finetune(options: argparse.Namespace) -> None:
    """Train a classifier."""
    found = checkpoints(options.out) if options.resume else []
    if options.resume and not found:
        raise FileNotFoundError(f"{options.out}: no checkpoint to resume from")
    if not options.resume:
        claim(options.out)
    for name in ("size", "length", "activation", "positions") if options.model else ():
        if getattr(options, name) is not None:
            raise ValueError(f"--{name}: leave it out, the model in {options.model} decides it")
    for name in ("epochs", "batch_size"):
        if getattr(options, name) < 1:
            raise ValueError(f"{name}: expected at least 1, got {getattr(options, name)}")
    rows = read(options, options.file, labelled=True)
    names = sorted({row.label or "" for row in rows})
    if len(names) < 2:
        raise ValueError(f"{options.file}: expected two classes or more, got only {names[0]!r}")
    id2label = dict(enumerate(names))
    label2id = {label: i for i, label in id2label.items()}
    examples = Examples.of(rows, label2id, str(options.file))
    held_out = None
    if options.held_out:
        held_out_rows = read(options, options.held_out, labelled=True)
        held_out = Examples.of(held_out_rows, label2id, str(options.held_out))
    settings = _settings(
        options, options.epochs * steps_per_epoch(len(examples), options.batch_size)
    )
    tokenizer = WordPieceTokenizer.from_pretrained(options.model or options.tokenizer)
    if options.model:
        model = BertForSequenceClassification.from_pretrained(
            options.model,
            seed=settings.seed,
            id2label=id2label,
            problem_type=None,  # the checkpoint's own labels may have been numbers
            hidden_dropout_prob=options.dropout,
            attention_probs_dropout_prob=options.dropout,
        )
    else:
        config = replace(_config(options, tokenizer), id2label=id2label)
        model = BertForSequenceClassification(config, seed=settings.seed)
    settings = replace(settings, tokenizer=fingerprint(tokenizer), data=examples.checksum())
    optimizer = None
    if found:
        kind, config = BertForSequenceClassification, model.config
        model, optimizer = _resumed(found[-1], kind, config, settings)
        print(f"going on after step {optimizer.step}")
    if options.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    for texts in (examples, held_out):
        if texts is not None:
            report_cut(tokenizer, texts.texts, texts.pairs, model)
    try:
        train_classifier(
            model,
            tokenizer,
            examples,
            settings,
            held_out=held_out,
            optimizer=optimizer,
            run=options.out,
            threads=options.threads,
            progress=interactive(),
        )
    except Interrupted as stop:
        raise Interrupted(f"{stop}; the same command with --resume goes on") from None
    tokenizer.save_pretrained(options.out)
    model.save_pretrained(options.out)
    if held_out:
        print_scores(evaluate_classifier(model, tokenizer, held_out, threads=options.threads))
    _draw_curves(options.out)
    print(f"{options.out}: the classifier; try: minibert predict {options.out} 'some text'")


def _settings(options, steps):
    return Settings(
        steps=steps,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        warmup=options.warmup,
        weight_decay=options.weight_decay,
        clip=options.clip,
        seed=options.seed,
        shards=options.shards,
        evaluate_every=options.evaluate_every,
        save_every=options.save_every,
        keep=options.keep,
    )


def _config(options, tokenizer):
    size, length = options.size or "tiny", 32 if options.length is None else options.length
    if length < 3:
        raise ValueError(f"length: expected at least 3 tokens, got {length}")
    return BertConfig.preset(
        size,
        initializer_range=round(SPREAD_BY_WIDTH / PRESETS[size]["hidden_size"] ** 0.5, 3),
        vocab_size=len(tokenizer),
        max_position_embeddings=length,
        hidden_act=options.activation or "gelu",
        position_embedding_type=options.positions or "absolute",
        hidden_dropout_prob=options.dropout,
        attention_probs_dropout_prob=options.dropout,
        pad_token_id=tokenizer.pad_token_id,
    )


def _resumed(checkpoint, kind, config, settings):
    """Read a run's model and optimizer, if `config` and `settings` are the run's own."""
    saved = read_state(checkpoint)["settings"]
    (architecture,) = read_json(checkpoint / "config.json").get("architectures", [kind.__name__])
    if architecture != kind.__name__:
        raise ValueError(
            f"model: the run in {checkpoint.parent} has {architecture}, got {kind.__name__}"
        )
    model = kind.from_pretrained(checkpoint, strict=True)
    free = ("evaluate_every", "save_every", "keep")  # these decide no number
    pairs = [(name, getattr(model.config, name), value) for name, value in vars(config).items()]
    pairs += [(name, saved.get(name), value) for name, value in vars(settings).items()]
    for name, had, got in pairs:
        if had != got and name not in free:
            raise ValueError(f"{name}: the run in {checkpoint.parent} has {had}, got {got}")
    optimizer = AdamW(model.params, weight_decay=settings.weight_decay)
    restore_optimizer(checkpoint, optimizer)
    return model, optimizer

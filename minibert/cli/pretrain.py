"""`minibert pretrain`: train a masked language model on text files."""

import argparse
import logging
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from minibert.cli.arguments import (
    add_model_arguments,
    add_training_arguments,
    stated_settings,
)
from minibert.cli.output import is_interactive
from minibert.cli.plot import draw_curves
from minibert.cli.resume import resumed_model, with_own
from minibert.data.corpus import MAX_FILES_OF_LINES, DocumentEnd, PackedSequences
from minibert.data.token_cache import (
    STDIN,
    TokenizedCorpus,
    expand,
    fingerprint,
    tokenize_corpus,
)
from minibert.io.locks import run_lock
from minibert.io.text import sanitize
from minibert.models import PreTrained
from minibert.models.config import BertConfig
from minibert.models.table import family_class
from minibert.objectives import MaskedLM
from minibert.objectives.text_warnings import warn_of_text
from minibert.optim import SCHEDULES, Optimizer
from minibert.runtime.threads import number_of_threads
from minibert.tokenization import WordPieceTokenizer
from minibert.training import Interrupted, pretrain
from minibert.training.card import Card, describe_files, write_card
from minibert.training.checkpoint import (
    finish_run,
    read_state,
    restore_optimizer,
    resume_point,
)
from minibert.training.defaults import fresh_config
from minibert.training.initialization import initialize_from_text
from minibert.training.mpi import ending_together, launched_ranks
from minibert.training.pretraining import objective_for, optimizer_for, steps_in
from minibert.training.ranks import ALONE, Ranks
from minibert.training.recipes import (
    DEFAULT_RECIPE,
    OPTIMIZERS,
    RECIPES,
    STARTS,
    PreTraining,
    PretrainingRecipe,
)

log = logging.getLogger("minibert")

ARCHITECTURES = {"bert": "bert", "modern": "modernbert"}  # the model_type of each
STEPS = 2400  # default number of updates
HELD_OUT_FRACTION = 0.05  # of the documents, if no held-out files are given
MAX_HELD_OUT_ROWS = 4096  # sequences of the held-out text that are evaluated
MIN_PARALLEL_BYTES = 8e6  # starting processes takes a second; smaller files are tokenized in one

DESCRIPTION = """
Files contain one paragraph per line and a blank line between documents, or one text per line. They
may be compressed with gzip (.gz), named by a pattern ("texts/*.txt"), read from standard input (-),
and larger than memory. The held-out loss is printed next to that of a unigram baseline, which
predicts each token by its frequency. Ctrl-C stops the run after the current step and saves a
checkpoint; the same command with --resume continues the run. mpiexec -n 4 minibert pretrain ...
divides each step among four processes (extra: mpi).
"""
EXAMPLE = "minibert pretrain corpus/train.txt --tokenizer tokenizer --size tiny --out model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `minibert pretrain`."""
    parser.add_argument("files", nargs="+", help="UTF-8 text files to train on")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder of a tokenizer")
    parser.add_argument(
        "--held-out",
        nargs="+",
        help="text files to evaluate on (default: 5 %% of the documents, or of a single text)",
    )
    parser.add_argument(
        "--documents",
        choices=get_args(DocumentEnd),
        help="what ends a document: a blank line, or each line (default: a blank line; each line "
        f"if there is no blank line in at most {MAX_FILES_OF_LINES} files)",
    )
    recipe = RECIPES[DEFAULT_RECIPE]
    add_model_arguments(parser, dropout=None, length=recipe.length)
    chosen = "chosen by the recipe"
    group = add_training_arguments(
        parser,
        batch_size=f"{chosen}: {recipe.batch_size}",
        learning_rate=f"{chosen}: {recipe.rate_times_width} / width",
        evaluate_every="500",
        others=dict.fromkeys(("warmup", "weight_decay", "clip"), chosen),
    )
    _add_recipe_arguments(group)
    parser.add_argument(
        "--architecture",
        choices=list(ARCHITECTURES),
        default="bert",
        help="bert, or modern: ModernBERT, with pre-norm, rotary positions, a gate and as many "
        "FLOPs; --activation, --positions and --next-sentence are refused with it (default: bert)",
    )
    parser.add_argument(
        "--next-sentence",
        action="store_true",
        help="also train next sentence prediction: whether a text follows another "
        "(BertForPreTraining)",
    )
    duration = parser.add_mutually_exclusive_group()
    duration.add_argument("--steps", type=int, help=f"number of updates (default: {STEPS})")
    duration.add_argument(
        "--minutes",
        type=float,
        help="training time instead of --steps; converted once, at the start, to the number of "
        "updates that this machine computes in that time",
    )
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument(
        "--dtype",
        choices=["float32", "float16"],
        help="format of the weights in --out; float16 halves the file (default: float32)",
    )
    parser.add_argument("--out", type=Path, required=True, help="new folder for the model")


def _add_recipe_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--recipe",
        choices=list(RECIPES),
        help="the choices below that no option states: 2, what learns most in a few minutes; 1, "
        "the default of version 1; bert, near the original paper (default: "
        f"{DEFAULT_RECIPE}; with --resume that of the run)",
    )
    group.add_argument(
        "--optimizer",
        choices=OPTIMIZERS,
        help="of the blocks' matrices; AdamW updates the others (default: chosen by the recipe)",
    )
    group.add_argument(
        "--schedule",
        choices=list(SCHEDULES),
        help="shape of the learning rate over the steps (default: chosen by the recipe)",
    )
    group.add_argument("--beta2", type=float, help="of AdamW (default: chosen by the recipe)")
    group.add_argument(
        "--masked-share",
        type=float,
        help="share of the tokens that are masked in the first step; 15 %% of a held-out text are "
        "masked, whatever the share (default: chosen by the recipe)",
    )
    group.add_argument(
        "--last-masked-share",
        type=float,
        help="the same in the last step (default: that of the first one, or chosen by the recipe)",
    )
    group.add_argument(
        "--initialization",
        choices=STARTS,
        help="random weights, or from the counts of the text (default: chosen by the recipe)",
    )


def run(options: argparse.Namespace) -> None:
    """Pre-train on text files, on as many processes as `mpiexec` started."""
    _require_applicable(options)
    ranks = launched_ranks()
    with ending_together(ranks):
        if options.resume and resume_point(options.out) is None:
            raise FileNotFoundError(f"{options.out}: no checkpoint to resume from")
        # Only rank 0 writes files.
        with nullcontext() if ranks.rank else run_lock(options.out, resume=options.resume):
            _pretrain(options, ranks)


def _require_applicable(options: argparse.Namespace) -> None:
    """Raise ValueError if an option has no meaning for the architecture."""
    for name in ("activation", "positions", "next_sentence"):
        if options.architecture != "bert" and getattr(options, name):
            raise ValueError(
                f"--{name.replace('_', '-')}: leave it out; "
                f"--architecture {options.architecture} determines it"
            )


def _pretrain(options: argparse.Namespace, ranks: Ranks) -> None:
    found = resume_point(options.out) if options.resume else None
    if ranks.rank:
        logging.disable()  # only rank 0 prints
    tokenizer = WordPieceTokenizer.from_pretrained(options.tokenizer)
    known = read_state(found)["settings"] if found else {}
    recipe = _recipe(options.recipe, known.get("recipe"))
    config = _new_config(options, tokenizer, recipe)
    stated = {"steps": STEPS, **stated_settings(options, PreTraining)}
    if "masked_share" in stated:
        stated.setdefault("last_masked_share", stated["masked_share"])
    settings = recipe.settings(config, **stated)
    # Defaults may differ between versions, and minutes were converted when the run started.
    own = {"shards": options.shards is None, "steps": options.minutes is not None}
    settings = with_own(settings, found, [name for name, wanted in own.items() if wanted])
    corpus = ranks.one_by_one(lambda: _tokenize(options, tokenizer, ranks, known.get("data")))
    corpus = _with_held_out(corpus, options, config.max_position_embeddings)
    rows, held_out = _pack(corpus, tokenizer, config.max_position_embeddings, options.files[0])
    settings = replace(settings, tokenizer=fingerprint(tokenizer), data=corpus.key)
    model, optimizer = _start(options, config, settings, found)
    if not found and settings.initialization == "text":
        initialize_from_text(model, corpus.train.stream, tokenizer, settings.seed)
    if found == options.out:
        log.info("%s: this run is finished; nothing is left to train", options.out)
        return
    if options.minutes is not None and not found:
        objective = objective_for(model)(model, tokenizer, rows, None, settings)
        steps = steps_in(options.minutes, model, objective, settings, options.threads)
        settings = replace(settings, steps=ranks.of_first(steps))
        log.info("%s minutes are %s steps", f"{options.minutes:g}", f"{settings.steps:,}")
    epochs = settings.steps * settings.batch_size / len(rows)
    warn_of_text(corpus.repeated, len(corpus.train.stream), tokenizer, epochs)
    ranks.agree("settings", settings)
    ranks.agree("configuration", config)
    ranks.agree("weights", model.params.vector.tobytes())
    objective = objective_for(model)(model, tokenizer, rows, held_out, settings, options.threads)
    try:
        pretrain(
            model,
            objective,
            settings,
            tokenizer,
            optimizer=optimizer,
            run=options.out,
            threads=options.threads,
            ranks=ranks,
            progress=is_interactive(),
        )
    except Interrupted as stop:
        raise Interrupted(f"{stop}; the same command with --resume continues") from None
    if not ranks.rank:
        data = _describe_data(options, corpus, len(held_out))
        _save(options, model, tokenizer, objective, settings, data)


def _recipe(stated: str | None, known: Any) -> PretrainingRecipe:
    """Return the recipe of a name, that of a resumed run where no option states one.

    Raises:
        ValueError: the run has another recipe than the stated one, or its own is damaged or from
            another version of minibert.
    """
    if stated and known and stated != known:  # here, before the settings that differ because of it
        raise ValueError(f"recipe: the run has {sanitize(known)}, got {stated}")
    name = stated or known or DEFAULT_RECIPE
    if not isinstance(name, str) or name not in RECIPES:
        raise ValueError(f"recipe: expected one of {', '.join(RECIPES)}, got {sanitize(name)}")
    return RECIPES[name]


def _save(
    options: argparse.Namespace,
    model: PreTrained,
    tokenizer: WordPieceTokenizer,
    objective: MaskedLM,
    settings: PreTraining,
    data: dict[str, str],
) -> None:
    """Save a trained model with its tokenizer and card, and print its metrics.

    Args:
        options (Namespace): options of the command.
        model (PreTrained): the model.
        tokenizer (WordPieceTokenizer): its tokenizer.
        objective (MaskedLM): evaluates the model.
        settings (PreTraining): settings of the run.
        data (dict): texts of the run by their role.

    Raises:
        FloatingPointError: the held-out loss is not finite.
        ValueError: a weight is too large for `options.dtype`.
    """
    result = objective.result()
    tokenizer.save_pretrained(options.out)
    model.save_pretrained(options.out, dtype=options.dtype)
    if options.dtype == "float16":  # the metrics of the weights in the file, which are rounded
        model.params.vector[:] = model.params.vector.astype(options.dtype)
        objective.latest = result = objective.metrics()
    card = Card.of_pretraining(model, settings, data, objective)
    write_card(options.out, card.text(options.out))
    print(f"held out:          {result}")
    print(f"unigram baseline:  {objective.baseline}")
    draw_curves(options.out)
    if not options.keep_checkpoints:
        finish_run(options.out)
    print(f"{options.out}: the model; try: minibert fill-mask {options.out} 'A [MASK] of words.'")


def _describe_data(
    options: argparse.Namespace, corpus: TokenizedCorpus, evaluated: int
) -> dict[str, str]:
    """Return the texts of a run by their role (dict of str).

    Args:
        options (Namespace): options of the command.
        corpus (TokenizedCorpus): ids of both parts.
        evaluated (int): number of held-out sequences that are evaluated.
    """
    files = describe_files(expand(options.files))
    held_out = f"{HELD_OUT_FRACTION:.0%} of {files}"
    if options.held_out:
        held_out = describe_files(expand(options.held_out))
    sizes = [
        f"{max(len(part.ends), 1):,} documents, {len(part.stream):,} tokens"
        for part in (corpus.train, corpus.held_out)
    ]
    return {
        "training text": f"{files}: {sizes[0]}",
        "held-out text": f"{held_out}: {sizes[1]}; {evaluated:,} sequences are evaluated",
    }


def _new_config(
    options: argparse.Namespace, tokenizer: WordPieceTokenizer, recipe: PretrainingRecipe
) -> BertConfig:
    """Return the configuration of the model (BertConfig) that the options describe."""
    dropout = recipe.dropout if options.dropout is None else options.dropout
    return fresh_config(
        options.size or "tiny",
        tokenizer,
        recipe.length if options.length is None else options.length,
        family_class(ARCHITECTURES[options.architecture], "Config"),
        hidden_act=options.activation or "gelu",
        position_embedding_type=options.positions or "absolute",
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )


def _tokenize(
    options: argparse.Namespace, tokenizer: WordPieceTokenizer, ranks: Ranks, known: str | None
) -> TokenizedCorpus:
    """Return the ids of the files (TokenizedCorpus), from the cache if they are there.

    `known` is the key of the texts that a resumed run states; see `tokenize_corpus`.
    """
    files = expand(options.files)
    if ranks.size > 1 and STDIN in files:
        raise ValueError("standard input: several ranks can't share it; name a file")
    held_out = expand(options.held_out) if options.held_out else HELD_OUT_FRACTION
    in_parallel = ranks.size == 1 and _is_large(files)
    workers = number_of_threads(options.threads) if in_parallel else 1
    return tokenize_corpus(
        files,
        tokenizer,
        held_out=held_out,
        workers=workers,
        known=known,
        document_end=options.documents,
    )


def _with_held_out(
    corpus: TokenizedCorpus, options: argparse.Namespace, length: int
) -> TokenizedCorpus:
    """Return the corpus, cut if its documents are too few; log how the documents were found."""
    name = options.files[0]
    if options.documents is None and corpus.document_end == "lines":
        log.info(
            "%s: no blank line between documents, so each line is read as a text of its own; "
            "--documents blank-lines reads a file as one document",
            name,
        )
    if options.held_out:
        return corpus
    cut = corpus.with_cut(HELD_OUT_FRACTION, least=length)
    if cut is not corpus:
        log.info(
            "%s: too few documents to hold some out, so the last %.0f %% of the text are held out",
            name,
            100 * HELD_OUT_FRACTION,
        )
    return cut


def _is_large(files: list[Path]) -> bool:
    if STDIN in files:
        return True
    return sum(path.stat().st_size for path in files if path.exists()) > MIN_PARALLEL_BYTES


def _pack(
    corpus: TokenizedCorpus, tokenizer: WordPieceTokenizer, length: int, name: str
) -> tuple[PackedSequences, np.ndarray]:
    """Return the training sequences (PackedSequences) and a sample of the held-out ones (S, T).

    Args:
        corpus (TokenizedCorpus): ids of both parts.
        tokenizer (WordPieceTokenizer): tokenizer of the ids.
        length (int): T, tokens per sequence.
        name (str): file named by an error.

    Raises:
        ValueError: one of the parts is empty.
    """
    rows, held_out_rows = (
        PackedSequences(part.stream, tokenizer, length, part.counts)
        for part in (corpus.train, corpus.held_out)
    )
    for part_name, packed in (("to train on", rows), ("held out", held_out_rows)):
        if not len(packed):
            raise ValueError(
                f"{name}: no text {part_name}; expected a longer text, or at least a few dozen "
                "documents, with a blank line between them or one per line"
            )
    log.info(
        "%s tokens to train on, %s held out",
        f"{len(corpus.train.stream):,}",
        f"{len(corpus.held_out.stream):,}",
    )
    # Evenly spaced over the whole held-out text; evaluating more would take too long.
    count = min(len(held_out_rows), MAX_HELD_OUT_ROWS)
    return rows, held_out_rows[np.linspace(0, len(held_out_rows) - 1, count).astype(int)]


def _start(
    options: argparse.Namespace, config: BertConfig, settings: PreTraining, found: Path | None
) -> tuple[Any, Optimizer | None]:
    """Return a new model, or the model of an earlier run with the optimizer of a checkpoint."""
    use = "ForPreTraining" if options.next_sentence else "ForMaskedLM"
    kind = family_class(config.model_type, use)
    optimizer = None
    if found:
        model = resumed_model(options.out, found, kind, config, settings)
        if found != options.out:
            optimizer = optimizer_for(model, settings)
            restore_optimizer(found, optimizer)
            log.info("going on after step %d", optimizer.step)
    else:
        model = kind(config, seed=settings.seed)
    if options.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    return model, optimizer


def packed_texts(
    options: argparse.Namespace, tokenizer: WordPieceTokenizer, length: int, known: str | None
) -> tuple[TokenizedCorpus, PackedSequences, np.ndarray, dict[str, str]]:
    """Return the ids of text files, their sequences, held-out ones, and the texts by their role.

    Args:
        options (Namespace): of a command that has those of pretrain which concern files.
        tokenizer (WordPieceTokenizer): makes the ids.
        length (int): T, tokens per sequence.
        known (str or None): the key of the texts that a resumed run states.

    Raises:
        OSError, ValueError: a file cannot be read, or there is too little text.
    """
    corpus = _with_held_out(_tokenize(options, tokenizer, ALONE, known), options, length)
    rows, held_out = _pack(corpus, tokenizer, length, options.files[0])
    return corpus, rows, held_out, _describe_data(options, corpus, len(held_out))

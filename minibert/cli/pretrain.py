"""`minibert pretrain`: train a masked language model on text files."""

import argparse
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from minibert.cli.arguments import (
    add_documents_argument,
    add_model_arguments,
    add_run_arguments,
    add_training_arguments,
)
from minibert.cli.continued import (
    Source,
    add_continuing_arguments,
    print_before,
    read_source,
    record_before,
    refuse_determined,
)
from minibert.cli.output import is_interactive
from minibert.cli.plot import draw_curves
from minibert.cli.pretrain_budget import STEPS, Budget, tokenizer_of_run
from minibert.cli.pretrain_plan import (
    ARCHITECTURES,
    MASKED_LM,
    OBJECTIVES,
    REPLACED_TOKENS,
    choose_sizes,
    describe_choice,
    model_class,
    new_model_of,
    planned_run,
    with_run,
)
from minibert.cli.ranks import refuse_standard_input, require_agreement, shared_run
from minibert.cli.resume import extended, resumed_model, with_own
from minibert.data.corpus import PackedSequences
from minibert.data.token_cache import (
    STDIN,
    TokenizedCorpus,
    expand,
    files_checksum,
    tokenize_corpus,
)
from minibert.io.text import sanitize
from minibert.models import PreTrained
from minibert.models.config import BertConfig
from minibert.models.replaced_tokens import GENERATOR, GeneratorAndDiscriminator
from minibert.objectives import MaskedLM
from minibert.objectives.text_warnings import warn_of_text
from minibert.optim import SCHEDULES, Optimizer
from minibert.runtime.threads import number_of_threads
from minibert.tokenization import PreTrainedTokenizer, WordPieceTokenizer
from minibert.tokenization.wordpiece import SPECIAL
from minibert.training import pretrain
from minibert.training.card import Card, describe_files, write_card
from minibert.training.checkpoint import (
    finish_run,
    read_state,
    restore_optimizer,
    resume_point,
    save_checkpoint,
)
from minibert.training.initialization import initialize_from_text
from minibert.training.pretraining import objective_for, optimizer_for
from minibert.training.ranks import Ranks
from minibert.training.recipes import (
    DEFAULT_RECIPE,
    OPTIMIZERS,
    RECIPES,
    STARTS,
    PreTraining,
    PretrainingRecipe,
)

log = logging.getLogger("minibert")

HELD_OUT_FRACTION = 0.05  # of the documents, if no held-out files are given
MAX_HELD_OUT_ROWS = 4096  # sequences of the held-out text that are evaluated
MIN_PARALLEL_BYTES = 8e6  # starting processes takes a second; smaller files are tokenized in one

DESCRIPTION = """
Files contain one paragraph per line and a blank line between documents, or one text per line. They
may be compressed with gzip (.gz), named by a pattern ("texts/*.txt"), read from standard input (-),
and larger than memory. The held-out loss is printed next to that of a unigram baseline, which
predicts each token by its frequency. With --minutes, size, length and batch are chosen for the text
and this machine where no option states them, and without --tokenizer a vocabulary is learned from
the text; a few lines say what was chosen, and why. Ctrl-C stops the run after the current step and
saves a checkpoint; the same command with --resume continues the run. mpiexec -n 4 minibert pretrain
... divides each step among four processes (extra: mpi).
"""
EXAMPLE = "minibert pretrain corpus/train.txt --minutes 10 --out model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `minibert pretrain`."""
    parser.add_argument("files", nargs="+", help="UTF-8 text files to train on")
    _add_vocabulary_arguments(parser)
    parser.add_argument(
        "--held-out",
        nargs="+",
        help="text files to evaluate on (default: 5 %% of the documents, or of a single text)",
    )
    add_documents_argument(parser)
    recipe = RECIPES[DEFAULT_RECIPE]
    add_model_arguments(parser, dropout=None, length=recipe.length)
    add_continuing_arguments(parser)
    chosen = "chosen by the recipe"
    group = add_training_arguments(
        parser,
        batch_size=f"{chosen}: {recipe.batch_size}",
        learning_rate=f"{chosen}: {recipe.rate_times_width} / width",
        evaluate_every="500",
        others=dict.fromkeys(("warmup", "weight_decay", "clip"), chosen),
    )
    _add_recipe_arguments(group)
    _add_task_arguments(parser)
    _add_duration_arguments(parser)
    parser.add_argument(
        "--dtype",
        choices=["float32", "float16"],
        help="format of the weights in --out; float16 halves the file (default: float32)",
    )
    add_run_arguments(
        parser,
        "model",
        "; a finished one with more --steps: from its newest checkpoint if --keep-checkpoints kept "
        "it, otherwise from its weights with a new warm-up",
    )


def _add_task_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the model is and what it learns."""
    parser.add_argument(
        "--architecture",
        choices=list(ARCHITECTURES),
        help="bert; modern: ModernBERT, with pre-norm, rotary positions, a gate and as many FLOPs; "
        "or albert: ALBERT, whose layers share their parameters; --activation, --positions and "
        "--next-sentence are refused with both (default: bert)",
    )
    parser.add_argument(
        "--objective",
        choices=OBJECTIVES,
        help="masked-lm: predict masked tokens; or replaced-tokens: an ELECTRA, whose "
        "discriminator finds the tokens that a generator of a quarter of its width replaced; both "
        f"are saved, the generator in OUT/{GENERATOR} (default: {MASKED_LM}; with --resume that of "
        "the run)",
    )
    parser.add_argument(
        "--next-sentence",
        action="store_true",
        help="also train next sentence prediction: whether a text follows another "
        "(BertForPreTraining)",
    )
    parser.add_argument(
        "--sentence-order",
        action="store_true",
        help="with --architecture albert: also train sentence-order prediction: whether two "
        "segments of a text were swapped (AlbertForPreTraining)",
    )


def _add_vocabulary_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tokenizer",
        type=Path,
        help="folder of a tokenizer (default: one that is learned from the text and saved with the "
        "model; with --resume that of the run)",
    )
    parser.add_argument(
        "--vocab-size",
        type=int,
        help="number of tokens in the vocabulary that is learned without --tokenizer (default: as "
        "many as occur often enough in the text and in what the run reads)",
    )


def _add_duration_arguments(parser: argparse.ArgumentParser) -> None:
    duration = parser.add_mutually_exclusive_group()
    duration.add_argument("--steps", type=int, help=f"number of updates (default: {STEPS})")
    duration.add_argument(
        "--minutes",
        type=float,
        help="time of the whole command, but for the last evaluation, instead of --steps; "
        "converted once, at the start, to the number of updates that this machine computes; it "
        "chooses --size, --length and --batch-size too, where they are not stated",
    )


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
        "--whole-words",
        action="store_true",
        help="mask all pieces of a word together; the share of the tokens stays the same",
    )
    group.add_argument(
        "--initialization",
        choices=STARTS,
        help="random weights, or from the counts of the text (default: chosen by the recipe)",
    )


def run(options: argparse.Namespace) -> None:
    """Pre-train on text files, on as many processes as `mpiexec` started."""
    budget = None if options.minutes is None else Budget(options.minutes)
    _require_applicable(options)
    with shared_run(options) as ranks:
        _pretrain(options, ranks, budget)


def _require_applicable(options: argparse.Namespace) -> None:
    """Raise ValueError if another option determines what an option states."""
    refuse_determined(options)
    _require_one_objective(options)
    architecture = options.architecture or "bert"
    if options.sentence_order and not options.model and architecture != "albert":
        raise ValueError(
            "--sentence-order: expected --architecture albert, whose task it is, got "
            + architecture
        )
    for name in ("activation", "positions", "next_sentence"):
        if architecture != "bert" and getattr(options, name):
            raise ValueError(
                f"--{name.replace('_', '-')}: leave it out; "
                f"--architecture {architecture} determines it"
            )
    if options.tokenizer and options.vocab_size is not None:
        raise ValueError(f"--vocab-size: leave it out; {options.tokenizer} determines it")


def _require_one_objective(options: argparse.Namespace) -> None:
    """Raise ValueError if another option contradicts replaced tokens, also those of a run."""
    if options.objective != REPLACED_TOKENS:
        return
    if options.model:
        raise ValueError(
            f"--model: leave it out; --objective {REPLACED_TOKENS} begins with new models"
        )
    for name in ("architecture", "positions", "next_sentence", "sentence_order"):
        if getattr(options, name):
            raise ValueError(
                f"--{name.replace('_', '-')}: leave it out; --objective {REPLACED_TOKENS} "
                "determines it"
            )


def _pretrain(options: argparse.Namespace, ranks: Ranks, budget: Budget | None) -> None:
    found = resume_point(options.out) if options.resume else None
    known = read_state(found)["settings"] if found else {}
    recipe = _recipe(options.recipe, known.get("recipe"))
    source = read_source(options)
    # What no option states is that of a resumed run. Its minutes were converted when it started.
    own = [name for name in ("shards", "batch_size", "steps") if getattr(options, name) is None]
    if found:
        options = with_run(options, found)
        _require_one_objective(options)
    if not (options.tokenizer or found or source):
        # Bad options are refused before a vocabulary is learned.
        planned_run(options, WordPieceTokenizer(list(SPECIAL.values())), recipe)
    tokenizer = tokenizer_of_run(options, recipe, found, budget, ranks, source)
    config, settings = planned_run(options, tokenizer, recipe, source)
    settings = extended(with_own(settings, found, [*own, "chosen"]), options.out, found)
    corpus = ranks.one_by_one(lambda: _tokenize(options, tokenizer, ranks, known.get("data")))
    corpus = _with_held_out(corpus, options, _length(config, source))
    _require_text(corpus, options, _length(config, source))
    planned, seconds = options, 0.0
    if budget and not found:
        planned, seconds = choose_sizes(options, tokenizer, recipe, corpus, budget, ranks, source)
        config, settings = planned_run(planned, tokenizer, recipe, source)
    rows, held_out = _pack(corpus, tokenizer, _length(config, source))
    settings = replace(settings, tokenizer=files_checksum(tokenizer), data=corpus.key)
    model, optimizer = _start(options, config, settings, found, source)
    if not found and settings.initialization == "text":
        initialize_from_text(model, corpus.train.stream, tokenizer, settings.seed)
    if found == options.out and settings.extended_from == known.get("extended_from"):
        log.info("%s: this run is finished; nothing is left to train", options.out)
        return
    if budget and not found:
        settings = budget.fill(settings, seconds, len(held_out), ranks, source is not None)
    if not found:
        settings = replace(settings, chosen=describe_choice(options, planned, tokenizer, settings))
    epochs = settings.steps * settings.batch_size / len(rows)
    tokens, learned = len(corpus.train.stream), None if source else tokenizer
    warn_of_text(corpus.repeated, tokens, learned, epochs)
    require_agreement(ranks, settings, model)
    objective = objective_for(model)(model, tokenizer, rows, held_out, settings, options.threads)
    if settings.chosen and not found and not ranks.rank:
        # So nothing is chosen, measured or learned twice, wherever the run is stopped.
        save_checkpoint(options.out, model, tokenizer, optimizer_for(model, settings), settings)
    if source and not ranks.rank and (optimizer is None or not optimizer.step):
        record_before(options.out, objective)
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
    if not ranks.rank:
        data = _describe_data(options, corpus, len(held_out))
        _save(options, model, tokenizer, objective, settings, data)


def _length(config: BertConfig, source: Source | None) -> int:
    """Return T, the number of tokens of the sequences (int)."""
    return source.length if source else config.longest


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
    tokenizer: PreTrainedTokenizer,
    objective: MaskedLM,
    settings: PreTraining,
    data: dict[str, str],
) -> None:
    """Save a trained model with its tokenizer and card, and print its metrics.

    Args:
        options (Namespace): options of the command.
        model (PreTrained): the model.
        tokenizer (PreTrainedTokenizer): its tokenizer.
        objective (MaskedLM): evaluates the model.
        settings (PreTraining): settings of the run.
        data (dict): texts of the run by their role.

    Raises:
        FloatingPointError: the held-out loss is not finite.
        ValueError: a weight is too large for `options.dtype`.
    """
    result = objective.result()
    main, generator = model, None
    if isinstance(model, GeneratorAndDiscriminator):
        main, generator = model.discriminator, options.out / GENERATOR
        tokenizer.save_pretrained(generator)
    tokenizer.save_pretrained(options.out)
    model.save_pretrained(options.out, dtype=options.dtype)
    if options.dtype == "float16":  # the metrics of the weights in the file, which are rounded
        model.params.vector[:] = model.params.vector.astype(options.dtype)
        objective.latest = result = objective.metrics()
    before = print_before(options.out)
    card = Card.of_pretraining(main, settings, data, objective, before)
    write_card(options.out, card.text(options.out))
    print(f"held out:          {result}")
    print(f"unigram baseline:  {objective.baseline}")
    draw_curves(options.out)
    if not options.keep_checkpoints:
        finish_run(options.out)
    text = f"A {tokenizer.mask_token} of words."
    if generator:
        use = f"minibert finetune FILE --model {options.out} --out classifier"
        print(f"{options.out}: the discriminator; try: {use}")
        print(f"{generator}: the generator; try: minibert fill-mask {generator} '{text}'")
        return
    print(f"{options.out}: the model; try: minibert fill-mask {options.out} '{text}'")


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


def _tokenize(
    options: argparse.Namespace, tokenizer: PreTrainedTokenizer, ranks: Ranks, known: str | None
) -> TokenizedCorpus:
    """Return the ids of the files (TokenizedCorpus), from the cache if they are there.

    `known` is the key of the texts that a resumed run states; see `tokenize_corpus`.
    """
    files = expand(options.files)
    refuse_standard_input(ranks, files)
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


def _require_text(corpus: TokenizedCorpus, options: argparse.Namespace, length: int) -> None:
    """Raise ValueError if one of the parts is empty; the message names a file and what is enough.

    Args:
        corpus (TokenizedCorpus): ids of both parts.
        options (Namespace): with the names of the files.
        length (int): T, tokens per sequence.
    """
    held_out = options.held_out or options.files
    for part_name, part, files in (
        ("to train on", corpus.train, options.files),
        ("held out", corpus.held_out, held_out),
    ):
        if len(part.stream) < 2:  # a token and the end of its document
            raise ValueError(
                f"{files[0]}: no text {part_name}; expected a text of at least {2 * length} "
                "tokens, or a few dozen documents, with a blank line between them or one per line"
            )


def _pack(
    corpus: TokenizedCorpus, tokenizer: PreTrainedTokenizer, length: int
) -> tuple[PackedSequences, np.ndarray]:
    """Return the training sequences (PackedSequences) and a sample of the held-out ones (S, T).

    Args:
        corpus (TokenizedCorpus): ids of both parts.
        tokenizer (PreTrainedTokenizer): tokenizer of the ids.
        length (int): T, tokens per sequence.
    """
    rows, held_out_rows = (
        PackedSequences(part.stream, tokenizer, length, part.counts)
        for part in (corpus.train, corpus.held_out)
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
    options: argparse.Namespace,
    config: BertConfig,
    settings: PreTraining,
    found: Path | None,
    source: Source | None,
) -> tuple[Any, Optimizer | None]:
    """Return the model of a run at its start, or that of an earlier run with its optimizer."""
    optimizer = None
    if found:
        kind = model_class(options, config)
        model = resumed_model(options.out, found, kind, config, settings)
        optimizer = optimizer_for(model, settings)
        if found != options.out:
            restore_optimizer(found, optimizer)
            log.info("going on after step %d, with the moments of the optimizer", optimizer.step)
    else:
        model = source.model if source else new_model_of(options, config, settings)
    if options.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    return model, optimizer


def packed_texts(
    options: argparse.Namespace,
    tokenizer: PreTrainedTokenizer,
    length: int,
    known: str | None,
    ranks: Ranks,
) -> tuple[TokenizedCorpus, PackedSequences, np.ndarray, dict[str, str]]:
    """Return the ids of text files, their sequences, held-out ones, and the texts by their role.

    Args:
        options (Namespace): of a command that has those of pretrain which concern files.
        tokenizer (PreTrainedTokenizer): makes the ids.
        length (int): T, tokens per sequence.
        known (str or None): the key of the texts that a resumed run states.
        ranks (Ranks): the processes that share the work.

    Raises:
        OSError, ValueError: a file cannot be read, or there is too little text.
    """
    corpus = ranks.one_by_one(lambda: _tokenize(options, tokenizer, ranks, known))
    corpus = _with_held_out(corpus, options, length)
    _require_text(corpus, options, length)
    rows, held_out = _pack(corpus, tokenizer, length)
    return corpus, rows, held_out, _describe_data(options, corpus, len(held_out))

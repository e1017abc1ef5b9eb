"""`minibert distill`: train a student of few layers from a teacher's."""

import argparse
import copy
import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from minibert.cli.arguments import (
    MODEL_HELP,
    add_column_arguments,
    add_documents_argument,
    add_minutes_argument,
    add_run_arguments,
    add_training_arguments,
    stated_settings,
)
from minibert.cli.distill_inputs import (
    BODY,
    CLASSIFIER,
    LENGTH,
    MASKED_LM,
    Lessons,
    Teacher,
    load_teacher,
    read_lessons,
    require_applicable,
)
from minibert.cli.output import is_interactive
from minibert.cli.plot import draw_curves
from minibert.cli.ranks import require_agreement, shared_run
from minibert.cli.resume import resumed_model, with_own
from minibert.data.token_cache import files_checksum
from minibert.objectives.distillation import Distilled, SoftTokens
from minibert.training import pretrain
from minibert.training.card import THIS, Card, write_card
from minibert.training.checkpoint import (
    finish_run,
    read_state,
    restore_optimizer,
    resume_point,
)
from minibert.training.defaults import default_shards
from minibert.training.distillation import (
    Distillation,
    evenly_spaced,
    make_student,
    optimizer_for,
    weights_checksum,
)
from minibert.training.pretraining import step_seconds, steps_in
from minibert.training.ranks import Ranks

log = logging.getLogger("minibert")

STEPS, BATCH_SIZE = 2400, 32  # default numbers of updates, and of sequences in each
RATE_TIMES_WIDTH = 0.256  # the peak learning rate times D; see docs/guides/distill.md
TRY = {
    MASKED_LM: "fill-mask {} 'A {mask} of words.'",
    CLASSIFIER: "predict {} 'some text'",
    BODY: "embed {} 'some text'",
}

DESCRIPTION = """
The student has some of the teacher's layers, evenly spaced, the first and the last included, and
copies of its embeddings and its head. It learns the teacher's predictions, softened by a
temperature, the labels, and the direction of the teacher's hidden states.
A masked language model is distilled on text files, as pretrain reads them. A teacher without such a
head is distilled on text files by its hidden states alone. A classifier is distilled on tables of
texts, as finetune reads them, whose labels may be missing. The student has the teacher's labels:
one class, any number of labels, or a number for each text.
mpiexec -n 4 minibert distill ... shares the steps among processes (extra: mpi).
"""
EXAMPLE = "minibert distill tiny corpus/train.txt --layers 1 --out student"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `minibert distill`."""
    parser.add_argument("teacher", help=MODEL_HELP)
    parser.add_argument("files", nargs="+", help="UTF-8 text files; for a classifier, tables")
    parser.add_argument(
        "--layers", type=int, help="layers of the student (default: half of the teacher's)"
    )
    parser.add_argument(
        "--held-out",
        nargs="+",
        help="files to evaluate on (default: 5 %% of the documents, or 15 %% of each class)",
    )
    add_documents_argument(parser)
    parser.add_argument(
        "--length",
        type=int,
        help="sequence length of the training, in tokens; not for a classifier (default: "
        f"{LENGTH}, or the teacher's positions if they are fewer)",
    )
    parser.add_argument(
        "--dropout",
        type=float,
        help="dropout rate of hidden states and attention weights (default: the teacher's)",
    )
    add_column_arguments(parser)
    group = add_training_arguments(
        parser,
        batch_size=str(BATCH_SIZE),
        learning_rate=f"{RATE_TIMES_WIDTH} / width",
        evaluate_every="500",
        others={"warmup": "0.1", "weight_decay": "0.01", "clip": "1.0"},
    )
    _add_loss_arguments(parser)
    duration = group.add_mutually_exclusive_group()
    duration.add_argument("--steps", type=int, help=f"number of updates (default: {STEPS})")
    add_minutes_argument(duration, "--steps")
    add_run_arguments(parser, "student")


def _add_loss_arguments(parser: argparse.ArgumentParser) -> None:
    group, default = parser.add_argument_group("loss"), Distillation(steps=1)
    helps = {
        "temperature": "softens the predictions of both models; 1 leaves them as they are",
        "soft_weight": "weight of the teacher's predictions",
        "label_weight": "weight of the labels: the masked tokens, or the labels of the texts",
        "hidden_weight": "weight of the cosine of the hidden states",
        "masked_share": "share of the tokens that are masked",
    }
    for name, text in helps.items():
        group.add_argument(
            f"--{name.replace('_', '-')}",
            type=float,
            help=f"{text} (default: {getattr(default, name)})",
        )
    group.add_argument(
        "--soft-tokens",
        choices=get_args(SoftTokens),
        help="tokens whose predictions are learned from the teacher; all of them take more than "
        f"twice as long (default: {default.soft_tokens})",
    )


def run(options: argparse.Namespace) -> None:
    """Distill a teacher on files, on as many processes as `mpiexec` started."""
    with shared_run(options) as ranks:
        _distill(options, ranks)


def _distill(options: argparse.Namespace, ranks: Ranks) -> None:
    if options.minutes is not None and not 0 < options.minutes < math.inf:
        raise ValueError(f"minutes: expected more than 0, got {options.minutes}")
    found = resume_point(options.out) if options.resume else None
    teacher = load_teacher(options.teacher)
    require_applicable(options, teacher)
    count = teacher.model.config.num_hidden_layers
    chosen = evenly_spaced(count, max(count // 2, 1) if options.layers is None else options.layers)
    start = _new_student(options, teacher, chosen)
    settings, lessons = _settings(options, teacher, found, ranks)
    if lessons.task is not None:
        for model in (teacher.model, start):
            lessons.task.normalize_head(model)
    student = copy.deepcopy(start)
    if found:
        student = resumed_model(options.out, found, type(start), start.config, settings)
    if found == options.out:
        log.info("%s: this run is finished; nothing is left to train", options.out)
        return
    optimizer = optimizer_for(student, settings)
    if found:
        restore_optimizer(found, optimizer)
        log.info("going on after step %d", optimizer.step)
    if options.gradient_checkpointing:
        student.gradient_checkpointing_enable()
    if options.minutes is not None and not found:
        objective = lessons.objective(student, settings, False)
        step = step_seconds(student, objective, settings, options.threads, ranks)
        settings = replace(settings, steps=max(steps_in(60 * options.minutes, step, settings), 1))
        log.info("%s minutes are %s steps", f"{options.minutes:g}", f"{settings.steps:,}")
    require_agreement(ranks, settings, student)
    objective = lessons.objective(student, settings, True)
    scores = {} if ranks.rank else _scores_before(objective, teacher, start)
    pretrain(
        student,
        objective,
        settings,
        teacher.tokenizer,
        optimizer=optimizer,
        run=options.out,
        threads=options.threads,
        ranks=ranks,
        title="distilling",
        progress=is_interactive(),
    )
    if ranks.rank:
        return
    layers = ", ".join(map(str, chosen))
    recipe = {"start": f"layers {layers} of {teacher.name}, from 0", "optimizer": "adamw"}
    scores = {THIS: objective.score(student), **scores}
    if lessons.task is not None:
        lessons.task.denormalize_head(student)
    mask = teacher.tokenizer.mask_token
    _save(options, teacher, Card(student, settings, lessons.data, scores, recipe, mask))


def _scores_before(objective: Distilled, teacher: Teacher, start: Any) -> dict[str, str]:
    """Return what the student is compared with by name, and log it."""
    scores = {
        f"the teacher, {teacher.name}": objective.score(teacher.model),
        "its layers before the training": objective.score(start),
    }
    if baseline := getattr(objective, "baseline", None):  # of a masked LM
        scores["unigram baseline"] = str(baseline)
    for name, score in scores.items():
        log.info("%s: %s", name, score)
    return scores


def _new_student(options: argparse.Namespace, teacher: Teacher, chosen: Sequence[int]) -> Any:
    """Return the student before its training, and log where its layers are from."""
    changes = {}
    if options.dropout is not None:
        names = ("hidden_dropout_prob", "attention_probs_dropout_prob")
        changes = dict.fromkeys(names, options.dropout)
    student = make_student(teacher.model, chosen, **changes)
    log.info(
        "the student has the layers %s of %d, from 0, and %s of %s parameters",
        ", ".join(map(str, chosen)), teacher.model.config.num_hidden_layers,
        f"{student.params.vector.size:,}", f"{teacher.model.params.vector.size:,}",
    )  # fmt: skip
    return student


def _settings(
    options: argparse.Namespace, teacher: Teacher, found: Path | None, ranks: Ranks
) -> tuple[Distillation, Lessons]:
    """Return the settings of a run, and its texts.

    Args:
        options (Namespace): options of the command.
        teacher (Teacher): decides how the files are read.
        found (Path or None): the folder that `resume_point` returns.
        ranks (Ranks): the processes that share the work.
    """
    stated = stated_settings(options, Distillation)
    stated["teacher"] = weights_checksum(teacher.model)  # in place of its name
    defaults = {
        "steps": STEPS,
        "batch_size": BATCH_SIZE,
        "learning_rate": RATE_TIMES_WIDTH / teacher.model.config.hidden_size,
        "tokenizer": files_checksum(teacher.tokenizer),
    }
    # A wrong option is named before the texts are read.
    Distillation(**{"shards": 1, **defaults, **stated})
    known = read_state(found)["settings"] if found else {}
    lessons = read_lessons(options, teacher, known.get("data"), ranks)
    shards = default_shards(stated.get("batch_size", BATCH_SIZE), lessons.tokens)
    settings = Distillation(**{"shards": shards, **defaults, **stated, **lessons.settings})
    # Defaults may differ between versions, and minutes were converted when the run started.
    own = {"shards": options.shards is None, "steps": options.steps is None}
    return with_own(settings, found, [name for name, wanted in own.items() if wanted]), lessons


def _save(options: argparse.Namespace, teacher: Teacher, card: Card) -> None:
    """Save a trained student with its tokenizer and card, and print the scores."""
    teacher.tokenizer.save_pretrained(options.out)
    card.model.save_pretrained(options.out)
    if teacher.use == CLASSIFIER:
        teacher.labels().save(options.out)
    write_card(options.out, card.text(options.out))
    for name, score in card.scores.items():
        print(f"{name}: {score}")
    draw_curves(options.out)
    if not options.keep_checkpoints:
        finish_run(options.out)
    command = TRY[teacher.use].format(options.out, mask=teacher.tokenizer.mask_token)
    print(f"{options.out}: the student; try: minibert {command}")

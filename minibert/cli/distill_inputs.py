"""What `minibert distill` reads: a teacher, and the texts that suit it."""

import argparse
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from minibert.cli.labelled_files import pairs_of, parse_labels, require_input_kind
from minibert.cli.output import report_truncated
from minibert.cli.pretrain import packed_texts
from minibert.cli.ranks import refuse_standard_input
from minibert.data.splits import stratified_split
from minibert.data.tables import read_records
from minibert.data.token_cache import expand
from minibert.io.text import sanitize
from minibert.models.checkpoints import read_architectures, read_config
from minibert.models.hub import bare_name, checkpoint_folder
from minibert.models.table import family_class
from minibert.objectives import (
    Distilled,
    DistilledClassifier,
    DistilledHiddenStates,
    DistilledMaskedLM,
)
from minibert.tasks.base import Task
from minibert.tasks.examples import Examples
from minibert.tasks.folders import EstimatorFile, task_of
from minibert.tokenization import AutoTokenizer, PreTrainedTokenizer
from minibert.training.card import describe_files
from minibert.training.distillation import Distillation
from minibert.training.finetuning import mean_tokens
from minibert.training.ranks import Ranks

log = logging.getLogger("minibert")

LENGTH = 128  # default, in tokens; the student reads texts as long as its teacher does
HELD_OUT_FRACTION = 0.15  # of the texts of each class, if no held-out files are given
# What a teacher is read as: the end of its class.
MASKED_LM, CLASSIFIER, BODY = "ForMaskedLM", "ForSequenceClassification", "Model"
# The problems of a classifier whose teacher predicts a number, or any number of labels.
NUMBERS, SEVERAL = "regression", "multi_label_classification"
# The options that have no meaning for these teachers.
COLUMNS = ("text", "label", "pair")
REFUSED = {
    MASKED_LM: COLUMNS,
    CLASSIFIER: ("length", "documents", "soft_tokens", "masked_share"),
    BODY: (*COLUMNS, "temperature", "soft_weight", "label_weight", "soft_tokens", "masked_share"),
    NUMBERS: ("temperature",),  # as well as those of a classifier
}


@dataclass(frozen=True)
class Teacher:
    """A teacher: its model, its tokenizer, what it is read as, its name and its folder."""

    model: Any
    tokenizer: PreTrainedTokenizer
    use: str
    name: str
    folder: Path

    def task(self) -> Task:
        """Return what a classifier labels, with the thresholds of its folder."""
        return task_of(self.folder, self.model).with_activation(None)

    def labels(self) -> EstimatorFile:
        """Return what the folder of a classifier states of its labels."""
        found = EstimatorFile.read(self.folder, self.task().names)
        return EstimatorFile(found.classes, found.thresholds)


@dataclass(frozen=True)
class Lessons:
    """The texts of a run.

    Attributes:
        objective: makes the objective of a student and settings; the third argument is whether
            there are evaluations.
        data: the texts by their role, for the card.
        settings: the settings that the texts decide.
        tokens: mean number of tokens of a sequence.
        task: of a classifier, in the unit in which it is trained.
    """

    objective: Callable[[Any, Distillation, bool], Distilled]
    data: dict[str, str]
    settings: dict[str, Any]
    tokens: float
    task: Task | None = None


def load_teacher(name: str) -> Teacher:
    """Load a model with its masked-LM head or its classifier; any other without its head.

    Args:
        name (str): of a model, as in `models.hub.find_folder`.

    Raises:
        OSError, ValueError: there is no model, or it does not fit its tokenizer.
    """
    folder = checkpoint_folder(name)
    architectures = [str(each) for each in read_architectures(folder)]
    use = BODY
    # An `ElectraForPreTraining` is a discriminator, which has no masked-LM head.
    both = ("BertForPreTraining", "AlbertForPreTraining")
    if any(each.endswith(MASKED_LM) or each in both for each in architectures):
        use = MASKED_LM
    elif any(each.endswith(CLASSIFIER) for each in architectures):
        use = CLASSIFIER
    kind = family_class(read_config(folder).model_type, use)
    model = kind.from_pretrained(folder, strict=use != BODY)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    most = model.config.vocab_size
    if len(tokenizer) > most:
        raise ValueError(
            f"{folder}: tokenizer: expected at most {most} tokens, the model's, got "
            f"{len(tokenizer)}"
        )
    return Teacher(model, tokenizer, use, sanitize(bare_name(name)), folder)


def require_applicable(options: argparse.Namespace, teacher: Teacher) -> None:
    """Log what is distilled; raise ValueError for an option without a meaning for the teacher."""
    problem = getattr(teacher.model, "problem", "")
    for name in (*REFUSED[teacher.use], *REFUSED.get(problem, ())):
        if getattr(options, name) is not None:
            option, kind = name.replace("_", "-"), type(teacher.model).__name__
            kind += f" for {problem}" * (problem in REFUSED)
            raise ValueError(f"--{option}: leave it out; it has no meaning for a {kind}")
    if teacher.use == CLASSIFIER:
        learned = "predicts numbers" if problem == NUMBERS else "is a classifier"
        labels = "numbers" if problem == NUMBERS else "classes"
        log.info("%s %s: the student learns its %s", teacher.name, learned, labels)
    elif teacher.use == BODY:
        log.info("%s has no masked-LM head: its hidden states alone are distilled", teacher.name)


def read_lessons(
    options: argparse.Namespace, teacher: Teacher, known: str | None, ranks: Ranks
) -> Lessons:
    """Return the texts of a run (`Lessons`): tables for a classifier, otherwise text files.

    Args:
        options (Namespace): options of the command.
        teacher (Teacher): decides how the files are read.
        known (str or None): the key of the texts that a resumed run states.
        ranks (Ranks): the processes that share the work.

    Raises:
        OSError, ValueError: a file cannot be read, or has no text for the teacher.
    """
    if teacher.use == CLASSIFIER:
        refuse_standard_input(ranks, expand([*options.files, *(options.held_out or ())]))
        return _labelled_texts(options, teacher)
    return _packed_sequences(options, teacher, known, ranks)


def _packed_sequences(
    options: argparse.Namespace, teacher: Teacher, known: str | None, ranks: Ranks
) -> Lessons:
    model, tokenizer, threads = teacher.model, teacher.tokenizer, options.threads
    positions = model.config.longest
    length = min(LENGTH, positions) if options.length is None else options.length
    if not 3 <= length <= positions:
        raise ValueError(f"length: expected 3 to {positions} tokens, the teacher's, got {length}")
    corpus, rows, held_out, data = packed_texts(options, tokenizer, length, known, ranks)

    def objective(student: Any, settings: Distillation, evaluated: bool) -> Distilled:
        kind = DistilledMaskedLM if teacher.use == MASKED_LM else DistilledHiddenStates
        texts = held_out if evaluated else None
        return kind(student, model, tokenizer, rows, texts, settings, threads)

    settings: dict[str, Any] = {"data": corpus.key}
    if teacher.use == BODY:
        settings |= {"soft_weight": 0.0, "label_weight": 0.0}
    return Lessons(objective, data, settings, length)


def _labelled_texts(options: argparse.Namespace, teacher: Teacher) -> Lessons:
    model, tokenizer, task = teacher.model, teacher.tokenizer, teacher.task()
    examples, labelled = _read_examples(options.files, options, teacher, task)
    file = describe_files(expand(options.files))
    if options.held_out:
        held_out, _ = _read_examples(options.held_out, options, teacher, task)
        evaluated_file = describe_files(expand(options.held_out))
    else:
        chosen = stratified_split(task.strata(examples.labels), HELD_OUT_FRACTION, options.seed)
        if not len(chosen):
            raise ValueError(f"{options.files[0]}: too few rows to hold some out; use --held-out")
        examples, held_out = examples.split(chosen.tolist())
        evaluated_file = f"{HELD_OUT_FRACTION:.0%} of {file}"
    settings: dict[str, Any] = {"data": examples.checksum()}
    if not labelled:
        if options.label_weight:
            raise ValueError(f"--label-weight: {options.files[0]} has no labels")
        settings["label_weight"] = 0.0
        log.info("%s: without labels, so the teacher's labels are the only targets", file)
    task = task.standardized(examples.labels)
    for part in (examples, held_out):
        report_truncated(task, model, tokenizer, part)

    def objective(student: Any, settings: Distillation, evaluated: bool) -> Distilled:
        return DistilledClassifier(
            student, model, tokenizer, task, examples, settings,
            held_out=held_out if evaluated else None, threads=options.threads,
        )  # fmt: skip

    data = {
        "training texts": f"{file}: {len(examples):,} texts",
        "held-out texts": f"{evaluated_file}: {len(held_out):,} texts",
    }
    tokens = mean_tokens(task, examples, tokenizer, model)
    return Lessons(objective, data, settings, tokens, task)


def _read_examples(
    patterns: Sequence[str], options: argparse.Namespace, teacher: Teacher, task: Task
) -> tuple[Examples, bool]:
    """Return the texts of tables, and whether they have labels (bool).

    Texts without labels get those that the teacher predicts, for the evaluation. In a file with
    labels, an empty one is that of a text without any, or refused.
    """
    files = expand(patterns)
    columns, several = (options.text, options.label, options.pair), teacher.model.problem == SEVERAL
    tables = [read_records(file, *columns, may_be_empty=True, indicators=several) for file in files]
    labels: list[Any] = []
    for file, rows in zip(files, tables, strict=True):
        require_input_kind(type(task), rows, file)
        given = any(row.label is not None for row in rows)
        if given != bool(labels) and file != files[0]:
            raise ValueError(f"{file}: expected a label for every text, or for none")
        if given:
            labels += parse_labels(type(task), rows, file, task)
            if unknown := task.count_unseen(labels):
                raise ValueError(
                    f"{file}: expected labels among the teacher's classes, "
                    f"{', '.join(task.names)}, got {next(iter(unknown))!r}"
                )
    rows = list(chain.from_iterable(tables))
    texts, pairs = [row.text for row in rows], pairs_of(rows)
    if labels:
        return Examples(texts, pairs, labels), True
    outputs = task.predict(teacher.model, teacher.tokenizer, texts, pairs, threads=options.threads)
    return Examples(texts, pairs, task.decode_outputs(outputs)), False

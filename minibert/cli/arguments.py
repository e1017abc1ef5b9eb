"""Arguments that several commands share, and the settings made from them."""

import argparse
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args

from minibert.data.corpus import MAX_FILES_OF_LINES, DocumentEnd
from minibert.io.atomic import settled
from minibert.models.config import ACTIVATIONS, POSITIONS, PRESETS
from minibert.training.loop import Settings

# Help of an argument that names a pre-trained model.
MODEL_HELP = (
    "folder of a model, its name on the hub, tiny (pre-trained, part of minibert) or minilm"
)


def add_model_arguments(
    parser: argparse.ArgumentParser, *, dropout: float | None, length: int, size: str = "tiny"
) -> None:
    """Add the arguments that describe a new model.

    Args:
        parser (ArgumentParser): parser of a command.
        dropout (float): default dropout rate; None: the recipe decides.
        length (int): default length of the longest sequence, for the help text; the value of an
            option that is not given is None, because `finetune --model` refuses these options.
        size (str): description of the default size.
    """
    group = parser.add_argument_group("a new model")
    group.add_argument(
        "--size",
        choices=list(PRESETS),
        help="number of layers, width and heads of a model that is trained from scratch (default: "
        f"{size})",
    )
    group.add_argument(
        "--length",
        type=int,
        help=f"maximum sequence length in tokens, [CLS] and [SEP] included (default: {length})",
    )
    group.add_argument(
        "--activation",
        choices=ACTIVATIONS,
        help="activation function of the feed-forward layers (default: gelu)",
    )
    group.add_argument(
        "--positions",
        choices=POSITIONS,
        help="position embeddings: learned (absolute) or fixed (sinusoidal) (default: absolute)",
    )
    group.add_argument(
        "--dropout",
        type=float,
        default=dropout,
        help="dropout rate of hidden states and attention weights (default: "
        f"{'chosen by the recipe' if dropout is None else dropout})",
    )


def add_training_arguments(
    parser: argparse.ArgumentParser,
    *,
    batch_size: str,
    learning_rate: str,
    evaluate_every: str,
    others: Mapping[str, str],
) -> argparse._ArgumentGroup:
    """Add the arguments of training and return their group.

    Args:
        parser (ArgumentParser): parser of a command.
        batch_size, learning_rate, evaluate_every (str): descriptions of the defaults.
        others (dict): those of `warmup`, `weight_decay` and `clip`.
    """
    group = parser.add_argument_group("training")
    group.add_argument(
        "--batch-size",
        type=int,
        help=f"sequences per step (default: {batch_size})",
    )
    group.add_argument(
        "--learning-rate", type=float, help=f"peak learning rate (default: {learning_rate})"
    )
    group.add_argument(
        "--warmup",
        type=float,
        help="fraction of the steps in which the learning rate rises (default: "
        f"{others['warmup']})",
    )
    group.add_argument(
        "--weight-decay",
        type=float,
        help=f"weight decay (default: {others['weight_decay']})",
    )
    group.add_argument(
        "--clip", type=float, help=f"maximum gradient norm (default: {others['clip']})"
    )
    group.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    _add_execution_arguments(group, evaluate_every)
    return group


def add_shard_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the arguments that decide how the shards of a step are computed."""
    group.add_argument(
        "--shards",
        type=int,
        help="parts of a batch that are computed in parallel; fastest: one per core; more shards "
        "need less memory (default: 4, or 2 for steps of fewer than 1,024 tokens)",
    )
    group.add_argument(
        "--threads",
        type=int,
        help="shards computed at the same time; the result is bitwise the same for any number "
        "(default: the number of cores)",
    )
    group.add_argument(
        "--gradient-checkpointing",
        action="store_true",
        help="save memory: recompute activations in the backward pass instead of storing them",
    )


def _add_execution_arguments(group: argparse._ArgumentGroup, evaluate_every: str) -> None:
    add_shard_arguments(group)
    group.add_argument(
        "--evaluate-every",
        type=int,
        help=f"steps between evaluations (default: {evaluate_every})",
    )
    group.add_argument(
        "--save-every",
        type=int,
        default=500,
        help="steps between checkpoints (default: %(default)s)",
    )
    group.add_argument(
        "--keep",
        type=int,
        default=2,
        help="number of newest checkpoints to keep during the run (default: %(default)s)",
    )
    group.add_argument(
        "--keep-checkpoints",
        action="store_true",
        help="keep the checkpoints, with the optimizer's state, when the run is finished (default: "
        "keep only the trained model)",
    )


def add_run_arguments(parser: argparse.ArgumentParser, contents: str, more: str = "") -> None:
    """Add `--resume` and `--out`, which `resume.run_folder` reads.

    Args:
        parser (ArgumentParser): parser of a command.
        contents (str): what the folder is for.
        more (str): how a run is resumed that is finished.
    """
    help_text = f"continue the run in --out, or start it{more}"
    parser.add_argument("--resume", action="store_true", help=help_text)
    help_text = f"new folder for the {contents}"
    parser.add_argument("--out", type=settled, required=True, help=help_text)


def add_minutes_argument(group: argparse._MutuallyExclusiveGroup, instead: str) -> None:
    """Add the argument that states the time of the training instead of another option."""
    group.add_argument(
        "--minutes",
        type=float,
        help=f"training time instead of {instead}; converted once, at the start, to the number of "
        "updates that this machine computes in that time",
    )


def add_freeze_argument(group: argparse._ArgumentGroup) -> None:
    """Add the argument that tells which blocks are not trained."""
    group.add_argument(
        "--freeze",
        type=int,
        metavar="N",
        help="do not train the embeddings and the lowest N blocks (default: train everything)",
    )


def add_documents_argument(parser: argparse.ArgumentParser) -> None:
    """Add the argument that tells what ends a document of a text file."""
    parser.add_argument(
        "--documents",
        choices=get_args(DocumentEnd),
        help="what ends a document: a blank line, or each line (default: a blank line; each line "
        f"if there is no blank line in at most {MAX_FILES_OF_LINES} files)",
    )


def add_column_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name the columns of a table."""
    group = parser.add_argument_group("columns")
    detected = "(default: detected by its name)"
    group.add_argument("--text", help=f"column that contains the text {detected}")
    group.add_argument(
        "--label",
        action="append",
        help="column that contains the label; or several columns of 0 and 1, one for each label, "
        f"written after the files {detected}",
    )
    parser.set_defaults(takes_rest="label")
    group.add_argument("--pair", help=f"column that contains a second text {detected}")


def add_prediction_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of commands that predict labels; see `prediction_options`."""
    parser.add_argument(
        "--threshold",
        type=float,
        help="probability above which a label is predicted, where a text may have several "
        "(default: that of the model, 0.5 unless its folder states another)",
    )
    parser.add_argument(
        "--stride",
        type=int,
        help="tokens that two neighbouring windows of a long text share (default: one quarter of a "
        "window)",
    )
    parser.add_argument(
        "--truncate",
        action="store_true",
        help="read only the beginning of a text that is longer than the model, instead of the mean "
        "over windows",
    )
    parser.add_argument(
        "--threads",
        type=int,
        help="batches computed at the same time; the result is bitwise the same for any number "
        "(default: the number of cores)",
    )


def prediction_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of `Task.predict` (dict)."""
    return {name: getattr(options, name) for name in ("stride", "truncate", "threads")}


def stated_settings(options: argparse.Namespace, kind: type[Settings]) -> dict[str, Any]:
    """Return the fields of a class of settings that the options set (dict)."""
    names = {field.name for field in fields(kind)} - {"tokenizer", "data"}
    given = {name: getattr(options, name, None) for name in names}
    return {name: value for name, value in given.items() if value is not None}

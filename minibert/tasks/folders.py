"""Folders of fine-tuned models: the model, its tokenizer, and `estimator.json`.

The class names are in the model's `config.json`, as strings. `estimator.json` contains the rest:
the type of the labels, the thresholds of several labels, and the arguments of the estimator. The
command and the estimators write it; a folder of another program has none, and its labels are
strings. It names the save to which it belongs by the checksum in `config.json`, see `models.unit`,
and is ignored, with a warning, next to the files of another save.
"""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from minibert.inference.cross_encoder import read_activation
from minibert.io.atomic import atomic_write
from minibert.io.json import read_json
from minibert.io.text import sanitize
from minibert.models.auto import class_for
from minibert.models.checkpoints import read_architectures
from minibert.models.hub import CONFIG, checkpoint_folder
from minibert.models.table import bert_names
from minibert.models.unit import SAVE
from minibert.tasks.base import Task
from minibert.tasks.classification import MultiLabelTask
from minibert.tasks.registry import labelling_models, task_for
from minibert.tokenization import AutoTokenizer, PreTrainedTokenizer

ESTIMATOR = "estimator.json"
FORMAT = 1  # of the file
# Kinds of NumPy dtypes of labels that JSON can store: boolean, integers, real numbers, strings; and
# objects, if all of them are of one of JSON's types.
KINDS = "biufUO"
SCALARS = (str, bool, int, float)
MAX_LABEL_BYTES = 1_000_000

log = logging.getLogger("minibert")


@dataclass(frozen=True)
class EstimatorFile:
    """The content of `estimator.json`.

    Attributes:
        classes (C,): the labels in the order of the model's logits, as `fit` was given them; None:
            they are the names in the model's configuration.
        thresholds: of several labels (C,); None: there are none.
        parameters: the arguments of the estimator by name, as far as they are known.
        seed: the random seed of the fit; None: unknown.
        steps_per_epoch: the number of steps of one epoch; None: unknown.
    """

    classes: np.ndarray | None = None
    thresholds: list[float] | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    steps_per_epoch: int | None = None

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the file next to the model that was saved to a folder before.

        Raises:
            OSError: a file can't be read or written.
            TypeError: the labels are of a type that JSON cannot store.
        """
        path = Path(folder) / ESTIMATOR
        fields = {
            "format": FORMAT,
            SAVE: read_json(path.with_name(CONFIG)).get(SAVE),
            "classes": None if self.classes is None else _encode_classes(self.classes),
            "thresholds": self.thresholds,
            "parameters": encode_parameters(self.parameters),
            "seed": self.seed,
            "steps_per_epoch": self.steps_per_epoch,
        }
        stated = {name: value for name, value in fields.items() if value is not None}
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(stated, indent=2) + "\n", "utf-8", newline="\n")

    @classmethod
    def read(cls, folder: str | os.PathLike[str], names: list[str]) -> "EstimatorFile":
        """Read the file of a folder; without one, or next to another save, nothing is known.

        Args:
            folder: the folder of the model.
            names: the C class names of the model.

        Raises:
            OSError: a file can't be read.
            ValueError: it is invalid or too new, or contradicts the class names.
        """
        path = Path(folder) / ESTIMATOR
        if not path.is_file():
            return cls()
        fields = read_json(path)
        if fields.get(SAVE) != read_json(path.with_name(CONFIG)).get(SAVE):
            log.warning("%s: it belongs to another save of the model and is ignored", path)
            return cls()
        if fields.get("format") != FORMAT:
            got = sanitize(repr(fields.get("format")))
            raise ValueError(f"{path}: format: expected {FORMAT}, got {got}")
        found = cls(
            thresholds=fields.get("thresholds"),
            parameters=_decode_parameters(path, fields.get("parameters", {})),
            seed=_integer(path, fields, "seed"),
            steps_per_epoch=_integer(path, fields, "steps_per_epoch"),
        )
        if "classes" not in fields:
            return found
        return replace(found, classes=_decode_classes(path, fields["classes"], names))


def load_labeller(
    folder: str | os.PathLike[str], threshold: float | None = None
) -> tuple[Task, Any, PreTrainedTokenizer]:
    """Load a fine-tuned model; return its task, the model and its tokenizer.

    Args:
        folder: the model's folder, or its name on the hub.
        threshold: as in `Task.at_threshold`; None: those of the model.

    Raises:
        OSError, ValueError: the folder contains no model with a task, or the task has no threshold.
    """
    known = labelling_models()
    architectures = read_architectures(folder)
    named = bert_names(architectures)
    model_class = next((known[name] for name in known if name in named), None)
    if model_class is None:
        got = ", ".join(architectures) or "a model of an unknown kind"
        raise ValueError(
            f"{folder}: expected a model that labels texts or words, got {got}; "
            "minibert finetune makes one"
        )
    model = class_for(model_class, folder).from_pretrained(folder, strict=True)
    task = task_of(folder, model)
    if threshold is not None:
        task = task.at_threshold(threshold)
    return task, model, AutoTokenizer.from_pretrained(folder)


def task_of(folder: str | os.PathLike[str], model: Any) -> Task:
    """Return the task of a model that was read from a folder, with its thresholds and activation.

    Raises:
        OSError, ValueError: as `task_for` and `EstimatorFile.read`.
    """
    task = task_for(model).with_activation(read_activation(folder))
    folder = checkpoint_folder(folder)
    thresholds = EstimatorFile.read(folder, task.names).thresholds
    if thresholds is None or not isinstance(task, MultiLabelTask):
        return task
    try:
        return type(task)(task.names, thresholds)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder / ESTIMATOR}: {sanitize(error)}") from None


def encode_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that JSON can store (dict); others, such as generators, are left out.

    >>> encode_parameters({"model": Path("a"), "epochs": np.int64(3), "random_state": object()})
    {'model': 'a', 'epochs': 3}

    A mapping becomes lists of its keys and values, because a JSON object has only strings as keys.
    """
    found = {}
    for name, value in parameters.items():
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        elif isinstance(value, Mapping):
            value = {"keys": [*map(_plain, value)], "values": [*map(_plain, value.values())]}
        elif isinstance(value, list | tuple | np.ndarray):
            value = [*map(_plain, value)]
        try:
            json.dumps(value := _plain(value))
        except (TypeError, ValueError):
            continue
        found[name] = value
    return found


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _decode_parameters(path: Path, stated: Any) -> dict[str, Any]:
    if not isinstance(stated, dict):
        raise ValueError(f"{path}: parameters: expected an object, got {stated!r:.80}")
    found = {}
    for name, value in stated.items():
        if isinstance(value, dict):
            keys, values = value.get("keys"), value.get("values")
            if not isinstance(keys, list) or not isinstance(values, list):
                raise ValueError(f"{path}: {sanitize(name)}: expected lists of keys and of values")
            value = dict(zip(keys, values, strict=False))
        found[name] = value
    return found


def _encode_classes(classes: np.ndarray) -> dict[str, Any]:
    """Return labels (C,) as their dtype and their values."""
    values = classes.tolist()
    if classes.dtype.kind not in KINDS or not all(type(value) in SCALARS for value in values):
        kinds = ", ".join(sorted({type(value).__name__ for value in values}))
        raise TypeError(
            "classes_: expected strings, numbers or booleans, which a folder can store, got "
            f"{kinds}"
        )
    return {"dtype": classes.dtype.str, "values": values}


def _decode_classes(path: Path, stated: Any, names: list[str]) -> np.ndarray:
    """Return the labels (C,) in their dtype; as strings they are the class names."""
    try:
        dtype, values = np.dtype(str(stated["dtype"])), stated["values"]
        is_known = dtype.kind in KINDS and dtype.itemsize <= MAX_LABEL_BYTES
        if not is_known or not all(type(value) in SCALARS for value in values):
            raise ValueError("a dtype that is not one of labels")
        classes = np.empty(len(values), dtype)
        classes[:] = values
    except (TypeError, ValueError, LookupError, OverflowError, SyntaxError):
        raise ValueError(
            f"{path}: classes: expected a dtype and values, got {sanitize(repr(stated)):.80}"
        ) from None
    if [str(value) for value in classes] != names:
        raise ValueError(
            f"{path}: classes: expected the class names of {CONFIG}, {sanitize(', '.join(names))}"
            f", got {sanitize(', '.join(map(str, classes.tolist())))}"
        )
    return classes


def _integer(path: Path, fields: Mapping[str, Any], name: str) -> int | None:
    value = fields.get(name)
    if value is not None and type(value) is not int:
        raise ValueError(f"{path}: {name}: expected an integer, got {sanitize(repr(value)):.80}")
    return value

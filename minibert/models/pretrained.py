"""Checkpoints: a folder with `config.json` and `model.safetensors`, as Hugging Face writes them."""

import dataclasses
import logging
import os
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from minibert.config import BertConfig
from minibert.files import replacing
from minibert.models.base import Model, draw
from minibert.parameters import Parameters

CONFIG, WEIGHTS = "config.json", "model.safetensors"
# What a checkpoint may lack: these are learned anew when a pre-trained body gets another task.
HEADS = ("pooler.", "bert.pooler.", "cls.", "classifier.")

log = logging.getLogger("minibert")


class PreTrained(Model):
    """A model that can be read from a folder and written to one."""

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Write the model to `folder`, for `from_pretrained` and for `transformers`.

        Each file is written beside the old one and renamed, so that a failure leaves that whole.
        """
        folder = Path(folder)
        # The weights first: a config.json says that what it describes is there.
        with replacing(folder / WEIGHTS) as path:
            save_file(dict(self.params), path, metadata={"format": "pt"})
        with replacing(folder / CONFIG) as path:
            path.write_text(self.config.to_json(architectures=[type(self).__name__]), "utf-8")

    @classmethod
    def from_pretrained(
        cls,
        folder: str | os.PathLike,
        *,
        seed: int = 0,
        dtype: DTypeLike = np.float32,
        strict: bool = False,
        **changes: Any,
    ) -> Self:
        """Read a model from `folder`, whichever head it was trained with.

        The body's names may have the prefix `bert.` or not. A pooler or head that the checkpoint
        lacks is drawn from `seed`, and so is a classifier if `changes` rename its classes; one line
        in the log says so.

        Args:
            folder: has `config.json` and `model.safetensors`.
            seed: of what must be drawn.
            dtype: of the parameters; the numbers in the file are converted.
            strict: refuse a checkpoint that lacks this model's head, instead of drawing one.
            changes: fields of the configuration to replace, such as `id2label`.

        Raises:
            OSError: a file is missing or can't be read.
            ValueError: a file is broken, lacks part of the body, or has an array of another shape.
        """
        folder = Path(folder)
        saved = read_config(folder)
        config = dataclasses.replace(saved, **changes)
        outline = cls(config, params=Parameters({}))
        params = Parameters(outline.shapes(), dtype=dtype)
        missing = []
        try:
            with safe_open(_existing(folder / WEIGHTS), framework="numpy") as file:
                names = set(file.keys())
                for name, array in params.items():
                    source = next((other for other in _aliases(name) if other in names), None)
                    renamed = name.startswith("classifier.") and config.id2label != saved.id2label
                    if source is None or renamed:
                        missing.append(name)
                        continue
                    tensor = file.get_tensor(source)
                    if tensor.shape != array.shape:
                        raise ValueError(
                            f"{folder / WEIGHTS}: {source}: expected the shape {array.shape} "
                            f"from {CONFIG}, got {tensor.shape}"
                        )
                    array[...] = tensor
        except SafetensorError as error:
            raise ValueError(f"{folder / WEIGHTS}: not a whole safetensors file: {error}") from None
        needed = [name for name in missing if strict or not name.startswith(HEADS)]
        if needed:
            raise ValueError(
                f"{folder / WEIGHTS}: lacks {len(needed)} arrays of {cls.__name__}, "
                f"such as {needed[0]}"
            )
        if missing:
            log.warning("%s: drawn anew, for it is not there: %s", folder, ", ".join(missing))
            draw(params, missing, config, seed)
        return cls(config, params=params)


def read_config(folder: str | os.PathLike) -> BertConfig:
    """Read the `config.json` of a checkpoint.

    Raises:
        OSError: it is missing or can't be read.
        ValueError: it is broken or describes another kind of model.
    """
    path = _existing(Path(folder) / CONFIG)
    try:
        return BertConfig.from_json(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _existing(path):
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected the folder of a checkpoint")
    return path


def _aliases(name):
    """The names under which a checkpoint may hold the array that is called `name` here."""
    return name, name.removeprefix("bert."), "bert." + name

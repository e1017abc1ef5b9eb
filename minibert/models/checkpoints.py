"""Checkpoints: a folder with `config.json` and `model.safetensors`, as Hugging Face writes them."""

import dataclasses
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from minibert.functional import sinusoidal_positions
from minibert.io.atomic import atomic_write
from minibert.io.json import read_json
from minibert.io.text import sanitize
from minibert.models.base import Model
from minibert.models.config import FOREIGN, BertConfig
from minibert.models.hub import checkpoint_folder
from minibert.models.initialization import initialize
from minibert.models.parts import Parts
from minibert.models.unit import SAVE, check_unit, fields_of_save
from minibert.models.weights import WEIGHTS, open_weights, saves_of, write_tensors
from minibert.parameters import Parameters
from minibert.specs import ParameterSpec

CONFIG = "config.json"
# What a checkpoint may lack: these are learned anew when a pre-trained body gets another task.
HEADS = ("pooler.", "bert.pooler.", "cls.", "classifier.", "qa_outputs.")
# Three tasks call their last map `classifier`, and mean three things.
CLASSIFIER = "classifier."
# Endings that older files have instead; a tied decoder's bias has two names.
HISTORIC = {
    "LayerNorm.weight": "LayerNorm.gamma",
    "LayerNorm.bias": "LayerNorm.beta",
    "cls.predictions.bias": "cls.predictions.decoder.bias",
}
BODY = "bert."
TABLE, POSITIONS = (f"bert.embeddings.{kind}_embeddings.weight" for kind in ("word", "position"))
DECODER, DECODER_BIAS = "cls.predictions.decoder.weight", "cls.predictions.bias"
PARTS = "parts"  # a field of the config.json of a composition that is not BERT
LAYER = re.compile(r"(?:bert\.)?encoder\.layer\.([0-9]{1,9})\.")

log = logging.getLogger("minibert")


class PreTrained(Model):
    """A model that can be read from a folder and written to one.

    Attributes:
        parts: the factories of the parts that are not BERT's own.
        vocabulary: the checksum of the vocabulary that it was read with; None if there was none.
    """

    parts: Parts
    vocabulary: str | None = None

    def constants(self) -> Mapping[str, np.ndarray]:
        """Return what is no parameter here but one elsewhere, to be written for others to read."""
        return {}

    def foreign(self) -> dict[str, Any]:
        """Return the fields of config.json that name the parts which are not BERT's own."""
        names = self.parts.names()
        return {"model_type": FOREIGN, PARTS: names} if names else {}

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Write the model to `folder`, for `from_pretrained` and for `transformers`.

        Both files are written beside the old ones, and then renamed: a failure leaves those whole.
        Save a tokenizer first: the model's files name its vocabulary; see `minibert.models.unit`.
        """
        folder, kind = Path(folder), type(self).__name__
        arrays = {**self.params, **self.constants()}
        stated = {"architectures": [kind], **self.foreign()}
        text = self.config.to_json(**stated)
        fields = fields_of_save(folder, text, arrays, self.vocabulary)
        # The weights are renamed first: a config.json says that what it describes is there.
        with atomic_write(folder / CONFIG) as config, atomic_write(folder / WEIGHTS) as weights:
            config.write_text(self.config.to_json(**stated, **fields), "utf-8")
            write_tensors(arrays, weights, format="pt", **{SAVE: fields[SAVE]})

    @classmethod
    def from_pretrained(
        cls,
        folder: str | os.PathLike,
        *,
        seed: int = 0,
        dtype: DTypeLike = np.float32,
        strict: bool = False,
        block: Any = None,
        embeddings: Any = None,
        positions: Any = None,
        encoder: Any = None,
        **changes: Any,
    ) -> Self:
        """Read a model from `folder`, whichever head it was trained with.

        The body's names may have the prefix `bert.` or not, and layer norms their historic names. A
        pooler or head that the checkpoint lacks is drawn from `seed`, and so is a classifier of
        another task, or one whose classes `changes` rename; one line in the log says so. Tensors
        are copied one at a time, so that loading needs the model's memory and a tensor's.

        Args:
            folder: has `config.json` and `model.safetensors`, or its shards and their index; or a
                name on Hugging Face's hub, such as `google-bert/bert-base-uncased`, which needs
                the extra `hub`.
            seed: of what must be drawn.
            dtype: of the parameters; the numbers in the file are converted.
            strict: refuse a checkpoint that lacks this model's head, instead of drawing one.
            block, embeddings, positions, encoder: factories for parts that are not BERT's own, the
                ones that the model was saved with; nothing that a file names is imported.
            changes: fields of the configuration to replace, such as `id2label`.

        Raises:
            OSError: a file is missing or can't be read.
            ValueError: a file is broken, lacks part of the body, or contradicts another.
        """
        folder = checkpoint_folder(folder)
        saved, tasks, fields = _read_config(folder)
        parts = Parts(block, embeddings, positions, encoder)
        _check_parts(folder, fields, parts)
        with open_weights(folder) as tensors:
            vocabulary = check_unit(folder, fields, saves_of(tensors))
            saved = _fitted(saved, tensors)
            config = dataclasses.replace(saved, **changes)
            specs, saved_specs = (
                cls(each, params=Parameters({}), **parts.given()).specs()
                for each in (config, saved)
            )
            _check_layers(folder, saved_specs, tensors)
            shapes = {n: spec.shape for n, spec in specs.items() if isinstance(spec, ParameterSpec)}
            same = cls.__name__ in (tasks or [cls.__name__]) and config.id2label == saved.id2label
            sources = {
                name: tensor
                for name in shapes
                if (tensor := _find(tensors, name)) and (same or not name.startswith(CLASSIFIER))
            }
            missing = [name for name in shapes if name not in sources]
            needed = [name for name in missing if strict or not name.startswith(HEADS)]
            if needed:
                raise ValueError(
                    f"{folder}: lacks {len(needed)} arrays of {cls.__name__}, such as {needed[0]}; "
                    f"it is a {' and '.join(map(str, tasks)) or 'model of an unknown kind'}"
                )
            for name, tensor in sources.items():
                if tensor.shape != shapes[name]:
                    raise ValueError(
                        f"{tensor.path}: {tensor.name}: expected the shape {shapes[name]} "
                        f"from {CONFIG}, got {tensor.shape}"
                    )
            params = Parameters(specs, dtype=dtype)
            for name, tensor in sources.items():
                _copy(tensor, params[name])
            if DECODER in tensors and DECODER_BIAS in params:
                _check_tied(tensors[DECODER], params[TABLE])
        if missing:
            names = ", ".join(missing)
            log.warning("%s: newly initialized (missing from the checkpoint): %s", folder, names)
            initialize(params, missing, config.initializer_range, seed)
        model = cls(config, params=params, **parts.given())
        model.vocabulary = vocabulary
        return model


def read_config(folder: str | os.PathLike) -> BertConfig:
    """Read the `config.json` of a checkpoint.

    Raises:
        OSError: it is missing or can't be read.
        ValueError: it is broken or describes another kind of model.
    """
    return _read_config(Path(folder))[0]


def read_architectures(folder: str | os.PathLike) -> list[str]:
    """Return the names of the classes that a checkpoint says it is of.

    Raises:
        OSError, ValueError: as `read_config`.
    """
    return _read_config(checkpoint_folder(folder))[1]


def aliases(name: str) -> list[str]:
    """Return the names under which a checkpoint may hold the array that is called `name` here.

    >>> aliases("bert.embeddings.LayerNorm.bias")[1:]
    ['embeddings.LayerNorm.bias', 'bert.embeddings.LayerNorm.beta', 'embeddings.LayerNorm.beta']
    """
    old = [name.removesuffix(now) + then for now, then in HISTORIC.items() if name.endswith(now)]
    return [
        alias
        for each in (name, *old)
        for alias in (each, each.removeprefix(BODY) if each.startswith(BODY) else BODY + each)
    ]


def _find(tensors, name):
    """Return the tensor that is called `name` here; None if there is none."""
    return next((tensors[alias] for alias in aliases(name) if alias in tensors), None)


def _read_config(folder):
    """Return the configuration, the names of the classes that it is of, and all fields."""
    path = folder / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected the folder of a checkpoint")
    fields = read_json(path)
    try:
        config = BertConfig.from_dict(fields)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    tasks = fields.get("architectures")
    return config, tasks if isinstance(tasks, list) else [], fields


def _check_parts(folder, fields, parts):
    """Refuse parts that contradict those that a config.json names."""
    stated, given = fields.get(PARTS) or {}, parts.names()
    if stated and stated != given:
        wanted = ", ".join(f"{field}={name}" for field, name in stated.items())
        raise ValueError(
            f"{folder / CONFIG}: {PARTS}: expected from_pretrained(folder, {sanitize(wanted)}), "
            f"got {', '.join(f'{one}={name}' for one, name in given.items()) or 'none of them'}"
        )
    if given and not stated:
        log.warning("%s: saved without %s; the weights may mean something else there", folder,
                    " and ".join(given.values()))  # fmt: skip


def _check_layers(folder, specs, tensors):
    """Refuse weights of more or fewer blocks than the configuration has."""
    wanted, found = (
        {int(m[1]) for m in map(LAYER.match, names) if m} for names in (specs, tensors)
    )
    if wanted != found:
        raise ValueError(
            f"{folder}: {CONFIG} says {len(wanted)} layers, the weights are of {len(found)}"
        )


def _fitted(config, tensors):
    """Return the configuration that fits the tensors.

    A file has sinusoidal positions too, for programs that know only learned ones; if these were
    trained further there, they are learned ones now.
    """
    positions = _find(tensors, POSITIONS)
    if positions is None or config.position_embedding_type != "sinusoidal":
        return config
    table = positions.read()
    if table.shape == (config.max_position_embeddings, config.hidden_size):
        if np.array_equal(table, sinusoidal_positions(*table.shape).astype(table.dtype)):
            return config
        log.warning(
            "%s: its sinusoidal positions were trained: they are learned ones now",
            positions.path.parent,
        )
    # Learned ones of another shape are refused by their name.
    return dataclasses.replace(config, position_embedding_type="absolute")


def _copy(tensor, place):
    """Read a tensor into a parameter; refuse what would become infinite there."""
    try:
        with np.errstate(over="raise", invalid="ignore"):
            place[...] = tensor.read()
    except FloatingPointError:
        raise ValueError(
            f"{tensor.path}: {tensor.name}: has numbers too large for {place.dtype}"
        ) from None


def _check_tied(decoder, table):
    """Refuse a decoder that isn't the embedding table: this model has one array for both."""
    with np.errstate(over="ignore", invalid="ignore"):
        own = decoder.read().astype(table.dtype)
    if not np.array_equal(own, table):
        raise ValueError(
            f"{decoder.path}: {decoder.name}: expected the word embeddings again, got another "
            "table; a decoder of its own is not supported"
        )

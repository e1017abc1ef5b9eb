"""Read and write checkpoints: folders with `config.json` and `model.safetensors`."""

import dataclasses
import logging
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from minibert.functional import sinusoidal_positions
from minibert.io.atomic import atomic_write
from minibert.io.json import read_json
from minibert.io.text import sanitize
from minibert.models.base import Model
from minibert.models.config import CUSTOM, BertConfig, read_labels
from minibert.models.hub import checkpoint_folder, pinned
from minibert.models.initialization import initialize
from minibert.models.names import BODY, SAME, Names
from minibert.models.parts import Parts
from minibert.models.table import family_class, family_of
from minibert.models.unit import SAVE, check_same_save, save_fields
from minibert.models.weights import (
    WEIGHTS,
    Tensor,
    convert_tensors,
    open_weights,
    save_checksums,
    write_tensors,
)
from minibert.parameters import Parameters
from minibert.specs import ParameterSpec, Specs
from minibert.typing import Array

CONFIG = "config.json"
# Prefixes of the parameters that a checkpoint may lack; they are re-initialized for a new task.
HEADS = (
    "pooler.", "bert.pooler.", "cls.", "classifier.", "qa_outputs.",
    "pre_classifier.", "discriminator_predictions.", "sequence_summary.",
)  # fmt: skip
# The prefix of the last layer of three tasks, with three meanings.
CLASSIFIER = "classifier."
# Endings of names in older files; the bias of a tied decoder has two names.
HISTORIC = {
    "LayerNorm.weight": "LayerNorm.gamma",
    "LayerNorm.bias": "LayerNorm.beta",
    "cls.predictions.bias": "cls.predictions.decoder.bias",
}
TABLE, POSITIONS = (f"bert.embeddings.{kind}_embeddings.weight" for kind in ("word", "position"))
DECODER, DECODER_BIAS = "cls.predictions.decoder.weight", "cls.predictions.bias"
PARTS = "parts"  # field of config.json: the names of parts that are not from BERT
DTYPE = "dtype"  # field of config.json: the dtype of the weights in the file
LAYER = re.compile(r"(?:bert\.)?encoder\.layer\.([0-9]{1,9}(?:\.[0-9]{1,9})?)\.")

log = logging.getLogger("minibert")


class PreTrained(Model):
    """A model that can be loaded from a folder and saved to one.

    Attributes:
        parts: the factories of the parts that are not from BERT.
        vocabulary: the checksum of the vocabulary in the folder from which the model was loaded.
        label_fault: the fault of the class names in its `config.json`; None without one.
        config_class: the class of the configurations of the family.
        file_names: the names of the family's parameters in files.
    """

    config_class: type[BertConfig] = BertConfig
    file_names: Names = SAME
    parts: Parts
    vocabulary: str | None = None
    label_fault: str | None = None

    def constants(self) -> Mapping[str, Array]:
        """Return the non-trainable arrays that other programs read from the file (dict)."""
        return {}

    def part_fields(self) -> dict[str, Any]:
        """Return the fields of config.json that name the parts which are not from BERT (dict)."""
        names = self.parts.names()
        return {"model_type": CUSTOM, PARTS: names} if names else {}

    def save_pretrained(
        self, folder: str | os.PathLike[str], *, dtype: DTypeLike | None = None
    ) -> None:
        """Write the model to `folder`, for `from_pretrained` and for `transformers`.

        Both files are written under temporary names and then renamed, so an error leaves the old
        files unchanged. Save a tokenizer first, because the model's files contain the checksum of
        its vocabulary; see `minibert.models.unit`.

        Args:
            folder (str or path): is created if missing.
            dtype (dtype): of the weights in the file, which `config.json` then names under the key
                that `transformers` reads: "float16" halves the file, and each weight keeps 11
                significant bits, one below 6e-5 fewer, and one below 3e-8 is 0; "float32" or
                "float64"; None: that of the parameters.

        Raises:
            OSError: a file can't be written.
            ValueError: the dtype is another one, or a weight is too large for it; the message names
                the parameter.
        """
        folder, kind = Path(folder), type(self).__name__
        arrays = {**self.file_names.outward(self.params), **self.constants()}
        stated = {"architectures": [kind], **self.part_fields()}
        if dtype is not None:
            arrays = convert_tensors(arrays, dtype)
            stated[DTYPE] = np.dtype(dtype).name
        text = self.config.to_json(**stated)
        fields = save_fields(folder, text, arrays, self.vocabulary)
        # The weights are renamed first, so config.json never describes missing weights.
        with atomic_write(folder / CONFIG) as config, atomic_write(folder / WEIGHTS) as weights:
            config.write_text(self.config.to_json(**stated, **fields), "utf-8")
            write_tensors(arrays, weights, format="pt", **{SAVE: fields[SAVE]})

    @classmethod
    def from_pretrained(
        cls,
        folder: str | os.PathLike[str],
        *,
        revision: str | None = None,
        seed: int = 0,
        dtype: DTypeLike = np.float32,
        strict: bool = False,
        block: Any = None,
        embeddings: Any = None,
        positions: Any = None,
        encoder: Any = None,
        **changes: Any,
    ) -> Self:
        """Load a model from `folder`; the checkpoint may have another head.

        Names of the body may have the prefix `bert.` or not, and layer norms their historic names.
        A pooler or head that the checkpoint lacks is newly initialized with `seed`; so is a
        classifier of another task, or one with other classes by `changes`. A warning names these
        parameters. Tensors are copied one at a time, so loading needs the memory of the model and
        of one tensor.

        Args:
            folder (str or path): contains `config.json` and `model.safetensors`, or its shards and
                their index; or "tiny", the pre-trained model that is part of this package; or
                another name, as in `models.hub.find_folder`.
            revision (str or None): of a name on the hub: a commit, a branch or a tag.
            seed (int): random seed of newly initialized parameters.
            dtype (dtype): of the parameters; the values in the file are converted.
            strict (bool): refuse a checkpoint without this model's head.
            block, embeddings, positions, encoder (function): the factories of parts that are not
                from BERT with which the model was saved; names in a file are never imported.
            changes: fields of the configuration to replace, such as `id2label`.

        Raises:
            OSError: a file is missing or can't be read.
            ValueError: a file is invalid, lacks parameters of the body, or contradicts another.
        """
        folder = checkpoint_folder(pinned(folder, revision))
        saved, classes, fields = _read_config(folder)
        if saved.model_type != cls.config_class.model_type:
            raise ValueError(
                f"{folder / CONFIG}: model_type: expected {cls.config_class.model_type} for "
                f"{cls.__name__}, got {saved.model_type}; minibert.AutoModel opens every family"
            )
        parts = Parts(block, embeddings, positions, encoder)
        _check_parts(folder, fields, parts)
        with open_weights(folder) as found:
            vocabulary = check_same_save(folder, fields, save_checksums(found))
            tensors = cls.file_names.inward(found)
            saved = _match_positions(saved, tensors)
            config = dataclasses.replace(saved, **changes)
            layers = saved.num_stored_blocks
            if parts.encoder is not None:  # its blocks may share their parameters
                layers = len(_layers(cls(saved, params=Parameters({}), **parts.given()).specs()))
            _check_layers(folder, layers, tensors)
            specs = cls(config, params=Parameters({}), **parts.given()).specs()
            is_same = cls.__name__ in (classes or [cls.__name__])
            is_same = is_same and config.id2label == saved.id2label
            sources = _find_tensors(tensors, specs, is_same)
            missing = [name for name in _shapes(specs) if name not in sources]
            needed = [name for name in missing if strict or not name.startswith(HEADS)]
            if needed:
                raise ValueError(
                    f"{folder}: lacks {len(needed)} arrays of {cls.__name__}, such as {needed[0]}; "
                    f"it is a {' and '.join(map(str, classes)) or 'model of an unknown kind'}"
                )
            params = _read_parameters(sources, specs, dtype)
            if DECODER in tensors and DECODER_BIAS in params:
                _check_tied(tensors[DECODER], params[TABLE])
        if missing:
            names = ", ".join(missing)
            log.warning("%s: newly initialized (missing from the checkpoint): %s", folder, names)
            initialize(params, missing, config.initializer_range, seed)
        model = cls(config, params=params, **parts.given())
        model.vocabulary = vocabulary
        fault = read_labels(fields)[1]
        if fault and "id2label" not in changes:
            model.label_fault = f"{folder / CONFIG}: {fault}"
        return model


def read_config(folder: str | os.PathLike[str]) -> BertConfig:
    """Read the `config.json` of a checkpoint.

    Raises:
        OSError: the file is missing or can't be read.
        ValueError: it is invalid or describes another kind of model.
    """
    return _read_config(Path(folder))[0]


def read_architectures(folder: str | os.PathLike[str]) -> list[str]:
    """Return the class names in the `config.json` of a checkpoint (list of str).

    Raises:
        OSError, ValueError: see `read_config`.
    """
    return _read_config(checkpoint_folder(folder))[1]


def aliases(name: str) -> list[str]:
    """Return the possible names of a parameter in a checkpoint (list of str).

    >>> aliases("bert.embeddings.LayerNorm.bias")[1:]
    ['embeddings.LayerNorm.bias', 'bert.embeddings.LayerNorm.beta', 'embeddings.LayerNorm.beta']
    """
    old = [name.removesuffix(now) + then for now, then in HISTORIC.items() if name.endswith(now)]
    return [
        alias
        for each in (name, *old)
        for alias in (each, each.removeprefix(BODY) if each.startswith(BODY) else BODY + each)
    ]


def _find(tensors: Mapping[str, Tensor], name: str) -> Tensor | None:
    """Return the tensor of the parameter `name`; None without one."""
    return next((tensors[alias] for alias in aliases(name) if alias in tensors), None)


def _shapes(specs: Specs) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all parameters by name (dict), without joined views."""
    return {name: spec.shape for name, spec in specs.items() if isinstance(spec, ParameterSpec)}


def _find_tensors(tensors: Mapping[str, Tensor], specs: Specs, is_same: bool) -> dict[str, Tensor]:
    """Return the tensors of a model by name (dict); a classifier only if the task is the same."""
    return {
        name: tensor
        for name in _shapes(specs)
        if (tensor := _find(tensors, name)) and (is_same or not name.startswith(CLASSIFIER))
    }


def _read_parameters(sources: Mapping[str, Tensor], specs: Specs, dtype: DTypeLike) -> Parameters:
    """Return parameters with the values of the tensors; the others are zero."""
    shapes = _shapes(specs)
    for name, tensor in sources.items():
        if tensor.shape != shapes[name]:
            raise ValueError(
                f"{tensor.path}: {tensor.name}: expected the shape {shapes[name]} "
                f"from {CONFIG}, got {tensor.shape}"
            )
    params = Parameters(specs, dtype=dtype)
    for name, tensor in sources.items():
        _copy(tensor, params[name])
    return params


def _read_config(folder: Path) -> tuple[BertConfig, list[str], dict[str, Any]]:
    """Return the configuration, the class names, and all fields of a `config.json`."""
    path = folder / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected the folder of a checkpoint")
    fields = read_json(path)
    classes = fields.get("architectures")
    try:
        family = family_of(fields.get("model_type"), classes)
        config: BertConfig = family_class(family, "Config").from_dict(fields)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return config, classes if isinstance(classes, list) else [], fields


def _check_parts(folder: Path, fields: Mapping[str, Any], parts: Parts) -> None:
    """Raise ValueError if the given parts differ from the names in config.json."""
    stated, given = fields.get(PARTS) or {}, parts.names()
    if stated and stated != given:
        wanted = ", ".join(f"{field}={name}" for field, name in stated.items())
        raise ValueError(
            f"{folder / CONFIG}: {PARTS}: expected from_pretrained(folder, {sanitize(wanted)}), "
            f"got {', '.join(f'{one}={name}' for one, name in given.items()) or 'none of them'}"
        )
    if given and not stated:
        log.warning("%s: saved without %s; the weights may belong to another architecture", folder,
                    " and ".join(given.values()))  # fmt: skip


def _layers(names: Iterable[str]) -> set[str]:
    """Return the numbers of the blocks in the names of parameters (set of str)."""
    return {match[1] for match in map(LAYER.match, names) if match}


def _check_layers(folder: Path, layers: int, names: Iterable[str]) -> None:
    """Raise ValueError if the weights have another number of blocks, before any are made."""
    found = len(_layers(names))
    if found != layers:
        raise ValueError(
            f"{folder}: expected the weights of {layers} layers from {CONFIG}, got {found}"
        )


def _match_positions(config: BertConfig, tensors: Mapping[str, Tensor]) -> BertConfig:
    """Return the configuration with learned positions if sinusoidal ones were trained.

    A file also contains sinusoidal positions, for programs that only support learned ones; such a
    program may have trained them.
    """
    positions = _find(tensors, POSITIONS)
    if positions is None or config.position_embedding_type != "sinusoidal":
        return config
    table = positions.read()
    if table.shape == (config.max_position_embeddings, config.hidden_size):
        exact = sinusoidal_positions(*table.shape)
        # Saving a float32 model as float16 rounds twice.
        rounded = (exact, exact.astype(np.float32))
        if any(np.array_equal(table, each.astype(table.dtype)) for each in rounded):
            return config
        log.warning(
            "%s: its sinusoidal positions were trained, so they are read as learned ones",
            positions.path.parent,
        )
    # A table of another shape is refused later, with the other shapes.
    return dataclasses.replace(config, position_embedding_type="absolute")


def _copy(tensor: Tensor, place: Array) -> None:
    """Copy a tensor into a parameter; raise ValueError if a value overflows."""
    try:
        with np.errstate(over="raise", invalid="ignore"):
            tensor.read_into(place)
    except FloatingPointError:
        raise ValueError(
            f"{tensor.path}: {tensor.name}: has values too large for {place.dtype}"
        ) from None


def _check_tied(decoder: Tensor, table: Array) -> None:
    """Raise ValueError if the decoder differs from the embedding table: a model has one array."""
    with np.errstate(over="ignore", invalid="ignore"):
        own = decoder.read().astype(table.dtype)
    if not np.array_equal(own, table):
        raise ValueError(
            f"{decoder.path}: {decoder.name}: expected the values of the word embeddings, "
            "got others; an untied decoder is not supported"
        )

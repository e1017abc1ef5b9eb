"""Checkpoints of a run: the model, its tokenizer, the optimizer's moments, and the step.

A run's folder holds `checkpoint-STEP` folders, each whole or not there at all, and once the run has
ended the trained model itself.
"""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from minibert.files import creating, discard, read_json, require_file, shown
from minibert.models import PreTrained
from minibert.models.weights import write_tensors
from minibert.optim.adamw import AdamW
from minibert.tokenization import WordPieceTokenizer

STATE, MOMENTS = "trainer_state.json", "optimizer.safetensors"


def save_checkpoint(
    run: str | os.PathLike,
    model: PreTrained,
    tokenizer: WordPieceTokenizer,
    optimizer: AdamW,
    settings: Any,
) -> Path:
    """Write `run/checkpoint-STEP`, and remove all but the newest `settings.keep`; returns it."""
    folder = Path(run) / f"checkpoint-{optimizer.step}"
    if folder not in checkpoints(run):
        discard(folder)  # of one that lost its state
        with creating(folder) as temporary:
            tokenizer.save_pretrained(temporary)
            model.save_pretrained(temporary)
            moments = {"first": optimizer.first, "second": optimizer.second}
            write_tensors(moments, temporary / MOMENTS)
            state = {"step": optimizer.step, "settings": dataclasses.asdict(settings)}
            (temporary / STATE).write_text(json.dumps(state, indent=2) + "\n", "utf-8")
    for old in checkpoints(run)[: -settings.keep]:
        discard(old)
    return folder


def checkpoints(run: str | os.PathLike) -> list[Path]:
    """Return the checkpoints of a run, oldest first."""
    steps = {path: path.name.removeprefix("checkpoint-") for path in Path(run).glob("checkpoint-*")}
    found = [path for path, step in steps.items() if step.isdecimal() and (path / STATE).is_file()]
    return sorted(found, key=lambda path: int(steps[path]))


def remove_checkpoint(run: str | os.PathLike, step: int) -> None:
    """Remove `run/checkpoint-STEP` if it is there."""
    discard(Path(run) / f"checkpoint-{step}")


def read_state(checkpoint: str | os.PathLike) -> dict[str, Any]:
    """Return a checkpoint's `step` and `settings`.

    Raises:
        OSError: the file is missing or can't be read.
        ValueError: it is broken; the message names it.
    """
    path = Path(checkpoint) / STATE
    state = read_json(path)
    step, settings = state.get("step"), state.get("settings")
    steps = settings.get("steps") if isinstance(settings, dict) else None
    if type(step) is not int or type(steps) is not int or not 0 <= step <= steps:
        raise ValueError(f"{path}: expected a step, and settings with at least as many steps")
    return {"step": step, "settings": settings}


def restore_optimizer(checkpoint: str | os.PathLike, optimizer: AdamW) -> None:
    """Read a checkpoint's moments and step into `optimizer`.

    Raises:
        OSError: the file is missing or can't be read.
        ValueError: it is broken or belongs to another model; the message names it.
    """
    path = Path(checkpoint) / MOMENTS
    require_file(path, "a file")
    try:
        moments = load_file(path)
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: not this model's moments: {shown(error)}") from None
    for name, place in ("first", optimizer.first), ("second", optimizer.second):
        found = moments.get(name, np.empty(0))
        if (found.shape, found.dtype) != (place.shape, place.dtype):
            raise ValueError(
                f"{path}: not this model's moments: {name}: expected {place.shape} in "
                f"{place.dtype}, got {found.shape} in {found.dtype}"
            )
        place[:] = found
    optimizer.step = read_state(checkpoint)["step"]

"""Checkpoints of a run: the model, its tokenizer, the optimizer's moments, and the step.

A run's folder holds `checkpoint-STEP` folders, each whole or not there at all, and once the run has
ended the trained model itself.
"""

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from minibert.files import creating
from minibert.models import PreTrained
from minibert.tokenization import WordPieceTokenizer
from minibert.training.optimizer import AdamW

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
    if not folder.exists():
        with creating(folder) as temporary:
            model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
            save_file({"first": optimizer.first, "second": optimizer.second}, temporary / MOMENTS)
            state = {"step": optimizer.step, "settings": dataclasses.asdict(settings)}
            (temporary / STATE).write_text(json.dumps(state, indent=2) + "\n", "utf-8")
    for old in checkpoints(run)[: -settings.keep]:
        shutil.rmtree(old)
    return folder


def checkpoints(run: str | os.PathLike) -> list[Path]:
    """Return the checkpoints of a run, oldest first."""
    steps = {path: path.name.removeprefix("checkpoint-") for path in Path(run).glob("checkpoint-*")}
    found = [path for path, step in steps.items() if step.isdecimal() and (path / STATE).is_file()]
    return sorted(found, key=lambda path: int(steps[path]))


def remove_checkpoint(run: str | os.PathLike, step: int) -> None:
    """Remove `run/checkpoint-STEP` if it is there."""
    shutil.rmtree(Path(run) / f"checkpoint-{step}", ignore_errors=True)


def read_state(checkpoint: str | os.PathLike) -> dict[str, Any]:
    """Return a checkpoint's `step` and `settings`.

    Raises:
        ValueError: the file is broken; the message names it.
    """
    path = Path(checkpoint) / STATE
    try:
        state = json.loads(path.read_text("utf-8"))
        return {"step": state["step"], "settings": state["settings"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected a step and settings in JSON: {error!r}") from None


def restore_optimizer(checkpoint: str | os.PathLike, optimizer: AdamW) -> None:
    """Read a checkpoint's moments and step into `optimizer`.

    Raises:
        ValueError: the file is broken or belongs to another model; the message names it.
    """
    path = Path(checkpoint) / MOMENTS
    try:
        moments = load_file(path)
        optimizer.first[:], optimizer.second[:] = moments["first"], moments["second"]
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: not this model's moments: {error}") from None
    optimizer.step = read_state(checkpoint)["step"]

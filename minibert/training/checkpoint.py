"""Checkpoints of a run: the model, its tokenizer, the optimizer's state, and the step.

The folder of a run holds `checkpoint-STEP` folders, each complete or absent, and after the end of
the run the trained model itself. `finish_run` then removes the checkpoints. A checkpoint is on the
disk before an older one is removed. Its state lists the sizes and checksums of its files, so a run
is resumed from the newest one that is whole.
"""

import dataclasses
import json
import logging
import os
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np

import minibert
from minibert.io.atomic import atomic_dir, atomic_remove, atomic_write, path_in_errors
from minibert.io.json import read_json
from minibert.io.text import READ_BYTES, require_file, sanitize
from minibert.models import PreTrained
from minibert.models.weights import WEIGHTS, open_tensors, write_tensors
from minibert.optim import Optimizer
from minibert.runtime.blas import blas_name
from minibert.tokenization import PreTrainedTokenizer

log = logging.getLogger("minibert")

BEST = "best-"  # and the step: the folder of the best weights; see `early_stopping`
STATE, OPTIMIZER = "trainer_state.json", "optimizer.safetensors"
FORMAT = 3  # of the state; version 1 wrote none
# Fields that later formats added, with the values by which the earlier versions worked.
VERSION_1_STATE: dict[str, Any] = {"format": 1, "optimizer": "AdamW"}
SETTINGS_BEFORE_3: dict[str, Any] = {
    "recipe": "1",
    "optimizer": "adamw",
    "schedule": "linear",
    "beta2": 0.999,
    "masked_share": 0.15,
    "last_masked_share": 0.15,
    "initialization": "random",
    "chosen": "",
    "split_pieces": 0.0,
    "whole_words": False,
}
# Settings that runs of format 3 began to have later, with their values before.
LATER_SETTINGS: dict[str, Any] = {"strategy": "direct"}


def save_checkpoint(
    run: str | os.PathLike[str],
    model: PreTrained,
    tokenizer: PreTrainedTokenizer,
    optimizer: Optimizer,
    settings: Any,
) -> Path:
    """Write `run/checkpoint-STEP`, keep the newest `settings.keep`, return the folder."""
    folder = Path(run) / f"checkpoint-{optimizer.step}"
    if folder not in checkpoints(run) or damage_of(folder):
        atomic_remove(folder)  # one without a state, or a damaged one
        with atomic_dir(folder) as temporary:
            tokenizer.save_pretrained(temporary)
            model.save_pretrained(temporary)
            write_tensors(optimizer.state(), temporary / OPTIMIZER)
            state = {
                "format": FORMAT,
                "step": optimizer.step,
                "optimizer": type(optimizer).__name__,
                "settings": dataclasses.asdict(settings),
                "versions": versions(),
                "files": {
                    path.relative_to(temporary).as_posix(): _outline(path)
                    for path in sorted(temporary.rglob("*"))
                    if path.is_file()
                },
            }
            (temporary / STATE).write_text(json.dumps(state, indent=2) + "\n", "utf-8")
    found = checkpoints(run)  # newer ones are damaged
    for old in found[: found.index(folder) + 1][: -settings.keep]:
        atomic_remove(old)
    return folder


def checkpoints(run: str | os.PathLike[str]) -> list[Path]:
    """Return the checkpoints of a run, oldest first."""
    steps = {path: path.name.removeprefix("checkpoint-") for path in Path(run).glob("checkpoint-*")}
    found = [path for path, step in steps.items() if step.isdecimal() and (path / STATE).is_file()]
    return sorted(found, key=lambda path: int(steps[path]))


def versions() -> dict[str, str]:
    """Return what the last digits of a run depend on besides its settings (dict)."""
    return {"minibert": minibert.__version__, "NumPy": np.__version__, "BLAS": blas_name()}


def is_resumable(run: str | os.PathLike[str]) -> bool:
    """Return whether a run has a checkpoint, or is finished."""
    return bool(checkpoints(run)) or (Path(run) / STATE).is_file()


def resume_point(run: str | os.PathLike[str]) -> Path | None:
    """Return the newest whole checkpoint (path); the folder of a finished run; or None.

    Logs a warning for each damaged one that is newer. If all are damaged, the newest one is
    returned, so that reading it names the damage.
    """
    found = checkpoints(run)
    damages: dict[Path, str] = {}
    for checkpoint in reversed(found) if len(found) > 1 else ():
        damage = damage_of(checkpoint)
        if damage is None:
            for newer, reason in damages.items():
                log.warning("warning: %s is damaged: %s; continuing from %s", newer, reason,
                            checkpoint)  # fmt: skip
            return checkpoint
        damages[checkpoint] = damage
    if found:
        return found[-1]
    return Path(run) if (Path(run) / STATE).is_file() else None


def damage_of(checkpoint: str | os.PathLike[str]) -> str | None:
    """Return what is wrong with the files of a checkpoint (str); None: it is whole.

    A state of an earlier version lists no files; then the arrays are opened, which finds files that
    are missing, empty or cut.
    """
    folder = Path(checkpoint)
    try:
        read_state(folder)
        listed = read_json(folder / STATE).get("files")
        if not isinstance(listed, dict):
            for path in {folder / WEIGHTS, folder / OPTIMIZER, *folder.glob("*.safetensors")}:
                with open_tensors(path):
                    pass
            return None
        for name, outline in listed.items():
            parts = Path(name).parts  # in the folder, or in one of its folders
            if Path(name).anchor or ".." in parts or _outline(folder / name) != outline:
                return f"{sanitize(name)} is not the file that was written"
    except (OSError, ValueError) as error:
        return sanitize(error)
    return None


def _outline(path: Path) -> list[int]:
    """Return the size and the CRC-32 of a file."""
    size = checksum = 0
    with path_in_errors(path), path.open("rb") as file:
        while block := file.read(READ_BYTES):
            size, checksum = size + len(block), zlib.crc32(block, checksum)
    return [size, checksum]


def finish_run(run: str | os.PathLike[str]) -> None:
    """Remove the checkpoints of a run whose trained model is saved.

    The state of the newest one is kept next to the model, so that a command that resumes the run
    can compare the settings. A process that is killed here leaves a folder that can be resumed.
    """
    found = checkpoints(run)
    if found:
        with atomic_write(Path(run) / STATE) as temporary:
            shutil.copyfile(found[-1] / STATE, temporary)
    # The best weights last, because a resumed run restores them.
    for folder in (*found, *Path(run).glob(f"{BEST}*")):
        atomic_remove(folder)


def remove_checkpoint(run: str | os.PathLike[str], step: int) -> None:
    """Remove `run/checkpoint-STEP` if it exists."""
    atomic_remove(Path(run) / f"checkpoint-{step}")


def read_state(checkpoint: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the `step`, `settings`, `optimizer` and `format` of a checkpoint.

    A field that a state of version 1 lacks takes the value by which version 1 worked.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: it is broken or too new; the message names it.
    """
    path = Path(checkpoint) / STATE
    state = VERSION_1_STATE | read_json(path)
    step, settings, version = (state.get(name) for name in ("step", "settings", "format"))
    steps = settings.get("steps") if isinstance(settings, dict) else None
    if type(step) is not int or type(steps) is not int or not 0 <= step <= steps:
        raise ValueError(f"{path}: expected a step, and settings with at least as many steps")
    if type(version) is not int or not 1 <= version <= FORMAT:
        raise ValueError(f"{path}: format: expected 1 to {FORMAT}, got {sanitize(str(version))}")
    if not isinstance(state["optimizer"], str):
        raise ValueError(f"{path}: optimizer: expected the name of a class")
    assert isinstance(settings, dict)
    if version < 3:
        settings = SETTINGS_BEFORE_3 | settings
    return {name: state[name] for name in VERSION_1_STATE} | {"step": step, "settings": settings}


def restore_optimizer(checkpoint: str | os.PathLike[str], optimizer: Optimizer) -> None:
    """Read a checkpoint's arrays and step into `optimizer`.

    Logs a warning if version 1 wrote the checkpoint, or if NumPy or BLAS were others then.

    Raises:
        OSError: a file is missing or cannot be read.
        ValueError: a file is broken, is not the one that was written, or belongs to another model
            or optimizer; the message names it.
    """
    path = Path(checkpoint) / OPTIMIZER
    require_file(path, "a file")
    state, kind = read_state(checkpoint), type(optimizer).__name__
    if state["optimizer"] != kind:
        raise ValueError(
            f"optimizer: the run in {Path(checkpoint).parent} has {sanitize(state['optimizer'])}, "
            f"got {kind}"
        )
    try:
        with open_tensors(path) as tensors:
            optimizer.load({name: tensor.read() for name, tensor in tensors.items()})
    except ValueError as error:
        raise ValueError(f"{path}: not this model's moments: {sanitize(error)}") from None
    if damage := damage_of(checkpoint):  # which no reader notices, as that of one bit
        raise ValueError(f"{checkpoint}: is damaged: {damage}")
    optimizer.step = state["step"]
    if state["format"] == 1:
        log.warning(
            "warning: %s is a checkpoint of version 1; the resumed run's last digits will differ "
            "from those of version 1", checkpoint,
        )  # fmt: skip
    before = read_json(Path(checkpoint) / STATE).get("versions")
    for name, now in versions().items() if isinstance(before, dict) else ():
        if before.get(name) != now:
            log.warning(
                "warning: %s was written with %s %s, now it is %s; the last digits may differ from "
                "those of an uninterrupted run", checkpoint, name, sanitize(before.get(name)), now,
            )  # fmt: skip

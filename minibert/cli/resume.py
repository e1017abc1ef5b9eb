"""The model of an earlier run, checked against the settings of the command."""

import argparse
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from minibert.io.atomic import LOCK, TEMPORARY
from minibert.io.leftovers import remove
from minibert.io.locks import run_lock
from minibert.io.text import sanitize
from minibert.models import PreTrained, read_config
from minibert.models import config as presets
from minibert.models.checkpoints import read_architectures
from minibert.models.config import BertConfig
from minibert.training import Settings
from minibert.training.checkpoint import BEST, LATER_SETTINGS, is_resumable, read_state
from minibert.training.history import HISTORY
from minibert.training.loop import Interrupted
from minibert.training.recipes import PreTraining

log = logging.getLogger("minibert")

Kind = TypeVar("Kind", bound=Settings)
# Of a run without a checkpoint, or of its seeds.
REMAINS = (LOCK, TEMPORARY, HISTORY, f"{BEST}*")
SEED = "seed-"  # and the seed: the folder of one of several runs
CHOSEN_STEPS = r"[\d,]+ steps for "  # begins a part of the setting `chosen`; see `describe_choice`


@contextmanager
def run_folder(options: argparse.Namespace) -> Iterator[None]:
    """Lock `options.out`, the folder of a run, for a `with` block; Ctrl-C tells how to continue.

    With `options.resume` it may contain a run, also one that was killed before its first
    checkpoint, of which the remains are removed. So one command starts a run and continues it.

    Raises:
        BlockingIOError, OSError: see `run_lock`.
        FileExistsError: the folder contains something else.
        Interrupted: Ctrl-C, or another signal that asks to stop.
    """
    resume = options.resume and (_has_run(options.out) or _has_only_remains(options.out))
    with run_lock(options.out, resume=resume):
        if resume and not _has_run(options.out):
            for path in options.out.iterdir():
                if path.name != LOCK:
                    remove(path)
        try:
            yield
        except KeyboardInterrupt as stop:
            reason = str(stop) or "stopped"
            raise Interrupted(f"{reason}; the same command with --resume continues") from None


def _has_run(folder: Path) -> bool:
    """Return whether a folder, or one of a seed in it, has a checkpoint or a finished run."""
    return is_resumable(folder) or any(map(is_resumable, folder.glob(f"{SEED}*")))


def _has_only_remains(folder: Path) -> bool:
    """Return whether all that a folder contains is of a run that saved nothing."""
    return folder.is_dir() and all(
        any(map(path.match, REMAINS)) or (path.name.startswith(SEED) and _has_only_remains(path))
        for path in folder.iterdir()
    )


def resumed_model(
    run: Path, found: Path, kind: type[PreTrained], config: BertConfig, settings: Settings
) -> Any:
    """Read the model of a run whose configuration and settings are the given ones.

    Args:
        run (Path): folder of the run.
        found (Path): the folder that `resume_point` returns.
        kind (class): class of the model.
        config (BertConfig): expected configuration.
        settings (Settings): expected settings, except those that are `free`, and `steps`.

    Raises:
        ValueError: one of them differs from the run's; the message names it. Or an unfinished run
            has taken all the steps already, or a finished one has another number of them.
    """
    state = read_state(found)
    saved = LATER_SETTINGS | state["settings"]
    names, family = read_architectures(found), read_config(found).model_type
    if family != config.model_type:
        raise ValueError(
            f"architecture: the run in {run} has {sanitize(family)}, got {config.model_type}"
        )
    if names != list(getattr(kind, "architectures", [kind.__name__])):
        had = sanitize(" and ".join(map(str, names)) or "a model of an unknown kind")
        raise ValueError(f"model: the run in {run} has {had}, got {kind.__name__}")
    model = kind.from_pretrained(found, strict=True)
    pairs = [(name, getattr(model.config, name), value) for name, value in vars(config).items()]
    pairs += [(name, saved.get(name), value) for name, value in vars(settings).items()]
    for name, had, got in pairs:
        if name in ("extended_from", "chosen"):  # the run's own; see `extended`
            continue
        if name == "steps" and had != got:
            _require_steps(run, found, state["step"], had, settings)
        elif had != got and name not in settings.free:
            raise ValueError(f"{name}: the run in {run} has {sanitize(had)}, got {got}")
    return model


def with_own(settings: Kind, found: Path | None, names: Sequence[str]) -> Kind:
    """Return the settings with the values of an earlier run for those that no option states.

    Args:
        settings (Settings): the command's settings.
        found (Path or None): the folder that `resume_point` returns.
        names: the fields to replace; a value of another type is left to be refused.
    """
    saved = read_state(found)["settings"] if found else {}
    return replace(
        settings, **{n: saved[n] for n in names if type(saved.get(n)) is type(getattr(settings, n))}
    )


def preset_of(config: BertConfig) -> str | None:
    """Return the name of the preset with a model's layers and width, or None."""
    for name, sizes in presets.PRESETS.items():
        if all(getattr(config, key) == sizes[key] for key in ("num_hidden_layers", "hidden_size")):
            return name
    return None


def extended(settings: PreTraining, run: Path, found: Path | None) -> PreTraining:
    """Return the settings of pre-training with the step after which its run is, or was, extended.

    A finished run without checkpoints is extended from its weights if it has more steps now. The
    number of steps that was chosen at its start is no longer part of what was chosen.

    Args:
        settings (PreTraining): the command's settings.
        run (Path): folder of the run.
        found (Path or None): the folder that `resume_point` returns.

    Raises:
        ValueError: the number in the run's state is damaged.
    """
    if found is None:
        return settings
    state = read_state(found)
    done, first = state["step"], state["settings"].get("extended_from")
    if first is not None and not (type(first) is int and 0 < first <= done):
        raise ValueError(
            f"extended_from: expected the number of a step of the run in {run}, got "
            f"{sanitize(first)}"
        )
    is_longer = found == run and settings.steps > done
    chosen = settings.chosen
    if settings.steps != state["settings"].get("steps"):
        parts = chosen.split(", ")
        chosen = ", ".join(part for part in parts if not re.match(CHOSEN_STEPS, part))
    return replace(settings, extended_from=done if is_longer else first, chosen=chosen)


def _require_steps(run: Path, found: Path, done: int, had: int, settings: Settings) -> None:
    """Log that a run is now longer or shorter; raise ValueError if it cannot be."""
    got = settings.steps
    if found == run and not isinstance(settings, PreTraining):
        raise ValueError(f"steps: the run in {run} has {had}, got {got}; it is finished, and its "
                         "checkpoints, which --keep-checkpoints keeps, are removed")  # fmt: skip
    if got <= done:
        raise ValueError(f"steps: the run in {run} has taken {done}; expected more, got {got}")
    if found == run:
        log.warning("the run in %s had %d steps and has %d now: no checkpoint was kept, so it is "
                    "extended from its weights, with new moments of the optimizer and a new "
                    "warm-up", run, had, got)  # fmt: skip
        return
    log.warning("the run in %s had %d steps and has %d now: after step %d the learning rate "
                "follows the new number", run, had, got, done)  # fmt: skip

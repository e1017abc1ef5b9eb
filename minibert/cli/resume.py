"""The model of an interrupted run, checked against the settings of the command."""

from pathlib import Path
from typing import Any

from minibert.io.text import sanitize
from minibert.models import PreTrained
from minibert.models.checkpoints import read_architectures
from minibert.models.config import BertConfig
from minibert.training import Settings
from minibert.training.checkpoint import read_state

FREE_SETTINGS = (
    "evaluate_every",
    "save_every",
    "keep",
)  # these may change: no result depends on them


def resumed_model(
    checkpoint: Path, kind: type[PreTrained], config: BertConfig, settings: Settings
) -> Any:
    """Read the model of a run whose configuration and settings are the given ones.

    Args:
        checkpoint (Path): folder of the run's newest checkpoint.
        kind (class): class of the model.
        config (BertConfig): expected configuration.
        settings (Settings): expected settings, except `FREE_SETTINGS`.

    Raises:
        ValueError: one of them differs from the run's; the message names it.
    """
    saved = read_state(checkpoint)["settings"]
    found = read_architectures(checkpoint)
    if found != [kind.__name__]:
        had = sanitize(" and ".join(map(str, found)) or "a model of an unknown kind")
        raise ValueError(f"model: the run in {checkpoint.parent} has {had}, got {kind.__name__}")
    model = kind.from_pretrained(checkpoint, strict=True)
    pairs = [(name, getattr(model.config, name), value) for name, value in vars(config).items()]
    pairs += [(name, saved.get(name), value) for name, value in vars(settings).items()]
    for name, had, got in pairs:
        if had != got and name not in FREE_SETTINGS:
            raise ValueError(
                f"{name}: the run in {checkpoint.parent} has {sanitize(had)}, got {got}"
            )
    return model

"""Reading the model of an interrupted run, if the run's settings are the same."""

from pathlib import Path
from typing import Any

from minibert.files import shown
from minibert.models import PreTrained
from minibert.models.checkpoints import read_architectures
from minibert.models.config import BertConfig
from minibert.training import Settings
from minibert.training.checkpoint import read_state


def resumed_model(
    checkpoint: Path, kind: type[PreTrained], config: BertConfig, settings: Settings
) -> Any:
    """Read a run's model, if `config` and `settings` are the run's own.

    Raises:
        ValueError: they aren't; it says which.
    """
    saved = read_state(checkpoint)["settings"]
    found = read_architectures(checkpoint)
    if found != [kind.__name__]:
        had = shown(" and ".join(map(str, found)) or "no kind of model")
        raise ValueError(f"model: the run in {checkpoint.parent} has {had}, got {kind.__name__}")
    model = kind.from_pretrained(checkpoint, strict=True)
    free = ("evaluate_every", "save_every", "keep")  # these decide no number
    pairs = [(name, getattr(model.config, name), value) for name, value in vars(config).items()]
    pairs += [(name, saved.get(name), value) for name, value in vars(settings).items()]
    for name, had, got in pairs:
        if had != got and name not in free:
            raise ValueError(f"{name}: the run in {checkpoint.parent} has {shown(had)}, got {got}")
    return model

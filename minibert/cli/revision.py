"""The option --revision of all commands that read a model by its name on the hub."""

import argparse

# What the revision belongs to; of several that are given, the first.
NAMES = ("model", "source", "tokenizer")


def add_revision(parser: argparse.ArgumentParser) -> None:
    """Add --revision to the parser of a command with an argument for a model or a tokenizer."""
    if any(action.dest in NAMES for action in parser._actions):
        parser.add_argument(
            "--revision",
            help="of a model on the hub, owner/name: a commit, a branch or a tag; the files of a "
            "commit never change (default: the newest)",
        )


def pin_model(options: argparse.Namespace) -> None:
    """Add the revision to the name of the model or the tokenizer.

    Raises:
        ValueError: there is no such name, or it is not on the hub.
    """
    revision = getattr(options, "revision", None)
    if revision is None:
        return
    from minibert.models.hub import pinned  # imported here, because not each command needs models

    for name in NAMES:
        value = getattr(options, name, None)
        if value is not None:
            setattr(options, name, type(value)(pinned(value, revision)))
            return
    raise ValueError("revision: expected a name on the hub with it, owner/name, got none")

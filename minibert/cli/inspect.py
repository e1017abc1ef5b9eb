"""`minibert inspect`: show a text's activations in a model."""

import argparse
from pathlib import Path

import numpy as np

from minibert.cli.arguments import MODEL_HELP
from minibert.inspection import (
    inspect_text,
    inspectable_models,
    printed,
    printed_values,
    values_of,
    write_page,
)
from minibert.inspection.values import MAX_NUMBERS
from minibert.io.outputs import ensure_output
from minibert.models.auto import class_for
from minibert.models.checkpoints import read_architectures
from minibert.models.table import bert_names
from minibert.tasks.folders import task_of
from minibert.tokenization import AutoTokenizer

DESCRIPTION = """
For a model with a head, also prints its prediction; with --backward, also the norm of the gradient
of the predicted label's score with respect to each activation and each token. --html writes a page
that shows attention, hidden states and gradients in a browser, in a single file. --values prints
every number of a model of a few units, forward and back, with its formula: a masked language model
or a classifier of texts, of any family, with one label or several or with a number. Its loss is
that of the label; in a text without [MASK] it is that of each token, whose label is the token
itself.
"""
EXAMPLE = 'minibert inspect classifier "My train is an hour behind." --html look.html'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `minibert inspect`."""
    parser.add_argument("model", help=MODEL_HELP)
    parser.add_argument("text", help="a text; for a masked language model, with a [MASK]")
    parser.add_argument("--pair", help="a second text")
    parser.add_argument(
        "--backward", action="store_true", help="also run the backward pass, to show gradients"
    )
    parser.add_argument(
        "--label",
        help="label whose score is differentiated; implies --backward (default: the most probable "
        "class, or the most probable token at the first [MASK]); with --values, the label of the "
        "loss: a class, labels separated by commas, a number, or a token for each [MASK], "
        "separated by spaces",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--html", type=Path, metavar="FILE", help="also write a page to this file")
    form.add_argument(
        "--values",
        action="store_true",
        help="print every number of the forward pass, the loss and the backward pass; for models "
        f"with at most {MAX_NUMBERS} numbers in each tensor",
    )


def run(options: argparse.Namespace) -> None:
    """Print a text's activations in a model, and write them to a page if one is asked for."""
    if options.html:
        ensure_output(options.html)
    names = read_architectures(options.model)
    known = inspectable_models()
    kind = next((known[name] for name in bert_names(names) if name in known), None)
    if kind is None:
        raise ValueError(
            f"{options.model}: expected one of {', '.join(known)}, "
            f"got {', '.join(names) or 'a model of an unknown kind'}"
        )
    kind = class_for(kind, options.model)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    if options.values:
        exact = kind.from_pretrained(options.model, strict=True, dtype=np.float64)
        task = task_of(options.model, exact) if hasattr(exact, "problem") else None
        values = values_of(
            exact, tokenizer, options.text, options.pair, label=options.label, task=task
        )
        for line in printed_values(values):
            print(line)
        return
    inspection = inspect_text(
        kind.from_pretrained(options.model, strict=True),
        tokenizer,
        options.text,
        options.pair,
        label=options.label,
        # None: a page shows the gradients of every text that has a score.
        backward=options.backward or options.label is not None or (None if options.html else False),
    )
    for line in printed(inspection):
        print(line)
    if options.html:
        write_page(options.html, inspection.text, [inspection])
        print(f"{options.html}: open it in a browser")

"""The sub-command that looks inside a model."""

import argparse

from minibert import models
from minibert.inspection import inspect_text, printed, write_page
from minibert.models.checkpoints import read_architectures
from minibert.tokenization import WordPieceTokenizer

KINDS = (
    models.BertForPreTraining,
    models.BertForMaskedLM,
    models.BertForSequenceClassification,
    models.BertForTokenClassification,
    models.BertModel,
)


def inspect(options: argparse.Namespace) -> None:
    """Show what a text goes through."""
    names = read_architectures(options.model)
    kind = next((kind for kind in KINDS if kind.__name__ in names), None)
    if kind is None:
        raise ValueError(
            f"{options.model}: expected one of {', '.join(kind.__name__ for kind in KINDS)}, "
            f"got {', '.join(names) or 'a model of an unknown kind'}"
        )
    model = kind.from_pretrained(options.model, strict=True)
    seen = inspect_text(
        model,
        WordPieceTokenizer.from_pretrained(options.model),
        options.text,
        options.pair,
        label=options.label,
        # A page shows the gradients wherever there are some.
        backward=options.backward or options.label is not None or (None if options.html else False),
    )
    for line in printed(seen):
        print(line)
    if options.html:
        write_page(options.html, options.text, [seen])
        print(f"{options.html}: open it in a browser")

"""What each sub-command does: read the options, call the package, print the result."""

from minibert.cli.finetune import finetune
from minibert.cli.inspect import inspect
from minibert.cli.labelling import evaluate, predict
from minibert.cli.training import plot, pretrain, train_tokenizer
from minibert.cli.using import (
    corpus,
    demo,
    fill_mask,
    gradcheck,
    tokenize,
)
from minibert.cli.vectors import embed, similar

__all__ = [
    "corpus",
    "demo",
    "embed",
    "evaluate",
    "fill_mask",
    "finetune",
    "gradcheck",
    "inspect",
    "plot",
    "predict",
    "pretrain",
    "similar",
    "tokenize",
    "train_tokenizer",
]

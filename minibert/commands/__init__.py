"""What each sub-command does: read the options, call the package, print the result."""

from minibert.commands.finetuning import finetune
from minibert.commands.labelling import evaluate, predict
from minibert.commands.looking import inspect
from minibert.commands.training import plot, pretrain, train_tokenizer
from minibert.commands.using import (
    corpus,
    demo,
    fill_mask,
    gradcheck,
    tokenize,
)
from minibert.commands.vectors import embed, similar

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

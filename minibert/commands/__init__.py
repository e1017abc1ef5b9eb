"""What each sub-command does: read the options, call the package, print the result."""

from minibert.commands.training import finetune, plot, pretrain, train_tokenizer
from minibert.commands.using import (
    corpus,
    demo,
    evaluate,
    fill_mask,
    gradcheck,
    predict,
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
    "plot",
    "predict",
    "pretrain",
    "similar",
    "tokenize",
    "train_tokenizer",
]

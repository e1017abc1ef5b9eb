"""What each sub-command does: read the options, call the package, print the result."""

from minibert.cli import demo as _demo
from minibert.cli.corpus import run as corpus
from minibert.cli.embed import run as embed
from minibert.cli.fill_mask import run as fill_mask
from minibert.cli.finetune import finetune
from minibert.cli.gradcheck import run as gradcheck
from minibert.cli.inspect import run as inspect
from minibert.cli.labelling import evaluate, predict
from minibert.cli.plot import run as plot
from minibert.cli.pretrain import run as pretrain
from minibert.cli.similar import run as similar
from minibert.cli.tokenize import run as tokenize
from minibert.cli.train_tokenizer import run as train_tokenizer


def demo(options):
    """Walk the whole road."""
    _demo.run(options.out, steps=options.steps)


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

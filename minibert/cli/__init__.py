"""The command line: one module per command, imported when the command is used."""

import argparse
import errno
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from textwrap import dedent
from typing import Any

import minibert
from minibert.cli.revision import add_revision, pin_model
from minibert.io.text import PrintableStream, printable, sanitize
from minibert.runtime.signals import EXIT_INTERRUPTED, signals_as_interrupt

EXIT_FAILURE, EXIT_BAD_INPUT = 1, 2
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # not caused by the input
MAX_MESSAGE_CHARACTERS = 2000

# Each module has add_arguments(parser), run(options), DESCRIPTION and EXAMPLE. The summaries are
# stored here, so that `minibert --help` imports none of the modules.
COMMANDS = {  # name: (module, first line of the help)
    "demo": (
        "minibert.cli.demo",
        "Run the whole pipeline on the documentation installed with Python and NumPy.",
    ),
    "corpus": ("minibert.cli.corpus", "Write the built-in texts to files."),
    "train-tokenizer": (
        "minibert.cli.train_tokenizer",
        "Learn a WordPiece vocabulary from text files and save the tokenizer.",
    ),
    "pretrain": (
        "minibert.cli.pretrain",
        "Pre-train a BERT on text files by masked language modeling.",
    ),
    "finetune": (
        "minibert.cli.finetune",
        "Train a model on labelled texts, from a pre-trained model or from scratch.",
    ),
    "train-embeddings": (
        "minibert.cli.train_embeddings",
        "Train sentence vectors on pairs of texts that belong together.",
    ),
    "distill": (
        "minibert.cli.distill",
        "Train a student of few layers from a teacher's layers and outputs.",
    ),
    "plot": (
        "minibert.cli.plot",
        "Plot a run's loss, learning rate and speed against its steps (extra: plot).",
    ),
    "evaluate": (
        "minibert.cli.evaluate",
        "Evaluate a model on labelled texts: metrics, table and most confident errors.",
    ),
    "predict": (
        "minibert.cli.predict",
        "Predict the labels of texts, or the tag of each word.",
    ),
    "answer": (
        "minibert.cli.answer",
        "Find the answer to a question in texts: the words, their score and positions.",
    ),
    "fill-mask": (
        "minibert.cli.fill_mask",
        "Predict masked words: the most probable tokens for each [MASK].",
    ),
    "embed": (
        "minibert.cli.embed",
        "Turn texts into vectors, one per text, for search, clustering or as features.",
    ),
    "similar": (
        "minibert.cli.similar",
        "Find the lines of a file that are most similar to a query, by cosine.",
    ),
    "estimate": (
        "minibert.cli.estimate",
        "Tell the parameters, memory, FLOPs and time of a training step, before a run.",
    ),
    "inspect": (
        "minibert.cli.inspect",
        "Show a text's activations in a model, with the shape and norm of each.",
    ),
    "tokenize": ("minibert.cli.tokenize", "Show the tokens of texts, one line per text."),
    "gradcheck": (
        "minibert.cli.gradcheck",
        "Check every hand-written gradient against finite differences of the forward pass.",
    ),
    "exercises": (
        "minibert.cli.exercises",
        "Write exercises that grade themselves: forwards, backwards, bugs to find (extra: test).",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status (int).

    Args:
        arguments (list of str): the words after `minibert`; None: those of this process.

    Returns:
        0: success. 1: a failure while running. 2: bad input. 130: stopped by Ctrl-C, SIGTERM or
        SIGHUP, which a closed terminal sends.
    """
    try:
        with signals_as_interrupt():
            with _printable("stdout", "stderr"):
                options = build_parser().parse_args(arguments)  # imports the command's module
            return _run(options)
    except KeyboardInterrupt as stop:
        with suppress(OSError):  # the terminal was closed
            print(f"minibert: {printable(stop) or 'stopped'}", file=sys.stderr)
        return EXIT_INTERRUPTED


def _run(options: argparse.Namespace) -> int:
    """Run a command and return the exit status (int); an error is one line on stderr."""
    logging.basicConfig(format="%(message)s", handlers=[_LogHandler(options.log)], force=True)
    logging.getLogger("minibert").setLevel(logging.INFO)
    try:
        with _printable("stdout"):
            options.command(options)
    except BrokenPipeError:  # the reader of our output, `head` for example, has closed it
        sys.stderr.close()
        return 0
    except Exception as error:
        if options.debug:
            raise
        print(f"minibert: {_one_line(error)}", file=sys.stderr)
        is_disk_error = isinstance(error, OSError) and error.errno in DISK_ERRORS
        is_bad_input = isinstance(error, ValueError | TypeError | OSError) and not is_disk_error
        return EXIT_BAD_INPUT if is_bad_input else EXIT_FAILURE
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands (ArgumentParser)."""
    parser = _Parser(
        prog="minibert",
        description="BERT from scratch in pure NumPy: train it, use it, and check its gradients.",
        epilog="minibert COMMAND --help shows the options of a command, with an example.",
    )
    parser.add_argument("--version", action="version", version=f"minibert {minibert.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_CommandParser)
    for name, (module, summary) in COMMANDS.items():
        commands.add_parser(name, help=summary, description=summary, module=module)
    return parser


class _Parser(argparse.ArgumentParser):
    """Parser whose pages have no colors, as since Python 3.14: their escapes would be escaped."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.color = False


class _CommandParser(_Parser):
    """Parser of one command; it imports the command's module when it is first used.

    Args:
        module (str): name of the command's module.
        options: arguments of ArgumentParser.
    """

    def __init__(self, *, module: str, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **options)
        self.module = module
        self.is_loaded = False

    def parse_known_args(self, args=None, namespace=None):
        """Parse options and positional arguments in any order: `predict M --as jsonl "text"`.

        `parse_known_intermixed_args` parses the options first. Without it, argparse gives `texts`,
        of which there may be none, no value when it reads `M`. Some versions of Python call this
        method from there. The option named by the default `takes_rest` gets the words that are left
        over. With nargs="+" it would get the files as well: `evaluate --label y MODEL FILE`.
        """
        if self.is_loaded:
            return super().parse_known_args(args, namespace)
        self.load()
        options, rest = self.parse_known_intermixed_args(args, namespace)
        self._pin(options)
        taker = self.get_default("takes_rest")
        values = getattr(options, taker) if taker else None
        if values and not any(word.startswith("-") for word in rest):
            values += rest
            rest = []
        return options, rest

    def load(self) -> None:
        """Import the command's module and add its arguments."""
        self.is_loaded = True
        command = import_module(self.module)
        self.description = f"{self.description}\n\n{dedent(command.DESCRIPTION).strip()}".strip()
        self.epilog = f"example:\n  {command.EXAMPLE}"
        self.add_argument("--debug", action="store_true", help="show a traceback on errors")
        self.set_defaults(command=command.run, log="stdout")
        command.add_arguments(self)
        add_revision(self)

    def _pin(self, options: argparse.Namespace) -> None:
        """Add --revision to the name of the model."""
        try:
            pin_model(options)
        except ValueError as error:
            self.error(str(error))


class _LogHandler(logging.Handler):
    """Handler that prints log lines without breaking a progress bar on stderr.

    Args:
        stream (str): "stdout"; or "stderr", for commands whose output is data for other programs.
    """

    def __init__(self, stream: str) -> None:
        super().__init__()
        self.stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        stream = getattr(sys, self.stream)
        if stream is None:  # closed
            return
        try:
            with tqdm.external_write_mode():
                print(self.format(record), file=PrintableStream(stream), flush=True)
        except OSError as error:
            if error.errno != errno.EIO:  # the terminal was closed; a checkpoint is still written
                raise


@contextmanager
def _printable(*names: str) -> Iterator[None]:
    """Escape the control characters in what is written to streams of `sys` in a `with` block."""
    streams = {name: getattr(sys, name) for name in names}
    for name, stream in streams.items():
        if stream is not None:  # not closed
            setattr(sys, name, PrintableStream(stream))
    try:
        yield
    finally:
        for name, stream in streams.items():
            setattr(sys, name, stream)


def _one_line(error: Exception) -> str:
    """Return an error's message on one line (str)."""
    text = sanitize(" ".join(str(error).split())) or type(error).__name__
    if len(text) > MAX_MESSAGE_CHARACTERS:  # an untrusted file may contain names of any length
        half = MAX_MESSAGE_CHARACTERS // 2
        text = f"{text[:half]} ... {text[-half:]}"
    is_expected = isinstance(error, ValueError | TypeError | OSError | ArithmeticError)
    if isinstance(error, ModuleNotFoundError):  # minibert's own names an extra and has no `name`
        is_expected = error.name is None
    return text if is_expected else f"{type(error).__name__}: {text} (--debug shows the traceback)"

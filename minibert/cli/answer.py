"""`minibert answer`: find the answer to a question in texts."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

from minibert.cli.output import is_interactive
from minibert.data.delimited import quote
from minibert.inference.long_answers import answer_parts
from minibert.inference.question_answering import MAX_ANSWER_LENGTH, QuestionAnswerer
from minibert.io.text import READ_BYTES, read_parts, read_stdin
from minibert.tasks.base import json_line, one_line

STDIN = "-"  # the name of standard input in the output

DESCRIPTION = """
Reads each file as one text; without files, standard input. Prints for each text the most probable
answer: the words, the score, the positions of the first character and of the character after the
last (a line end counts as one), and the file, separated by tabs. Long texts are read in windows.
"""
EXAMPLE = 'minibert answer squad --question "Who wrote the letter?" letters/*.txt'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `minibert answer`."""
    parser.set_defaults(log="stderr")
    parser.add_argument("model", type=Path, help="folder of a model for question answering")
    parser.add_argument("file", type=Path, nargs="*", help="text files, one text each")
    parser.add_argument("--question", required=True, help="the question")
    parser.add_argument(
        "--no-answer",
        action="store_true",
        help="let no answer be an answer (an empty one, 0 to 0), for a model that was trained with "
        "questions without one, as those of SQuAD 2",
    )
    parser.add_argument(
        "--top", type=int, default=1, metavar="K", help="answers for each text (default: 1)"
    )
    parser.add_argument(
        "--as",
        dest="form",
        choices=["tsv", "jsonl"],
        default="tsv",
        help="output format (default: %(default)s)",
    )
    parser.add_argument(
        "--max-answer-len",
        type=int,
        default=MAX_ANSWER_LENGTH,
        help="longest answer in tokens (default: %(default)s)",
    )
    parser.add_argument(
        "--max-length",
        type=int,
        help="tokens of a window, the question included (default: 384, or fewer if the model has "
        "fewer positions)",
    )
    parser.add_argument(
        "--stride",
        type=int,
        help="tokens that two neighbouring windows share (default: 128, or one quarter of a window "
        "if that is less)",
    )
    parser.add_argument(
        "--threads", type=int, help="windows read at the same time (default: the number of cores)"
    )


def run(options: argparse.Namespace) -> None:
    """Print the best answers that each text contains."""
    answerer = QuestionAnswerer.from_pretrained(
        options.model, max_length=options.max_length, stride=options.stride
    )
    for name, pieces in _read_texts(options.file):
        answers = answer_parts(
            answerer,
            options.question,
            pieces,
            top_k=options.top,
            max_answer_len=options.max_answer_len,
            handle_impossible_answer=options.no_answer,
            threads=options.threads,
            progress=is_interactive(),
        )
        if not answers:
            raise ValueError(f"{name}: expected a text, got an empty one")
        for found in answers:
            if options.form == "jsonl":
                fields = {**found._asdict(), "score": round(found.score, 5), "file": name}
                print(json_line({"question": options.question, **fields}))
            else:
                words = quote(one_line(found.answer))
                places = f"{found.score:.3f}\t{found.start}\t{found.end}"
                print(f"{words}\t{places}\t{quote(name)}")


def _read_texts(files: list[Path]) -> Iterator[tuple[str, Iterator[str]]]:
    """Yield name and text of each file, in pieces; of standard input if there are none."""
    for path in files:
        yield str(path), _pieces(read_parts(path, longest=READ_BYTES))
    if not files:
        yield STDIN, _pieces((line, True) for line in read_stdin())


def _pieces(parts: Iterable[tuple[str, bool]]) -> Iterator[str]:
    """Yield parts of lines, with line ends between the lines."""
    between = ""
    for part, is_end in parts:
        yield between + part
        between = "\n" if is_end else ""

"""`minibert tokenize`: show the tokens of texts."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from minibert.cli.text_input import add_text_arguments, read_texts
from minibert.io.text import printable
from minibert.tokenization import AutoTokenizer, Encoding

DESCRIPTION = """
Without texts and --file, reads lines from standard input. Files may be larger than memory.
"""
EXAMPLE = 'minibert tokenize tokenizer "An unforgettable example." --offsets'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `minibert tokenize`."""
    parser.add_argument("tokenizer", type=Path, help="folder of a tokenizer or a model, or tiny")
    add_text_arguments(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--as",
        dest="form",
        choices=["tokens", "ids", "json"],
        default="tokens",
        help="output format; json contains tokens, ids, offsets and word ids "
        "(default: %(default)s)",
    )
    form.add_argument(
        "--offsets",
        action="store_true",
        help="show each token below its characters, with their positions in the text",
    )
    parser.add_argument(
        "--split-special-tokens",
        action="store_true",
        help="treat [MASK] and the other special tokens in a text as plain text",
    )


def run(options: argparse.Namespace) -> None:
    """Print the tokens, ids, offsets or complete encodings of texts."""
    tokenizer = AutoTokenizer.from_pretrained(options.tokenizer)
    special = {"split_special_tokens": options.split_special_tokens}
    for text in read_texts(options):
        if options.offsets:
            print(*_aligned_lines(text, tokenizer.encode(text, **special)), sep="\n", end="\n\n")
        elif options.form == "ids":
            print(*tokenizer.encode(text, **special).input_ids)
        elif options.form == "json":
            print(json.dumps(asdict(tokenizer.encode(text, **special))))
        else:
            print(*map(printable, tokenizer.encode(text, **special).tokens))


def _aligned_lines(text: str, encoding: Encoding) -> Iterator[str]:
    """Yield three aligned lines: the text's characters, their tokens, and their offsets."""
    columns = [
        (" ".join(text[start:end].split()), token, f"{start}-{end}" if end else "")
        for token, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True)
    ]
    columns = [(printable(part), printable(token), place) for part, token, place in columns]
    widths = [max(map(len, column)) for column in columns]
    for line in zip(*columns, strict=True):
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(cells).rstrip()

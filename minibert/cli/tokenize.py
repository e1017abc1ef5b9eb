"""`minibert tokenize`: show the tokens of texts."""

import argparse
import json
from dataclasses import asdict

from minibert.cli.input import lines_of
from minibert.tokenization import WordPieceTokenizer


def run(options: argparse.Namespace) -> None:
    """Show tokens, ids, offsets or everything."""
    tokenizer = WordPieceTokenizer.from_pretrained(options.tokenizer)
    how = {"split_special_tokens": options.split_special_tokens}
    for text in lines_of(options):
        if options.offsets:
            print(*_under_each_other(text, tokenizer.encode(text, **how)), sep="\n", end="\n\n")
        elif options.form == "ids":
            ids = tokenizer.ids_of(text, **how).tolist()
            print(*[tokenizer.cls_token_id, *ids, tokenizer.sep_token_id])
        elif options.form == "json":
            print(json.dumps(asdict(tokenizer.encode(text, **how))))
        else:
            print(*tokenizer.encode(text, **how).tokens)


def _under_each_other(text, encoding):
    """Return three lines: the pieces of a text, the tokens made of them, and their offsets."""
    columns = [
        (" ".join(text[start:end].split()), token, f"{start}-{end}" if end else "")
        for token, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True)
    ]
    widths = [max(map(len, column)) for column in columns]
    for line in zip(*columns, strict=True):
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield "  ".join(cells).rstrip()

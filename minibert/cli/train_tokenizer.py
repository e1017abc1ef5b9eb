"""`minibert train-tokenizer`: learn the vocabulary of a tokenizer from text files."""

import argparse
from collections.abc import Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, get_args

from minibert.cli.output import is_interactive
from minibert.data.corpus import read_document_parts
from minibert.io.atomic import atomic_dir, settled
from minibert.io.locks import ensure_writable
from minibert.tokenization import (
    ByteLevelBPETokenizer,
    WordPieceTokenizer,
)
from minibert.tokenization.trainer import Score

DESCRIPTION = """
The tokenizer is saved in the format of Hugging Face: tokenizer.json and tokenizer_config.json;
vocab.txt for WordPiece, vocab.json and merges.txt for byte-level BPE.
"""
EXAMPLE = "minibert train-tokenizer corpus/train.txt --vocab-size 8192 --out tokenizer"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `minibert train-tokenizer`."""
    parser.add_argument("files", nargs="+", type=Path, help="UTF-8 text files")
    parser.add_argument(
        "--type",
        choices=["wordpiece", "bpe"],
        default="wordpiece",
        help="WordPiece, as in BERT, or byte-level BPE, as in RoBERTa and GPT-2: no text is "
        "unknown; --score, --limit-alphabet, --initial-alphabet and --cased are refused with it "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--vocab-size",
        type=int,
        default=8192,
        help="number of tokens in the vocabulary (default: %(default)s)",
    )
    parser.add_argument(
        "--min-frequency",
        type=int,
        default=2,
        help="merge only pairs that occur at least this many times (default: %(default)s)",
    )
    parser.add_argument(
        "--score",
        choices=get_args(Score),
        help="which pair to merge next: the most frequent one, or the one with the highest "
        "WordPiece score, which divides by the frequencies of both parts (default: frequency)",
    )
    parser.add_argument(
        "--limit-alphabet",
        type=int,
        help="maximum number of characters in the vocabulary (default: 1000, or as many as fit)",
    )
    parser.add_argument(
        "--initial-alphabet",
        metavar="LETTERS",
        help="characters to include even if they are rare (default: none)",
    )
    parser.add_argument(
        "--special-tokens",
        nargs="+",
        default=[],
        metavar="TOKEN",
        help="special tokens in addition to [PAD], [UNK], [CLS], [SEP] and [MASK], or to <s>, "
        "<pad>, </s>, <unk> and <mask>",
    )
    parser.add_argument(
        "--cased",
        action="store_true",
        help="keep upper case and accents (default: lower case, no accents)",
    )
    parser.add_argument(
        "--add-prefix-space",
        action="store_true",
        help="of byte-level BPE: put a space before a text, so that its first word has the tokens "
        "that it has elsewhere",
    )
    parser.add_argument("--out", type=settled, required=True, help="new folder for the tokenizer")


def run(options: argparse.Namespace) -> None:
    """Learn a vocabulary and save the tokenizer."""
    _require_applicable(options)
    ensure_writable(options.out)
    kind, own = (_bpe if options.type == "bpe" else _wordpiece)(options)
    tokenizer = train_on_files(
        options.files,
        options.vocab_size,
        kind=kind,
        min_frequency=options.min_frequency,
        special_tokens=options.special_tokens,
        **own,
    )
    with atomic_dir(options.out) as temporary:
        tokenizer.save_pretrained(temporary)
    print(f"{options.out}: {tokenizer.vocab_size:,} pieces")


def train_on_files(
    files: Sequence[Path],
    vocab_size: int,
    every: int = 1,
    kind: Any = WordPieceTokenizer,
    **options: Any,
) -> Any:
    """Return a tokenizer with a vocabulary learned from the lines of text files.

    Args:
        files: the text files.
        vocab_size: V, the number of pieces.
        every: n; every n-th line is read, from the first one on.
        kind: the class of the tokenizer.
        options: of its `train`.

    Raises:
        OSError, ValueError: as `read_document_parts` and `kind.train`; the message names the files.
    """
    # Documents do not matter here, and single lines need less memory.
    parts = read_document_parts(files, document_end="lines")
    lines = chain.from_iterable(part.texts for part in parts)
    try:
        return kind.train(
            islice(lines, 0, None, every), vocab_size, progress=is_interactive(), **options
        )
    except ValueError as error:
        if any(str(error).startswith(str(path)) for path in files):
            raise
        raise ValueError(f"{', '.join(map(str, files))}: {error}") from None


def _require_applicable(options: argparse.Namespace) -> None:
    """Refuse options of the other type of tokenizer."""
    other = {
        "wordpiece": ["add_prefix_space"],
        "bpe": ["score", "limit_alphabet", "initial_alphabet", "cased"],
    }[options.type]
    for name in other:
        if getattr(options, name) not in (None, False):
            option = name.replace("_", "-")
            raise ValueError(f"--{option}: not an option of --type {options.type}")


def _wordpiece(options: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    return WordPieceTokenizer, {
        "score": options.score or "frequency",
        "limit_alphabet": "auto" if options.limit_alphabet is None else options.limit_alphabet,
        "initial_alphabet": options.initial_alphabet or "",
        "do_lower_case": not options.cased,
    }


def _bpe(options: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    return ByteLevelBPETokenizer, {"add_prefix_space": options.add_prefix_space}

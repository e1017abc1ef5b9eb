"""`minibert train-tokenizer`: learn a WordPiece vocabulary from text files."""

import argparse

from minibert.cli.output import interactive
from minibert.data.corpus import read_corpus
from minibert.files import claim, creating
from minibert.tokenization import WordPieceTokenizer


def run(options: argparse.Namespace) -> None:
    """Learn a vocabulary."""
    claim(options.out)
    paragraphs = (text for document in read_corpus(options.files) for text in document)
    try:
        tokenizer = WordPieceTokenizer.train(
            paragraphs,
            options.vocab_size,
            score=options.score,
            min_frequency=options.min_frequency,
            limit_alphabet=options.limit_alphabet,
            initial_alphabet=options.initial_alphabet,
            special_tokens=options.special_tokens,
            do_lower_case=not options.cased,
            progress=interactive(),
        )
    except ValueError as error:
        if any(str(error).startswith(str(path)) for path in options.files):
            raise
        raise ValueError(f"{', '.join(map(str, options.files))}: {error}") from None
    with creating(options.out) as temporary:
        tokenizer.save_pretrained(temporary)
    print(f"{options.out}: {tokenizer.vocab_size:,} pieces")

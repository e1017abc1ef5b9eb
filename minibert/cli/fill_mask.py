"""`minibert fill-mask`: predict masked words."""

import argparse

from minibert.models import BertForMaskedLM
from minibert.tokenization import WordPieceTokenizer
from minibert.training.pretraining import guess


def run(options: argparse.Namespace) -> None:
    """Guess hidden words."""
    if options.top < 1:
        raise ValueError(f"top: expected at least 1, got {options.top}")
    tokenizer = WordPieceTokenizer.from_pretrained(options.model)
    model = BertForMaskedLM.from_pretrained(options.model, strict=True)
    for text in options.texts:
        places = guess(model, tokenizer, text, options.top)
        print(text)
        for guesses in places:
            print("  " + ", ".join(f"{piece} {share:.1%}" for piece, share in guesses))

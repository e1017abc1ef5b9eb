"""`minibert fill-mask`: predict masked words."""

import argparse
from pathlib import Path
from typing import Any

from minibert.io.text import printable
from minibert.models.auto import AutoModelForMaskedLM
from minibert.models.replaced_tokens import refuse_discriminator
from minibert.tokenization import AutoTokenizer
from minibert.training.pretraining import guess

DESCRIPTION = """
Prints each text, and below it one line per [MASK]: tokens with their probabilities. A token that
continues a word begins with ##. Other tokenizers have other masks, such as <mask>.
"""
EXAMPLE = 'minibert fill-mask tiny "Return a copy of the [MASK] in lower case."'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `minibert fill-mask`."""
    parser.add_argument(
        "model",
        type=Path,
        help="folder of a pre-trained model, its name on the hub, or tiny (part of minibert)",
    )
    parser.add_argument("texts", nargs="+", help="texts that contain at least one [MASK]")
    parser.add_argument(
        "--top", type=int, default=5, help="predictions per [MASK] (default: %(default)s)"
    )


def run(options: argparse.Namespace) -> None:
    """Print the most probable tokens for each [MASK]."""
    if options.top < 1:
        raise ValueError(f"top: expected at least 1, got {options.top}")
    refuse_discriminator(options.model)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model: Any = AutoModelForMaskedLM.from_pretrained(options.model, strict=True)
    for text in options.texts:
        predictions = guess(model, tokenizer, text, options.top)
        print(printable(text))
        for candidates in predictions:
            tokens = (f"{printable(token)} {prob:.1%}" for token, prob in candidates)
            print("  " + ", ".join(tokens))

"""The sub-commands that show and use what is there."""

import argparse
import json
from dataclasses import asdict

from minibert.cli.shared import interactive, lines_of
from minibert.files import claim, replacing
from minibert.models import BertForMaskedLM
from minibert.testing import cases as proofs
from minibert.tokenization import WordPieceTokenizer
from minibert.training.pretraining import guess


def demo(options: argparse.Namespace) -> None:
    """Walk the whole road."""
    from minibert.cli.demo import run

    run(options.out, steps=options.steps)


def corpus(options: argparse.Namespace) -> None:
    """Write the built-in texts."""
    from minibert.data.builtin.corpus import write_builtin

    claim(options.out)
    texts, labelled = write_builtin(options.out, progress=interactive())
    for name, side in (("train", texts.train), ("held_out", texts.held_out)):
        letters = sum(len(paragraph) for document in side for paragraph in document)
        print(
            f"{options.out / name}.txt: {len(side):,} documents, {letters / 1e6:.1f} M characters"
        )
    for name, rows in labelled.items():
        classes = len({label for label, _ in rows})
        print(f"{options.out / 'labelled' / name}.tsv: {len(rows):,} texts, {classes} classes")


def fill_mask(options: argparse.Namespace) -> None:
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


def tokenize(options: argparse.Namespace) -> None:
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


def gradcheck(options: argparse.Namespace) -> None:
    """Prove every gradient."""
    results = proofs.report(proofs.cases(every=options.all))
    if options.out:
        with replacing(options.out) as path:
            path.write_text(proofs.markdown(results), encoding="utf-8")
    if any(rows is None for _, rows in results):
        raise ArithmeticError("a gradient disagrees with its forward pass")

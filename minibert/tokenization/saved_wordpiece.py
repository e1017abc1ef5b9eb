"""The files of a WordPiece tokenizer, in Hugging Face's formats.

Written: `vocab.txt`, one piece per line; and the files of every kind of tokenizer. Read: the pieces
from `tokenizer.json`, or from `vocab.txt` if there is no such file. See `saved`.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from minibert.io.json import read_json
from minibert.io.text import read_pieces, sanitize
from minibert.tokenization.added import AddedToken
from minibert.tokenization.framing import BERT, ROBERTA
from minibert.tokenization.saved import (
    CONFIG,
    NULLABLE_INT,
    AddedTokens,
    Format,
    Source,
    added_tokens_of,
    check_id,
    part_of,
)
from minibert.tokenization.saved_frame import read_frame, write_frame
from minibert.tokenization.vocabulary import Vocabulary

VOCABULARY = "vocab.txt"
# The options of the normalizer and of the model in tokenizer.json, and our names.
NORMALIZER = {
    "clean_text": "clean_text",
    "handle_chinese_chars": "tokenize_chinese_chars",
    "strip_accents": "strip_accents",
    "lowercase": "do_lower_case",
}
MODEL = ["unk_token", "continuing_subword_prefix", "max_input_chars_per_word"]
# Characters of a piece that a word may contain: the search for the longest piece tries all shorter
# ones too, so its time for each character of a word is proportional to the square of this.
LONGEST_PIECE = 500
UNUSABLE = re.compile(r"[\n\r\0]")


class WordPieceFormat(Format):
    """The files of a WordPiece tokenizer."""

    kind = "WordPiece"
    options: ClassVar = {
        "do_lower_case": (bool,),
        "strip_accents": (bool, type(None)),
        "tokenize_chinese_chars": (bool,),
        "clean_text": (bool,),
        "continuing_subword_prefix": (str,),
        "max_input_chars_per_word": (int,),
        "unk_token": (str,),
        "sep_token": (str,),
        "pad_token": (str,),
        "cls_token": (str,),
        "mask_token": (str,),
        "model_max_length": NULLABLE_INT,
    }
    mask_token = "[MASK]"

    def files(self, tokenizer: Any) -> dict[str, str]:
        """Return the text of `vocab.txt`."""
        return {VOCABULARY: "".join(f"{piece}\n" for piece in tokenizer.vocabulary.pieces)}

    def read_files(self, folder: Path) -> Source:
        """Read `vocab.txt`."""
        pieces = read_pieces(folder / VOCABULARY)
        config = read_json(folder / CONFIG) if (folder / CONFIG).is_file() else {}
        stated = str(config.get("tokenizer_class")).removesuffix("Fast")
        ids = {piece: i for i, piece in enumerate(pieces)}
        return Source(ids, len(pieces), template=ROBERTA if stated == "MPNetTokenizer" else BERT)

    def parts(self, source: Source, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the vocabulary and the template, as the constructor's arguments."""
        prefix = options.get("continuing_subword_prefix", "##")
        longest = max(map(len, source.ids), default=0)
        word = options.get("max_input_chars_per_word", 100)
        if min(longest, word) > LONGEST_PIECE:
            raise ValueError(
                f"vocabulary: expected pieces of at most {LONGEST_PIECE} characters, or a "
                f"max_input_chars_per_word of as many, got {longest:,} and {word:,}"
            )
        return {"vocabulary": Vocabulary.with_gaps(source.ids, source.size, prefix), **source.more}

    def whole(
        self, tokenizer: Any, options: Mapping[str, Any], added: Mapping[int, AddedToken]
    ) -> dict[str, Any]:
        """Return the content of `tokenizer.json`."""
        ids = {token.content: i for i, token in added.items()}
        cls, sep = ([options[name], ids[options[name]]] for name in ("cls_token", "sep_token"))
        if tokenizer.template == BERT:
            frame = {"type": "BertProcessing", "sep": sep, "cls": cls}
        else:
            frame = write_frame(tokenizer.template, tokenizer)
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [{"id": i, **asdict(added[i])} for i in sorted(added)],
            "normalizer": {
                "type": "BertNormalizer",
                **{theirs: options[ours] for theirs, ours in NORMALIZER.items()},
            },
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": frame,
            "decoder": {
                "type": "WordPiece",
                "prefix": options["continuing_subword_prefix"],
                "cleanup": True,
            },
            "model": {
                "type": "WordPiece",
                **{name: options[name] for name in MODEL},
                "vocab": dict(tokenizer.vocabulary.ids),
            },
        }

    def read_whole(self, whole: dict[str, Any]) -> tuple[Source, dict[str, Any], AddedTokens]:
        """Return the ids of the pieces, the options and the added tokens of `tokenizer.json`."""
        model = whole["model"]
        untyped = "WordPiece" if "max_input_chars_per_word" in model else "one of no type"
        kind = model.get("type", untyped)  # old files do not contain it
        if kind != "WordPiece":
            raise ValueError(f"model: expected WordPiece, got {sanitize(kind)}")
        normalizer = part_of(whole, "normalizer", {"BertNormalizer", None})
        part_of(whole, "pre_tokenizer", {"BertPreTokenizer"})
        options = {name: model[name] for name in MODEL if name in model}
        options |= {ours: normalizer.get(theirs, False) for theirs, ours in NORMALIZER.items()}
        template, ends = read_frame(whole)
        options |= ends
        if not isinstance(model["vocab"], dict):
            raise TypeError("model: vocab: expected an object")
        # White space and NUL are never part of a word, so such a piece is never used.
        usable = {piece: i for piece, i in model["vocab"].items() if not UNUSABLE.search(piece)}
        ids = {piece: check_id(i, "vocab") for piece, i in usable.items()}
        return Source(ids, template=template), options, added_tokens_of(whole)

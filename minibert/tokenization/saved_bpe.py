"""The files of a byte-level BPE tokenizer, in Hugging Face's formats.

Written: `vocab.json`, the id of each piece; `merges.txt`, the two pieces of a merge on each line;
and the files of every kind of tokenizer. Read: the pieces and the merges from `tokenizer.json`, or
from the other two files if there is no such file. See `saved`.
"""

import json
from collections.abc import Container, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from minibert.io.json import read_json
from minibert.io.text import read_lines, sanitize
from minibert.tokenization.added import AddedToken
from minibert.tokenization.byte_pairs import Merge, check_alphabet, check_merge
from minibert.tokenization.framing import BARE, ROBERTA
from minibert.tokenization.saved import (
    NULLABLE_INT,
    AddedTokens,
    Format,
    Source,
    added_tokens_of,
    check_id,
    part_of,
)
from minibert.tokenization.saved_frame import read_frame, write_frame
from minibert.tokenization.steps import StepNormalizer
from minibert.tokenization.vocabulary import Vocabulary

VOCABULARY, MERGES = "vocab.json", "merges.txt"
VERSION = "#version: 0.2"  # first line of merges.txt
# Options of the model in tokenizer.json that change its tokens, with the values that are read.
UNUSED = {
    "dropout": (None, 0, 0.0),
    "continuing_subword_prefix": (None, ""),
    "end_of_word_suffix": (None, ""),
    "byte_fallback": (None, False),
}
NULLABLE_STR = (str, type(None))
# Special tokens of a file that does not state them, in the order of RoBERTa's ids.
SPECIAL = {
    "cls_token": "<s>",
    "pad_token": "<pad>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}
GPT2 = "<|endoftext|>"


class ByteLevelBPEFormat(Format):
    """The files of a byte-level BPE tokenizer."""

    kind = "BPE"
    options: ClassVar = {
        "add_prefix_space": (bool,),
        "trim_offsets": (bool,),
        "ignore_merges": (bool,),
        "unk_token": NULLABLE_STR,
        "sep_token": NULLABLE_STR,
        "pad_token": NULLABLE_STR,
        "cls_token": NULLABLE_STR,
        "mask_token": NULLABLE_STR,
        "bos_token": NULLABLE_STR,
        "eos_token": NULLABLE_STR,
        "model_max_length": NULLABLE_INT,
    }
    mask_lstrip = True

    def files(self, tokenizer: Any) -> dict[str, str]:
        """Return the text of `vocab.json` and of `merges.txt`."""
        lines = [VERSION, *(" ".join(merge) for merge in tokenizer.merges)]
        ids = json.dumps(dict(tokenizer.vocabulary.ids), ensure_ascii=False)
        return {VOCABULARY: ids, MERGES: "".join(f"{line}\n" for line in lines)}

    def read_files(self, folder: Path) -> Source:
        """Read `vocab.json` and `merges.txt`."""
        ids = read_json(folder / VOCABULARY)
        try:
            ids = _checked(ids)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{folder / VOCABULARY}: {sanitize(error)}") from None
        merges = []
        for number, line in enumerate(read_lines(folder / MERGES), start=1):
            if not line or line.startswith("#version"):
                continue
            pair = tuple(line.split(" "))
            whole = "".join(pair)
            if len(pair) != 2 or not all(part in ids for part in (*pair, whole)):
                raise ValueError(
                    f"{folder / MERGES}, line {number}: expected two pieces whose whole is a piece "
                    f"of the vocabulary, got {sanitize(line)!r}"
                )
            merges.append(pair)
        return Source(ids, merges=merges)

    def settle(self, options: dict[str, Any], known: Container[str], source: Source) -> None:
        """Set special tokens that no file states and that do not exist to None.

        GPT-2 has one, which its files need not state; and no frame.
        """
        if GPT2 in known and SPECIAL["cls_token"] not in known:
            for name in "unk_token", "bos_token", "eos_token":
                options.setdefault(name, GPT2)
        for name, token in SPECIAL.items():
            if token not in known:
                options.setdefault(name, None)
        ends = [options.get(name, SPECIAL[name]) for name in ("cls_token", "sep_token")]
        source.more.setdefault("template", BARE if None in ends else ROBERTA)

    def parts(self, source: Source, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the vocabulary, the merges and the template, as the constructor's arguments."""
        return {"vocabulary": Vocabulary.with_gaps(source.ids, source.size, ""), **source.more}

    def whole(
        self, tokenizer: Any, options: Mapping[str, Any], added: Mapping[int, AddedToken]
    ) -> dict[str, Any]:
        """Return the content of `tokenizer.json`."""
        flags = {"trim_offsets": tokenizer.trim_offsets}
        flags["add_prefix_space"] = tokenizer.add_prefix_space
        level = {"type": "ByteLevel", **flags, "use_regex": True}
        frame: dict[str, Any] = level
        if tokenizer.template == ROBERTA:
            ends = {"sep": tokenizer.sep_token, "cls": tokenizer.cls_token}
            frame = {name: [token, tokenizer.vocab[token]] for name, token in ends.items()}
            frame = {"type": "RobertaProcessing", **frame, **flags}
        elif tokenizer.template != BARE:
            frame = write_frame(tokenizer.template, tokenizer)
            if tokenizer.trim_offsets:
                frame = {"type": "Sequence", "processors": [level, frame]}
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [{"id": i, **asdict(added[i])} for i in sorted(added)],
            "normalizer": tokenizer.normalizer.whole,
            "pre_tokenizer": level,
            "post_processor": frame,
            "decoder": level,
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": False,
                "byte_fallback": False,
                "ignore_merges": tokenizer.ignore_merges,
                "vocab": dict(tokenizer.vocabulary.ids),
                "merges": [list(merge) for merge in tokenizer.merges],
            },
        }

    def read_whole(self, whole: dict[str, Any]) -> tuple[Source, dict[str, Any], AddedTokens]:
        """Return the pieces, the merges, the options and the added tokens of `tokenizer.json`."""
        model = whole["model"]
        kind = model.get("type", "BPE" if "merges" in model else "one of no type")
        if kind != "BPE":
            raise ValueError(f"model: expected BPE, got {sanitize(kind)}")
        for name, values in UNUSED.items():
            if model.get(name) not in values:
                raise ValueError(f"model: {name}: expected none, got {sanitize(model[name])}")
        StepNormalizer(whole.get("normalizer"))  # raises for an unknown step
        level = part_of(whole, "pre_tokenizer", {"ByteLevel"})
        if level.get("use_regex", True) is not True:
            raise ValueError("pre_tokenizer: use_regex: expected true, got false")
        template, stated = read_frame(whole)
        options = {"trim_offsets": False, **stated}
        options["add_prefix_space"] = level.get("add_prefix_space", True)
        options["ignore_merges"] = model.get("ignore_merges", False)
        if not isinstance(model["vocab"], dict) or not isinstance(model["merges"], list):
            raise TypeError("model: vocab, merges: expected an object and an array")
        ids = _checked(model["vocab"])
        merges = [_merge(i, merge, ids) for i, merge in enumerate(model["merges"])]
        normalizer = whole.get("normalizer")
        source = Source(ids, merges=merges, template=template, normalizer=normalizer)
        return source, options, added_tokens_of(whole)


def _checked(vocab: dict[str, Any]) -> dict[str, int]:
    """Return the ids of pieces; refuse ids that are not integers or that occur twice."""
    pieces: dict[int, str] = {}
    for piece, i in vocab.items():
        other = pieces.setdefault(check_id(i, "vocab"), piece)
        if other != piece:
            raise ValueError(f"vocab: expected different ids, got {i} for {other!r} and {piece!r}")
    check_alphabet(vocab)
    return vocab


def _merge(index: int, merge: Any, ids: Mapping[str, int]) -> Merge:
    """Return a merge of tokenizer.json: an array of two strings, or a line in older files."""
    pair = merge.split(" ") if isinstance(merge, str) else merge
    if not isinstance(pair, list) or len(pair) != 2 or {*map(type, pair)} != {str}:
        raise ValueError(f"merges[{index}]: expected two pieces, got {sanitize(repr(merge))}")
    check_merge(index, pair[0], pair[1], ids)
    return pair[0], pair[1]

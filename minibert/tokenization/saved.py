"""The files of a tokenizer, in Hugging Face's formats.

Written: `vocab.txt`, one piece per line; `tokenizer.json`, which is complete; and
`tokenizer_config.json`, which makes `transformers.AutoTokenizer` read `tokenizer.json`. The class
`BertTokenizer` is not used there, because `transformers` 5 would build a tokenizer without
`clean_text`, the prefix and `max_input_chars_per_word`.

Read: the pieces from `tokenizer.json`, or from `vocab.txt` if there is no such file, with the
`added_tokens.json` of older folders. An option is taken from the first file that contains it, in
the order `tokenizer_config.json`, `special_tokens_map.json`, `tokenizer.json`. Settings of
truncation and padding are ignored; they are arguments of `encode`.

Faults that do not matter are read as in transformers: ids without a piece or with several, repeated
pieces, of which the last id counts, and a missing [MASK], which gets the next id.
"""

import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minibert.io.atomic import atomic_write
from minibert.io.json import read_json
from minibert.io.text import read_pieces, sanitize
from minibert.tokenization.added import SURROGATE, AddedToken
from minibert.tokenization.vocabulary import Vocabulary

VOCABULARY, WHOLE, CONFIG = "vocab.txt", "tokenizer.json", "tokenizer_config.json"
SPECIAL_MAP, LEGACY = "special_tokens_map.json", "added_tokens.json"
# Options of the configuration, and their types.
OPTIONS: dict[str, tuple[type, ...]] = {
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
    "model_max_length": (int, type(None)),
}
# The same options in tokenizer.json, in its parts "normalizer" and "model".
NORMALIZER = {
    "clean_text": "clean_text",
    "handle_chinese_chars": "tokenize_chinese_chars",
    "strip_accents": "strip_accents",
    "lowercase": "do_lower_case",
}
MODEL = ["unk_token", "continuing_subword_prefix", "max_input_chars_per_word"]
UNUSABLE = re.compile(r"[\n\r\0]")
UNLIMITED = 10**9  # a longer length means None; transformers writes 10^30
JSON_TYPES = {bool: "true or false", int: "an integer", str: "a string", type(None): "null"}
INPUTS = ["input_ids", "token_type_ids", "attention_mask"]
log = logging.getLogger("minibert")

AddedTokens = dict[int | str, AddedToken]  # by id, or by text if the file contains no id


def write(
    folder: str | os.PathLike[str],
    vocabulary: Vocabulary,
    options: Mapping[str, Any],
    added: Mapping[int, AddedToken],
) -> None:
    """Write a tokenizer's files, each of them atomically.

    Args:
        folder: created if missing.
        vocabulary: the pieces and their ids.
        options: values of all `OPTIONS`; a length of None is not written.
        added: added tokens by id, special ones included.
    """
    with atomic_write(Path(folder) / VOCABULARY) as path:
        path.write_text("".join(f"{piece}\n" for piece in vocabulary.pieces), "utf-8", newline="\n")
    _write_json(Path(folder) / WHOLE, _whole(vocabulary.ids, options, added))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": INPUTS,  # of BERT; some relatives have no segments
        **{name: value for name, value in options.items() if name != "model_max_length"},
    }
    if options["model_max_length"] is not None:
        config["model_max_length"] = options["model_max_length"]
    _write_json(Path(folder) / CONFIG, config)


def read(
    folder: str | os.PathLike[str], changes: Mapping[str, Any]
) -> tuple[Vocabulary, dict[str, Any], list[AddedToken]]:
    """Return a tokenizer's vocabulary, the options in its files, and its added tokens.

    Args:
        folder: contains the files.
        changes: options with other values than in the files.

    Raises:
        OSError: `tokenizer.json` and `vocab.txt` are missing, or a file cannot be read.
        ValueError: a file is invalid or needs another tokenizer than BERT's; the message names it.
    """
    folder = Path(folder)
    options: dict[str, Any] = {}
    added: AddedTokens = {}
    if (folder / WHOLE).is_file():
        whole = read_json(folder / WHOLE)
        try:
            ids, options, added = _read_whole(whole)
            size = max(ids.values(), default=-1) + 1
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            reason = sanitize(f"{type(error).__name__}: {error}")
            raise ValueError(f"{folder / WHOLE}: not a tokenizer's file ({reason})") from None
        except ValueError as error:
            raise ValueError(f"{folder / WHOLE}: {error}") from None
        options = _options(options, folder / WHOLE)
    else:
        pieces = read_pieces(folder / VOCABULARY)
        ids, size = {piece: i for i, piece in enumerate(pieces)}, len(pieces)
    for name in SPECIAL_MAP, CONFIG:
        if (folder / name).is_file():
            config = read_json(folder / name)
            options |= _options(config, folder / name)
            added |= _added_tokens(config, folder / name)
    if (folder / LEGACY).is_file() and not (folder / WHOLE).is_file():
        special = {*options.values(), *(token.content for token in added.values() if token.special)}
        for text, i in read_json(folder / LEGACY).items():
            is_special = text in special
            try:
                added[_check_id(i)] = AddedToken(
                    text, normalized=not is_special, special=is_special
                )
            except (TypeError, ValueError) as error:
                raise ValueError(f"{folder / LEGACY}: {error}") from None
    if (options.get("model_max_length") or 0) > UNLIMITED:
        options["model_max_length"] = None
    options |= changes
    prefix = options.get("continuing_subword_prefix", "##")
    try:
        vocabulary = Vocabulary.with_gaps(ids, size, prefix)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{folder}: {sanitize(error)}") from None
    if unused := size - len(set(ids.values())):
        log.warning("%s: %s of %s ids have no piece of their own", folder, unused, size)
    tokens = _in_order_of_ids(added, vocabulary, folder)
    mask = options.get("mask_token", "[MASK]")
    if mask not in ids and mask not in {token.content for token in tokens}:
        tokens.append(AddedToken(mask, normalized=False, special=True))
    return vocabulary, options, tokens


def _in_order_of_ids(added: AddedTokens, vocabulary: Vocabulary, folder: Path) -> list[AddedToken]:
    """Return the added tokens, those with ids first; refuse ids that leave a gap."""
    tokens = {token.content: token for token in added.values()}  # later files override earlier ones
    text_of = {i: token.content for i, token in added.items() if isinstance(i, int)}
    pieces, next_id = vocabulary.ids, len(vocabulary)
    for i in sorted(text_of):
        if text_of[i] not in pieces and i != next_id:
            raise ValueError(
                f"{folder}: added token {text_of[i]!r} has id {i}, where {next_id} is next"
            )
        next_id += text_of[i] not in pieces
    ordered = [text_of[i] for i in sorted(text_of)]
    return [tokens[text] for text in dict.fromkeys([*ordered, *tokens])]


def _whole(
    vocabulary: Mapping[str, int], options: Mapping[str, Any], added: Mapping[int, AddedToken]
) -> dict[str, Any]:
    """Return the content of tokenizer.json."""
    ids = {token.content: i for i, token in added.items()}
    cls, sep = ([options[name], ids[options[name]]] for name in ("cls_token", "sep_token"))
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
        "post_processor": {"type": "BertProcessing", "sep": sep, "cls": cls},
        "decoder": {
            "type": "WordPiece",
            "prefix": options["continuing_subword_prefix"],
            "cleanup": True,
        },
        "model": {
            "type": "WordPiece",
            **{name: options[name] for name in MODEL},
            "vocab": dict(vocabulary),
        },
    }


def _read_whole(whole: dict[str, Any]) -> tuple[dict[str, int], dict[str, Any], AddedTokens]:
    """Return the ids of the pieces, the options and the added tokens of tokenizer.json."""
    model = whole["model"]
    untyped = "WordPiece" if "max_input_chars_per_word" in model else "one of no type"
    kind = model.get("type", untyped)  # old files do not contain it
    if kind != "WordPiece":
        raise ValueError(f"model: expected WordPiece, got {sanitize(kind)}")
    normalizer = _part(whole, "normalizer", {"BertNormalizer", None})
    _part(whole, "pre_tokenizer", {"BertPreTokenizer"})
    options = {name: model[name] for name in MODEL if name in model}
    options |= {ours: normalizer.get(theirs, False) for theirs, ours in NORMALIZER.items()}
    options["cls_token"], options["sep_token"] = _frame_tokens(whole)
    added: AddedTokens = {}
    for token in whole.get("added_tokens") or []:
        added[_check_id(token["id"])] = _added_token(token)
    if not isinstance(model["vocab"], dict):
        raise TypeError("model: vocab: expected an object")
    # White space and NUL are never part of a word, so such a piece is never used.
    usable = {piece: i for piece, i in model["vocab"].items() if not UNUSABLE.search(piece)}
    return {piece: _check_id(i, "vocab") for piece, i in usable.items()}, options, added


def _part(whole: dict[str, Any], name: str, expected: set[str | None]) -> dict[str, Any]:
    """Return a part of tokenizer.json with an expected type, unwrapped from a sequence of one."""
    part = whole.get(name) or {}
    inner = part.get("normalizers") or part.get("pretokenizers") or []
    if part.get("type") == "Sequence" and len(inner) == 1:
        part = inner[0]
    if part.get("type") not in expected:
        names = " or ".join(sorted(filter(None, expected)))
        raise ValueError(f"{name}: expected {names}, got {sanitize(part.get('type', 'none'))}")
    return part


def _frame_tokens(whole: dict[str, Any]) -> tuple[str, str]:
    """Return the tokens that the post-processor uses as [CLS] and [SEP]."""
    part = whole.get("post_processor") or {}
    if part.get("type") == "BertProcessing":
        return part["cls"][0], part["sep"][0]
    if part.get("type") == "TemplateProcessing":
        single, pair = (
            [
                (kind, value["id"], value["type_id"])
                for item in part[name]
                for kind, value in item.items()
            ]
            for name in ("single", "pair")
        )
        cls, sep = single[0][1], single[-1][1]
        texts = [("Sequence", "A", 0), ("Sequence", "B", 1)]
        one = [("SpecialToken", cls, 0), texts[0], ("SpecialToken", sep, 0)]
        if single == one and pair == [*one, texts[1], ("SpecialToken", sep, 1)]:
            return cls, sep
    raise ValueError(
        f"post_processor: expected BertProcessing, or [CLS] A [SEP] B [SEP] as a "
        f"TemplateProcessing, got {sanitize(part.get('type', 'none'))}"
    )


def _options(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the options of a configuration, with their types checked."""
    options = {}
    if "max_len" in config:  # the name in old files
        config = {"model_max_length": config["max_len"], **config}
    for name in OPTIONS.keys() & config.keys():
        value = config[name]
        if name.endswith("_token") and value is None:  # not stated
            continue
        if name.endswith("_token") and isinstance(value, dict):
            value = value.get("content")  # the format of transformers up to version 4
        if isinstance(value, float) and value.is_integer():  # 1e30, for example
            value = int(value)
        is_broken = isinstance(value, str) and SURROGATE.search(value)
        if type(value) not in OPTIONS[name] or is_broken:
            expected = " or ".join(JSON_TYPES[kind] for kind in OPTIONS[name])
            raise ValueError(f"{path}: {name}: expected {expected}, got {value!r}")
        options[name] = value
    return options


def _added_tokens(config: dict[str, Any], path: Path) -> AddedTokens:
    """Return the added tokens of a configuration, in the formats of all transformers versions."""
    try:
        decoder = config.get("added_tokens_decoder") or {}
        added: AddedTokens = {int(i): _added_token(token) for i, token in decoder.items()}
        special = [
            *(config.get("additional_special_tokens") or []),
            *(config.get("extra_special_tokens") or []),
        ]
        known = {token.content for token in added.values()}
        tokens = [
            _added_token(token if isinstance(token, dict) else {"content": token}, special=True)
            for token in special
        ]
    except (TypeError, AttributeError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: can't make out the added tokens: {error}") from None
    return added | {token.content: token for token in tokens if token.content not in known}


def _check_id(i: Any, what: str = "added token") -> int:
    if type(i) is not int:
        raise TypeError(f"{what}: expected an integer as its id, got {i!r}")
    return i


def _added_token(fields: dict[str, Any], special: bool = False) -> AddedToken:
    """Return an added token from its fields in a file."""
    special = fields.get("special", special)
    flags = {name: fields[name] for name in ("single_word", "lstrip", "rstrip") if name in fields}
    normalized = fields.get("normalized", not special)
    if not all(isinstance(flag, bool) for flag in (special, normalized, *flags.values())):
        raise TypeError("added token: expected true or false as its options")
    return AddedToken(fields["content"], normalized=normalized, special=special, **flags)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")

"""A tokenizer's files, as Hugging Face names them.

Written: `vocab.txt`, a piece a line; `tokenizer.json`, which states everything; and
`tokenizer_config.json`, which sends `transformers.AutoTokenizer` to `tokenizer.json`. Its class
`BertTokenizer` wouldn't do: `transformers` 5 then makes a tokenizer of its own that knows neither
`clean_text` nor the prefix nor `max_input_chars_per_word`.

Read: the pieces from `tokenizer.json`, or from `vocab.txt` where there is none, with the
`added_tokens.json` of older folders. An option's value is that of the first to state it, of
`tokenizer_config.json`, `special_tokens_map.json` and `tokenizer.json`. What the files say about
the cutting and padding of texts is left to those who encode.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minibert.files import read_json, read_lines, replacing, shown
from minibert.tokenization.added import SURROGATE, AddedToken
from minibert.tokenization.vocabulary import Vocabulary

VOCABULARY, WHOLE, CONFIG = "vocab.txt", "tokenizer.json", "tokenizer_config.json"
SPECIAL_MAP, LEGACY = "special_tokens_map.json", "added_tokens.json"
# What the configuration may say, and how.
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
# The same in tokenizer.json: there, the normalizer's and the model's.
NORMALIZER = {
    "clean_text": "clean_text",
    "handle_chinese_chars": "tokenize_chinese_chars",
    "strip_accents": "strip_accents",
    "lowercase": "do_lower_case",
}
MODEL = ["unk_token", "continuing_subword_prefix", "max_input_chars_per_word"]
UNLIMITED = 10**9  # transformers writes 10^30 for a length without a limit; here that is None
JSON = {bool: "true or false", int: "an integer", str: "a string", type(None): "null"}
INPUTS = ["input_ids", "token_type_ids", "attention_mask"]


def write(
    folder: str | os.PathLike,
    pieces: Sequence[str],
    options: Mapping[str, Any],
    added: Mapping[int, AddedToken],
) -> None:
    """Write a tokenizer's files, each whole or not at all.

    Args:
        folder: made if it isn't there.
        pieces: one a line, in the order of their ids.
        options: those of `OPTIONS`; a length of None is left out.
        added: the added tokens by id, special ones included.
    """
    with replacing(Path(folder) / VOCABULARY) as path:
        path.write_text("".join(f"{piece}\n" for piece in pieces), "utf-8", newline="\n")
    _write_json(Path(folder) / WHOLE, _whole(pieces, options, added))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": INPUTS,  # BERT's; others have no segments
        **{name: value for name, value in options.items() if name != "model_max_length"},
    }
    if options["model_max_length"] is not None:
        config["model_max_length"] = options["model_max_length"]
    _write_json(Path(folder) / CONFIG, config)


def read(folder: str | os.PathLike) -> tuple[list[str], dict[str, Any], list[AddedToken]]:
    """Read a tokenizer's pieces, those of its options that the files state, and its added tokens.

    Raises:
        OSError: there is neither `tokenizer.json` nor `vocab.txt`, or one can't be read.
        ValueError: a file is broken, or says what BERT's tokenizer can't do; the message names it.
    """
    folder = Path(folder)
    options: dict[str, Any] = {}
    added: dict[int | str, AddedToken] = {}  # by id, or by text where no id is stated
    if (folder / WHOLE).is_file():
        whole = read_json(folder / WHOLE)
        try:
            pieces, options, added = _read_whole(whole)
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            what = shown(f"{type(error).__name__}: {error}")
            raise ValueError(f"{folder / WHOLE}: not a tokenizer's file ({what})") from None
        except ValueError as error:
            raise ValueError(f"{folder / WHOLE}: {error}") from None
        options = _options(options, folder / WHOLE)
    else:
        pieces = list(read_lines(folder / VOCABULARY))
    for name in SPECIAL_MAP, CONFIG:
        if (folder / name).is_file():
            config = read_json(folder / name)
            options |= _options(config, folder / name)
            added |= _added(config, folder / name)
    if (folder / LEGACY).is_file() and not (folder / WHOLE).is_file():
        special = {*options.values(), *(token.content for token in added.values() if token.special)}
        for text, i in read_json(folder / LEGACY).items():
            plain = text not in special
            try:
                added[_id(i)] = AddedToken(text, normalized=plain, special=not plain)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{folder / LEGACY}: {error}") from None
    if (options.get("model_max_length") or 0) > UNLIMITED:
        options["model_max_length"] = None
    known = set(pieces)
    tokens = {token.content: token for token in added.values()}  # the last word on each
    numbered = {i: token.content for i, token in added.items() if isinstance(i, int)}
    first = len(known)
    for i in sorted(numbered):
        if numbered[i] not in known and i != first:
            raise ValueError(
                f"{folder}: added token {numbered[i]!r} has id {i}, where {first} is next"
            )
        first += numbered[i] not in known
    order = [numbered[i] for i in sorted(numbered)]
    return pieces, options, [tokens[text] for text in dict.fromkeys([*order, *tokens])]


def _whole(pieces, options, added):
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
            "vocab": {piece: i for i, piece in enumerate(pieces)},
        },
    }


def _read_whole(whole):
    model = whole["model"]
    untyped = "WordPiece" if "max_input_chars_per_word" in model else "one of no type"
    kind = model.get("type", untyped)  # old files don't state it
    if kind != "WordPiece":
        raise ValueError(f"model: expected WordPiece, got {shown(kind)}")
    normalizer = _only(whole, "normalizer", {"BertNormalizer", None})
    _only(whole, "pre_tokenizer", {"BertPreTokenizer"})
    options = {name: model[name] for name in MODEL if name in model}
    options |= {ours: normalizer.get(theirs, False) for theirs, ours in NORMALIZER.items()}
    options["cls_token"], options["sep_token"] = _frame(whole)
    added = {}
    for token in whole.get("added_tokens") or []:
        added[_id(token["id"])] = _token(token)
    if not isinstance(model["vocab"], dict):
        raise TypeError("model: vocab: expected an object")
    return Vocabulary(model["vocab"]).pieces, options, added


def _only(whole, name, expected):
    """Return that part of the file, alone or alone in a sequence, if it is what is expected."""
    part = whole.get(name) or {}
    inner = part.get("normalizers") or part.get("pretokenizers") or []
    if part.get("type") == "Sequence" and len(inner) == 1:
        part = inner[0]
    if part.get("type") not in expected:
        names = " or ".join(sorted(filter(None, expected)))
        raise ValueError(f"{name}: expected {names}, got {shown(part.get('type', 'none'))}")
    return part


def _frame(whole):
    """Return the tokens that a post-processor puts where BERT has [CLS] and [SEP]."""
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
        f"TemplateProcessing, got {shown(part.get('type', 'none'))}"
    )


def _options(config, path):
    options = {}
    for name in OPTIONS.keys() & config.keys():
        value = config[name]
        if name.endswith("_token") and isinstance(value, dict):
            value = value.get("content")  # as transformers up to version 4 writes them
        broken = isinstance(value, str) and SURROGATE.search(value)
        if type(value) not in OPTIONS[name] or broken:
            expected = " or ".join(JSON[kind] for kind in OPTIONS[name])
            raise ValueError(f"{path}: {name}: expected {expected}, got {value!r}")
        options[name] = value
    return options


def _added(config, path):
    """Return the added tokens that a configuration lists, as any transformers writes them."""
    try:
        added = {
            int(i): _token(token) for i, token in (config.get("added_tokens_decoder") or {}).items()
        }
        special = [
            *(config.get("additional_special_tokens") or []),
            *(config.get("extra_special_tokens") or []),
        ]
        known = {token.content for token in added.values()}
        tokens = [
            _token(token if isinstance(token, dict) else {"content": token}, special=True)
            for token in special
        ]
    except (TypeError, AttributeError, KeyError, ValueError) as error:
        raise ValueError(f"{path}: can't make out the added tokens: {error}") from None
    return added | {token.content: token for token in tokens if token.content not in known}


def _id(i):
    if type(i) is not int:
        raise TypeError(f"added token: expected an integer as its id, got {i!r}")
    return i


def _token(fields, special=False):
    special = fields.get("special", special)
    flags = {name: fields[name] for name in ("single_word", "lstrip", "rstrip") if name in fields}
    normalized = fields.get("normalized", not special)
    if not all(isinstance(flag, bool) for flag in (special, normalized, *flags.values())):
        raise TypeError("expected true or false as what an added token does")
    return AddedToken(fields["content"], normalized=normalized, special=special, **flags)


def _write_json(path, content):
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")

"""The files of all kinds of tokenizers, in Hugging Face's formats.

Written: `tokenizer.json`, which is complete; `tokenizer_config.json`, which makes
`transformers.AutoTokenizer` read `tokenizer.json`; and the older files of the kind, such as
`vocab.txt`. The class `BertTokenizer` is not used there, because `transformers` 5 would build a
tokenizer without `clean_text`, the prefix and `max_input_chars_per_word`.

Read: the pieces from `tokenizer.json`, or from the older files if there is no such file, with the
`added_tokens.json` of older folders. An option is taken from the first file that contains it, in
the order `tokenizer_config.json`, `special_tokens_map.json`, `tokenizer.json`. Settings of
truncation and padding are ignored; they are arguments of `encode`.

Faults that do not matter are read as in transformers: ids without a piece or with several, repeated
pieces, of which the last id counts, and a missing [MASK], which gets the next id.
"""

import json
import logging
import os
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any, ClassVar

from minibert.io.atomic import atomic_write
from minibert.io.json import read_json
from minibert.io.text import sanitize
from minibert.tokenization.added import SURROGATE, AddedToken
from minibert.tokenization.vocabulary import Vocabulary

WHOLE, CONFIG = "tokenizer.json", "tokenizer_config.json"
SPECIAL_MAP, LEGACY = "special_tokens_map.json", "added_tokens.json"
UNLIMITED = 10**9  # a longer length means None; transformers writes 10^30
JSON_TYPES = {bool: "true or false", int: "an integer", str: "a string", type(None): "null"}
NULLABLE_INT = (int, type(None))
log = logging.getLogger("minibert")

AddedTokens = dict[int | str, AddedToken]  # by id, or by text if the file contains no id


class Source:
    """What the files of a tokenizer state about its pieces.

    Args:
        ids: the id of each piece.
        size (int or None): the number of ids; None for the highest id and one.
        mask_lstrip (bool or None): as in `Format`; None: as the format has it.
        more: further tables of the kind of tokenizer, such as merges.
    """

    def __init__(
        self, ids: Mapping[str, int], size: int | None = None, mask_lstrip: bool | None = None,
        **more: Any,
    ):  # fmt: skip
        self.ids, self.mask_lstrip, self.more = ids, mask_lstrip, more
        self.size = max(ids.values(), default=-1) + 1 if size is None else size


class Format:
    """Base class: reads and writes the files of one kind of tokenizer.

    Attributes:
        kind: the type of the model in `tokenizer.json`.
        options: the options of the tokenizer in its configuration, and their types.
        mask_token: a missing mask token that gets the next id; None if there need not be one.
        mask_lstrip (bool): whether that token includes the white space before it.
    """

    kind: ClassVar[str]
    options: ClassVar[dict[str, tuple[type, ...]]]
    mask_token: ClassVar[str | None] = None
    mask_lstrip: ClassVar[bool] = False

    def files(self, tokenizer: Any) -> dict[str, str]:
        """Return the text of each older file, by name."""
        raise NotImplementedError

    def read_files(self, folder: Path) -> Source:
        """Read the older files of a folder without `tokenizer.json`."""
        raise NotImplementedError

    def whole(
        self, tokenizer: Any, options: Mapping[str, Any], added: Mapping[int, AddedToken]
    ) -> dict[str, Any]:
        """Return the content of `tokenizer.json`.

        Args:
            tokenizer: the tokenizer.
            options: values of all `options`.
            added: added tokens by id, special ones included.
        """
        raise NotImplementedError

    def read_whole(self, whole: dict[str, Any]) -> tuple[Source, dict[str, Any], AddedTokens]:
        """Return the pieces, the options and the added tokens of `tokenizer.json`."""
        raise NotImplementedError

    def parts(self, source: Source, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the constructor's arguments that are not options, `vocabulary` among them."""
        raise NotImplementedError

    def settle(self, options: dict[str, Any], known: Container[str], source: Source) -> None:
        """Add to the options of the files what follows from the others.

        Args:
            options: the options of all files, changed in place.
            known: the added tokens; and the pieces if there is no `tokenizer.json`.
            source: the pieces; its further tables may be changed.
        """

    def write(self, folder: str | os.PathLike[str], tokenizer: Any) -> None:
        """Write a tokenizer's files, each of them atomically.

        Args:
            folder: created if missing.
            tokenizer (PreTrainedTokenizer): the tokenizer; a length of None is not written.
        """
        folder, options = Path(folder), tokenizer.saved_options()
        added = {tokenizer.vocab[token.content]: token for token in tokenizer.added_tokens}
        for name, text in self.files(tokenizer).items():
            with atomic_write(folder / name) as path:
                path.write_text(text, "utf-8", newline="\n")
        _write_json(folder / WHOLE, self.whole(tokenizer, options, added))
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_input_names": list(tokenizer.model_input_names),
            **{name: value for name, value in options.items() if name != "model_max_length"},
        }
        if options["model_max_length"] is not None:
            config["model_max_length"] = options["model_max_length"]
        _write_json(folder / CONFIG, config)

    def read(
        self, folder: str | os.PathLike[str], changes: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any], list[AddedToken]]:
        """Return the `parts` of a tokenizer, the options in its files, and its added tokens.

        The options may contain `model_input_names`.

        Args:
            folder: contains the files.
            changes: options with other values than in the files.

        Raises:
            OSError: `tokenizer.json` and the older files are missing, or one cannot be read.
            ValueError: a file is invalid or needs another kind of tokenizer; the message names it.
        """
        folder = Path(folder)
        options: dict[str, Any] = {}
        added: AddedTokens = {}
        if (folder / WHOLE).is_file():
            whole = read_json(folder / WHOLE)
            try:
                source, options, added = self.read_whole(whole)
            except (
                KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError
            ) as error:  # fmt: skip
                reason = sanitize(f"{type(error).__name__}: {error}")
                raise ValueError(f"{folder / WHOLE}: not a tokenizer's file ({reason})") from None
            except ValueError as error:
                raise ValueError(f"{folder / WHOLE}: {error}") from None
            options = self._options(options, folder / WHOLE)
        else:
            source = self.read_files(folder)
        for name in SPECIAL_MAP, CONFIG:
            if (folder / name).is_file():
                config = read_json(folder / name)
                stated = self._options(config, folder / name)
                # The frame of tokenizer.json uses tokens that null does not take away.
                options |= {n: v for n, v in stated.items() if v is not None or n not in options}
                added |= _added_tokens(config, folder / name)
                if name == CONFIG and "model_input_names" in config:
                    options |= {"model_input_names": _input_names(config, folder / name)}
        if (folder / LEGACY).is_file() and not (folder / WHOLE).is_file():
            special = {
                *options.values(),
                *(token.content for token in added.values() if token.special),
            }
            for text, i in read_json(folder / LEGACY).items():
                is_special = text in special
                try:
                    added[check_id(i)] = AddedToken(
                        text, normalized=not is_special, special=is_special
                    )
                except (TypeError, ValueError) as error:
                    raise ValueError(f"{folder / LEGACY}: {error}") from None
        if (options.get("model_max_length") or 0) > UNLIMITED:
            options["model_max_length"] = None
        options |= changes
        known = {token.content for token in added.values()}
        if not (folder / WHOLE).is_file():  # which would state the special tokens
            known |= source.ids.keys()
        self.settle(options, known, source)
        try:
            parts = self.parts(source, options)
            vocabulary = parts["vocabulary"]
        except (TypeError, ValueError) as error:
            raise ValueError(f"{folder}: {sanitize(error)}") from None
        if unused := source.size - len(set(source.ids.values())):
            log.warning("%s: %s of %s ids have no piece of their own", folder, unused, source.size)
        tokens = _in_order_of_ids(added, vocabulary, folder)
        mask = options.get("mask_token", self.mask_token)
        if mask and mask not in source.ids and mask not in {token.content for token in tokens}:
            tokens.append(self._mask_token(mask, source))
        return parts, options, tokens

    def _mask_token(self, text: str, source: Source) -> AddedToken:
        """Return the mask token that the files do not contain."""
        lstrip = self.mask_lstrip if source.mask_lstrip is None else source.mask_lstrip
        return AddedToken(text, lstrip=lstrip, normalized=False, special=True)

    def _options(self, config: dict[str, Any], path: Path) -> dict[str, Any]:
        """Return the options of a configuration, with their types checked."""
        options = {}
        if "max_len" in config:  # the name in old files
            config = {"model_max_length": config["max_len"], **config}
        for name in self.options.keys() & config.keys():
            value = config[name]
            if value is None and name.endswith("_token") and type(None) not in self.options[name]:
                continue
            if name.endswith("_token") and isinstance(value, dict):
                value = value.get("content")  # the format of transformers up to version 4
            if isinstance(value, float) and value.is_integer():  # 1e30, for example
                value = int(value)
            is_broken = isinstance(value, str) and SURROGATE.search(value)
            if type(value) not in self.options[name] or is_broken:
                expected = " or ".join(JSON_TYPES[kind] for kind in self.options[name])
                raise ValueError(f"{path}: {name}: expected {expected}, got {value!r}")
            options[name] = value
        return options


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


def added_tokens_of(whole: dict[str, Any]) -> AddedTokens:
    """Return the added tokens of `tokenizer.json`, by id."""
    found = whole.get("added_tokens") or []
    return {check_id(token["id"]): _added_token(token) for token in found}


def _input_names(config: dict[str, Any], path: Path) -> tuple[str, ...]:
    names = config["model_input_names"]
    # The names of a model's arguments. Others may contain a lone surrogate, which can't be saved.
    if not isinstance(names, list) or not all(
        isinstance(name, str) and name.isidentifier() for name in names
    ):
        raise ValueError(f"{path}: model_input_names: expected a list of names, got {names!r}")
    return tuple(names)


def part_of(whole: dict[str, Any], name: str, expected: set[str | None]) -> dict[str, Any]:
    """Return a part of tokenizer.json with an expected type, unwrapped from a sequence of one."""
    part = whole.get(name) or {}
    inner = part.get("normalizers") or part.get("pretokenizers") or []
    if part.get("type") == "Sequence" and len(inner) == 1:
        part = inner[0]
    if part.get("type") not in expected:
        names = " or ".join(sorted(filter(None, expected))) or "none"
        raise ValueError(f"{name}: expected {names}, got {sanitize(part.get('type', 'none'))}")
    return part


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


def check_id(i: Any, what: str = "added token") -> int:
    """Return an id of a file; refuse one that is not an integer."""
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

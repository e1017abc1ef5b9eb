"""The base of all kinds of tokenizers: special and added tokens, ids and text, files."""

import os
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np

from minibert.models.hub import checkpoint_folder, pinned
from minibert.tokenization.added import AddedToken, as_added_tokens
from minibert.tokenization.encoding import TextEncoder
from minibert.tokenization.framing import BERT, INPUTS, Frame, Template
from minibert.tokenization.matching import TextMatcher
from minibert.tokenization.saved import Format
from minibert.tokenization.vocabulary import Vocabulary, pieces_of


class PreTrainedTokenizer(TextEncoder):
    """Base class of tokenizers, with the names of Hugging Face's `PreTrainedTokenizer`.

    A subclass sets `vocabulary`, calls `_start` with its matcher, and implements `_join` and
    `_continues_word`.

    Attributes:
        format (Format): reads and writes the files.
        template (Template): the special tokens around texts.
        mask_lstrip (bool): whether the mask token includes the white space before it, unless
            `added_tokens` contain it.
        model_input_names: the model's inputs, as the files state them for `transformers`;
            `encode_batch` returns all of them.
        vocabulary (Vocabulary): the pieces and their ids, without added tokens.
        unk_token, sep_token, pad_token, cls_token, mask_token: the special tokens, and with `_id`,
            such as `mask_token_id`, their ids; None if a tokenizer has none.
        model_max_length (int or None): maximum number of tokens of the model; stored and saved, but
            never used to truncate.
    """

    format: ClassVar[Format]
    template: Template = BERT
    mask_lstrip: ClassVar[bool] = False
    model_input_names: tuple[str, ...] = INPUTS
    vocabulary: Vocabulary
    unk_token: str
    sep_token: str
    pad_token: str
    cls_token: str
    mask_token: str
    unk_token_id: int
    sep_token_id: int
    pad_token_id: int
    cls_token_id: int
    mask_token_id: int
    model_max_length: int | None

    @property
    def vocab_size(self) -> int:
        """V, the number of ids (int), without added tokens."""
        return len(self.vocabulary)

    def __len__(self) -> int:
        """Return the number of ids: V, and added tokens that are not in the vocabulary."""
        return len(self._matcher.pieces)

    @property
    def vocab(self) -> Mapping[str, int]:
        """The id of each token, in the order of ids, added tokens included."""
        return MappingProxyType(self._matcher.vocab)

    @property
    def added_tokens(self) -> list[AddedToken]:
        """The tokens that are never split, in the order in which they were added."""
        return list(self._matcher.added.values())

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens, added ones included."""
        return [token.content for token in self.added_tokens if token.special]

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of the special tokens."""
        return self.convert_tokens_to_ids(self.all_special_tokens)

    def add_tokens(self, tokens: Iterable[str | AddedToken], special_tokens: bool = False) -> int:
        """Add tokens that are never split; return the number of new ids (int).

        A token of the vocabulary keeps its id; other tokens get the next ids. A model then needs
        `len(tokenizer)` ids, not `vocab_size`.

        >>> from minibert.tokenization import WordPieceTokenizer
        >>> tokenizer = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"])
        >>> tokenizer.add_tokens(["a b"]), tokenizer.tokenize("A  A B")
        (1, ['a', 'a b'])

        Args:
            tokens: `AddedToken`s, or texts. A text is searched for in the normalized text, or in
                the original text if it is special.
            special_tokens (bool): make special tokens of the texts.

        Raises:
            TypeError: `tokens` is one string.
            ValueError: a token is empty, or empty after normalization.
        """
        new = self._matcher.add(as_added_tokens(tokens, special_tokens))
        for name in (*self.template.before, *self.template.between, *self.template.after):
            self._special_id(name, self.vocab)
        before, between, after = (
            tuple(getattr(self, f"{name}_id") for name in names)
            for names in (self.template.before, self.template.between, self.template.after)
        )
        self._frame = Frame(before, between, after, self._matcher.pieces, self.template.pair_type)
        return new

    def convert_tokens_to_ids(self, tokens: Iterable[str]) -> list[int]:
        """Return the ids of tokens; unknown tokens get the id of the unknown token.

        Raises:
            TypeError: `tokens` is one string.
            ValueError: a token is unknown, and there is no unknown token.
        """
        if isinstance(tokens, str):
            raise TypeError(f"tokens: expected several, got one string; pass [{tokens!r}]")
        tokens = list(tokens)
        vocab = self.vocab
        ids = [vocab.get(token, self.unk_token_id) for token in tokens]
        if None in ids:  # there is no unknown token
            token = next(token for token in tokens if token not in vocab)
            raise ValueError(f"tokens: expected tokens of the vocabulary, got {token!r}")
        return ids

    def convert_ids_to_tokens(self, ids: Iterable[int]) -> list[str]:
        """Return the tokens of ids; that of an unused id is "".

        Raises:
            TypeError: an id is not an integer.
            ValueError: an id is out of range.
        """
        return pieces_of(self._frame.pieces, ids)

    def describe_tokens(self, ids: Iterable[int]) -> list[str]:
        """Return the tokens of ids as people read them; one that continues a word begins with ##.

        >>> from minibert.tokenization import ByteLevelBPETokenizer
        >>> tokenizer = ByteLevelBPETokenizer.train([" it it"], 263)
        >>> ids = tokenizer.convert_tokens_to_ids(["Ġit", "s", "Ġ", "Ã", "<mask>"])
        >>> tokenizer.describe_tokens(ids)
        ['it', '##s', 'Ġ', 'Ã', '<mask>']

        A token that is no visible text alone, such as a space or a part of a letter, stays a piece.

        Args:
            ids: ids of tokens, not of one text.
        """
        ids = list(ids)
        added = {token.content for token in self.added_tokens}
        described = []
        for i, piece in zip(ids, self.convert_ids_to_tokens(ids), strict=True):
            text = self.decode([i], skip_special_tokens=False).strip()
            is_text = text.isprintable() and text != "" and "\ufffd" not in text
            mark = "##" if self._continues_word(piece) else ""
            described.append(mark + text if is_text and piece not in added else piece)
        return described

    def continuing_pieces(self) -> np.ndarray:
        """Return which tokens continue a word, (V,), bool; added tokens, never split, do not.

        >>> from minibert.tokenization import WordPieceTokenizer
        >>> pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##able"]
        >>> WordPieceTokenizer(pieces).continuing_pieces().tolist()
        [False, False, False, False, False, False, True]
        """
        continues = np.zeros(len(self), bool)
        for piece, i in self.vocabulary.ids.items():
            continues[i] |= self._continues_word(piece)
        added = [token.content for token in self.added_tokens]
        continues[self.convert_tokens_to_ids(added)] = False
        return continues

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens (list of str) of a text, without [CLS] and [SEP]."""
        return self.convert_ids_to_tokens(self.ids_of(text))

    def decode(
        self, ids: Iterable[int], *, skip_special_tokens: bool = True, clean_up: bool = False
    ) -> str:
        """Return the text (str) of ids.

        Args:
            ids: ids of one text.
            skip_special_tokens (bool): skip [CLS], [SEP], [PAD] and the other special tokens.
            clean_up (bool): remove spaces before full stops, commas and English contractions, which
                WordPiece adds; byte-level text is never changed.
        """
        tokens = self.convert_ids_to_tokens(ids)
        skipped = {"", *(self.all_special_tokens if skip_special_tokens else ())}
        tokens = [token for token in tokens if token not in skipped]
        return self._join(tokens, clean_up)

    def decode_batch(
        self,
        rows: Iterable[Iterable[int]],
        *,
        skip_special_tokens: bool = True,
        clean_up: bool = False,
    ) -> list[str]:
        """Return the text of each sequence of ids in a batch; see `decode`."""
        return [
            self.decode(ids, skip_special_tokens=skip_special_tokens, clean_up=clean_up)
            for ids in rows
        ]

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write the tokenizer's files in Hugging Face's format; see `format`.

        `transformers.AutoTokenizer` opens the folder and makes the same ids.
        """
        self.format.write(folder, self)

    @classmethod
    def from_pretrained(
        cls, folder: str | os.PathLike[str], *, revision: str | None = None, **changes: Any
    ) -> Self:
        """Return the tokenizer of a folder with its files; see `saved` and `format`.

        Args:
            folder: a folder, or a name that `models.hub.find_folder` finds.
            revision (str or None): of a name on the hub: a commit, a branch or a tag.
            changes: options of the tokenizer with other values than in the files.

        Raises:
            OSError: a file is missing, or cannot be read.
            ValueError: a file is invalid, or the files do not match; the message names the file.
        """
        folder = checkpoint_folder(pinned(folder, revision))
        parts, options, added = cls.format.read(folder, changes)
        kind: Any = cls  # with the options of its constructor
        inputs = options.pop("model_input_names", None)
        try:
            tokenizer = kind(added_tokens=added, **{**parts, **options})
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from None
        if inputs is not None:
            tokenizer.model_input_names = inputs
        return tokenizer

    def saved_options(self) -> dict[str, Any]:
        """Return the values of the options that `format` saves, by name."""
        return {name: getattr(self, name) for name in self.format.options}

    def _start(
        self,
        matcher: TextMatcher,
        special: Mapping[str, str | None],
        added_tokens: Iterable[str | AddedToken],
        model_max_length: int | None,
    ) -> None:
        """Set the matcher, the special tokens and their ids; a subclass calls it in `__init__`.

        Args:
            matcher: finds the tokens.
            special: the special tokens by name, in the order in which they are added; None for a
                token that the tokenizer does not have.
            added_tokens: see `add_tokens`.
            model_max_length (int or None): maximum number of tokens of the model.
        """
        self._matcher = matcher
        self.model_max_length = model_max_length
        self._matcher.add(as_added_tokens(added_tokens))
        for name, token in special.items():
            setattr(self, name, token)
            setattr(
                self, f"{name}_id", None if token is None else self._special_id(name, self.vocab)
            )
        known = {token.content for token in self.added_tokens}
        new = [
            AddedToken(
                token,
                lstrip=self.mask_lstrip and token == special.get("mask_token"),
                normalized=False,
                special=True,
            )
            for token in dict.fromkeys(filter(None, special.values()))
            if token not in known
        ]
        self.add_tokens(new)

    def _continues_word(self, piece: str) -> bool:
        """Return whether a piece of the vocabulary continues a word."""
        raise NotImplementedError

    def _join(self, tokens: list[str], clean_up: bool) -> str:
        """Return the text (str) of tokens."""
        raise NotImplementedError

    def _special_id(self, name: str, ids: Mapping[str, int]) -> int:
        """Return the id (int) of a special token; refuse a missing one."""
        token = getattr(self, name)
        if not token or token not in ids:
            raise ValueError(f"{name}: expected a piece of the vocabulary, got {token!r}")
        return ids[token]

"""The WordPiece tokenizer: text to pieces of words to ids, and back."""

import os
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self

from minibert.models.hub import checkpoint_folder
from minibert.tokenization import saved
from minibert.tokenization.added import AddedToken, as_added_tokens
from minibert.tokenization.alphabet import AlphabetLimit
from minibert.tokenization.encoding import TextEncoder
from minibert.tokenization.framing import Frame
from minibert.tokenization.matching import Matcher
from minibert.tokenization.normalizer import Normalizer
from minibert.tokenization.trainer import Score, learn_vocabulary
from minibert.tokenization.vocabulary import Vocabulary, join_pieces, pieces_of

SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


class WordPieceTokenizer(TextEncoder):
    """Tokenizer that splits each word into the longest pieces of its vocabulary.

    Schuster and Nakajima (2012), section 3.1; Wu et al. (2016), section 4.1; Devlin et al. (2019),
    section 3. The ids of special tokens are looked up in the vocabulary, never assumed.

    >>> pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##aff", "##able", "!"]
    >>> tokenizer = WordPieceTokenizer(pieces)
    >>> tokenizer.tokenize("Unaffable!")
    ['un', '##aff', '##able', '!']
    >>> tokenizer.encode("Unaffable!").input_ids
    [2, 5, 6, 7, 8, 3]

    Args:
        vocabulary: the pieces in the order of their ids, or a mapping from pieces to ids; or a
            `Vocabulary`.
        do_lower_case (bool): see `Normalizer`.
        strip_accents (bool or None): see `Normalizer`.
        tokenize_chinese_chars (bool): see `Normalizer`.
        clean_text (bool): see `Normalizer`.
        continuing_subword_prefix: marks a piece that continues a word.
        max_input_chars_per_word (int): a longer word becomes the unknown token.
        unk_token: the unknown token, a piece of the vocabulary.
        sep_token: the separator token, a piece of the vocabulary or an added token.
        pad_token: the padding token, likewise.
        cls_token: the token at the start, likewise.
        mask_token: the mask token, likewise.
        added_tokens: see `add_tokens`.
        model_max_length (int or None): maximum number of tokens of the model; stored and saved, but
            never used to truncate.

    Raises:
        ValueError: a piece occurs twice or is not a single line of text, an id is missing, or a
            special token is not in the vocabulary.
    """

    def __init__(
        self,
        vocabulary: Sequence[str] | Mapping[str, int] | Vocabulary,
        *,
        do_lower_case: bool = True,
        strip_accents: bool | None = None,
        tokenize_chinese_chars: bool = True,
        clean_text: bool = True,
        continuing_subword_prefix: str = "##",
        max_input_chars_per_word: int = 100,
        unk_token: str = "[UNK]",
        sep_token: str = "[SEP]",
        pad_token: str = "[PAD]",
        cls_token: str = "[CLS]",
        mask_token: str = "[MASK]",
        added_tokens: Iterable[str | AddedToken] = (),
        model_max_length: int | None = None,
    ):
        if not isinstance(vocabulary, Vocabulary):
            vocabulary = Vocabulary(vocabulary, continuing_subword_prefix)
        self.vocabulary = vocabulary
        self.normalizer = Normalizer(
            do_lower_case, strip_accents, tokenize_chinese_chars, clean_text
        )
        self.max_input_chars_per_word = max_input_chars_per_word
        self.model_max_length = model_max_length
        self.unk_token, self.sep_token, self.pad_token = unk_token, sep_token, pad_token
        self.cls_token, self.mask_token = cls_token, mask_token
        self.unk_token_id = self._special_id("unk_token", self.vocabulary.ids)
        self._matcher = Matcher(
            self.vocabulary, self.normalizer, self.unk_token_id, max_input_chars_per_word
        )
        self._matcher.add(as_added_tokens(added_tokens))
        self.sep_token_id = self._special_id("sep_token", self.vocab)
        self.pad_token_id = self._special_id("pad_token", self.vocab)
        self.cls_token_id = self._special_id("cls_token", self.vocab)
        self.mask_token_id = self._special_id("mask_token", self.vocab)
        known = {token.content for token in self.added_tokens}
        named = dict.fromkeys([unk_token, sep_token, pad_token, cls_token, mask_token])
        self.add_tokens([token for token in named if token not in known], special_tokens=True)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        *,
        score: Score = "frequency",
        min_frequency: int = 2,
        limit_alphabet: AlphabetLimit = "auto",
        initial_alphabet: Iterable[str] = "",
        special_tokens: Iterable[str] = (),
        exact: bool = True,
        progress: bool = False,
        **options: Any,
    ) -> Self:
        """Return a tokenizer with a vocabulary learned from texts; see `learn_vocabulary`.

        Args:
            texts: the texts, in any order; iterated once.
            vocab_size (int): V, the number of pieces, special tokens included.
            score: criterion of the pair of pieces to merge: its `frequency`, or the `likelihood`
                score, its frequency relative to that of its pieces.
            min_frequency (int): minimum count of a pair to merge.
            limit_alphabet (int, "auto" or None): maximum number of letters; "auto": 1,000, or as
                many as fit into the vocabulary; None: all.
            initial_alphabet: letters to include even if they are rare or absent.
            special_tokens: further special tokens, in addition to the five.
            exact (bool): raise an error if the texts yield fewer than `vocab_size` pieces.
            progress (bool): show progress bars on stderr.
            options: options of `WordPieceTokenizer`.

        Raises:
            TypeError: a text is not a string, or an option is unknown.
            ValueError: the texts do not yield `vocab_size` pieces; the message gives the limit.
        """
        more = list(special_tokens)
        special = [*(options.get(name, token) for name, token in SPECIAL.items()), *more]
        untrained = cls(list(dict.fromkeys(special)), **options)  # raises for an invalid option
        pieces = learn_vocabulary(
            texts,
            vocab_size,
            normalizer=untrained.normalizer,
            special_tokens=special,
            score=score,
            min_frequency=min_frequency,
            limit_alphabet=limit_alphabet,
            initial_alphabet=initial_alphabet,
            longest_word=untrained.max_input_chars_per_word,
            prefix=untrained.vocabulary.prefix,
            exact=exact,
            progress=progress,
        )
        tokenizer = cls(pieces, **options)
        tokenizer.add_tokens(more, special_tokens=True)
        return tokenizer

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
        self._frame = Frame(self.cls_token_id, self.sep_token_id, self._matcher.pieces)
        return new

    def convert_tokens_to_ids(self, tokens: Iterable[str]) -> list[int]:
        """Return the ids of tokens; unknown tokens get the id of the unknown token.

        Raises:
            TypeError: `tokens` is one string.
        """
        if isinstance(tokens, str):
            raise TypeError(f"tokens: expected several, got one string; pass [{tokens!r}]")
        return [self.vocab.get(token, self.unk_token_id) for token in tokens]

    def convert_ids_to_tokens(self, ids: Iterable[int]) -> list[str]:
        """Return the tokens of ids; that of an unused id is "".

        Raises:
            TypeError: an id is not an integer.
            ValueError: an id is out of range.
        """
        return pieces_of(self._frame.pieces, ids)

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens (list of str) of a text, without [CLS] and [SEP]."""
        return self.convert_ids_to_tokens(self.ids_of(text))

    def decode(
        self, ids: Iterable[int], *, skip_special_tokens: bool = True, clean_up: bool = False
    ) -> str:
        """Return the text (str) of ids: pieces joined to words, words joined by single spaces.

        Args:
            ids: ids of one text.
            skip_special_tokens (bool): skip [CLS], [SEP], [PAD] and the other special tokens.
            clean_up (bool): remove spaces before full stops, commas and English contractions.
        """
        tokens = self.convert_ids_to_tokens(ids)
        skipped = {"", *(self.all_special_tokens if skip_special_tokens else ())}
        tokens = [token for token in tokens if token not in skipped]
        return join_pieces(tokens, self.vocabulary.prefix, clean_up)

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
        """Write `vocab.txt`, `tokenizer.json` and `tokenizer_config.json` in Hugging Face's format.

        `transformers.AutoTokenizer` opens the folder and makes the same ids.
        """
        known = {**vars(self), **vars(self.normalizer)}
        known["continuing_subword_prefix"] = self.vocabulary.prefix
        options = {name: known[name] for name in saved.OPTIONS}
        added = {self.vocab[token.content]: token for token in self.added_tokens}
        saved.write(folder, self.vocabulary, options, added)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], **changes: Any) -> Self:
        """Return the tokenizer of a folder with `tokenizer.json` or `vocab.txt`; see `saved`.

        Args:
            folder: a folder, or a name that `models.hub.find_folder` finds.
            changes: options of the tokenizer with other values than in the files.

        Raises:
            OSError: both files are missing, or one cannot be read.
            ValueError: a file is invalid, or the files do not match; the message names the file.
        """
        folder = checkpoint_folder(folder)
        vocabulary, options, added = saved.read(folder, changes)
        try:
            return cls(vocabulary, added_tokens=added, **options)
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from None

    def _special_id(self, name: str, ids: Mapping[str, int]) -> int:
        """Return the id (int) of a special token; refuse a missing one."""
        token = getattr(self, name)
        if not token or token not in ids:
            raise ValueError(f"{name}: expected a piece of the vocabulary, got {token!r}")
        return ids[token]

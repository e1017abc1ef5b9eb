"""WordPiece: text to pieces of words to ids, and back."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import regex

from minibert.files import read_lines, replacing
from minibert.tokenization.normalizer import Normalizer
from minibert.tokenization.trainer import learn_vocabulary

VOCABULARY, CONFIG = "vocab.txt", "tokenizer_config.json"
SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
CACHED = 1 << 18  # words whose ids are remembered; a corpus repeats nearly all of its words


@dataclass(frozen=True)
class Encoding:
    """A text as a model reads it: ids, segments (0 or 1), and a mask that is 1 everywhere."""

    input_ids: list[int]
    token_type_ids: list[int]
    attention_mask: list[int]


class WordPieceTokenizer:
    """Cuts words into the longest pieces that the vocabulary has.

    Wu et al. (2016), section 4.1; Devlin et al. (2019), section 3. Special tokens' ids are looked
    up in the vocabulary and never assumed.

    >>> pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##aff", "##able", "!"]
    >>> tokenizer = WordPieceTokenizer(pieces)
    >>> tokenizer.tokenize("Unaffable!")
    ['un', '##aff', '##able', '!']
    >>> tokenizer.encode("Unaffable!").input_ids
    [2, 5, 6, 7, 8, 3]

    Args:
        vocabulary: the pieces, in the order of their ids; `##` begins one that continues a word.
        do_lower_case, strip_accents, tokenize_chinese_chars: see `Normalizer`.
        max_input_chars_per_word: a longer word becomes the unknown token.
        pad_token, unk_token, cls_token, sep_token, mask_token: the special tokens' texts.

    Raises:
        ValueError: a piece occurs twice, or a special token is not among the pieces.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        *,
        do_lower_case: bool = True,
        strip_accents: bool | None = None,
        tokenize_chinese_chars: bool = True,
        max_input_chars_per_word: int = 100,
        pad_token: str = "[PAD]",
        unk_token: str = "[UNK]",
        cls_token: str = "[CLS]",
        sep_token: str = "[SEP]",
        mask_token: str = "[MASK]",
    ):
        self.normalizer = Normalizer(do_lower_case, strip_accents, tokenize_chinese_chars)
        self.max_input_chars_per_word = max_input_chars_per_word
        self.pieces = list(vocabulary)
        self.vocab = {piece: i for i, piece in enumerate(self.pieces)}
        if len(self.vocab) < len(self.pieces):
            twice = next(p for i, p in enumerate(self.pieces) if self.vocab[p] != i)
            raise ValueError(f"vocabulary: {twice!r} occurs twice")
        self.pad_token, self.unk_token, self.cls_token = pad_token, unk_token, cls_token
        self.sep_token, self.mask_token = sep_token, mask_token
        self.all_special_tokens = [getattr(self, name) for name in SPECIAL]
        for name, token in zip(SPECIAL, self.all_special_tokens, strict=True):
            if token not in self.vocab:
                raise ValueError(f"vocabulary: expected the {name} {token!r} among the pieces")
        self.pad_token_id, self.unk_token_id = self.vocab[pad_token], self.vocab[unk_token]
        self.cls_token_id, self.sep_token_id = self.vocab[cls_token], self.vocab[sep_token]
        self.mask_token_id = self.vocab[mask_token]
        self.all_special_ids = sorted({self.vocab[token] for token in self.all_special_tokens})
        self._special = regex.compile(
            "(" + "|".join(map(regex.escape, self.all_special_tokens)) + ")"
        )
        self._word_ids: dict[str, list[int]] = {}

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        *,
        min_frequency: int = 2,
        progress: bool = False,
        **options: Any,
    ) -> Self:
        """Learn a vocabulary from texts; see `trainer.learn_vocabulary`.

        Args:
            texts: any number of them, gone through once.
            vocab_size: the number of pieces, special tokens included.
            min_frequency: the rarest pair to join.
            progress: show a bar.
            options: of the tokenizer.

        Raises:
            ValueError: the texts don't have so many pieces; it says how many they have.
        """
        names = ("do_lower_case", "strip_accents", "tokenize_chinese_chars")
        normalizer = Normalizer(**{name: options[name] for name in names if name in options})
        special = [options.get(name, token) for name, token in SPECIAL.items()]
        pieces = learn_vocabulary(
            texts,
            vocab_size,
            words_of=normalizer.words,
            special_tokens=special,
            min_frequency=min_frequency,
            progress=progress,
        )
        return cls(pieces, **options)

    @property
    def vocab_size(self) -> int:
        """V, the number of pieces."""
        return len(self.pieces)

    def __len__(self) -> int:
        """V, the number of pieces."""
        return len(self.pieces)

    def convert_tokens_to_ids(self, tokens: Iterable[str]) -> list[int]:
        """Return the pieces' ids, the unknown token's for what is not in the vocabulary."""
        return [self.vocab.get(token, self.unk_token_id) for token in tokens]

    def convert_ids_to_tokens(self, ids: Iterable[int]) -> list[str]:
        """Return the ids' pieces.

        Raises:
            ValueError: an id is not in the vocabulary.
        """
        ids = list(ids)
        for i in ids:
            if not 0 <= i < len(self.pieces):
                raise ValueError(f"ids: expected 0 to {len(self.pieces) - 1}, got {i}")
        return [self.pieces[i] for i in ids]

    def tokenize(self, text: str) -> list[str]:
        """Cut a text into pieces."""
        return self.convert_ids_to_tokens(self.ids_of(text))

    def ids_of(self, text: str, *, split_special_tokens: bool = False) -> list[int]:
        """Return the ids of a text's pieces, without [CLS] and [SEP].

        Args:
            text: the text.
            split_special_tokens: a special token's text, such as "[MASK]", is text like any other;
                for text that can't be trusted.
        """
        if not isinstance(text, str):
            raise TypeError(f"text: expected a string, got {type(text).__name__}")
        if split_special_tokens or not self._special.search(text):
            return self._plain_ids(text)
        ids: list[int] = []
        for i, part in enumerate(self._special.split(text)):
            ids += [self.vocab[part]] if i % 2 else self._plain_ids(part)
        return ids

    def encode(
        self, text: str, pair: str | None = None, *, max_length: int | None = None
    ) -> Encoding:
        """Encode a text as `[CLS] text [SEP]`, or two as `[CLS] text [SEP] pair [SEP]`.

        The pair's tokens are segment 1, the others segment 0.

        Args:
            text, pair: the texts.
            max_length: the most tokens, special ones included; a token is cut from the end of the
                longer text until they fit. None: nothing is cut.

        Raises:
            ValueError: `max_length` leaves no room for a special token.
        """
        first = self.ids_of(text)
        second = None if pair is None else self.ids_of(pair)
        room = self._room(pair is not None, max_length)
        if room is not None:
            first, second = _truncate(first, second, room)
        ids = [self.cls_token_id, *first, self.sep_token_id]
        types = [0] * len(ids)
        if second is not None:
            ids += [*second, self.sep_token_id]
            types += [1] * (len(second) + 1)
        return Encoding(ids, types, [1] * len(ids))

    def encode_batch(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        max_length: int | None = None,
    ) -> dict[str, np.ndarray]:
        """Encode texts, or pairs of texts, padded to the longest: a model's batch.

        Args:
            texts: B texts.  pairs: a second one for each; None: there are none.
            max_length: as in `encode`.

        Returns:
            `input_ids`, `token_type_ids` and `attention_mask`, (B, T) each, in int64.

        Raises:
            ValueError: there are no texts, or not as many pairs as texts.
        """
        encodings = [self.encode(*both, max_length=max_length) for both in _both(texts, pairs)]
        longest = max(len(encoding.input_ids) for encoding in encodings)
        fill = {"input_ids": self.pad_token_id, "token_type_ids": 0, "attention_mask": 0}
        batch = {name: np.full((len(encodings), longest), pad) for name, pad in fill.items()}
        for row, encoding in enumerate(encodings):
            for name, values in asdict(encoding).items():
                batch[name][row, : len(values)] = values
        return batch

    def count_truncated(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, max_length: int
    ) -> int:
        """Return how many texts `encode_batch` would cut."""
        return sum(
            sum(len(self.ids_of(text)) for text in both if text is not None)
            > (self._room(both[1] is not None, max_length) or 0)
            for both in _both(texts, pairs)
        )

    def decode(self, ids: Iterable[int], *, skip_special_tokens: bool = False) -> str:
        """Join pieces to words, and words by single spaces."""
        tokens = self.convert_ids_to_tokens(ids)
        if skip_special_tokens:
            tokens = [token for token in tokens if token not in self.all_special_tokens]
        return " ".join(tokens).replace(" ##", "")

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        """Write `vocab.txt` and `tokenizer_config.json`, which `transformers` opens too."""
        folder = Path(folder)
        with replacing(folder / VOCABULARY) as path:
            path.write_text("".join(f"{p}\n" for p in self.pieces), "utf-8", newline="\n")
        config = {
            "tokenizer_class": "BertTokenizer",
            **asdict(self.normalizer),
            "max_input_chars_per_word": self.max_input_chars_per_word,
            **{name: getattr(self, name) for name in SPECIAL},
        }
        with replacing(folder / CONFIG) as path:
            path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", "utf-8")

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike) -> Self:
        """Read `vocab.txt`, and `tokenizer_config.json` if it is there.

        Raises:
            OSError: `vocab.txt` is missing or can't be read.
            ValueError: a file is broken; it says which.
        """
        folder = Path(folder)
        pieces = list(read_lines(folder / VOCABULARY))
        options: dict[str, Any] = {}
        path = folder / CONFIG
        if path.is_file():
            try:
                saved = json.loads(path.read_text("utf-8"))
                known = (*Normalizer.__dataclass_fields__, "max_input_chars_per_word", *SPECIAL)
                options = {name: saved[name] for name in known if name in saved}
            except (ValueError, TypeError) as error:
                raise ValueError(f"{path}: not a tokenizer's configuration: {error}") from None
        try:
            return cls(pieces, **options)
        except ValueError as error:
            raise ValueError(f"{folder / VOCABULARY}: {error}") from None

    def _plain_ids(self, text):
        ids: list[int] = []
        for chunk in text.split():
            known = self._word_ids.get(chunk)
            if known is None:
                known = [i for word in self.normalizer.words(chunk) for i in self._longest(word)]
                if len(self._word_ids) < CACHED:
                    self._word_ids[chunk] = known
            ids += known
        return ids

    def _longest(self, word):
        """Cut a word greedily: the longest piece first, then the longest of what is left."""
        if len(word) > self.max_input_chars_per_word:
            return [self.unk_token_id]
        ids, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = word[start:end] if start == 0 else "##" + word[start:end]
                if piece in self.vocab:
                    ids.append(self.vocab[piece])
                    start = end
                    break
            else:
                return [self.unk_token_id]
        return ids

    def _room(self, is_pair, max_length):
        if max_length is None:
            return None
        room = max_length - (3 if is_pair else 2)
        if room < 0:
            raise ValueError(f"max_length: expected room for the special tokens, got {max_length}")
        return room


def _both(texts, pairs):
    if isinstance(texts, str):
        raise TypeError("texts: expected several, got one string; put it in a list")
    if not len(texts):
        raise ValueError("texts: expected at least one")
    if pairs is not None and len(pairs) != len(texts):
        raise ValueError(f"pairs: expected {len(texts)}, one for each text, got {len(pairs)}")
    return zip(texts, pairs if pairs is not None else [None] * len(texts), strict=True)


def _truncate(first, second, room):
    """Cut the longer one's end until both fit; of equal ones, the second."""
    if second is None:
        return first[:room], None
    a, b = len(first), len(second)
    excess = max(a + b - room, 0)
    # All that one is longer than the other goes first; the rest comes from both in turn.
    a_cut = min(excess, max(a - b, 0))
    b_cut = min(excess, max(b - a, 0))
    rest = excess - a_cut - b_cut
    return first[: a - a_cut - rest // 2], second[: b - b_cut - (rest - rest // 2)]

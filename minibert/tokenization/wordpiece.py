"""The WordPiece tokenizer: text to pieces of words to ids, and back."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from minibert.tokenization.added import AddedToken
from minibert.tokenization.alphabet import AlphabetLimit
from minibert.tokenization.base import PreTrainedTokenizer
from minibert.tokenization.framing import BERT, Template
from minibert.tokenization.matching import Matcher
from minibert.tokenization.normalizer import Normalizer
from minibert.tokenization.saved_wordpiece import WordPieceFormat
from minibert.tokenization.trainer import Score, learn_vocabulary
from minibert.tokenization.vocabulary import Vocabulary, join_pieces

SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


class WordPieceTokenizer(PreTrainedTokenizer):
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
        template (Template): the special tokens around texts.
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

    format = WordPieceFormat()

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
        template: Template = BERT,
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
        self.unk_token, self.template = unk_token, template
        matcher = Matcher(
            self.vocabulary,
            self.normalizer,
            self._special_id("unk_token", self.vocabulary.ids),
            max_input_chars_per_word,
        )
        special = {
            "unk_token": unk_token,
            "sep_token": sep_token,
            "pad_token": pad_token,
            "cls_token": cls_token,
            "mask_token": mask_token,
        }
        self._start(matcher, special, added_tokens, model_max_length)

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

    def saved_options(self) -> dict[str, Any]:
        """Return the values of the options that `format` saves, by name."""
        known = {**vars(self), **vars(self.normalizer)}
        known["continuing_subword_prefix"] = self.vocabulary.prefix
        return {name: known[name] for name in self.format.options}

    def describe_tokens(self, ids: Iterable[int]) -> list[str]:
        """Return the tokens of ids; people read WordPiece's as they are."""
        return self.convert_ids_to_tokens(ids)

    def _continues_word(self, piece: str) -> bool:
        return piece.startswith(self.vocabulary.prefix)

    def _join(self, tokens: list[str], clean_up: bool) -> str:
        """Return the text (str) of pieces: joined to words, words joined by single spaces."""
        return join_pieces(tokens, self.vocabulary.prefix, clean_up)

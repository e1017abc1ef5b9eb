"""The byte-level BPE tokenizer, of GPT-2 and RoBERTa: text to bytes to merged bytes to ids."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from minibert.tokenization.added import AddedToken
from minibert.tokenization.base import PreTrainedTokenizer
from minibert.tokenization.bpe_trainer import learn_merges
from minibert.tokenization.byte_alphabet import ALPHABET, spell, unspell
from minibert.tokenization.byte_matching import ByteMatcher
from minibert.tokenization.byte_pairs import BytePairs, Merge
from minibert.tokenization.framing import ROBERTA, Template
from minibert.tokenization.saved_bpe import SPECIAL, ByteLevelBPEFormat
from minibert.tokenization.steps import StepNormalizer
from minibert.tokenization.vocabulary import Vocabulary

SPACES = frozenset(spell(" \t\n\v\f\r"))  # a piece that begins with one begins a word


class ByteLevelBPETokenizer(PreTrainedTokenizer):
    """Tokenizer that merges the bytes of each chunk of text by a list of merges.

    Sennrich et al. (2016), section 3.2; Radford et al. (2019), section 2.2; Liu et al. (2019),
    section 4.4. Every text has tokens, and `decode` returns it, normalized: no token is unknown.

    >>> from minibert.tokenization.byte_alphabet import ALPHABET
    >>> pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *ALPHABET, "th", "the", "Ġthe"]
    >>> merges = [("t", "h"), ("th", "e"), ("Ġ", "the")]
    >>> tokenizer = ByteLevelBPETokenizer(pieces, merges)
    >>> tokenizer.tokenize("the the é")
    ['the', 'Ġthe', 'Ġ', 'Ã', '©']
    >>> tokenizer.decode(tokenizer.encode("the é", "the").input_ids)
    'the éthe'

    Args:
        vocabulary: the pieces in the order of their ids, or a mapping from pieces to ids; or a
            `Vocabulary`. Pieces are written with the characters of `byte_alphabet`.
        merges: pairs of pieces, the first to merge at the beginning.
        add_prefix_space (bool): put a space before a text, and before the text after an added
            token, unless it begins with one; the first word is then tokenized as the others.
        trim_offsets (bool): leave spaces at the ends of a token out of its offsets.
        ignore_merges (bool): make a chunk that is a piece of the vocabulary one token.
        normalizer: the part "normalizer" of a `tokenizer.json`; see `steps`.
        template (Template): the special tokens around texts; RoBERTa's `<s> A </s></s> B </s>`.
        unk_token: the token that `convert_tokens_to_ids` returns for unknown tokens.
        sep_token: the separator token, a piece of the vocabulary or an added token; or None.
        pad_token: the padding token, likewise.
        cls_token: the token at the start, likewise.
        mask_token: the mask token, likewise; it includes the white space before it.
        bos_token, eos_token: names that files have for the tokens at the start and at the end.
        added_tokens: see `add_tokens`.
        model_max_length (int or None): maximum number of tokens of the model; stored and saved, but
            never used to truncate.

    Raises:
        ValueError: a piece occurs twice, an id or the character of a byte is missing, a merge does
            not fit the vocabulary, a special token is not in the vocabulary, or a step of the
            normalizer is unknown.
    """

    format = ByteLevelBPEFormat()
    mask_lstrip = True
    model_input_names = ("input_ids", "attention_mask")

    def __init__(
        self,
        vocabulary: Sequence[str] | Mapping[str, int] | Vocabulary,
        merges: Iterable[Merge],
        *,
        add_prefix_space: bool = False,
        trim_offsets: bool = True,
        ignore_merges: bool = False,
        normalizer: Mapping[str, Any] | None = None,
        template: Template = ROBERTA,
        unk_token: str | None = "<unk>",
        sep_token: str | None = "</s>",
        pad_token: str | None = "<pad>",
        cls_token: str | None = "<s>",
        mask_token: str | None = "<mask>",
        bos_token: str | None = None,
        eos_token: str | None = None,
        added_tokens: Iterable[str | AddedToken] = (),
        model_max_length: int | None = None,
    ):
        if not isinstance(vocabulary, Vocabulary):
            vocabulary = Vocabulary(vocabulary, "")
        self.vocabulary, self.template = vocabulary, template
        self.add_prefix_space, self.trim_offsets = add_prefix_space, trim_offsets
        self.ignore_merges = ignore_merges
        self.pairs = BytePairs(vocabulary, [(a, b) for a, b in merges], ignore_merges)
        special = {
            "cls_token": cls_token,
            "pad_token": pad_token,
            "sep_token": sep_token,
            "unk_token": unk_token,
            "mask_token": mask_token,
            "bos_token": cls_token if bos_token is None else bos_token,
            "eos_token": sep_token if eos_token is None else eos_token,
        }
        self.normalizer = StepNormalizer(normalizer)
        matcher = ByteMatcher(self.pairs, add_prefix_space, trim_offsets, self.normalizer)
        self._start(matcher, special, added_tokens, model_max_length)

    @property
    def merges(self) -> list[Merge]:
        """The pairs of pieces, the first to merge at the beginning."""
        return list(self.pairs.merges)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        *,
        min_frequency: int = 2,
        special_tokens: Iterable[str] = (),
        exact: bool = True,
        progress: bool = False,
        **options: Any,
    ) -> Self:
        """Return a tokenizer with merges learned from texts; see `learn_merges`.

        >>> tokenizer = ByteLevelBPETokenizer.train(["low low lower newer"], 265)
        >>> tokenizer.merges
        [('l', 'o'), ('lo', 'w'), ('e', 'r'), ('Ġ', 'low')]

        Args:
            texts: the texts, in any order; iterated once.
            vocab_size (int): V, the number of pieces, special tokens and bytes included.
            min_frequency (int): minimum count of a pair to merge.
            special_tokens: further special tokens, in addition to the five.
            exact (bool): raise an error if the texts yield fewer than `vocab_size` pieces.
            progress (bool): show progress bars on stderr.
            options: options of `ByteLevelBPETokenizer`.

        Raises:
            TypeError: a text is not a string, or an option is unknown.
            ValueError: the texts do not yield `vocab_size` pieces; the message gives the limit.
        """
        more = list(special_tokens)
        named = [options.get(name, token) for name, token in SPECIAL.items()]
        special = list(dict.fromkeys([*filter(None, named), *more]))
        untrained = cls([*special, *ALPHABET], [], **options)  # raises for an invalid option
        normalize = untrained.normalizer.normalize
        pieces, merges = learn_merges(
            map(normalize, texts) if untrained.normalizer.kinds else texts,
            vocab_size,
            special_tokens=special,
            min_frequency=min_frequency,
            add_prefix_space=untrained.add_prefix_space,
            exact=exact,
            progress=progress,
        )
        tokenizer = cls(pieces, merges, **options)
        tokenizer.add_tokens(more, special_tokens=True)
        return tokenizer

    def _continues_word(self, piece: str) -> bool:
        return piece[:1] not in SPACES

    def _join(self, tokens: list[str], clean_up: bool) -> str:
        """Return the text (str) of tokens: of their bytes; an added token is its own text.

        There is nothing to clean up, because spaces are bytes as all others.
        """
        return unspell(tokens, {token.content for token in self.added_tokens})

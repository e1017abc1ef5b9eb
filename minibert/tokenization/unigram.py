"""The Unigram tokenizer of SentencePiece: XLM-RoBERTa, CamemBERT, ALBERT, multilingual models."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from minibert.tokenization.added import AddedToken
from minibert.tokenization.base import PreTrainedTokenizer
from minibert.tokenization.framing import INPUTS, ROBERTA, Template
from minibert.tokenization.lattice import Lattice
from minibert.tokenization.metaspace import Metaspace
from minibert.tokenization.saved_unigram import UnigramFormat, score_of_file
from minibert.tokenization.steps import StepNormalizer
from minibert.tokenization.unigram_matching import UnigramMatcher
from minibert.tokenization.vocabulary import CLEAN_UP, Vocabulary


class UnigramTokenizer(PreTrainedTokenizer):
    """Tokenizer that splits each word into the most probable pieces of its vocabulary.

    Kudo (2018), section 3.2, and Kudo and Richardson (2018). `lattice` finds the best split. Spaces
    are part of the pieces, as ▁, so decoding restores them.

    >>> pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁un", "▁", "able", "a", "n", "<mask>"]
    >>> scores = [0.0, 0.0, 0.0, 0.0, -3.0, -2.0, -4.0, -5.0, -5.0, 0.0]
    >>> tokenizer = UnigramTokenizer(list(zip(pieces, scores)))
    >>> encoding = tokenizer.encode("unable <mask>")
    >>> encoding.tokens, encoding.input_ids
    (['<s>', '▁un', 'able', '<mask>', '</s>'], [0, 4, 6, 9, 2])
    >>> tokenizer.decode(encoding.input_ids)
    'unable'

    Args:
        vocabulary: the pieces and their log-probabilities, in the order of ids; or a `Vocabulary`,
            with `scores`.
        scores: the log-probability of each id of a `Vocabulary`.
        normalizer: the part "normalizer" of a `tokenizer.json`; see `steps`.
        metaspace: splits text into words.
        byte_fallback (bool): see `Lattice`.
        template: the special tokens around texts.
        unk_token: the unknown token, a piece of the vocabulary.
        sep_token: the separator token, a piece of the vocabulary or an added token.
        pad_token: the padding token, likewise.
        cls_token: the token at the start, likewise.
        mask_token: the mask token, likewise.
        added_tokens: see `add_tokens`.
        model_max_length (int or None): maximum number of tokens of the model; stored and saved, but
            never used to truncate.

    Raises:
        ValueError: a piece occurs twice or is not a single line of text, a special token is not in
            the vocabulary, or a step of the normalizer is unknown.
    """

    format = UnigramFormat()
    mask_lstrip = True
    model_input_names: tuple[str, ...] = ("input_ids", "attention_mask")

    def __init__(
        self,
        vocabulary: Sequence[tuple[str, float]] | Vocabulary,
        *,
        scores: Sequence[float] | None = None,
        normalizer: Mapping[str, Any] | None = None,
        metaspace: Metaspace = Metaspace(),  # noqa: B008 (it is immutable)
        byte_fallback: bool = False,
        template: Template = ROBERTA,
        unk_token: str = "<unk>",
        sep_token: str = "</s>",
        pad_token: str = "<pad>",
        cls_token: str = "<s>",
        mask_token: str = "<mask>",
        added_tokens: Iterable[str | AddedToken] = (),
        model_max_length: int | None = None,
    ):
        if not isinstance(vocabulary, Vocabulary):
            scores = [score for _, score in vocabulary]
            vocabulary = Vocabulary([piece for piece, _ in vocabulary], prefix="")
        if scores is None or len(scores) != len(vocabulary):
            got = "none" if scores is None else len(scores)
            raise ValueError(f"scores: expected {len(vocabulary)}, one for each id, got {got}")
        self.vocabulary, self.scores = vocabulary, list(scores)
        self.normalizer, self.metaspace = StepNormalizer(normalizer), metaspace
        self.byte_fallback, self.template = byte_fallback, template
        if template.pair_type:  # the model reads the types, as an ALBERT does
            self.model_input_names = INPUTS
        self.unk_token = unk_token
        read = [score_of_file(score) for score in self.scores]
        lattice = Lattice(
            {piece: read[i] for piece, i in vocabulary.ids.items()},
            vocabulary.ids,
            self._special_id("unk_token", vocabulary.ids),
            byte_fallback,
            lowest=min(read),
        )
        matcher = UnigramMatcher(vocabulary, self.normalizer, metaspace, lattice)
        special = {
            "cls_token": cls_token,
            "pad_token": pad_token,
            "sep_token": sep_token,
            "unk_token": unk_token,
            "mask_token": mask_token,
        }
        self._start(matcher, special, added_tokens, model_max_length)

    def _continues_word(self, piece: str) -> bool:
        return not piece.startswith(self.metaspace.replacement)

    def _join(self, tokens: list[str], clean_up: bool) -> str:
        """Return the text (str) of pieces, with ▁ as spaces."""
        text = self.metaspace.join(tokens)
        for spaced, written in CLEAN_UP if clean_up else ():
            text = text.replace(spaced, written)
        return text

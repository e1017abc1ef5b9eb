"""From raw text to words: BERT's clean-up, and the cut at white space and punctuation.

Each step looks at one character at a time, and none of them at white space's neighbours. So the
words of a text are the words of its `chunks`, one after the other: that is what lets the tokenizer
and the trainer do the work once for each different chunk.
"""

import unicodedata
from dataclasses import dataclass

import regex

# What BERT drops: NUL, the replacement character, and control, format, surrogate and private
# characters, apart from the three that are white space to it.
DROPPED = regex.compile(r"[\x00\uFFFD]|(?![\t\n\r])[\p{Cc}\p{Cf}\p{Cs}\p{Co}]")
SPACE = regex.compile(r"[\t\n\r\p{Z}]")
# Dropped, although str.split() takes them for white space.
NOT_SPACE = regex.compile(r"[\x0b\x0c\x1c-\x1f\x85]")
# The blocks of Chinese characters. Hugging Face leaves U+2B820 to U+2B91F out of extension E, most
# likely by a slip of the pen; so that the ids agree, so do we.
CHINESE = regex.compile(
    r"([\u4E00-\u9FFF\u3400-\u4DBF\U00020000-\U0002A6DF\U0002A700-\U0002B73F"
    r"\U0002B740-\U0002B81F\U0002B920-\U0002CEAF\uF900-\uFAFF\U0002F800-\U0002FA1F])"
)
MARK = regex.compile(r"\p{Mn}+")
# ASCII's symbols, $ + < = > ^ ` | ~, are punctuation to BERT although Unicode calls them otherwise.
WORD = regex.compile(r"[!-/:-@\[-`{-~\p{P}]|[^\s!-/:-@\[-`{-~\p{P}]+")


def chunks(text: str) -> list[str]:
    r"""Cut a text at what BERT takes for white space.

    >>> chunks("one\ttwo  three\x0bfour")
    ['one', 'two', 'threefour']
    """
    return NOT_SPACE.sub("", text).split()


@dataclass(frozen=True)
class Normalizer:
    """BERT's normalisation of text: clean, space out Chinese, strip accents, lower the case, cut.

    Devlin et al. (2019), by their code (`BasicTokenizer`), in the reading of Hugging Face's
    `BertNormalizer` and `BertPreTokenizer`.

    >>> Normalizer().words("Émile's  café, 你好")
    ['emile', "'", 's', 'cafe', ',', '你', '好']

    Args:
        do_lower_case: make everything lower case.
        strip_accents: drop the marks over and under letters; None: if lower case.
        tokenize_chinese_chars: make each Chinese character a word.
    """

    do_lower_case: bool = True
    strip_accents: bool | None = None
    tokenize_chinese_chars: bool = True

    def normalize(self, text: str) -> str:
        r"""Return the text cleaned, without accents and in lower case, as configured.

        >>> Normalizer(do_lower_case=False).normalize("Naïve\u200b\n北京")
        'Naïve  北  京 '
        """
        if text.isascii() and text.isprintable():  # spares English two thirds of the time here
            return text.lower() if self.do_lower_case else text
        text = SPACE.sub(" ", DROPPED.sub("", text))
        if self.tokenize_chinese_chars:
            text = CHINESE.sub(r" \1 ", text)
        strip = self.do_lower_case if self.strip_accents is None else self.strip_accents
        if strip and not text.isascii():
            text = MARK.sub("", unicodedata.normalize("NFD", text))
        if self.do_lower_case:
            # Letter by letter: lower() alone would make a final sigma another letter.
            text = text.replace("Σ", "σ").lower()
        return text

    def words(self, text: str) -> list[str]:
        """Normalise the text and cut it into words and punctuation marks."""
        return WORD.findall(self.normalize(text))

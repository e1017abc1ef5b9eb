"""From raw text to words: BERT's clean-up, and the cut at white space and punctuation."""

import unicodedata
from dataclasses import dataclass

import regex

# What BERT calls control characters: Unicode's category C except tab, newline and return.
CONTROL = regex.compile(r"[\x00\uFFFD]|(?![\t\n\r])\p{C}")
SPACE = regex.compile(r"[\t\n\r]|\p{Zs}")
# The blocks of Chinese characters, which are words of their own: Devlin et al.'s code, the
# CJK Unified Ideographs with their extensions A to E, and the compatibility ideographs.
CHINESE = regex.compile(
    "([\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U0002a6df\U0002a700-\U0002b73f"
    "\U0002b740-\U0002b81f\U0002b820-\U0002ceaf\uf900-\ufaff\U0002f800-\U0002fa1f])"
)
MARK = regex.compile(r"\p{Mn}+")
# ASCII's symbols count as punctuation although Unicode calls some of them something else.
WORD = regex.compile(r"[!-/:-@\[-`{-~\p{P}]|[^\s!-/:-@\[-`{-~\p{P}]+")


@dataclass(frozen=True)
class Normalizer:
    """BERT's normalisation of text, under Hugging Face's names.

    Devlin et al. (2019), in their code.

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
        """Return the text cleaned, without accents and in lower case, as configured."""
        text = SPACE.sub(" ", CONTROL.sub("", text))
        if self.tokenize_chinese_chars:
            text = CHINESE.sub(r" \1 ", text)
        strip = self.do_lower_case if self.strip_accents is None else self.strip_accents
        if strip and not text.isascii():
            text = MARK.sub("", unicodedata.normalize("NFD", text))
        if self.do_lower_case:
            # Letter by letter: Python's lower() would treat a final sigma specially.
            text = text.replace("Σ", "σ").lower()
        return text

    def words(self, text: str) -> list[str]:
        """Normalise the text and cut it into words and punctuation marks."""
        return WORD.findall(self.normalize(text))

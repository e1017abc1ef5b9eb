"""The step StripAccents of a `tokenizer.json`: drop all combining marks, also those with a width.

BERT's normalizer drops the nonspacing marks alone (`characters.MARK`). The table is of Unicode 9,
as in `tokenizers`.
"""

import re
from collections.abc import Iterable, Iterator

from minibert.tokenization.characters import MARK, character_class
from minibert.tokenization.normalizer import Letter

# Categories Mc and Me: spacing and enclosing marks.
WIDE_MARK = character_class("""
    488-489 903 93B 93E-940 949-94C 94E-94F 982-983 9BE-9C0 9C7-9C8 9CB-9CC 9D7 A03 A3E-A40 A83
    ABE-AC0 AC9 ACB-ACC B02-B03 B3E B40 B47-B48 B4B-B4C B57 BBE-BBF BC1-BC2 BC6-BC8 BCA-BCC BD7
    C01-C03 C41-C44 C82-C83 CBE CC0-CC4 CC7-CC8 CCA-CCB CD5-CD6 D02-D03 D3E-D40 D46-D48 D4A-D4C D57
    D82-D83 DCF-DD1 DD8-DDF DF2-DF3 F3E-F3F F7F 102B-102C 1031 1038 103B-103C 1056-1057 1062-1064
    1067-106D 1083-1084 1087-108C 108F 109A-109C 17B6 17BE-17C5 17C7-17C8 1885-1886 1923-1926
    1929-192B 1930-1931 1933-1938 1A19-1A1A 1A55 1A57 1A61 1A63-1A64 1A6D-1A72 1ABE 1B04 1B35 1B3B
    1B3D-1B41 1B43-1B44 1B82 1BA1 1BA6-1BA7 1BAA 1BE7 1BEA-1BEC 1BEE 1BF2-1BF3 1C24-1C2B 1C34-1C35
    1CE1 1CF2-1CF3 1DFB 20DD-20E0 20E2-20E4 302E-302F A670-A672 A823-A824 A827 A880-A881 A8B4-A8C3
    A8C5 A952-A953 A983 A9B4-A9B5 A9BA-A9BB A9BD-A9C0 AA2F-AA30 AA33-AA34 AA4D AA7B AA7D AAEB
    AAEE-AAEF AAF5 ABE3-ABE4 ABE6-ABE7 ABE9-ABEA ABEC 11000 11002 11082 110B0-110B2 110B7-110B8
    1112C 11182 111B3-111B5 111BF-111C0 1122C-1122E 11232-11233 11235 1123E 112E0-112E2 11302-11303
    1133E-1133F 11341-11344 11347-11348 1134B-1134D 11357 11362-11363 11435-11446 114B0-114B2 114B9
    114BB-114BE 114C1 115AF-115B1 115B8-115BB 115BE 11630-11632 1163B-1163C 1163E 116AC 116AE-116AF
    116B6 11720-11721 11726 11C2F-11C36 11C38-11C3F 11C92-11CA7 11CA9-11CB6 16F51-16F7E 1D165-1D166
    1D16D-1D172 1E000-1E006 1E008-1E018 1E01B-1E021 1E023-1E024 1E026-1E02A 1E944-1E94A 8D4-8E1
""")
# Letters since Unicode 12, which the table contains.
LATER_LETTERS = "\u1cf2\u1cf3"
_combining = re.compile(f"[{MARK}{WIDE_MARK}]")


def strip_combining(letters: Iterable[Letter]) -> Iterator[Letter]:
    r"""Drop combining marks.

    >>> letters = [Letter(char, i, i + 1) for i, char in enumerate("e\u0301x")]
    >>> "".join(letter.char for letter in strip_combining(letters))
    'ex'
    """
    return (letter for letter in letters if not _combining.match(letter.char))

"""Exceptions of `test_style`, to be removed one by one; all sets are empty at the end."""

# Files with denied phrases.
WORDS: set[str] = set()
# Functions above 60 lines of code.
LONG: set[str] = set()
# Imports of later rooms.
IMPORTS: set[str] = set()
# Imports of the core from the periphery.
CORE_IMPORTS: set[str] = {
    "minibert/training/engine.py -> minibert.training.ranks.ALONE",
    "minibert/training/engine.py -> minibert.training.ranks.Ranks",
}
# Files of the core without all docstrings and annotations.
ANNOTATIONS: set[str] = set()
# Files that import for type checking only.
TYPE_CHECKING: set[str] = set()

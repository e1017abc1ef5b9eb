"""Other names of functions in `cli.text_input` and `cli.output`, for labelled.py and labelling.py.

Both files are being rewritten; this file is removed with them.
"""

from minibert.cli.output import is_interactive as interactive
from minibert.cli.text_input import read_texts as lines_of

__all__ = ["interactive", "lines_of"]

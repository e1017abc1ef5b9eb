"""Other names of `cli.input` and `cli.output`, for `labelled.py` and `labelling.py`."""

from minibert.cli.input import lines_of
from minibert.cli.output import interactive

__all__ = ["interactive", "lines_of"]

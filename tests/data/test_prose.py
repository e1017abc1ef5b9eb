"""Extraction of prose paragraphs from docstrings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.data.builtin.prose import paragraphs

DOCSTRINGS = {
    "lines are joined": (
        "One line of text\nthat goes on in the next.",
        ["One line of text that goes on in the next."],
    ),
    "a literal block is dropped": (
        "It is to be used like this::\n\n    the(code).of_the(example) is no prose at all\n\n"
        "Back to prose that is to be kept.",
        ["It is to be used like this:", "Back to prose that is to be kept."],
    ),
    "a doctest is dropped to the blank line": (
        "This is what it does in an example:\n>>> f(x)\nthe result of it is the sum of it\n\n"
        "And this is the end of it.",
        ["This is what it does in an example:", "And this is the end of it."],
    ),
    "a heading is dropped": (
        "The heading of a part of it\n---------------------------\nThe text of this part of it.",
        ["The text of this part of it."],
    ),
    "a type is dropped": (
        "x : int\n    The number of the rows to read.\n"
        "y : int, optional, which is the default\n    The number of rows to skip.",
        ["The number of the rows to read.", "The number of rows to skip."],
    ),
    "a reference is described": (
        "sort : Return a sorted copy of the\n    array that is given.\nfind : Find it.",
        ["Return a sorted copy of the array that is given."],
    ),
    "list items are paragraphs": (
        "- the first item of the list\n  and its second line\n- the second item of the list",
        ["the first item of the list and its second line", "the second item of the list"],
    ),
    "an item is one paragraph": (
        "- An item.\n  It is described in this line of text.\n- Another.",
        ["An item. It is described in this line of text."],
    ),
    "fields are paragraphs": (
        ":param x: the number of rows to read\n:param y: the number of rows to skip",
        ["the number of rows to read", "the number of rows to skip"],
    ),
    "keys are paragraphs": (
        "rows: the number of rows to read\nskip: the number of rows to skip",
        ["rows: the number of rows to read", "skip: the number of rows to skip"],
    ),
    "dashes set off a meaning": (
        "read() -- read all the rows of it\nskip() -- skip the rest of the rows",
        ["read all the rows of it", "skip the rest of the rows"],
    ),
    "a note is text": (
        ".. note:: This is also a text to keep.",
        ["This is also a text to keep."],
    ),
    "other directives are not": (
        ".. versionadded:: 1.2 of this very long and winding text\n\n"
        ".. math:: this is not the text to keep\n    and neither is this line of it",
        [],
    ),
    "a source is not text": (".. [1] The author of it, in a book of 1994.", []),
    "markup is undone": (
        "See :meth:`~a.b.C.run` or ``x`` or `the page <http://a.b>`_ for *more* of it [1]_.",
        ["See a.b.C.run or x or the page for more of it."],
    ),
    "an optional type is dropped": (
        "x : None or a Number of the rows to read\n    The rows to read from the file.\ny : int",
        ["The rows to read from the file."],
    ),
    "a hanging indent belongs to its paragraph": (
        "This is the first line of it and\n    this is the second.\n  This is the third of it.",
        ["This is the first line of it and this is the second. This is the third of it."],
    ),
    "an indented part is a paragraph": (
        "The word.\n    It is described in this line of text.\nThe end.",
        ["It is described in this line of text."],
    ),
    "a comment is not prose": ("# this is a comment of the code in it", []),
    "formulas are not prose": ("the remainder is <number> and the quotient is <another>", []),
    "numbers are not prose": ("the 1000 2000 3000 of 4000 5000 in the 6000 7000 or it", []),
    "code is not prose": ("for i in range(10): a[i] = b[i] ** 2 if c else d", []),
    "a table is not prose": ("+----+-----+\n| a  | the |\n+----+-----+", []),
    "a list of names is not prose": ("alpha beta gamma delta epsilon zeta eta", []),
    "one function word doesn't make a list prose": ("the " + "alpha beta gamma delta " * 5, []),
    "five words are too few": ("Only five words are here.", []),
}


@pytest.mark.parametrize("case", DOCSTRINGS)
def test_paragraphs_keeps_prose_and_drops_code_and_markup(case):
    docstring, expected = DOCSTRINGS[case]
    assert paragraphs(docstring) == expected


PIECES = [
    *("the of word is in and to it for with" * 4).split(),
    "x :",
    "- ",
    ">>>",
    "::",
    "``",
    "*",
    ".. ",
    "    ",
    "\n",
    "\n\n",
]


@given(st.lists(st.sampled_from([*PIECES, "---", "\t", "\ud800", "\0"]), max_size=60).map(" ".join))
def test_paragraphs_of_any_docstring_are_clean_lines(docstring):
    for text in paragraphs(docstring):
        assert text.isprintable()
        assert text == " ".join(text.split())
        assert text.encode()

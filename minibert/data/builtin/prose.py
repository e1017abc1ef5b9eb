"""Extract paragraphs of plain English from docstrings, without code and markup."""

import inspect

import regex

MIN_WORDS = 6  # a shorter paragraph is a heading, a type or a fragment
MIN_FUNCTION_WORDS = 1 / 12  # fraction of the words; nearly 1/2 in English prose
MIN_LETTERS = 0.6  # fraction of the characters; nearly 0.8 in English prose
MAX_SYMBOLS = 0.05  # fraction of the characters that match SYMBOL

WORD = regex.compile(r"\b[A-Za-z]+(?:['’-][A-Za-z]+)*\b")
SYMBOL = regex.compile(r"[][{}<>=\\|/+*^%$#@&~]")
# Nearly every sentence contains these words; lists of names, signatures and tables do not.
FUNCTION_WORD = regex.compile(
    r"\b(?:a|an|the|this|that|these|those|it|its|is|are|was|be|been|will|can|may|must|should|has|have|"
    r"does|do|not|no|and|or|but|if|when|which|where|whether|of|to|in|on|at|by|for|from|with|without|"
    r"as|into|than|then|between|you|your|we|all|any|each|only|use|used)\b",
    regex.IGNORECASE,
)

RULE = regex.compile(r"[-=~*^+#_.\"'`|\s]{3,}")  # ------, ====, and table borders
DIRECTIVE = regex.compile(r"\.\. +(?:([\w-]+)::|\[|_)")  # .. note::   .. [1] a source   .. _target:
ADMONITIONS = {"note", "warning", "tip", "important", "caution", "hint", "seealso"}
BULLET = regex.compile(r"(?:[-*+•o]|\(?(?:\d{1,2}|[a-zA-Z])[.)]|\[\d+\]) +(?=\S)")
FIELD = regex.compile(r"[:@](?:\w+)(?: +[^:]+)?: +")  # :param x: its meaning
DASHED = regex.compile(r"\S+(?:\(.*?\))? +--+ +")  # name -- its meaning
TERM = regex.compile(r"[\w*`'\".,/(){}=\[\] |-]*? : +")  # x : array_like, as NumPy writes
KEY = regex.compile(r"[`'\"*]*\w+[`'\"]*: +(?=\S)")  # key: its meaning, line after line

MARKUP = [
    (regex.compile(r":[\w:+-]+:`[~!]?([^`<]*?)(?: *<[^`>]*>)?`"), r"\1"),  # :func:`~a.b`
    (regex.compile(r"``(.+?)``"), r"\1"),
    (regex.compile(r"`[~!]?([^`<]+?)(?: *<[^`>]*>)?`_{0,2}"), r"\1"),  # `x`, `words <address>`_
    (regex.compile(r"(?<![\w*])\*\*(?=\S)([^*]+)(?<=\S)\*\*(?!\w)"), r"\1"),
    (regex.compile(r"(?<![\w*])\*(?=\S)([^*]+)(?<=\S)\*(?!\w)"), r"\1"),
    (regex.compile(r"\s*\[[\w#*-]+\]_"), ""),  # [1]_
    (regex.compile(r"::+(?=\s|$)"), ":"),
    (regex.compile(r"\s+"), " "),
]


def paragraphs(docstring: str) -> list[str]:
    """Return the paragraphs of prose in a docstring, each on one line.

    A paragraph is a run of lines between blank lines, a list item, a parameter's description or the
    body of a note. Doctests, literal blocks, headings, tables, references and other directives are
    skipped, and inline markup is removed.

    >>> paragraphs('''Return the sum of ``x`` along the given axis.
    ...
    ... Parameters
    ... ----------
    ... x : array_like
    ...     The numbers to add, of any shape.
    ...
    ... >>> total([1, 2])
    ... 3
    ... ''')
    ['Return the sum of x along the given axis.', 'The numbers to add, of any shape.']
    """
    plain = (strip_markup(" ".join(block)) for block in blocks(docstring))
    return [text for text in plain if is_prose(text)]


def is_prose(text: str) -> bool:
    """Return whether a line of text is English prose.

    >>> is_prose("Return True if the queue is empty."), is_prose("x[i] = f(x[i - 1], *args) + y")
    (True, False)
    """
    words = len(WORD.findall(text))
    return (
        text.isprintable()
        and not text.startswith("#")
        and words >= MIN_WORDS
        and len(FUNCTION_WORD.findall(text)) >= MIN_FUNCTION_WORDS * words
        and len(SYMBOL.findall(text)) <= MAX_SYMBOLS * len(text)
        and sum(map(str.isalpha, text)) >= MIN_LETTERS * len(text)
    )


def strip_markup(text: str) -> str:
    """Return a text (str) without reStructuredText's inline markup.

    >>> strip_markup("See :func:`~os.walk` and *sorted* [1]_, or ``x``.")
    'See os.walk and sorted, or x.'
    """
    for pattern, replacement in MARKUP:
        text = pattern.sub(replacement, text)
    return text.strip()


def blocks(docstring: str) -> list[list[str]]:
    """Return the blocks of a docstring, each a list of lines, without code."""
    found: list[list[str]] = []
    block: list[str] = []  # lines of the current block
    start = 0  # indentation of its first line
    item = ""  # kind of marker of that line, see `strip_marker`
    code_above: int | None = None  # lines indented more than this are code
    in_doctest = False

    def close() -> None:
        nonlocal block, code_above
        if block:
            found.append(block)
            if block[-1].endswith("::"):  # a literal block follows
                code_above = start
        block = []

    for line in inspect.cleandoc(docstring).splitlines():
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        if not text:
            close()
            in_doctest = False
            continue
        if code_above is not None and indent > code_above:
            continue
        code_above = None
        if in_doctest or text.startswith(">>>"):
            close()
            in_doctest = True
            continue
        if RULE.fullmatch(text):
            if len(block) == 1:  # the line underlines a heading
                block = []
            close()
            continue
        if directive := DIRECTIVE.match(text):
            close()
            if directive[1] not in ADMONITIONS:
                code_above = indent
                continue
            text = text[directive.end() :].strip()
            if not text:
                continue
        if block and indent != start and not continues(block, item, indent > start):
            if item == "term" and indent > start:
                block = []  # a type: the description begins here
            close()
        text, marked = strip_marker(text, may_be_key=not block or item == "key")
        if marked or not block:
            close()
            start, item = indent, marked
        block.append(text)
    close()
    return found


def continues(block: list[str], item: str, deeper: bool) -> bool:
    """Return whether a line with another indentation continues the block."""
    if not deeper:
        return False
    if item == "term":  # "sort : Return a sorted copy", rather than "x : array_like, optional"
        return (
            block[0][:1].isupper()
            and not block[0].startswith("None")
            and "optional" not in block[0]
            and len(WORD.findall(block[0])) > 2
        )
    if item or len(block) > 1:
        return True
    return len(WORD.findall(block[0])) > 4 and not block[0].endswith((".", ":"))


def strip_marker(text: str, may_be_key: bool) -> tuple[str, str]:
    """Return a line without its list marker, and the kind of marker, "" for none."""
    marked = ""
    if bullet := BULLET.match(text):
        text, marked = text[bullet.end() :], "bullet"
    for pattern, kind in ((FIELD, "field"), (DASHED, "dashed"), (TERM, "term")):
        if match := pattern.match(text):
            return text[match.end() :], kind
    if may_be_key and KEY.match(text):
        return text, "key"  # kept, because it may also be "Note: ..."
    return text, marked

"""Reading docstrings: complete, in order, without repeated paragraphs, and cached."""

import textwrap
from pathlib import Path

import pytest

from minibert.data.builtin import docstrings
from minibert.data.builtin.docstrings import Document, read_documents


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Give each test its own cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tree(tmp_path):
    """Return the roots of a small standard library and a small NumPy."""
    files = {
        "std/mail/__init__.py": '"""Mail is what this small package is all about."""',
        "std/mail/box.py": '''
            class Box:
                """A box that keeps the letters of one person.

                >>> Box().letters
                []
                """
                def open(self):
                    """Open the box and return the number of letters in it."""
                    def lid(): "Lift the lid without waking up the cat."
                async def wait(self): "Wait until there is a letter in the box."
            ''',
        "std/_pymail.py": '"""Open the box and return the number of letters in it."""',
        "std/_pydraw.py": '"""Draw a circle of the given radius on it."""',
        "std/pydoc_data/topics.py": "topics = {'if': 'The if statement is used for a choice.\\n'}",
        "std/test/test_mail.py": '"""This text of the tests is not to be read."""',
        "std/mail/tests/box.py": '"""This text of the tests is not to be read."""',
        "std/site-packages/extra.py": '"""This text of a package is not to be read."""',
        "std/broken.py": "def (:",
        "std/latin.py": b'"""Une cl\xe9 without a coding line, so the file is no Python."""',
        "std/escape.py": "'''A docstring with a bad escape, \\d, is still to be read.'''",
        "np/__init__.py": '"""An array of numbers, and what to do with it."""',
        "np/_docs.py": '''
            add_newdoc("numpy.core", "sort", """
                Sort the array in place, and return nothing at all.
                """)
            add_newdoc("numpy.core", "array", ("size", """The size of the array as a number."""))
            size = property(doc="The number of items that the array holds.")
            ''',
    }
    for name, source in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, str):
            source = textwrap.dedent(source).encode()
        path.write_bytes(source)
    return [("", tmp_path / "std"), ("numpy", tmp_path / "np")]


def test_read_documents_finds_all_docstrings_in_order(tree):
    assert read_documents(tree) == [
        Document("draw", "_pydraw", ("Draw a circle of the given radius on it.",)),
        Document("mail", "_pymail", ("Open the box and return the number of letters in it.",)),
        Document("escape", "escape", (r"A docstring with a bad escape, \d, is still to be read.",)),
        Document("mail", "mail", ("Mail is what this small package is all about.",)),
        Document("mail", "mail.box.Box", ("A box that keeps the letters of one person.",)),
        Document("mail", "mail.box.Box.open.lid", ("Lift the lid without waking up the cat.",)),
        Document("mail", "mail.box.Box.wait", ("Wait until there is a letter in the box.",)),
        Document("pydoc_data", "pydoc_data.topics.if", ("The if statement is used for a choice.",)),
        Document("numpy", "numpy", ("An array of numbers, and what to do with it.",)),
        Document(
            "numpy", "numpy.core.sort", ("Sort the array in place, and return nothing at all.",)
        ),
        Document("numpy", "numpy.core.array.size", ("The size of the array as a number.",)),
        Document("numpy", "numpy._docs", ("The number of items that the array holds.",)),
    ]


def test_read_documents_uses_the_cache_the_second_time(tree, monkeypatch):
    first = read_documents(tree)
    monkeypatch.setattr(docstrings, "read_files", None)
    assert read_documents(tree) == first
    with pytest.raises(TypeError):
        read_documents(tree, cache=False)


def test_read_documents_reads_changed_sources_again(tree):
    read_documents(tree)
    path = tree[0][1] / "_pydraw.py"
    path.write_text('"""Draw a square of the given width on the paper."""')
    assert read_documents(tree)[0].paragraphs == ("Draw a square of the given width on the paper.",)


@pytest.mark.parametrize("content", ["", "[1, 2", "[[1]]", "7", "[[null, null, null]]"])
def test_read_documents_replaces_a_damaged_cache(tree, own_cache, content):
    first = read_documents(tree)
    (cache,) = (own_cache / "minibert").iterdir()
    cache.write_text(content)
    assert read_documents(tree) == first


def test_read_documents_works_with_an_unwritable_cache(tree, own_cache):
    own_cache.write_text("a file where the folder should be")
    assert len(read_documents(tree)) == len(read_documents(tree, cache=False))


def test_read_documents_works_without_a_home_folder(tree, monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    assert read_documents(tree)


def test_read_documents_refuses_roots_without_sources(tmp_path):
    with pytest.raises(ValueError, match="found no documentation in the Python source files of"):
        read_documents([("", tmp_path)])


def test_read_files_extracts_prose_of_a_real_module():
    """`textwrap` has contained these docstrings for twenty years."""
    path = Path(textwrap.__file__)
    found = {d.name: d.paragraphs for d in docstrings.read_files([("textwrap", path)])}
    assert "textwrap" not in found  # its docstring is four words long
    assert (
        found["textwrap.shorten"][0]
        == "Collapse and truncate the given text to fit in the given width."
    )
    assert not any(">>>" in text for prose in found.values() for text in prose)


@pytest.mark.slow
def test_installed_roots_contain_the_running_python_and_numpy():
    names = [
        name for root in docstrings.installed_roots() for name, _ in docstrings.source_files(*root)
    ]
    assert {"textwrap", "email.message", "numpy", "numpy.linalg._linalg"} <= set(names)
    assert not [name for name in names if ".tests." in name or "site-packages" in name]


def test_drop_repeated_keeps_equal_paragraphs_once(tree):
    documents = read_documents(tree)
    prose = [text for document in documents for text in document.paragraphs]
    assert len(prose) == len(set(prose))
    kept = docstrings.drop_repeated(
        [
            Document("a", "a", ("x", "y", "x")),
            Document("b", "b", ("y",)),
            Document("c", "c", ("z",)),
        ]
    )
    assert kept == [Document("a", "a", ("x", "y")), Document("c", "c", ("z",))]

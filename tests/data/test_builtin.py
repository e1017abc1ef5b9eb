"""Built-in corpus and labelled set: no text in two splits, equal results in all processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.data.builtin import corpus as builtin
from minibert.data.builtin.corpus import (
    SHINGLE,
    anonymous,
    builtin_corpus,
    builtin_labelled,
    draws,
    near_duplicates,
    shingles,
    write_builtin,
)
from minibert.data.builtin.docstrings import Document
from minibert.data.tables import read_records

TOPICS = ["queue", "window", "header", "socket", "matrix", "parser", "signal", "thread", "cursor"]
VERBS = ["close", "return", "replace", "compare", "collect", "discard", "measure", "announce"]
WORDS = st.sampled_from(list("abcde"))


def document(module, *prose):
    return Document(module, f"{module}.f", prose)


def many_documents(modules=("alpha", "beta", "gamma"), count=216):
    """Return different documents, some of which differ in a few words only."""
    found = []
    for module in modules:
        for number in range(count):
            verb, topic = VERBS[number % 8], TOPICS[number // 8 % 9]
            tail = " or ".join(f"{topic}{'xyz'[number // 72 % 3]}{i}{verb}" for i in range(4))
            text = f"The {module} will {verb} the {topic} if it is the {module}{tail}."
            more = f"In {module}.{verb} nobody waits for {topic} and {tail}."
            found.append(Document(module, f"{module}.f{number}", (text, more)))
    return found


def test_shingles_fold_case_digits_and_punctuation():
    assert shingles("One, two 3!") == shingles("one TWO\t(17)") == {"one two 0"}
    assert len(shingles(" ".join("abcdefghijkl"))) == 12 - SHINGLE + 1


def test_near_duplicates_are_joined_through_a_chain():
    words = [f"w{i}" for i in "abcdefghijklmnopqrstuvwxyz"]
    texts = [" ".join(words[start : start + 12]) for start in (0, 14, 7)]
    assert near_duplicates([[text] for text in texts[:2]]) == [0, 1]
    # 0 and 14 share no word, and each shares fewer than ten words with 7.
    assert near_duplicates([[text] for text in texts]) == [0, 1, 2]
    texts = [" ".join(words[start : start + 12]) for start in (0, 4, 2)]
    assert near_duplicates([[texts[0]], [texts[1]]]) == [0, 1]
    assert near_duplicates([[text] for text in texts]) == [0, 0, 0]


@given(st.lists(st.lists(WORDS, min_size=8, max_size=14).map(" ".join), max_size=12))
def test_near_duplicates_are_connected_components_of_shared_shingles(texts):
    expected = list(range(len(texts)))
    for _ in texts:  # relax until nothing changes; n rounds are enough
        for i, one in enumerate(texts):
            for j, other in enumerate(texts):
                if shingles(one) & shingles(other):
                    expected[i] = expected[j] = min(expected[i], expected[j])
    assert near_duplicates([[text] for text in texts]) == expected


def test_builtin_corpus_shares_no_shingle_between_sides():
    documents = many_documents()
    corpus = builtin_corpus(documents)
    train = set().union(*(shingles(" ".join(prose)) for prose in corpus.train))
    held_out = set().union(*(shingles(" ".join(prose)) for prose in corpus.held_out))
    assert not train & held_out
    assert len(corpus.train) + len(corpus.held_out) == len(documents)
    assert 0.03 < len(corpus.held_out) / len(documents) < 0.2


def test_builtin_corpus_trains_on_giant_components(monkeypatch):
    tail = "and a tail of more than ten words that all of them have in common"
    documents = [document(f"m{number}", f"w{number} {tail}") for number in range(30)]
    monkeypatch.setattr(builtin, "stable_hash", lambda text: 0)
    assert not builtin_corpus(documents).held_out
    assert len(builtin_corpus(documents[:20]).held_out) == 20


def test_builtin_labelled_splits_share_no_shingle_and_no_text():
    splits = builtin_labelled(many_documents(), floor=10)
    parts = [set().union(*(shingles(text) for _, text in pairs)) for pairs in splits.values()]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]
    texts = [text for pairs in splits.values() for _, text in pairs]
    assert len(texts) == len(set(texts))
    assert all(splits.values())


def test_draws_are_equal_for_texts_that_differ_in_the_module_name_only():
    for number in range(20):
        lines = [f"the {{0}} of w{'abcd'[i]}x{number}" for i in range(4)]
        texts = [" and ".join(lines).format(module) for module in ("alpha", "beta")]
        assert not shingles(texts[0]) & shingles(texts[1])
        one, other = draws([document("alpha", texts[0]), document("beta", texts[1])])
        assert one == other


def test_builtin_labelled_contains_a_text_of_two_modules_once():
    documents = many_documents(count=80)
    documents += [document(module, f"This {module} IS the same.") for module in ("alpha", "beta")]
    documents += [document("gamma", "This gamma is The same.", "And more of it.")]
    documents += [document("alpha", "This is the same.", "And more of IT.")]
    splits = builtin_labelled(documents, floor=10)
    texts = [text.lower() for pairs in splits.values() for _, text in pairs]
    assert len(texts) == len(set(texts))
    assert texts.count("this is the same. and more of it.") == 1


def test_builtin_labelled_tests_on_held_out_documents_only():
    documents = many_documents()
    held_out = {tuple(prose) for prose in builtin_corpus(documents).held_out}
    sides = {anonymous(d): d.paragraphs in held_out for d in documents}
    splits = builtin_labelled(documents, floor=10)
    assert all(sides[text] for _, text in splits["test"])
    assert not any(sides[text] for split in ("train", "dev") for _, text in splits[split])


def test_builtin_labelled_chooses_the_largest_classes_and_caps_them():
    documents = many_documents(("alpha", "beta"), 80) + many_documents(("gamma", "delta"), 40)
    splits = builtin_labelled(documents, classes=3, cap=50, floor=30)
    counts = [sum(label == name for pairs in splits.values() for label, _ in pairs)
              for name in ("alpha", "beta", "gamma", "delta")]  # fmt: skip
    assert counts == [50, 50, 40, 0]
    assert {
        label for pairs in builtin_labelled(documents, floor=41).values() for label, _ in pairs
    } == {"alpha", "beta"}
    with pytest.raises(
        ValueError, match="at least two modules with 81 texts or more; most are: alpha 80"
    ):
        builtin_labelled(documents, floor=81)


@pytest.mark.parametrize(
    ("module", "text", "expected"),
    [
        ("email", "Use email.message, not Emails.", "Use message, not Emails."),
        ("email", "The EMAIL is an email.", "The is an ."),
        ("io", "audio via _pyio and io_base", "audio via and io_base"),
        ("numpy", "np.sum is numpy.sum", "sum is sum"),
        ("a+b", "one a+b is gone", "one is gone"),
    ],
)
def test_anonymous_removes_the_name_of_the_module(module, text, expected):
    assert anonymous(document(module, text)) == expected


def test_anonymous_joins_the_first_three_paragraphs():
    assert anonymous(document("m", "one", "two", "three", "four")) == "one two three"


def test_write_builtin_files_read_back_equal(tmp_path, monkeypatch):
    documents = many_documents()
    monkeypatch.setattr(builtin, "read_documents", lambda progress: documents)
    corpus, labelled = write_builtin(tmp_path / "out")
    for name, side in (("train", corpus.train), ("held_out", corpus.held_out)):
        text = (tmp_path / "out" / f"{name}.txt").read_text(encoding="utf-8")
        assert [block.splitlines() for block in text.removesuffix("\n").split("\n\n")] == side
    for split, pairs in labelled.items():
        records = read_records(tmp_path / "out" / "labelled" / f"{split}.tsv", labelled=True)
        assert [(record.label, record.text) for record in records] == pairs


def test_write_builtin_splits_the_documents_that_are_given(tmp_path, monkeypatch):
    monkeypatch.setattr(builtin, "read_documents", None)
    documents = many_documents()
    corpus, _ = write_builtin(tmp_path / "out", documents)
    assert corpus == builtin_corpus(documents)


def test_write_builtin_leaves_no_files_after_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(builtin, "read_documents", lambda progress: many_documents(("one",), 5))
    with pytest.raises(ValueError, match="at least two modules"):
        write_builtin(tmp_path / "out")
    assert not list(tmp_path.iterdir())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(FileExistsError, match="exists already"):
        write_builtin(tmp_path / "full")


@pytest.mark.slow
def test_builtin_corpus_does_not_depend_on_the_hash_seed():
    program = """
from minibert.data.builtin.corpus import builtin_corpus, builtin_labelled
from tests.data.test_builtin import many_documents
documents = many_documents()
print(builtin_corpus(documents), builtin_labelled(documents, floor=10, cap=100))
"""
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1
    assert len(printed.pop()) > 10_000


def test_importing_the_builtin_corpus_does_not_import_tqdm():
    program = "import sys, minibert.data.builtin.corpus; sys.exit('tqdm' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2])
    assert ended.returncode == 0

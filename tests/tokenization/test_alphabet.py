"""The letters of a vocabulary: the default limit, dropped letters and their report."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert import TextClassifier
from minibert.tokenization import WordPieceTokenizer
from minibert.tokenization.alphabet import (
    LETTERS,
    RARE,
    automatic_limit,
    choose_alphabet,
    rank_letters,
)
from tests.cli.helpers import run, write_lines

CHINESE = [chr(0x4E00 + i) for i in range(3000)]


def chinese_texts(count, letters, zipf=False):
    """Return texts of 30 characters in which each of `letters` characters occurs (list of str)."""
    rng = np.random.default_rng(0)
    weights = 1 / np.arange(1, letters + 1) if zipf else np.ones(letters)
    drawn = rng.choice(letters, 30 * count - letters, p=weights / weights.sum())
    order = rng.permutation([*range(letters), *drawn])
    return ["".join(CHINESE[i] for i in row) for row in order.reshape(count, 30)]


def unknown_share(tokenizer, texts):
    ids = np.concatenate([tokenizer.ids_of(text) for text in texts])
    return float((ids == tokenizer.unk_token_id).mean())


@pytest.mark.parametrize("zipf", [False, True])
def test_a_chinese_alphabet_is_kept_where_the_vocabulary_has_room(caplog, zipf):
    texts = chinese_texts(400, 1250, zipf)
    tokenizer = WordPieceTokenizer.train(texts, 4096, exact=False)
    assert unknown_share(tokenizer, texts) == 0
    assert "alphabet:" not in caplog.text


def test_letters_that_do_not_fit_are_counted_and_reported_in_one_line(caplog):
    texts = chinese_texts(400, 1500)
    tokenizer = WordPieceTokenizer.train(texts, 1205)
    assert len(tokenizer) == 1205  # five special tokens and 1,200 characters
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.startswith("alphabet: 300 of 1,500 characters are dropped, and ")
    stated = float(line.split("and ")[1].split(" %")[0])
    assert stated == pytest.approx(100 * unknown_share(tokenizer, texts), rel=0.05)


def test_foreign_symbols_in_an_english_text_do_not_extend_the_alphabet(caplog):
    texts = ["the cat sat on the mat"] * 100_000 + CHINESE[:1200]
    tokenizer = WordPieceTokenizer.train(texts, 2000, exact=False)
    assert sum(len(token) == 1 for token in tokenizer.vocab) == LETTERS
    assert "alphabet: 209 of 1,209 characters are dropped" in caplog.text


@settings(max_examples=20)
@given(st.integers(1001, 2500), st.integers(0, 400), st.booleans(), st.sampled_from(["", "éxz"]))
def test_the_automatic_alphabet_fits_and_ends_early_only_for_a_reason(
    number, more, joined, initial
):
    words = {CHINESE[i]: 1 + i % 7 for i in range(number)} | {"x": 5 * 10**6}
    if joined:  # each letter also continues a word
        words |= {"a" + letter: 1 for letter in CHINESE[:number]}
    room = 2002 + more
    limit = automatic_limit(words, rank_letters(words, initial), room)
    letters = choose_alphabet(words, "auto", initial, room)
    assert len(letters) == limit >= LETTERS
    assert {*initial} <= {*letters}
    pieces = limit + (sum(letter >= CHINESE[0] for letter in letters) if joined else 0)
    assert pieces <= room
    counts = {}
    for word, count in words.items():
        for letter in word:
            counts[letter] = counts.get(letter, 0) + count
    dropped = sorted((counts[letter] for letter in counts.keys() - set(letters)), reverse=True)
    full = pieces + 1 + joined > room
    assert full or not dropped or dropped[0] < RARE * sum(counts.values())


def test_the_command_names_the_right_remedy(tmp_path, capsys):
    corpus = write_lines(tmp_path / "corpus.txt", *chinese_texts(100, 1300))
    arguments = ["train-tokenizer", corpus, "--out", tmp_path / "tokenizer", "--vocab-size"]
    assert run([*arguments, 8192, "--limit-alphabet", 1000]) == 2
    error = capsys.readouterr()
    assert "add text, raise limit_alphabet or reduce vocab_size" in error.err
    assert "alphabet: 300 of 1,300 characters are dropped" in error.out + error.err
    assert run([*arguments, 8192]) == 2
    assert "expected at most 1305, " in (error := capsys.readouterr().err)
    assert "add text or reduce vocab_size" in error
    assert run([*arguments, 1305]) == 0
    tokenizer = WordPieceTokenizer.from_pretrained(tmp_path / "tokenizer")
    assert unknown_share(tokenizer, corpus.read_text("utf-8").split()) == 0


def test_a_classifier_of_chinese_texts_knows_their_characters(caplog):
    texts = chinese_texts(60, 1250)
    classifier = TextClassifier(epochs=1, threads=1).fit(texts, [0, 1] * 30)
    assert unknown_share(classifier.tokenizer_, texts) == 0
    assert "alphabet:" not in caplog.text

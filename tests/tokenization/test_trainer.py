"""The fast trainer learns what the slow and obvious one does, from texts in whatever order."""

import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minibert.tokenization import WordPieceTokenizer
from minibert.tokenization.trainer import commonest_letters, joined_pieces, learn_vocabulary

WORDS = st.text("abcd", min_size=1, max_size=8)
TEXTS = st.lists(st.lists(WORDS, max_size=6).map(" ".join), max_size=8)


def slow(texts, min_frequency, limit_alphabet):
    """Count everything afresh before each join, and yield the vocabulary as it grows."""
    words = [word for text in texts for word in text.split()]
    letters = Counter("".join(words))
    kept = sorted(sorted(letters, key=lambda c: (-letters[c], c))[:limit_alphabet])
    words = [word for word in words if set(word) <= set(kept)]
    splits = [[word[0]] + ["##" + letter for letter in word[1:]] for word in words]
    vocabulary = ["[UNK]", *kept]
    vocabulary += sorted({piece for split in splits for piece in split[1:]})
    yield list(vocabulary)
    while True:
        counts = Counter(pair for split in splits for pair in pairwise(split))
        if not counts or max(counts.values()) < min_frequency:
            return
        left, right = min(pair for pair in counts if counts[pair] == max(counts.values()))
        for split in splits:
            i = 0
            while i < len(split) - 1:
                if (split[i], split[i + 1]) == (left, right):
                    split[i : i + 2] = [left + right[2:]]
                i += 1
        if left + right[2:] not in vocabulary:
            vocabulary.append(left + right[2:])
            yield list(vocabulary)


def learn(texts, vocab_size, **options):
    return learn_vocabulary(
        texts, vocab_size, words_of=str.split, special_tokens=["[UNK]"], **options
    )


@given(TEXTS, st.integers(0, 3), st.integers(1, 5))
def test_every_size_is_as_the_slow_trainer_learns_it(texts, min_frequency, limit_alphabet):
    options = {"min_frequency": min_frequency, "limit_alphabet": limit_alphabet}
    vocabularies = list(slow(texts, min_frequency, limit_alphabet))
    for expected in vocabularies:
        assert learn(texts, len(expected), **options) == expected
    smallest, largest = len(vocabularies[0]), len(vocabularies[-1])
    with pytest.raises(ValueError, match=f"expected at least {smallest}, .* got {smallest - 1}"):
        learn(texts, smallest - 1, **options)
    with pytest.raises(ValueError, match=f"expected at most {largest}, .* got {largest + 1}"):
        learn(texts, largest + 1, **options)


@given(TEXTS, st.randoms())
def test_the_order_of_texts_and_words_does_not_matter(texts, random):
    words = " ".join(texts).split()
    largest = len(list(slow(texts, 2, 1000))[-1])
    expected = learn(texts, largest)
    random.shuffle(words)
    assert learn(words, largest) == expected
    assert learn(["\n".join(words)], largest) == expected


def test_the_hash_seed_does_not_matter():
    code = (
        "from minibert.tokenization import WordPieceTokenizer as W\n"
        "text = ' '.join(a + b + c for a in 'abcde' for b in 'abcde' for c in 'abcde')\n"
        "print(*W.train([text, text], 60).vocab)"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "123"
    }
    assert len(outputs) == 1
    assert len(outputs.pop().split()) == 60


def test_pairs_that_overlap_join_from_the_left():
    assert list(joined_pieces({"aaaaa": 1}, 1)) == ["##aa", "##aaaa", "aaaaa"]


def test_rare_letters_are_left_out_with_their_words():
    assert commonest_letters({"aab": 1, "c": 1, "d": 3}, 3) == ["a", "b", "d"]
    pieces = learn(["ab ab ab xa"], 5, limit_alphabet=2)
    assert pieces == ["[UNK]", "a", "b", "##b", "ab"]


def test_special_tokens_then_letters_then_joins():
    tokenizer = WordPieceTokenizer.train(["Ab AB, áb [MASK]"], 18)
    assert list(tokenizer.vocab)[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert list(tokenizer.vocab)[5:] == [*",[]abkms", "##a", "##b", "##k", "##s", "ab"]


def test_training_takes_the_tokenizers_options():
    tokenizer = WordPieceTokenizer.train(
        ["Ab Ab " + "c" * 9], 8, do_lower_case=False, max_input_chars_per_word=8, pad_token="<p>"
    )
    assert list(tokenizer.vocab) == "<p> [UNK] [CLS] [SEP] [MASK] A b ##b".split()
    assert tokenizer.tokenize("Ab") == ["A", "##b"]


def test_what_was_trained_on_is_known():
    texts = ["the cat sat on the mat", "The dog, too!", "a naïve café"]
    tokenizer = WordPieceTokenizer.train(texts, 32)
    assert all("[UNK]" not in tokenizer.tokenize(text) for text in texts)


@pytest.mark.parametrize(
    ("texts", "options", "error", "message"),
    [
        ("one text", {}, TypeError, "texts: expected several, got one string"),
        (["a", b"b"], {}, TypeError, r"texts\[1\]: expected a string, got bytes"),
        ([], {}, ValueError, "expected at most 5, .* got 30"),
        (["a"], {"do_lowercase": True}, TypeError, "do_lowercase"),
    ],
)
def test_bad_input_is_refused(texts, options, error, message):
    with pytest.raises(error, match=message):
        WordPieceTokenizer.train(texts, 30, **options)


def test_bad_options_are_refused_before_the_texts_are_read():
    texts = iter(["a"])
    with pytest.raises(TypeError):
        WordPieceTokenizer.train(texts, 30, no_such_option=True)
    assert list(texts) == ["a"]


def test_the_bar_changes_nothing(capsys):
    texts = ["low lower lowest", "low lower"] * 3
    quiet = WordPieceTokenizer.train(texts, 22)
    assert capsys.readouterr().err == ""
    assert WordPieceTokenizer.train(texts, 22, progress=True).vocab == quiet.vocab
    assert "joining pairs" in capsys.readouterr().err


@given(TEXTS)
def test_a_larger_vocabulary_begins_with_the_smaller(texts):
    largest = len(list(slow(texts, 2, 1000))[-1])
    smallest = len(next(slow(texts, 2, 1000)))
    assume(largest > smallest)
    assert learn(texts, largest)[:smallest] == learn(texts, smallest)

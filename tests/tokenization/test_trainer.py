"""learn_vocabulary equals a plain implementation, for any order of the texts."""

import os
import re
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert.tokenization import WordPieceTokenizer
from minibert.tokenization.alphabet import choose_alphabet
from minibert.tokenization.trainer import learn_vocabulary, merge_pairs

WORDS = st.text("abcd", min_size=1, max_size=8)
TRIPLES = list(product("abcde", "fghi", "jklmn"))
TEXTS = st.lists(st.lists(WORDS, max_size=6).map(" ".join), max_size=8)


def learn_plainly(
    texts, min_frequency=2, limit_alphabet=1000, initial_alphabet="", score="frequency"
):
    """Recount all pairs before each merge; yield the growing vocabulary."""
    words = [word for text in texts for word in text.split()]
    letters = Counter("".join(words))
    kept = sorted(letters.keys() - set(initial_alphabet), key=lambda c: (-letters[c], c))
    kept = sorted([*dict.fromkeys(initial_alphabet), *kept][:limit_alphabet])
    words = [word for word in words if set(word) <= set(kept)]
    splits = [[word[0]] + ["##" + letter for letter in word[1:]] for word in words]
    continuing = sorted({piece for split in splits for piece in split[1:]})
    vocabulary = ["[UNK]", *kept, *continuing]
    age = [*sorted({word[0] for word in words}), *continuing]  # oldest first
    yield list(vocabulary)
    while True:
        counts = Counter(pair for split in splits for pair in pairwise(split))
        uses = Counter(piece for split in splits for piece in split)
        scores = {
            (left, right): count
            if score == "frequency"
            else Fraction(count, uses[left] * uses[right])
            for (left, right), count in counts.items()
            if count >= min_frequency
        }
        if not scores:
            return
        best = max(scores.values())
        left, right = min(
            (pair for pair in scores if scores[pair] == best),
            key=lambda pair: (age.index(pair[0]), age.index(pair[1])),
        )
        piece = left + right[2:]
        if piece not in age:
            age.append(piece)
        for split in splits:
            i = 0
            while i < len(split) - 1:
                if (split[i], split[i + 1]) == (left, right):
                    split[i : i + 2] = [piece]
                i += 1
        if piece not in vocabulary:
            vocabulary.append(piece)
            yield list(vocabulary)


class Spaces:
    """A normalizer that splits at white space only."""

    chunks = words = staticmethod(str.split)


def learn(texts, vocab_size, **options):
    return learn_vocabulary(
        texts, vocab_size, normalizer=Spaces, special_tokens=["[UNK]"], **options
    )


OPTIONS = st.fixed_dictionaries(
    {
        "min_frequency": st.integers(0, 3),
        "limit_alphabet": st.integers(1, 5),
        "initial_alphabet": st.text("abx", max_size=2),
    }
)


@pytest.mark.slow
@pytest.mark.parametrize("score", ["frequency", "likelihood"])
@settings(max_examples=500)
@given(texts=TEXTS, options=OPTIONS)
def test_learn_vocabulary_equals_the_plain_implementation(score, texts, options):
    vocabularies = list(learn_plainly(texts, score=score, **options))
    smallest, largest = vocabularies[0], vocabularies[-1]
    # A smaller vocabulary is the start of a larger one, so the largest one covers all.
    assert learn(texts, len(largest), score=score, **options) == largest
    assert learn(texts, len(smallest), score=score, **options) == smallest
    assert largest[: len(smallest)] == smallest
    with pytest.raises(ValueError, match=rf"at least {len(smallest)}, .* got {len(smallest) - 1}"):
        learn(texts, len(smallest) - 1, score=score, **options)
    with pytest.raises(ValueError, match=rf"at most {len(largest)}, .* got {len(largest) + 1}"):
        learn(texts, len(largest) + 1, score=score, **options)


@given(TEXTS, st.sampled_from(["frequency", "likelihood"]), st.randoms())
def test_learn_vocabulary_ignores_the_order_of_texts_and_words(texts, score, random):
    words = " ".join(texts).split()
    expected = list(learn_plainly(texts, score=score))[-1]
    random.shuffle(words)
    assert learn(words, len(expected), score=score) == expected
    assert learn(["\n".join(words)], len(expected), score=score) == expected


def test_merge_pairs_depends_on_the_score():
    # qu is rare, but q is always followed by u; th is frequent, but t and h also occur apart.
    words = {"qu": 3, "th": 5, "to": 4, "ah": 4}
    assert next(merge_pairs(words, "frequency")) == "th"
    assert next(merge_pairs(words, "likelihood")) == "qu"
    assert next(merge_pairs(words, "likelihood", min_frequency=4)) == "ah"


def test_merge_pairs_compares_scores_exactly():
    """Two scores with a ratio of 1 + 2^-60, equal as floats, are not a tie."""
    n = 2**30
    words = {"ab": n * n, "cd": n * n - 1, "ef": n * n + 1}
    assert next(merge_pairs(words, "likelihood")) == "cd"
    assert next(merge_pairs(words, "frequency")) == "ef"


def test_train_does_not_depend_on_the_hash_seed():
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


def test_merge_pairs_merges_overlapping_pairs_from_the_left():
    assert list(merge_pairs({"aaaaa": 1}, min_frequency=1)) == ["##aa", "aaa", "aaaaa"]


def test_merge_pairs_counts_a_piece_of_two_pairs_once():
    """In words that contain the prefix, "##b" is both a start and a continuing b."""
    assert list(merge_pairs({"##b##": 2}, "likelihood")) == ["##", "##b", "##b#", "##b##"]
    pieces = learn(["##b##", "##b##"], 7, score="likelihood")
    assert pieces == ["[UNK]", "#", "b", "###", "##b", "##", "##b#"]


def test_choose_alphabet_drops_rare_letters_and_their_words():
    assert choose_alphabet({"aab": 1, "c": 1, "d": 3}, 3, "", 9) == ["a", "b", "d"]
    assert choose_alphabet({"aab": 1, "c": 1, "d": 3}, None, "", 9) == ["a", "b", "c", "d"]
    pieces = learn(["ab ab ab xa"], 5, limit_alphabet=2)
    assert pieces == ["[UNK]", "a", "b", "##b", "ab"]


def test_train_orders_special_tokens_letters_and_merges():
    tokenizer = WordPieceTokenizer.train(["Ab AB, áb [MASK]"], 18)
    assert list(tokenizer.vocab)[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert list(tokenizer.vocab)[5:] == [*",[]abkms", "##a", "##b", "##k", "##s", "ab"]


def test_train_uses_the_options_of_the_tokenizer():
    tokenizer = WordPieceTokenizer.train(
        ["Ab Ab " + "c" * 9], 8, do_lower_case=False, max_input_chars_per_word=8, pad_token="<p>"
    )
    assert list(tokenizer.vocab) == "<p> [UNK] [CLS] [SEP] [MASK] A b ##b".split()
    assert tokenizer.tokenize("Ab") == ["A", "##b"]


def test_train_covers_the_training_texts():
    texts = ["the cat sat on the mat", "The dog, too!", "a naïve café"]
    tokenizer = WordPieceTokenizer.train(texts, 32)
    assert all("[UNK]" not in tokenizer.tokenize(text) for text in texts)


def test_train_passes_all_options_to_learn_vocabulary():
    texts = ["xab yab", "xab yab", "zab", "w" * 5, "v" * 6]
    options = {"min_frequency": 4, "limit_alphabet": 6, "initial_alphabet": "Q"}
    learned = learn(texts, 99, exact=False, longest_word=5, prefix="@", **options)
    assert learned == ["[UNK]", *"Qabwxy", "@a", "@b", "@w", "@ab"]
    tokenizer = WordPieceTokenizer.train(
        texts,
        99,
        exact=False,
        max_input_chars_per_word=5,
        continuing_subword_prefix="@",
        special_tokens=["<e>"],
        **options,
    )
    assert list(tokenizer.vocab)[5:] == ["<e>", *learned[1:]]
    assert tokenizer.all_special_tokens[-1] == "<e>"
    assert learn(texts, 99, exact=False) == learn(texts, len(learn(texts, 99, exact=False)))


def test_train_has_the_defaults_of_tokenizers():
    letters = "".join(chr(0x4E00 + i) for i in range(1001))
    kept = learn([" ".join(letters)], 1001)
    assert kept == ["[UNK]", *letters[:1000]]
    assert WordPieceTokenizer.train([letters], 1005).vocab_size == 1005
    assert list(merge_pairs({"ab": 2, "cd": 1})) == ["ab"]
    assert learn([f"{'a' * 100} {'b' * 101}"], 3) == ["[UNK]", "a", "##a"]


@pytest.mark.parametrize(
    ("texts", "options", "error", "message"),
    [
        ("one text", {}, TypeError, "^texts: expected several, got one string; put it in"),
        (["a", b"b"], {}, TypeError, r"texts\[1\]: expected a string, got bytes"),
        ([], {}, ValueError, "expected at most 5, .* got 30"),
        (["a"], {"do_lowercase": True}, TypeError, "do_lowercase"),
    ],
)
def test_train_refuses_invalid_texts_and_options(texts, options, error, message):
    with pytest.raises(error, match=message):
        WordPieceTokenizer.train(texts, 30, **options)


def test_train_refuses_invalid_options_before_reading_texts():
    texts = iter(["a"])
    with pytest.raises(TypeError):
        WordPieceTokenizer.train(texts, 30, no_such_option=True)
    assert list(texts) == ["a"]


def test_train_shows_progress_bars_on_request(capsys):
    texts = ["low lower lowest", "low lower"] * 3
    quiet = WordPieceTokenizer.train(texts, 22)
    learn(texts, 18)
    assert capsys.readouterr().err == ""
    assert WordPieceTokenizer.train(texts, 22, progress=True).vocab == quiet.vocab
    bars = capsys.readouterr().err
    assert re.search(r"\rcounting words: 100%.* 6/6 .* texts/s\]", bars)
    merges = 22 - 5 - len("elorstw") - len("eorstw")
    assert re.search(rf"\rmerging pairs: 100%.* {merges}/{merges} \[", bars)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": "chance"}, "score: expected frequency or likelihood, got 'chance'"),
        ({"limit_alphabet": 0}, "limit_alphabet: expected at least 1, got 0"),
        ({"initial_alphabet": ["ab"]}, "initial_alphabet: expected single letters, got 'ab'"),
    ],
)
def test_train_refuses_invalid_training_options(options, message):
    with pytest.raises(ValueError, match=message):
        WordPieceTokenizer.train(["a"], 30, **options)


def test_train_with_further_special_tokens_and_another_prefix():
    tokenizer = WordPieceTokenizer.train(
        ["ab ab <e>"], 13, special_tokens=["<e>"], continuing_subword_prefix="@"
    )
    assert list(tokenizer.vocab)[5:] == ["<e>", "<", ">", "a", "b", "e", "@b", "ab"]
    assert tokenizer.tokenize("<e> ab") == ["<e>", "ab"]


@pytest.mark.parity
@pytest.mark.parametrize("min_frequency", [2, 5])
def test_train_learns_the_pieces_of_tokenizers(min_frequency):
    """The counts of the words are distinct, because ties are broken in another way."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    frequencies = {f"{a}{b}{c}": 7**i % 9973 for i, (a, b, c) in enumerate(TRIPLES)}
    texts = [" ".join([word] * count) for word, count in frequencies.items()]
    peer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    peer.normalizer = normalizers.BertNormalizer()
    peer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    for size in 40, 60, 75:
        trainer = trainers.WordPieceTrainer(
            vocab_size=size,
            min_frequency=min_frequency,
            show_progress=False,
            special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
            initial_alphabet=["z"],
        )
        peer.train_from_iterator(texts, trainer)
        mine = WordPieceTokenizer.train(
            texts, size, min_frequency=min_frequency, initial_alphabet="z"
        )
        assert set(mine.vocab) == set(peer.get_vocab())

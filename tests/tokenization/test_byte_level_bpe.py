"""Byte-level BPE: bytes, chunks, merges, the cached path, decoding and training."""

import copy
import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.tokenization import AddedToken, ByteLevelBPETokenizer, byte_pairs, fast, matching
from minibert.tokenization.bpe_trainer import learn_merges
from minibert.tokenization.byte_alphabet import ALPHABET, CHARACTERS, spell, unspell
from minibert.tokenization.byte_chunks import END, chunks, is_divisible, part_bounds
from minibert.tokenization.byte_pairs import BytePairs
from minibert.tokenization.framing import BARE, BERT
from minibert.tokenization.vocabulary import Vocabulary

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
MERGES = [("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("Ġ", "Ġ"), ("a", "a"), ("aa", "a"), ("Ã", "©")]
MERGES += [("'", "s"), ("1", "2"), ("Ċ", "Ċ"), ("x", "Ã©"), ("Ġ", "Ċ"), ("ï", "¿"), ("aa", "aa")]
PIECES = [*SPECIAL, *ALPHABET, *dict.fromkeys(a + b for a, b in MERGES)]
TEXTS = st.text(
    st.sampled_from("atheh12 é'sx\n\t\r\x1c.,!你\xa0\u3000\x85\u200bß🙂\ud800") | st.characters()
)
WRITTEN = st.lists(
    TEXTS
    | st.sampled_from(["<mask>", " <mask>", "the", " the", "  ", "'s", "foo", "a b", "é"])
    | st.sampled_from(["e\u0301", "ﬁT"])
).map("".join)
ADDED = [
    AddedToken("foo", single_word=True),
    AddedToken("a b", rstrip=True),
    AddedToken("é", normalized=False),
    AddedToken("<x>", normalized=False, special=True),
]


def make(**options):
    """Return a tokenizer with a few merges."""
    return ByteLevelBPETokenizer(PIECES, MERGES, **options)


KINDS = [{}, {"add_prefix_space": True}, {"trim_offsets": False, "added_tokens": ADDED}]
KINDS += [{"add_prefix_space": True, "added_tokens": ADDED, "ignore_merges": True}]
STEPS = [{"type": "NFKC"}, {"type": "Lowercase"}]
KINDS += [{"normalizer": {"type": "NFC"}, "add_prefix_space": True}]
KINDS += [{"normalizer": {"type": "Sequence", "normalizers": STEPS}, "added_tokens": ADDED}]
KINDS += [{"normalizer": {"type": "Prepend", "prepend": "e"}}]
TOKENIZERS = [make(**kind) for kind in KINDS]


def test_each_byte_has_a_visible_character():
    assert len(set(CHARACTERS)) == len(ALPHABET) == 256
    assert all(len(c) == 1 and c.isprintable() and not c.isspace() for c in CHARACTERS)
    assert [CHARACTERS[byte] for byte in b" \n\x00\xad~"] == ["Ġ", "Ċ", "Ā", "Ń", "~"]


@given(TEXTS)
def test_unspell_inverts_spell(text):
    expected = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    assert unspell(spell(text)) == expected
    assert len(spell(text)) == len(text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I'm he's 'tis", ["I", "'m", " he", "'s", " '", "tis"]),
        ("a  b\n c\n\n", ["a", " ", " b", "\n", " c", "\n\n"]),
        ("x1 2y...  ", ["x", "1", " 2", "y", "...", "  "]),
        ("¼é\xa0 你", ["¼", "é", "\xa0", " 你"]),
        ("a\x1cb", ["a", "\x1c", "b"]),  # no white space, unlike in Python
        ("I'M we'LL don't", ["I", "'", "M", " we", "'", "LL", " don", "'t"]),
        ("", []),
    ],
)
def test_chunks_of_words_numbers_marks_and_white_space(text, expected):
    assert chunks(text) == expected


@given(TEXTS)
def test_chunks_cover_the_text_and_are_chunks_alone(text):
    found = chunks(text)
    assert "".join(found) == text
    assert all(chunks(chunk) == [chunk] for chunk in found)


@given(st.lists(TEXTS | st.text(st.sampled_from("as1'. tv\néß—")), max_size=4))
def test_parts_are_made_of_whole_chunks(texts):
    texts = [text for text in texts if is_divisible(text)]
    data = b"".join(text.encode("utf-8", "surrogatepass") + END for text in texts)
    parts = [
        data[start:end].decode("utf-8", "surrogatepass")
        for start, end in zip(*part_bounds(data), strict=True)
    ]
    found = [chunk for part in parts for chunk in chunks(part)]
    assert found == [chunk for text in texts for chunk in chunks(text)]


def test_parts_of_english_are_single_chunks():
    text = "It's  the 1st, isn't it? (We'll see...) don't!"
    starts, ends = part_bounds(text.encode() + END)
    parts = [text[start:end] for start, end in zip(starts, ends, strict=True)]
    assert len(parts) >= len(chunks(text)) - 3


@given(st.text(st.sampled_from("abc"), max_size=60), st.randoms(use_true_random=False))
def test_merging_by_heap_equals_merging_by_search(chunk, random):
    pieces, merges = [*ALPHABET], []
    for _ in range(12):
        pair = random.choice([*pieces[-9:], *"abc"]), random.choice([*"abc", *pieces[-3:]])
        merges.append(pair)
        if "".join(pair) not in pieces:
            pieces.append("".join(pair))
    random.shuffle(merges)  # in an order in which no trainer writes them
    pairs = BytePairs(Vocabulary(pieces, ""), merges)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(byte_pairs, "FEW", 1 << 30)
        expected = pairs.split(chunk)
        patch.setattr(byte_pairs, "FEW", 0)
        assert pairs.split(chunk) == expected
    assert "".join(pieces[i] for i in expected) == chunk


def test_pairs_are_merged_by_rank_and_from_the_left():
    pieces = [*ALPHABET, "ab", "bc", "aa", "abc"]
    merges = [("b", "c"), ("a", "b"), ("a", "a"), ("ab", "c")]
    split = BytePairs(Vocabulary(pieces, ""), merges).split
    assert [pieces[i] for i in split("abc")] == ["a", "bc"]
    assert [pieces[i] for i in split("aaab")] == ["aa", "ab"]
    assert [pieces[i] for i in split("aaa")] == ["aa", "a"]
    whole = BytePairs(Vocabulary(pieces, ""), merges, ignore_merges=True).split
    assert [pieces[i] for i in whole("abc")] == ["abc"]


def test_a_copied_and_pickled_tokenizer_makes_equal_tokens():
    tokenizer = make()
    expected = tokenizer.encode("the é's")
    for again in copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer)):
        assert again.encode("the é's") == expected
        assert again.ids_of_batch(["the"] * 400)[0].tolist() == [*tokenizer.ids_of("the")] * 400


def test_a_long_chunk_is_merged_in_a_moment():
    ids = make().ids_of("a" * 200_000)
    assert len(ids) == 50_000  # aaaa


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@given(texts=st.lists(WRITTEN, max_size=3), keep=st.booleans())
def test_tokens_and_ids_equal_plain_tokens_and_batches_equal_texts(tokenizer, texts, keep):
    matcher = tokenizer._matcher
    for _ in range(2):  # with empty caches, then with filled ones
        rows = []
        for text in texts:
            plain = matcher.plain_tokens(text, keep)
            tokens = matcher.tokens(text, keep)
            assert tokens[:, :3].tolist() == [[i, start, end] for i, start, end, _ in plain]
            words = np.cumsum([t.begins_word for t in plain]) - 1
            assert tokens[:, 3].tolist() == words.tolist()
            assert matcher.ids(text, keep).tolist() == tokens[:, 0].tolist()
            rows.append(tokens)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(matching, "FEW", 0)
            patch.setattr(fast, "FEW_ASCII", 9)
            tokens, lengths = matcher.tokens_of_batch(texts, keep)
            ids, _ = matcher.ids_of_batch(texts, keep)
        assert lengths.tolist() == [len(row) for row in rows]
        assert tokens.tolist() == [row for one in rows for row in one.tolist()]
        assert ids.tolist() == tokens[:, 0].tolist()


@given(text=WRITTEN)
def test_decode_inverts_encode(text):
    tokenizer = TOKENIZERS[0]
    ids = tokenizer.encode(text, split_special_tokens=True).input_ids
    assert tokenizer.decode(ids) == text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def test_decode_skips_special_tokens_and_keeps_added_tokens():
    tokenizer = make(added_tokens=["é"])
    ids = tokenizer.encode(" é <mask>", "x").input_ids
    assert tokenizer.decode(ids) == " éx"
    assert tokenizer.decode(ids, skip_special_tokens=False) == "<s> é<mask></s></s>x</s>"
    assert make().decode(make().ids_of("he ,"), clean_up=True) == "he ,"


def test_encode_frames_texts_with_the_special_tokens_of_roberta():
    tokenizer = make()
    encoding = tokenizer.encode("the", "he")
    assert encoding.tokens == ["<s>", "t", "he", "</s>", "</s>", "he", "</s>"]
    assert encoding.token_type_ids == [0] * 7
    assert encoding.word_ids == [None, 0, 0, None, None, 0, None]
    short = tokenizer.encode("the the the", "he", max_length=7)
    assert short.tokens == ["<s>", "t", "he", "</s>", "</s>", "he", "</s>"]
    windows = tokenizer.encode_windows("the the the", "he", max_length=7, stride=1)
    assert [w.tokens[1:3] for w in windows][:2] == [["t", "he"], ["he", "Ġthe"]]
    batch = tokenizer.encode_batch(["the", "x"], return_offsets_mapping=True)
    assert batch["input_ids"][1].tolist()[2:] == [2, 1]
    assert batch["offset_mapping"][0].tolist() == [[0, 0], [0, 1], [1, 3], [0, 0]]


def test_the_mask_token_includes_the_space_before_it():
    tokenizer = make()
    encoding = tokenizer.encode("the <mask> the")
    assert encoding.tokens == ["<s>", "t", "he", "<mask>", "Ġthe", "</s>"]
    assert encoding.offsets[3:5] == [(4, 10), (11, 14)]
    untrimmed = make(trim_offsets=False).encode("the <mask> the")
    assert untrimmed.offsets[3:5] == [(3, 10), (10, 14)]
    plain = tokenizer.encode("<mask>", split_special_tokens=True)
    assert tokenizer.mask_token_id not in plain.input_ids


def test_a_tokenizer_without_special_tokens_encodes_but_does_not_pad():
    names = ("cls_token", "sep_token", "pad_token", "unk_token", "mask_token")
    tokenizer = ByteLevelBPETokenizer(
        [*ALPHABET, "<|endoftext|>"], [], template=BARE, **dict.fromkeys(names)
    )
    assert tokenizer.encode("a").tokens == ["a"]
    assert tokenizer.encode("a", "b").token_type_ids == [0, 1]
    assert tokenizer.all_special_tokens == []
    with pytest.raises(ValueError, match=r"^pad_token: expected a token to pad with, got None$"):
        tokenizer.encode_batch(["a", "bc"])
    with pytest.raises(ValueError, match=r"^tokens: expected tokens of the vocabulary, got '\?\?'"):
        tokenizer.convert_tokens_to_ids(["a", "??"])
    with pytest.raises(ValueError, match=r"^cls_token: expected a piece of the vocabulary, got No"):
        ByteLevelBPETokenizer([*ALPHABET], [], template=BERT, **dict.fromkeys(names))


@pytest.mark.parametrize(
    ("pieces", "merges", "message"),
    [
        (
            [piece for piece in PIECES if piece != "q"],
            [],
            "vocab: expected the characters of all 256 bytes, got 255; 'q' is missing$",
        ),
        (PIECES, [("Ġ", "q")], r"^merges\[0\]: expected pieces of the vocabulary, .* 'Ġq' is not"),
        (PIECES, [*MERGES, ("qq", "a")], r"^merges\[14\]: expected .* 'qq' is not one$"),
        ([*PIECES, "the", "the"], [], "'the' occurs twice"),
        (PIECES[1:], [], "^cls_token: expected a piece of the vocabulary, got '<s>'$"),
    ],
)
def test_a_vocabulary_that_does_not_fit_is_refused(pieces, merges, message):
    with pytest.raises(ValueError, match=message):
        ByteLevelBPETokenizer(pieces, merges)


# Training.


def by_counting(words, steps):
    """Return the merges of words, with all pairs counted again before each."""
    words = {tuple(spell(word)): count for word, count in words.items()}
    age = {character: i for i, character in enumerate(ALPHABET)}
    merges = []
    for _ in range(steps):
        counts = {}
        for word, count in words.items():
            for pair in pairwise(word):
                counts[pair] = counts.get(pair, 0) + count
        if not counts or max(counts.values()) < 2:
            break
        best = min(counts, key=lambda pair: (-counts[pair], age[pair[0]], age[pair[1]]))
        merges.append(best)
        age.setdefault("".join(best), len(age))
        merged = {}
        for word, count in words.items():
            new, i = [], 0
            while i < len(word):
                if word[i : i + 2] == best:
                    new.append("".join(best))
                    i += 2
                else:
                    new.append(word[i])
                    i += 1
            merged[tuple(new)] = merged.get(tuple(new), 0) + count
        words = merged
    return merges


@given(st.lists(st.text(st.sampled_from("abc é"), max_size=9), max_size=8))
def test_learned_merges_equal_those_of_the_definition(texts):
    counts = {}
    for text in texts:
        for chunk in chunks(text):
            counts[chunk] = counts.get(chunk, 0) + 1
    pieces, merges = learn_merges(texts, 270, special_tokens=["<s>"], exact=False)
    expected = by_counting(counts, len(merges))
    assert merges == expected
    assert pieces == ["<s>", *ALPHABET, *dict.fromkeys(a + b for a, b in merges)]
    assert len(pieces) <= 270
    again = learn_merges(texts[::-1], 270, special_tokens=["<s>"], exact=False)
    assert again == (pieces, merges)  # the order of the texts does not matter


def test_train_returns_a_tokenizer_that_uses_its_merges():
    texts = ["the cat sat on the mat", "the hat of the cat"] * 3
    tokenizer = ByteLevelBPETokenizer.train(texts, 275, special_tokens=["<x>"])
    assert tokenizer.vocab_size == len(tokenizer) == 275
    assert list(tokenizer.vocab)[:6] == [*SPECIAL, "<x>"]
    assert "<x>" in tokenizer.all_special_tokens
    assert "Ġthe" in tokenizer.tokenize("the the")
    assert len(tokenizer.merges) == 275 - 6 - 256
    shorter = ByteLevelBPETokenizer.train(texts, 270, special_tokens=["<x>"])
    assert tokenizer.merges[: len(shorter.merges)] == shorter.merges
    prefixed = ByteLevelBPETokenizer.train(texts, 275, add_prefix_space=True)
    assert prefixed.tokenize("the") == prefixed.tokenize(" the") == ["Ġthe"]


def test_train_refuses_texts_that_yield_too_few_pieces_and_invalid_sizes():
    with pytest.raises(ValueError, match="vocab_size: expected at most 262, all that these texts"):
        ByteLevelBPETokenizer.train(["aa aa"], 300)
    assert ByteLevelBPETokenizer.train(["aa aa"], 300, exact=False).vocab_size == 262
    with pytest.raises(ValueError, match=r"vocab_size: expected at least 261, .* got 260"):
        ByteLevelBPETokenizer.train(["aa aa"], 260)
    with pytest.raises(TypeError, match="texts: expected several, got one string"):
        ByteLevelBPETokenizer.train("aa aa", 300)
    with pytest.raises(TypeError, match=r"texts\[1\]: expected a string, got int"):
        ByteLevelBPETokenizer.train(["aa", 3], 300)
    with pytest.raises(TypeError, match="do_lower_case"):
        ByteLevelBPETokenizer.train(["aa"], 300, do_lower_case=True)

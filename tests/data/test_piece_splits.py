"""Random splits of pieces keep the text, the segments and the limits."""

import numpy as np
import pytest

from minibert import WordPieceTokenizer
from minibert.data.piece_splits import PieceSplitter

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = ["s", "##o", "##n", "so", "##on", "son", "n", "no", "##x"]


@pytest.fixture
def tokenizer():
    return WordPieceTokenizer([*SPECIAL, *PIECES])


def words(tokenizer, ids):
    return tokenizer.decode(ids, skip_special_tokens=True)


def test_cuts_are_the_pairs_of_known_pieces(tokenizer):
    ids = tokenizer.vocabulary.ids
    assert PieceSplitter(tokenizer, 0.5).cuts == {
        ids["so"]: [(ids["s"], ids["##o"])],
        ids["##on"]: [(ids["##o"], ids["##n"])],
        ids["son"]: [(ids["s"], ids["##on"]), (ids["so"], ids["##n"])],
        ids["no"]: [(ids["n"], ids["##o"])],
    }


def test_split_keeps_the_text_and_the_origins(tokenizer):
    splitter = PieceSplitter(tokenizer, 0.6)
    ids = tokenizer.encode("son so no son").input_ids
    seen = set()
    for seed in range(40):
        out, origins = splitter.split(ids, 99, np.random.default_rng(seed))
        assert words(tokenizer, out) == "son so no son"
        for origin, i in enumerate(ids):
            own = [piece for piece, source in zip(out, origins, strict=True) if source == origin]
            assert words(tokenizer, own) == words(tokenizer, [i])
        assert origins == sorted(origins)
        seen.add(tuple(out))
    assert len(seen) > 20


def test_probability_decides_how_often_a_piece_is_split(tokenizer):
    so = tokenizer.vocabulary.ids["so"]
    for probability in (0.0, 0.25, 0.75):
        splitter = PieceSplitter(tokenizer, probability)
        out, _ = splitter.split([so] * 4000, 9999, np.random.default_rng(0))
        assert (len(out) - 4000) / 4000 == pytest.approx(probability, abs=0.03)
    # Both cuts of a piece are as frequent, and its parts are split again.
    son, s, n = (tokenizer.vocabulary.ids[piece] for piece in ("son", "s", "##n"))
    out, _ = PieceSplitter(tokenizer, 0.5).split([son] * 4000, 9999, np.random.default_rng(0))
    shares = [out.count(i) / 4000 for i in (son, s, n)]
    assert shares == pytest.approx([0.5, 0.375, 0.375], abs=0.03)


def test_split_adds_at_most_room_tokens(tokenizer):
    ids = [tokenizer.vocabulary.ids["son"]] * 5
    splitter = PieceSplitter(tokenizer, 0.9)
    for room in (0, 1, 3):
        out, _ = splitter.split(ids, room, np.random.default_rng(0))
        assert len(out) == 5 + room
        assert words(tokenizer, out) == words(tokenizer, ids)


def test_split_batch_keeps_segments_and_padding(tokenizer):
    first = tokenizer.encode("son", "no so")
    second = tokenizer.encode("so")
    batch = {
        "input_ids": np.zeros((2, 7), int),
        "token_type_ids": np.zeros((2, 7), int),
        "attention_mask": np.zeros((2, 7), int),
    }
    for row, encoding in enumerate((first, second)):
        n = len(encoding.input_ids)
        batch["input_ids"][row, :n] = encoding.input_ids
        batch["token_type_ids"][row, :n] = encoding.token_type_ids
        batch["attention_mask"][row, :n] = 1
    before = {name: array.copy() for name, array in batch.items()}
    splitter = PieceSplitter(tokenizer, 0.8)
    lengths = set()
    for seed in range(20):
        out = splitter.split_batch(batch, 0, 8, np.random.default_rng(seed))
        mask = out["attention_mask"].astype(bool)
        lengths.add(mask.shape[1])
        assert mask.shape[1] == mask.sum(axis=1).max() <= 8
        assert not out["input_ids"][~mask].any()
        types = out["token_type_ids"]
        assert not types[~mask].any()
        ids = out["input_ids"]
        assert words(tokenizer, ids[0][mask[0] & (types[0] == 0)]) == "son"
        assert words(tokenizer, ids[0][mask[0] & (types[0] == 1)]) == "no so"
        assert words(tokenizer, ids[1][mask[1]]) == "so"
    assert lengths == {6, 7, 8}  # the batch is as wide as its longest sequence
    assert all((batch[name] == before[name]).all() for name in batch)


def test_special_and_added_tokens_are_never_split(tokenizer):
    tokenizer.add_tokens(["son"])
    cuts = PieceSplitter(tokenizer, 0.5).cuts
    assert tokenizer.vocabulary.ids["son"] not in cuts
    assert tokenizer.vocabulary.ids["so"] in cuts

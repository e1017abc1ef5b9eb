"""map_texts and length_bucketed_batches: order, batch sizes, threads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from minibert.inference import batched
from minibert.inference.batched import length_bucketed_batches, map_texts
from minibert.runtime.blas import _blas


@given(
    st_numpy.arrays(np.int64, st.integers(1, 40), elements=st.integers(2, 30)), st.integers(1, 90)
)
def test_length_bucketed_batches_contain_each_index_once(lengths, tokens):
    batches = list(length_bucketed_batches(lengths, tokens))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    longest = [int(lengths[rows].max()) for rows in batches]
    assert longest == sorted(longest, reverse=True)
    for rows in batches:
        assert len(rows) == 1 or len(rows) * lengths[rows].max() <= tokens
        assert (lengths[rows] == sorted(lengths[rows], reverse=True)).all()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_map_texts_keeps_the_order_of_the_texts(tokenizer, threads, monkeypatch):
    monkeypatch.setattr(batched, "MAX_BATCH_TOKENS", 40)
    rng = np.random.default_rng(0)
    texts = [" ".join(["cat"] * n) for n in rng.integers(0, 20, 60)]
    pairs = [" ".join(["a", "dog"] * n) for n in rng.integers(0, 9, 60)]
    shapes = []

    def tokens(batch):
        shapes.append(batch["input_ids"].shape)
        return np.stack([batch["attention_mask"].sum(1), batch["token_type_ids"].sum(1)], axis=1)

    results = map_texts(tokens, tokenizer, texts, pairs, max_length=30, threads=threads)
    for text, pair, (length, second) in zip(texts, pairs, results.tolist(), strict=True):
        encoding = tokenizer.encode(text, pair, max_length=30)
        assert length == len(encoding.input_ids) <= 30
        assert second == sum(encoding.token_type_ids)
    assert len(shapes) > 5
    assert all(rows * length <= 40 for rows, length in shapes)


def test_map_texts_limits_blas_to_one_thread(tokenizer):
    seen = set()

    def record_threads(batch):
        seen.update(pool["num_threads"] for pool in _blas().info())
        return np.zeros((len(batch["input_ids"]), 1))

    map_texts(record_threads, tokenizer, ["a cat"] * 3, max_length=9)
    assert seen == {1}

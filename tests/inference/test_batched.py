"""Many texts: every one once, in order, in batches of like length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from minibert.inference import batched as inference
from minibert.inference.batched import by_length, for_texts
from minibert.runtime.threads import _blas


@given(
    st_numpy.arrays(np.int64, st.integers(1, 40), elements=st.integers(2, 30)), st.integers(1, 90)
)
def test_batches_by_length_hold_every_row_once(lengths, tokens):
    found = list(by_length(lengths, tokens))
    assert sorted(np.concatenate(found).tolist()) == list(range(len(lengths)))
    longest = [int(lengths[rows].max()) for rows in found]
    assert longest == sorted(longest, reverse=True)
    for rows in found:
        assert len(rows) == 1 or len(rows) * lengths[rows].max() <= tokens
        assert (lengths[rows] == sorted(lengths[rows], reverse=True)).all()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_texts(tokenizer, threads, monkeypatch):
    monkeypatch.setattr(inference, "TOKENS", 40)
    rng = np.random.default_rng(0)
    texts = [" ".join(["cat"] * n) for n in rng.integers(0, 20, 60)]
    pairs = [" ".join(["a", "dog"] * n) for n in rng.integers(0, 9, 60)]
    shapes = []

    def tokens(batch):
        shapes.append(batch["input_ids"].shape)
        return np.stack([batch["attention_mask"].sum(1), batch["token_type_ids"].sum(1)], axis=1)

    found = for_texts(tokens, tokenizer, texts, pairs, max_length=30, threads=threads)
    for text, pair, (length, second) in zip(texts, pairs, found.tolist(), strict=True):
        encoding = tokenizer.encode(text, pair, max_length=30)
        assert length == len(encoding.input_ids) <= 30
        assert second == sum(encoding.token_type_ids)
    assert len(shapes) > 5
    assert all(rows * length <= 40 for rows, length in shapes)


def test_blas_is_held_to_one_thread_meanwhile(tokenizer):
    seen = set()

    def look(batch):
        seen.update(pool["num_threads"] for pool in _blas().info())
        return np.zeros((len(batch["input_ids"]), 1))

    for_texts(look, tokenizer, ["a cat"] * 3, max_length=9)
    assert seen == {1}

"""map_texts and the batches it makes: order, batch sizes, padding, threads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from minibert.inference import batched
from minibert.inference.batched import even_batches, length_bucketed_batches, map_texts
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


@given(
    st_numpy.arrays(np.int64, st.integers(0, 40), elements=st.integers(2, 30)),
    st.integers(1, 90), st.integers(1, 90), st.integers(1, 9),
)  # fmt: skip
def test_even_batches_have_about_the_same_number_of_tokens(lengths, least, more, cores):
    lengths = -np.sort(-lengths)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batched, "MIN_UNPADDED_TOKENS", least)
        patch.setattr(batched, "MAX_UNPADDED_TOKENS", least + more)
        patch.setattr(batched, "CORES", cores)
        batches = list(even_batches(lengths))
    assert [i for rows in batches for i in rows] == list(range(len(lengths)))
    tokens = [int(lengths[rows].sum()) for rows in batches]
    longest = int(lengths.max(initial=0))
    assert all(each < least + more + longest for each in tokens)
    share = lengths.sum() / max(len(batches), 1)
    if longest < least:  # then no batch is empty, which would leave fewer of them
        assert all(abs(each - share) <= longest for each in tokens)


def test_the_number_of_even_batches_is_a_multiple_of_the_cores_if_there_are_enough_tokens():
    lengths = np.full(20_000, 10)
    assert [len(list(even_batches(lengths[:n]))) for n in (0, 1, 51, 52, 400, 410, 2_458)] == [
        0, 1, 1, 2, 4, 4, 12,
    ]  # fmt: skip
    assert {len(list(even_batches(lengths[:n]))) % 4 for n in range(400, 20_000, 1_999)} == {0}


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_map_texts_keeps_the_order_of_the_texts(tokenizer, threads, padded, monkeypatch):
    for name in ("MAX_BATCH_TOKENS", "MIN_UNPADDED_TOKENS", "MAX_UNPADDED_TOKENS"):
        monkeypatch.setattr(batched, name, 40)
    rng = np.random.default_rng(0)
    texts = [" ".join(["cat"] * n) for n in rng.integers(0, 20, 60)]
    pairs = [" ".join(["a", "dog"] * n) for n in rng.integers(0, 9, 60)]
    shapes, is_inside = [], []

    def tokens(batches):
        shapes.append([batch["input_ids"].shape for batch in batches])
        is_inside.extend(batch["attention_mask"].all() for batch in batches)
        names = ("attention_mask", "token_type_ids")
        return np.concatenate(
            [np.stack([batch[name].sum(1) for name in names], axis=1) for batch in batches]
        )

    results = map_texts(
        tokens, tokenizer, texts, pairs, max_length=30, threads=threads, padded=padded
    )
    for text, pair, (length, second) in zip(texts, pairs, results.tolist(), strict=True):
        encoding = tokenizer.encode(text, pair, max_length=30)
        assert length == len(encoding.input_ids) <= 30
        assert second == sum(encoding.token_type_ids)
    assert len(shapes) > 5
    most = 40 if padded else 40 + 30  # tokens, and half a text at both ends
    assert all(sum(rows * length for rows, length in each) <= most for each in shapes)
    assert {len(each) for each in shapes} == {1} if padded else all(is_inside)


def test_map_texts_limits_blas_to_one_thread(tokenizer):
    seen = set()

    def record_threads(batches):
        seen.update(pool["num_threads"] for pool in _blas().info())
        return np.zeros((sum(len(batch["input_ids"]) for batch in batches), 1))

    map_texts(record_threads, tokenizer, ["a cat"] * 3, max_length=9)
    assert seen == {1}

"""nearest: equal to sorting all cosines, for any block size, threads and ties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.inference import nearest as module
from minibert.inference.nearest import DamagedRows, exact_products, nearest, rounding


def units(rng, count, width):
    """Return random float32 vectors of length 1 (count, width)."""
    rows = rng.standard_normal((count, width))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def sorted_all(rows, queries, top_k):
    """Return the result of a search by sorting the cosines of all rows."""
    exact = rows.astype(np.float64)
    cosines = np.stack([(exact * query).sum(axis=1) for query in queries.astype(np.float64)])
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :top_k]
    return np.take_along_axis(cosines, order, axis=1), order


@given(
    st.integers(0, 10_000),
    st.integers(1, 90),
    st.sampled_from([1, 2, 7, 33]),
    st.integers(1, 5),
    st.integers(1, 12),
    st.integers(1, 100),
    st.integers(1, 3),
    st.integers(1, 6),
)
def test_nearest_equals_sorting_all_cosines(
    seed, count, width, queries, top_k, block_rows, threads, distinct
):
    """Rows are drawn from a few, so that most cosines are ties, which stay in order."""
    rng = np.random.default_rng(seed)
    pool = units(rng, max(count // distinct, 1), width)
    rows = pool[rng.integers(0, len(pool), count)]
    wanted = np.concatenate([rows[:1], units(rng, queries, width)])
    found = nearest(rows, wanted, top_k, threads=threads, block_rows=block_rows)
    for ours, theirs in zip(found, sorted_all(rows, wanted, top_k), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_rows_whose_float32_products_are_equal_are_ordered_by_their_float64_ones():
    """Around a row, steps of one float32 unit: float32 products of most of them are equal."""
    rng = np.random.default_rng(0)
    first = units(rng, 1, 40)[0]
    rows = np.repeat(first[None], 300, axis=0)
    bits = rows.view(np.int32)
    bits += rng.integers(-1, 2, bits.shape, dtype=np.int32)
    products = rows @ first
    assert len(np.unique(products)) < 20
    scores, ids = nearest(rows, first[None], 10, block_rows=64)
    expected = sorted_all(rows, first[None], 10)
    np.testing.assert_array_equal(ids, expected[1])
    np.testing.assert_array_equal(scores, expected[0])
    assert ids[0].tolist() != np.argsort(-products, kind="stable")[:10].tolist()


def test_the_bound_covers_the_rounding_of_float32_products():
    rng = np.random.default_rng(0)
    for width in (3, 100, 1000):
        rows = units(rng, 2000, width)
        errors = np.abs(rows @ rows[0] - rows.astype(np.float64) @ rows[0].astype(np.float64))
        assert 0 < errors.max() < rounding(width) < 1e-3


def test_queries_and_candidates_in_several_parts(monkeypatch):
    rng = np.random.default_rng(1)
    rows, queries = units(rng, 50, 6), units(rng, 7, 6)
    expected = nearest(rows, queries, 50)
    monkeypatch.setattr(module, "QUERIES", 3)
    monkeypatch.setattr(module, "CANDIDATES", 4)
    for ours, theirs in zip(nearest(rows, queries, 50), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(expected[0], sorted_all(rows, queries, 50)[0])


def test_products_of_a_row_do_not_depend_on_the_other_rows():
    rng = np.random.default_rng(2)
    for width in (1, 5, 384):
        rows, query = units(rng, 9, width), units(rng, 1, width)[0].astype(np.float64)
        together = exact_products(rows, np.arange(9), query)
        alone = [exact_products(rows, np.array([i]), query)[0] for i in range(9)]
        np.testing.assert_array_equal(together, alone)


def test_no_rows_and_no_queries_give_empty_results():
    rows = np.zeros((0, 4), np.float32)
    scores, ids = nearest(rows, np.eye(4, dtype=np.float32)[:2], 3)
    assert scores.shape == ids.shape == (2, 0)
    scores, ids = nearest(np.eye(4, dtype=np.float32), rows, 3)
    assert scores.shape == ids.shape == (0, 3)
    assert ids.dtype == np.int64


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 2.0, -2.0])
@pytest.mark.parametrize("queries", [1, 2])
def test_rows_of_another_length_are_refused(value, queries):
    rows = np.eye(5, dtype=np.float32)
    rows[3, 0] = value
    with pytest.raises(DamagedRows, match="length 1 in rows 2 to 3"):
        nearest(rows, np.eye(5, dtype=np.float32)[:queries], 1, block_rows=2)


def test_top_k_below_one_is_refused():
    with pytest.raises(ValueError, match="top_k: expected at least 1, got 0"):
        nearest(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32), 0)

"""One vector and its views: they share memory, adjoin, and nest."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.parameters import Parameters, prefixed

SHAPES = {"a.x": (2, 3), "a.y": (4,), "b.x": (3,), "b.c.x": (2, 2), "b.c.y": (1,)}


@given(
    st.dictionaries(
        st.text("abc.", min_size=1, max_size=5),
        st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple),
        max_size=6,
    )
)
def test_the_views_cover_the_vector_once(shapes):
    params = Parameters(shapes)
    for number, name in enumerate(params, start=1):
        assert params[name].shape == shapes[name]
        params[name][...] = number
    expected = [
        n for n, shape in enumerate(shapes.values(), start=1) for _ in range(np.prod(shape))
    ]
    assert params.vector.tolist() == expected
    assert list(params) == list(shapes)


def test_scopes_and_fused_views_share_the_memory():
    params = Parameters(SHAPES, dtype=np.float64)
    scope = params.scope("b.")
    assert list(scope) == ["x", "c.x", "c.y"]
    scope.scope("c.")["x"][:] = 5
    scope.vector[0] = 7
    assert params["b.c.x"].tolist() == [[5, 5], [5, 5]]
    assert params["b.x"].tolist() == [7, 0, 0]
    fused = params.fused("a.y", "b.x")
    fused[:] = 1
    assert params["a.y"].tolist() + params["b.x"].tolist() == [1] * 7
    assert params.scope("b.") is scope


def test_writing_to_a_name_writes_to_the_vector():
    params = Parameters(SHAPES)
    view = params["a.y"]
    params["a.y"] = [1, 2, 3, 4]
    params["a.y"] += 1
    assert params["a.y"] is view
    assert params.vector[6:10].tolist() == [2, 3, 4, 5]
    with pytest.raises(KeyError):
        params["new"] = 1


def test_copies_are_copies():
    params = Parameters(SHAPES)
    params.vector[:] = 1
    other = params.astype(np.float32)
    zeros = params.zeros_like()
    other.vector[:] = 2
    zeros.vector[:] = 3
    assert (params.vector == 1).all()
    assert zeros.shapes == params.shapes


def test_what_does_not_fit_is_refused():
    params = Parameters(SHAPES)
    with pytest.raises(ValueError, match=r"vector: expected the shape \(18,\), got \(17,\)"):
        Parameters(SHAPES, np.zeros(17))
    with pytest.raises(ValueError, match=r"do not adjoin: a\.y, b\.c\.x"):
        params.fused("a.y", "b.c.x")
    with pytest.raises(KeyError):
        params.scope("nothing.")


def test_prefixed():
    assert prefixed("a.", {"x": (1,), "y": (2, 3)}) == {"a.x": (1,), "a.y": (2, 3)}

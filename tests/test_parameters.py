"""Parameters: one vector, whose views share its memory, are adjacent, and form a tree."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.parameters import Parameters
from minibert.specs import Joined, ParameterSpec, at_depth, merged, prefixed

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
    scope["x"] = [7, 0, 0]
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
    with pytest.raises(ValueError, match=r"expected adjacent parameters, got a\.y, b\.c\.x"):
        params.fused("a.y", "b.c.x")
    with pytest.raises(KeyError, match=r"no parameter begins with 'nothing\.'; known: a\.x, a\.y"):
        params.scope("nothing.")
    with pytest.raises(KeyError, match=r"no parameter 'a\.z'; known: a\.x, a\.y"):
        params["a.z"]


def test_prefixed_renames_parameters_and_the_members_of_joined_views():
    specs = {"x": ParameterSpec((1,)), "y": ParameterSpec((2,)), "xy": Joined(("x", "y"))}
    assert prefixed("a.", specs) == {
        "a.x": specs["x"], "a.y": specs["y"], "a.xy": Joined(("a.x", "a.y"))
    }  # fmt: skip


def test_joined_views_share_the_memory_and_are_not_iterated_over():
    specs = {
        "x": ParameterSpec((1, 3)), "y": ParameterSpec((2, 3)), "xy": Joined(("x", "y"))
    }  # fmt: skip
    params = Parameters(prefixed("a.", specs))
    for views in params, params.zeros_like(), copy.deepcopy(params), params.scope("a."):
        prefix = "" if "x" in views else "a."
        views[prefix + "xy"] = 2
        assert (views[prefix + "y"] == 2).all()
        assert list(views) == [prefix + "x", prefix + "y"]
    with pytest.raises(ValueError, match="expected adjacent parameters, got y, x"):
        Parameters({**specs, "yx": Joined(("y", "x"))})


def test_merged_refuses_a_parameter_that_is_declared_twice():
    one, two = {"x": ParameterSpec((1,))}, {"y": ParameterSpec((2,))}
    assert list(merged(one, one, two)) == ["x", "y"]
    with pytest.raises(ValueError, match=r"^Owner: expected distinct parameters, got 'x' twice$"):
        merged(type("Owner", (), {})(), one, two, one)


def test_at_depth_sets_the_depth_of_parameters_alone():
    specs = {"x": ParameterSpec((1,)), "xx": Joined(("x",))}
    assert at_depth(specs, 3) == {"x": ParameterSpec((1,), depth=3), "xx": Joined(("x",))}


def test_without_leaves_parameters_out_of_every_scope():
    grads = Parameters(SHAPES)
    learning = grads.without(["b.x", "b.c.x", "b.c.y"])
    assert list(learning) == ["a.x", "a.y"]
    assert learning.get("b.x") is None
    assert list(learning.scope("b.")) == []
    learning["a.y"] += 3
    assert (grads["a.y"] == 3).all()


def test_repr_is_a_tree_with_shapes_and_counts():
    assert [line.split() for line in repr(Parameters(SHAPES)).splitlines()] == [
        ["a", "10"],
        ["x", "(2,", "3)", "6"],
        ["y", "(4,)", "4"],
        ["b", "8"],
        ["x", "(3,)", "3"],
        ["c", "5"],
        ["x", "(2,", "2)", "4"],
        ["y", "(1,)", "1"],
    ]

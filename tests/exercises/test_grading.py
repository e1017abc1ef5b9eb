"""`minibert.exercises.grading`: the hints that follow from the structure of an error."""

import numpy as np
import pytest

from minibert.exercises.grading import Unsolved, Wrong, grade, same, several

RIGHT = np.random.default_rng(0).normal(size=(3, 4))
SQUARE = RIGHT[:, :3]


def message(got, expected, **options):
    with pytest.raises(Wrong) as error:
        grade(got, expected, **options)
    return str(error.value)


@pytest.mark.parametrize(
    ("got", "expected", "hint"),
    [
        (RIGHT.T, RIGHT, "it is transposed"),
        (SQUARE.T, SQUARE, "it is transposed"),
        (RIGHT, RIGHT.sum(axis=0), "the sum is missing"),
        (-RIGHT, RIGHT, "the sign is wrong"),
        (RIGHT / 3, RIGHT, "every number is 0.3333 times"),
        (RIGHT + 2, RIGHT, "every number differs by the same amount"),
        (RIGHT * np.arange(1, 4)[:, None], RIGHT, "a factor of its own"),
        (np.zeros((3, 4)), RIGHT, "it is zero everywhere"),
        (RIGHT + np.array([[0], [0], [np.nan]]), RIGHT, "NaN or infinity"),
        (RIGHT + np.eye(4)[:1] * [[0], [1], [0]], RIGHT, "only [0, 2] of 3 are right"),
        (None, RIGHT, "returns nothing"),
    ],
)
def test_a_hint_follows_from_the_structure_of_the_error(got, expected, hint):
    assert hint in message(got, expected).split("\nHint: ")[1]


def test_an_error_without_structure_has_no_hint():
    noise = np.random.default_rng(1).normal(size=(3, 4))
    assert "Hint" not in message(RIGHT + noise, RIGHT)
    assert "expected the shape (3, 4), got (3, 3)" in message(SQUARE, RIGHT)
    for dtype in (object, complex):
        expected = f"expected an array, got ndarray of {np.dtype(dtype)}"
        assert expected in message(RIGHT.astype(dtype), RIGHT)


def test_a_named_mistake_precedes_the_structure_unless_it_is_right_for_this_input():
    assert "Hint: the sum is halved." in message(
        RIGHT / 2, RIGHT, mistakes={"the sum is halved": RIGHT / 2}
    )
    grade(RIGHT, RIGHT, {"no mistake here": RIGHT})
    assert "no mistake here" not in message(RIGHT / 2, RIGHT, mistakes={"no mistake here": RIGHT})


def test_the_result_of_a_planted_bug_is_unsolved():
    with pytest.raises(Unsolved):
        grade(RIGHT / 2, RIGHT, {"the planted bug is still there": RIGHT / 2})


def test_rounding_errors_and_nan_are_equal_and_other_types_are_compared():
    assert same(RIGHT * (1 + 1e-12), RIGHT)
    assert not same(RIGHT * (1 + 1e-5), RIGHT)
    assert same(np.array([np.nan, 1.0]), np.array([np.nan, 1.0]))
    assert same(["a"], ["a"])
    assert not same(np.array(["b"]), ["a"])
    assert not same(["a"], RIGHT)
    assert not same([RIGHT], ["a"])
    assert "expected ['a'], got [array([1., 1.])]" in message([np.ones(2)], ["a"])


def test_several_results_are_a_tuple():
    assert several((1, 2), "first", "second") == (1, 2)
    with pytest.raises(Wrong, match="expected a tuple of 2: first, second, got ndarray"):
        several(RIGHT, "first", "second")
    with pytest.raises(Wrong, match="got a tuple of 1"):
        several((1,), "first", "second")

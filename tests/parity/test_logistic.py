"""Parity of the logistic regression with scikit-learn's."""

import numpy as np
import pytest

from minibert.tasks.logistic import logistic_regression
from tests.tasks.test_logistic import problem

pytestmark = pytest.mark.parity


@pytest.mark.parametrize(("classes", "width"), [(2, 5), (3, 7), (6, 60)])
@pytest.mark.parametrize("C", [0.1, 1.0, 30.0])
def test_logistic_regression_is_that_of_scikit_learn(classes, width, C):
    """With weights of the texts; the biases may differ by a constant, which changes nothing."""
    sklearn = pytest.importorskip("sklearn.linear_model")
    x, ids = problem(width=width, classes=classes)
    weights = np.random.default_rng(1).uniform(0.5, 2, len(x))
    options = {"C": C, "tol": 1e-10, "solver": "newton-cholesky"}
    theirs = sklearn.LogisticRegression(**options).fit(x, ids, weights)
    ours = logistic_regression(x, ids, classes, C=C, weights=weights)
    new = np.random.default_rng(3).standard_normal((20, width))
    exponentials = np.exp(ours.logits(new))
    shares = exponentials / exponentials.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, theirs.predict_proba(new), atol=1e-6)
    if classes > 2:
        np.testing.assert_allclose(ours.weight, theirs.coef_, atol=1e-5)

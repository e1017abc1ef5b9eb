"""Check a backward against its forward, by finite differences of the forward.

A gradient is correct if moving any input a little changes the output as the gradient predicts.
`check_pair` compares the two for a function, `check_layer` for a layer, `check_model` for a model,
and `check_objective` for an objective, whose loss must not depend on the number of shards.

A worked example. This softmax has a bug in its backward; find it:

>>> import numpy as np
>>> def forward(x):
...     exp = np.exp(x - x.max(axis=-1, keepdims=True))
...     out = exp / exp.sum(axis=-1, keepdims=True)
...     return out, out
>>> def backward(dout, out, x):
...     return out * (dout - dout.mean(axis=-1, keepdims=True))
>>> x = np.array([[0.5, -1.0, 2.0], [1.5, 0.0, -0.5]])

A common check weights all outputs equally and compares the gradient of their sum. It cannot detect
this bug: the rows of a softmax sum to 1, so the right gradient is 0, and so is the wrong one.
`check_pair` warns about it:

>>> import warnings
>>> with warnings.catch_warnings(record=True) as caught:
...     warnings.simplefilter("always")
...     results = check_pair(forward, backward, {"x": x}, dout=np.ones((2, 3)), zeros=["x"])
>>> print(caught[0].message)
dout: all its numbers are 1.0: an error of the backward in their mean is not seen; leave dout out

With random weights, the default, it finds the element:

>>> check_pair(forward, backward, {"x": x})  # doctest: +ELLIPSIS
Traceback (most recent call last):
    ...
minibert...GradientError: x at [1, 1]: analytic -0.114..., numeric 0.013..., error 1.1...

The sign is wrong, but not everywhere, and no common factor explains the size. So the backward
subtracts something from dout, but not the right thing: it must be the mean weighted by `out`, not
the plain mean:

>>> def backward(dout, out, x):
...     return out * (dout - (dout * out).sum(axis=-1, keepdims=True))
>>> [result] = check_pair(forward, backward, {"x": x})
>>> result.error < 1e-9
True

Softmax is made of functions that take complex numbers, so its slopes can be computed to the last
digits:

>>> [result] = check_pair(forward, backward, {"x": x}, complex_step=True)
>>> result.error < 1e-14
True
"""

from minibert.gradcheck.blind import BlindSpotWarning, away_from_initial
from minibert.gradcheck.checks import check_model, check_pair
from minibert.gradcheck.comparison import GradientResult, Row
from minibert.gradcheck.layer_checks import check_layer
from minibert.gradcheck.objectives import check_objective
from minibert.gradcheck.values import GradientError, InconclusiveError

__all__ = [
    "BlindSpotWarning",
    "GradientError",
    "GradientResult",
    "InconclusiveError",
    "Row",
    "away_from_initial",
    "check_layer",
    "check_model",
    "check_objective",
    "check_pair",
]

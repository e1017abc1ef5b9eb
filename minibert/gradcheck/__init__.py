"""Prove a backward against its forward, by differences of the forward itself.

A hand-written gradient is right if moving any input a little changes the output as the gradient
says. `check_pair` tries that for a function, `check_layer` for a layer, `check_model` for a model.

A worked example. This softmax has a bug in its backward; find it:

>>> import numpy as np
>>> def forward(x):
...     exp = np.exp(x - x.max(axis=-1, keepdims=True))
...     out = exp / exp.sum(axis=-1, keepdims=True)
...     return out, out
>>> def backward(dout, out, x):
...     return out * (dout - dout.mean(axis=-1, keepdims=True))
>>> x = np.array([[0.5, -1.0, 2.0], [1.5, 0.0, -0.5]])

Often one weighs all outputs alike and compares the gradient of their sum. That can't see this bug:
the rows of a softmax sum to 1, so the gradient is 0, and so is the wrong one. `check_pair` says so:

>>> import warnings
>>> with warnings.catch_warnings(record=True) as caught:
...     warnings.simplefilter("always")
...     rows = check_pair(forward, backward, {"x": x}, dout=np.ones((2, 3)), zeros=["x"])
>>> print(caught[0].message)
dout: all its numbers are 1.0: what a wrong backward does to their mean isn't seen; leave dout out

With random weights, which it draws unless told otherwise, it finds the place:

>>> check_pair(forward, backward, {"x": x})  # doctest: +ELLIPSIS
Traceback (most recent call last):
    ...
minibert...GradientError: x at [0, 0]: analytic -0.015..., numeric -0.069..., error 7.8...

The sign is right and the size is not, by a factor that isn't 2 or the number of columns: something
is taken from dout, but not the right thing. It is the mean weighed by `out`, not the plain one:

>>> def backward(dout, out, x):
...     return out * (dout - (dout * out).sum(axis=-1, keepdims=True))
>>> [row] = check_pair(forward, backward, {"x": x})
>>> row.error < 1e-9
True

Softmax is made of functions that complex numbers go through, so it can be known to the last digits:

>>> [row] = check_pair(forward, backward, {"x": x}, complex_step=True)
>>> row.error < 1e-14
True
"""

from minibert.gradcheck.blind import BlindSpotWarning, away_from_initial
from minibert.gradcheck.checks import GradientError, Row, check_layer, check_model, check_pair

__all__ = [
    "BlindSpotWarning",
    "GradientError",
    "Row",
    "away_from_initial",
    "check_layer",
    "check_model",
    "check_pair",
]

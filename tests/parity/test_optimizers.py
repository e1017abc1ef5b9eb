"""Parity of optimizers and schedules with PyTorch and transformers, step by step.

PyTorch's Muon orthogonalizes in bfloat16, which has three digits. So its own code is compared
twice: in float64, by a patch of the conversion to bfloat16, and unchanged, less strictly.
"""

import math
import warnings

import numpy as np
import pytest

from minibert import BertForMaskedLM
from minibert.optim import (
    Muon,
    cosine_schedule,
    linear_schedule,
    orthogonalize,
    trapezoid_schedule,
)
from minibert.parameters import Parameters
from tests.training.test_engine import CONFIG

pytestmark = pytest.mark.parity

STEPS, TOTAL, PEAK = 10, 40, 3e-2


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def in_float64(torch, monkeypatch):
    """Let PyTorch's Muon orthogonalize in float64."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda self: self.clone())


def start():
    params = BertForMaskedLM(CONFIG, seed=1, dtype=np.float64).params
    params.vector += 0.1 * np.random.default_rng(1).standard_normal(params.vector.size)
    return params


def gradients():
    """Yield gradients whose sizes differ from step to step."""
    rng = np.random.default_rng(2)
    for step in range(STEPS):
        yield 10.0 ** (step % 3 - 1) * rng.standard_normal(start().vector.size)


class Theirs:
    """PyTorch's Muon on the same matrices, and its AdamW on the rest, with and without decay."""

    def __init__(self, torch, matrices, adjust, nesterov, momentum, decay):
        params = start()
        self.torch = torch
        self.weights = {n: torch.tensor(params[n].copy(), requires_grad=True) for n in params}
        rest = [name for name in params if name not in matrices]
        groups = [
            {"params": [self.weights[name] for name in rest if params.specs[name].decay is decays],
             "weight_decay": decay if decays else 0.0}
            for decays in (True, False)
        ]  # fmt: skip
        self.optimizers = [
            torch.optim.Muon(
                [self.weights[name] for name in matrices], weight_decay=decay, momentum=momentum,
                nesterov=nesterov, adjust_lr_fn=adjust,
            ),
            torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8),
        ]  # fmt: skip

    def update(self, gradient, rate):
        for name, g in Parameters(start().layout, gradient).items():
            self.weights[name].grad = self.torch.tensor(g)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()

    def __getitem__(self, name):
        return self.weights[name].detach().numpy()


@pytest.mark.parametrize("adjust", ["match_rms_adamw", "original"])
@pytest.mark.parametrize(("nesterov", "momentum"), [(True, 0.95), (False, 0.95), (True, 0.5)])
def test_ten_steps_of_muon_and_adamw(torch, in_float64, adjust, nesterov, momentum):
    params = start()
    ours = Muon(params, momentum=momentum, nesterov=nesterov, weight_decay=0.1, adjust=adjust)
    theirs = Theirs(torch, ours.matrices, adjust, nesterov, momentum, 0.1)
    for step, gradient in enumerate(gradients()):
        rate = linear_schedule(step, STEPS, 3, PEAK)
        ours.update(gradient, rate)
        theirs.update(gradient, rate)
        for name in params:
            np.testing.assert_allclose(params[name], theirs[name], rtol=0, atol=1e-12, err_msg=name)
    moved = np.abs(params.vector - start().vector)
    assert moved.mean() > PEAK / 2


def test_ten_steps_of_muon_in_bfloat16(torch):
    """The updates differ by bfloat16's rounding: about a hundredth of their size."""
    params, before = start(), start()
    ours = Muon(params, weight_decay=0.1)
    theirs = Theirs(torch, ours.matrices, "match_rms_adamw", True, 0.95, 0.1)
    for gradient in gradients():
        ours.update(gradient, PEAK)
        theirs.update(gradient, PEAK)
    for name in ours.matrices:
        one, other = (each[name] - before[name] for each in (params, theirs))
        error = np.linalg.norm(one - other) / np.linalg.norm(other)
        assert error < 0.03, name


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (6, 6), (1, 4)])
def test_orthogonalize_equals_the_iteration_of_pytorch(torch, in_float64, shape):
    from torch.optim._muon import _zeropower_via_newtonschulz

    matrix = np.random.default_rng(0).standard_normal(shape)
    for steps in (1, 5, 9):
        expected = _zeropower_via_newtonschulz(
            torch.tensor(matrix), (3.4445, -4.7750, 2.0315), steps, 1e-7
        )
        np.testing.assert_allclose(orthogonalize(matrix, steps), expected.numpy(), atol=1e-12)


# Schedules. The rate of the warm-up is one step ahead of theirs, whose first rate is 0; at its end
# both are at the peak, where ours is for two steps. After the warm-up they are equal.


def their_rates(torch, scheduler, count):
    """Return the rates of the first steps."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # transformers and PyTorch deprecate some arguments
        schedule, rates = scheduler(optimizer), []
        for _ in range(count):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
    return rates


def with_offset(rates, warmup):
    return [rates[step + 1 if step < warmup else step] for step in range(TOTAL)]


@pytest.mark.parametrize("warmup", [0, 1, 7, 39])
@pytest.mark.parametrize("name", ["linear", "cosine", "trapezoid"])
def test_schedules_equal_those_of_transformers_with_an_offset_of_one(torch, name, warmup):
    transformers = pytest.importorskip("transformers")
    ours, theirs = {
        "linear": (linear_schedule, transformers.get_linear_schedule_with_warmup),
        "cosine": (cosine_schedule, transformers.get_cosine_schedule_with_warmup),
        "trapezoid": (trapezoid_schedule, transformers.get_wsd_schedule),
    }[name]
    options, ours_options = {"num_training_steps": TOTAL}, {}
    if name == "trapezoid":
        falling = min(8, TOTAL - warmup)
        ours_options = {"cooldown": 8 / TOTAL}
        options = {
            "num_decay_steps": falling,
            "num_stable_steps": TOTAL - warmup - falling,
            "decay_type": "linear",
        }
    rates = their_rates(
        torch, lambda optimizer: theirs(optimizer, num_warmup_steps=warmup, **options), TOTAL + 1
    )
    assert warmup == 0 or rates[0] == 0
    np.testing.assert_allclose(
        [ours(step, TOTAL, warmup, PEAK, **ours_options) for step in range(TOTAL)],
        with_offset(rates, warmup),
        rtol=1e-12,
        atol=1e-15 * PEAK,
    )


def test_schedules_without_warm_up_equal_those_of_pytorch(torch):
    classes = torch.optim.lr_scheduler
    pairs = [
        (linear_schedule, lambda o: classes.LinearLR(o, 1.0, 0.0, total_iters=TOTAL)),
        (linear_schedule, lambda o: classes.PolynomialLR(o, TOTAL)),
        (cosine_schedule, lambda o: classes.CosineAnnealingLR(o, TOTAL)),
    ]
    for ours, theirs in pairs:
        found = [ours(step, TOTAL, 0, PEAK) for step in range(TOTAL)]
        np.testing.assert_allclose(found, their_rates(torch, theirs, TOTAL), rtol=1e-9)


def test_schedules_with_warm_up_equal_pytorch_in_sequence(torch):
    """A warm-up that begins at a step's share of the peak, and ends one step before the decay."""
    classes, warmup = torch.optim.lr_scheduler, 8

    def theirs(optimizer):
        rise = classes.LinearLR(optimizer, 1 / warmup, total_iters=warmup - 1)
        fall = classes.CosineAnnealingLR(optimizer, TOTAL - warmup)
        return classes.SequentialLR(optimizer, [rise, fall], [warmup])

    found = [cosine_schedule(step, TOTAL, warmup, PEAK) for step in range(TOTAL)]
    np.testing.assert_allclose(found, their_rates(torch, theirs, TOTAL), rtol=1e-9)
    assert math.isclose(found[warmup - 1], PEAK)

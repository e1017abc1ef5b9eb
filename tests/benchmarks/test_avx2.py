"""`benchmarks.avx2`: the environment limits real processes, and every side is checked."""

import os
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from benchmarks import avx2, harness
from benchmarks.harness import Missing, Worker
from tests.style import ROOT

SHOW = """
from numpy.lib.introspect import opt_func_info
from threadpoolctl import threadpool_info
from benchmarks import avx2
targets = {one["current"] for chosen in opt_func_info().values() for one in chosen.values()}
print([name for name in targets if avx2.is_wide(name)])
print([one["architecture"] for one in threadpool_info()])
avx2.check()
"""


def libraries(monkeypatch, group=False, baseline=(), architecture="Haswell", torch="AVX2"):
    """Replace the libraries that `avx2.check` asks."""
    build = SimpleNamespace(
        __cpu_features__={"X86_V3": True, "X86_V4": group, "AVX512F": True},
        __cpu_dispatch__=["X86_V3", "X86_V4"],
        __cpu_baseline__=["X86_V2", *baseline],
    )
    blas = {"user_api": "blas", "internal_api": "openblas", "architecture": architecture}
    others = {"user_api": "openmp", "internal_api": "openmp"}
    cpu = SimpleNamespace(get_cpu_capability=lambda: torch)
    monkeypatch.setattr(avx2, "numpy_build", build)
    monkeypatch.setattr(avx2.threadpoolctl, "threadpool_info", lambda: [others, blas])
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(backends=SimpleNamespace(cpu=cpu)))


def report_limit():
    """Yield whether this process is limited."""
    yield avx2.is_limited()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="AVX2 is a part of x86")
def test_the_environment_limits_numpy_and_its_blas():
    environment = {**os.environ, **avx2.environment(), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", SHOW], env=environment, capture_output=True, text=True
    )
    assert (done.stdout, done.returncode) == ("[]\n['Haswell']\n", 0), done.stderr


def test_a_worker_inherits_the_limit(monkeypatch):
    for wanted in (False, True):
        if wanted:
            for name, value in avx2.environment().items():
                monkeypatch.setenv(name, value)
        worker = Worker(report_limit)
        worker.close()
        assert worker.ready is wanted


def test_a_process_with_a_part_of_the_environment_is_not_limited(monkeypatch):
    for name, value in avx2.environment().items():
        assert not avx2.is_limited()
        monkeypatch.setenv(name, value)
    assert avx2.is_limited()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group": True}, r"NumPy: expected the limit to AVX2 as \[\], got \['X86_V4'\]"),
        ({"baseline": ["X86_V4"]}, "NumPy: .*X86_V4"),
        ({"architecture": "SkylakeX"}, "openblas: expected .* Haswell, got SkylakeX"),
        ({"torch": "AVX512"}, "PyTorch: expected .* AVX2, got AVX512"),
    ],
)
def test_check_names_the_library_that_is_not_limited(changes, message, monkeypatch):
    libraries(monkeypatch)
    avx2.check()
    libraries(monkeypatch, **changes)
    with pytest.raises(RuntimeError, match=message):
        avx2.check()


def test_a_worker_fails_if_its_limit_had_no_effect(monkeypatch):
    libraries(monkeypatch, architecture="Zen")
    sent = []
    pipe = SimpleNamespace(send=sent.append, recv=lambda: None)
    harness._serve(pipe, report_limit, ())
    assert sent.pop()[0] is False
    monkeypatch.setattr(avx2, "is_limited", lambda: True)
    with pytest.raises(RuntimeError, match="got Zen"):
        harness._serve(pipe, report_limit, ())
    assert "got Zen" in str(sent.pop()[0])


def test_the_option_limits_processes_and_the_report_names_it(monkeypatch, capsys):
    monkeypatch.setattr(os, "environ", {**os.environ})
    for arguments in ([], ["--avx2"]):
        monkeypatch.setattr(sys, "argv", ["name", *arguments])
        o = harness.parse(harness.options("Doc.", can_limit=True))
        o.others = [0.0]
        harness.report(o, "Title")
        limited = bool(arguments)
        assert avx2.is_limited() is limited
        assert ("limited to AVX2" in capsys.readouterr().out) is limited


def test_a_side_that_cannot_be_limited_is_left_out(monkeypatch):
    from benchmarks.peers import jax

    monkeypatch.setattr(avx2, "is_limited", lambda: True)
    with pytest.raises(Missing, match="JAX"):
        jax(None)

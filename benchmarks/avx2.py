"""Limit NumPy, OpenBLAS and PyTorch to AVX2, as on a processor without AVX-512.

The limits are environment variables, which the libraries read when they are loaded. So they are set
before a side's process starts, and each process checks what its own libraries have chosen.

NumPy's own loops are chosen among a few groups of features, which are the only ones that can be
disabled and differ by version: `X86_V4`, `AVX512_ICL` and `AVX512_SPR` in NumPy 2.4. Features that
belong to no group remain listed in `__cpu_features__`, and nothing is compiled for them.
"""

import os
import sys

import threadpoolctl
from numpy._core import _multiarray_umath as numpy_build

LIBRARIES = {
    "OPENBLAS_CORETYPE": "HASWELL",
    "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch's own kernels, and those of torch.compile
    "TORCHINDUCTOR_CPP_MARCH": "x86-64-v3",  # what the compiler may add to the latter
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",  # on Intel's processors; on others MKL uses no AVX-512
}


def wide_groups() -> list[str]:
    """Return NumPy's groups of dispatched features with AVX-512 (list of str)."""
    return [name for name in numpy_build.__cpu_dispatch__ if is_wide(name)]


def is_wide(name: str) -> bool:
    """Return whether a group of features of NumPy contains AVX-512 (bool).

    >>> [name for name in ("X86_V3", "X86_V4", "AVX512_ICL", "AVX2") if is_wide(name)]
    ['X86_V4', 'AVX512_ICL']
    """
    return name.startswith(("AVX512", "X86_V4"))


def environment() -> dict[str, str]:
    """Return the environment variables that limit a new process (dict)."""
    return {"NPY_DISABLE_CPU_FEATURES": " ".join(wide_groups()), **LIBRARIES}


def limit() -> None:
    """Limit the processes that this one starts from now on."""
    os.environ.update(environment())


def is_limited() -> bool:
    """Return whether this process was started with the limits (bool)."""
    return environment().items() <= os.environ.items()


def check() -> None:
    """Check that the libraries which this process has loaded are limited.

    Raises:
        RuntimeError: NumPy, its BLAS or PyTorch may use more than AVX2.
    """
    features = numpy_build.__cpu_features__
    wide = [name for name in numpy_build.__cpu_baseline__ if is_wide(name)]
    expect("NumPy", [], wide + [name for name in wide_groups() if features[name]])
    found = [one for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas"]
    for blas in found:
        expect(blas["internal_api"], "Haswell", blas.get("architecture"))
    if "torch" in sys.modules:
        import torch

        expect("PyTorch", "AVX2", torch.backends.cpu.get_cpu_capability())


def expect(library: str, expected, found) -> None:
    """Check one library."""
    if found != expected:
        raise RuntimeError(f"{library}: expected the limit to AVX2 as {expected}, got {found}")

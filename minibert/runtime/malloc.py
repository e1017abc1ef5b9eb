"""Settings of the C library's memory allocator."""

import ctypes
import os
from functools import cache


@cache
def keep_freed_memory() -> None:
    """Let glibc keep freed memory for reuse instead of returning it to the system.

    A training step frees the memory that the next step allocates. Returning it and fetching it
    again, page by page and filled with zeros, costs a step of BERT-mini 5 % of its time. Other C
    libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        # M_TRIM_THRESHOLD, M_TOP_PAD, and M_MMAP_THRESHOLD twice, because some versions refuse
        # the higher value.
        for option, size in ((-1, 2**30), (-2, 2**26), (-3, 2**25), (-3, 2**30)):
            mallopt(option, size)

"""How many threads share the work on large arrays: see `kernels.pool`."""

from __future__ import annotations

import os
from collections.abc import Callable

__all__ = ["LARGE_BYTES", "SHARED_BYTES", "SHARED_ELEMENTS", "get_num_threads", "set_num_threads"]

#: Threads share the work on more bytes: it takes longer than waking one up.
SHARED_BYTES = 1 << 18
#: Threads share functions of so many elements; sums and products of twice as many.
SHARED_ELEMENTS = 1 << 16
#: Arrays of more bytes are large: machine code that holds the GIL leaves them to Python, which lets
#: go of it; and their memory is used again.
LARGE_BYTES = 1 << 20


def _available() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Setting:
    """The number, as it is set."""

    def __init__(self) -> None:
        # OpenMP allows a number for each level: "4,2".
        wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
        self.count = int(wanted) if wanted.isdecimal() and int(wanted) else _available()


_setting = _Setting()
#: Called when the number of threads has been set.
when_set: list[Callable[[], None]] = []


def get_num_threads() -> int:
    """How many threads share work: see `set_num_threads`."""
    return _setting.count


def set_num_threads(count: int) -> None:
    """How many threads may share work of some 20 microseconds or more, the calling one among them.

    At most 128 do. A thread is started when there is first work for it, and is then kept. Products
    of matrices may differ in their last digits from those of another number of threads.

    Raises RuntimeError for what is no integer, or is below 1. BLAS, which computes the largest
    products of matrices and most of `linalg`, has threads of its own (``OPENBLAS_NUM_THREADS``).
    """
    if type(count) is not int:
        raise RuntimeError(f"set_num_threads expects an int, but got {type(count).__name__}")
    if count < 1:
        raise RuntimeError("set_num_threads expects a positive integer")
    _setting.count = count
    for function in when_set:
        function()

"""Work shared between threads: large arrays only.

The threads are Python's own, kept for the next time; what they run lets go of the GIL. None is
started before there is work for it, nor in a child process by its parent's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["LARGE_BYTES", "get_num_threads", "set_num_threads", "share"]

#: Arrays of more bytes are large. Threads share the work on them, since it takes longer than waking
#: one up; machine code, which holds the GIL, leaves them to Python; and their memory is used again.
LARGE_BYTES = 1 << 20
#: Parts of the work for each thread, so that none waits long for another.
PARTS = 4


def _available() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Pool:
    """The threads beside the calling one; made when they are first needed."""

    def __init__(self) -> None:
        # OpenMP allows a number for each level: "4,2".
        wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
        self.count = int(wanted) if wanted.isdecimal() and int(wanted) else _available()
        self.executor: Any = None

    def forget(self) -> None:
        """In a child process: its parent's threads aren't there."""
        self.executor = None


_pool = _Pool()
#: Called when the number of threads has been set.
when_set: list[Callable[[], None]] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.forget)


def get_num_threads() -> int:
    """How many threads share the work on a large array."""
    return _pool.count


def set_num_threads(count: int) -> None:
    """How many threads may share the work on a large array, the calling one among them.

    Raises RuntimeError for what is no integer, or is below 1. BLAS, which computes the largest
    products of matrices and most of `linalg`, has threads of its own (``OPENBLAS_NUM_THREADS``).
    """
    if type(count) is not int:
        raise RuntimeError(f"set_num_threads expects an int, but got {type(count).__name__}")
    if count < 1:
        raise RuntimeError("set_num_threads expects a positive integer")
    if count != _pool.count:
        _pool.count, _pool.executor = count, None
        for function in when_set:
            function()


def share(count: int, work: Callable[[int, int], None]) -> None:
    """Do ``work(begin, end)`` for all of ``range(count)``: each thread takes parts as it can.

    A thread that isn't there before all is taken does nothing, and isn't waited for.
    """
    threads = _pool.count  # once: another thread may set it meanwhile
    shares = min(threads, count)
    if shares < 2:
        work(0, count)
        return
    executor = _pool.executor
    if executor is None:
        from concurrent.futures import ThreadPoolExecutor

        executor = _pool.executor = ThreadPoolExecutor(threads - 1, "tapegrad")
    parts = min(count, PARTS * shares)
    numbers: Iterator[int] = iter(range(parts))

    def take_parts() -> None:
        while (i := next(numbers, parts)) < parts:
            work(count * i // parts, count * (i + 1) // parts)

    others = []
    try:
        for _ in range(shares - 1):
            others.append(executor.submit(take_parts))
    except RuntimeError:  # the interpreter is shutting down
        pass
    problem: BaseException | None = None
    try:
        take_parts()
    except BaseException as error:
        problem = error
        numbers = iter(())
    # Whatever interrupts it, this thread waits: the others write to arrays that it would drop.
    for other in others:
        while not other.cancel():
            try:
                other.result()
            except BaseException as error:
                problem = problem or error
            if other.done():
                break
    if problem is not None:
        raise problem

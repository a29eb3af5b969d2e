"""The machine code of a process: whether it is loaded, and when that is worth its time."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tapegrad.buffers import keep_smaller
from tapegrad.fused import library
from tapegrad.primitive import Primitive
from tapegrad.tape import Record

__all__ = ["LOAD_AFTER", "MOST_WORK", "RECORD_BYTES", "load_native", "native", "warmup"]

#: The work that a process replays in Python before it loads the native loop, in small records.
#: Importing Numba and the first kernels costs 0.3 to 0.6 s, as much as some 100,000 of them; who
#: has replayed a twentieth of that is likely to go on.
LOAD_AFTER = 5_000

#: Every so many bytes of a result are another record's work, up to a limit: a single large gradient
#: doesn't make a process compile.
RECORD_BYTES, MOST_WORK = 4096, 64


class _Native:
    """Whether the native loop is loaded (None: not yet), and the count that decides about it.

    ``loaded`` is set when all of it can be used: other threads look at it meanwhile.
    """

    loaded: bool | None = None
    loading = False
    replayed = 0

    def __init__(self) -> None:
        #: Goes on with a replay at a record, once it is loaded.
        self.walk: Callable[[Any, int], None] | None = None
        #: Runs one without a replay, see `tapegrad.kernels.run.walk_alone`.
        self.alone: Callable[[int, np.ndarray, bool], Any] | None = None
        #: Finds the places on the way to the targets, see `tapegrad.kernels.way`.
        self.way: Callable[[list[Record], int, int, set[int], set[int]], None] | None = None
        #: Called once it is loaded: what else becomes machine code then.
        self.when_loaded: list[Callable[[], None]] = []


native = _Native()

_lock = threading.RLock()


def _after_fork() -> None:
    """In a child process: nobody there goes on with half a load, so it stays with Python."""
    global _lock
    _lock = threading.RLock()
    if native.loading:
        native.loaded = native.loading = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _find_fused(name: str, dtype: np.dtype[Any]) -> Callable[..., None]:
    from tapegrad.kernels.fused import find

    library.find = find
    return find(name, dtype)


def _find_forward(primitive: Primitive, arrays: tuple[np.ndarray, ...]) -> np.ndarray | None:
    from tapegrad.kernels.large import large_forward

    library.forward = large_forward
    return large_forward(primitive, arrays)


def _find_in_place(ufunc: np.ufunc, array: np.ndarray, operand: Any) -> bool:
    from tapegrad.kernels.large import write_in_place

    library.in_place = write_in_place
    return write_in_place(ufunc, array, operand)


def load_native(*, wait: bool = True) -> bool:
    """Load the native loop; False where it can't be used, or another thread still loads it.

    Args:
        wait: for the thread that loads it. Compiling takes seconds, in which others may go on in
            Python.
    """
    lock = _lock
    if native.loaded is None and lock.acquire(blocking=wait):
        try:
            _load_once()
        finally:
            lock.release()
    return bool(native.loaded)


def _load_once() -> None:
    # What runs amid loading, such as a finalizer, doesn't begin again.
    if native.loaded is None and not native.loading:
        native.loading = True
        try:
            native.loaded = _load()
        finally:
            native.loading = False


@contextlib.contextmanager
def _interrupts_later() -> Iterator[None]:
    """Let Ctrl-C wait for the end of an import: half a module can't be used any more."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    came: list[tuple[int, Any]] = []
    signal.signal(signal.SIGINT, lambda *given: came.append(given))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            before(*came[0])


def _load() -> bool:
    if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        return False
    with _interrupts_later():
        from tapegrad.kernels.compiled import available
        from tapegrad.kernels.run import walk_alone, walk_natively

    if not available():
        return False
    for function in native.when_loaded:
        function()
    native.walk, native.alone = walk_natively, walk_alone
    library.find = _find_fused
    library.forward, library.in_place = _find_forward, _find_in_place
    keep_smaller()
    return True


def warmup() -> bool:
    """Load the machine code now; False where there can't be any.

    A process does so by itself once it has replayed some 5,000 small records, or 80 large ones, in
    Python. It takes half a second, but some ten seconds where the kernel cache is empty, as after
    an installation: call this where nobody waits for it, such as while an image is built. Kernels
    of single operations are compiled at their first use; a step of what is to run does that.

    Examples:
        >>> import tapegrad as tg
        >>> tg.warmup()
        True
    """
    return load_native()

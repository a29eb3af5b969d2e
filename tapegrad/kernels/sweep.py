"""The sweep of the tape, natively: as `Tape._drop_dead` in Python, at a third of its cost."""

from __future__ import annotations

import ctypes
import hashlib
import inspect
import sys
from collections.abc import Callable
from typing import Any

from numba import types

from tapegrad.kernels.cache import KernelCache
from tapegrad.kernels.native import (
    compile_native,
    incref,
    list_get,
    list_set,
    load32,
    tuple_get,
)

__all__ = ["native_sweep"]


def _sweep(records: int, start: int, end: int, none: int) -> int:
    """Put None for every record of the range that nothing refers to; returns how many they were."""
    dropped = types.int64(0)
    index = end
    # From the end, so that dropping a record frees the places that only it refers to.
    while index > start:
        index -= 1
        if load32(tuple_get(list_get(records, index), 0)) == 1:
            incref(none)
            list_set(records, index, none)
            dropped += 1
    return dropped


def native_sweep() -> Callable[[list[Any], int, int], int]:
    """``sweep(records, start, end)``, compiled."""
    source = inspect.getsource(sys.modules[__name__])
    cache = KernelCache("sweep", hashlib.sha256(source.encode()).digest())
    compiled = compile_native(_sweep, types.int64(*[types.int64] * 4), cache)
    call = ctypes.PYFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 4)(compiled.address)

    def sweep(records: list[Any], start: int, end: int) -> int:
        dropped: int = call(id(records), start, end, id(None))
        return dropped

    sweep.compiled = compiled  # type: ignore[attr-defined]  # it owns the code
    return sweep

"""The sweep of the tape, natively: as `Tape._drop_dead` in Python, at a third of its cost."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from numba import types

from tapegrad.kernels.cache import source_cache
from tapegrad.kernels.native import (
    compile_native,
    incref,
    list_get,
    list_set,
    list_set_slice,
    load32,
    tuple_get,
)

__all__ = ["native_sweep"]


def _sweep(records: int, start: int, end: int, dead: int) -> int:
    """Drop every record of the range that nothing refers to; returns how many they were, or -1.

    ``dead`` is an empty record, which stands for those that have been dropped until the list is
    moved together: what frees an array may run anything, and that look at the list. No interrupt
    comes between the two.
    """
    dropped = types.int64(0)
    index = end
    # From the end, so that dropping a record frees the places that only it refers to.
    while index > start:
        index -= 1
        if load32(tuple_get(list_get(records, index), 0)) == 1:
            incref(dead)
            list_set(records, index, dead)
            dropped += 1
    if dropped == 0:
        return dropped
    kept = start
    for index in range(start, end):
        record = list_get(records, index)
        if record != dead:
            if kept != index:
                incref(record)
                list_set(records, kept, record)
            kept += 1
    if list_set_slice(records, kept, end, 0) != 0:
        return -1
    return dropped


def native_sweep() -> Callable[[list[Any], int, int], int]:
    """``sweep(records, start, end)``, compiled."""
    cache = source_cache("sweep", _sweep)
    compiled = compile_native(_sweep, types.int64(*[types.int64] * 4), cache)
    call = ctypes.PYFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 4)(compiled.address)
    dead = (0, 0, 0, None, None)

    def sweep(records: list[Any], start: int, end: int) -> int:
        dropped: int = call(id(records), start, end, id(dead))
        return dropped

    sweep.compiled = compiled  # type: ignore[attr-defined]  # it owns the code
    return sweep

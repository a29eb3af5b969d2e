"""The places on the way to a replay's targets, natively: as `Replay._needed` in Python."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from numba import types

from tapegrad.kernels.cache import source_cache
from tapegrad.kernels.native import (
    compile_native,
    list_get,
    own_int,
    set_add,
    set_contains,
    set_size,
    tuple_get,
    tuple_size,
)

__all__ = ["native_way"]


def _way(records: int, start: int, first: int, reached: int, needed: int, none: int) -> int:
    """Add the places on the way to the set ``needed``; ``reached`` has those of the roots.

    In the end ``reached`` has all that the roots depend on. Returns 0, or -1 without memory.
    """
    pending = set_size(reached)
    index = start
    while pending > 0 and index >= first:
        record = list_get(records, index)
        if set_contains(reached, tuple_get(record, 0)) != 0:
            pending -= 1
            for i in range((tuple_size(record) - 5) // 2):
                source = tuple_get(record, 4 + i)
                if source != none and own_int(source) > 0 and set_contains(reached, source) == 0:
                    if set_add(reached, source) != 0:
                        return -1
                    pending += 1
        index -= 1
    for at in range(index + 1, start + 1):
        record = list_get(records, at)
        if set_contains(reached, tuple_get(record, 0)) != 0:
            for i in range((tuple_size(record) - 5) // 2):
                source = tuple_get(record, 4 + i)
                if source != none and set_contains(needed, source) != 0:
                    if set_add(needed, tuple_get(record, 0)) != 0:
                        return -1
                    break
    return 0


def native_way() -> Callable[[list[Any], int, int, set[int], set[int]], None]:
    """``way(records, start, first, reached, needed)``, compiled."""
    cache = source_cache("way", _way)
    compiled = compile_native(_way, types.int64(*[types.int64] * 6), cache)
    call = ctypes.PYFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 6)(compiled.address)

    def way(
        records: list[Any], start: int, first: int, reached: set[int], needed: set[int]
    ) -> None:
        if call(id(records), start, first, id(reached), id(needed), id(None)) != 0:
            raise MemoryError

    way.compiled = compiled  # type: ignore[attr-defined]  # it owns the code
    return way

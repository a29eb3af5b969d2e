"""Memory of large arrays, kept for the next array of the same size.

What NumPy frees of this size goes back to the system, which has to clear it, page by page, for the
next one: a recorded operation on 16 MB takes twice as long for it. An array that `empty` makes
gives its memory back when nobody holds it, or a view of it, any more.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.threads import LARGE_BYTES

__all__ = ["empty", "keep_smaller", "release_all"]

#: So many free bytes are kept.
MOST_FREE = 1 << 29


class _Pool:
    """The memory that is free, by its size, in the order in which sizes came up."""

    def __init__(self) -> None:
        self.free: dict[int, list[np.ndarray]] = {}
        self.nbytes = 0

    def take(self, nbytes: int) -> np.ndarray:
        try:
            memory = self.free[nbytes].pop()
        except (KeyError, IndexError):
            return np.empty(nbytes, np.uint8)
        self.nbytes -= nbytes
        return memory

    def give(self, memory: np.ndarray) -> None:
        nbytes = memory.size
        if self.nbytes + nbytes > MOST_FREE:
            # What the program does now has other sizes than what it did.
            self.clear()
            if nbytes > MOST_FREE:
                return
        self.free.setdefault(nbytes, []).append(memory)
        self.nbytes += nbytes

    def clear(self) -> None:
        self.free = {}
        self.nbytes = 0


_pool = _Pool()
release_all = _pool.clear


class _Lease:
    """The owner of an array's memory, which NumPy keeps as the ``base``."""

    __slots__ = ("__array_interface__", "memory")

    def __init__(self, memory: np.ndarray, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.memory = memory
        self.__array_interface__ = {
            "data": memory.__array_interface__["data"],
            "shape": shape,
            "typestr": dtype.str,
            "version": 3,
        }

    def __del__(self, give: Any = _pool.give) -> None:
        give(self.memory)


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """As `numpy.empty`, in memory that was used before if there is some."""
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes <= LARGE_BYTES:
        return np.empty(shape, dtype)
    return np.asarray(_Lease(_pool.take(nbytes), shape, dtype))


def keep_smaller() -> None:
    """Let malloc keep the memory of smaller arrays, too, for the next ones.

    glibc asks the system for each array of more than 128 kB, and gives free memory at the end of
    its heap back, until something larger has been freed: from then on that is its measure
    (mallopt(3), M_MMAP_THRESHOLD). Nothing is ever written to what is freed here.
    """
    np.empty(16 * LARGE_BYTES, np.uint8)

"""In-place changes of arrays that the tape has saved.

Counting versions on every operation would cost every operation. So the rare side pays: an in-place
operation *stamps* the memory that it writes to with the next serial of the tape. A record saved a
value that has changed since exactly if the memory carries a stamp later than the record's serial.
Replay checks only records older than the last stamp of an array that something beside its Tensor
refers to: in a training loop none, whether it changes parameters or adds to gradients. What a
person writes through NumPy can't be seen, as in torch.
"""

from __future__ import annotations

import sys
import weakref
from collections import deque
from itertools import pairwise
from typing import Any

import numpy as np

__all__ = [
    "Stamp",
    "are_apart",
    "aside",
    "clock",
    "is_stale",
    "memory_order",
    "owner",
    "repeats",
    "stamp",
    "stamps",
    "version",
    "version_at",
]


class Stamp:
    """When a piece of memory was last written in place, and how often."""

    __slots__ = ("recent", "reference", "serial", "version")

    def __init__(self, reference: weakref.ref[np.ndarray]) -> None:
        self.reference = reference
        self.serial = 0
        self.version = 0
        #: The last serials, from which an error tells the version that a record had saved.
        self.recent: deque[int] = deque(maxlen=64)


class Clock:
    """``latest``: the serial of the last stamp of what a record may have saved.

    Records made after it need no check.
    """

    __slots__ = ("latest",)

    def __init__(self) -> None:
        self.latest = 0


clock = Clock()

#: By the id of the array that owns the memory; an entry goes with its array.
stamps: dict[int, Stamp] = {}


def owner(array: np.ndarray) -> np.ndarray:
    """The array at the end of the chain of views: it stands for the memory."""
    base = array.base
    while base is not None:
        if type(base) is np.ndarray:
            array = base
        elif not hasattr(base, "base"):  # NumPy's as_strided puts an object of its own between
            break
        base = base.base
    return array


def are_apart(arrays: list[np.ndarray]) -> bool:
    """Whether no two arrays, all of them contiguous, have memory in common."""
    if all([array.base is None for array in arrays]):
        return len(set(map(id, arrays))) == len(arrays)
    starts = sorted([(array.ctypes.data, array.nbytes) for array in arrays])
    pairs = pairwise(starts)
    return all(start + size <= following for (start, size), (following, _) in pairs)


def repeats(array: np.ndarray) -> bool:
    """Whether several elements of an array are one in memory."""
    return any(n > 1 and not step for n, step in zip(array.shape, array.strides, strict=True))


def aside(array: np.ndarray) -> np.ndarray:
    """The same memory under an owner of its own: what is written there is stamped apart."""
    buffer: Any = array
    return np.asarray(memoryview(buffer))


def stamp(array: np.ndarray, serial: int, in_variable: bool = False) -> None:
    """Note that ``array`` is written in place at ``serial``.

    It is called with a Tensor's ``_array``, or (``in_variable``) with a local variable that has it:
    then as many references as that make tell that no record has saved the array.
    """
    shared = sys.getrefcount(array) > _ALONE[in_variable]
    root = array
    if array.base is not None:
        shared = shared or not _is_only_view(array)
        root = owner(array)
    if shared:
        clock.latest = serial
    entry = stamps.get(id(root))
    if entry is None:
        entry = _first_stamp(root)
    entry.serial = serial
    entry.version += 1
    entry.recent.append(serial)


def _first_stamp(root: np.ndarray) -> Stamp:
    key = id(root)

    def forget(_: object) -> None:
        stamps.pop(key, None)

    entry = stamps[key] = Stamp(weakref.ref(root, forget))
    return entry


def stamp_if_shared(array: np.ndarray, serial: int) -> None:
    """`stamp` for what is hardly ever saved; it is called with a Tensor's ``_array``."""
    if sys.getrefcount(array) > _ALONE[False] or not _is_only_view(array):
        stamp(array, serial)


def _is_only_view(array: np.ndarray) -> bool:
    """Whether nothing else refers to the memory, if nothing does to the array."""
    base = array.base
    if base is None:
        return True
    return type(base) is np.ndarray and base.base is None and sys.getrefcount(base) == _VIEWED


class _Held:
    """What refers to an array as a Tensor does."""

    __slots__ = ("_array",)

    def __init__(self, array: np.ndarray) -> None:
        self._array = array


def _references(array: np.ndarray, serial: int, in_variable: bool = False) -> int:
    return sys.getrefcount(array)


def _references_to_base(array: np.ndarray) -> int:
    base = array.base
    return sys.getrefcount(base)


def _calibrate() -> tuple[tuple[int, int], int]:
    """The references that are found if there are none but those of `stamp` and its caller.

    They differ between versions of Python.
    """
    held = _Held(np.empty(1))
    bare = _references(held._array, 0)
    array = held._array
    return (bare, _references(array, 0, True)), _references_to_base(np.empty(2)[:1])


_ALONE, _VIEWED = _calibrate()


def version(array: np.ndarray) -> int:
    """How many in-place operations have written to the array's memory."""
    entry = stamps.get(id(array if array.base is None else owner(array)))
    return 0 if entry is None else entry.version


def version_at(array: np.ndarray, serial: int) -> int:
    """The version of the array's memory when the record ``serial`` saved it."""
    entry = stamps[id(owner(array))]
    return entry.version - sum(1 for later in entry.recent if later > serial)


def is_stale(array: np.ndarray, serial: int) -> bool:
    """Whether the array was written in place after the record ``serial`` saved it."""
    entry = stamps.get(id(owner(array)))
    return entry is not None and entry.serial > serial


def memory_order(array: np.ndarray) -> list[int]:
    """The axes by the steps they take in memory, longest first, as torch sorts them.

    One along which an element is repeated stays where it is, as far as the others let it.
    """
    axes, strides = list(range(array.ndim)), array.strides
    if array.flags.c_contiguous:
        return axes
    axes.reverse()
    for i in range(1, array.ndim):
        moved = i
        for j in range(i - 1, -1, -1):
            inner, outer = strides[axes[j]], strides[axes[moved]]
            if inner and outer and inner < outer:
                break
            if outer and inner > outer:
                axes[j], axes[moved] = axes[moved], axes[j]
                moved = j
    return axes[::-1]

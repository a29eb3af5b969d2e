"""Fused functions over whole arrays: what rules call where NumPy would make many passes.

    kernel = fused("softmax", x)
    if kernel is not None:
        out = np.empty_like(x)
        kernel(len(rows), x, out, n)

There are none before the native loop is loaded (`replay.load_native`), none for arrays that aren't
contiguous ones of one dtype, float32 or float64, and none for Tensors (of which rules are given
some when their derivative is wanted): a rule is written out in NumPy, and what is fused stands
beside it. The functions themselves are in `kernels.fused`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["fused", "mapped"]


class _Library:
    """Where compiled functions are looked up: nowhere before the native loop is loaded."""

    find: Callable[[str, np.dtype[Any]], Callable[..., None]] | None = None
    find_map: Callable[..., Callable[..., None] | None] | None = None


library = _Library()


def fused(name: str, *arrays: Any) -> Callable[..., None] | None:
    """The fused function of this name for these arrays, or None; see the module's text."""
    find = library.find
    if find is None:
        return None
    dtype = None
    for x in arrays:
        if type(x) is not np.ndarray or not x.flags.c_contiguous or not x.size:
            return None
        if dtype is None:
            dtype = x.dtype
            if dtype.char not in "fd" or not dtype.isnative:
                return None
        elif x.dtype != dtype:
            return None
    assert dtype is not None
    return find(name, dtype)


def mapped(primitive: Any, index: int | None, operands: tuple[Any, ...]) -> np.ndarray | None:
    """An elementwise primitive's value, or its input ``index``'s adjoint, in one pass; or None.

    The operands are those of the function: arrays of the first one's shape, or 0-d ones.
    """
    find = library.find_map
    first = operands[0]
    if find is None or type(first) is not np.ndarray or not first.size:
        return None
    dtype, shape = first.dtype, first.shape
    if dtype.char not in "fd" or not dtype.isnative:
        return None
    kinds: list[str] = []
    given: list[Any] = []
    for x in operands:
        if type(x) is not np.ndarray or x.dtype != dtype:
            return None
        if x.shape == shape and x.flags.c_contiguous:
            kinds.append("Array")
            given.append(x)
        elif not x.ndim:
            kinds.append("Real")
            given.append(float(x))
        else:
            return None
    kernel = find(primitive, index, dtype, tuple(kinds))
    if kernel is None:
        return None
    out = np.empty(shape, dtype)
    kernel(out.size, out, *given)
    return out

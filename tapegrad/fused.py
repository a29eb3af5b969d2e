"""Fused functions over whole arrays: what rules call where NumPy would make many passes.

    kernel = fused("softmax", x)
    if kernel is not None:
        out = np.empty_like(x)
        kernel(len(rows), x, out, n)

There are none before the native loop is loaded (`tapegrad.warmup`), none for arrays that aren't
contiguous ones of one dtype, float32 or float64, and none for Tensors (of which rules are given
some when their derivative is wanted): a rule is written out in NumPy, and what is fused stands
beside it. The functions themselves are in `kernels.fused`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["BLOCK", "COLUMNS", "ROWS", "fused", "partial_sums"]

#: So many rows are added up before their sum becomes a double: floats lose digits in longer sums.
ROWS = 64

#: So many columns of a matrix are a part of the work: their sums stay in the cache.
COLUMNS = 1024

#: So many rows of a recurrent layer's state are a part of the work: fewer take more time for each.
BLOCK = 8


class _Library:
    """Where compiled functions are looked up: nowhere before the native loop is loaded."""

    find: Callable[[str, np.dtype[Any]], Callable[..., None]] | None = None
    #: ``forward(primitive, arrays)`` of an elementwise primitive, large arrays; None: it can't.
    forward: Callable[[Any, tuple[np.ndarray, ...]], np.ndarray | None] | None = None
    #: ``in_place(ufunc, array, operand)``: the array's new elements; False: it can't.
    in_place: Callable[[np.ufunc, np.ndarray, Any], bool] | None = None


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


def partial_sums(kernel: Callable[..., None], rows: int, *operands: np.ndarray) -> np.ndarray:
    """What a fused function adds up of each `ROWS` rows: (parts, elements of a row)."""
    x = operands[0]
    n = x.size // rows
    parts = np.empty((-(-rows // ROWS), n), x.dtype)
    kernel(len(parts), *operands, parts, rows, n, ROWS)
    return parts

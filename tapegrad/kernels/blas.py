"""Products of matrices in compiled code: BLAS, as NumPy's own inner loop calls it, or our tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, types
from numba.extending import register_jitable

from tapegrad.kernels.fused.products import small_product
from tapegrad.kernels.native import (
    allocate,
    call_gufunc_loop,
    pointer_to,
    release,
    size_of,
    ufunc_loop,
)

__all__ = ["ADD", "ARRAY_KIND", "BOOL", "INT64", "KINDS", "TOOL_FIELDS", "product", "tools"]

#: The inner loops whose addresses and data kernels are given, before the ids of some types.
TOOLS = ((np.matmul, "ff->f"), (np.matmul, "dd->d"), (np.add, "ff->f"), (np.add, "dd->d"))
TOOL_FIELDS = 15
#: Where the loops of ``add`` and the ids of types begin; those of two dtypes and of ndarray.
ADD, KINDS, INT64, BOOL, ARRAY_KIND = 4, 8, 12, 13, 14


def tools() -> np.ndarray:
    """What kernels find at ``tools``: the loops of `TOOLS`, and the things that they ask for."""
    loops = [x for ufunc, kinds in TOOLS for x in ufunc_loop(ufunc, kinds) or (0, 0)]
    kinds = (slice, int, None, type(...), np.dtype(np.int64), np.dtype(bool), np.ndarray)
    return np.array([*loops, *map(id, kinds)], np.int64)


@register_jitable(inline="always")
def product(
    zero: Any, tools: Any, to: Any, add: Any, sizes: Any, x: Any, x_strides: Any, y: Any,
    y_strides: Any,
) -> Any:  # fmt: skip
    """NumPy's matrix product of x (rows, inner) and y (inner, columns), stored or added.

    Returns 1, or 0 if there is no memory.
    """
    if small_product(zero, to, add, sizes, x, x_strides, y, y_strides):
        return 1
    loops = carray(pointer_to(tools, types.int64(1)), TOOL_FIELDS)
    itemsize = types.int64(size_of(zero))
    first = 0 if itemsize == 4 else 2
    rows, inner, columns = sizes
    outer = types.int64(0)  # steps of the outer dimension, of which there is one
    out = to
    if add:
        out = allocate(rows * columns * itemsize)
    if out != 0:
        call_gufunc_loop(
            loops[first],
            loops[first + 1],
            (types.int64(1), rows, inner, columns),
            (x, y, out),
            (outer, outer, outer, x_strides[0], x_strides[1], y_strides[0], y_strides[1],
             columns * itemsize, itemsize),
        )  # fmt: skip
    if add and out != 0:
        share = carray(pointer_to(out, zero), rows * columns)
        gathered = carray(pointer_to(to, zero), rows * columns)
        for i in range(rows * columns):
            gathered[i] += share[i]
        release(out)
    return 1 if out != 0 else 0

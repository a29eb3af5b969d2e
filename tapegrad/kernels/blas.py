"""Products of matrices in compiled code: BLAS, as NumPy's own inner loop calls it, or our tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, types
from numba.extending import register_jitable

from tapegrad.kernels.fused.small_products import small_product
from tapegrad.kernels.native import (
    allocate,
    call_gufunc_loop,
    pointer_to,
    release,
    size_of,
    ufunc_loop,
)

__all__ = ["ADD", "ARRAY_KIND", "BOOL", "INT64", "KINDS", "TOOL_FIELDS"]
__all__ += ["product", "products", "put", "room_for", "tools"]

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


@register_jitable
def products(
    zero: Any, tools: Any, out: Any, sizes: Any, x: Any, x_strides: Any, y: Any, y_strides: Any
) -> None:
    """NumPy's matrix products of ``sizes[0]`` pairs x (rows, inner) and y (inner, columns).

    The results follow one another; the first strides are those from pair to pair.
    """
    loops = carray(pointer_to(tools, types.int64(1)), TOOL_FIELDS)
    itemsize = types.int64(size_of(zero))
    first = itemsize // 2 - 2  # the loop for singles, or that for doubles
    call_gufunc_loop(
        loops[first],
        loops[first + 1],
        sizes,
        (x, y, out),
        (x_strides[0], y_strides[0], sizes[1] * sizes[3] * itemsize,
         x_strides[1], x_strides[2], y_strides[1], y_strides[2], sizes[3] * itemsize, itemsize),
    )  # fmt: skip


@register_jitable
def product(
    zero: Any, tools: Any, to: Any, add: Any, sizes: Any, x: Any, x_strides: Any, y: Any,
    y_strides: Any,
) -> Any:  # fmt: skip
    """The product of x (rows, inner) and y (inner, columns), stored or added.

    Returns 1, or 0 if there is no memory.
    """
    if small_product(zero, to, add, sizes, x, x_strides, y, y_strides):
        return 1
    still = types.int64(0)  # steps from pair to pair, of which there is one
    out = room_for(zero, to, add, sizes[0] * sizes[2])
    if out != 0:
        of_x, of_y = (still, *x_strides), (still, *y_strides)
        products(zero, tools, out, (types.int64(1), *sizes), x, of_x, y, of_y)
        put(zero, to, out, sizes[0] * sizes[2])
    return 1 if out != 0 else 0


@register_jitable
def room_for(zero: Any, to: Any, add: Any, n: Any) -> Any:
    """Where a share of n elements is to be computed: in place, or elsewhere if `put` is to add it.

    0 if there is no memory.
    """
    return allocate(n * size_of(zero)) if add else to


@register_jitable
def put(zero: Any, to: Any, out: Any, n: Any) -> None:
    """Add the share that is elsewhere, of which there was `room_for`."""
    if out != to:
        share = carray(pointer_to(out, zero), n)
        gathered = carray(pointer_to(to, zero), n)
        for i in range(n):
            gathered[i] += share[i]
        release(out)

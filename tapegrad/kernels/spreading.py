"""Elementwise records whose inputs were broadcast, in the native loop.

The result is seen as rows of ``inner`` elements. An input has all of them (FULL), one row for all
(ROW, such as a bias), one element for each row (COLUMN, such as a mean that kept its dimension), or
one for all (ONE). What isn't of such a form is left to Python.
"""

from __future__ import annotations

from typing import Any

from numba import carray, types
from numba.extending import register_jitable

from tapegrad.kernels.native import (
    as_int,
    call_ufunc_loop,
    copy_bytes,
    pointer_to,
    tuple_get,
    tuple_size,
)
from tapegrad.kernels.structural import ADD, TOOL_FIELDS

__all__ = ["COLUMN", "FULL", "ONE", "OTHER", "ROW", "form_of", "sum_into"]

FULL, ROW, COLUMN, ONE, OTHER = range(5)


@register_jitable(inline="always")
def form_of(out_shape: Any, shape: Any) -> Any:
    """The form of an input's shape under the result's, and how many rows it makes."""
    ndim = tuple_size(out_shape)
    lead = ndim - tuple_size(shape)
    # Dimension by dimension: once a broadcast one follows a kept one it is a COLUMN, once a kept
    # one follows a broadcast one a ROW; both are neither.
    kept = types.int64(1)
    spread = types.int64(1)
    row = column = False
    for k in range(ndim):
        n = as_int(tuple_get(out_shape, k))
        if n != 1:
            same = k >= lead and as_int(tuple_get(shape, k - lead)) == n
            if same:
                row = row or spread > 1
                kept *= n
            else:
                column = column or kept > 1
                spread *= n
    form = types.int64(OTHER)
    rows = types.int64(1)
    if spread == 1:
        form = types.int64(FULL)
    elif kept == 1:
        form = types.int64(ONE)
    elif row and not column:
        form = types.int64(ROW)
        rows = spread
    elif column and not row:
        form = types.int64(COLUMN)
        rows = kept
    return form, rows


@register_jitable(inline="always")
def sum_into(tools: Any, dtype: Any, to: Any, add: Any, source: Any, n: Any) -> None:
    """Store or add the sum of n > 0 numbers, as NumPy adds them up: pairwise after the first."""
    loops = carray(pointer_to(tools, types.int64(1)), TOOL_FIELDS)
    first = ADD + 2 * dtype
    step = types.int64(4) + 4 * dtype
    done = types.int64(1 - add)
    if done:
        copy_bytes(to, source, step)
    rest = source + done * step
    still = types.int64(0)
    call_ufunc_loop(loops[first], loops[first + 1], n - done, (to, rest, to), (still, step, still))

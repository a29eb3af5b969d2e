"""Operands that are broadcast or strided, in machine code: as rows of elements.

The result is seen as rows of ``inner`` elements. An input has all of them (FULL), one row for all
(ROW, such as a bias), one element for each row (COLUMN, such as a mean that kept its dimension), or
one for all (ONE). What isn't of such a form is left to Python.
"""

from __future__ import annotations

from typing import Any

from numba import carray, types
from numba.extending import register_jitable

from tapegrad.kernels.native import (
    ALIGNED,
    C_CONTIGUOUS,
    DIMENSIONS,
    FLAGS,
    NDIM,
    STRIDES,
    call_ufunc_loop,
    copy_bytes,
    decref,
    held,
    load32,
    load64,
    own_int,
    pointer_to,
    tuple_get,
    tuple_new,
    tuple_set,
    tuple_size,
)
from tapegrad.kernels.tools import ADD, TOOL_FIELDS

__all__ = ["COLUMN", "FULL", "ONE", "OTHER", "ROW", "common_shape", "form_of", "has_shape"]
__all__ += ["split_rows", "steps_of", "sum_into"]

FULL, ROW, COLUMN, ONE, OTHER = range(5)


@register_jitable
def has_shape(array: Any, shape: Any) -> Any:
    """Whether an array has the shape of a tuple; a person can set that of one that is shared."""
    ndim = load32(array + NDIM)
    same = tuple_size(shape) == ndim
    for i in range(ndim if same else 0):
        n = load64(load64(array + DIMENSIONS) + 8 * i)
        same = same and own_int(tuple_get(shape, i)) == n
    return same


@register_jitable
def form_of(out_shape: Any, shape: Any) -> Any:
    """The form of an input's shape under the result's, and how many rows it makes."""
    ndim = tuple_size(out_shape)
    lead = ndim - tuple_size(shape)
    # Dimension by dimension: once a broadcast one follows a kept one it is a COLUMN, once a kept
    # one follows a broadcast one a ROW; both are neither.
    kept = types.int64(1)
    spread = types.int64(1)
    row = column = False
    fits = lead >= 0
    for k in range(ndim):
        n = own_int(tuple_get(out_shape, k))
        m = own_int(tuple_get(shape, k - lead)) if fits and k >= lead else types.int64(1)
        if m != n and m != 1:
            fits = False
        elif n != 1 and m == n:
            row = row or spread > 1
            kept *= n
        elif n != 1:
            column = column or kept > 1
            spread *= n
    form = types.int64(OTHER)
    rows = types.int64(1)
    if not fits:
        pass
    elif spread == 1:
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


@register_jitable
def common_shape(x_shape: Any, y_shape: Any) -> Any:
    """The shape in which two are broadcast, of which it is neither: a new tuple; 0: none."""
    m, n = tuple_size(x_shape), tuple_size(y_shape)
    ndim = max(m, n)
    shape = tuple_new(ndim)
    fits = shape != 0
    for k in range(ndim if fits else 0):
        i, j = k - (ndim - m), k - (ndim - n)
        size = tuple_get(y_shape if i < 0 else x_shape, j if i < 0 else i)
        if i >= 0 and j >= 0 and own_int(size) == 1:
            size = tuple_get(y_shape, j)
        elif i >= 0 and j >= 0:
            other = own_int(tuple_get(y_shape, j))
            fits = fits and (other == 1 or other == own_int(size))
        tuple_set(shape, k, held(size))
    if shape != 0 and not fits:
        decref(shape)
        shape = types.int64(0)
    return shape


@register_jitable
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


@register_jitable
def split_rows(array: Any, form: Any, rows: Any) -> Any:
    """In how many rows an operand is to be seen, given how many another wants (1: any); 0: none.

    A matrix whose rows stand apart in memory, such as a slice of another, fixes their number.
    """
    flags = load32(array + FLAGS)
    found = rows
    if flags & ALIGNED == 0:
        found = types.int64(0)
    elif load32(array + NDIM) > 1 and flags & C_CONTIGUOUS == 0:
        own = load64(load64(array + DIMENSIONS))
        strides = load64(array + STRIDES)
        inner = load64(strides + 8)
        # NumPy would lay out the result otherwise where the first dimension isn't the slow one.
        possible = form == FULL and load32(array + NDIM) == 2
        possible = possible and inner > 0 and load64(strides) > inner
        possible = possible and (rows == 1 or rows == own)
        found = own if possible else types.int64(0)
    return found


@register_jitable
def steps_of(array: Any, form: Any, inner: Any, alone: Any) -> Any:
    """The bytes from row to row of an operand, and from element to element.

    ``alone`` is the latter of an array without dimensions.
    """
    ndim = load32(array + NDIM)
    strides = load64(array + STRIDES)
    step = types.int64(alone)
    if ndim > 0:
        # Of dimensions of size 1 NumPy keeps any stride.
        sizes = load64(array + DIMENSIONS)
        last = ndim - 1
        while last > 0 and load64(sizes + 8 * last) == 1:
            last -= 1
        step = load64(strides + 8 * last)
    row = inner * step
    if ndim == 2 and load32(array + FLAGS) & C_CONTIGUOUS == 0:
        row = load64(strides)
        step = load64(strides + 8)
    if form == COLUMN:
        row = step
        step = types.int64(0)
    elif form == ROW:
        row = types.int64(0)
    elif form == ONE:
        row = types.int64(0)
        step = types.int64(0)
    return row, step

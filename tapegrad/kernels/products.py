"""Adjoint kernels of products of batches of matrices: BLAS, with transposes and without copies.

The arguments are those of every structural kernel: see `kernels.structural`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types
from numba.extending import register_jitable

from tapegrad.kernels.blas import product, products, put, room_for
from tapegrad.kernels.native import (
    C_CONTIGUOUS,
    DATA,
    DIMENSIONS,
    FLAGS,
    NDIM,
    STRIDES,
    as_int,
    load32,
    load64,
    size_of,
    tuple_get,
    tuple_size,
)

__all__ = ["KERNELS"]


@register_jitable
def in_equal_batches(record: Any) -> Any:
    """1 if both inputs are as many matrices, none of them broadcast or empty; else 0."""
    params = tuple_get(record, 3)
    x, y = tuple_get(params, 0), tuple_get(params, 1)
    ndim = tuple_size(x)
    equal = ndim == tuple_size(y) and ndim > 2
    for i in range(ndim if equal else 0):
        a, b = as_int(tuple_get(x, i)), as_int(tuple_get(y, i))
        equal = equal and a > 0 and b > 0 and (a == b or i >= ndim - 2)
    return 1 if equal else 0


@register_jitable
def by_the_other(
    zero: Any, tools: Any, array: Any, is_first: Any, out_bar: Any, n: Any, x_bar: Any, m: Any,
    add: Any,
) -> Any:  # fmt: skip
    """x_bar = the array's transposes times out_bar if ``is_first``, else out_bar times these."""
    itemsize = types.int64(size_of(zero))
    last = load32(array + NDIM) - 1
    shape, strides = load64(array + DIMENSIONS), load64(array + STRIDES)
    rows, columns = load64(shape + 8 * (last - 1)), load64(shape + 8 * last)
    turned = (load64(strides + 8 * last), load64(strides + 8 * (last - 1)))
    # One call for the batches of the last dimension of them, which are evenly spaced.
    count, step = load64(shape + 8 * (last - 2)), load64(strides + 8 * (last - 2))
    calls = types.int64(1)
    for i in range(last - 2):
        calls *= load64(shape + 8 * i)
    size = n // (calls * count)  # of a matrix of out_bar
    width = size // rows if is_first else columns
    bars = (size * itemsize, width * itemsize, itemsize)
    out = room_for(zero, x_bar, add, m)
    for call in range(calls if out != 0 else 0):
        at = load64(array + DATA)
        rest = call
        for i in range(last - 3, -1, -1):
            k = load64(shape + 8 * i)
            at += rest % k * load64(strides + 8 * i)
            rest //= k
        bar = out_bar + call * count * size * itemsize
        to = out + call * (m // calls) * itemsize
        if is_first:
            sizes = (count, columns, rows, width)
            products(zero, tools, to, sizes, at, (step, *turned), bar, bars)
        else:
            sizes = (count, size // columns, columns, rows)
            products(zero, tools, to, sizes, bar, bars, at, (step, *turned))
    if out != 0:
        put(zero, x_bar, out, m)
    return 1 if out != 0 else 0


def matmul_x(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    done = in_equal_batches(record)
    if done == 1 and x_bar != 0:
        y = tuple_get(record, 7)
        done = by_the_other(zero, tools, y, False, out_bar, n, x_bar, m, add)
    return done


def matmul_y(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    done = in_equal_batches(record)
    if done == 1 and x_bar != 0:
        x = tuple_get(record, 6)
        done = by_the_other(zero, tools, x, True, out_bar, n, x_bar, m, add)
    return done


@register_jitable
def rows_times_transposed(
    zero: Any, tools: Any, out_bar: Any, y: Any, x_bar: Any, m: Any, add: Any
) -> Any:
    """x_bar (rows, inner) = out_bar (rows, columns) times the transpose of the matrix y."""
    shape, strides = load64(y + DIMENSIONS), load64(y + STRIDES)
    inner, columns = load64(shape), load64(shape + 8)
    itemsize = types.int64(size_of(zero))
    done = 1
    if m > 0:
        done = product(
            zero, tools, x_bar, add, (m // inner, columns, inner),
            out_bar, (columns * itemsize, itemsize),
            load64(y + DATA), (load64(strides + 8), load64(strides)),
        )  # fmt: skip
    return done


def mm_x(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    y = tuple_get(record, 7)
    done = 1
    if x_bar != 0:
        done = rows_times_transposed(zero, tools, out_bar, y, x_bar, m, add)
    return done


def folded_x(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    y = tuple_get(record, 7)
    done = 1 if load32(y + NDIM) == 2 else 0
    if done == 1 and x_bar != 0:
        done = rows_times_transposed(zero, tools, out_bar, y, x_bar, m, add)
    return done


def folded_y(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    # y_bar (inner, columns) = x.T (inner, rows) @ out_bar (rows, columns)
    x = tuple_get(record, 6)
    possible = load32(x + FLAGS) & C_CONTIGUOUS != 0
    done = 1 if possible and tuple_size(tuple_get(tuple_get(record, 3), 1)) == 2 else 0
    if done == 1 and x_bar != 0 and m > 0:
        inner = load64(load64(x + DIMENSIONS) + 8 * (load32(x + NDIM) - 1))
        columns = m // inner
        itemsize = types.int64(size_of(zero))
        done = product(
            zero, tools, x_bar, add, (inner, n // columns, columns),
            load64(x + DATA), (itemsize, inner * itemsize),
            out_bar, (columns * itemsize, itemsize),
        )  # fmt: skip
    return done


#: By the rules' modules and names.
KERNELS: dict[str, Callable[..., Any]] = {
    "linalg.folded_x": folded_x,
    "linalg.folded_y": folded_y,
    "linalg.matmul_x": matmul_x,
    "linalg.matmul_y": matmul_y,
    "linalg.mm_x": mm_x,
}

"""Adjoint kernels of products of matrices, vectors and batches, without copies of transposes.

The arguments are those of every structural kernel: see `kernels.structural`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import carray, types
from numba.extending import register_jitable

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
    pointer_to,
    size_of,
    tuple_get,
    tuple_size,
)
from tapegrad.kernels.parts import product, products

__all__ = ["KERNELS"]

#: So many products of elements are left to Python, which lets go of the GIL meanwhile.
LARGE = 1 << 26


@register_jitable
def is_large(n: Any, other: Any) -> Any:
    """Whether so many products of elements are left to Python."""
    return n * other > LARGE


@register_jitable
def in_equal_batches(record: Any) -> Any:
    """Whether both inputs are as many matrices, none of them broadcast or empty."""
    params = tuple_get(record, 3)
    x, y = tuple_get(params, 0), tuple_get(params, 1)
    ndim = tuple_size(x)
    equal = ndim == tuple_size(y) and ndim > 2
    for i in range(ndim if equal else 0):
        a, b = as_int(tuple_get(x, i)), as_int(tuple_get(y, i))
        equal = equal and a > 0 and b > 0 and (a == b or i >= ndim - 2)
    return equal


@register_jitable
def by_the_other(
    zero: Any, tools: Any, array: Any, is_first: Any, out_bar: Any, n: Any, x_bar: Any, m: Any,
    add: Any,
) -> None:  # fmt: skip
    """x_bar = the array's transposes times out_bar if ``is_first``, else out_bar times these."""
    itemsize = types.int64(size_of(zero))
    last = load32(array + NDIM) - 1
    shape, strides = load64(array + DIMENSIONS), load64(array + STRIDES)
    rows, columns = load64(shape + 8 * (last - 1)), load64(shape + 8 * last)
    turned = (load64(strides + 8 * last), load64(strides + 8 * (last - 1)))
    # One call for the batches of the last two dimensions of them, each of which is evenly spaced.
    count, step = load64(shape + 8 * (last - 2)), load64(strides + 8 * (last - 2))
    outer, far = types.int64(1), types.int64(0)
    if last > 2:
        outer, far = load64(shape + 8 * (last - 3)), load64(strides + 8 * (last - 3))
    calls = types.int64(1)
    for i in range(last - 3):
        calls *= load64(shape + 8 * i)
    size = n // (calls * outer * count)  # of a matrix of out_bar
    width = size // rows if is_first else columns
    bars = (count * size * itemsize, size * itemsize, width * itemsize, itemsize)
    for call in range(calls):
        at = load64(array + DATA)
        rest = call
        for i in range(last - 4, -1, -1):
            k = load64(shape + 8 * i)
            at += rest % k * load64(strides + 8 * i)
            rest //= k
        bar = out_bar + call * (n // calls) * itemsize
        to = x_bar + call * (m // calls) * itemsize
        if is_first:
            sizes = (outer, count, columns, rows, width)
            products(zero, tools, to, add, sizes, at, (far, step, *turned), bar, bars)
        else:
            sizes = (outer, count, size // columns, columns, rows)
            products(zero, tools, to, add, sizes, bar, bars, at, (far, step, *turned))


def matmul_x(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    y = tuple_get(record, 7)
    possible = in_equal_batches(record)
    if possible and x_bar != 0:
        by_the_other(zero, tools, y, False, out_bar, n, x_bar, m, add)
    return 1 if possible else 0


def matmul_y(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    x = tuple_get(record, 6)
    possible = in_equal_batches(record)
    if possible and x_bar != 0:
        by_the_other(zero, tools, x, True, out_bar, n, x_bar, m, add)
    return 1 if possible else 0


@register_jitable
def bar_times(
    zero: Any, matrix: Any, transposed: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any,
    tools: Any,
) -> Any:  # fmt: skip
    """x_bar (rows, inner) = out_bar (rows, columns) times the matrix (columns, inner).

    Or times the transpose of one (inner, columns). Vectors are one row.
    """
    shape, strides = load64(matrix + DIMENSIONS), load64(matrix + STRIDES)
    columns, inner = load64(shape), load64(shape + 8)
    row, step = load64(strides), load64(strides + 8)
    if transposed:
        columns, inner, row, step = inner, columns, step, row
    possible = not is_large(n, inner)
    if possible and x_bar != 0 and m > 0:
        itemsize = types.int64(size_of(zero))
        product(
            zero, tools, x_bar, add, (m // inner, columns, inner),
            out_bar, (columns * itemsize, itemsize), load64(matrix + DATA), (row, step),
        )  # fmt: skip
    return 1 if possible else 0


def times_transposed(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    y = tuple_get(record, 7)
    if load32(y + NDIM) != 2:
        return 0
    return bar_times(zero, y, True, out_bar, n, x_bar, m, add, tools)


def transposed_times(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    """y_bar (inner, columns) = the transpose of the rows of x times out_bar (rows, columns)."""
    x = tuple_get(record, 6)
    ndim = load32(x + NDIM)
    inner = load64(load64(x + DIMENSIONS) + 8 * (ndim - 1))
    itemsize = types.int64(size_of(zero))
    row, step = inner * itemsize, itemsize
    possible = load32(x + FLAGS) & C_CONTIGUOUS != 0
    if ndim == 2:
        row, step, possible = load64(load64(x + STRIDES)), load64(load64(x + STRIDES) + 8), True
    possible = possible and tuple_size(tuple_get(tuple_get(record, 3), 1)) == 2
    possible = possible and not is_large(n, inner)
    if possible and x_bar != 0 and m > 0:
        columns = m // inner
        product(
            zero, tools, x_bar, add, (inner, n // columns, columns), load64(x + DATA), (step, row),
            out_bar, (columns * itemsize, itemsize),
        )  # fmt: skip
    return 1 if possible else 0


def linear_x(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    return bar_times(zero, tuple_get(record, 8), False, out_bar, n, x_bar, m, add, tools)


def linear_y(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    # y_bar (columns, inner) = out_bar.T (columns, rows) @ x (rows, inner)
    x = tuple_get(record, 7)
    inner = load64(load64(x + DIMENSIONS) + 8 * (load32(x + NDIM) - 1))
    possible = load32(x + FLAGS) & C_CONTIGUOUS != 0 and not is_large(n, inner)
    if possible and x_bar != 0 and m > 0:
        columns = m // inner
        itemsize = types.int64(size_of(zero))
        product(
            zero, tools, x_bar, add, (columns, n // columns, inner),
            out_bar, (itemsize, columns * itemsize),
            load64(x + DATA), (inner * itemsize, itemsize),
        )  # fmt: skip
    return 1 if possible else 0


def vector_matrix_y(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    x_array = tuple_get(record, 6)
    possible = load32(x_array + FLAGS) & C_CONTIGUOUS != 0
    if possible and x_bar != 0 and n > 0:
        bar = carray(pointer_to(out_bar, zero), n)
        x = carray(pointer_to(load64(x_array + DATA), zero), m // n)
        y = carray(pointer_to(x_bar, zero), m)
        for i in range(m // n):
            for j in range(n):
                share = x[i] * bar[j]
                y[i * n + j] = y[i * n + j] + share if add else share
    return 1 if possible else 0


def mv_x(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    y_array = tuple_get(record, 7)
    possible = load32(y_array + FLAGS) & C_CONTIGUOUS != 0
    if possible and x_bar != 0 and n > 0:
        bar = carray(pointer_to(out_bar, zero), n)
        y = carray(pointer_to(load64(y_array + DATA), zero), m // n)
        x = carray(pointer_to(x_bar, zero), m)
        for i in range(n):
            for j in range(m // n):
                share = bar[i] * y[j]
                x[i * (m // n) + j] = x[i * (m // n) + j] + share if add else share
    return 1 if possible else 0


def vector_matrix_x(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    return bar_times(zero, tuple_get(record, 7), True, out_bar, n, x_bar, m, add, tools)


def mv_y(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    return bar_times(zero, tuple_get(record, 6), False, out_bar, n, x_bar, m, add, tools)


#: By the rules' modules and names.
KERNELS: dict[str, Callable[..., Any]] = {
    "matrix_products.folded_x": times_transposed,
    "matrix_products.folded_y": transposed_times,
    "linear.linear_x": linear_x,
    "linear.linear_y": linear_y,
    "matrix_products.matmul_x": matmul_x,
    "matrix_products.matmul_y": matmul_y,
    "matrix_products.mm_x": times_transposed,
    "matrix_products.mm_y": transposed_times,
    "matrix_products.mv_x": mv_x,
    "matrix_products.mv_y": mv_y,
    "matrix_products.vector_matrix_x": vector_matrix_x,
    "matrix_products.vector_matrix_y": vector_matrix_y,
}

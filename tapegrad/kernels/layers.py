"""Structural kernels of layers: of small networks, whose replay then stays in the native loop.

The arguments are those of every structural kernel: see `kernels.structural`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import carray, types

from tapegrad.kernels.blas import KINDS, TOOL_FIELDS, product
from tapegrad.kernels.fused.lanes import part
from tapegrad.kernels.fused.softmax import log_softmax_row, softmax_row
from tapegrad.kernels.native import (
    C_CONTIGUOUS,
    DATA,
    DIMENSIONS,
    FLAGS,
    NDIM,
    STRIDES,
    as_int,
    like,
    load32,
    load64,
    pointer_to,
    size_of,
    tuple_get,
    tuple_size,
)

__all__ = ["KERNELS"]

#: Rows of singles that are added up one by one.
LONG_SUM = 512


def linear_x(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    # x_bar (rows, inner) = out_bar (rows, columns) @ y (columns, inner)
    done = 1
    if x_bar != 0 and m > 0:
        y = tuple_get(record, 8)
        shape, strides = load64(y + DIMENSIONS), load64(y + STRIDES)
        columns, inner = load64(shape), load64(shape + 8)
        itemsize = types.int64(size_of(zero))
        done = product(
            zero, tools, x_bar, add, (m // inner, columns, inner),
            out_bar, (columns * itemsize, itemsize),
            load64(y + DATA), (load64(strides), load64(strides + 8)),
        )  # fmt: skip
    return done


def linear_y(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    # y_bar (columns, inner) = out_bar.T (columns, rows) @ x (rows, inner)
    x = tuple_get(record, 7)
    done = 1 if load32(x + FLAGS) & C_CONTIGUOUS != 0 else 0
    if done == 1 and x_bar != 0 and m > 0:
        inner = load64(load64(x + DIMENSIONS) + 8 * (load32(x + NDIM) - 1))
        columns = m // inner
        itemsize = types.int64(size_of(zero))
        done = product(
            zero, tools, x_bar, add, (columns, n // columns, inner),
            out_bar, (itemsize, columns * itemsize),
            load64(x + DATA), (inner * itemsize, itemsize),
        )  # fmt: skip
    return done


def linear_z(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    shape = tuple_get(tuple_get(record, 3), 0)
    rows = types.int64(1)
    for i in range(tuple_size(shape) - 1):
        rows *= as_int(tuple_get(shape, i))
    # Long sums of singles are Python's, which adds them as doubles.
    possible = rows <= LONG_SUM or size_of(zero) == 8
    if possible and x_bar != 0:
        bar = carray(pointer_to(out_bar, zero), n)
        z_bar = carray(pointer_to(x_bar, zero), m)
        for k in range(0 if add else m):
            z_bar[k] = zero
        for i in range(rows):
            row = bar[i * m : (i + 1) * m]
            for k in range(m):
                z_bar[k] += row[k]
    return 1 if possible else 0


def along_the_last_axis(
    name: str, adjoint_of_row: Callable[..., None], is_given: bool = True
) -> Callable[..., Any]:
    """The kernel of a rule that works on rows of the result: its first parameter is the axis.

    Where that isn't given it is the last one, of which the kernel is.
    """

    def kernel(
        zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
    ) -> Any:
        out = tuple_get(record, 6)
        last = load32(out + NDIM) - 1
        possible = load32(out + FLAGS) & C_CONTIGUOUS != 0 and last >= 0
        if is_given:
            possible = possible and as_int(tuple_get(tuple_get(record, 3), 0)) == last
        if possible and x_bar != 0 and n > 0:
            size = load64(load64(out + DIMENSIONS) + 8 * last)
            bar = carray(pointer_to(out_bar, zero), n)
            y = carray(pointer_to(load64(out + DATA), zero), n)
            to = carray(pointer_to(x_bar, zero), n)
            for i in range(n // size):
                adjoint_of_row(part(bar, i, size), part(y, i, size), part(to, i, size), add)
        return 1 if possible else 0

    kernel.__name__ = name
    return kernel


def nll_x(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    # Of a matrix and classes without weights: the index is (the rows, the classes).
    params = tuple_get(record, 3)
    index = tuple_get(params, 0)
    none = carray(pointer_to(tools, types.int64(1)), TOOL_FIELDS)[KINDS + 2]
    possible = tuple_size(index) == 2 and tuple_get(params, 1) == none
    if possible:
        classes = tuple_get(index, 1)
        possible = load32(classes + NDIM) == 1 and load32(classes + FLAGS) & C_CONTIGUOUS != 0
        if possible and x_bar != 0:
            reduction = as_int(tuple_get(params, 2))
            rows = load64(load64(classes + DIMENSIONS))
            target = carray(pointer_to(load64(classes + DATA), types.int64(1)), rows)
            bar = carray(pointer_to(out_bar, zero), n)
            to = carray(pointer_to(x_bar, zero), m)
            for k in range(0 if add else m):
                to[k] = zero
            for i in range(rows):
                share = bar[i if reduction == 0 else 0]
                if reduction == 1:
                    share = like(zero, share / rows)
                to[i * (m // rows) + target[i]] -= share
    return 1 if possible else 0


#: By the rules' modules and names.
KERNELS: dict[str, Callable[..., Any]] = {
    "classification.nll_x": nll_x,
    "linalg.linear_x": linear_x,
    "linalg.linear_y": linear_y,
    "linalg.linear_z": linear_z,
    "softmax.log_softmax_x": along_the_last_axis("log_softmax_x", log_softmax_row),
    "attention.masked_softmax_x": along_the_last_axis("masked_softmax_x", softmax_row, False),
    "softmax.softmax_x": along_the_last_axis("softmax_x", softmax_row),
}

"""Structural kernels of indexing by arrays, of masks, of joining, and of products of vectors.

The arguments are those of every structural kernel: see `kernels.structural`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from numba import carray, types
from numba.extending import register_jitable

from tapegrad.kernels.along import is_dense
from tapegrad.kernels.fused.lanes import part
from tapegrad.kernels.native import (
    DATA,
    DESCR,
    DIMENSIONS,
    NDIM,
    STRIDES,
    TYPE,
    as_float,
    as_int,
    copy_bytes,
    like,
    load32,
    load64,
    pointer_to,
    size_of,
    tuple_get,
    tuple_size,
)
from tapegrad.kernels.spreading import has_shape
from tapegrad.kernels.tools import ARRAY_KIND, BOOL, INT64, KINDS, TOOL_FIELDS
from tapegrad.threads import LARGE_BYTES

__all__ = ["KERNELS"]


@register_jitable
def axis_of(array: Any, axis: Any) -> Any:
    """The number of elements and the bytes from one to the next; 0 bytes where it is repeated."""
    n = load64(load64(array + DIMENSIONS) + 8 * axis)
    return n, load64(load64(array + STRIDES) + 8 * axis) if n != 1 else types.int64(0)


@register_jitable
def grid_of(index: Any, shape: Any, tools: Any) -> Any:
    """An index of one dense array of integers, or of two matrices of them, that broadcast.

    The rows and columns of the positions; the address, the steps and the size of what they count,
    of the first array and of the second (0: there is none). No rows: it is of no such kind.
    """
    known = carray(pointer_to(tools, types.int64(1)), TOOL_FIELDS)
    nothing = types.int64(0)
    possible = load64(index + TYPE) == load64(shape + TYPE)
    count = tuple_size(index) if possible else nothing
    possible = possible and count >= 1 and count <= 2 and count <= tuple_size(shape)
    for i in range(count if possible else 0):
        array = tuple_get(index, i)
        possible = possible and load64(array + TYPE) == known[ARRAY_KIND]
        possible = possible and load64(array + DESCR) == known[INT64]
        possible = possible and (is_dense(array) if count == 1 else load32(array + NDIM) == 2)
    rows = columns = types.int64(0)
    one = other = (nothing, nothing, nothing, nothing)
    if possible and count == 1:
        array = tuple_get(index, 0)
        rows = columns = types.int64(1)
        for k in range(load32(array + NDIM)):
            columns *= load64(load64(array + DIMENSIONS) + 8 * k)
        one = (load64(array + DATA), nothing, types.int64(8), as_int(tuple_get(shape, 0)))
    elif possible:
        x, y = tuple_get(index, 0), tuple_get(index, 1)
        n, x_down = axis_of(x, 0)
        m, x_along = axis_of(x, 1)
        p, y_down = axis_of(y, 0)
        q, y_along = axis_of(y, 1)
        rows, columns = (p if n == 1 else n), (q if m == 1 else m)
        one = (load64(x + DATA), x_down, x_along, as_int(tuple_get(shape, 0)))
        other = (load64(y + DATA), y_down, y_along, as_int(tuple_get(shape, 1)))
    return rows, columns, one, other


@register_jitable
def counted(array: Any, row: Any, column: Any) -> Any:
    """The number at a position of the grid, counted from the start; -1: there is none."""
    data, down, along, n = array
    at = load64(data + row * down + column * along)
    if at < 0:
        at += n
    return at if at >= 0 and at < n else types.int64(-1)


@register_jitable
def position(one: Any, other: Any, row: Any, column: Any) -> Any:
    """Which row of x, or element of a matrix, is taken at a position of the grid; -1: none."""
    at = counted(one, row, column)
    if other[0] != 0:
        then = counted(other, row, column)
        at = -1 if at < 0 or then < 0 else at * other[3] + then
    return at


@register_jitable
def is_within(rows: Any, columns: Any, one: Any, other: Any) -> Any:
    """Whether there is a grid, and all its positions are there: somebody may have changed them."""
    within = rows * columns > 0
    if within and other[0] == 0:
        numbers = carray(pointer_to(one[0], types.int64(0)), columns)
        least = greatest = numbers[0]
        for j in range(columns):
            least, greatest = min(least, numbers[j]), max(greatest, numbers[j])
        within = least >= -one[3] and greatest < one[3]
    elif within:
        for i in range(rows):
            for j in range(columns):
                within = within and position(one, other, i, j) >= 0
    return within


def advanced_x(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    params = tuple_get(record, 3)
    rows, columns, one, other = grid_of(tuple_get(params, 0), tuple_get(params, 1), tools)
    if x_bar == 0:
        return 1 if is_within(rows, columns, one, other) else 0
    bar = carray(pointer_to(out_bar, zero), n)
    to = carray(pointer_to(x_bar, zero), m)
    for i in range(0 if add else m):
        to[i] = zero
    width = n // (rows * columns)
    for i in range(rows):
        for j in range(columns):
            start, given = position(one, other, i, j) * width, (i * columns + j) * width
            for k in range(width):
                to[start + k] += bar[given + k]
    return 1


@register_jitable
def blocks_of(index: Any, axis: Any, shape: Any, total: Any, tools: Any) -> Any:
    """How many blocks an index along an axis goes through, how much it takes of each, the width.

    0 blocks: it is no dense array of integers, or other dimensions are shorter than the array's.
    """
    known = carray(pointer_to(tools, types.int64(1)), TOOL_FIELDS)
    ndim = tuple_size(shape)
    possible = load64(index + TYPE) == known[ARRAY_KIND] and load64(index + DESCR) == known[INT64]
    possible = possible and is_dense(index) and total > 0
    count, width, taken = total, types.int64(1), types.int64(1)
    if ndim > 1:
        possible = possible and load32(index + NDIM) == ndim
    for k in range(load32(index + NDIM) if possible else 0):
        n = load64(load64(index + DIMENSIONS) + 8 * k)
        taken *= n
        if ndim > 1 and k == axis:
            count = n
        elif ndim > 1:
            possible = possible and n == as_int(tuple_get(shape, k))
            width *= n if k > axis else 1
    if not possible or taken != total:
        return types.int64(0), count, width
    return total // (count * width), count, width


def along_x(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    params = tuple_get(record, 3)
    index, axis, shape = tuple_get(params, 0), as_int(tuple_get(params, 1)), tuple_get(params, 2)
    blocks, count, width = blocks_of(index, axis, shape, n, tools)
    size = as_int(tuple_get(shape, axis))
    if x_bar == 0:
        one = (load64(index + DATA) if blocks > 0 else types.int64(0), types.int64(0), n, size)
        other = (types.int64(0), types.int64(0), types.int64(0), types.int64(0))
        return 1 if blocks > 0 and is_within(types.int64(1), n, one, other) else 0
    places = carray(pointer_to(load64(index + DATA), types.int64(0)), n)
    bar = carray(pointer_to(out_bar, zero), n)
    to = carray(pointer_to(x_bar, zero), m)
    for i in range(0 if add else m):
        to[i] = zero
    for b in range(blocks):
        for i in range(b * count, (b + 1) * count):
            for k in range(width):
                at = places[i * width + k]
                at = at + size if at < 0 else at
                to[(b * size + at) * width + k] += bar[i * width + k]
    return 1


def put_y(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    params = tuple_get(record, 3)
    shape, y_shape = tuple_get(params, 1), tuple_get(params, 2)
    rows, columns, one, other = grid_of(tuple_get(params, 0), shape, tools)
    if x_bar == 0:
        # The values that are put have to be as many as the positions.
        taken = rows * columns
        for k in range(2 if other[0] != 0 else 1, tuple_size(shape)):
            taken *= as_int(tuple_get(shape, k))
        given = types.int64(1)
        for k in range(tuple_size(y_shape)):
            given *= as_int(tuple_get(y_shape, k))
        return 1 if taken == given and is_within(rows, columns, one, other) else 0
    bar = carray(pointer_to(out_bar, zero), n)
    to = carray(pointer_to(x_bar, zero), m)
    width = m // (rows * columns)
    for i in range(rows):
        for j in range(columns):
            start, given = position(one, other, i, j) * width, (i * columns + j) * width
            if add:
                for k in range(width):
                    to[given + k] += bar[start + k]
            elif width == 1:
                to[given] = bar[start]
            else:
                size = size_of(zero)
                copy_bytes(x_bar + given * size, out_bar + start * size, width * size)
    return 1


def add_x(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    if x_bar != 0:
        bar = carray(pointer_to(out_bar, zero), m)
        to = carray(pointer_to(x_bar, zero), m)
        for i in range(m):
            to[i] = to[i] + bar[i] if add else bar[i]
    return 1


@register_jitable
def period_of(array: Any) -> Any:
    """After how many elements an array is repeated along its first dimensions; 0: it has gaps."""
    period, step = types.int64(1), types.int64(1)
    repeated = False
    for k in range(load32(array + NDIM) - 1, -1, -1):
        n, stride = axis_of(array, k)
        repeated = repeated or (n != 1 and stride == 0)
        if n != 1 and stride != (0 if repeated else step):
            period = types.int64(0)
        elif not repeated:
            step *= n
            period *= n
    return period


def masked_fill_x(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    params = tuple_get(record, 3)
    mask = tuple_get(params, 0)
    known = carray(pointer_to(tools, types.int64(1)), TOOL_FIELDS)
    possible = load64(mask + TYPE) == known[ARRAY_KIND] and load64(mask + DESCR) == known[BOOL]
    possible = possible and has_shape(mask, tuple_get(params, 1))
    period = period_of(mask) if possible else types.int64(0)
    if period > 0 and x_bar != 0:
        filled = carray(pointer_to(load64(mask + DATA), types.uint8(0)), period)
        bar = carray(pointer_to(out_bar, zero), m)
        to = carray(pointer_to(x_bar, zero), m)
        for i in range(m // period):
            shares, sums = part(bar, i, period), part(to, i, period)
            if add:
                for k in range(period):
                    sums[k] += zero if filled[k] != 0 else shares[k]
            else:
                for k in range(period):
                    sums[k] = zero if filled[k] != 0 else shares[k]
    return 1 if period > 0 else 0


def embedding_x(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    # x_bar (V, C) = the rows of out_bar (*, C), added up at the index. Scales are Python's, and
    # large matrices, whose zeros it gets from the system.
    params = tuple_get(record, 3)
    index, shape = tuple_get(params, 0), tuple_get(params, 2)
    width = as_int(tuple_get(shape, 1))
    small = as_int(tuple_get(shape, 0)) * width * size_of(zero) <= LARGE_BYTES
    known = carray(pointer_to(tools, types.int64(1)), TOOL_FIELDS)
    possible = tuple_get(params, 1) == known[KINDS + 2] and load64(index + DESCR) == known[INT64]
    possible = possible and small and is_dense(index)
    if possible and x_bar != 0:
        to = carray(pointer_to(x_bar, zero), m)
        if not add:
            for k in range(m):
                to[k] = zero
        count = n // width if width > 0 else types.int64(0)
        positions = carray(pointer_to(load64(index + DATA), types.int64(1)), count)
        bar = carray(pointer_to(out_bar, zero), n)
        for i in range(count):
            sums, shares = part(to, positions[i], width), part(bar, i, width)
            for k in range(width):
                sums[k] += shares[k]
    return 1 if possible else 0


@register_jitable
def copy_part(
    zero: Any, bar: Any, to: Any, add: Any, outer: Any, width: Any, step: Any, first: Any
) -> None:
    """``width`` elements of every ``step``, from the ``first`` on: stored or added side by side."""
    for i in range(outer):
        start, at = i * step + first, i * width
        for k in range(width):
            share = bar[start + k]
            to[at + k] = to[at + k] + share if add else share


def part_of(index: int, new_axis: bool) -> Callable[..., Any]:
    """The kernel of an input of ``cat`` or ``stack``: the part of the adjoint that it gave."""

    def kernel(
        zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
    ) -> Any:
        params = tuple_get(record, 3)
        axis, shapes = as_int(tuple_get(params, 0)), tuple_get(params, 1)
        own = tuple_get(shapes, index)
        if x_bar != 0:
            before = total = types.int64(0)
            for i in range(tuple_size(shapes)):
                size = types.int64(1)
                if not new_axis:
                    size = as_int(tuple_get(tuple_get(shapes, i), axis))
                total += size
                before += size if i < index else 0
            outer = inner = types.int64(1)
            for k in range(tuple_size(own)):
                size = as_int(tuple_get(own, k))
                outer *= size if k < axis else 1
                inner *= size if k > axis or (new_axis and k == axis) else 1
            width = m // outer if outer > 0 else types.int64(0)
            bar = carray(pointer_to(out_bar, zero), n)
            to = carray(pointer_to(x_bar, zero), m)
            copy_part(zero, bar, to, add, outer, width, total * inner, before * inner)
        return 1

    kernel.__name__ = f"{'stack' if new_axis else 'cat'}_{index}"
    return kernel


@register_jitable
def times_vector(zero: Any, vector: Any, out_bar: Any, x_bar: Any, m: Any, add: Any) -> Any:
    possible = is_dense(vector)
    if possible and x_bar != 0:
        bar = carray(pointer_to(out_bar, zero), 1)[0]
        y = carray(pointer_to(load64(vector + DATA), zero), m)
        to = carray(pointer_to(x_bar, zero), m)
        for i in range(m):
            share = bar * y[i]
            to[i] = to[i] + share if add else share
    return 1 if possible else 0


def dot_x(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    return times_vector(zero, tuple_get(record, 7), out_bar, x_bar, m, add)


def dot_y(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    return times_vector(zero, tuple_get(record, 6), out_bar, x_bar, m, add)


def of_difference(name: str, sign: int, is_huber: bool) -> Callable[..., Any]:
    """The kernel of mse or Huber's loss of x - y, for x, or for y with a negative sign."""

    def kernel(
        zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
    ) -> Any:
        x_array, y_array = tuple_get(record, 6), tuple_get(record, 7)
        possible = is_dense(x_array) and is_dense(y_array)
        if possible and x_bar != 0:
            params = tuple_get(record, 3)
            # The derivative of the square is the difference over a half, of any size.
            most, unit, at = like(zero, math.inf), like(zero, 0.5 * sign), 0
            if is_huber:
                most = like(zero, as_float(tuple_get(params, 0)))
                unit, at = like(zero, as_float(tuple_get(params, 1)) * sign), 2
            reduction = as_int(tuple_get(params, at))
            x = carray(pointer_to(load64(x_array + DATA), zero), m)
            y = carray(pointer_to(load64(y_array + DATA), zero), m)
            bar = carray(pointer_to(out_bar, zero), n)
            to = carray(pointer_to(x_bar, zero), m)
            for i in range(m):
                part = bar[i if reduction == 0 else 0]
                if reduction == 1:
                    part = like(zero, part / m)
                slope = x[i] - y[i]
                slope = most if slope > most else -most if slope < -most else slope
                share = part * (slope / unit)
                to[i] = to[i] + share if add else share
        return 1 if possible else 0

    kernel.__name__ = name
    return kernel


#: By the rules' modules and names; of a variadic primitive one for each of the first inputs.
KERNELS: dict[str, Any] = {
    "embedding.embedding_x": embedding_x,
    "gathering.add_x": add_x,
    "gathering.along_x": along_x,
    "gathering.masked_fill_x": masked_fill_x,
    "indexing.advanced_x": advanced_x,
    "indexing.put_y": put_y,
    "joining.cat_x": tuple(part_of(i, False) for i in range(3)),
    "joining.stack_x": tuple(part_of(i, True) for i in range(3)),
    "losses.huber_x": of_difference("huber_x", 1, True),
    "losses.huber_y": of_difference("huber_y", -1, True),
    "losses.mse_x": of_difference("mse_x", 1, False),
    "losses.mse_y": of_difference("mse_y", -1, False),
    "matrix_products.dot_x": dot_x,
    "matrix_products.dot_y": dot_y,
    "sorting.sorted_x": along_x,  # of positions that don't repeat
}

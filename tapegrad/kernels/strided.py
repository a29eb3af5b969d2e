"""Adjoint kernels of what moves elements, or hides some: parts, dimensions in another order, masks.

The arguments are those of every structural kernel: see `kernels.structural`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import carray, types
from numba.cpython.unsafe.tuple import tuple_setitem as tuple_set_item

from tapegrad.kernels.fused.lanes import part_at
from tapegrad.kernels.native import (
    TYPE,
    as_int,
    load64,
    pointer_to,
    slice_adjust,
    slice_unpack,
    tuple_get,
    tuple_size,
    vector,
)
from tapegrad.kernels.tools import KINDS, TOOL_FIELDS

__all__ = ["KERNELS"]

#: Columns of a matrix that are read together: a line of the cache of each.
BLOCK = 16


def basic_x(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    # The part that the index takes of x has the result's adjoint, the rest has none.
    params = tuple_get(record, 3)
    index = tuple_get(params, 0)
    shape = tuple_get(params, tuple_size(params) - 1)
    ndim = tuple_size(shape)
    loops = carray(pointer_to(tools, types.int64(1)), TOOL_FIELDS)
    slice_type, int_type, none = loops[KINDS], loops[KINDS + 1], loops[KINDS + 2]
    possible = ndim <= 3 and load64(index + TYPE) == load64(shape + TYPE)
    # Up to three dimensions of x: the first element, the step and the number of elements of each.
    starts = (types.int64(0), types.int64(0), types.int64(0))
    steps = (types.int64(1), types.int64(1), types.int64(1))
    counts = (types.int64(1), types.int64(1), types.int64(1))
    sizes = (types.int64(1), types.int64(1), types.int64(1))
    found = types.int64(0)
    total = types.int64(1)
    if possible:
        for k in range(ndim):
            sizes = tuple_set_item(sizes, k, as_int(tuple_get(shape, k)))
            counts = tuple_set_item(counts, k, as_int(tuple_get(shape, k)))
        room = vector()
        named = types.int64(0)
        for k in range(tuple_size(index)):
            kind = load64(tuple_get(index, k) + TYPE)
            named += 1 if kind in (slice_type, int_type) else 0
        for k in range(tuple_size(index)):
            item = tuple_get(index, k)
            kind = load64(item + TYPE)
            if item == none:
                continue
            if kind == loops[KINDS + 3]:
                # An ellipsis leaves the dimensions that nothing else names as they are.
                found += ndim - named
                continue
            if found >= ndim or (kind != slice_type and kind != int_type):
                possible = False
                break
            size = as_int(tuple_get(shape, found))
            if kind == int_type:
                at = as_int(item)
                starts = tuple_set_item(starts, found, at + size if at < 0 else at)
                counts = tuple_set_item(counts, found, types.int64(1))
            else:
                slice_unpack(item, room, room + 8, room + 16)
                count = slice_adjust(size, room, room + 8, load64(room + 16))
                starts = tuple_set_item(starts, found, load64(room))
                steps = tuple_set_item(steps, found, load64(room + 16))
                counts = tuple_set_item(counts, found, count)
            found += 1
        total = counts[0] * counts[1] * counts[2]
    possible = possible and (x_bar == 0 or total == n)
    if possible and x_bar != 0:
        bar = carray(pointer_to(out_bar, zero), n)
        x = carray(pointer_to(x_bar, zero), m)
        if not add:
            for i in range(m):
                x[i] = zero
        at = 0
        for i in range(counts[0]):
            for j in range(counts[1]):
                row = (starts[0] + i * steps[0]) * sizes[1] + starts[1] + j * steps[1]
                row = row * sizes[2] + starts[2]
                if steps[2] == 1:
                    to = x[row : row + counts[2]]
                    part = bar[at : at + counts[2]]
                    for k in range(counts[2]):
                        to[k] += part[k]
                else:
                    for k in range(counts[2]):
                        x[row + k * steps[2]] += bar[at + k]
                at += counts[2]
    return 1 if possible else 0


def transpose_x(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    params = tuple_get(record, 3)
    axes, shape = tuple_get(params, 0), tuple_get(params, 1)
    ndim = tuple_size(shape)
    possible = ndim <= 4
    if possible and x_bar != 0:
        # Up to four dimensions of x, the last ones: their sizes, and their steps in out_bar.
        sizes = (types.int64(1), types.int64(1), types.int64(1), types.int64(1))
        steps = (types.int64(1), types.int64(1), types.int64(1), types.int64(1))
        step = types.int64(1)
        for k in range(ndim - 1, -1, -1):
            axis = as_int(tuple_get(axes, k))
            size = as_int(tuple_get(shape, axis))
            sizes = tuple_set_item(sizes, 4 - ndim + axis, size)
            steps = tuple_set_item(steps, 4 - ndim + axis, step)
            step *= size
        bar = carray(pointer_to(out_bar, zero), n)
        x = carray(pointer_to(x_bar, zero), m)
        for i in range(sizes[0]):
            for j in range(sizes[1]):
                first = i * steps[0] + j * steps[1]
                at = (i * sizes[1] + j) * sizes[2] * sizes[3]
                if steps[3] == 1:
                    for k in range(sizes[2]):
                        row = part_at(bar, first + k * steps[2], sizes[3])
                        to = part_at(x, at + k * sizes[3], sizes[3])
                        for h in range(sizes[3]):
                            to[h] = to[h] + row[h] if add else row[h]
                else:
                    for block in range(0, sizes[3], BLOCK):
                        end = min(block + BLOCK, sizes[3])
                        for k in range(sizes[2]):
                            row = first + k * steps[2]
                            for h in range(block, end):
                                share = bar[row + h * steps[3]]
                                old = x[at + k * sizes[3] + h]
                                x[at + k * sizes[3] + h] = old + share if add else share
    return 1 if possible else 0


#: By the rules' modules and names.
KERNELS: dict[str, Callable[..., Any]] = {
    "indexing.basic_x": basic_x,
    "permuting.transpose_x": transpose_x,
}

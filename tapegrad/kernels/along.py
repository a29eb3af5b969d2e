"""Structural kernels of reductions of several kinds, along dimensions that stand side by side.

The arguments are those of every structural kernel: see `kernels.structural`. Around the dimensions
an array is a block of (outer, middle, inner) elements.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import carray, types
from numba.extending import register_jitable

from tapegrad.kernels import vectormath
from tapegrad.kernels.native import (
    C_CONTIGUOUS,
    DATA,
    DESCR,
    FLAGS,
    as_float,
    as_int,
    like,
    load32,
    load64,
    pointer_to,
    tuple_get,
    tuple_size,
)
from tapegrad.kernels.tools import INT64, TOOL_FIELDS

__all__ = ["KERNELS"]


@register_jitable
def block_around(shape: Any, axes: Any) -> Any:
    """The numbers of elements before, along and after dimensions; no elements: not side by side."""
    sizes = (types.int64(1), types.int64(1), types.int64(1))
    count = tuple_size(axes)
    first = as_int(tuple_get(axes, 0)) if count > 0 else types.int64(0)
    outer, middle, inner = sizes
    for k in range(tuple_size(shape)):
        n = as_int(tuple_get(shape, k))
        if k < first:
            outer *= n
        elif k < first + count:
            middle *= n
        else:
            inner *= n
    for i in range(count):
        if as_int(tuple_get(axes, i)) != first + i:
            middle = types.int64(0)
    return outer, middle, inner


@register_jitable
def is_dense(array: Any) -> Any:
    return load32(array + FLAGS) & C_CONTIGUOUS != 0


def times_factor(
    name: str, factor: Callable[..., Any], suits: Callable[..., Any]
) -> Callable[..., Any]:
    """The kernel of a rule ``out_bar * factor(x, out)``, for records that it suits."""
    factor = register_jitable(inline="always")(factor)
    suits = register_jitable(inline="always")(suits)

    def kernel(
        zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
    ) -> Any:
        params = tuple_get(record, 3)
        x_array, out_array = tuple_get(record, 5), tuple_get(record, 6)
        shape = tuple_get(params, tuple_size(params) - 1)
        outer, middle, inner = block_around(shape, tuple_get(params, 0))
        size = outer * middle * inner
        possible = size > 0 and is_dense(x_array) and is_dense(out_array)
        if possible:
            x = carray(pointer_to(load64(x_array + DATA), zero), size)
            possible = suits(params, x)
            if possible and x_bar != 0:
                out = carray(pointer_to(load64(out_array + DATA), zero), n)
                bar = carray(pointer_to(out_bar, zero), n)
                to = carray(pointer_to(x_bar, zero), m)
                for i in range(outer):
                    for k in range(middle):
                        row = (i * middle + k) * inner
                        for j in range(inner):
                            share = bar[i * inner + j] * factor(x[row + j], out[i * inner + j])
                            to[row + j] = to[row + j] + share if add else share
        return 1 if possible else 0

    kernel.__name__ = name
    return kernel


def weight(x: Any, out: Any) -> Any:
    return vectormath.exp(x - out)


def direction(x: Any, out: Any) -> Any:
    return x / out if out != 0 else x * like(x, 0)


def product_of_others(x: Any, out: Any) -> Any:
    return out / x


def always(params: Any, x: Any) -> Any:
    return True


def is_euclidean(params: Any, x: Any) -> Any:
    return as_float(tuple_get(params, 2)) == 2


def has_no_zero(params: Any, x: Any) -> Any:
    found = True
    for i in range(x.size):
        found = found and x[i] != 0
    return found


def shared_x(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    # All that attain the extremum, or are nan, share alike.
    params = tuple_get(record, 3)
    x_array, out_array = tuple_get(record, 5), tuple_get(record, 6)
    shape = tuple_get(params, tuple_size(params) - 1)
    outer, middle, inner = block_around(shape, tuple_get(params, 0))
    possible = outer * middle * inner > 0 and is_dense(x_array) and is_dense(out_array)
    if possible and x_bar != 0:
        x = carray(pointer_to(load64(x_array + DATA), zero), m)
        out = carray(pointer_to(load64(out_array + DATA), zero), n)
        bar = carray(pointer_to(out_bar, zero), n)
        to = carray(pointer_to(x_bar, zero), m)
        for i in range(outer):
            for j in range(inner):
                at, start = i * inner + j, i * middle * inner + j
                count = 0
                for k in range(start, start + middle * inner, inner):
                    count += x[k] == out[at] or x[k] != x[k]
                share = like(zero, bar[at] / count) if count > 0 else zero
                for k in range(start, start + middle * inner, inner):
                    part = share if x[k] == out[at] or x[k] != x[k] else zero
                    to[k] = to[k] + part if add else part
    return 1 if possible else 0


def chosen_x(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    params = tuple_get(record, 3)
    index = tuple_get(params, 2)
    outer, middle, inner = block_around(tuple_get(params, 3), tuple_get(params, 0))
    numbers = carray(pointer_to(tools, types.int64(1)), TOOL_FIELDS)[INT64]
    possible = tuple_size(tuple_get(params, 0)) == 1 and outer * middle * inner > 0
    possible = possible and is_dense(index) and load64(index + DESCR) == numbers
    if possible and x_bar != 0:
        chosen = carray(pointer_to(load64(index + DATA), types.int64(1)), n)
        bar = carray(pointer_to(out_bar, zero), n)
        to = carray(pointer_to(x_bar, zero), m)
        for i in range(outer):
            for k in range(middle):
                row = (i * middle + k) * inner
                for j in range(inner):
                    at = i * inner + j
                    share = bar[at] if chosen[at] == k else zero
                    to[row + j] = to[row + j] + share if add else share
    return 1 if possible else 0


def var_x(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    params = tuple_get(record, 3)
    x_array = tuple_get(record, 5)
    outer, middle, inner = block_around(tuple_get(params, 3), tuple_get(params, 0))
    free = middle - as_float(tuple_get(params, 2))
    possible = outer * middle * inner > 0 and free != 0 and is_dense(x_array)
    if possible and x_bar != 0:
        x = carray(pointer_to(load64(x_array + DATA), zero), m)
        bar = carray(pointer_to(out_bar, zero), n)
        to = carray(pointer_to(x_bar, zero), m)
        scale = like(zero, 2.0 / free)
        for i in range(outer):
            for j in range(inner):
                start = i * middle * inner + j
                total = types.float64(0)
                for k in range(start, start + middle * inner, inner):
                    total += x[k]
                mean = like(zero, total / middle)
                for k in range(start, start + middle * inner, inner):
                    share = bar[i * inner + j] * scale * (x[k] - mean)
                    to[k] = to[k] + share if add else share
    return 1 if possible else 0


def flip_x(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    params = tuple_get(record, 3)
    axes, shape = tuple_get(params, 0), tuple_get(params, 1)
    possible = tuple_size(axes) == 1 and tuple_size(shape) > 0
    if possible and x_bar != 0:
        outer, middle, inner = block_around(shape, axes)
        bar = carray(pointer_to(out_bar, zero), n)
        to = carray(pointer_to(x_bar, zero), m)
        for i in range(outer):
            for k in range(middle):
                row, turned = (i * middle + k) * inner, (i * middle + middle - 1 - k) * inner
                for j in range(inner):
                    share = bar[turned + j]
                    to[row + j] = to[row + j] + share if add else share
    return 1 if possible else 0


#: By the rules' modules and names.
KERNELS: dict[str, Callable[..., Any]] = {
    "extrema.chosen_x": chosen_x,
    "extrema.shared_x": shared_x,
    "flipping.flip_x": flip_x,
    "reductions.prod_x": times_factor("prod_x", product_of_others, has_no_zero),
    "statistics.logsumexp_x": times_factor("logsumexp_x", weight, always),
    "statistics.norm_x": times_factor("norm_x", direction, is_euclidean),
    "statistics.var_x": var_x,
}

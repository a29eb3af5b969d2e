"""Adjoint kernels of reductions along one dimension.

See `tapegrad.kernels.structural`, which has what they are given. Around a dimension an array is a
block of (outer, middle, inner) elements.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import carray, types
from numba.extending import register_jitable

from tapegrad.kernels.native import as_int, like, pointer_to, tuple_get, tuple_size

__all__ = ["KERNELS"]


@register_jitable
def sizes_around(shape: Any, axis: Any) -> Any:
    """The numbers of elements before, along and after a dimension of a shape."""
    outer, inner = types.int64(1), types.int64(1)
    for k in range(axis):
        outer *= as_int(tuple_get(shape, k))
    for k in range(axis + 1, tuple_size(shape)):
        inner *= as_int(tuple_get(shape, k))
    return outer, as_int(tuple_get(shape, axis)), inner


@register_jitable
def spread(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, mean: Any
) -> Any:
    params = tuple_get(record, 3)
    axes = tuple_get(params, 0)
    possible = tuple_size(axes) == 1
    if possible and x_bar != 0 and m > 0:
        shape = tuple_get(params, 2)
        outer, middle, inner = sizes_around(shape, as_int(tuple_get(axes, 0)))
        bar = carray(pointer_to(out_bar, zero), n)
        x = carray(pointer_to(x_bar, zero), m)
        if inner == 1:
            for i in range(outer):
                share = like(zero, bar[i] / middle) if mean else bar[i]
                for k in range(i * middle, (i + 1) * middle):
                    x[k] = x[k] + share if add else share
        else:
            for i in range(outer):
                for k in range(middle):
                    row = (i * middle + k) * inner
                    for j in range(inner):
                        share = bar[i * inner + j]
                        if mean:
                            share = like(zero, share / middle)
                        x[row + j] = x[row + j] + share if add else share
    return 1 if possible else 0


def sum_x(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    return spread(zero, record, out_bar, n, x_bar, m, add, False)


def mean_x(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    return spread(zero, record, out_bar, n, x_bar, m, add, True)


def cumsum_x(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    # The running sum from the end.
    params = tuple_get(record, 3)
    possible = tuple_size(tuple_get(params, 1)) > 0
    if possible and x_bar != 0 and m > 0:
        outer, middle, inner = sizes_around(tuple_get(params, 1), as_int(tuple_get(params, 0)))
        bar = carray(pointer_to(out_bar, zero), n)
        x = carray(pointer_to(x_bar, zero), m)
        for i in range(outer):
            for j in range(inner):
                total = types.float64(0)
                for k in range(middle):
                    at = (i * middle + middle - 1 - k) * inner + j
                    total += bar[at]
                    share = like(zero, total)
                    x[at] = x[at] + share if add else share
    return 1 if possible else 0


#: By the rules' modules and names.
KERNELS: dict[str, Callable[..., Any]] = {
    "reductions.sum_x": sum_x,
    "reductions.mean_x": mean_x,
    "reductions.cumsum_x": cumsum_x,
}

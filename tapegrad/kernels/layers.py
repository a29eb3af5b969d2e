"""Structural kernels of layers: of small networks, whose replay then stays in the native loop.

The arguments are those of every structural kernel: see `kernels.structural`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import carray, types
from numba.extending import register_jitable

from tapegrad.fused import ROWS
from tapegrad.kernels.fused.lanes import part, part_at, total_of
from tapegrad.kernels.fused.normalization import (
    layer_rows,
    moments_of_runs,
    scale_of,
    standard_rows,
    sums_along,
    weight_rows,
)
from tapegrad.kernels.fused.softmax import log_softmax_row, softmax_row
from tapegrad.kernels.native import (
    C_CONTIGUOUS,
    DATA,
    DESCR,
    DIMENSIONS,
    FLAGS,
    NDIM,
    allocate,
    as_float,
    as_int,
    like,
    load32,
    load64,
    pointer_to,
    release,
    size_of,
    tuple_get,
    tuple_size,
)
from tapegrad.kernels.tools import KINDS, TOOL_FIELDS

__all__ = ["KERNELS"]


@register_jitable
def sum_of_rows(zero: Any, bar: Any, n: Any, x_bar: Any, m: Any, add: Any) -> Any:
    """x_bar (m) = the sum of rows; returns 1, or 0 if there is no memory."""
    room = allocate(8 * m) if m > 0 else types.int64(0)
    if room != 0:
        totals = carray(pointer_to(room, 0.0), m)
        for k in range(m):
            totals[k] = 0.0
        rows = n // m
        r = 0
        while r + 4 <= rows:
            one, two = part(bar, r, m), part(bar, r + 1, m)
            three, four = part(bar, r + 2, m), part(bar, r + 3, m)
            for k in range(m):
                totals[k] += (one[k] + two[k]) + (three[k] + four[k])
            r += 4
        while r < rows:
            row = part(bar, r, m)
            for k in range(m):
                totals[k] += row[k]
            r += 1
        put_totals(zero, totals, carray(pointer_to(x_bar, zero), m), add)
        release(room)
    return 1 if room != 0 or m == 0 else 0


@register_jitable
def put_totals(zero: Any, totals: Any, to: Any, add: Any) -> None:
    for k in range(totals.size):
        to[k] = like(zero, to[k] + totals[k]) if add else like(zero, totals[k])


def linear_z(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    done = 1
    if x_bar != 0:
        done = sum_of_rows(zero, carray(pointer_to(out_bar, zero), n), n, x_bar, m, add)
    return done


@register_jitable
def rows_of_layer(record: Any, x: Any) -> Any:
    """The elements of a row of layer norm; 0 where the rows aren't for the native loop."""
    params = tuple_get(record, 3)
    lead = as_int(tuple_get(tuple_get(params, 1), 0))
    shape, affine = tuple_get(params, 0), tuple_get(params, 2)
    n = types.int64(1)
    for k in range(tuple_size(shape)):
        size = as_int(tuple_get(shape, k))
        n *= size if k >= lead else 1
        if as_int(tuple_get(affine, k)) != (size if k >= lead else 1):  # as may be under vmap
            n = types.int64(0)
    return n if load32(x + FLAGS) & C_CONTIGUOUS != 0 else types.int64(0)


@register_jitable
def fits(y: Any, x: Any) -> Any:
    """Whether a weight is in one run of memory and of the dtype of x, or missing."""
    usual = load32(y + FLAGS) & C_CONTIGUOUS != 0 and load64(x + DESCR) == load64(y + DESCR)
    return load32(y + NDIM) == 0 or usual


@register_jitable
def weights_at(zero: Any, y: Any, size: Any) -> Any:
    """Where the weights are, of which an array may be missing; and new ones, to be released."""
    at = room = types.int64(0)
    if y != 0 and load32(y + NDIM) > 0:
        at = load64(y + DATA)
    else:
        at = room = allocate(size * size_of(zero))
        if room != 0:
            ones = carray(pointer_to(room, zero), size)
            for k in range(size):
                ones[k] = like(zero, 1)
    return at, room


def adjoint_of_layer(name: str, inputs: int, centred: bool) -> Callable[..., Any]:
    """The kernel of a rule for x of layer norm, or of another of so many inputs."""

    def kernel(
        zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
    ) -> Any:
        x = tuple_get(record, 4 + inputs)
        y = tuple_get(record, 5 + inputs) if inputs > 1 else types.int64(0)
        size = rows_of_layer(record, x)
        done = 1 if size > 0 and (y == 0 or fits(y, x)) else 0
        if done == 1 and x_bar != 0:
            eps = like(zero, as_float(tuple_get(tuple_get(record, 3), 3)))
            bar = carray(pointer_to(out_bar, zero), n)
            rows = carray(pointer_to(load64(x + DATA), zero), n)
            to = carray(pointer_to(x_bar, zero), n)
            weights, room = weights_at(zero, y, size)
            if weights == 0:
                return 0
            weight = carray(pointer_to(weights, zero), size)
            layer_rows(bar, rows, weight, to, n // size, size, centred, eps, add)
            if room != 0:
                release(room)
        return done

    kernel.__name__ = name
    return kernel


def adjoint_of_weight(name: str, inputs: int, centred: bool) -> Callable[..., Any]:
    """The same for the weight."""

    def kernel(
        zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
    ) -> Any:
        x_array = tuple_get(record, 4 + inputs)
        done = 1 if rows_of_layer(record, x_array) > 0 else 0
        if done == 1 and x_bar != 0:
            x = carray(pointer_to(load64(x_array + DATA), zero), n)
            bar = carray(pointer_to(out_bar, zero), n)
            eps = like(zero, as_float(tuple_get(tuple_get(record, 3), 3)))
            room = allocate((8 + size_of(zero)) * m)
            done = 1 if room != 0 else 0
            if room != 0:
                totals = carray(pointer_to(room, 0.0), m)
                some = carray(pointer_to(room + 8 * m, zero), m)
                for k in range(m):
                    totals[k] = 0.0
                for first in range(0, n // m, ROWS):
                    last = min(first + ROWS, n // m)
                    weight_rows(first, last, bar, x, some, m, centred, eps)
                    for k in range(m):
                        totals[k] += some[k]
                put_totals(zero, totals, carray(pointer_to(x_bar, zero), m), add)
                release(room)
        return done

    kernel.__name__ = name
    return kernel


def layer_z(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    params = tuple_get(record, 3)
    done = 1
    # Under vmap each sample may have its own.
    lead = as_int(tuple_get(tuple_get(params, 1), 0))
    for k in range(lead):
        done &= as_int(tuple_get(tuple_get(params, 2), k)) == 1
    if done == 1 and x_bar != 0:
        done = sum_of_rows(zero, carray(pointer_to(out_bar, zero), n), n, x_bar, m, add)
    return done


@register_jitable
def runs_of_group(record: Any) -> Any:
    """Of group norm: groups, the runs of a row, and the elements of a run.

    There are no groups where the rows aren't for the native loop, as may be under vmap.
    """
    params = tuple_get(record, 3)
    shape, axes, affine = tuple_get(params, 0), tuple_get(params, 1), tuple_get(params, 2)
    groups, pieces, inner = types.int64(0), types.int64(1), types.int64(1)
    if tuple_size(axes) > 0 and as_int(tuple_get(axes, 0)) == 2:
        pieces = max(as_int(tuple_get(affine, 2)), 1)
        for k in range(2, tuple_size(shape)):
            inner *= as_int(tuple_get(shape, k))
        inner //= pieces
        groups = as_int(tuple_get(shape, 1)) if inner > 1 else types.int64(0)
    return groups, pieces, inner


def group_x(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    x_array, y = tuple_get(record, 7), tuple_get(record, 8)
    groups, pieces, inner = runs_of_group(record)
    possible = load32(x_array + FLAGS) & C_CONTIGUOUS != 0 and fits(y, x_array)
    done = 1 if groups > 0 and possible else 0
    if done == 1 and x_bar != 0:
        eps = like(zero, as_float(tuple_get(tuple_get(record, 3), 3)))
        bar = carray(pointer_to(out_bar, zero), n)
        x = carray(pointer_to(load64(x_array + DATA), zero), n)
        to = carray(pointer_to(x_bar, zero), n)
        rows = n // (pieces * inner)
        weights, ones = weights_at(zero, y, groups * pieces)
        room = allocate(size_of(zero) * 2 * rows * (1 + pieces))
        done = 1 if weights != 0 and room != 0 else 0
        if done == 1:
            weight = carray(pointer_to(weights, zero), groups * pieces)
            space = carray(pointer_to(room, zero), 2 * rows * (1 + pieces))
            standard_rows(
                0, rows, bar, x, weight, space[:rows], space[rows : 2 * rows], to,
                space[2 * rows :], pieces, inner, pieces * inner, inner, groups, pieces, 1, False,
                eps, add,
            )  # fmt: skip
        if room != 0:
            release(room)
        if ones != 0:
            release(ones)
    return done


def adjoint_of_channels(name: str, of_weight: bool) -> Callable[..., Any]:
    """The kernel of a rule for the weight of group norm, or for the bias."""

    def kernel(
        zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
    ) -> Any:
        groups, pieces, inner = runs_of_group(record)
        data = out_bar
        done = 1 if groups > 0 else 0
        if of_weight:
            x_array = tuple_get(record, 7)
            data = load64(x_array + DATA)
            done = done if load32(x_array + FLAGS) & C_CONTIGUOUS != 0 else 0
        room = allocate(8 * m) if done == 1 and x_bar != 0 and m > 0 else types.int64(0)
        if room != 0:
            eps = like(zero, as_float(tuple_get(tuple_get(record, 3), 3)))
            bar, x = carray(pointer_to(out_bar, zero), n), carray(pointer_to(data, zero), n)
            totals = carray(pointer_to(room, 0.0), m)
            for k in range(m):
                totals[k] = 0.0
            size = pieces * inner
            for r in range(n // size):
                mean = scale = zero
                if of_weight:
                    mean, var = moments_of_runs(x, r * size, pieces, inner, inner, eps)
                    scale = scale_of(var, eps)
                for p in range(pieces):
                    at = r * size + p * inner
                    share, run = part_at(bar, at, inner), part_at(x, at, inner)
                    channel = r % groups * pieces + p
                    if of_weight:
                        totals[channel] += sums_along(share, run, mean)[1] * scale
                    else:
                        totals[channel] += total_of(share)
            put_totals(zero, totals, carray(pointer_to(x_bar, zero), m), add)
            release(room)
        elif x_bar != 0 and m > 0:
            done = 0
        return done

    kernel.__name__ = name
    return kernel


def along_the_last_axis(name: str, adjoint_of_row: Callable[..., None]) -> Callable[..., Any]:
    """The kernel of a rule that works on rows of the result, along its last axis."""

    def kernel(
        zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
    ) -> Any:
        out = tuple_get(record, 6)
        axis = as_int(tuple_get(tuple_get(record, 3), 0))
        possible = load32(out + FLAGS) & C_CONTIGUOUS != 0 and axis == load32(out + NDIM) - 1
        if possible and x_bar != 0 and n > 0:
            size = load64(load64(out + DIMENSIONS) + 8 * axis)
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
    "layer_norms.bare_layer_x": adjoint_of_layer("bare_layer_x", 1, True),
    "layer_norms.bare_rms_x": adjoint_of_layer("bare_rms_x", 1, False),
    "layer_norms.layer_x": adjoint_of_layer("layer_x", 3, True),
    "layer_norms.layer_y": adjoint_of_weight("layer_y", 3, True),
    "layer_norms.layer_z": layer_z,
    "layer_norms.rms_x": adjoint_of_layer("rms_x", 2, False),
    "layer_norms.rms_y": adjoint_of_weight("rms_y", 2, False),
    "linear.linear_z": linear_z,
    "normalization.group_x": group_x,
    "normalization.group_y": adjoint_of_channels("group_y", True),
    "normalization.group_z": adjoint_of_channels("group_z", False),
    "softmax.log_softmax_x": along_the_last_axis("log_softmax_x", log_softmax_row),
    "softmax.softmax_x": along_the_last_axis("softmax_x", softmax_row),
}

"""Attention of some queries at a time: `rules.ondemand.dotproducts` tells what it computes.

What a block of queries gives to all keys is a matrix that stays in the cache; that of all queries
is never written out, and the adjoint computes it again (Rabe and Staats, *Self-attention does not
need O(n^2) memory*, 2021; Dao et al., *FlashAttention*, 2022). Under a causal mask only the keys
before the end of a block are looked at.

Queries, keys and values are given as the ids of arrays (..., rows, columns) of any strides, and so
is what is hidden, or 0. In ``room`` each part of the work has the weights of a block of queries,
and the adjoint also theirs.
"""

from __future__ import annotations

from typing import Any

from numba import carray, types
from numba.extending import register_jitable

from tapegrad.kernels import vectormath as np
from tapegrad.kernels.fused.lanes import Array, Indices, Int, Real, Tools, part_at
from tapegrad.kernels.fused.rows import HEIGHT, softmax_adjoint, softmax_row, softmax_rows
from tapegrad.kernels.fused.vectors import address_of
from tapegrad.kernels.native import (
    DATA,
    DIMENSIONS,
    NDIM,
    STRIDES,
    like,
    load32,
    load64,
    pointer_to,
    size_of,
)
from tapegrad.kernels.parts import tile

#: Numbers that a function is given; STEP elements are from row to row of the weights.
PARTS, BATCHES, QUERIES, KEYS, WIDTH, VALUES, IS_CAUSAL, BLOCK, STEP = range(9)


@register_jitable
def matrix_of(array: Any, i: Any) -> Any:
    """The address of the i-th matrix of an array."""
    at, rest = load64(array + DATA), i
    sizes, strides = load64(array + DIMENSIONS), load64(array + STRIDES)
    for k in range(load32(array + NDIM) - 3, -1, -1):
        size = load64(sizes + 8 * k)
        at += rest % size * load64(strides + 8 * k)
        rest //= size
    return at


@register_jitable
def steps_within(array: Any) -> Any:
    """The bytes from row to row of an array's matrices, and from column to column."""
    strides = load64(array + STRIDES) + 8 * (load32(array + NDIM) - 2)
    return load64(strides), load64(strides + 8)


@register_jitable
def turned(steps: Any) -> Any:
    """The same of the transpose."""
    return steps[1], steps[0]


@register_jitable
def clear(x: Any) -> None:
    for j in range(x.size):
        x[j] = 0


@register_jitable
def weigh(
    weights: Any, step: Any, first: Any, count: Any, seen: Any, hidden: Any, i: Any,
    is_causal: Any, scale: Any,
) -> None:  # fmt: skip
    """The softmax of rows of scores over what isn't hidden; 0 where all is."""
    zero, one = like(scale, 0), like(scale, 1)
    row_size = step * size_of(zero)
    if hidden == 0:
        for r in range(0, count, HEIGHT):
            end = min(seen, first + r + 1) if is_causal else seen
            softmax_rows(
                zero, address_of(weights, r * step), row_size, min(count - r, HEIGHT) - 1, end,
                is_causal, seen, scale,
            )  # fmt: skip
        return
    of_row, of_column = steps_within(hidden)
    for r in range(count):
        row = part_at(weights, r * step, seen)
        mask = matrix_of(hidden, i) + (first + r) * of_row
        end = 0
        for j in range(seen):
            row[j] *= scale
            if carray(pointer_to(mask + j * of_column, types.boolean(0)), 1)[0]:
                row[j] = -np.inf
            else:
                end = j + 1
        softmax_row(zero, address_of(row, 0), row_size, 0, end, 0, seen, one)


@register_jitable
def batches_of_part(part: Any, numbers: Any) -> Any:
    """The first of a part's batches, and the end of them."""
    batches, parts = numbers[BATCHES], numbers[PARTS]
    return batches * part // parts, batches * (part + 1) // parts


@register_jitable
def keys_before(end: Any, numbers: Any) -> Any:
    """How many keys the queries before ``end`` look at."""
    return min(numbers[KEYS], end) if numbers[IS_CAUSAL] else numbers[KEYS]


@register_jitable
def weights_of(
    q: Any, k: Any, i: Any, first: Any, count: Any, seen: Any, hidden: Any, numbers: Any,
    weights: Any, scale: Any, tools: Any,
) -> None:  # fmt: skip
    """What a block's queries give to the keys."""
    zero, step = like(scale, 0), numbers[STEP]
    of_query, of_key = steps_within(q), steps_within(k)
    tile(
        zero, tools, (count, numbers[WIDTH], seen), matrix_of(q, i) + first * of_query[0], of_query,
        matrix_of(k, i), turned(of_key), 0, 0, address_of(weights, 0), step * size_of(zero),
    )  # fmt: skip
    weigh(weights, step, first, count, seen, hidden, i, numbers[IS_CAUSAL], scale)


def attention(
    begin: Int, end: Int, q: Int, k: Int, v: Int, hidden: Int, out: Array, numbers: Indices,
    room: Array, scale: Real, tools: Tools,
) -> None:  # fmt: skip
    zero = like(scale, 0)
    size = size_of(zero)
    queries, values, block, step = numbers[QUERIES], numbers[VALUES], numbers[BLOCK], numbers[STEP]
    for part in range(begin, end):
        weights = part_at(room, part * block * step, block * step)
        first, last = batches_of_part(part, numbers)
        for i in range(first, last):
            for r in range(0, queries, block):
                count = min(block, queries - r)
                seen = keys_before(r + count, numbers)
                weights_of(q, k, i, r, count, seen, hidden, numbers, weights, scale, tools)
                tile(
                    zero, tools, (count, seen, values), address_of(weights, 0), (step * size, size),
                    matrix_of(v, i), steps_within(v), 0, 0,
                    address_of(out, (i * queries + r) * values), values * size,
                )  # fmt: skip


def attention_adjoint(
    begin: Int, end: Int, bar: Int, q: Int, k: Int, v: Int, hidden: Int, q_bar: Array,
    k_bar: Array, v_bar: Array, numbers: Indices, room: Array, scale: Real, tools: Tools,
) -> None:  # fmt: skip
    zero = like(scale, 0)
    size = size_of(zero)
    queries, keys, block, step = numbers[QUERIES], numbers[KEYS], numbers[BLOCK], numbers[STEP]
    width, values = numbers[WIDTH], numbers[VALUES]
    of_query, of_key, of_value = steps_within(q), steps_within(k), steps_within(v)
    of_bar, of_weight = steps_within(bar), (step * size, size)
    for part in range(begin, end):
        weights = part_at(room, 2 * part * block * step, block * step)
        scores = part_at(room, (2 * part + 1) * block * step, block * step)
        weight, score = address_of(weights, 0), address_of(scores, 0)
        first, last = batches_of_part(part, numbers)
        for i in range(first, last):
            key, value = address_of(k_bar, i * keys * width), address_of(v_bar, i * keys * values)
            clear(part_at(k_bar, i * keys * width, keys * width))
            clear(part_at(v_bar, i * keys * values, keys * values))
            for r in range(0, queries, block):
                count = min(block, queries - r)
                seen = keys_before(r + count, numbers)
                weights_of(q, k, i, r, count, seen, hidden, numbers, weights, scale, tools)
                out = matrix_of(bar, i) + r * of_bar[0]
                tile(
                    zero, tools, (seen, count, values), weight, turned(of_weight), out, of_bar,
                    value, values * size, value, values * size,
                )  # fmt: skip
                tile(
                    zero, tools, (count, values, seen), out, of_bar, matrix_of(v, i),
                    turned(of_value), 0, 0, score, step * size,
                )  # fmt: skip
                for m in range(count):
                    at = m * step * size
                    softmax_adjoint(zero, score + at, weight + at, seen, scale)
                tile(
                    zero, tools, (count, seen, width), score, of_weight, matrix_of(k, i), of_key,
                    0, 0, address_of(q_bar, (i * queries + r) * width), width * size,
                )  # fmt: skip
                tile(
                    zero, tools, (seen, count, width), score, turned(of_weight),
                    matrix_of(q, i) + r * of_query[0], of_query, key, width * size, key,
                    width * size,
                )  # fmt: skip

"""Attention of some queries at a time: see `rules.ondemand.blocks_of_attention`.

What a block of queries gives to all keys is a matrix that stays in the cache; that of all queries
is never written out, and the adjoint computes it again (Rabe and Staats, *Self-attention does not
need O(n^2) memory*, 2021; Dao et al., *FlashAttention*, 2022). Under a causal mask only the keys
before the end of a block are looked at.

Queries, keys and values are given as the ids of arrays (..., rows, columns) of any strides, and so
is what is hidden, or 0. In ``room`` each part of the work has the matrices that the numbers name,
with rows of whole vectors.
"""

from __future__ import annotations

from typing import Any

from numba import carray, types
from numba.extending import register_jitable

from tapegrad.kernels import vectormath as np
from tapegrad.kernels.fused.lanes import Array, Indices, Int, Real, part_at
from tapegrad.kernels.fused.rows import CHUNK, softmax_adjoint, softmax_row
from tapegrad.kernels.fused.tiles import window_sums
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

#: Numbers that a function is given: sizes, then where the matrices of a part and the taps begin.
(
    PARTS, BATCHES, QUERIES, KEYS, WIDTH, VALUES, IS_CAUSAL, BLOCK, ROOM_SIZE,
    KEYS_STEP, WIDTH_STEP, VALUES_STEP,
    QUERY, KEY, KEY_COLUMNS, VALUE, VALUE_COLUMNS, WEIGHTS, OUT,
    OUT_BAR, WEIGHTS_BAR, QUERY_BAR, KEY_BAR, VALUE_BAR, SHARE,
    OVER_COLUMNS, TO_VALUES, TO_QUERIES, TO_KEYS, TO_VALUES_BAR,
) = range(30)  # fmt: skip


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
def copy_rows(
    array: Any, i: Any, first: Any, count: Any, width: Any, room: Any, to: Any, step: Any,
    factor: Any,
) -> None:  # fmt: skip
    """Rows of the i-th matrix, times a factor, each with zeros up to whole vectors."""
    zero = like(factor, 0)
    of_row, of_column = steps_within(array)
    source = matrix_of(array, i) + first * of_row
    for r in range(count):
        goal = part_at(room, to + r * step, step)
        if of_column == size_of(zero):
            row = carray(pointer_to(source + r * of_row, zero), width)
            for c in range(width):
                goal[c] = row[c] * factor
        else:
            for c in range(width):
                at = source + r * of_row + c * of_column
                goal[c] = carray(pointer_to(at, zero), 1)[0] * factor
        for c in range(width, step):
            goal[c] = zero


@register_jitable
def turn(room: Any, source: Any, of_row: Any, rows: Any, columns: Any, to: Any, step: Any) -> None:
    """The transpose of a matrix in the room."""
    for c in range(columns):
        goal = part_at(room, to + c * step, step)
        for r in range(rows):
            goal[r] = room[source + r * of_row + c]
        for r in range(rows, step):
            goal[r] = 0


@register_jitable
def put_rows(
    room: Any, source: Any, step: Any, out: Any, to: Any, count: Any, width: Any, factor: Any
) -> None:
    for r in range(count):
        row, goal = part_at(room, source + r * step, width), part_at(out, to + r * width, width)
        for c in range(width):
            goal[c] = row[c] * factor


@register_jitable
def weigh(
    room: Any, at: Any, step: Any, first: Any, count: Any, seen: Any, hidden: Any, i: Any,
    is_causal: Any, zero: Any,
) -> None:  # fmt: skip
    """The softmax of rows of scores over what isn't hidden; 0 where all is."""
    for r in range(count):
        row = part_at(room, at + r * step, whole(seen))
        end = min(seen, first + r + 1) if is_causal else seen
        if hidden != 0:
            of_row, of_column = steps_within(hidden)
            mask = matrix_of(hidden, i) + (first + r) * of_row
            last = 0
            for j in range(end):
                if carray(pointer_to(mask + j * of_column, types.boolean(0)), 1)[0]:
                    row[j] = -np.inf
                else:
                    last = j + 1
            end = last
        softmax_row(zero, address_of(row, 0), end, row.size)


@register_jitable
def whole(n: Any) -> Any:
    """A number of elements, rounded up to whole chunks, which are whole vectors."""
    return (n + CHUNK - 1) // CHUNK * CHUNK


@register_jitable
def rows_of_part(part: Any, numbers: Any) -> Any:
    """The first of a part's batches, and the end of them."""
    batches, parts = numbers[BATCHES], numbers[PARTS]
    return batches * part // parts, batches * (part + 1) // parts


@register_jitable
def weights_of(
    q: Any, i: Any, first: Any, count: Any, seen: Any, hidden: Any, numbers: Any, taps: Any,
    room: Any, start: Any, scale: Any,
) -> None:  # fmt: skip
    """A block's queries, and what they give to the keys, in the room."""
    query, weights = start + numbers[QUERY], start + numbers[WEIGHTS]
    width, step = numbers[WIDTH_STEP], numbers[KEYS_STEP]
    zero = like(scale, 0)
    copy_rows(q, i, first, count, numbers[WIDTH], room, query, width, scale)
    window_sums(
        zero, address_of(room, start + numbers[KEY_COLUMNS]), address_of(room, query),
        address_of(taps, 2 * numbers[OVER_COLUMNS]), numbers[WIDTH], width, count, seen,
        address_of(room, weights), step,
    )  # fmt: skip
    weigh(room, weights, step, first, count, seen, hidden, i, numbers[IS_CAUSAL], zero)


def attention(
    begin: Int, end: Int, q: Int, k: Int, v: Int, hidden: Int, out: Array, numbers: Indices,
    taps: Indices, room: Array, scale: Real,
) -> None:  # fmt: skip
    zero, one = like(scale, 0), like(scale, 1)
    queries, keys, values = numbers[QUERIES], numbers[KEYS], numbers[VALUES]
    for part in range(begin, end):
        start = part * numbers[ROOM_SIZE]
        key, value = start + numbers[KEY], start + numbers[VALUE]
        first, last = rows_of_part(part, numbers)
        for i in range(first, last):
            width = numbers[WIDTH_STEP]
            copy_rows(k, i, 0, keys, numbers[WIDTH], room, key, width, one)
            columns = start + numbers[KEY_COLUMNS]
            turn(room, key, width, keys, numbers[WIDTH], columns, numbers[KEYS_STEP])
            copy_rows(v, i, 0, keys, values, room, value, numbers[VALUES_STEP], one)
            for r in range(0, queries, numbers[BLOCK]):
                count = min(numbers[BLOCK], queries - r)
                seen = min(keys, r + count) if numbers[IS_CAUSAL] else keys
                weights_of(q, i, r, count, seen, hidden, numbers, taps, room, start, scale)
                window_sums(
                    zero, address_of(room, value), address_of(room, start + numbers[WEIGHTS]),
                    address_of(taps, 2 * numbers[TO_VALUES]), seen, numbers[KEYS_STEP], count,
                    values, address_of(room, start + numbers[OUT]), numbers[VALUES_STEP],
                )  # fmt: skip
                put_rows(
                    room, start + numbers[OUT], numbers[VALUES_STEP], out,
                    (i * queries + r) * values, count, values, one,
                )  # fmt: skip


@register_jitable
def add_over_queries(
    room: Any, left: Any, step: Any, right: Any, taps: Any, count: Any, seen: Any, columns: Any,
    share: Any, to: Any, of_row: Any, zero: Any,
) -> None:  # fmt: skip
    """Add the transpose of a block's matrix ``left`` times its matrix ``right``."""
    window_sums(
        zero, address_of(room, right), address_of(room, left), taps, count, 1, seen, columns,
        address_of(room, share), of_row,
    )  # fmt: skip
    goal, new = part_at(room, to, seen * of_row), part_at(room, share, seen * of_row)
    for j in range(seen * of_row):
        goal[j] += new[j]


def attention_adjoint(
    begin: Int, end: Int, bar: Int, q: Int, k: Int, v: Int, hidden: Int, q_bar: Array,
    k_bar: Array, v_bar: Array, numbers: Indices, taps: Indices, room: Array, scale: Real,
) -> None:  # fmt: skip
    zero, one = like(scale, 0), like(scale, 1)
    queries, keys, values = numbers[QUERIES], numbers[KEYS], numbers[VALUES]
    width, of_row, of_value = numbers[WIDTH], numbers[WIDTH_STEP], numbers[VALUES_STEP]
    step = numbers[KEYS_STEP]
    for part in range(begin, end):
        start = part * numbers[ROOM_SIZE]
        key, value = start + numbers[KEY], start + numbers[VALUE]
        weights, weights_bar = start + numbers[WEIGHTS], start + numbers[WEIGHTS_BAR]
        out_bar, query_bar = start + numbers[OUT_BAR], start + numbers[QUERY_BAR]
        key_bar, value_bar = start + numbers[KEY_BAR], start + numbers[VALUE_BAR]
        first, last = rows_of_part(part, numbers)
        for i in range(first, last):
            copy_rows(k, i, 0, keys, width, room, key, of_row, one)
            turn(room, key, of_row, keys, width, start + numbers[KEY_COLUMNS], step)
            copy_rows(v, i, 0, keys, values, room, value, of_value, one)
            turn(room, value, of_value, keys, values, start + numbers[VALUE_COLUMNS], step)
            sums = part_at(room, key_bar, keys * (of_row + of_value))  # with value_bar
            for j in range(sums.size):
                sums[j] = zero
            for r in range(0, queries, numbers[BLOCK]):
                count = min(numbers[BLOCK], queries - r)
                seen = min(keys, r + count) if numbers[IS_CAUSAL] else keys
                weights_of(q, i, r, count, seen, hidden, numbers, taps, room, start, scale)
                copy_rows(bar, i, r, count, values, room, out_bar, of_value, one)
                add_over_queries(
                    room, weights, step, out_bar,
                    address_of(taps, 2 * numbers[TO_VALUES_BAR]), count, seen, values,
                    start + numbers[SHARE], value_bar, of_value, zero,
                )  # fmt: skip
                window_sums(
                    zero, address_of(room, start + numbers[VALUE_COLUMNS]),
                    address_of(room, out_bar), address_of(taps, 2 * numbers[OVER_COLUMNS]), values,
                    of_value, count, seen, address_of(room, weights_bar), step,
                )  # fmt: skip
                for m in range(count):
                    softmax_adjoint(
                        zero, address_of(room, weights_bar + m * step),
                        address_of(room, weights + m * step),
                        seen,
                    )  # fmt: skip
                window_sums(
                    zero, address_of(room, key), address_of(room, weights_bar),
                    address_of(taps, 2 * numbers[TO_QUERIES]), seen, step, count, width,
                    address_of(room, query_bar), of_row,
                )  # fmt: skip
                at = (i * queries + r) * width
                put_rows(room, query_bar, of_row, q_bar, at, count, width, scale)
                add_over_queries(
                    room, weights_bar, step, start + numbers[QUERY],
                    address_of(taps, 2 * numbers[TO_KEYS]), count, seen, width,
                    start + numbers[SHARE], key_bar, of_row, zero,
                )  # fmt: skip
            put_rows(room, key_bar, of_row, k_bar, i * keys * width, keys, width, one)
            put_rows(room, value_bar, of_value, v_bar, i * keys * values, keys, values, one)

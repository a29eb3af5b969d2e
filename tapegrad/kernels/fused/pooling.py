"""Maxima of squares of 2 x 2 elements beside each other: see `rules.pooling`; and averages.

The windows of `averages` have edges and weights along each axis, see `rules.resampling`; ``room``
is a row for each plane.
"""

from __future__ import annotations

from tapegrad.kernels.fused.lanes import Array, Indices, Int, part
from tapegrad.kernels.fused.squares import square_maxima, square_places
from tapegrad.kernels.fused.vectors import address_of
from tapegrad.kernels.native import like


def square_pool(
    begin: Int, end: Int, x: Array, out: Array, rows: Int, columns: Int, width: Int
) -> None:
    zero = like(x[0], 0)
    for plane in range(begin, end):
        for i in range(rows // 2):
            row = (plane * rows + 2 * i) * width
            to = address_of(out, (plane * (rows // 2) + i) * columns)
            square_maxima(zero, address_of(x, row), address_of(x, row + width), to, columns)


def square_pool_x(
    begin: Int, end: Int, bar: Array, x: Array, out: Array, x_bar: Array, rows: Int, columns: Int,
    width: Int,
) -> None:  # fmt: skip
    zero = like(x[0], 0)
    for plane in range(begin, end):
        for i in range(rows // 2):
            row = (plane * rows + 2 * i) * width
            given = (plane * (rows // 2) + i) * columns
            square_places(
                zero,
                address_of(x, row),
                address_of(x, row + width),
                address_of(out, given),
                address_of(bar, given),
                address_of(x_bar, row),
                address_of(x_bar, row + width),
                columns,
            )


def averages(
    begin: Int, end: Int, x: Array, out: Array, room: Array, tops: Indices, bottoms: Indices,
    down: Array, lefts: Indices, rights: Indices, across: Array, rows: Int, columns: Int,
) -> None:  # fmt: skip
    for plane in range(begin, end):
        for i in range(tops.size):
            sums = part(x, plane * rows + tops[i], columns)
            if bottoms[i] - tops[i] != 1:
                sums = part(room, plane, columns)
                for k in range(columns):
                    sums[k] = like(down[0], 0)
                for r in range(tops[i], bottoms[i]):
                    row = part(x, plane * rows + r, columns)
                    for k in range(columns):
                        sums[k] += row[k]
            to = part(out, plane * tops.size + i, lefts.size)
            for j in range(lefts.size):
                total = like(down[0], 0)
                for k in range(lefts[j], rights[j]):
                    total += sums[k]
                to[j] = total * (down[i] * across[j])


def averages_x(
    begin: Int, end: Int, bar: Array, x_bar: Array, room: Array, tops: Indices, bottoms: Indices,
    down: Array, lefts: Indices, rights: Indices, across: Array, rows: Int, columns: Int,
) -> None:  # fmt: skip
    for plane in range(begin, end):
        whole = part(x_bar, plane, rows * columns)
        for k in range(rows * columns):
            whole[k] = like(down[0], 0)
        for i in range(tops.size):
            one = bottoms[i] - tops[i] == 1
            sums = part(whole, tops[i], columns) if one else part(room, plane, columns)
            for k in range(0 if one else columns):
                sums[k] = like(down[0], 0)
            share = part(bar, plane * tops.size + i, lefts.size)
            for j in range(lefts.size):
                own = share[j] * (down[i] * across[j])
                for k in range(lefts[j], rights[j]):
                    sums[k] += own
            for r in range(tops[i], tops[i] if one else bottoms[i]):
                row = part(whole, r, columns)
                for k in range(columns):
                    row[k] += sums[k]

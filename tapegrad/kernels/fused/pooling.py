"""Maxima of squares of 2 x 2 elements beside each other: see `rules.pooling`."""

from __future__ import annotations

from tapegrad.kernels.fused.lanes import Array, Int
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

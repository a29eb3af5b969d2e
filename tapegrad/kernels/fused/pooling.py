"""Maxima of squares of 2 x 2 elements beside each other: see `rules.pooling`."""

from __future__ import annotations

from tapegrad.kernels.fused.lanes import Array, Int
from tapegrad.kernels.fused.squares import square_maxima, square_places
from tapegrad.kernels.native import like, size_of


def square_pool(
    begin: Int, end: Int, x: Array, out: Array, rows: Int, columns: Int, width: Int
) -> None:
    zero = like(x[0], 0)
    itemsize = size_of(zero)
    for plane in range(begin, end):
        for i in range(rows // 2):
            row = x.ctypes.data + (plane * rows + 2 * i) * width * itemsize
            to = out.ctypes.data + (plane * (rows // 2) + i) * columns * itemsize
            square_maxima(zero, row, row + width * itemsize, to, columns)


def square_pool_x(
    begin: Int, end: Int, bar: Array, x: Array, out: Array, x_bar: Array, rows: Int, columns: Int,
    width: Int,
) -> None:  # fmt: skip
    zero = like(x[0], 0)
    itemsize = size_of(zero)
    for plane in range(begin, end):
        for i in range(rows // 2):
            row = (plane * rows + 2 * i) * width * itemsize
            given = (plane * (rows // 2) + i) * columns * itemsize
            square_places(
                zero,
                x.ctypes.data + row,
                x.ctypes.data + row + width * itemsize,
                out.ctypes.data + given,
                bar.ctypes.data + given,
                x_bar.ctypes.data + row,
                x_bar.ctypes.data + row + width * itemsize,
                columns,
            )

"""Products of matrices in parts that threads share, for `tapegrad.products`."""

from __future__ import annotations

from numba import types

from tapegrad.kernels.fused.lanes import Array, Int, Strided, Tools
from tapegrad.kernels.fused.vectors import address_of
from tapegrad.kernels.native import like, size_of
from tapegrad.kernels.tools import tile


def matrix_product(
    begin: Int, end: Int, x: Strided, y: Strided, z: Strided, out: Array, rows: Int, inner: Int,
    columns: Int, x_row: Int, x_step: Int, y_row: Int, y_step: Int, shifts: Int, high: Int,
    wide: Int, tools: Tools,
) -> None:  # fmt: skip
    """out (rows, columns) = x @ y, plus the row z if it ``shifts``.

    In parts of ``high`` rows and ``wide`` columns.
    """
    zero = like(out[0], 0)
    size = size_of(zero)
    down = (rows + high - 1) // high
    for part in range(begin, end):
        r, c = part % down * high, part // down * wide
        tile(
            zero, tools, (min(rows - r, high), inner, min(columns - c, wide)),
            x + r * x_row, (x_row, x_step), y + c * y_step, (y_row, y_step),
            z + c * size if shifts else types.int64(0), types.int64(0),
            address_of(out, r * columns + c), columns * size,
        )  # fmt: skip

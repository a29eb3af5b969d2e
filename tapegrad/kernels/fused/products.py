"""Products of matrices for `tapegrad.products`."""

from __future__ import annotations

from numba import types

from tapegrad.kernels.fused.lanes import Array, Indices, Int, Strided, Tools
from tapegrad.kernels.fused.vectors import address_of
from tapegrad.kernels.native import like, size_of
from tapegrad.kernels.parts import products_and, tile


def matrix_product(
    begin: Int, end: Int, x: Strided, y: Strided, z: Strided, out: Array, rows: Int, inner: Int,
    columns: Int, x_row: Int, x_step: Int, y_row: Int, y_step: Int, shifts: Int, tools: Tools,
) -> None:  # fmt: skip
    """out (rows, columns) = x @ y, plus the row z if it ``shifts``. Not in parts: it shares."""
    zero, none = like(out[0], 0), types.int64(0)
    products_and(
        zero, tools, address_of(out, 0), z if shifts else none, none, (1, 1, rows, inner, columns),
        x, (none, none, x_row, x_step), y, (none, none, y_row, y_step),
    )  # fmt: skip


def batch_products(
    begin: Int, end: Int, x: Strided, y: Strided, out: Array, x_starts: Indices, y_starts: Indices,
    rows: Int, inner: Int, columns: Int, x_row: Int, x_step: Int, y_row: Int, y_step: Int,
    tools: Tools,
) -> None:  # fmt: skip
    """out[i] = x[i] @ y[i], where these begin so many bytes after the first."""
    zero, none = like(out[0], 0), types.int64(0)
    for i in range(begin, end):
        tile(
            zero, tools, (rows, inner, columns), x + x_starts[i], (x_row, x_step), y + y_starts[i],
            (y_row, y_step), none, none, address_of(out, i * rows * columns),
            columns * size_of(zero),
        )  # fmt: skip

"""Products of matrices for `tapegrad.products`."""

from __future__ import annotations

from numba import types

from tapegrad.kernels.fused.lanes import Array, Int, Strided, Tools
from tapegrad.kernels.fused.vectors import address_of
from tapegrad.kernels.native import like
from tapegrad.kernels.parts import products_and


def matrix_product(
    begin: Int, end: Int, x: Strided, y: Strided, z: Strided, out: Array, rows: Int, inner: Int,
    columns: Int, x_row: Int, x_step: Int, y_row: Int, y_step: Int, shifts: Int, tools: Tools,
) -> None:  # fmt: skip
    """out (rows, columns) = x @ y, plus the row z if it ``shifts``. Not in parts: it shares."""
    zero, none = like(out[0], 0), types.int64(0)
    products_and(
        zero, tools, address_of(out, 0), z if shifts else none, none, (1, rows, inner, columns),
        x, (none, x_row, x_step), y, (none, y_row, y_step),
    )  # fmt: skip

"""Products of two matrices: in machine code where that is worth its call, else by BLAS."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.fused import fused

__all__ = ["matrix_product"]

#: So many products of elements take longer than the call; for a layer, whose weight is transposed
#: and which adds a row; so many that BLAS, which also sees to the larger caches, is as fast.
WORTH, LINEAR_WORTH, LARGE = 1_000_000, 200_000, 1 << 30
#: Fewer rows read the second matrix too seldom: how fast it comes from memory decides.
FEWEST = 4
#: Products of elements that count as a byte of work.
BYTE = 8


def matrix_product(x: Any, y: Any, shift: Any = None) -> Any:
    """``x @ y`` of two matrices, plus a row; of Tensors it is recorded."""
    if type(x) is not np.ndarray or type(y) is not np.ndarray:
        out = np.matmul(x, y)
    else:
        least = WORTH if shift is None else LINEAR_WORTH
        if least < x.size * y.shape[1] <= LARGE and len(x) >= FEWEST and x.dtype == y.dtype:
            out = _in_tiles(x, y, shift)
            if out is not None:
                return out
        out = x.dot(y)
    if shift is not None:
        out += shift
    return out


def _in_tiles(x: np.ndarray, y: np.ndarray, shift: np.ndarray | None) -> np.ndarray | None:
    rows, inner = x.shape
    columns = y.shape[1]
    if not (x.flags.aligned and y.flags.aligned):
        return None
    out = np.empty((rows, columns), x.dtype)
    given = out if shift is None else shift
    kernel = fused("matrix_product", out, given)
    if kernel is None or given.shape[-1] != columns:
        return None
    kernel(
        1, x, y, given, out, rows, inner, columns, *x.strides, *y.strides, shift is not None,
        work=x.size * columns // BYTE,
    )  # fmt: skip
    return out

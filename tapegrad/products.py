"""Products of two matrices: in machine code where that is worth its call, else by BLAS."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.fused import fused

__all__ = ["matrix_product"]

#: So many products of elements take longer than the call; so many that BLAS, which also sees to the
#: larger caches, is as fast.
WORTH, LARGE = 1_000_000, 1 << 30
#: From so many on BLAS takes less time with the long matrix first, where that is in one piece.
LONG_FIRST = 90_000
#: How many parts there are to share at least, if the matrix is large enough; a part's columns, in
#: bytes; its rows, at least, and a divisor of them.
PARTS, WIDE, HIGH, TILE = 8, 256, 48, 6


def matrix_product(x: Any, y: Any, shift: Any = None) -> Any:
    """``x @ y`` of two matrices, plus a row; of Tensors it is recorded."""
    if type(x) is not np.ndarray or type(y) is not np.ndarray:
        out = np.matmul(x, y)
    else:
        count = x.size * y.shape[1]
        if WORTH < count <= LARGE and x.dtype == y.dtype:
            out = _in_tiles(x, y, shift)
            if out is not None:
                return out
        elif LONG_FIRST < count <= WORTH and shift is not None and _is_long_first(x, y):
            return np.add(y.T.dot(x.T).T, shift, order="C")
        out = x.dot(y)
    if shift is not None:
        out += shift
    return out


def _is_long_first(x: np.ndarray, y: np.ndarray) -> bool:
    return len(x) < y.shape[1] and y.flags.f_contiguous and x.dtype.char == y.dtype.char == "f"


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
    wide = WIDE // x.itemsize
    across = -(-columns // wide)
    high = max(HIGH, -(-rows * across // (PARTS * TILE)) * TILE)
    kernel(
        across * -(-rows // high), x, y, given, out, rows, inner, columns, *x.strides, *y.strides,
        shift is not None, high, wide, work=x.size * columns // 2,
    )  # fmt: skip
    return out

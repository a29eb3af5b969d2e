"""Products of matrices: in machine code where that is worth its call, else by BLAS."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from tapegrad import threads
from tapegrad.fused import fused

__all__ = ["batch_products", "matrix_product"]

#: So many products of elements take longer than the call; for a layer, whose weight is transposed
#: and which adds a row; so many that BLAS, which also sees to the larger caches, is as fast.
WORTH, LINEAR_WORTH, LARGE = 500_000, 200_000, 1 << 30
#: So many in batches, if threads share them: one thread is as fast with BLAS.
BATCHES_WORTH = 1_500_000
#: Fewer rows read the second matrix too seldom: how fast it comes from memory decides.
FEWEST = 4
#: Products of elements that count as a byte of work.
BYTE = 4


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


def batch_products(x: Any, y: Any) -> Any:
    """``np.matmul`` of batches of matrices, which broadcast; of Tensors it is recorded."""
    if type(x) is np.ndarray and type(y) is np.ndarray and x.ndim > 1 and y.ndim > 1:
        out = _batches_in_tiles(x, y)
        if out is not None:
            return out
    return np.matmul(x, y)


def _batches_in_tiles(x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    rows, inner = x.shape[-2:]
    columns = y.shape[-1]
    if x.dtype != y.dtype or y.shape[-2] != inner or not (x.flags.aligned and y.flags.aligned):
        return None
    batch = x.shape[:-2]
    if batch != y.shape[:-2]:
        batch = np.broadcast_shapes(batch, y.shape[:-2])
        x = np.broadcast_to(x, (*batch, rows, inner))
        y = np.broadcast_to(y, (*batch, inner, columns))
    count = math.prod(batch)
    work = count * rows * inner * columns
    if threads.get_num_threads() == 1 or work < BATCHES_WORTH or rows * inner * columns > LARGE:
        return None
    out = np.empty((*batch, rows, columns), x.dtype)
    kernel = fused("batch_products", out)
    if kernel is None:
        return None
    kernel(
        count, x, y, out, _starts(batch, x.strides[:-2]), _starts(batch, y.strides[:-2]), rows,
        inner, columns, *x.strides[-2:], *y.strides[-2:], work=work // BYTE,
    )  # fmt: skip
    return out


@functools.lru_cache(256)
def _starts(shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """Where the matrices of a batch begin, in bytes."""
    starts = np.zeros((), np.int64)
    for size, step in zip(shape, strides, strict=True):
        starts = np.add.outer(starts, np.arange(size) * step)
    return starts.reshape(-1)

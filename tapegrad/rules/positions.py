"""What an index by arrays of integers comes to: rows of a matrix, at numbers in a vector."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tapegrad.fused import fused

__all__ = ["Positions", "add_at_positions", "positions_of"]

#: Each share goes through the whole index, which pays for many wide rows (of so many bytes).
SHARES, WIDE, MANY = 8, 32, 1 << 21


class Positions(NamedTuple):
    """``x.reshape(blocks, n, width)[:, places]`` is what an index takes of an array of a shape."""

    blocks: int
    n: int
    width: int
    places: np.ndarray
    shape: tuple[int, ...]


def positions_of(index: Any, shape: tuple[int, ...]) -> Positions | None:
    """The positions that an index takes; None if it isn't of integers side by side, within bounds.

    The index is a tuple of integer arrays and whole slices.
    """
    kinds = [type(item) is np.ndarray and item.dtype.kind == "i" for item in index]
    first = kinds.index(True) if True in kinds else 0
    count = kinds.count(True)
    last = first + count
    if not count or not all(kinds[first:last]) or len(index) > len(shape):
        return None
    if not all(kind or item == slice(None) for kind, item in zip(kinds, index, strict=True)):
        return None
    total: Any = None
    for item, n in zip(index[first:last], shape[first:last], strict=True):
        inside = item
        if not item.size:
            return None
        if item.view(f"u{item.itemsize}").max() >= n:  # or it is negative
            inside = np.where(item < 0, item + n, item)
            if inside.min() < 0 or inside.max() >= n:
                return None
        total = inside if total is None else total * n + inside
    sizes = shape[first:last]
    taken = (*shape[:first], *total.shape, *shape[last:])
    flat = np.ascontiguousarray(total.reshape(-1), np.int64)
    outer, inner = math.prod(shape[:first]), math.prod(shape[last:])
    return Positions(outer, math.prod(sizes), inner, flat, taken)


def add_at_positions(target: np.ndarray, index: Any, x: np.ndarray) -> bool:
    """``target[index] += x``, where positions that repeat count as often; False: not fused."""
    kernel = fused("add_rows", target)
    at = positions_of(index, target.shape) if kernel is not None else None
    if kernel is None or at is None or x.dtype != target.dtype:
        return False
    rows = np.ascontiguousarray(np.broadcast_to(x, at.shape))
    shared = at.blocks == 1 and at.width >= WIDE and rows.nbytes >= MANY
    shares = SHARES if shared else 1
    sizes = (at.n, at.width, shares)
    kernel(at.blocks * shares, target, at.places, rows, *sizes, work=rows.nbytes // 2)
    return True

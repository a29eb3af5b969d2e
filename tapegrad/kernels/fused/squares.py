"""Maxima of squares of 2 x 2 elements, a row of them at a time, and where they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tapegrad.kernels.fused.vectors import Vectors, number

__all__ = ["square_maxima", "square_places"]


@contextmanager
def _vectors(v: Vectors, count: Any) -> Iterator[tuple[Any, Any]]:
    """A loop over vectors: where each begins, and how many elements are left."""
    start, step = number(0), number(v.lanes)
    with cgutils.for_range_slice(v.builder, start, count, step, inc=True) as (j, _):
        yield j, v.builder.sub(count, j)


def _corners(v: Vectors, rows: tuple[Any, Any], j: Any, left: Any) -> list[Any]:
    """The four elements of squares, the masks of a row's two vectors, and where they begin."""
    b = v.builder
    double = b.add(j, j)
    masks = [v.first(b.sub(b.add(left, left), number(k * v.lanes))) for k in (0, 1)]
    corners: list[Any] = []
    for row in rows:
        parts = [
            v.load_where(mask, v.at(row, double, number(k * v.lanes)))
            for k, mask in enumerate(masks)
        ]
        corners += v.halves(*parts)
    return [corners, masks, double]


@intrinsic
def square_maxima(typingctx: Any, zero: Any, x: Any, below: Any, out: Any, count: Any) -> Any:
    """The maxima of ``count`` squares in two rows, nan if one of the four is; all addresses."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        _, x, below, out, count = given
        v = Vectors(context, builder, zero)
        with _vectors(v, count) as (j, left):
            (first, second, third, fourth), _, _ = _corners(v, (x, below), j, left)
            most = v.maximum(v.maximum(first, second), v.maximum(third, fourth))
            v.store_where(v.first(left), most, v.at(out, j))
        return context.get_dummy_value()

    return types.void(zero, *(types.int64,) * 4), generate


@intrinsic
def square_places(
    typingctx: Any, zero: Any, x: Any, below: Any, out: Any, bar: Any, to: Any, to_below: Any,
    count: Any,
) -> Any:  # fmt: skip
    """Put ``bar`` where squares have their maxima ``out``, the first or the last nan; else 0."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        _, x, below, out, bar, to, to_below, count = given
        v = Vectors(context, builder, zero)
        b = builder
        with _vectors(v, count) as (j, left):
            corners, masks, double = _corners(v, (x, below), j, left)
            inside = v.first(left)
            most, share = (v.load_where(inside, v.at(a, j)) for a in (out, bar))
            is_nan = b.fcmp_unordered("uno", most, most)
            found = [b.fcmp_unordered("ueq", corner, most) for corner in corners]
            nans = [b.fcmp_unordered("uno", corner, corner) for corner in corners]
            goals = []
            for k in range(4):
                chosen, last = found[k], nans[k]
                for other in found[:k]:
                    chosen = b.and_(chosen, b.not_(other))
                for other in nans[k + 1 :]:
                    last = b.and_(last, b.not_(other))
                here = b.select(is_nan, last, chosen)
                goals.append(b.select(here, share, v.nothing))
            for row, pair in ((to, goals[:2]), (to_below, goals[2:])):
                for k, values in enumerate(v.alternating(*pair)):
                    v.store_where(masks[k], values, v.at(row, double, number(k * v.lanes)))
        return context.get_dummy_value()

    return types.void(zero, *(types.int64,) * 7), generate

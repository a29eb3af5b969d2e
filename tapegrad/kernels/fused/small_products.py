"""Products of matrices of which one is small: tiles of the result stay in registers.

BLAS packs its operands first, which takes longer than such a product.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, register_jitable

from tapegrad.kernels.fused import vectors
from tapegrad.kernels.fused.lanes import Array, Int
from tapegrad.kernels.fused.vectors import VECTOR_BYTES, Vectors, address_of, number
from tapegrad.kernels.native import size_of

__all__ = ["few_rows", "small_product", "stamp"]

#: Rows and columns of the result in a tile of dot products.
DOTS = (2, 6) if VECTOR_BYTES == 32 else (4, 6)
#: Rows, and vectors of columns, in a tile of `_row_sums`.
SUMS = (6, 2) if VECTOR_BYTES == 32 else (6, 4)
#: The most rows of a small matrix, or columns.
FEW = 16
#: Products that are added up before their sum is added to the others: one long sum of singles would
#: lose digits.
RUN = 1024


def _up_to(builder: Any, count: int, last: Any) -> list[Any]:
    """The first numbers, of which those after the last are the last one again."""
    numbers = [number(i) for i in range(count)]
    return [builder.select(builder.icmp_signed("<", i, last), i, last) for i in numbers]


@intrinsic
def _dots(
    typingctx: Any, zero: Any, x: Any, y: Any, inner: Any, last_row: Any, last_column: Any, z: Any,
    out: Any, step: Any,
) -> Any:  # fmt: skip
    """``out[r * step + c] = z[c] + dot(x[r * inner:], y[c * inner:])`` for a tile of DOTS.

    Rows and columns after the last do the same as that.
    """

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        _, x, y, inner, last_row, last_column, z, out, step = given
        v = Vectors(context, builder, zero)
        sums = v.zeros(DOTS[0] * DOTS[1])
        rows, columns = _up_to(builder, DOTS[0], last_row), _up_to(builder, DOTS[1], last_column)
        xs = [v.at(x, builder.mul(r, inner)) for r in rows]
        ys = [v.at(y, builder.mul(c, inner)) for c in columns]

        def add_products(load: Any, j: Any) -> None:
            factors = [load(builder.gep(x, [j])) for x in xs]
            for c in range(DOTS[1]):
                other = load(builder.gep(ys[c], [j]))
                for r in range(DOTS[0]):
                    v.add_product(sums[r * DOTS[1] + c], factors[r], other)

        whole = builder.udiv(inner, number(v.lanes))
        with cgutils.for_range(builder, whole) as loop:
            add_products(v.load, builder.mul(loop.index, number(v.lanes)))
        done = builder.mul(whole, number(v.lanes))
        left = builder.sub(inner, done)
        with builder.if_then(builder.icmp_signed(">", left, number(0))):
            mask = v.first(left)
            add_products(lambda pointer: v.load_where(mask, pointer), done)
        for c in range(DOTS[1]):
            shift = builder.load(v.at(z, columns[c]))
            for r in range(DOTS[0]):
                goal = v.at(out, builder.mul(rows[r], step), columns[c])
                total = v.total(builder.load(sums[r * DOTS[1] + c]))
                builder.store(builder.fadd(total, shift), goal)
        return context.get_dummy_value()

    return types.void(zero, *(types.int64,) * 8), generate


@intrinsic
def _row_sums(
    typingctx: Any, zero: Any, x: Any, x_row: Any, x_step: Any, y: Any, y_step: Any, inner: Any,
    last_row: Any, columns: Any, add: Any, out: Any, step: Any,
) -> Any:  # fmt: skip
    """``out[r * step + c] = sum(x[r * x_row + k * x_step] * y[k * y_step + c])`` for a tile.

    Of all k below ``inner``, for up to SUMS vectors of ``columns``; ``add``: added to what is
    there.
    """

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        _, x, x_row, x_step, y, y_step, inner, last_row, columns, add, out, step = given
        v = Vectors(context, builder, zero)
        height, width = SUMS
        sums = v.zeros(height * width)
        rows = _up_to(builder, height, last_row)
        xs = [v.at(x, builder.mul(r, x_row)) for r in rows]
        starts = [number(k * v.lanes) for k in range(width)]
        masks = [v.first(builder.sub(columns, start)) for start in starts]
        with cgutils.for_range(builder, inner) as loop:
            at, column = builder.mul(loop.index, y_step), builder.mul(loop.index, x_step)
            parts = [
                v.load_where(mask, v.at(y, at, start))
                for mask, start in zip(masks, starts, strict=True)
            ]
            for r in range(height):
                factor = v.everywhere(builder.load(builder.gep(xs[r], [column])))
                for k in range(width):
                    v.add_product(sums[r * width + k], parts[k], factor)
        adds = builder.icmp_signed("!=", add, number(0))
        for r in range(height):
            new = builder.icmp_signed("<=", number(r), last_row)
            with builder.if_then(new):
                for k in range(width):
                    goal = v.at(out, builder.mul(rows[r], step), starts[k])
                    with builder.if_then(adds):
                        there = v.load_where(masks[k], goal)
                        total = builder.fadd(builder.load(sums[r * width + k]), there)
                        builder.store(total, sums[r * width + k])
                    v.store_where(masks[k], builder.load(sums[r * width + k]), goal)
        return context.get_dummy_value()

    return types.void(zero, *(types.int64,) * 11), generate


def few_rows(
    begin: Int, end: Int, x: Array, y: Array, z: Array, out: Array, rows: Int, inner: Int
) -> None:
    """out (rows, columns) = x (rows, inner) @ y (columns, inner).T + z, some of the columns."""
    columns = len(z)
    for c in range(begin, end, DOTS[1]):
        for r in range(0, rows, DOTS[0]):
            _dots(
                x[0], address_of(x, r * inner), address_of(y, c * inner), inner,
                min(rows - r, DOTS[0]) - 1, min(end - c, DOTS[1]) - 1, address_of(z, c),
                address_of(out, r * columns + c), columns,
            )  # fmt: skip


@register_jitable
def small_product(
    zero: Any, to: Any, add: Any, sizes: Any, x: Any, x_strides: Any, y: Any, y_strides: Any
) -> Any:
    """The product of x (rows, inner) and y (inner, columns), stored or added; False: it is BLAS's.

    The strides are in bytes; ``to`` has no gaps.
    """
    size = size_of(zero)
    rows, inner, columns = sizes
    if y_strides[1] != size or (rows > FEW and inner > FEW):
        return False
    width = SUMS[1] * (VECTOR_BYTES // size)
    for r in range(0, rows, SUMS[0]):
        for c in range(0, columns, width):
            for k in range(0, max(inner, 1), RUN):
                _row_sums(
                    zero, x + r * x_strides[0] + k * x_strides[1], x_strides[0] // size,
                    x_strides[1] // size, y + k * y_strides[0] + c * size, y_strides[0] // size,
                    min(inner - k, RUN), min(rows - r, SUMS[0]) - 1, columns - c,
                    types.int64(add or k > 0), to + (r * columns + c) * size, columns,
                )  # fmt: skip
    return True


@functools.cache
def stamp() -> bytes:
    """A digest of this code, for the keys of the kernel cache: functions don't show all of it."""
    source = inspect.getsource(sys.modules[__name__]) + inspect.getsource(vectors)
    return hashlib.sha256(source.encode()).digest()

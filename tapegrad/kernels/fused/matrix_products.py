"""Products of matrices: tiles of the result stay in registers.

A tile reads rows of the second matrix in panels as wide as itself, which are copied so that they
follow one another, unless few rows of the first would read them (Goto and van de Geijn, *Anatomy of
high-performance matrix multiplication*, 2008). For matrices as layers have them it takes less time
than BLAS, which copies both; and it runs where BLAS can't be called.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
from typing import Any

from llvmlite import ir
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic, register_jitable

from tapegrad.kernels.fused import vectors
from tapegrad.kernels.fused.vectors import VECTOR_BYTES, Vectors, number
from tapegrad.kernels.native import pointer_to, size_of

__all__ = ["stamp", "tile_products"]

#: Rows and columns of the result in a tile of dot products.
DOTS = (2, 6) if VECTOR_BYTES == 32 else (4, 6)
#: Rows of a tile of `_row_sums`, and of one for what is left of them; vectors of columns.
ROWS, FEW_ROWS = 6, 2
WIDTH = 2 if VECTOR_BYTES == 32 else 4
#: So few rows read the second matrix where it is; by dot products, if they are so long.
FEW, LONG = 16, 128
#: Rows of a panel: it stays in the cache, and one long sum of singles would lose digits.
DEPTH = 256


def _up_to(builder: Any, count: int, last: Any) -> list[Any]:
    """The first numbers, of which those after the last are the last one again."""
    numbers = [number(i) for i in range(count)]
    return [builder.select(builder.icmp_signed("<", i, last), i, last) for i in numbers]


def _pointer(v: Vectors, address: Any, *offsets: Any) -> Any:
    """A pointer some bytes after an address."""
    for offset in offsets:
        address = v.builder.add(address, offset)
    return v.builder.inttoptr(address, v.real.as_pointer())


def _columns(v: Vectors, columns: Any, width: int) -> list[tuple[Any, Any]]:
    """The vectors of a tile's columns: where each begins, in bytes, and a mask of what is there."""
    starts = [k * v.lanes for k in range(width)]
    masks = [v.first(v.builder.sub(columns, number(start))) for start in starts]
    return [(number(s * v.itemsize), mask) for s, mask in zip(starts, masks, strict=True)]


@intrinsic
def _dots(
    typingctx: Any, zero: Any, x: Any, x_row: Any, y: Any, y_step: Any, inner: Any, last_row: Any,
    last_column: Any, there: Any, there_row: Any, out: Any, out_row: Any,
) -> Any:  # fmt: skip
    """``out[r, c] = sum(x[r, k] * y[k, c])`` for a tile of DOTS, where k is next to k + 1.

    With ``there`` as in `_row_sums`; rows and columns after the last do the same as that.
    """

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        _, x, x_row, y, y_step, inner, last_row, last_column, *rest = given
        there, there_row, out, out_row = rest
        v = Vectors(context, builder, zero)
        sums = v.zeros(DOTS[0] * DOTS[1])
        rows, columns = _up_to(builder, DOTS[0], last_row), _up_to(builder, DOTS[1], last_column)
        xs = [_pointer(v, x, builder.mul(r, x_row)) for r in rows]
        ys = [_pointer(v, y, builder.mul(c, y_step)) for c in columns]

        def add_products(load: Any, k: Any) -> None:
            factors = [load(builder.gep(x, [k])) for x in xs]
            for c in range(DOTS[1]):
                other = load(builder.gep(ys[c], [k]))
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
        adds = builder.icmp_signed("!=", there, number(0))
        for c in range(DOTS[1]):
            for r in range(DOTS[0]):
                new = builder.and_(
                    builder.icmp_signed("<=", number(r), last_row),
                    builder.icmp_signed("<=", number(c), last_column),
                )
                with builder.if_then(new):
                    column = builder.mul(number(c), number(v.itemsize))
                    goal = _pointer(v, out, builder.mul(number(r), out_row), column)
                    total = cgutils.alloca_once_value(
                        builder, v.total(builder.load(sums[r * DOTS[1] + c]))
                    )
                    with builder.if_then(adds):
                        old = _pointer(v, there, builder.mul(number(r), there_row), column)
                        sum_ = builder.fadd(builder.load(total), builder.load(old))
                        builder.store(sum_, total)
                    builder.store(builder.load(total), goal)
        return context.get_dummy_value()

    return types.void(zero, *(types.int64,) * 11), generate


def _row_sums(height: int, width: int) -> Any:
    @intrinsic
    def tile(
        typingctx: Any, zero: Any, x: Any, x_row: Any, x_step: Any, y: Any, y_row: Any, inner: Any,
        last_row: Any, columns: Any, there: Any, there_row: Any, out: Any, out_row: Any,
    ) -> Any:  # fmt: skip
        """``out[r, c] = sum(x[r, k] * y[k, c])`` over all k below ``inner``, for a tile.

        For up to ``width`` vectors of ``columns``; added to ``there[r, c]``, unless that address is
        0. Rows after the last do the same as that.
        """

        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            _, x, x_row, x_step, y, y_row, inner, last_row, columns, *rest = given
            there, there_row, out, out_row = rest
            v = Vectors(context, builder, zero)
            sums = v.zeros(height * width)
            rows = _up_to(builder, height, last_row)
            xs = [builder.add(x, builder.mul(r, x_row)) for r in rows]
            parts = _columns(v, columns, width)
            with cgutils.for_range(builder, inner) as loop:
                row, k = builder.mul(loop.index, y_row), builder.mul(loop.index, x_step)
                ys = [v.load_where(mask, _pointer(v, y, row, start)) for start, mask in parts]
                for r in range(height):
                    factor = v.everywhere(builder.load(_pointer(v, xs[r], k)))
                    for i in range(width):
                        v.add_product(sums[r * width + i], ys[i], factor)
            with builder.if_then(builder.icmp_signed("!=", there, number(0))):
                for r in range(height):
                    for i, (start, mask) in enumerate(parts):
                        old = _pointer(v, there, builder.mul(rows[r], there_row), start)
                        v.add(sums[r * width + i], v.load_where(mask, old))
            for r in range(height):
                with builder.if_then(builder.icmp_signed("<=", number(r), last_row)):
                    for i, (start, mask) in enumerate(parts):
                        goal = _pointer(v, out, builder.mul(rows[r], out_row), start)
                        v.store_where(mask, builder.load(sums[r * width + i]), goal)
            return context.get_dummy_value()

        return types.void(zero, *(types.int64,) * 12), generate

    return tile


_tile, _low_tile = _row_sums(ROWS, WIDTH), _row_sums(FEW_ROWS, WIDTH)
_narrow_tile = _row_sums(2 * ROWS, 1)


@intrinsic
def _panel(typingctx: Any, zero: Any) -> Any:
    """Room for a panel, on the stack; of two functions' calls it isn't the same."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        # Whole blocks are written, and vectors are to lie in one line of the cache.
        size = number((DEPTH + 1) * WIDTH * VECTOR_BYTES)
        with builder.goto_entry_block():
            room = builder.alloca(ir.IntType(8), size)
        room.align = VECTOR_BYTES
        return builder.ptrtoint(room, ir.IntType(64))

    return types.int64(zero), generate


@intrinsic
def _copied(
    typingctx: Any, zero: Any, y: Any, y_row: Any, depth: Any, columns: Any, panel: Any
) -> Any:  # fmt: skip
    """Rows of a panel, whose elements follow one another in y."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        _, y, y_row, depth, columns, panel = given
        v = Vectors(context, builder, zero)
        parts = _columns(v, columns, WIDTH)
        with cgutils.for_range(builder, depth) as loop:
            row = builder.mul(loop.index, y_row)
            to = builder.mul(loop.index, number(WIDTH * VECTOR_BYTES))
            for start, mask in parts:
                copy = v.load_where(mask, _pointer(v, y, row, start))
                v.store(copy, _pointer(v, panel, to, start))
        return context.get_dummy_value()

    return types.void(zero, *(types.int64,) * 5), generate


@intrinsic
def _turned(
    typingctx: Any, zero: Any, y: Any, y_step: Any, depth: Any, columns: Any, panel: Any
) -> Any:  # fmt: skip
    """A block of a panel, as many rows as a vector has lanes, whose columns follow in y.

    Rounds of perfect shuffles turn it over.
    """

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        _, y, y_step, depth, columns, panel = given
        v = Vectors(context, builder, zero)
        mask = v.first(depth)
        lines = _up_to(builder, v.lanes, builder.sub(columns, number(1)))
        block = [v.load_where(mask, _pointer(v, y, builder.mul(c, y_step))) for c in lines]
        half = v.lanes // 2
        for _ in range(half.bit_length()):
            pairs = [v.alternating(block[i], block[i + half]) for i in range(half)]
            block = [vector for pair in pairs for vector in pair]
        for k, vector in enumerate(block):
            v.store(vector, _pointer(v, panel, number(k * WIDTH * VECTOR_BYTES)))
        return context.get_dummy_value()

    return types.void(zero, *(types.int64,) * 5), generate


@register_jitable
def _fill_panel(
    zero: Any, y: Any, y_row: Any, y_step: Any, depth: Any, columns: Any, panel: Any
) -> None:
    """Copy ``depth`` rows of up to WIDTH vectors of columns; whole blocks may be written."""
    size = size_of(zero)
    lanes = VECTOR_BYTES // size
    if y_step == size:
        _copied(zero, y, y_row, depth, columns, panel)
    elif y_row == size:
        for k in range(0, depth, lanes):
            for c in range(0, columns, lanes):
                _turned(
                    zero, y + k * size + c * y_step, y_step, depth - k, columns - c,
                    panel + (k * WIDTH * lanes + c) * size,
                )  # fmt: skip
    else:
        to = carray(pointer_to(panel, zero), depth * WIDTH * lanes)
        for k in range(depth):
            for c in range(columns):
                at = y + k * y_row + c * y_step
                to[k * WIDTH * lanes + c] = carray(pointer_to(at, zero), 1)[0]


@register_jitable
def _dot_products(
    zero: Any, sizes: Any, x: Any, x_row: Any, y: Any, y_step: Any, there: Any, there_row: Any,
    out: Any, out_row: Any,
) -> None:  # fmt: skip
    size = size_of(zero)
    rows, inner, columns = sizes
    for c in range(0, columns, DOTS[1]):
        for r in range(0, rows, DOTS[0]):
            old = there + r * there_row + c * size if there != 0 else there
            _dots(
                zero, x + r * x_row, x_row, y + c * y_step, y_step, inner,
                min(rows - r, DOTS[0]) - 1, min(columns - c, DOTS[1]) - 1, old, there_row,
                out + r * out_row + c * size, out_row,
            )  # fmt: skip


@register_jitable
def _products_with_panel(
    zero: Any, rows: Any, depth: Any, columns: Any, x: Any, x_row: Any, x_step: Any, panel: Any,
    panel_row: Any, there: Any, there_row: Any, out: Any, out_row: Any,
) -> None:  # fmt: skip
    narrow = columns <= VECTOR_BYTES // size_of(zero)
    r = 0
    while r < rows:
        left, row, to = rows - r, x + r * x_row, out + r * out_row
        old = there + r * there_row if there != 0 else there
        if narrow:
            _narrow_tile(
                zero, row, x_row, x_step, panel, panel_row, depth, min(left, 2 * ROWS) - 1,
                columns, old, there_row, to, out_row,
            )  # fmt: skip
            r += 2 * ROWS
        elif left > 2 * FEW_ROWS:
            _tile(
                zero, row, x_row, x_step, panel, panel_row, depth, min(left, ROWS) - 1, columns,
                old, there_row, to, out_row,
            )  # fmt: skip
            r += ROWS
        else:
            _low_tile(
                zero, row, x_row, x_step, panel, panel_row, depth, min(left, FEW_ROWS) - 1, columns,
                old, there_row, to, out_row,
            )  # fmt: skip
            r += FEW_ROWS


@register_jitable
def tile_products(
    zero: Any, sizes: Any, x: Any, x_row: Any, x_step: Any, y: Any, y_row: Any, y_step: Any,
    there: Any, there_row: Any, out: Any, out_row: Any,
) -> None:  # fmt: skip
    """``out = x @ y``, of sizes (rows, inner, columns), plus what is ``there``, unless that is 0.

    Addresses, and steps in bytes: from row to row, and for x and y also within a row.
    """
    size = size_of(zero)
    lanes = VECTOR_BYTES // size
    rows, inner, columns = sizes
    dots = rows <= FEW and inner >= LONG and x_step == size and y_row == size
    if dots and y_step != size:
        _dot_products(zero, sizes, x, x_row, y, y_step, there, there_row, out, out_row)
        return
    width = WIDTH * lanes
    copies = y_step != size or rows > FEW
    room = _panel(zero)
    c = 0
    while c < columns:
        some = min(columns - c, width)
        if some <= 2 * lanes:
            some = min(some, lanes)
        for k in range(0, max(inner, 1), DEPTH):
            depth = min(inner - k, DEPTH)
            panel, panel_row, to = y + k * y_row + c * y_step, y_row, out + c * size
            if copies:
                _fill_panel(zero, panel, y_row, y_step, depth, some, room)
                panel, panel_row = room, width * size
            old, old_row = to, out_row
            if k == 0:
                old, old_row = there + c * size if there != 0 else there, there_row
            _products_with_panel(
                zero, rows, depth, some, x + k * x_step, x_row, x_step, panel, panel_row, old,
                old_row, to, out_row,
            )  # fmt: skip
        c += some


@functools.cache
def stamp() -> bytes:
    """A digest of this code, for the keys of the kernel cache: functions don't show all of it."""
    source = inspect.getsource(sys.modules[__name__]) + inspect.getsource(vectors)
    return hashlib.sha256(source.encode()).digest()

"""Sums of products of which a tile stays in registers: what convolutions are made of.

A *tap* is a pair of offsets: of the elements that one position of a window reads, and of its
weight. `window_sums` adds up the taps of several outputs at a run of places, without writing the
windows out (Dukhan, *The indirect convolution algorithm*, 2019); `tap_products` sums over the
places instead. Both read whole vectors, beyond the last place.
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, register_jitable

from tapegrad.kernels.fused.vectors import VECTOR_BYTES, Vectors, number
from tapegrad.kernels.native import size_of

__all__ = ["PRODUCTS", "alternating_runs", "shifted_run", "tap_products", "window_sums"]

#: How many vectors of places make a tile of 6 outputs.
VECTORS = 2 if VECTOR_BYTES == 32 else 4
#: Outputs and taps of a tile of `tap_products`.
PRODUCTS = (4, 3) if VECTOR_BYTES == 32 else (4, 6)


def _smaller(builder: Any, x: Any, y: Any) -> Any:
    return builder.select(builder.icmp_signed("<", x, y), x, y)


def _pair(builder: Any, table: Any, index: Any) -> tuple[Any, Any]:
    pointer = builder.inttoptr(table, ir.IntType(64).as_pointer())
    twice = builder.mul(index, number(2))
    first = builder.load(builder.gep(pointer, [twice]))
    return first, builder.load(builder.gep(pointer, [builder.add(twice, number(1))]))


def _tile_of_sums(outputs: int, vectors: int) -> Any:
    @intrinsic
    def tile(
        typingctx: Any, zero: Any, x: Any, w: Any, taps: Any, count: Any, stride: Any, last: Any,
        out: Any, step: Any,
    ) -> Any:  # fmt: skip
        """``out[r * step + j] = sum(x[j + tap[0]] * w[r * stride + tap[1]])`` over the taps.

        For ``outputs`` r, of which those after ``last`` do the same as that.
        """

        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            _, x, w, taps, count, stride, last, out, step = given
            v = Vectors(context, builder, zero)
            sums = v.zeros(outputs * vectors)
            rows = [_smaller(builder, number(r), last) for r in range(outputs)]
            starts = [v.at(w, builder.mul(r, stride)) for r in rows]
            with cgutils.for_range(builder, count) as loop:
                place, weight = _pair(builder, taps, loop.index)
                xs = [v.load(v.at(x, place, number(k * v.lanes))) for k in range(vectors)]
                for r in range(outputs):
                    scalar = builder.load(builder.gep(starts[r], [weight]))
                    factor = v.everywhere(scalar)
                    for k in range(vectors):
                        v.add_product(sums[r * vectors + k], xs[k], factor)
            for r in range(outputs):
                for k in range(vectors):
                    goal = v.at(out, number(k * v.lanes), builder.mul(rows[r], step))
                    v.store(builder.load(sums[r * vectors + k]), goal)
            return context.get_dummy_value()

        whole = (types.int64,) * 8
        return types.void(zero, *whole), generate

    return tile


@intrinsic
def tap_products(
    typingctx: Any, zero: Any, x: Any, x_step: Any, bar: Any, bar_step: Any, examples: Any,
    places: Any, taps: Any, last_tap: Any, stride: Any, last: Any, out: Any, row: Any,
) -> Any:  # fmt: skip
    """``out[r * row + t] += sum(bar[r * stride + j] * x[j + taps[t][0]])`` over the places j.

    For PRODUCTS outputs r and taps t, of which those after the last do the same as that; and over
    examples, which are ``x_step`` and ``bar_step`` apart.
    """
    outputs, width = PRODUCTS

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        _, x, x_step, bar, bar_step, examples, places, taps, last_tap, *rest = given
        stride, last, out, row = rest
        v = Vectors(context, builder, zero)
        sums = v.zeros(outputs * width)
        rows = [_smaller(builder, number(r), last) for r in range(outputs)]
        columns = [_smaller(builder, number(t), last_tap) for t in range(width)]
        starts = [builder.mul(r, stride) for r in rows]
        offsets = [_pair(builder, taps, t)[0] for t in columns]
        lanes = number(v.lanes)
        count = builder.udiv(builder.add(places, number(v.lanes - 1)), lanes)
        with cgutils.for_range(builder, examples) as example:
            xs = [v.at(x, o, builder.mul(example.index, x_step)) for o in offsets]
            bars = [v.at(bar, s, builder.mul(example.index, bar_step)) for s in starts]
            with cgutils.for_range(builder, count) as loop:
                j = builder.mul(loop.index, lanes)
                ys = [v.load(builder.gep(b, [j])) for b in bars]
                for t in range(width):
                    window = v.load(builder.gep(xs[t], [j]))
                    for r in range(outputs):
                        v.add_product(sums[r * width + t], window, ys[r])
        for r in range(outputs):
            for t in range(width):
                goal = v.at(out, builder.mul(rows[r], row), columns[t])
                new = builder.and_(
                    builder.icmp_signed("<=", number(r), last),
                    builder.icmp_signed("<=", number(t), last_tap),
                )
                with builder.if_then(new):
                    share = v.total(builder.load(sums[r * width + t]))
                    builder.store(builder.fadd(builder.load(goal), share), goal)
        return context.get_dummy_value()

    whole = (types.int64,) * 12
    return types.void(zero, *whole), generate


@intrinsic
def shifted_run(typingctx: Any, zero: Any, source: Any, to: Any, count: Any, shift: Any) -> Any:
    """``to[j] = source[j] + shift`` for ``count`` elements at two addresses, which don't overlap.

    A short run is done in a few instructions, where a loop would first look which run it is.
    """

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        _, source, to, count, shift = given
        v = Vectors(context, builder, zero)
        shifts = v.everywhere(shift)
        whole = builder.udiv(count, number(v.lanes))
        with cgutils.for_range(builder, whole) as loop:
            j = builder.mul(loop.index, number(v.lanes))
            v.store(builder.fadd(v.load(v.at(source, j)), shifts), v.at(to, j))
        done = builder.mul(whole, number(v.lanes))
        left = builder.sub(count, done)
        with builder.if_then(builder.icmp_signed(">", left, number(0))):
            mask = v.first(left)
            part = builder.fadd(v.load_where(mask, v.at(source, done)), shifts)
            v.store_where(mask, part, v.at(to, done))
        return context.get_dummy_value()

    return types.void(zero, types.int64, types.int64, types.int64, zero), generate


@intrinsic
def alternating_runs(
    typingctx: Any, zero: Any, source: Any, to: Any, other: Any, count: Any
) -> Any:  # fmt: skip
    """``to[j] = source[2 * j]`` and ``other[j] = source[2 * j + 1]``, of ``count`` elements."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        _, source, to, other, count = given
        v = Vectors(context, builder, zero)
        step = number(2 * v.lanes)
        with cgutils.for_range_slice(builder, number(0), count, step, inc=True) as (j, _):
            left, half = builder.sub(count, j), builder.udiv(j, number(2))
            masks = v.first(left), v.first(builder.sub(left, number(v.lanes)))
            parts = [
                v.load_where(mask, v.at(source, j, number(k * v.lanes)))
                for k, mask in enumerate(masks)
            ]
            even = v.first(builder.udiv(builder.add(left, number(1)), number(2)))
            odd = v.first(builder.udiv(left, number(2)))
            for goal, mask, values in zip((to, other), (even, odd), v.halves(*parts), strict=True):
                v.store_where(mask, values, v.at(goal, half))
        return context.get_dummy_value()

    return types.void(zero, *(types.int64,) * 4), generate


_wide_6, _wide_3, _wide_1 = (_tile_of_sums(r, VECTORS) for r in (6, 3, 1))
_single_6, _single_3, _single_1 = (_tile_of_sums(r, 1) for r in (6, 3, 1))


@register_jitable
def window_sums(
    zero: Any, x: Any, w: Any, taps: Any, count: Any, stride: Any, outputs: Any, places: Any,
    out: Any, step: Any,
) -> None:  # fmt: skip
    """``out[r * step + j] = sum(x[j + tap[0]] * w[r * stride + tap[1]])`` over ``count`` taps.

    For all outputs r and places j, whose number is rounded up to whole vectors. ``x``, ``w``,
    ``taps`` (pairs of int64) and ``out`` are addresses.
    """
    itemsize = size_of(zero)
    lanes = VECTOR_BYTES // itemsize
    r = 0
    while r < outputs:
        left = outputs - r
        weights, goal = w + r * stride * itemsize, out + r * step * itemsize
        j = 0
        while j < places:
            window, to = x + j * itemsize, goal + j * itemsize
            several = places - j > (VECTORS - 1) * lanes
            last = left - 1
            if left > 3:
                if several:
                    _wide_6(zero, window, weights, taps, count, stride, last, to, step)
                else:
                    _single_6(zero, window, weights, taps, count, stride, last, to, step)
            elif left > 1:
                if several:
                    _wide_3(zero, window, weights, taps, count, stride, last, to, step)
                else:
                    _single_3(zero, window, weights, taps, count, stride, last, to, step)
            elif several:
                _wide_1(zero, window, weights, taps, count, stride, last, to, step)
            else:
                _single_1(zero, window, weights, taps, count, stride, last, to, step)
            j += VECTORS * lanes if several else lanes
        r += 6 if left > 3 else 3 if left > 1 else 1

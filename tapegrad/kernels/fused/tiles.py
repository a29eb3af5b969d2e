"""Sums of products of which a tile stays in registers: what convolutions are made of.

A *tap* is a pair of offsets: of the elements that one position of a window reads, and of its weight.
`window_sums` adds up the taps of several outputs at a run of places, without writing the windows
out (Dukhan, *The indirect convolution algorithm*, 2019); `tap_products` sums over the places
instead. Both read whole vectors, up to ROOM elements beyond the last place.
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir
from llvmlite import binding
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, register_jitable

from tapegrad.kernels.native import size_of

__all__ = ["PRODUCTS", "ROOM", "VECTORS", "shifted_run", "tap_products", "window_sums"]

_features = binding.get_host_cpu_features()
#: Bytes of a vector register, and how many vectors of places make a tile of 6 outputs.
VECTOR_BYTES = 64 if _features.get("avx512f") else 32 if _features.get("avx2") else 16
VECTORS = 2 if VECTOR_BYTES == 32 else 4
#: Outputs and taps of a tile of `tap_products`.
PRODUCTS = (4, 3) if VECTOR_BYTES == 32 else (4, 6)
#: Elements that may be read beyond the last place.
ROOM = VECTORS * 64

_I64 = ir.IntType(64)


def _number(value: int) -> ir.Constant:
    return ir.Constant(_I64, value)


class _Vectors:
    """Vectors of a real type, in the code that is being built."""

    def __init__(self, context: Any, builder: Any, zero: Any) -> None:
        self.builder = builder
        self.real = context.get_value_type(zero)
        self.itemsize = zero.bitwidth // 8
        self.lanes = VECTOR_BYTES // self.itemsize
        self.kind = ir.VectorType(self.real, self.lanes)

    def at(self, address: Any, *offsets: Any) -> Any:
        """A pointer to an element some offsets after an address."""
        pointer = self.builder.inttoptr(address, self.real.as_pointer())
        for offset in offsets:
            pointer = self.builder.gep(pointer, [offset])
        return pointer

    def load(self, pointer: Any) -> Any:
        whole = self.builder.bitcast(pointer, self.kind.as_pointer())
        return self.builder.load(whole, align=self.itemsize)

    def store(self, value: Any, pointer: Any) -> None:
        whole = self.builder.bitcast(pointer, self.kind.as_pointer())
        self.builder.store(value, whole, align=self.itemsize)

    def first(self, count: Any) -> Any:
        """A mask of the first elements."""
        kind = ir.VectorType(ir.IntType(32), self.lanes)
        counted = ir.Constant(kind, list(range(self.lanes)))
        return self.builder.icmp_signed(
            "<", counted, self.everywhere(self.builder.trunc(count, ir.IntType(32)))
        )

    def load_where(self, mask: Any, pointer: Any) -> Any:
        whole = self.kind.as_pointer()
        kind = ir.FunctionType(self.kind, [whole, ir.IntType(32), mask.type, self.kind])
        function = self._intrinsic("masked.load", kind, ".p0")
        pointer = self.builder.bitcast(pointer, whole)
        align = ir.Constant(ir.IntType(32), self.itemsize)
        return self.builder.call(function, [pointer, align, mask, ir.Constant(self.kind, None)])

    def store_where(self, mask: Any, value: Any, pointer: Any) -> None:
        whole = self.kind.as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [self.kind, whole, ir.IntType(32), mask.type])
        function = self._intrinsic("masked.store", kind, ".p0")
        align = ir.Constant(ir.IntType(32), self.itemsize)
        self.builder.call(function, [value, self.builder.bitcast(pointer, whole), align, mask])

    def everywhere(self, scalar: Any) -> Any:
        none = ir.Constant(ir.VectorType(scalar.type, self.lanes), ir.Undefined)
        first = self.builder.insert_element(none, scalar, ir.Constant(ir.IntType(32), 0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, none, mask)

    def zeros(self, count: int) -> list[Any]:
        """Variables for sums, which LLVM keeps in registers."""
        made = [cgutils.alloca_once(self.builder, self.kind) for _ in range(count)]
        for variable in made:
            self.builder.store(ir.Constant(self.kind, None), variable)
        return made

    def _intrinsic(self, name: str, kind: Any, memory: str = "") -> Any:
        suffix = f"v{self.lanes}f{8 * self.itemsize}{memory}"
        module = self.builder.module
        return cgutils.get_or_insert_function(module, kind, f"llvm.{name}.{suffix}")

    def add_product(self, variable: Any, x: Any, y: Any) -> None:
        before = self.builder.load(variable)
        function = self._intrinsic("fmuladd", ir.FunctionType(self.kind, [self.kind] * 3))
        self.builder.store(self.builder.call(function, [x, y, before]), variable)

    def total(self, vector: Any) -> Any:
        kind = ir.FunctionType(self.real, [self.real, self.kind])
        function = self._intrinsic("vector.reduce.fadd", kind)
        start = ir.Constant(self.real, -0.0)
        return self.builder.call(function, [start, vector], fastmath=("reassoc", "nsz"))


def _smaller(builder: Any, x: Any, y: Any) -> Any:
    return builder.select(builder.icmp_signed("<", x, y), x, y)


def _pair(builder: Any, table: Any, index: Any) -> tuple[Any, Any]:
    pointer = builder.inttoptr(table, _I64.as_pointer())
    twice = builder.mul(index, _number(2))
    first = builder.load(builder.gep(pointer, [twice]))
    return first, builder.load(builder.gep(pointer, [builder.add(twice, _number(1))]))


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
            v = _Vectors(context, builder, zero)
            sums = v.zeros(outputs * vectors)
            rows = [_smaller(builder, _number(r), last) for r in range(outputs)]
            starts = [v.at(w, builder.mul(r, stride)) for r in rows]
            with cgutils.for_range(builder, count) as loop:
                place, weight = _pair(builder, taps, loop.index)
                xs = [v.load(v.at(x, place, _number(k * v.lanes))) for k in range(vectors)]
                for r in range(outputs):
                    scalar = builder.load(builder.gep(starts[r], [weight]))
                    factor = v.everywhere(scalar)
                    for k in range(vectors):
                        v.add_product(sums[r * vectors + k], xs[k], factor)
            for r in range(outputs):
                for k in range(vectors):
                    goal = v.at(out, _number(k * v.lanes), builder.mul(rows[r], step))
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
        _, x, x_step, bar, bar_step, examples, places, taps, last_tap, stride, last, out, row = given
        v = _Vectors(context, builder, zero)
        sums = v.zeros(outputs * width)
        rows = [_smaller(builder, _number(r), last) for r in range(outputs)]
        columns = [_smaller(builder, _number(t), last_tap) for t in range(width)]
        starts = [builder.mul(r, stride) for r in rows]
        offsets = [_pair(builder, taps, t)[0] for t in columns]
        lanes = _number(v.lanes)
        count = builder.udiv(builder.add(places, _number(v.lanes - 1)), lanes)
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
                    builder.icmp_signed("<=", _number(r), last),
                    builder.icmp_signed("<=", _number(t), last_tap),
                )
                with builder.if_then(new):
                    share = v.total(builder.load(sums[r * width + t]))
                    builder.store(builder.fadd(builder.load(goal), share), goal)
        return context.get_dummy_value()

    whole = (types.int64,) * 12
    return types.void(zero, *whole), generate


@intrinsic
def shifted_run(
    typingctx: Any, zero: Any, source: Any, to: Any, count: Any, shift: Any
) -> Any:
    """``to[j] = source[j] + shift`` for ``count`` elements at two addresses, which don't overlap.

    A short run is done in a few instructions, where a loop would first look which run it is.
    """

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        _, source, to, count, shift = given
        v = _Vectors(context, builder, zero)
        shifts = v.everywhere(shift)
        whole = builder.udiv(count, _number(v.lanes))
        with cgutils.for_range(builder, whole) as loop:
            j = builder.mul(loop.index, _number(v.lanes))
            v.store(builder.fadd(v.load(v.at(source, j)), shifts), v.at(to, j))
        done = builder.mul(whole, _number(v.lanes))
        left = builder.sub(count, done)
        with builder.if_then(builder.icmp_signed(">", left, _number(0))):
            mask = v.first(left)
            part = builder.fadd(v.load_where(mask, v.at(source, done)), shifts)
            v.store_where(mask, part, v.at(to, done))
        return context.get_dummy_value()

    return types.void(zero, types.int64, types.int64, types.int64, zero), generate


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

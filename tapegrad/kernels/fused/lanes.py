"""Sums and maxima whose order is free, so that LLVM may take many elements at a time."""

from __future__ import annotations

from typing import Any, TypeAlias

import llvmlite.ir as ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, register_jitable
from numba.np.arrayobj import populate_array

from tapegrad.kernels.fused.vectors import number
from tapegrad.kernels.native import like

__all__ = [
    "RUN",
    "Array",
    "Bools",
    "Indices",
    "Int",
    "Real",
    "Strided",
    "Tools",
    "added",
    "larger",
    "part",
    "part_at",
    "rank",
    "ranked_as",
    "room_for",
    "squares_of",
    "total_of",
]

#: What parameters of a fused function are: see `kernels.fused`.
Array: TypeAlias = Any
Bools: TypeAlias = Any
Indices: TypeAlias = Any
Int: TypeAlias = Any
Real: TypeAlias = Any
Strided: TypeAlias = Any
Tools: TypeAlias = Any


@intrinsic
def added(typingctx: Any, total: Any, x: Any) -> Any:
    """``total + x``, to be reordered with other such additions."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        x = context.cast(builder, given[1], signature.args[1], signature.args[0])
        return builder.fadd(given[0], x, flags=("reassoc", "nsz", "contract"))

    return total(total, x), generate


@intrinsic
def rank(typingctx: Any, x: Any) -> Any:
    """An integer that grows with the number: LLVM takes the largest of many of them at a time."""
    whole = types.int32 if x == types.float32 else types.int64

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return _ranked(builder, given[0], whole.bitwidth)

    return whole(x), generate


@intrinsic
def larger(typingctx: Any, ranked: Any, x: Any) -> Any:
    """The larger of a rank and that of a number."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        other = _ranked(builder, given[1], ranked.bitwidth)
        return builder.select(builder.icmp_signed(">", given[0], other), given[0], other)

    return ranked(ranked, x), generate


@intrinsic
def ranked_as(typingctx: Any, ranked: Any) -> Any:
    """The number of a rank."""
    real = types.float32 if ranked == types.int32 else types.float64

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kind = context.get_value_type(real)
        return builder.bitcast(_turned(builder, given[0], ranked.bitwidth), kind)

    return real(ranked), generate


def _ranked(builder: Any, x: Any, bits: int) -> Any:
    return _turned(builder, builder.bitcast(x, ir.IntType(bits)), bits)


def _turned(builder: Any, x: Any, bits: int) -> Any:
    """With all bits but the sign turned over in negative ones: the way there, and back."""
    kind = ir.IntType(bits)
    signs = builder.ashr(x, kind(bits - 1))
    return builder.xor(x, builder.and_(signs, kind(2 ** (bits - 1) - 1)))


@intrinsic
def part_at(typingctx: Any, x: Any, start: Any, n: Any) -> Any:
    """n elements from ``start`` on. All of them must be there: a slice would be cut off."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        whole = context.make_array(x)(context, builder, given[0])
        some = context.make_array(x)(context, builder)
        data = builder.gep(whole.data, [given[1]])
        itemsize, shape = whole.itemsize, [given[2]]
        populate_array(some, data, shape, [itemsize], itemsize, None)
        return some._getvalue()

    return x(x, types.int64, types.int64), generate


@register_jitable
def part(x: Any, i: Any, n: Any) -> Any:
    """The ``i``-th run of ``n`` elements."""
    return part_at(x, i * n, n)


@intrinsic(prefer_literal=True)
def room_for(typingctx: Any, count: Any, zero: Any) -> Any:
    """An array of ``count`` numbers, a constant, on the stack: gone when the function ends."""
    kind = types.Array(zero, 1, "C")

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        whole = ir.ArrayType(context.get_value_type(zero), count.literal_value)
        data = builder.gep(cgutils.alloca_once(builder, whole), [number(0), number(0)])
        some = context.make_array(kind)(context, builder)
        shape, itemsize = [number(count.literal_value)], number(zero.bitwidth // 8)
        populate_array(some, data, shape, [itemsize], itemsize, None)
        return some._getvalue()

    return kind(count, zero), generate


#: Float32 sums of longer runs would lose digits: theirs are added in float64.
RUN = 1024


@register_jitable
def total_of(x: Any) -> Any:
    """The sum of all elements, in float64."""
    total = 0.0
    for start in range(0, x.size, RUN):
        run = part_at(x, start, min(RUN, x.size - start))
        some = like(x[0], 0)
        for k in range(run.size):
            some = added(some, run[k])
        total += some
    return total


@register_jitable
def squares_of(x: Any, mean: Any) -> Any:
    """The sum of the squares of ``x - mean``, in float64."""
    total = 0.0
    for start in range(0, x.size, RUN):
        run = part_at(x, start, min(RUN, x.size - start))
        some = like(mean, 0)
        for k in range(run.size):
            apart = run[k] - mean
            some = added(some, apart * apart)
        total += some
    return total

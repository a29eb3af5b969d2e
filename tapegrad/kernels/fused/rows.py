"""Rows of whole vectors at some address: what is done to all their elements, and sums of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tapegrad.kernels.fused.vectors import Vectors, number
from tapegrad.kernels.vectormath.exponential import exp
from tapegrad.kernels.vectormath.values import Real

__all__ = ["CHUNK", "softmax_adjoint", "softmax_row"]


#: Elements that are whole vectors, whatever the processor and the dtype.
CHUNK = 16


def _for_each(v: Vectors, count: Any, step: Callable[[Any], None]) -> None:
    """Do a step at each vector of ``count`` elements; the last may have others, too."""
    whole = v.builder.udiv(v.builder.add(count, number(v.lanes - 1)), number(v.lanes))
    with cgutils.for_range(v.builder, whole) as loop:
        step(v.builder.mul(loop.index, number(v.lanes)))


@intrinsic
def softmax_row(typingctx: Any, zero: Any, row: Any, end: Any, count: Any) -> Any:
    """The softmax of the first ``end`` numbers of a row of ``count``; the others become 0."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        _, row, end, count = given
        v = Vectors(context, builder, zero)
        lowest = v.everywhere(ir.Constant(v.real, float("-inf")))
        largest, total = cgutils.alloca_once_value(builder, lowest), v.zeros(1)[0]

        def kept(j: Any, x: Any, other: Any) -> Any:
            return builder.select(v.first(builder.sub(end, j)), x, other)

        def find(j: Any) -> None:
            x, y = kept(j, v.load(v.at(row, j)), lowest), builder.load(largest)
            # Of nan it doesn't matter what it is: the sum is nan anyway.
            builder.store(builder.select(builder.fcmp_ordered(">", x, y), x, y), largest)

        _for_each(v, end, find)
        most = v.everywhere(v.largest(builder.load(largest)))

        def weigh(j: Any) -> None:
            e = exp(Real(builder, builder.fsub(v.load(v.at(row, j)), most))).value
            e = kept(j, e, v.nothing)
            builder.store(builder.fadd(builder.load(total), e), total)
            v.store(e, v.at(row, j))

        _for_each(v, end, weigh)
        sums = v.everywhere(v.total(builder.load(total)))
        scale = builder.fdiv(v.everywhere(ir.Constant(v.real, 1.0)), sums)

        def divide(j: Any) -> None:
            v.store(builder.fmul(v.load(v.at(row, j)), scale), v.at(row, j))

        _for_each(v, end, divide)
        last = builder.add(end, number(v.lanes - 1))
        done = builder.sub(last, builder.urem(last, number(v.lanes)))
        rest = v.at(row, done)
        _for_each(v, builder.sub(count, done), lambda j: v.store(v.nothing, builder.gep(rest, [j])))
        return context.get_dummy_value()

    return types.void(zero, row, end, count), generate


@intrinsic
def softmax_adjoint(typingctx: Any, zero: Any, bar: Any, out: Any, count: Any) -> Any:
    """Of softmax: ``bar = (bar - sum(bar * out)) * out``; beyond the row ``out`` is 0."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        _, bar, out, count = given
        v = Vectors(context, builder, zero)
        (total,) = v.zeros(1)
        _for_each(
            v, count, lambda j: v.add_product(total, v.load(v.at(bar, j)), v.load(v.at(out, j)))
        )
        totals = v.everywhere(v.total(builder.load(total)))

        def step(j: Any) -> None:
            at = v.at(bar, j)
            share = builder.fmul(builder.fsub(v.load(at), totals), v.load(v.at(out, j)))
            v.store(share, at)

        _for_each(v, count, step)
        return context.get_dummy_value()

    return types.void(zero, bar, out, count), generate

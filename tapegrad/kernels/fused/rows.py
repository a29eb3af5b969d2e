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

__all__ = ["HEIGHT", "softmax_adjoint", "softmax_row", "softmax_rows"]


def _for_each(v: Vectors, count: Any, step: Callable[[Any], None]) -> None:
    """Do a step at each vector of ``count`` elements; the last may have others, too."""
    whole = v.builder.udiv(v.builder.add(count, number(v.lanes - 1)), number(v.lanes))
    with cgutils.for_range(v.builder, whole) as loop:
        step(v.builder.mul(loop.index, number(v.lanes)))


def _softmax_of_rows(height: int) -> Any:
    """A function of some rows at a time, whose sums then don't wait for one another."""

    @intrinsic
    def softmax_rows(
        typingctx: Any, zero: Any, first: Any, step: Any, last_row: Any, end: Any, growth: Any,
        count: Any, scale: Any,
    ) -> Any:  # fmt: skip
        """The softmax of ``scale`` times rows of ``count`` numbers, of which the last become 0.

        Of the first row they are those from ``end`` on, of each further one ``growth`` later. Rows
        are ``step`` bytes apart, and may be written up to whole vectors; those after the last do
        the same as that.
        """

        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            _, first, step, last_row, end, growth, count, scale = given
            v = Vectors(context, builder, zero)
            scales = v.everywhere(scale)
            lowest = v.everywhere(ir.Constant(v.real, float("-inf")))
            rows, ends, most, sums = [], [], [], v.zeros(height)
            for i in range(height):
                r = builder.select(
                    builder.icmp_signed("<", number(i), last_row), number(i), last_row
                )
                rows.append(builder.add(first, builder.mul(r, step)))
                ends.append(smaller_of(builder, builder.add(end, builder.mul(r, growth)), count))
                most.append(cgutils.alloca_once_value(builder, lowest))
            longest = ends[-1]

            def each(j: Any, new: Callable[[int, Any], Any]) -> None:
                """Replace the vectors at j, which are all read before any is written."""
                old = [v.load(v.at(row, j)) for row in rows]
                for i, value in enumerate([new(i, x) for i, x in enumerate(old)]):
                    v.store(value, v.at(rows[i], j))

            def kept(i: int, j: Any, x: Any, other: Any) -> Any:
                return builder.select(v.first(builder.sub(ends[i], j)), x, other)

            def find(j: Any) -> None:
                for i, row in enumerate(rows):
                    x = kept(i, j, builder.fmul(v.load(v.at(row, j)), scales), lowest)
                    y = builder.load(most[i])
                    # Of nan it doesn't matter what it is: the sum is nan anyway.
                    builder.store(builder.select(builder.fcmp_ordered(">", x, y), x, y), most[i])

            _for_each(v, longest, find)
            largest = [v.everywhere(v.largest(builder.load(variable))) for variable in most]

            def weigh(j: Any) -> None:
                def weight(i: int, x: Any) -> Any:
                    e = exp(Real(builder, builder.fsub(builder.fmul(x, scales), largest[i]))).value
                    e = kept(i, j, e, v.nothing)
                    v.add(sums[i], e)
                    return e

                each(j, weight)

            _for_each(v, longest, weigh)
            one = v.everywhere(ir.Constant(v.real, 1.0))
            totals = [v.everywhere(v.total(builder.load(variable))) for variable in sums]
            shares = [builder.fdiv(one, total) for total in totals]
            _for_each(v, longest, lambda j: each(j, lambda i, x: builder.fmul(x, shares[i])))
            over = builder.add(longest, number(v.lanes - 1))
            done = builder.sub(over, builder.urem(over, number(v.lanes)))

            def clear(j: Any) -> None:
                for row in rows:
                    v.store(v.nothing, v.at(row, done, j))

            _for_each(v, builder.sub(count, done), clear)
            return context.get_dummy_value()

        return types.void(zero, *(types.int64,) * 6, scale), generate

    return softmax_rows


def smaller_of(builder: Any, x: Any, y: Any) -> Any:
    return builder.select(builder.icmp_signed("<", x, y), x, y)


#: So many rows `softmax_rows` takes at a time.
HEIGHT = 4
softmax_row, softmax_rows = _softmax_of_rows(1), _softmax_of_rows(HEIGHT)


@intrinsic
def softmax_adjoint(
    typingctx: Any, zero: Any, bar: Any, out: Any, count: Any, scale: Any
) -> Any:  # fmt: skip
    """Of softmax: ``bar = (bar - sum(bar * out)) * out * scale``; beyond the row ``out`` is 0.

    And bar may be anything there, up to a whole vector.
    """

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        _, bar, out, count, scale = given
        v = Vectors(context, builder, zero)
        (total,) = v.zeros(1)

        def add(j: Any) -> None:
            known = v.load_where(v.first(builder.sub(count, j)), v.at(bar, j))
            v.add_product(total, known, v.load(v.at(out, j)))

        _for_each(v, count, add)
        totals, scales = v.everywhere(v.total(builder.load(total))), v.everywhere(scale)

        def step(j: Any) -> None:
            at = v.at(bar, j)
            share = builder.fmul(builder.fsub(v.load(at), totals), v.load(v.at(out, j)))
            v.store(builder.fmul(share, scales), at)

        _for_each(v, count, step)
        return context.get_dummy_value()

    return types.void(zero, bar, out, count, scale), generate

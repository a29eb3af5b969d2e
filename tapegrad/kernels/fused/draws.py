"""Random numbers, to the last bit those that `tapegrad.random` gets by NumPy.

``word`` and ``state`` are the addresses of the engine's function that gives the next 32 bits, and
of what it is to be given. A count of elements is filled from the first on; ``normals`` turns
numbers in [0, 1) into others, by blocks of 16.
"""

from __future__ import annotations

import math
from typing import Any

import llvmlite.ir as ir
from numba import types
from numba.extending import intrinsic, overload, register_jitable

from tapegrad import variates
from tapegrad.kernels.fused.lanes import Array, Indices, Int, Real, part
from tapegrad.kernels.native import like
from tapegrad.kernels.vectormath import values
from tapegrad.kernels.vectormath.values import fma, where


@intrinsic
def next_word(typingctx: Any, word: Any, state: Any) -> Any:
    """The next 32 bits."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), [ir.IntType(64)])
        function = builder.inttoptr(given[0], kind.as_pointer())
        return builder.zext(builder.call(function, [given[1]]), ir.IntType(64))

    return types.uint64(types.int64, types.int64), generate


@register_jitable
def double_unit(word: Any, state: Any) -> Any:
    """A number in [0, 1) of 53 bits."""
    high = next_word(word, state)
    bits = (high << types.uint64(32) | next_word(word, state)) & types.uint64(2**53 - 1)
    return types.float64(bits) * 2.0**-53


def unit(word: Any, state: Any, zero: Any) -> Any:
    """A number in [0, 1), of as many bits as its type has."""
    raise NotImplementedError("for compiled code only")


@overload(unit)
def _unit(word: Any, state: Any, zero: Any) -> Any:
    def single(word: Any, state: Any, zero: Any) -> Any:
        bits = next_word(word, state) & types.uint64(2**24 - 1)
        return types.float32(bits) * types.float32(2.0**-24)

    def double(word: Any, state: Any, zero: Any) -> Any:
        return double_unit(word, state)

    return single if zero == types.float32 else double


@intrinsic
def rounded_once(typingctx: Any, x: Any, scale: Any, shift: Any) -> Any:
    """``x * scale + shift`` in the type of x."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return fma(*(values.Real(builder, value) for value in given)).value

    return x(x, x, x), generate


def uniforms(begin: Int, end: Int, word: Int, state: Int, out: Array) -> None:
    for i in range(begin, end):
        out[i] = unit(word, state, out[i])


def normal_pairs(
    begin: Int, end: Int, word: Int, state: Int, out: Array, count: Int, scale: Real, shift: Real
) -> None:
    """Scaled are the first ``count``, which may be one less than there are."""
    for i in range(begin, end, 2):
        angle = double_unit(word, state)
        radius = math.sqrt(-2.0 * math.log1p(-double_unit(word, state)))
        theta = 2.0 * math.pi * angle
        out[i] = rounded_once(radius * math.cos(theta), scale, shift)
        out[i + 1] = radius * math.sin(theta)
        if i + 1 < count:
            out[i + 1] = rounded_once(out[i + 1], scale, shift)


def integers(
    begin: Int, end: Int, word: Int, state: Int, out: Indices, low: Int, span: Int
) -> None:
    for i in range(begin, end):
        out[i] = types.int64(next_word(word, state) % types.uint64(span)) + low


def shuffled(begin: Int, end: Int, word: Int, state: Int, out: Indices) -> None:
    for i in range(begin, end - 1):
        other = i + types.int64(next_word(word, state) % types.uint64(end - i))
        out[i], out[other] = out[other], out[i]


# -- normal numbers of blocks: formulas of `variates`, in the same order of operations -------------


def _horner(coefficients: Any, x: Any) -> Any:
    value = fma(x, coefficients[0], coefficients[1])
    for c in coefficients[2:]:
        value = fma(value, x, c)
    return value


def _log32(x: Any) -> Any:
    bits = x.bits()
    exponent = ((bits >> 23) | 0x4B000000).real() - (2.0**23 + 126)  # see `logarithm._split`
    m = ((bits & 0x7FFFFF) | 0x3F000000).real()
    low = m < 0.5**0.5
    e = where(low, exponent - 1, exponent)
    m = (m - 1) + where(low, m, m.constant(0.0))
    z = m * m
    y = fma(_horner(variates.LOG, m) * m, z, e * variates.LN2_LOW)
    return fma(e, variates.LN2_HIGH, m + fma(-z, 0.5, y))


def _sincos32(x: Any) -> tuple[Any, Any]:
    j = ((x * (4 / math.pi)).intrinsic("llvm.floor") + 1) * 0.5
    y = j.intrinsic("llvm.floor") * 2
    for piece in variates.PI_4:
        x = fma(y, -piece, x)
    z = x * x
    cos = fma(_horner(variates.COS, z) * z, z, z * -0.5) + 1
    sin = fma(_horner(variates.SIN, z) * z, x, x)
    by_two, by_four, by_six = y == 2, y == 4, y == 6
    swap = by_two | by_six
    sin, cos = where(swap, cos, sin), where(swap, sin, cos)
    return where(by_four | by_six, -sin, sin), where(by_two | by_four, -cos, cos)


@intrinsic
def block_pair(typingctx: Any, u: Any, w: Any) -> Any:
    """The two normal numbers of float32 numbers in [0, 1)."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        u, w = (values.Real(builder, value) for value in given)
        radius = (_log32(1 - u) * -2).intrinsic("llvm.sqrt")
        sin, cos = _sincos32(w * (2 * math.pi))
        pair = [(radius * cos).value, (radius * sin).value]
        return context.make_tuple(builder, signature.return_type, pair)

    return types.UniTuple(types.float32, 2)(types.float32, types.float32), generate


def pair_of(u: Any, w: Any) -> Any:
    """Two normal numbers of two in [0, 1)."""
    raise NotImplementedError("for compiled code only")


@overload(pair_of)
def _pair_of(u: Any, w: Any) -> Any:
    def single(u: Any, w: Any) -> Any:
        return block_pair(u, w)

    def double(u: Any, w: Any) -> Any:
        radius, theta = math.sqrt(-2.0 * math.log(1 - u)), 2.0 * math.pi * w
        return radius * math.cos(theta), radius * math.sin(theta)

    return single if u == types.float32 else double


def normals(begin: Int, end: Int, out: Array, mean: Real, std: Real) -> None:
    for b in range(begin, end):
        block = part(out, b, 16)
        for k in range(8):
            cos, sin = pair_of(block[k], block[k + 8])
            block[k] = rounded_once(cos, like(cos, std), like(cos, mean))
            block[k + 8] = rounded_once(sin, like(sin, std), like(sin, mean))


def scaled(begin: Int, end: Int, x: Array, scale: Real, shift: Real) -> None:
    for i in range(begin, end):
        x[i] = rounded_once(x[i], like(x[i], scale), like(x[i], shift))

"""exp and its relatives.

``exp(x) = 2**n exp(r)`` with the integer n next to ``x / ln 2``; a polynomial does the rest. r and
what comes of it are kept as sums of a large and a small part until they are added up at the end.
"""

from __future__ import annotations

from tapegrad.kernels.vectormath.coefficients import EXP, LN2, LN2_SHORTENED_32, SINH, TANH
from tapegrad.kernels.vectormath.values import (
    Real,
    fast_two_sum,
    fma,
    maximum,
    minimum,
    polynomial,
    quotient,
    where,
)

__all__ = ["cosh", "exp", "exp2", "expm1", "reduced", "scaled", "sigmoid", "sinh", "tanh"]

LOG2_E = 1.4426950408889634


def reduced(x: Real) -> tuple[Real, Real, Real]:
    """n, r and q with ``exp(x) = 2**n (1 + r + q)``, where q is small against 1."""
    n = (x * LOG2_E).rounded()
    high, low = LN2 if x.double else LN2_SHORTENED_32
    exact = fma(n, -high, x)
    r = fma(n, -low, exact)
    return n, r, fma(r * r, polynomial(r, EXP), fma(n, -low, exact - r))


def scaled(x: Real, n: Real) -> Real:
    """``x * 2**n``, in two steps, since ``2**n`` may be too large or too small a number."""
    half = (n * 0.5).rounded()
    return x * half.power_of_two() * (n - half).power_of_two()


def exp2(x: Real) -> Real:
    x = minimum(maximum(x, -1080.0 if x.double else -160.0), 1030.0 if x.double else 130.0)
    n = x.rounded()
    r = (x - n) * LN2[0]
    return scaled(1 + fma(r * r, polynomial(r, EXP), r), n)


def exp(x: Real) -> Real:
    # 0 isn't computed: processors take their time for numbers below the normal ones.
    vanishes = x < (-746.0 if x.double else -104.0)
    n, r, q = reduced(where(vanishes, 0.0, minimum(x, 89.0 + 621 * x.double)))
    return where(vanishes, 0.0, scaled(1 + (r + q), n))


def _quarter_minus_one(x: Real) -> tuple[Real, Real]:
    """``(exp(x) - 1) / 4`` as a sum. A quarter, as it must not overflow where sinh doesn't."""
    n, r, q = reduced(x)
    scale = (n - 2).power_of_two()
    total, rest = fast_two_sum(scale - 0.25, scale * r)
    return total, fma(scale, q, rest)


def expm1(x: Real) -> Real:
    low, high = (-40.0, 710.6) if x.double else (-20.0, 89.6)
    total, rest = _quarter_minus_one(minimum(maximum(x, low), high))
    return where(abs(x) < 2.0 ** (-x.mantissa - 2), x, (total + rest) * 4)


def sinh(x: Real) -> Real:
    total, rest = _quarter_minus_one(minimum(abs(x), 710.6 if x.double else 89.6))
    half = (total + rest) * 2
    bounded = minimum(half, 2.0**60)  # and not infinite
    far = half + bounded / (bounded * 2 + 1)
    square = x * x
    near = fma(x * square, polynomial(square, SINH), x)
    return where(abs(x) < 1, near, far.signed(x))


def cosh(x: Real) -> Real:
    n, r, q = reduced(minimum(abs(x), 710.6 if x.double else 89.6))
    quarter = (1 + (r + q)) * (n - 2).power_of_two()
    return quarter * 2 + 0.125 / quarter


def tanh(x: Real) -> Real:
    size = abs(x)
    n, r, q = reduced(minimum(size * 2, 44.0 if x.double else 20.0))
    scale = n.power_of_two()
    far = 1 - 2 / (fma(scale, r + q, scale) + 1)
    square = size * size
    near = fma(size * square, polynomial(square, TANH), size)
    return where(size < 0.625, near, far).signed(x)


def sigmoid(x: Real) -> Real:
    """``1 / (1 + exp(-x))``, or for negative x that of ``exp(x) / (1 + exp(x))``."""
    n, r, q = reduced(maximum(-abs(x), -746.0 if x.double else -105.0))
    one = x.constant(1.0)
    e, e_low = fast_two_sum(one, r)
    e, e_low = fast_two_sum(e, e_low + q)
    e, e_low = scaled(e, n), scaled(e_low, n)
    divisor, divisor_low = fast_two_sum(one, e)
    parts = (where(x < 0, e, 1.0), where(x < 0, e_low, 0.0))
    result, low = quotient(*parts, divisor, divisor_low + e_low)
    return result + low

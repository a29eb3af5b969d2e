"""log, log1p, pow and softplus.

``log(x) = k ln 2 + log(m)`` with m between the roots of 1/2 and 2, and
``log(m) = 2 atanh(s)`` for ``s = f / (2 + f)``, ``f = m - 1``.
"""

from __future__ import annotations

import struct

from tapegrad.kernels.vectormath.coefficients import (
    ATANH,
    ATANH_FAR,
    LN2,
    LN2_SHORTENED,
    LN2_SHORTENED_32,
    TWO_THIRDS,
)
from tapegrad.kernels.vectormath.exponential import exp, reduced, scaled
from tapegrad.kernels.vectormath.values import (
    Real,
    fast_two_sum,
    fma,
    maximum,
    minimum,
    polynomial,
    quotient,
    two_product,
    two_sum,
    where,
)

__all__ = ["log", "log1p", "logaddexp", "pow", "softplus"]

INF, NAN = float("inf"), float("nan")


def _bits_of(number: float, like: Real) -> int:
    packed = struct.pack("d" if like.double else "f", number)
    return int.from_bytes(packed, "little")


def _split(x: Real) -> tuple[Real, Real]:
    """k and m with ``x = 2**k m``, for a positive, finite x."""
    tiny = x < 2.0 ** (1 - x.bias)
    x = where(tiny, x * 2.0 ** (x.mantissa + 2), x)
    root, one = _bits_of(0.5**0.5, x), _bits_of(1.0, x)
    bits = x.bits() + (one - root)
    integer = 2.0**x.mantissa  # the lowest bits of this one count
    k = ((bits >> x.mantissa) | _bits_of(integer, x)).real() - (integer + x.bias)
    m = ((bits & (_bits_of(integer, x) ^ _bits_of(2 * integer - 1, x))) + root).real()
    return where(tiny, k - (x.mantissa + 2), k), m


def _sum_with(k: Real, f: Real, correction: Real) -> Real:
    """``k ln 2 + log(1 + f) + correction``."""
    s = f / (2 + f)
    w = s * s
    high, low = LN2_SHORTENED if f.double else LN2_SHORTENED_32
    rest = s * (f - w * polynomial(w, ATANH)) - fma(k, low, correction)
    return fma(k, high, f - rest)


def _where_positive(x: Real, result: Real, shifted: Real) -> Real:
    """The result where it means something: where ``shifted``, x or 1 + x, is positive."""
    outside = where(shifted == 0, -INF, where(shifted < 0, NAN, x))
    return where((shifted > 0) & (shifted < INF), result, outside)


def log(x: Real) -> Real:
    k, m = _split(x)
    f = m - 1
    return _where_positive(x, _sum_with(k, f, f.constant(0.0)), x)


def log1p(x: Real) -> Real:
    u, error = two_sum(x.constant(1.0), x)
    k, m = _split(u)
    whole = k == 0  # then x itself is the f of the formula
    error = error * (-minimum(k, 120.0)).power_of_two() * (2 - m)
    result = _sum_with(k, where(whole, x, m - 1), where(whole, 0.0, error))
    return where(abs(x) < 2.0 ** (-x.mantissa - 2), x, _where_positive(x, result, u))


def softplus(x: Real) -> Real:
    """``log(1 + exp(x))``."""
    return where(x > 0, x, 0.0) + log1p(exp(-abs(x)))


def _long_log(x: Real) -> tuple[Real, Real]:
    """log of a positive, finite x as a sum, with some 12 bits more than a float64 has."""
    k, m = _split(x)
    f = m - 1
    d, d_low = fast_two_sum(f.constant(2.0), f)
    s, s_low = quotient(f, f.constant(0.0), d, d_low)
    # s**3 * 2 / 3
    w, w_low = two_product(s, s)
    w_low = fma(s * 2, s_low, w_low)
    cube, cube_low = two_product(s, w)
    cube_low = fma(s, w_low, fma(s_low, w, cube_low))
    third, third_low = two_product(cube, TWO_THIRDS[0])
    third_low = fma(cube_low, TWO_THIRDS[0], fma(cube, TWO_THIRDS[1], third_low))
    far = cube * w * polynomial(w, ATANH_FAR)
    high, error = fast_two_sum(k * LN2_SHORTENED[0], s * 2)
    high, error_of_third = fast_two_sum(high, third)
    low = s_low * 2 + third_low + far + error + error_of_third + k * LN2_SHORTENED[1]
    return fast_two_sum(high, low)


def _power_of_positive(x: Real, y: Real) -> Real:
    """``x ** y`` for a positive, finite x."""
    if x.double:
        log_x, log_low = _long_log(x)
        power, power_low = two_product(log_x, y)
        bounded = minimum(maximum(power, -746.0), 710.0)
        power_low = where(bounded == power, fma(log_low, y, power_low), 0.0)
        n, r, q = reduced(bounded)
        return scaled(1 + fma(power_low, 1 + (r + q), r + q), n)
    k, m = _split(x.widened(short=False))
    f = m - 1
    power = _sum_with(k, f, f.constant(0.0)) * y.widened()
    power.short = True
    n, r, q = reduced(minimum(maximum(power, -120.0), 120.0))
    return (fma(n.power_of_two(), r + q, n.power_of_two())).narrowed()


def pow(x: Real, y: Real) -> Real:
    """``x ** y``, with the special values of C99."""
    size = abs(x)
    result = _power_of_positive(size, y)
    grows = (size > 1) ^ (y < 0)
    limit = where(grows, size.constant(INF), 0.0)
    result = where((size == 0) | (size == INF) | (abs(y) == INF), limit, result)
    integer = y.rounded() == y
    odd = integer & ~((y * 0.5).rounded() == y * 0.5)
    result = where((x.bits() < 0) & odd, -result, result)
    result = where((x < 0) & (size < INF) & ~integer, NAN, result)
    result = where((x == x) & (y == y), result, NAN)
    one = (x == 1) | (y == 0) | ((size == 1) & (abs(y) == INF))
    return where(one, 1.0, result)


def logaddexp(x: Real, y: Real) -> Real:
    """``log(exp(x) + exp(y))``."""
    x, y = where(x > y, x, y), where(x > y, y, x)  # a nan stays
    return where(x == y, x + LN2[0], x + log1p(exp(y - x)))

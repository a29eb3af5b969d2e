"""erf, erfc and gelu.

``erfc(x) = exp(-x**2) erfcx(x)`` for positive x, and ``(1 + 2 x) erfcx(x)`` hardly varies: one
polynomial in ``(x - 4) / (x + 4)`` has it for all of them (Shepherd and Laframboise, Chebyshev
approximation of (1 + 2x) exp(x^2) erfc x in 0 <= x < infinity, 1981).
"""

from __future__ import annotations

import numpy as np

from tapegrad.kernels.vectormath.coefficients import (
    ERF,
    ERFCX,
    ERFCX_LOW,
    ERFCX_SHIFTED,
    MILLS,
)
from tapegrad.kernels.vectormath.exponential import reduced, scaled
from tapegrad.kernels.vectormath.values import (
    Real,
    fast_two_sum,
    fma,
    minimum,
    polynomial,
    quotient,
    two_product,
    two_sum,
    where,
)

__all__ = ["erf", "erfc", "gelu"]

#: What MILLS' first coefficient lacks in float32.
MILLS_LOW = MILLS[True][0] - float(np.float32(MILLS[True][0]))
SQRT_HALF, SQRT_HALF_LOW = 0.7071067811865476, -4.833646656726457e-17


def _erfc_of_positive(
    x: Real, x_low: Real, square: Real, square_low: Real
) -> tuple[Real, Real, Real]:
    """y, its low part and n with ``erfc(x) = 2**n y``, given x and its square as sums."""
    n, r, q = reduced(-square)
    q = fma(-square_low, 1 + (r + q), q)
    v = (x - 4) / (x + 4)
    long, short = ERFCX
    p, p_low = fast_two_sum(v.constant(ERFCX[v.short][0]), v * polynomial(v, (long[1:], short[1:])))
    one = x.constant(1.0)
    divisor, divisor_low = two_sum(one, x * 2)
    y, y_low = quotient(p, p_low + ERFCX_LOW, divisor, fma(x_low, 2.0, divisor_low))
    e, e_low = fast_two_sum(one, r)
    product, low = two_product(y, e)
    return product, fma(y, e_low + q, fma(y_low, e, low)), n


def _erf_of_small(x: Real, square: Real) -> Real:
    """Of a number up to 3 / 4."""
    return fma(x, polynomial(square, ERF), x)


def erfc(x: Real) -> Real:
    wide = x if x.double else x.widened()
    size = minimum(abs(wide), 28.0 if x.double else 11.0)
    square, low = two_product(size, size)
    y, y_low, n = _erfc_of_positive(size, size.constant(0.0), square, low)
    far = scaled(y + y_low, n)
    near = 1 - _erf_of_small(wide, square)
    result = where(size < 0.47, near, where(wide < 0, 2 - far, far))
    return result if x.double else result.narrowed()


def _erf_32(x: Real) -> Real:
    size = minimum(abs(x), 4.0)
    square = size * size
    n, r, q = reduced(-square)
    e = (1 + (r + q)) * n.power_of_two()
    far = 1 - e * polynomial(size - 2.375, ERFCX_SHIFTED)
    return where(size < 0.75, _erf_of_small(size, square), far).signed(x)


def erf(x: Real) -> Real:
    if not x.double:
        return _erf_32(x)
    wide = x
    size = minimum(abs(wide), 6.0)
    square, low = two_product(size, size)
    y, y_low, n = _erfc_of_positive(size, size.constant(0.0), square, low)
    far = 1 - (y + y_low) * n.power_of_two()
    result = where(size < 0.75, _erf_of_small(size, square), far)
    return result.signed(wide)


def _gelu_32(x: Real) -> Real:
    """``x P(x) = x - x P(-x)``, where ``(1 + x) exp(x**2 / 2) P(-x)`` hardly varies."""
    size = minimum(abs(x), 15.5)
    square, low = two_product(size, size)
    n, r, q = reduced(square * -0.5)
    e = r + fma(low * -0.5, 1 + (r + q), q)
    v = (size - 4) / (size + 4)
    first, *others = MILLS[True]
    p, p_low = fast_two_sum(v.constant(first), v * polynomial(v, ((), others)))
    divisor, divisor_low = two_sum(x.constant(1.0), size)
    y, y_low = quotient(p, p_low + MILLS_LOW, divisor, divisor_low)
    product, low = two_product(y, size)
    part = scaled(product + fma(product, e, fma(y_low, size, low) * (1 + e)), n)
    below = where(x < -15.5, x * 0, -part)
    return where(x < 0, below, x - part)


def gelu(x: Real) -> Real:
    """x times the normal distribution function P of it: ``0.5 x erfc(-x / sqrt(2))``."""
    if not x.double:
        return _gelu_32(x)
    wide, limit = x, 39.0
    size = minimum(abs(wide), limit)
    square, low = two_product(size, size)
    root, root_low = two_product(size, SQRT_HALF)
    root_low = fma(size, SQRT_HALF_LOW, root_low)
    y, y_low, n = _erfc_of_positive(root, root_low, square * 0.5, low * 0.5)
    product, low = two_product(y, wide)
    below = where(wide < -limit, wide * 0, scaled(product + fma(y_low, wide, low), n - 1))
    far = where(wide < 0, below, (1 - scaled(y + y_low, n - 1)) * wide)
    near = wide * 0.5 * (1 + _erf_of_small(wide * SQRT_HALF, square * 0.5))
    return where(size < 0.66, near, far)

"""sin, cos, tan and atan.

The argument in quarter turns is ``x * 2 / pi``; the integer n next to it says which function of the
rest it is. Up to a limit that rest is ``x - n * pi / 2``, with pi / 2 as a sum of three numbers
(Cody and Waite, Software Manual for the Elementary Functions, 1980).

Beyond it 2 / pi is taken to so many bits that the rest is right for the largest x, as Payne and
Hanek do (Radian reduction for trigonometric functions, 1983): ``x = 2**k M`` with an integer M, or
k = 0, so whole turns may be taken from ``2**k * 2 / pi``. What is left is kept as a sum of numbers
for a few k, in a table.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from tapegrad.kernels.vectormath.branching import Branching
from tapegrad.kernels.vectormath.coefficients import (
    ATAN,
    COS,
    HALF_PI,
    SIN,
    TWO_BY_PI,
    TWO_BY_PI_BITS,
)
from tapegrad.kernels.vectormath.values import (
    Bits,
    Real,
    fast_two_sum,
    fma,
    polynomial,
    quotient,
    two_product,
    two_sum,
    where,
)

__all__ = ["LIMIT", "atan", "cos", "sin", "tan"]

#: Up to here three numbers are enough, and ``x * 2 / pi`` is off by less than 2**-13.
LIMIT = 2.0**40

#: A function that splits an angle in quarter turns and the rest.
Angle = Callable[[Real], tuple[Bits, Real, Real]]


def _two_by_pi(k: int) -> list[float]:
    """``2**k * 2 / pi`` without its multiples of 4, as a sum of four numbers."""
    turn = 4 << TWO_BY_PI_BITS
    rest = (TWO_BY_PI << k) % turn
    rest -= turn if rest > turn // 2 else 0
    parts = []
    for _ in range(4):
        part = rest / (1 << TWO_BY_PI_BITS)  # Python rounds such a quotient correctly
        parts.append(part)
        numerator, denominator = part.as_integer_ratio()
        rest -= (numerator << TWO_BY_PI_BITS) // denominator
    return parts


@functools.cache
def _table() -> np.ndarray:
    """Row j has the j-th parts, for k = 0, 16, 32, ..."""
    return np.array([_two_by_pi(k) for k in range(0, 1024, 16)]).T


def _usual_angle(x: Real) -> tuple[Bits, Real, Real]:
    """The quadrant of an angle, and the rest, up to pi / 4 on either side, as a sum."""
    wide = x if x.double else x.widened()
    turns = fma(wide, TWO_BY_PI / (1 << TWO_BY_PI_BITS), wide.magic)
    n = turns - wide.magic
    # Exact: it is less than 1, and a multiple of 2**-53, as both are where n isn't 0.
    r = fma(n, -HALF_PI[0], wide)
    if not x.double:
        r = fma(n, -HALF_PI[1], r)
        short = r.narrowed()
        return turns.bits().narrowed(), short, (r - short.widened()).narrowed()
    p, p_low = two_product(n, HALF_PI[1])
    r, low = fast_two_sum(r, -p)  # p may be larger, but r is a multiple of its last place
    return turns.bits(), r, fma(n, -HALF_PI[2], low - p_low)


def _without_turns(x: Real) -> Real:
    return x - (x * 0.25).rounded() * 4


def _angle(x: Real) -> tuple[Bits, Real, Real]:
    """The same for any float64."""
    exponent = ((x.bits() >> 52) & 0x7FF) - (1023 + 52)
    group = where(exponent < 0, 0, exponent) >> 4
    m = x * ((1023 - (group << 4)) << 52).real()
    parts = [group.looked_up(f"two_by_pi_{j}", row) for j, row in enumerate(_table())]
    p, p_low = two_product(m, parts[0])
    q, q_low = two_product(m, parts[1])
    s, s_low = two_product(m, parts[2])
    p, low = two_sum(_without_turns(p), _without_turns(p_low))
    p, low_of_q = two_sum(p, _without_turns(q))
    n = p.rounded()
    r = p - n
    errors = fma(m, parts[3], s_low)
    for part in (low, low_of_q, q_low, s):
        r, error = two_sum(r, part)
        errors = errors + error
    r, low = fast_two_sum(r, errors)
    angle, angle_low = two_product(r, HALF_PI[0])
    return (n + n.magic).bits(), angle, fma(low, HALF_PI[0], fma(r, HALF_PI[1], angle_low))


def _sin_and_cos(r: Real, low: Real) -> tuple[Real, Real, Real, Real]:
    """Those of the small angle ``r + low``, each as a sum."""
    w = r * r
    half = w * 0.5
    sine_low = fma(w * r, polynomial(w, SIN), low - low * half)
    cosine = 1 - half
    rest = (1 - cosine) - half
    return r, sine_low, cosine, rest + fma(w * w, polynomial(w, COS), -(r * low))


def _sin(x: Real, angle: Angle) -> Real:
    return where(abs(x) < 2.0**-28, x, _sin_of(x, angle, 0))


def _cos(x: Real, angle: Angle) -> Real:
    return _sin_of(x, angle, 1)


def _sin_of(x: Real, angle: Angle, quarters: int) -> Real:
    """The sine of x and so many quarter turns."""
    quadrant, r, low = angle(x)
    quadrant = quadrant + quarters
    sine, sine_low, cosine, cosine_low = _sin_and_cos(r, low)
    result = where((quadrant & 1) == 0, sine + sine_low, cosine + cosine_low)
    return where((quadrant & 2) == 0, result, -result)


def _tan(x: Real, angle: Angle) -> Real:
    quadrant, r, low = angle(x)
    sine, sine_low, cosine, cosine_low = _sin_and_cos(r, low)
    sine, sine_low = fast_two_sum(sine, sine_low)
    cosine, cosine_low = fast_two_sum(cosine, cosine_low)
    even = (quadrant & 1) == 0
    parts = (where(even, sine, -cosine), where(even, sine_low, -cosine_low))
    result, low = quotient(*parts, where(even, cosine, sine), where(even, cosine_low, sine_low))
    return where(abs(x) < 2.0**-28, x, result + low)


def _of_any(name: str, formula: Callable[[Real, Angle], Real]) -> Branching:
    def usual(x: Real) -> Real:
        return formula(x, _usual_angle)

    def beyond(x: Real) -> Real:
        if x.double:
            return formula(x, _angle)
        return formula(x.widened(short=False), _angle).narrowed()

    return Branching(name, LIMIT, usual, beyond)


sin, cos, tan = _of_any("sin", _sin), _of_any("cos", _cos), _of_any("tan", _tan)


def atan(x: Real) -> Real:
    # Around 1 by pi / 4 + atan((x - 1) / (x + 1)), beyond it by pi / 2 - atan(1 / x).
    wide = x if x.double else x.widened()
    size = abs(wide)
    near, far = size < 0.5, size > 2
    numerator = where(near, size, where(far, -1.0, size - 1))
    t = numerator / where(near, 1.0, where(far, size, size + 1))
    base, base_low = (where(near, 0.0, where(far, t.constant(p), p / 2)) for p in HALF_PI[:2])
    w = t * t
    result = base + (t + fma(t * w, polynomial(w, ATAN), base_low))
    result = where(size < 2.0**-28, wide, result.signed(wide))
    return result if x.double else result.narrowed()

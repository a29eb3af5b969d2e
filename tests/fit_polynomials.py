"""How the numbers in `tapegrad/kernels/vectormath/coefficients.py` were found; prints that file.

    python -m tests.fit_polynomials > tapegrad/kernels/vectormath/coefficients.py

Each polynomial interpolates its function at the Chebyshev nodes of an interval, which comes within
a small factor of the best one there (Trefethen, Approximation Theory and Approximation Practice,
theorem 16.1), computed by mpmath to 60 digits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
from mpmath import mp, mpf

mp.dps = 60

ROOT_HALF = mp.sqrt(0.5)


def series(function: Callable[[Any], Any], order: int) -> Callable[[Any], Any]:
    """``f(x) / x ** order`` without the terms below that, by Taylor's series near 0."""
    coefficients = mp.taylor(function, 0, order + 12)

    def reduced(x: Any) -> Any:
        if abs(x) < mpf(10) ** -4:
            return mp.polyval(coefficients[: order - 1 : -1], x)
        return (function(x) - mp.polyval(coefficients[order - 1 :: -1], x)) / x**order

    return reduced


def of_root(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``f(sqrt(w)) / sqrt(w)`` for an odd function, as a function of w."""

    def reduced(w: Any) -> Any:
        return function(mp.sqrt(w)) / mp.sqrt(w)

    return reduced


def atanh_tail(w: Any) -> Any:
    return (of_root(mp.atanh)(w) * 2 - 2) / w


def atanh_far_tail(w: Any) -> Any:
    return (atanh_tail(w) - mpf(2) / 3) / w


def sin_tail(w: Any) -> Any:
    return (of_root(mp.sin)(w) - 1) / w


def cos_tail(w: Any) -> Any:
    return (mp.cos(mp.sqrt(w)) - 1 + w / 2) / w**2


def atan_tail(w: Any) -> Any:
    return (of_root(mp.atan)(w) - 1) / w


def sinh_tail(w: Any) -> Any:
    return (of_root(mp.sinh)(w) - 1) / w


def tanh_tail(w: Any) -> Any:
    return (of_root(mp.tanh)(w) - 1) / w


def erf_tail(w: Any) -> Any:
    return of_root(mp.erf)(w) - 1


CENTRE = 4


def erfcx_flattened(v: Any) -> Any:
    """``(1 + 2 x) exp(x**2) erfc(x)`` for ``v = (x - CENTRE) / (x + CENTRE)``."""
    x = CENTRE * (1 + v) / (1 - v)
    return (1 + 2 * x) * mp.exp(x * x) * mp.erfc(x)


def erfcx_shifted(v: Any) -> Any:
    """``exp(x**2) erfc(x)`` for ``v = x - 2.375``."""
    x = v + mpf("2.375")
    return mp.exp(x * x) * mp.erfc(x)


def mills_flattened(v: Any) -> Any:
    """``(1 + x) exp(x**2 / 2)`` times the normal distribution function of -x, for v as above."""
    x = CENTRE * (1 + v) / (1 - v)
    return (1 + x) * mp.exp(x * x / 2) * mp.erfc(x * ROOT_HALF) / 2


def at(x: float) -> Any:
    return mpf(x - CENTRE) / (x + CENTRE)


#: Name, comment, function, and (from, to, degree) for float64 and for float32.
FITS = (
    ("EXP", "(exp(x) - 1 - x) / x**2", series(mp.exp, 2), (-0.347, 0.347, 9), (-0.347, 0.347, 4)),
    ("ATANH", "2 atanh(x) / x = 2 + x**2 p(x**2)", atanh_tail, (0, 0.02946, 6), (0, 0.02946, 2)),
    (
        "ATANH_FAR", "2 atanh(x) / x = 2 + 2/3 x**2 + x**4 p(x**2)", atanh_far_tail,
        (0, 0.02946, 6), (0, 0.02946, 6),
    ),
    ("SIN", "sin(x) / x = 1 + x**2 p(x**2)", sin_tail, (0, 0.618, 6), (0, 0.618, 3)),
    ("COS", "cos(x) = 1 - x**2 / 2 + x**4 p(x**2)", cos_tail, (0, 0.618, 5), (0, 0.618, 3)),
    ("ATAN", "atan(x) / x = 1 + x**2 p(x**2)", atan_tail, (0, 0.2501, 12), (0, 0.2501, 5)),
    ("SINH", "sinh(x) / x = 1 + x**2 p(x**2)", sinh_tail, (0, 1, 7), (0, 1, 3)),
    ("TANH", "tanh(x) / x = 1 + x**2 p(x**2)", tanh_tail, (0, 0.391, 11), (0, 0.391, 5)),
    ("ERF", "erf(x) / x = 1 + p(x**2)", erf_tail, (0, 0.5626, 11), (0, 0.5626, 6)),
    (
        "ERFCX_SHIFTED", "exp(x**2) erfc(x) = p(x - 2.375)", erfcx_shifted,
        None, (-1.625, 1.625, 12),
    ),
    (
        "MILLS", "(1 + x) exp(x**2 / 2) P(-x) = p((x - 4) / (x + 4))", mills_flattened,
        None, (-1, at(15.5), 11),
    ),
    (
        "ERFCX", "(1 + 2 x) exp(x**2) erfc(x) = p((x - 4) / (x + 4))", erfcx_flattened,
        (-1, at(28), 22), (-1, at(11), 11),
    ),
)  # fmt: skip


def fit(function: Callable[[Any], Any], low: Any, high: Any, degree: int) -> list[Any]:
    """The coefficients, the constant one first."""
    middle, half = (mpf(low) + high) / 2, (mpf(high) - low) / 2
    nodes = [
        middle + half * mp.cos(mp.pi * (2 * i + 1) / (2 * degree + 2)) for i in range(degree + 1)
    ]
    powers = mpmath.matrix([[x**j for j in range(degree + 1)] for x in nodes])
    return list(mp.lu_solve(powers, mpmath.matrix([function(x) for x in nodes])))


def rounded(value: Any, bits: int) -> Any:
    """A number cut off after so many bits."""
    scale = mpf(2) ** (bits - 1 - mp.floor(mp.log(abs(value), 2)))
    return mp.floor(value * scale) / scale


def parts(value: Any, count: int, bits: int | None = None) -> list[str]:
    """A number as a sum of floats; the first of them with so many bits."""
    made = []
    for i in range(count):
        part = rounded(value, bits) if bits and not i else mpf(float(value))
        made.append(repr(float(part)))
        value -= part
    return made


def main() -> None:
    """Print the module."""
    print('"""Numbers for `vectormath`. Written by ``python -m tests.fit_polynomials``."""\n')
    print("from __future__ import annotations\n")
    print("# Each constant as a sum; those for logarithms can be multiplied by any exponent.")
    for name, value, count, bits in (
        ("LN2", mp.log(2), 2, (None, None)),
        ("LN2_SHORTENED", mp.log(2), 2, (42, 16)),
        ("HALF_PI", mp.pi / 2, 3, (None, None)),
    ):
        for suffix, b in zip(("", "_32") if bits[0] else ("",), bits, strict=False):
            print(f"{name}{suffix} = ({', '.join(parts(value, count, b))})")
    print(f"TWO_THIRDS = ({', '.join(parts(mpf(2) / 3, 2))})\n")
    digits = 1240
    mp.dps = 400
    number = int(mp.floor(2 / mp.pi * mpf(2) ** digits))
    mp.dps = 60
    print(f"#: The first {digits} bits of 2 / pi.\nTWO_BY_PI_BITS = {digits}\nTWO_BY_PI = int(")
    text = f"{number:x}"
    for i in range(0, len(text), 80):
        print(f'    "{text[i : i + 80]}"')
    print("    , 16)\n")
    print("# Polynomials for float64 and for float32, the constant coefficient first.")
    for name, comment, function, *intervals in FITS:
        print(f"\n#: {comment}\n{name} = (")
        for interval in intervals:
            fitted = fit(function, *interval) if interval else []
            print(f"    ({', '.join(repr(float(c)) for c in fitted)}),")
        print(")")
    first = fit(erfcx_flattened, *FITS[-1][3])[0]
    print(f"\n#: What the first coefficient lacks in float64.\nERFCX_LOW = {parts(first, 2)[1]}")


if __name__ == "__main__":
    main()

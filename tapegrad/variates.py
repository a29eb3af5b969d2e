"""Random variates made of words: uniform and normal numbers, to the last bit as torch makes them.

In NumPy, for as long as `kernels.fused.draws` isn't loaded, which does the same in machine code.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from tapegrad.fused import library

__all__ = [
    "CHUNK",
    "DOUBLE",
    "SINGLE",
    "affine",
    "compiled",
    "fma",
    "libm",
    "make_normal",
    "normal_pairs",
]
__all__ += ["scale", "unit"]


def compiled(name: str, dtype: np.dtype) -> Callable[..., None] | None:
    """A function of `kernels.fused.draws`, once that is loaded; None too for other dtypes."""
    find = library.find
    return find(name, dtype) if find is not None and dtype.char in "fd" else None


SINGLE, DOUBLE = np.dtype(np.float32), np.dtype(np.float64)

CHUNK: Final = 1 << 15  # elements worked on at once: temporaries stay in the L2 cache


def unit(words: np.ndarray) -> np.ndarray:
    """Numbers in [0, 1): float64 of the low 53 bits of uint64, float32 of 24 of uint32.

    The words are overwritten.
    """
    if words.dtype == np.uint64:
        words &= np.uint64(2**53 - 1)
        return words * 2.0**-53
    words &= np.uint32(2**24 - 1)
    numbers = words.astype(np.float32)
    numbers *= np.float32(2.0**-24)
    return numbers


def fma(a: Any, b: Any, c: Any) -> np.ndarray:
    """``a * b + c`` of float32, rounded once."""
    # A product of float32 is exact in float64. That the sum is rounded twice should tell once in
    # some 2**29 times; it did not in 3e8 normal numbers that were compared with torch's.
    return np.asarray((a.astype(DOUBLE) * b + c).astype(SINGLE))


def affine(x: np.ndarray, scale: float, shift: Any) -> np.ndarray:
    """``x * scale + shift`` of float32 or float64, rounded once, as compiled into torch."""
    with np.errstate(over="ignore", invalid="ignore"):
        if x.dtype == np.float32:
            return fma(x, np.float32(scale), np.float32(shift))
        # What product and sum lose, exactly: Dekker 1971, by halves of the factors' digits. (In a
        # tie a shift of less than 1e-8 times the scale may go unnoticed, in both precisions.)
        product = x * scale
        total = product + shift
        xt, st = x * 134217729.0, np.float64(scale) * 134217729.0
        xh, sh = xt - (xt - x), st - (st - scale)
        xl, sl = x - xh, scale - sh
        lost = ((xh * sh - product) + xh * sl + xl * sh) + xl * sl
        part = total - product
        fused = total + (lost + ((product - (total - part)) + (shift - part)))
        return np.where(np.isfinite(fused), fused, total)


def scale(x: np.ndarray, factor: float, shift: float) -> np.ndarray:
    """The same in place, of a contiguous array: ``x``."""
    kernel = compiled("scaled", x.dtype)
    if kernel is not None:
        kernel(x.size, x, float(factor), float(shift))
    else:
        x[...] = affine(x, factor, shift)
    return x


def libm(function: Callable[[float], float], x: np.ndarray) -> np.ndarray:
    """The C library's function, of which NumPy's may differ in the last bit, by machine."""
    return np.fromiter(map(function, x.tolist()), np.float64, x.size)


# The polynomials of logf, sinf and cosf in the Cephes library (S. L. Moshier, after Cody & Waite
# 1980), highest power first, and pi/4 in three parts. torch's AVX2 code evaluates them by fma.
LOG: np.ndarray = np.array(
    [
        *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1),
        *(1.4249322787e-1, -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
    ],
    np.float32,
)
LN2_LOW, LN2_HIGH = np.array([-2.12194440e-4, 0.693359375], np.float32)
SIN = np.array([-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1], np.float32)
COS = np.array([2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2], np.float32)
PI_4 = np.array([0.78515625, 2.4187564849853515625e-4, 3.77489497744594108e-8], np.float32)


def horner(coefficients: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A polynomial of float32."""
    value = fma(coefficients[0], x, coefficients[1])
    for c in coefficients[2:]:
        value = fma(value, x, c)
    return value


def log32(x: np.ndarray) -> np.ndarray:
    """The logarithm of x = m * 2**e in (0, 1], by a polynomial in m - 1, |log2 m| <= 1/2."""
    m, exponent = np.frexp(x)
    low = m < np.float32(0.5**0.5)
    e = (exponent - low).astype(np.float32)
    m = m - np.float32(1) + m * low
    z = m * m
    y = fma(horner(LOG, m) * m, z, e * LN2_LOW)
    return fma(e, LN2_HIGH, m + fma(-z, np.float32(0.5), y))


def sincos32(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sine and cosine of x in [0, 2 pi]: x less an even multiple j of pi/4, then by j."""
    j = ((x * np.float32(4 / math.pi)).astype(np.int32) + 1) & ~1
    y = j.astype(np.float32)
    for part in PI_4:
        x = fma(y, -part, x)
    z = x * x
    cos = fma(horner(COS, z) * z, z, z * np.float32(-0.5)) + np.float32(1)
    sin = fma(horner(SIN, z) * z, x, x)
    swap = (j & 2) != 0
    sin, cos = np.where(swap, cos, sin), np.where(swap, sin, cos)
    return np.where(j & 4, -sin, sin), np.where((j + 2) & 4, -cos, cos)


def make_normal(u: np.ndarray, mean: float, std: float) -> None:
    """Turn numbers in [0, 1), by blocks of 16, into normal ones (Box & Muller 1958).

    Of a block 8 give radii and 8 angles; it becomes 8 cosines and 8 sines.
    """
    kernel = compiled("normals", u.dtype)
    if kernel is not None:
        kernel(u.size // 16, u, float(mean), float(std))
        return
    for i in range(0, u.size, CHUNK):
        pairs = u[i : i + CHUNK].reshape(-1, 2, 8)
        v, w = 1 - pairs[:, 0].ravel(), pairs[:, 1].ravel()
        if u.dtype == np.float32:
            radius = np.sqrt(np.float32(-2) * log32(v))
            sin, cos = sincos32(np.float32(2 * math.pi) * w)
        else:
            radius, theta = np.sqrt(-2.0 * libm(math.log, v)), 2.0 * math.pi * w
            sin, cos = libm(math.sin, theta), libm(math.cos, theta)
        both = np.stack([(radius * cos).reshape(-1, 8), (radius * sin).reshape(-1, 8)], axis=1)
        u[i : i + CHUNK] = affine(both.ravel(), std, mean)


def normal_pairs(words: np.ndarray) -> np.ndarray:
    """Standard normal numbers by two words each, which are uint64: angle and radius by turns."""
    out: list[float] = []
    u = unit(words).tolist()
    for angle, v in zip(u[0::2], u[1::2]):
        radius, theta = math.sqrt(-2.0 * math.log1p(-v)), 2.0 * math.pi * angle
        out += radius * math.cos(theta), radius * math.sin(theta)
    return np.array(out, np.float64)

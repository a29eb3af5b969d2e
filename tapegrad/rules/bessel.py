"""Bessel and Airy functions of the orders that torch has, elementwise; SciPy computes them.

Derivatives: Abramowitz and Stegun, 9.1.28, 9.6.27 and 10.4.1; of those of order 1 that are regular
near 0, the series 9.1.10 and 9.6.10 instead of a difference. Unlike torch's, all can be
differentiated.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.primitive import Primitive, elementwise, select
from tapegrad.rules.special import of_scipy


def function_of(name: str, scipy_name: str, rule: Any, *names: str, **options: Any) -> Primitive:
    """Declare one, found as ``special.<name>`` and under further names there."""
    aliases = tuple(["special." + n for n in (name, *names)])
    return elementwise(
        "special_" + name, of_scipy(scipy_name), rule,
        floating=True, native=False, hidden=True, aliases=aliases, **options,
    )  # fmt: skip


#: Below it series take the place of differences.
NEAR = 0.1


def slope_near_0(x: Any, sign: float) -> Any:
    """The derivative near 0 of the Bessel function of order 1 (sign -1), or the modified (1)."""
    square = sign * x * x
    return 0.5 + square * (3 / 16 + square * (5 / 384 + square * (7 / 18432)))


# -- of the first and second kind ------------------------------------------------------------------


def bessel_j0_x(x):
    return -bessel_j1(x)


def bessel_j1_x(x, out):
    near = np.abs(x) < NEAR
    difference = bessel_j0(x) - out / select(near, 1.0, x)
    return select(near, slope_near_0(select(near, x, 0.0), -1), difference)


def bessel_y0_x(x):
    return -bessel_y1(x)


def bessel_y1_x(x, out):
    return bessel_y0(x) - out / x


bessel_j0 = function_of("bessel_j0", "j0", bessel_j0_x)
bessel_j1 = function_of("bessel_j1", "j1", bessel_j1_x)
bessel_y0 = function_of("bessel_y0", "y0", bessel_y0_x)
bessel_y1 = function_of("bessel_y1", "y1", bessel_y1_x)


# -- modified --------------------------------------------------------------------------------------


def i0_x(x):
    return i1(x)


def i1_x(x, out):
    near = np.abs(x) < NEAR
    difference = i0(x) - out / select(near, 1.0, x)
    return select(near, slope_near_0(select(near, x, 0.0), 1), difference)


def i0e_x(x, out):
    return i1e(x) - np.sign(x) * out


def i1e_x(x, out):
    near = np.abs(x) < NEAR
    difference = i0e(x) - out / select(near, 1.0, x)
    slope = np.exp(-np.abs(x)) * slope_near_0(select(near, x, 0.0), 1)
    return select(near, slope, difference) - np.sign(x) * out


def k0_x(x):
    return -modified_bessel_k1(x)


def k1_x(x, out):
    return -modified_bessel_k0(x) - out / x


def k0e_x(x, out):
    return out - scaled_modified_bessel_k1(x)


def k1e_x(x, out):
    return out - out / x - scaled_modified_bessel_k0(x)


i0 = elementwise(
    "i0", of_scipy("i0"), i0_x,
    floating=True, native=False, aliases=("special.i0", "special.modified_bessel_i0"),
)  # fmt: skip
i1 = function_of("i1", "i1", i1_x, "modified_bessel_i1", grad_name="SpecialI1Backward0")
#: The same times ``exp(-|x|)``.
i0e = function_of("i0e", "i0e", i0e_x, grad_name="SpecialI0EBackward0")
i1e = function_of("i1e", "i1e", i1e_x, grad_name="SpecialI1EBackward0")
modified_bessel_k0 = function_of("modified_bessel_k0", "k0", k0_x)
modified_bessel_k1 = function_of("modified_bessel_k1", "k1", k1_x)
#: The same times ``exp(x)``.
scaled_modified_bessel_k0 = function_of("scaled_modified_bessel_k0", "k0e", k0e_x)
scaled_modified_bessel_k1 = function_of("scaled_modified_bessel_k1", "k1e", k1e_x)


# -- spherical, and Airy's -------------------------------------------------------------------------


def spherical_forward(x):
    from scipy.special import spherical_jn

    return np.asarray(spherical_jn(0, np.abs(x)), x.dtype)


def spherical_x(x, out):
    # Near 0 the series: the two terms would cancel.
    near = np.abs(x) < NEAR
    s = select(near, x, 0.0)
    square = s * s
    series = -s / 3 * (1 - square / 10 * (1 - square / 28 * (1 - square / 54)))
    return select(near, series, (np.cos(x) - out) / select(near, 1.0, x))


spherical_bessel_j0 = elementwise(
    "special_spherical_bessel_j0", spherical_forward, spherical_x,
    floating=True, native=False, hidden=True, aliases=("special.spherical_bessel_j0",),
)  # fmt: skip


def airy_forward(x):
    from scipy.special import airy

    return np.asarray(airy(x)[0], x.dtype)


def airy_slope_forward(x):
    from scipy.special import airy

    return np.asarray(airy(x)[1], x.dtype)


def airy_x(x):
    return airy_slope(x)


def airy_slope_x(x):
    return x * airy_ai(x)


airy_ai = elementwise(
    "special_airy_ai", airy_forward, airy_x,
    floating=True, native=False, hidden=True, aliases=("special.airy_ai",),
)  # fmt: skip
airy_slope = elementwise(
    "airy_slope", airy_slope_forward, airy_slope_x, floating=True, native=False, hidden=True
)

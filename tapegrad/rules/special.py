"""The error function and what comes of it, elementwise; SciPy computes them.

SciPy is imported when one is first used. Derivatives: Abramowitz and Stegun, chapters 7 (error
function) and 26 (normal distribution).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tapegrad.primitive import elementwise, select

TWO_BY_SQRT_PI = 1.1283791670955126
ONE_BY_SQRT_PI = 0.5641895835477563
SQRT_HALF = 0.7071067811865476
NORMAL = 0.3989422804014327  # 1 / sqrt(2 pi)
SQRT_TWO_BY_PI = 0.7978845608028654


def of_scipy(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """The forward function that is ``scipy.special.<name>``, in the dtype of its input."""

    def forward(x: np.ndarray) -> np.ndarray:
        import scipy.special

        return np.asarray(getattr(scipy.special, name)(x), x.dtype)

    return forward


def erf_x(x):
    return TWO_BY_SQRT_PI * np.exp(-x * x)


erf = elementwise(
    "erf", of_scipy("erf"), erf_x, floating=True, scalar="erf", aliases=("special.erf",)
)


def erfc_x(x):
    return -TWO_BY_SQRT_PI * np.exp(-x * x)


erfc = elementwise(
    "erfc", of_scipy("erfc"), erfc_x, floating=True, scalar="erfc", aliases=("special.erfc",)
)


def erfinv_x(out):
    return np.exp(out * out) / TWO_BY_SQRT_PI


erfinv = elementwise(
    "erfinv", of_scipy("erfinv"), erfinv_x, floating=True, aliases=("special.erfinv",)
)


def erfcx_x(x, out):
    # From 100 on the asymptotic series: the two terms would cancel.
    far = x > 100
    r = 1 / select(far, x * x, 1.0)
    series = -ONE_BY_SQRT_PI * r * (1 - 1.5 * r * (1 - 2.5 * r * (1 - 3.5 * r)))
    return select(far, series, 2 * x * out - TWO_BY_SQRT_PI)


#: ``exp(x ** 2) * erfc(x)``.
erfcx = elementwise(
    "special_erfcx", of_scipy("erfcx"), erfcx_x,
    floating=True, native=False, hidden=True, aliases=("special.erfcx",),
)  # fmt: skip


# -- the normal distribution -----------------------------------------------------------------------


def ndtr_x(x):
    return NORMAL * np.exp(-0.5 * x * x)


ndtr = elementwise(
    "special_ndtr", of_scipy("ndtr"), ndtr_x,
    floating=True, native=False, hidden=True, aliases=("special.ndtr",),
)  # fmt: skip


def ndtri_x(out):
    return np.exp(0.5 * out * out) / NORMAL


#: The quantile: the inverse of `ndtr`.
ndtri = elementwise(
    "special_ndtri", of_scipy("ndtri"), ndtri_x,
    floating=True, native=False, hidden=True, aliases=("special.ndtri",),
)  # fmt: skip


def log_ndtr_x(x):
    # The density over ndtr, where neither underflows.
    below, above = select(x < 0, x, 0.0), select(x < 0, 0.0, x)
    return select(
        x < 0,
        SQRT_TWO_BY_PI / erfcx(-SQRT_HALF * below),
        NORMAL * np.exp(-0.5 * above * above) / ndtr(above),
    )


log_ndtr = elementwise(
    "special_log_ndtr", of_scipy("log_ndtr"), log_ndtr_x,
    floating=True, native=False, hidden=True, aliases=("special.log_ndtr",),
)  # fmt: skip


# -- products with logarithms ----------------------------------------------------------------------


def entr_x(x):
    return -1 - np.log(x)


#: ``-x log(x)``: 0 at 0, -inf below.
entr = elementwise(
    "special_entr", of_scipy("entr"), entr_x,
    floating=True, native=False, hidden=True, aliases=("special.entr",),
)  # fmt: skip


def xlog1py_forward(x, y):
    return np.where((x == 0) & (y == y), 0, x * np.log1p(y))


def xlog1py_x(x, y):
    return select((x == 0) & (y <= -1), 0 * x, np.log1p(y))


def xlog1py_y(x, y):
    return x / (y + 1)


#: ``x log1p(y)``: 0 where x is 0, unless y is nan.
xlog1py = elementwise(
    "special_xlog1py", xlog1py_forward, xlog1py_x, xlog1py_y,
    floating=True, hidden=True, scalar=True,
    grad_name="SpecialXlog1PyBackward0", aliases=("special.xlog1py",),
)  # fmt: skip

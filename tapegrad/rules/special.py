"""Special functions, elementwise; SciPy computes them. It is imported when one is first used.

Derivatives: Abramowitz and Stegun, chapters 6 (gamma) and 7 (error function).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.primitive import elementwise, public

TWO_BY_SQRT_PI = 1.1283791670955126


def erf_forward(x):
    from scipy.special import erf

    return np.asarray(erf(x), x.dtype)


def erf_x(x):
    return TWO_BY_SQRT_PI * np.exp(-x * x)


erf = elementwise("erf", erf_forward, erf_x, floating=True)


def erf_array(x: Any) -> Any:
    """`erf` within rules and forward functions, of arrays and Tensors."""
    return erf(x)


def erfc_forward(x):
    from scipy.special import erfc

    return np.asarray(erfc(x), x.dtype)


def erfc_x(x):
    return -TWO_BY_SQRT_PI * np.exp(-x * x)


erfc = elementwise("erfc", erfc_forward, erfc_x, floating=True)


def erfinv_forward(x):
    from scipy.special import erfinv

    return np.asarray(erfinv(x), x.dtype)


def erfinv_x(out):
    return np.exp(out * out) / TWO_BY_SQRT_PI


erfinv = elementwise("erfinv", erfinv_forward, erfinv_x, floating=True)


def polygamma_forward(x, y):
    from scipy.special import polygamma

    return np.asarray(polygamma(y, x), x.dtype)


def polygamma_x(x, y):
    return polygamma_(x, y + 1)


#: The y-th derivative of digamma at x.
polygamma_ = elementwise(
    "polygamma", polygamma_forward, polygamma_x, None, floating=True, native=False, hidden=True
)


def digamma_forward(x):
    from scipy.special import digamma

    return np.asarray(digamma(x), x.dtype)


def digamma_x(x):
    return polygamma_(x, np.asarray(1))


digamma = elementwise("digamma", digamma_forward, digamma_x, floating=True, native=False)


@public(method=False)
def polygamma(n: int, input: Any) -> Any:
    """The n-th derivative of `digamma`. Raises RuntimeError for negative n."""
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    return polygamma_(input, n) if n else digamma(input)


@public(name="polygamma", method="only", inplace=True)
def polygamma_method(input: Any, n: int) -> Any:
    """The n-th derivative of `digamma`."""
    return polygamma(n, input)


def lgamma_forward(x):
    from scipy.special import gammaln

    # SciPy has -inf at -inf, torch and C have inf.
    return np.where(x == -np.inf, np.abs(x), np.asarray(gammaln(x), x.dtype))


def lgamma_x(x):
    return digamma(x)


lgamma = elementwise("lgamma", lgamma_forward, lgamma_x, floating=True, native=False)

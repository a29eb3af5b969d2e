"""The gamma function's relatives, elementwise; SciPy computes them.

Derivatives: Abramowitz and Stegun, chapter 6; of the zeta function, NIST's handbook, 25.11.17.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.primitive import elementwise


def unknown_derivative(out_bar):
    raise NotImplementedError(
        "the derivative by this argument has no formula here, as in torch: detach() the argument"
    )


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


digamma = elementwise(
    "digamma", digamma_forward, digamma_x,
    floating=True, native=False, aliases=("special.digamma", "special.psi"),
)  # fmt: skip


@public(module=("", "special"), method=False)
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


lgamma = elementwise(
    "lgamma", lgamma_forward, lgamma_x, floating=True, native=False, aliases=("special.gammaln",)
)


@public(inplace=True, aliases=("special.multigammaln",))
def mvlgamma(input: Any, p: int) -> Any:
    """The logarithm of the multivariate gamma function of dimension ``p``, elementwise.

    Raises RuntimeError for p < 1. (James 1964: the product of ``gamma(input - j / 2)`` for j < p,
    times ``pi ** (p (p - 1) / 4)``.)
    """
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    if input._spec.dtype.kind not in "biuf":
        raise RuntimeError("mvlgamma: not implemented for complex Tensors")
    total = lgamma(input) + p * (p - 1) / 4 * math.log(math.pi)
    for j in range(1, p):
        total = total + lgamma(input - 0.5 * j)
    return total


# -- the incomplete gamma functions ----------------------------------------------------------------


def igamma_forward(x, y):
    from scipy.special import gammainc

    return np.asarray(gammainc(x, y), x.dtype)


def igammac_forward(x, y):
    from scipy.special import gammaincc

    return np.asarray(gammaincc(x, y), x.dtype)


def igamma_y(x, y):
    return np.exp((x - 1) * np.log(y) - y - lgamma(x))


def igammac_y(x, y):
    return -np.exp((x - 1) * np.log(y) - y - lgamma(x))


#: The regularised lower and upper incomplete gamma functions of order x at y.
igamma = elementwise(
    "igamma", igamma_forward, unknown_derivative, igamma_y,
    floating=True, native=False, aliases=("special.gammainc",), numbers="",
)  # fmt: skip
igammac = elementwise(
    "igammac", igammac_forward, unknown_derivative, igammac_y,
    floating=True, native=False, aliases=("special.gammaincc",), numbers="",
)  # fmt: skip


# -- the zeta function -----------------------------------------------------------------------------


def zeta_forward(x, y):
    from scipy.special import zeta

    return np.asarray(zeta(x, y), x.dtype)


def zeta_y(x, y):
    return -x * zeta(x + 1, y)


#: Hurwitz's zeta function: the sum of ``(k + y) ** -x`` over k = 0, 1, ...
zeta = elementwise(
    "special_zeta", zeta_forward, unknown_derivative, zeta_y,
    floating=True, native=False, hidden=True, aliases=("special.zeta",),
)  # fmt: skip

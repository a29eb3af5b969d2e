"""Exponentials and logarithms, elementwise, and what is made of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.primitive import Primitive, elementwise, select

LN2 = 0.6931471805599453
LN10 = 2.302585092994046


def exp_x(out):
    return out


exp = elementwise("exp", np.exp, exp_x, floating=True)


def exp2_x(out):
    return out * LN2


exp2 = elementwise("exp2", np.exp2, exp2_x, floating=True, aliases=("special.exp2",))


def expm1_x(out):
    return out + 1


expm1 = elementwise("expm1", np.expm1, expm1_x, floating=True, aliases=("special.expm1",))


def log_x(x):
    return 1 / x


log = elementwise("log", np.log, log_x, floating=True)


def log2_x(x):
    return 1 / (x * LN2)


log2 = elementwise("log2", np.log2, log2_x, floating=True)


def log10_x(x):
    return 1 / (x * LN10)


log10 = elementwise("log10", np.log10, log10_x, floating=True)


def log1p_x(x):
    return 1 / (x + 1)


log1p = elementwise(
    "log1p",
    np.log1p,
    log1p_x,
    floating=True,
    grad_name="Log1PBackward0",
    aliases=("special.log1p",),
)


def sqrt_x(out):
    return 0.5 / out


sqrt = elementwise("sqrt", np.sqrt, sqrt_x, floating=True)


def rsqrt_forward(x):
    return 1 / np.sqrt(x)


def rsqrt_x(out):
    return -0.5 * out * out * out


rsqrt = elementwise("rsqrt", rsqrt_forward, rsqrt_x, floating=True, scalar=True)


def logaddexp_x(x, out):
    # Where the other term vanishes, or both are infinite, the difference is 0 (not inf - inf).
    return np.exp(select(x == out, 0.0, x - out))


def logaddexp_y(y, out):
    return np.exp(select(y == out, 0.0, y - out))


def logaddexp_forward(x, y):
    if x.dtype.kind != "c":
        return np.logaddexp(x, y)
    larger = np.real(x) >= np.real(y)
    top, other = np.where(larger, x, y), np.where(larger, y, x)
    return top + np.log1p(np.exp(other - top))


logaddexp = elementwise(
    "logaddexp", logaddexp_forward, logaddexp_x, logaddexp_y,
    numbers="", refuses="biu", scalar=np.logaddexp,
)  # fmt: skip


@public(numpy=[np.logaddexp], method=False)
def numpy_logaddexp(input: Any, other: Any) -> Any:
    """NumPy's `logaddexp`, which takes numbers."""
    return Primitive.apply(logaddexp, (input, other), ())


def logaddexp2_x(x, out):
    return np.exp2(select(x == out, 0.0, x - out))


def logaddexp2_y(y, out):
    return np.exp2(select(y == out, 0.0, y - out))


logaddexp2 = elementwise(
    "logaddexp2", np.logaddexp2, logaddexp2_x, logaddexp2_y, numbers="", refuses="biu"
)


def xlogy_forward(x, y):
    return np.where((x == 0) & (y == y), 0, x * np.log(y))


def xlogy_x(x, y):
    return select((x == 0) & (y <= 0), 0 * x, np.log(y))


def xlogy_y(x, y):
    return x / y


xlogy = elementwise(
    "xlogy",
    xlogy_forward,
    xlogy_x,
    xlogy_y,
    floating=True,
    scalar=True,
    numbers="xy",
    aliases=("special.xlogy",),
)


def sigmoid_forward(x):
    # exp overflows to inf for large -x, and 1 / inf is the right 0.
    return np.reciprocal(np.exp(np.negative(x)) + 1)


def sigmoid_x(out):
    return out * (1 - out)


sigmoid = elementwise(
    "sigmoid", sigmoid_forward, sigmoid_x,
    floating=True, scalar="sigmoid", aliases=("special.expit",),
)  # fmt: skip


def logit_forward(x):
    return np.log(x / (1 - x))


def logit_x(out_bar, x):
    return select((x < 0) | (x > 1), np.nan, out_bar / (x * (1 - x)))


logit_ = elementwise("logit", logit_forward, logit_x, floating=True, hidden=True, scalar=True)


def logit_clamped_forward(x, y):
    kept = np.minimum(np.maximum(x, y), 1 - y)
    return np.log(kept / (1 - kept))


def logit_clamped_x(out_bar, x, y):
    # Nothing passes where eps was put in place of the input.
    return select((x < y) | (x > 1 - y), 0.0, out_bar / (x * (1 - x)))


logit_clamped = elementwise(
    "logit_eps", logit_clamped_forward, logit_clamped_x, None,
    floating=True, hidden=True, grad_name="LogitBackward0",
)  # fmt: skip


@public(module=("", "special"), inplace=True)
def logit(input: Any, eps: float | None = None) -> Any:
    """``log(x / (1 - x))``; with ``eps``, of the input kept between eps and 1 - eps.

    Without it, the derivative outside [0, 1] is nan.
    """
    return logit_(input) if eps is None else logit_clamped(input, float(eps))

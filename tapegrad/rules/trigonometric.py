"""Trigonometric and hyperbolic functions, elementwise."""

from __future__ import annotations

import numpy as np

from tapegrad.primitive import elementwise, select


def sin_x(x):
    return np.cos(x)


def cos_x(x):
    return -np.sin(x)


def tan_x(out):
    return 1 + out * out


# NumPy's sine and cosine of float64 aren't vectorised.
sin = elementwise("sin", np.sin, sin_x, floating=True, scalar="sin")
cos = elementwise("cos", np.cos, cos_x, floating=True, scalar="cos")
tan = elementwise("tan", np.tan, tan_x, floating=True)


def asin_x(x):
    return 1 / np.sqrt(1 - x * x)


def acos_x(x):
    return -1 / np.sqrt(1 - x * x)


def atan_x(x):
    return 1 / (1 + x * x)


asin = elementwise("asin", np.arcsin, asin_x, floating=True, aliases=("arcsin",))
acos = elementwise("acos", np.arccos, acos_x, floating=True, aliases=("arccos",))
atan = elementwise("atan", np.arctan, atan_x, floating=True, aliases=("arctan",))


def atan2_x(x, y):
    # 0 where both are 0.
    return y / select((x == 0) & (y == 0), 1.0, x * x + y * y)


def atan2_y(x, y):
    return -x / select((x == 0) & (y == 0), 1.0, x * x + y * y)


atan2 = elementwise(
    "atan2", np.arctan2, atan2_x, atan2_y, floating=True, aliases=("arctan2",), numbers=""
)


def sinh_x(x):
    return np.cosh(x)


def cosh_x(x):
    return np.sinh(x)


def tanh_x(out):
    return 1 - out * out


sinh = elementwise("sinh", np.sinh, sinh_x, floating=True)
cosh = elementwise("cosh", np.cosh, cosh_x, floating=True)
tanh = elementwise("tanh", np.tanh, tanh_x, floating=True)


def asinh_x(x):
    return 1 / np.sqrt(x * x + 1)


def acosh_x(x):
    return 1 / (np.sqrt(x - 1) * np.sqrt(x + 1))


def atanh_x(x):
    return 1 / (1 - x * x)


asinh = elementwise("asinh", np.arcsinh, asinh_x, floating=True, aliases=("arcsinh",))
acosh = elementwise("acosh", np.arccosh, acosh_x, floating=True, aliases=("arccosh",))
atanh = elementwise("atanh", np.arctanh, atanh_x, floating=True, aliases=("arctanh",))

PI = 3.141592653589793


def sinc_forward(x):
    return np.sinc(x)


def sinc_x(x, out):
    # Near 0 the series: the two terms would cancel.
    near = np.abs(x) < 0.05
    s = PI * select(near, x, 0.0)
    series = -PI * s / 3 * (1 - s * s / 10 * (1 - s * s / 28 * (1 - s * s / 54)))
    return select(near, series, (np.cos(PI * x) - out) / select(near, 1.0, x))


sinc = elementwise("sinc", sinc_forward, sinc_x, floating=True, aliases=("special.sinc",))


def deg2rad_x(out_bar):
    return out_bar * (PI / 180)


def rad2deg_x(out_bar):
    return out_bar * (180 / PI)


deg2rad = elementwise("deg2rad", np.deg2rad, deg2rad_x, floating=True, grad_name="Deg2RadBackward0")
rad2deg = elementwise("rad2deg", np.rad2deg, rad2deg_x, floating=True, grad_name="Rad2DegBackward0")

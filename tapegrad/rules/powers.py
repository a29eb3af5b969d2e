"""Powers, elementwise. Derivatives are elementary calculus; zeros as in torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.primitive import elementwise, select


def power_forward(x, y):
    return integer_power(x, y) if x.dtype.kind in "iu" else np.power(x, y)


def integer_power(x: Any, y: Any) -> Any:
    """Integers to integer powers, where negative ones give the truncated 0, 1 or -1."""
    negative = y < 0
    if not negative.any():
        return np.power(x, y)
    inverse = np.where(x == 1, 1, np.where(x == -1, 1 - 2 * (y % 2), 0))
    return np.where(negative, inverse, np.power(x, np.where(negative, 0, y))).astype(x.dtype)


def pow_x(x, y):
    # 0 where the exponent is 0, also at x = 0, where y * x ** (y - 1) would be nan.
    return y * np.power(select(y == 0, 1.0, x), y - 1)


def pow_y(x, y, out):
    # The limit 0 at x = 0 for y >= 0, where out * log(x) would be nan.
    return out * np.log(select((x == 0) & (np.real(y) >= 0), 1.0, x))


# torch names the derivatives by which of the two are Tensors. None of these is called "pow":
# Python's operator has to go through the public function, which tells them apart.
pow_ = elementwise(
    "pow_tensor", power_forward, pow_x, pow_y,
    scalar=np.power, grad_name="PowBackward1", hidden=True,
)  # fmt: skip
pow_number = elementwise(
    "pow_number", power_forward, pow_x, None,
    scalar=np.power, grad_name="PowBackward0", hidden=True,
)  # fmt: skip
pow_base = elementwise(
    "pow_base", power_forward, None, pow_y,
    scalar=np.power, grad_name="PowBackward2", hidden=True,
)  # fmt: skip


def square_x(x):
    return 2 * x


square_ = elementwise("square", np.square, square_x, grad_name="PowBackward0", hidden=True)


@public(inplace=True)
def square(input: Any) -> Any:
    """``input ** 2``."""
    return pow_forward(input, 2)


def cube_forward(x):
    return x * x * x


def cube_x(x):
    return 3 * x * x


def root_forward(x):
    return np.sqrt(x)


def root_x(out):
    return 0.5 / out


# Powers that are quicker than np.power, and where torch takes these ways too.
cube = elementwise("cube", cube_forward, cube_x, scalar=True, grad_name="PowBackward0", hidden=True)
root = elementwise(
    "root", root_forward, root_x, scalar=np.sqrt, grad_name="PowBackward0", hidden=True
)
QUICK = {2: square_, 3: cube, 0.5: root}


def pow_forward(input: Any, exponent: Any) -> Any:
    """``input ** exponent``, either of which may be a Python number."""
    if type(exponent) in (int, float) and hasattr(input, "_spec"):
        kind = input._spec.dtype.kind
        if kind == "f":
            quick = QUICK.get(exponent)
            return pow_number(input, exponent) if quick is None else quick(input)
        if exponent < 0 and kind in "iub" and type(exponent) is int:
            raise RuntimeError("Integers to negative integer powers are not allowed.")
        if exponent == 2 and kind == "c":
            return square_(input)
        return pow_number(input, exponent)
    if hasattr(exponent, "_spec"):
        return pow_(input, exponent) if hasattr(input, "_spec") else pow_base(input, exponent)
    return pow_number(input, exponent)


@public(inplace=True, numpy=[np.power])
def pow(input: Any, exponent: Any) -> Any:
    """``input ** exponent``, elementwise and broadcast; either may be a number.

    Raises RuntimeError for integers to a negative integer power.
    """
    return pow_forward(input, exponent)


@public(inplace=True)
def float_power(input: Any, exponent: Any) -> Any:
    """``input ** exponent`` in float64 (or complex128)."""
    tensors = [x for x in (input, exponent) if hasattr(x, "_spec")]
    is_complex = any(isinstance(x, complex) for x in (input, exponent))
    is_complex = is_complex or any(x._spec.is_complex for x in tensors)

    def wide(x: Any) -> Any:
        if hasattr(x, "_spec"):
            return x.cdouble() if is_complex else x.double()
        return complex(x) if is_complex else float(x)

    return pow_forward(wide(input), wide(exponent))

"""Arithmetic, elementwise: sums, products, quotients, remainders, signs.

Derivatives are elementary calculus; ties, kinks and zeros as in torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.primitive import elementwise, select
from tapegrad.rules.arguments import check_tensor

# Other families look for these here.
from tapegrad.rules.clamping import clamp_ as clamp_
from tapegrad.rules.clamping import clamp_min as clamp_min
from tapegrad.rules.clamping import maximum as maximum
from tapegrad.rules.clamping import minimum as minimum
from tapegrad.rules.powers import pow_forward as pow_forward


def same(out_bar):
    return out_bar


def negated(out_bar):
    return -out_bar


def check_negation(input: Any) -> None:
    """Raise torch's error for a bool Tensor."""
    if input._spec.dtype.kind == "b":
        raise RuntimeError(
            "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to "
            "invert a mask, use the `~` or `logical_not()` operator instead."
        )


def check_subtraction(input: Any, other: Any) -> None:
    """Raise torch's error for bool operands."""
    bools = [
        x._spec.dtype.kind == "b" if hasattr(x, "_spec") else isinstance(x, bool)
        for x in (input, other)
    ]
    if all(bools):
        raise RuntimeError(
            "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
            "`logical_xor()` operator instead."
        )
    if any(bools):
        raise RuntimeError(
            "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying "
            "to invert a mask, use the `~` or `logical_not()` operator instead."
        )


add_ = elementwise("add", np.add, same, same, hidden=True)
sub_ = elementwise("sub", np.subtract, same, negated, hidden=True, check=check_subtraction)
#: ``number - x`` and ``number / x`` by Python's operators, under torch's names.
sub_from = elementwise(
    "sub_from", np.subtract, None, negated, hidden=True, check=check_subtraction,
    grad_name="RsubBackward1",
)  # fmt: skip
neg = elementwise("neg", np.negative, negated, aliases=("negative",), check=check_negation)


@public(numpy=[np.positive])
def positive(input: Any) -> Any:
    """The Tensor itself. Raises RuntimeError for a bool one."""
    if input._spec.dtype.kind == "b":
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


def scaled(input: Any, other: Any, alpha: Any) -> Any:
    """``alpha * other``, with torch's error where alpha would make integers real."""
    if isinstance(alpha, float) and all(
        x._spec.dtype.kind in "biu" if hasattr(x, "_spec") else isinstance(x, int)
        for x in (input, other)
    ):
        raise RuntimeError(
            "For integral input tensors, argument alpha must not be a floating point number."
        )
    return mul(other, alpha)


@public(inplace=True)
def add(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    """``input + alpha * other``, elementwise and broadcast.

    Raises RuntimeError for integers and an alpha that is a float.
    """
    return add_(input, other if alpha == 1 else scaled(input, other, alpha))


@public(inplace=True, aliases=("subtract",))
def sub(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    """``input - alpha * other``, elementwise and broadcast.

    Raises RuntimeError for bools, and for integers and an alpha that is a float.
    """
    return sub_(input, other if alpha == 1 else scaled(input, other, alpha))


def rsub_forward(x, y):
    return np.subtract(y, x)


rsub_ = elementwise("rsub", rsub_forward, negated, same, hidden=True, check=check_subtraction)
rsub_number = elementwise(
    "rsub_number", rsub_forward, negated, None, hidden=True, check=check_subtraction,
    grad_name="RsubBackward1",
)  # fmt: skip


@public(method=False)
def rsub(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    """``other - alpha * input``; ``other`` may be a number."""
    check_tensor("rsub", input)
    minuend = input if alpha == 1 else scaled(other, input, alpha)
    return rsub_(minuend, other) if hasattr(other, "_spec") else rsub_number(minuend, other)


def mul_x(y):
    return y


def mul_y(x):
    return x


mul = elementwise("mul", np.multiply, mul_x, mul_y, aliases=("multiply",), numbers="xy")


def div_x(y):
    return 1 / y


def div_y(y, out):
    return -out / y


div_ = elementwise("div", np.true_divide, div_x, div_y, floating=True, hidden=True)
div_into = elementwise(
    "div_into", np.true_divide, None, div_y, floating=True, hidden=True,
    grad_name="MulBackward0",
)  # fmt: skip


@public(inplace=True, aliases=("divide",))
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Any:
    """``input / other``; ``rounding_mode`` "floor" or "trunc" rounds the quotient."""
    if rounding_mode is None:
        return div_(input, other)
    if rounding_mode == "floor":
        return div_floor(input, other)
    if rounding_mode == "trunc":
        return trunc_divide(input, other)
    raise RuntimeError(
        "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found "
        f"'{rounding_mode}'"
    )


@public(inplace=True)
def true_divide(input: Any, other: Any) -> Any:
    """``input / other``."""
    return div_(input, other)


def reciprocal_x(out):
    return -out * out


reciprocal = elementwise("reciprocal", np.reciprocal, reciprocal_x, floating=True)


def flat(out_bar):
    # Not a product with 0, which would make nan of an infinite adjoint.
    return select(False, out_bar, 0.0)


def flat_y(out_bar):
    return select(False, out_bar, 0.0)


def check_divisor(y: Any) -> None:
    """Raise torch's error if an integer divisor is 0."""
    if y.dtype.kind in "iu" and not y.all():
        raise RuntimeError("ZeroDivisionError")


def floor_divide_forward(x, y):
    check_divisor(y)
    return np.floor_divide(x, y)


floor_divide = elementwise(
    "floor_divide", floor_divide_forward, flat, flat_y, numbers="xy", refuses="bc"
)
div_floor = elementwise(
    "div_floor", floor_divide_forward, flat, flat_y, hidden=True, refuses="bc",
    grad_name="DivBackward2",
)  # fmt: skip


@public(numpy=[np.floor_divide], method=False)
def numpy_floor_divide(input: Any, other: Any) -> Any:
    """NumPy's `floor_divide`."""
    return floor_divide(input, other)


def trunc_divide_forward(x, y):
    check_divisor(y)
    if x.dtype.kind in "iu":
        return (np.abs(x) // np.abs(y)) * np.sign(x) * np.sign(y)
    return np.trunc(x / y)


trunc_divide = elementwise(
    "trunc_divide", trunc_divide_forward, flat, flat_y, hidden=True, refuses="bc",
    grad_name="DivBackward2",
)  # fmt: skip


def remainder_y(out_bar, x, y):
    return -out_bar * np.floor(x / y)


def remainder_forward(x, y):
    check_divisor(y)
    return np.remainder(x, y)


# Two of one name, since torch names the derivatives by whether the divisor is a Tensor.
remainder_tensor = elementwise(
    "remainder", remainder_forward, same, remainder_y, hidden=True, refuses="bc",
    grad_name="RemainderBackward1",
)  # fmt: skip
remainder_number = elementwise(
    "remainder", remainder_forward, same, None, hidden=True, refuses="bc",
    grad_name="RemainderBackward0",
)  # fmt: skip


@public(inplace=True, numpy=[np.remainder])
def remainder(input: Any, other: Any) -> Any:
    """The remainder of a division, with the sign of the divisor; either may be a number."""
    return (remainder_tensor if hasattr(other, "_spec") else remainder_number)(input, other)


def fmod_y(out_bar, x, y):
    return -out_bar * np.trunc(x / y)


def fmod_forward(x, y):
    check_divisor(y)
    return np.fmod(x, y)


fmod_tensor = elementwise(
    "fmod", fmod_forward, same, fmod_y, hidden=True, numbers="", refuses="bc",
    grad_name="FmodBackward1",
)  # fmt: skip
fmod_number = elementwise(
    "fmod", fmod_forward, same, None, hidden=True, refuses="bc", grad_name="FmodBackward0"
)


@public(inplace=True, numpy=[np.fmod])
def fmod(input: Any, other: Any) -> Any:
    """The remainder of a division, with the sign of the dividend; the divisor may be a number."""
    return (fmod_tensor if hasattr(other, "_spec") else fmod_number)(input, other)


def abs_x(out_bar, x):
    # x / |x| for complex x, 0 at 0.
    return out_bar * np.sign(x)


abs = elementwise("abs", np.absolute, abs_x, aliases=("absolute",), refuses="b")


def sign_forward(x):
    if x.dtype.kind == "f":
        return np.subtract(x > 0, x < 0, dtype=x.dtype)  # 0 for nan, unlike np.sign
    return x.copy() if x.dtype.kind == "b" else np.sign(x)


def sgn_forward(x):
    return np.sign(x) if x.dtype.kind == "c" else sign_forward(x)


def sgn_x(out_bar, x, out):
    # The part of out_bar across x, over |x|: (v - s^2 conj(v)) / 2|x|, which is 0 for real x.
    return select(
        x == 0, 0 * out_bar, (out_bar - out * out * np.conjugate(out_bar)) / (2 * np.abs(x))
    )


sign_ = elementwise("sign", sign_forward, flat, hidden=True)
sgn_real = elementwise("sgn", sgn_forward, flat, hidden=True)
sgn_complex = elementwise("sgn", sgn_forward, sgn_x, hidden=True, native=False)


@public(inplace=True)
def sign(input: Any) -> Any:
    """-1, 0 or 1 by the sign of each element; 0 for nan. Raises for complex Tensors: see `sgn`."""
    if input._spec.is_complex:
        raise NotImplementedError(
            "Unlike NumPy, torch.sign is not intended to support complex numbers. Please use "
            "torch.sgn instead."
        )
    return sign_(input)


@public(inplace=True, numpy=[np.sign])
def sgn(input: Any) -> Any:
    """`sign`, and ``x / |x|`` for complex x (0 at 0)."""
    return sgn_complex(input) if input._spec.is_complex else sgn_real(input)


@public
def signbit(input: Any) -> Any:
    """Where the sign is set: also for -0.0."""
    return signbit_(input)


signbit_ = elementwise("signbit", np.signbit, None, hidden=True)

"""Comparisons, logic and bits: elementwise, without derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.dtypes import TYPE_NAMES
from tapegrad.primitive import elementwise, structural
from tapegrad.rules.arguments import check_tensor

eq = elementwise("eq", np.equal, None, None)
ne = elementwise("ne", np.not_equal, None, None, aliases=("not_equal",))
lt = elementwise("lt", np.less, None, None, aliases=("less",), refuses="c")
le = elementwise("le", np.less_equal, None, None, aliases=("less_equal",), refuses="c")
gt = elementwise("gt", np.greater, None, None, aliases=("greater",), refuses="c")
ge = elementwise("ge", np.greater_equal, None, None, aliases=("greater_equal",), refuses="c")


@public
def isreal(input: Any) -> Any:
    """Where the imaginary part is 0; everywhere in a real Tensor."""
    return input.imag == 0 if input._spec.is_complex else input.new_ones(input.shape, dtype=bool)


isnan = elementwise("isnan", np.isnan, None)
isinf = elementwise("isinf", np.isinf, None)
isfinite = elementwise("isfinite", np.isfinite, None)


def isposinf_forward(x):
    if x.dtype.kind == "c":
        raise RuntimeError("isposinf does not support complex inputs.")
    return x == np.inf


def isneginf_forward(x):
    if x.dtype.kind == "c":
        raise RuntimeError("isneginf does not support complex inputs.")
    return x == -np.inf


isposinf = elementwise("isposinf", isposinf_forward, None)
isneginf = elementwise("isneginf", isneginf_forward, None)

logical_and = elementwise("logical_and", np.logical_and, None, None, numbers="")
logical_or = elementwise("logical_or", np.logical_or, None, None, numbers="")
logical_xor = elementwise("logical_xor", np.logical_xor, None, None, numbers="")
logical_not = elementwise("logical_not", np.logical_not, None)

bitwise_and = elementwise("bitwise_and", np.bitwise_and, None, None, numbers="xy")
bitwise_or = elementwise("bitwise_or", np.bitwise_or, None, None, numbers="xy")
bitwise_xor = elementwise("bitwise_xor", np.bitwise_xor, None, None, numbers="xy")
bitwise_not = elementwise("bitwise_not", np.invert, None)
left_shift = elementwise("bitwise_left_shift", np.left_shift, None, None, numbers="xy")
right_shift = elementwise("bitwise_right_shift", np.right_shift, None, None, numbers="xy")


@public(name="__invert__", method="only")
def invert(input: Any) -> Any:
    """`bitwise_not`. Raises TypeError for a Tensor that is neither bool nor integer."""
    if input._spec.dtype.kind in "fc":
        raise TypeError(
            "~ (operator.invert) is only implemented on integer and Boolean-type tensors"
        )
    return bitwise_not(input)


def isclose_forward(x, y, rtol, atol, equal_nan):
    if x.dtype.kind in "fc":
        return np.isclose(x, y, rtol=rtol, atol=atol, equal_nan=equal_nan)
    if x.dtype.kind == "b":
        return x == y
    return np.abs(x - y) <= atol + rtol * np.abs(y)


isclose_ = structural("isclose", isclose_forward, None, None)


def check_close(function: str, input: Any, other: Any, rtol: float, atol: float) -> None:
    """Raise torch's errors for arguments of `isclose` and `allclose`."""
    check_tensor(function, input)
    check_tensor(function, other, "other", 2)
    if input._spec.dtype != other._spec.dtype:
        names = [TYPE_NAMES[x._spec.dtype.name] for x in (input, other)]
        raise RuntimeError(f"{names[0]} did not match {names[1]}")
    for name, value in (("rtol", rtol), ("atol", atol)):
        if value < 0:
            raise RuntimeError(f"{name} must be greater than or equal to zero, but got {value:g}")
    for k in range(1, min(input.ndim, other.ndim) + 1):
        m, n = input._spec.shape[-k], other._spec.shape[-k]
        if m != n and 1 not in (m, n):
            raise RuntimeError(
                f"The size of tensor a ({m}) must match the size of tensor b ({n}) at "
                f"non-singleton dimension {max(input.ndim, other.ndim) - k}"
            )


@public
def isclose(
    input: Any, other: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Any:
    """Where ``|input - other| <= atol + rtol * |other|``, a bool Tensor.

    Raises RuntimeError if dtypes differ, shapes don't broadcast or a tolerance is negative.
    """
    check_close("isclose", input, other, rtol, atol)
    return isclose_(input, other, rtol, atol, equal_nan)


@public
def allclose(
    input: Any, other: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> bool:
    """Whether `isclose` holds everywhere. Raises as it does."""
    check_close("allclose", input, other, rtol, atol)
    return bool(isclose_forward(input._array, other._array, rtol, atol, equal_nan).all())


@public
def equal(input: Any, other: Any) -> bool:
    """Whether both have the same shape and the same elements."""
    if input._spec.shape != other._spec.shape:
        return False
    same = input._array == other._array
    return not same.size or bool(same.item(same.argmin()))  # `all` takes five times as long

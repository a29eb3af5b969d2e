"""The greater and the smaller of two, and clamping, elementwise: ties and nan as in torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.primitive import elementwise, select
from tapegrad.rules.arguments import check_tensor


def maximum_x(out_bar, x, y):
    # Half at a tie; where one is nan, both get all of it.
    return select(x == y, 0.5 * out_bar, select(x < y, 0.0, out_bar))


def maximum_y(out_bar, x, y):
    return select(x == y, 0.5 * out_bar, select(y < x, 0.0, out_bar))


def minimum_x(out_bar, x, y):
    return select(x == y, 0.5 * out_bar, select(x > y, 0.0, out_bar))


def minimum_y(out_bar, x, y):
    return select(x == y, 0.5 * out_bar, select(y > x, 0.0, out_bar))


maximum = elementwise("maximum", np.maximum, maximum_x, maximum_y, numbers="", refuses="c")
minimum = elementwise("minimum", np.minimum, minimum_x, minimum_y, numbers="", refuses="c")


def fmax_x(out_bar, x, y):
    return select((x >= y) | (y != y), out_bar, 0.0)


def fmax_y(out_bar, x, y):
    return select((x >= y) | (y != y), 0.0, out_bar)


def fmin_x(out_bar, x, y):
    return select((x <= y) | (y != y), out_bar, 0.0)


def fmin_y(out_bar, x, y):
    return select((x <= y) | (y != y), 0.0, out_bar)


fmax = elementwise("fmax", np.fmax, fmax_x, fmax_y, numbers="", refuses="c")
fmin = elementwise("fmin", np.fmin, fmin_x, fmin_y, numbers="", refuses="c")


def clamp_forward(x, y, z):
    # As torch: where the bounds cross, the upper one counts.
    out = np.maximum(x, y)
    return np.minimum(out, z, out=out if out.ndim and not z.ndim else None)


def clamp_scalar(x, y, z):
    low = select((x >= y) | (x != x), x, y)
    return select((low <= z) | (low != low), low, z)


def clamp_x(out_bar, x, y, z):
    return select((x >= y) & (x <= z), out_bar, 0.0)


def clamp_y(out_bar, x, y, z):
    return select((x < y) & (y < z), out_bar, 0.0)


def clamp_z(out_bar, x, y, z):
    return select((x > z) | (y > z), out_bar, 0.0)


def clamp_min_x(out_bar, x, y):
    return select(x >= y, out_bar, 0.0)


def clamp_min_y(out_bar, x, y):
    return select(x < y, out_bar, 0.0)


def clamp_max_x(out_bar, x, y):
    return select(x <= y, out_bar, 0.0)


def clamp_max_y(out_bar, x, y):
    return select(x > y, out_bar, 0.0)


clamp_ = elementwise(
    "clamp", clamp_forward, clamp_x, clamp_y, clamp_z, scalar=clamp_scalar, hidden=True
)


def clamp_min_forward(x, y):
    return np.maximum(x, y)


def clamp_max_forward(x, y):
    return np.minimum(x, y)


# torch names the derivatives by whether the bound is a Tensor.
min_tensor = elementwise(
    "clamp_min", clamp_min_forward, clamp_min_x, clamp_min_y,
    scalar=np.maximum, hidden=True, numbers="y", refuses="c",
    grad_name="ClampMinBackward1",
)  # fmt: skip
min_number = elementwise(
    "clamp_min", clamp_min_forward, clamp_min_x, None,
    scalar=np.maximum, hidden=True, numbers="y", refuses="c",
)  # fmt: skip
max_tensor = elementwise(
    "clamp_max", clamp_max_forward, clamp_max_x, clamp_max_y,
    scalar=np.minimum, hidden=True, numbers="y", refuses="c",
    grad_name="ClampMaxBackward1",
)  # fmt: skip
max_number = elementwise(
    "clamp_max", clamp_max_forward, clamp_max_x, None,
    scalar=np.minimum, hidden=True, numbers="y", refuses="c",
)  # fmt: skip


@public(inplace=True)
def clamp_min(input: Any, min: Any) -> Any:
    """``input``, and ``min`` (a number or a Tensor) where that is greater."""
    check_tensor("clamp_min", input)
    return (min_tensor if hasattr(min, "_spec") else min_number)(input, min)


@public(inplace=True)
def clamp_max(input: Any, max: Any) -> Any:
    """``input``, and ``max`` (a number or a Tensor) where that is smaller."""
    check_tensor("clamp_max", input)
    return (max_tensor if hasattr(max, "_spec") else max_number)(input, max)


# The same within `clamp`: torch has other names for these derivatives, one where the bounds are
# Tensors and one where they are numbers.
clamp_at_least = elementwise(
    "clamp_at_least", clamp_min_forward, clamp_min_x, clamp_min_y,
    scalar=np.maximum, hidden=True,
    grad_name="ClampBackward0",
)  # fmt: skip
clamp_at_most = elementwise(
    "clamp_at_most", clamp_max_forward, clamp_max_x, clamp_max_y,
    scalar=np.minimum, hidden=True,
    grad_name="ClampBackward0",
)  # fmt: skip
clamp_numbers = elementwise(
    "clamp_numbers", clamp_forward, clamp_x, None, None,
    scalar=clamp_scalar, hidden=True, grad_name="ClampBackward1",
)  # fmt: skip
clamp_low = elementwise(
    "clamp_low", clamp_min_forward, clamp_min_x, None,
    scalar=np.maximum, hidden=True, grad_name="ClampBackward1",
)  # fmt: skip
clamp_high = elementwise(
    "clamp_high", clamp_max_forward, clamp_max_x, None,
    scalar=np.minimum, hidden=True, grad_name="ClampBackward1",
)  # fmt: skip


@public(inplace=True, aliases=("clip",), numpy=[np.clip])
def clamp(input: Any, min: Any = None, max: Any = None) -> Any:
    """``input`` kept between ``min`` and ``max``, numbers or Tensors, of which one may be None.

    The gradient passes at a bound. Raises RuntimeError without bounds, NotImplementedError for
    complex Tensors.
    """
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    if input._spec.is_complex:
        raise NotImplementedError("clamp is not supported for complex types")
    if max is None:
        return (clamp_at_least if hasattr(min, "_spec") else clamp_low)(input, min)
    if min is None:
        return (clamp_at_most if hasattr(max, "_spec") else clamp_high)(input, max)
    if hasattr(min, "_spec") or hasattr(max, "_spec"):
        return clamp_(input, min, max)
    return clamp_numbers(input, min, max)

"""Selection by a condition or a sign, elementwise: where, copysign, heaviside, nan_to_num."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.dtypes import TYPE_NAMES
from tapegrad.primitive import elementwise, select, structural
from tapegrad.rules.arithmetic import flat_y


def copysign_x(out_bar, x, out):
    return select(x == 0, 0.0, select((x > 0) == (out > 0), out_bar, -out_bar))


copysign = elementwise("copysign", np.copysign, copysign_x, flat_y, floating=True)


def heaviside_forward(x, y):
    if x.dtype.kind == "f":
        return np.heaviside(x, y)
    return np.where(x == 0, y, x > 0).astype(x.dtype)


heaviside_ = elementwise("heaviside", heaviside_forward, None, None, hidden=True)


@public(inplace=True, numpy=[np.heaviside])
def heaviside(input: Any, values: Any) -> Any:
    """0 where the input is negative, 1 where it is positive, ``values`` where it is 0.

    Raises RuntimeError for complex Tensors and if the dtypes differ.
    """
    if input._spec.is_complex or values._spec.is_complex:
        raise RuntimeError("heaviside is not yet implemented for complex tensors.")
    if input._spec.dtype != values._spec.dtype:
        raise RuntimeError("heaviside is not yet implemented for tensors with different dtypes.")
    return heaviside_(input, values)


def where_scalar(x, y, z):
    return select(x, y, z)


def where_x(out_bar, x):
    return select(x, out_bar, 0.0)


def where_y(out_bar, x):
    return select(x, 0.0, out_bar)


where_ = elementwise(
    "where", np.where, None, where_x, where_y, condition=True, scalar=where_scalar, hidden=True
)

#: A number where the condition holds, else ``z``: `masked_fill` where nothing is to be broadcast.
filled = elementwise(
    "masked_fill_number", np.where, None, None, where_y, condition=True, scalar=where_scalar,
    hidden=True, grad_name="MaskedFillBackward0",
)  # fmt: skip


def check_condition(condition: Any) -> None:
    """Raise torch's error for a condition that isn't a bool Tensor."""
    if hasattr(condition, "_spec") and condition._spec.dtype.kind != "b":
        raise RuntimeError(
            "where expected condition to be a boolean tensor, but got a tensor with dtype "
            f"{TYPE_NAMES[condition._spec.dtype.name]}"
        )


@public(numpy=[np.where], method=False)
def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """``input`` where the condition holds, else ``other``; the condition alone: its nonzero.

    Raises RuntimeError for a condition that isn't bool.
    """
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    check_condition(condition)
    return where_(condition, input, other)


@public(name="where", method="only")
def where_method(input: Any, condition: Any, other: Any) -> Any:
    """The Tensor where the condition holds, else ``other``."""
    check_condition(condition)
    return where_(condition, input, other)


def nan_to_num_forward(x):
    limits = LIMITS[x.dtype.char]
    return np.where(x == x, np.minimum(np.maximum(x, limits[0]), limits[1]), limits[2])


def nan_to_num_given_forward(x, y, z, w):
    return np.where(x == x, np.where(x == np.inf, z, np.where(x == -np.inf, w, x)), y)


def nan_to_num_x(out_bar, x):
    return select(np.isfinite(x), out_bar, 0.0)


#: The least and the greatest number of each dtype, and 0.
LIMITS = {c: (np.finfo(c).min, np.finfo(c).max, np.dtype(c).type(0)) for c in "efd"}
nan_to_num_ = elementwise("nan_to_num", nan_to_num_forward, nan_to_num_x, hidden=True)
nan_to_num_given = elementwise(
    "nan_to_num_given", nan_to_num_given_forward, nan_to_num_x, None, None, None,
    hidden=True, native=False, grad_name="NanToNumBackward0",
)  # fmt: skip


def nan_to_num_complex_forward(x, nan, posinf, neginf):
    return np.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)


nan_to_num_complex = structural("nan_to_num", nan_to_num_complex_forward, None)


@public(inplace=True, numpy=[np.nan_to_num])
def nan_to_num(
    input: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Any:
    """nan and infinities replaced, by 0 and the dtype's limits where nothing else is given.

    Raises RuntimeError for complex Tensors that require grad.
    """
    kind = input._spec.dtype.kind
    if kind in "biu":
        return input.clone()
    if kind == "c":
        if input.requires_grad:
            raise RuntimeError(
                "nan_to_num does not support automatic differentiation for outputs with complex "
                "dtype."
            )
        return nan_to_num_complex(input, nan, posinf, neginf)
    if nan == 0 and posinf is None and neginf is None:
        return nan_to_num_(input)
    dtype = input._spec.dtype
    low, high, _ = LIMITS[dtype.char]
    given = (nan, high if posinf is None else posinf, low if neginf is None else neginf)
    return nan_to_num_given(input, *[np.asarray(value, dtype) for value in given])

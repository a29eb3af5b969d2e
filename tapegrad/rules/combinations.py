"""Combinations of two or three inputs, elementwise: lerp, addcmul, addcdiv, hypot, ldexp."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.primitive import elementwise, select
from tapegrad.rules.arguments import c_name, refuse
from tapegrad.rules.arithmetic import same


def lerp_forward(x, y, z):
    # From the nearer end, so that the ends are met exactly.
    if z.ndim == 0 and z.dtype.kind == "f" and z < 0.5:
        out = y - x
        out *= z
        out += x
        return out
    return np.where(z < 0.5, x + z * (y - x), y - (y - x) * (1 - z))


def lerp_scalar(x, y, z):
    return select(z < 0.5, x + z * (y - x), y - (y - x) * (1 - z))


def lerp_x(z):
    return 1 - z


def lerp_y(z):
    return z


def lerp_z(x, y):
    return y - x


lerp_ = elementwise(
    "lerp", lerp_forward, lerp_x, lerp_y, lerp_z,
    scalar=lerp_scalar, hidden=True, grad_name="LerpBackward1",
)  # fmt: skip
lerp_number = elementwise(
    "lerp_number", lerp_forward, lerp_x, lerp_y, None,
    scalar=lerp_scalar, hidden=True, grad_name="LerpBackward0",
)  # fmt: skip


@public(inplace=True)
def lerp(input: Any, end: Any, weight: Any) -> Any:
    """``input + weight * (end - input)``; the weight is a Tensor or a number.

    Raises RuntimeError for Tensors of several dtypes, NotImplementedError for integers.
    """
    made = lerp_ if hasattr(weight, "_spec") else lerp_number
    dtype = input._spec.dtype
    if (
        dtype.kind not in "fc"
        or getattr(end, "_spec", input._spec).dtype is not dtype
        or (made is lerp_ and weight._spec.dtype is not dtype)
    ):
        _check_lerp(input, end, weight)
    return made(input, end, weight)


def _check_lerp(input: Any, end: Any, weight: Any) -> None:
    by_number = not hasattr(weight, "_spec")
    for name, other in (("end", end),) if by_number else (("end", end), ("weight", weight)):
        if other._spec.dtype != input._spec.dtype:
            raise RuntimeError(
                f"expected dtype {c_name(input)} for `{name}` but got dtype {c_name(other)}"
            )
    kind = "scalar" if by_number else "tensor"
    message = f"\"lerp_kernel_{kind}\" not implemented for '{{dtype}}'"
    refuse(input, "bui", message, NotImplementedError)


def addcmul_forward(x, y, z, w):
    return x + w * y * z


def addcmul_y(z, w):
    return w * z


def addcmul_z(y, w):
    return w * y


def addcmul_one_forward(x, y, z):
    return x + y * z


def third(z):
    return z


def second(y):
    return y


def addcdiv_forward(x, y, z, w):
    return x + w * y / z


def addcdiv_y(z, w):
    return w / z


def addcdiv_z(y, z, w):
    return -w * y / (z * z)


addcmul_ = elementwise(
    "addcmul", addcmul_forward, same, addcmul_y, addcmul_z, None, hidden=True, native=False
)
#: With the value 1.
addcmul_one = elementwise(
    "addcmul_one", addcmul_one_forward, same, third, second,
    scalar=True, hidden=True, grad_name="AddcmulBackward0",
)  # fmt: skip
addcdiv_ = elementwise(
    "addcdiv", addcdiv_forward, same, addcdiv_y, addcdiv_z, None, hidden=True, native=False
)


@public(inplace=True)
def addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Any:
    """``input + value * tensor1 * tensor2``."""
    if type(value) is int and value == 1:
        return addcmul_one(input, tensor1, tensor2)
    return addcmul_(input, tensor1, tensor2, value)


@public(inplace=True)
def addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Any:
    """``input + value * tensor1 / tensor2``. Raises RuntimeError for an integer quotient."""
    if tensor1._spec.dtype.kind in "biu" and tensor2._spec.dtype.kind in "biu":
        raise RuntimeError(
            "Integer division with addcdiv is no longer supported, and in a future  release "
            "addcdiv will perform a true division of tensor1 and tensor2. The historic addcdiv "
            "behavior can be implemented as (input + value * torch.trunc(tensor1 / tensor2)).to("
            "input.dtype) for integer inputs and as (input + value * tensor1 / tensor2) for float "
            "inputs. The future addcdiv behavior is just the latter implementation: (input + value "
            "* tensor1 / tensor2), for all dtypes."
        )
    return addcdiv_(input, tensor1, tensor2, value)


def hypot_x(x, out):
    return x / out


def hypot_y(y, out):
    return y / out


hypot = elementwise("hypot", np.hypot, hypot_x, hypot_y, numbers="", refuses="biu")


def ldexp_forward(x, y):
    return x * np.exp2(y)


def ldexp_x(y):
    return np.exp2(y)


def ldexp_y(out):
    return out * 0.6931471805599453


ldexp = elementwise("ldexp", ldexp_forward, ldexp_x, ldexp_y, floating=True, numbers="")

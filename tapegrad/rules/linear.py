"""What a layer computes: rows times a transposed matrix of weights, plus a bias."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.primitive import Primitive, structural
from tapegrad.products import matrix_product
from tapegrad.rules.arguments import dtype_name
from tapegrad.rules.arithmetic import add_
from tapegrad.rules.matrices import conjugate, fitted
from tapegrad.rules.matrix_products import check_dtypes, matmul, rows_times, size_error


def linear_forward(x, y, z):
    if x.ndim != 2:
        rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
        return linear_forward(rows, y, z).reshape(*x.shape[:-1], len(y))
    return matrix_product(x, y.T, z)


def linear_x(out_bar, y):
    return rows_times(out_bar, conjugate(y))


def linear_y(out_bar, x, y_shape):
    if x.ndim == 1:
        return out_bar.reshape(-1, 1) * conjugate(x)
    if x.ndim > 2:
        rows = math.prod(x.shape[:-1])
        out_bar, x = np.reshape(out_bar, (rows, y_shape[0])), np.reshape(x, (rows, y_shape[1]))
    return matrix_product(out_bar.T, conjugate(x))


def linear_z(out_bar, z_shape):
    return fitted(out_bar, z_shape)


linear_ = structural(
    "linear", linear_forward, linear_x, linear_y, linear_z, grad_name="AddmmBackward0"
)
#: The same for batches, and for one example, under the name that torch gives it then.
linear_view = structural(
    "linear", linear_forward, linear_x, linear_y, linear_z, grad_name="ViewBackward0"
)


@public(module="nn.functional", method=False)
def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """``input @ weight.T + bias``: input (..., in), weight (out, in) or (in,), bias (out,)."""
    a, b = input._spec.shape, weight._spec.shape
    if len(b) == 1:
        if bias is not None and bias.ndim:
            raise RuntimeError("mat2 must be a matrix, got 1-D tensor")
        product = matmul(input, weight)
        return product if bias is None else add_(product, bias)
    if not a:
        raise RuntimeError(
            f"both arguments to linear need to be at least 1D, but they are 0D and {len(b)}D"
        )
    if a[-1] != b[-1]:
        raise size_error(a, b[::-1])
    if bias is None:
        return matmul(input, weight.t())
    check_dtypes(input, weight, "m1 and m2" if len(a) == 1 else "mat1 and mat2")
    sizes = bias._spec.shape
    if sizes != b[:1] or bias._spec.dtype != weight._spec.dtype:
        shape = (*a[:-1], b[0])
        if bias._spec.dtype != weight._spec.dtype:
            names = f"{dtype_name(bias)} and {dtype_name(weight)}"
            raise RuntimeError(f"self and mat2 must have the same dtype, but got {names}")
        return _bias_of_another_shape(input, weight, bias, shape)
    return Primitive.apply(linear_ if len(a) == 2 else linear_view, (input, weight, bias))


def _bias_of_another_shape(input: Any, weight: Any, bias: Any, shape: tuple[int, ...]) -> Any:
    sizes = bias._spec.shape
    for k in range(1, min(len(sizes), len(shape)) + 1):
        if sizes[-k] not in (1, shape[-k]):
            raise RuntimeError(
                f"The expanded size of the tensor ({shape[-k]}) must match the existing size "
                f"({sizes[-k]}) at non-singleton dimension {len(shape) - k}.  Target sizes: "
                f"{list(shape)}.  Tensor sizes: {list(sizes)}"
            )
    if len(sizes) > len(shape):
        if len(shape) > 1 or sizes != (1, *shape):  # which torch takes with one example
            made = list(np.broadcast_shapes(sizes, shape))
            raise RuntimeError(
                f"output with shape {list(shape)} doesn't match the broadcast shape {made}"
            )
        bias = bias.reshape(shape)
    return add_(matmul(input, weight.t()), bias)

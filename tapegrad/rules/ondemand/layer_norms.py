"""Layer norm (Ba, Kiros and Hinton 2016) and rms norm (Zhang and Sennrich 2019).

Unlike those of `normalization`, whose rules serve here, layer norm has no need of mean and variance
but in its rules: they compute them again, of elements that they read anyway.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.fused import fused
from tapegrad.primitive import structural
from tapegrad.rules.ondemand.normalization import (
    NN,
    check_floating,
    filled,
    mean_of_products,
    standard_forward,
    standard_x,
    standard_y,
    standard_z,
    standardised_by,
)
from tapegrad.rules.reductions import mean, mean_

#: So many rows are added up before their sum becomes a double.
ROWS = 64


def layer_forward(x, y, z, view, axes, affine, eps):
    n = length_of_rows(view, axes, affine)
    kernel = fused("layer", x) if n else None
    if kernel is not None:
        weight, bias = filled(y, x, affine, 1), filled(z, x, affine, 0)
        if weight.dtype == bias.dtype == x.dtype:
            out = np.empty_like(x)
            kernel(x.size // n, x, weight, bias, out, n, eps)
            return out
    return standard_forward(x, y, z, view, axes, affine, eps)[0]


def length_of_rows(view, axes, affine):
    """The elements of a row; 0 if not all rows have the same weight, as may be under vmap."""
    lead = axes[0]
    return math.prod(view[lead:]) if affine == (1,) * lead + view[lead:] else 0


def layer_x(out_bar, x, y, view, axes, affine, eps, x_shape):
    n = length_of_rows(view, axes, affine)
    kernel = fused("layer_x", out_bar, x) if n and type(y) is np.ndarray else None
    if kernel is not None:
        x_bar = np.empty_like(x)
        kernel(x.size // n, out_bar, x, filled(y, x, affine, 1), x_bar, n, eps)
        return x_bar
    out = moments(x, axes)
    return standard_x((out_bar, None, None), x, y, out, view, axes, affine, eps, x_shape)


def moments(x, axes):
    """In the place of the results of the other layers: none, the mean and the variance."""
    if type(x) is np.ndarray and x.dtype.char == "e":
        x = x.astype(np.float32)
    centre = mean_(x, axes, True)
    centred = x - centre
    return None, centre, mean_of_products(centred, centred, axes)


def layer_y(out_bar, x, view, axes, affine, eps, y_shape):
    n = length_of_rows(view, axes, affine)
    kernel = fused("layer_y", out_bar, x) if n else None
    if kernel is not None:
        rows = x.size // n
        parts = np.empty((-(-rows // ROWS), n), x.dtype)
        kernel(len(parts), out_bar, x, parts, rows, n, ROWS, eps)
        return np.add.reduce(parts, 0, np.float64).astype(x.dtype).reshape(y_shape)
    return standard_y((out_bar,), x, moments(x, axes), view, axes, affine, eps, y_shape)


def layer_z(out_bar, view, affine, z_shape):
    return standard_z((out_bar,), view, affine, z_shape)


LAYER = structural(
    "layer_norm", layer_forward, layer_x, layer_y, layer_z, grad_name="NativeLayerNormBackward0"
)


def _check_normalized(input: Any, shape: tuple[int, ...], weight: Any, bias: Any) -> None:
    if not shape:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one "
            "element, but got normalized_shape = []"
        )
    for what, value in (("weight", weight), ("bias", bias)):
        if value is not None and value._spec.shape != shape:
            raise RuntimeError(
                f"Expected {what} to be of same shape as normalized_shape, but got {what} of shape "
                f"{list(value.shape)} and normalized_shape = {list(shape)}"
            )
    if input._spec.shape[-len(shape) :] != shape:
        sizes = ", ".join(map(str, shape))
        raise RuntimeError(
            f"Given normalized_shape=[{sizes}], expected input with shape [*, {sizes}], but got "
            f"input of size{list(input.shape)}"
        )


def _shape_of(normalized_shape: Any) -> tuple[int, ...]:
    one = isinstance(normalized_shape, int)
    return (normalized_shape,) if one else tuple([int(n) for n in normalized_shape])


@public(module=("", NN), method=False)
def layer_norm(
    input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Any:  # fmt: skip
    """``(input - mean) / sqrt(var + eps) * weight + bias``, each over the last dimensions.

    These are ``normalized_shape``, which weight and bias have too; the variance is the biased one.
    Raises RuntimeError for shapes that don't fit.
    """
    shape = _shape_of(normalized_shape)
    _check_normalized(input, shape, weight, bias)
    check_floating("LayerNormKernelImpl", input)
    view = tuple(input._spec.shape)
    lead = len(view) - len(shape)
    axes, affine = tuple(range(lead, len(view))), (*(1,) * lead, *shape)
    return standardised_by(LAYER, input, weight, bias, view, axes, affine, eps)


@public(module=("", NN), method=False)
def rms_norm(
    input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None
) -> Any:
    """``input / sqrt(mean(input**2) + eps) * weight``, over the last dimensions.

    ``eps`` is that of the dtype by default. Raises RuntimeError for shapes that don't fit.
    """
    shape = _shape_of(normalized_shape)
    _check_normalized(input, shape, weight, None)
    eps = float(np.finfo(input._spec.dtype).eps) if eps is None else eps
    axes = tuple(range(input.ndim - len(shape), input.ndim))
    out = input * (mean(input * input, axes, True) + eps).rsqrt()
    return out if weight is None else out * weight

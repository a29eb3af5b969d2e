"""Layer norm (Ba, Kiros and Hinton 2016) and rms norm (Zhang and Sennrich 2019).

Unlike those of `normalization`, whose rules serve here, they have no need of mean and variance but
in their rules: these compute them again, of elements that they read anyway.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.dtypes import TYPE_NAMES
from tapegrad.fused import ROWS, fused
from tapegrad.primitive import Primitive, structural
from tapegrad.rules.ondemand.normalization import (
    NN,
    NONE,
    check_dtypes,
    contiguous,
    filled,
    group_forward,
    group_x,
    group_y,
    group_z,
    mean_of_products,
    shaped,
    spread_axes,
    standardised_by,
    widened,
)
from tapegrad.rules.reductions import mean, sum_

# -- layer norm ------------------------------------------------------------------------------------


def layer_forward(x, y, z, view, axes, affine, eps):
    out = rows_standardised(x, y, z, 0, view, axes, affine, True, eps)
    return group_forward(x, y, z, view, axes, affine, eps) if out is None else out


def layer_x(out_bar, x, y, view, axes, affine, eps, x_shape):
    return group_x(out_bar, x, y, view, axes, affine, eps, x_shape)


def layer_y(out_bar, x, view, axes, affine, eps, y_shape):
    return group_y(out_bar, x, view, axes, affine, eps, y_shape)


def layer_z(out_bar, view, affine, z_shape):
    return group_z(out_bar, view, affine, z_shape)


def layer_adjoint(out_bar, x, y, z, out, view, axes, affine, eps, *shapes):
    return rows_adjoint(out_bar, x, y, view, axes, affine, True, eps, *shapes)


def bare_layer_forward(x, view, axes, affine, eps):
    return layer_forward(x, NONE, NONE, view, axes, affine, eps)


def bare_layer_x(out_bar, x, view, axes, affine, eps, x_shape):
    return layer_x(out_bar, x, NONE, view, axes, affine, eps, x_shape)


def bare_layer_adjoint(out_bar, x, out, view, axes, affine, eps, x_shape):
    return rows_adjoint(out_bar, x, NONE, view, axes, affine, True, eps, x_shape)


LAYER = structural(
    "layer_norm", layer_forward, layer_x, layer_y, layer_z, together=layer_adjoint,
    grad_name="NativeLayerNormBackward0",
)  # fmt: skip
BARE_LAYER = structural(
    "layer_norm", bare_layer_forward, bare_layer_x, together=bare_layer_adjoint,
    grad_name="NativeLayerNormBackward0",
)  # fmt: skip


# -- rms norm --------------------------------------------------------------------------------------


def rms_forward(x, y, view, axes, affine, eps):
    # (With -0 in the place of a bias, sums are what they are without it.)
    out = rows_standardised(x, y, NONE, -0.0, view, axes, affine, False, eps)
    if out is None:
        wide = widened(np.ascontiguousarray(x))
        out = wide * scale_of(wide, axes, eps)
        out = (out * y.reshape(affine) if y.ndim else out).astype(x.dtype, copy=False)
    return out


def rms_x(out_bar, x, y, view, axes, affine, eps, x_shape):
    wide = widened(x)
    scale = scale_of(wide, axes, eps)
    bar = out_bar * np.reshape(y, affine) if y.ndim else out_bar
    return (bar - wide * (mean_of_products(bar, wide, axes) * (scale * scale))) * scale


def rms_y(out_bar, x, view, axes, affine, eps, y_shape):
    wide = widened(x)
    product = out_bar * (wide * scale_of(wide, axes, eps))
    return np.reshape(sum_(product, spread_axes(view, affine), False), y_shape)


def rms_adjoint(out_bar, x, y, out, view, axes, affine, eps, *shapes):
    return rows_adjoint(out_bar, x, y, view, axes, affine, False, eps, *shapes)


def bare_rms_forward(x, view, axes, affine, eps):
    return rms_forward(x, NONE, view, axes, affine, eps)


def bare_rms_x(out_bar, x, view, axes, affine, eps, x_shape):
    return rms_x(out_bar, x, NONE, view, axes, affine, eps, x_shape)


def bare_rms_adjoint(out_bar, x, out, view, axes, affine, eps, x_shape):
    return rows_adjoint(out_bar, x, NONE, view, axes, affine, False, eps, x_shape)


def scale_of(x, axes, eps):
    """The factor by which rms norm multiplies."""
    return 1.0 / np.sqrt(mean_of_products(x, x, axes) + eps)


RMS = structural(
    "rms_norm", rms_forward, rms_x, rms_y, together=rms_adjoint, grad_name="MulBackward0"
)
BARE_RMS = structural(
    "rms_norm", bare_rms_forward, bare_rms_x, together=bare_rms_adjoint, grad_name="MulBackward0"
)


# -- in one pass -----------------------------------------------------------------------------------
# Of arrays; None where that can't be, and the rule is NumPy's.

#: So many parts of the work there are at least, if there are so many rows, for threads to share.
SHARED = 8


@lru_cache(maxsize=256)
def length_of_rows(view: Any, axes: Any, affine: Any) -> int:
    """The elements of a row; 0 if not all rows have the same weight, as may be under vmap."""
    lead = axes[0]
    return math.prod(view[lead:]) if affine == (1,) * lead + view[lead:] else 0


def rows_standardised(x, y, z, no_bias, view, axes, affine, centred, eps):
    n, x = length_of_rows(view, axes, affine), np.ascontiguousarray(x)
    kernel = fused("layer", x) if n else None
    if kernel is None:
        return None
    weight, bias = filled(y, x, affine, 1), filled(z, x, affine, no_bias)
    if not weight.dtype == bias.dtype == x.dtype:
        return None
    out = np.empty_like(x)
    kernel(x.size // n, x, weight, bias, out, n, centred, eps)
    return out


def rows_adjoint(out_bar, x, y, view, axes, affine, centred, eps, *shapes):
    """The shares of all inputs at once."""
    n = length_of_rows(view, axes, affine)
    out_bar, x = contiguous(out_bar), contiguous(x)
    kernel = fused("layer_adjoint", out_bar, x) if n else None
    if kernel is None:
        return None
    # Where the weight isn't saved nobody wants the share of x.
    weight = filled(NONE if y is None else y, x, affine, 1)
    if weight.dtype != x.dtype:
        return None
    rows, x_bar = x.size // n, np.empty_like(x)
    per = min(ROWS, -(-rows // SHARED))
    parts = np.empty((2, -(-rows // per), n), x.dtype)
    kernel(len(parts[0]), out_bar, x, weight, x_bar, *parts, rows, n, per, centred, eps)
    sums = np.add.reduce(parts, 1, np.float64).astype(x.dtype)
    return x_bar, *[shaped(s, shape) for s, shape in zip(sums, shapes[1:], strict=False)]


# -- what people call ------------------------------------------------------------------------------


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
    check_dtypes("LayerNormKernelImpl", input, weight, bias)
    rows = _rows_of(input._spec.shape, shape)
    if weight is bias is None:
        return Primitive.apply(BARE_LAYER, (input,), (*rows, float(eps)))
    return standardised_by(LAYER, input, weight, bias, *rows, eps)


@lru_cache(maxsize=256)
def _rows_of(view: tuple[int, ...], shape: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """The parameters of the primitives: the input's shape, the axes, and the weight's shape."""
    lead = len(view) - len(shape)
    return view, tuple(range(lead, len(view))), (*(1,) * lead, *shape)


@public(module=("", NN), method=False)
def rms_norm(
    input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None
) -> Any:
    """``input / sqrt(mean(input**2) + eps) * weight``, over the last dimensions.

    ``eps`` is that of the dtype by default. Raises RuntimeError for shapes that don't fit.
    """
    shape = _shape_of(normalized_shape)
    _check_normalized(input, shape, weight, None)
    dtype = input._spec.dtype
    if dtype.kind not in "fc":
        raise NotImplementedError(f"\"rms_norm\" not implemented for '{TYPE_NAMES[dtype.name]}'")
    eps = float(np.finfo(dtype).eps if eps is None else eps)
    view, axes, affine = _rows_of(input._spec.shape, shape)
    if dtype.kind == "c":
        out = input * (mean(input * input, axes, True) + eps).rsqrt()
        return out if weight is None else out * weight
    if weight is None:
        return Primitive.apply(BARE_RMS, (input,), (view, axes, affine, eps))
    return Primitive.apply(RMS, (input, weight), (view, axes, affine, eps))

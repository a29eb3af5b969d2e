"""Broadcasting and promotion, undone: here an adjoint gets the shape and dtype of its input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.primitive import structural
from tapegrad.spec import Spec
from tapegrad.sums import total

__all__ = ["cast", "expand", "fit", "in_dtype_of", "spread", "sum_to_shape"]


def _sum_to_shape(x: Any, shape: tuple[int, ...]) -> Any:
    lead = x.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(
        lead + i for i, n in enumerate(shape) if n == 1 and x.shape[lead + i] != 1
    )
    if x.size > 4096 and axes == tuple(range(len(axes))):
        summed = total(x, axes)
        if summed is not None:
            return summed.reshape(shape)
    # float32 sums over a leading axis would be naive ones: add.reduce is pairwise only along the
    # fast axis, so the accumulation is made in float64.
    wide = np.float64 if x.dtype == np.float32 and x.size > 4096 else None
    summed = np.add.reduce(x, axis=axes, dtype=wide)
    return np.asarray(summed, x.dtype).reshape(shape)


def _sum_to_shape_x(out_bar: Any, x_shape: tuple[int, ...]) -> Any:
    return expand(out_bar, x_shape)


#: The sum over the dimensions along which ``shape`` was broadcast: the transpose of `expand`.
sum_to_shape = structural("sum_to_shape", _sum_to_shape, _sum_to_shape_x, grad_name="SumBackward1")


def _expand(x: Any, shape: tuple[int, ...]) -> Any:
    if not x.flags.c_contiguous or not x.size:
        return np.broadcast_to(x, shape)
    # The same, in a tenth of the time.
    steps = x.strides
    if 1 in x.shape:
        steps = [0 if n == 1 else step for n, step in zip(x.shape, steps)]
    out = np.ndarray(shape, x.dtype, x, 0, (*(0,) * (len(shape) - x.ndim), *steps))
    out.setflags(write=False)
    return out


def _expand_x(out_bar: Any, x_shape: tuple[int, ...]) -> Any:
    return sum_to_shape(out_bar, x_shape)


expand = structural("expand", _expand, _expand_x, view=True)


#: A broadcast view costs some 3 us to make, as much as filling so many bytes.
FILL_BYTES = 16_384


def spread(x: Any, shape: tuple[int, ...]) -> Any:
    """``x`` broadcast to ``shape``, within a rule: for small arrays a new one, which is quicker."""
    if type(x) is not np.ndarray:
        return expand(x, shape)
    if math.prod(shape) * x.itemsize > FILL_BYTES:
        return np.broadcast_to(x, shape)
    out = np.empty(shape, x.dtype)
    out[...] = x
    return out


def _cast(x: Any, dtype: Any) -> Any:
    if x.dtype.kind == "c" and dtype.kind != "c":
        x = x.real
    return x.astype(dtype)


def _cast_x(out_bar: Any, x_dtype: Any) -> Any:
    return cast(out_bar, x_dtype, getattr(out_bar.dtype, "numpy", out_bar.dtype))


def _cast_forward(x: Any, dtype: Any, x_dtype: Any) -> Any:
    return _cast(x, dtype)


#: ``x`` in another dtype; its second parameter is the dtype that x has.
cast = structural("to", _cast_forward, _cast_x, grad_name="ToCopyBackward0", casts=True)


def fit(share: Any, spec: Spec) -> Any:
    """An input's share of the adjoint, array or Tensor, in the shape and dtype of that input."""
    if tuple(share.shape) != spec.shape:
        share = sum_to_shape(share, spec.shape)
    dtype = getattr(share.dtype, "numpy", share.dtype)
    if dtype != spec.dtype:
        share = cast(share, spec.dtype, dtype)
    return share


def in_dtype_of(share: Any, out_bar: Any) -> Any:
    """A share, computed in a wider dtype (with an int count, say), in the adjoint's dtype."""
    if type(out_bar) in (list, tuple):  # the adjoints of several outputs
        out_bar = next(bar for bar in out_bar if bar is not None)
    if type(out_bar) is not np.ndarray or share.dtype is out_bar.dtype:
        return share
    if share.dtype != out_bar.dtype and share.dtype.kind == out_bar.dtype.kind:
        return share.astype(out_bar.dtype)
    return share

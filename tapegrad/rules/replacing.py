"""A Tensor with a part of it replaced by another one, and views by strides.

``select_scatter`` is to ``select`` what ``scatter`` is to ``gather``, and so on: the part that the
one reads the other replaces, in a copy.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.axes import wrap_axis
from tapegrad.declaration import public
from tapegrad.primitive import Primitive, structural
from tapegrad.rules.arguments import sizes_of
from tapegrad.rules.diagonals import diagonal, diagonal_
from tapegrad.rules.indexing import ALL, accumulate_at, cleared, put, slice_


def part_forward(x, y, index):
    out = x.copy()
    out[index] = y
    return out


def part_x(out_bar, index):
    return cleared(out_bar, index)


def part_y(out_bar, index):
    return slice_(out_bar, index)


select_replaced = structural("select_scatter", part_forward, part_x, part_y)
slice_replaced = structural("slice_scatter", part_forward, part_x, part_y)


def diagonal_forward(x, y, offset, axis1, axis2):
    out = x.copy()
    view = out.diagonal(offset, axis1, axis2)
    view.flags.writeable = True
    view[...] = y
    return out


def diagonal_x(out_bar, y_shape, offset, axis1, axis2):
    zeros = np.zeros(y_shape, getattr(out_bar.dtype, "numpy", out_bar.dtype))
    return diagonal_replaced(out_bar, zeros, offset, axis1, axis2)


def diagonal_y(out_bar, offset, axis1, axis2):
    return diagonal_(out_bar, offset, axis1, axis2)


diagonal_replaced = structural("diagonal_scatter", diagonal_forward, diagonal_x, diagonal_y)


def _replaced(primitive: Any, input: Any, src: Any, part: tuple[int, ...], params: Any) -> Any:
    """``src`` put where a view of shape ``part`` is, if it has that shape."""
    if src._spec.shape != part:
        raise RuntimeError(
            f"expected src to have a size equal to the slice of self. src size = "
            f"{list(src._spec.shape)}, slice size = {list(part)}"
        )
    return primitive(input, src.to(input.dtype), *params)


@public
def select_scatter(input: Any, src: Any, dim: int, index: int) -> Any:
    """A copy with ``src`` as the part at ``index`` along ``dim``.

    Raises IndexError for what is out of range, RuntimeError for a ``src`` of another shape.
    """
    part = input.select(dim, index)._spec.shape
    where = (*(ALL,) * wrap_axis(dim, input._spec.ndim), int(index), ...)
    return _replaced(select_replaced, input, src, part, (where,))


@public
def slice_scatter(
    input: Any, src: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Any:
    """A copy with ``src`` as the slice ``start:end:step`` along ``dim``."""
    axis = wrap_axis(dim, input._spec.ndim)
    if step <= 0:
        raise RuntimeError("slice step must be positive")
    where = (*(ALL,) * axis, slice(start, end, step))
    return _replaced(slice_replaced, input, src, input._array[where].shape, (where,))


@public
def diagonal_scatter(input: Any, src: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """A copy with ``src`` as the `diagonal` of two dimensions."""
    part = diagonal(input, offset, dim1, dim2)._spec.shape
    ndim = input._spec.ndim
    params = (offset, wrap_axis(dim1, ndim), wrap_axis(dim2, ndim))
    return _replaced(diagonal_replaced, input, src, part, params)


# -- views by strides ------------------------------------------------------------------------------


def strided_forward(x, shape, strides, offset):
    steps = tuple([s * x.itemsize for s in strides])
    flat = x.reshape(-1)[offset:]
    return np.lib.stride_tricks.as_strided(flat, shape, steps)


def strided_x(out_bar, x_shape, shape, strides, offset):
    index = (positions(shape, strides, offset),)
    return np.reshape(accumulate_at(out_bar, (math.prod(x_shape),), index), x_shape)


strided = structural("as_strided", strided_forward, strided_x, view=True)


def positions(shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> np.ndarray:
    """Where in memory the elements of a view lie, counted in elements."""
    out = np.full(shape, offset, np.int64)
    for axis, (n, step) in enumerate(zip(shape, strides, strict=True)):
        out += np.arange(n).reshape([-1 if d == axis else 1 for d in range(len(shape))]) * step
    return out


def _geometry(input: Any, size: Any, stride: Any, storage_offset: Any, name: str) -> Any:
    """Sizes, strides and offset from the input's first element. Raises torch's errors."""
    shape, strides = sizes_of((size,)), sizes_of((stride,))
    if len(shape) != len(strides):
        raise RuntimeError("mismatch in length of strides and shape")
    if any(s < 0 for s in strides):
        raise RuntimeError(
            f"as_strided: Negative strides are not supported at the moment, got strides: "
            f"{list(strides)}"
        )
    own = input.storage_offset()
    offset = 0 if storage_offset is None else storage_offset - own
    last = offset + sum([(n - 1) * s for n, s in zip(shape, strides, strict=True)])
    if not input._array.flags.c_contiguous or offset < 0 or not math.prod(shape):
        inside = not math.prod(shape) and offset >= 0
    else:
        inside = last < input._spec.size
    if not inside:
        raise NotImplementedError(
            f"{name} of a Tensor that is not contiguous, or of memory outside of it, is not "
            "supported: call it on the contiguous Tensor that owns the memory"
        )
    return shape, strides, offset


@public
def as_strided(input: Any, size: Any, stride: Any, storage_offset: int | None = None) -> Any:
    """A view of the Tensor's memory with any sizes and strides, which may overlap.

    The offset counts from the start of the memory, in elements; by default it is the Tensor's own.
    Raises NotImplementedError where the view would leave a contiguous Tensor's own elements.
    """
    params = _geometry(input, size, stride, storage_offset, "as_strided")
    return Primitive.apply(strided, (input,), params)


@public
def as_strided_scatter(
    input: Any, src: Any, size: Any, stride: Any, storage_offset: int | None = None
) -> Any:
    """A copy with ``src`` as the part that `as_strided` would show."""
    shape, strides, offset = _geometry(input, size, stride, storage_offset, "as_strided_scatter")
    if src._spec.shape != shape:
        raise RuntimeError(
            f"expected src to have a size equal to the slice of self. src size = "
            f"{list(src._spec.shape)}, slice size = {list(shape)}"
        )
    where = (positions(shape, strides, offset),)
    return put(input.reshape(-1), src.to(input.dtype), where).reshape(input._spec.shape)

"""Diagonals and triangles of matrices, and windows that slide along a dimension."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tapegrad.axes import wrap_axis
from tapegrad.broadcast import sum_to_shape
from tapegrad.declaration import public
from tapegrad.primitive import Primitive, structural
from tapegrad.rules.arguments import refuse, sizes_of

# -- diagonals -------------------------------------------------------------------------------------


def diagonal_forward(x, offset, axis1, axis2):
    view = x.diagonal(offset, axis1, axis2)
    view.flags.writeable = x.flags.writeable
    return view


def diagonal_copy_forward(x, offset, axis1, axis2):
    return x.diagonal(offset, axis1, axis2).copy()


def diagonal_x(out_bar, x_shape, offset, axis1, axis2):
    return diagonal_embed(out_bar, x_shape, offset, axis1, axis2)


def diagonal_embed_forward(x, shape, offset, axis1, axis2):
    out = np.zeros(shape, x.dtype)
    view = out.diagonal(offset, axis1, axis2)
    view.flags.writeable = True
    view[...] = x
    return out


def diagonal_embed_x(out_bar, offset, axis1, axis2):
    return diagonal_(out_bar, offset, axis1, axis2)


diagonal_ = structural("diagonal", diagonal_forward, diagonal_x, view=True)
diagonal_copy = structural(
    "diagonal_copy", diagonal_copy_forward, diagonal_x, grad_name="DiagonalBackward0_copy"
)
diagonal_embed = structural(
    "diagonal_embed", diagonal_embed_forward, diagonal_embed_x, grad_name="DiagEmbedBackward0"
)


def _plane(dim1: int, dim2: int, ndim: int) -> tuple[int, int]:
    a, b = wrap_axis(dim1, ndim), wrap_axis(dim2, ndim)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return a, b


@public(numpy=[np.diagonal])
def diagonal(input: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """The diagonal of two dimensions, as the last dimension. A view."""
    a, b = _plane(dim1, dim2, input._spec.ndim)
    return Primitive.apply(diagonal_, (input,), (offset, a, b))


@public
def diag_embed(input: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """Matrices with the last dimension as their diagonals, in the plane of two dimensions."""
    a, b = _plane(dim1, dim2, input.ndim + 1)
    n = input._spec.shape[-1] + abs(offset)
    shape = list(input._spec.shape[:-1])
    for axis in sorted((a, b)):
        shape.insert(axis, n)
    return diagonal_embed(input, tuple(shape), offset, a, b)


@public
def diag(input: Any, diagonal: int = 0) -> Any:
    """The diagonal of a matrix (a copy), or the matrix with a vector as its diagonal."""
    if input.ndim == 1:
        return diag_embed(input, diagonal)
    if input.ndim == 2:
        return Primitive.apply(diagonal_copy, (input,), (diagonal, 0, 1))
    raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.ndim}D")


@public
def diagflat(input: Any, offset: int = 0) -> Any:
    """The matrix with all elements as its diagonal."""
    return diag_embed(input.reshape(-1), offset)


def trace_forward(x):
    dtype = np.int64 if x.dtype.kind in "iu" else x.dtype
    return np.add.reduce(x.diagonal(), dtype=dtype)


def trace_x(out_bar, x_shape):
    n = min(x_shape)
    part = np.broadcast_to(np.reshape(out_bar, (1,)), (n,))
    return diagonal_embed(part, x_shape, 0, 0, 1)


trace_ = structural("trace", trace_forward, trace_x)


@public(numpy=[np.trace])
def trace(input: Any) -> Any:
    """The sum of a matrix's diagonal; of integers int64. Raises RuntimeError if it is no matrix."""
    if input.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.ndim}")
    refuse(input, "b", "\"trace\" not implemented for '{dtype}'", NotImplementedError)
    return Primitive.apply(trace_, (input,))


# -- triangles -------------------------------------------------------------------------------------


@functools.lru_cache(64)
def _triangle(rows: int, columns: int, k: int) -> np.ndarray:
    """Where an element is on the k-th diagonal or below."""
    return np.tri(rows, columns, k, bool)


def _lower(shape: tuple[int, ...], k: int) -> np.ndarray:
    small = shape[-2] * shape[-1] <= 4096
    return (_triangle if small else _triangle.__wrapped__)(shape[-2], shape[-1], k)


def tril_forward(x, k):
    return np.where(_lower(x.shape, k), x, x.dtype.type(0))


def tril_x(out_bar, k):
    return tril_(out_bar, k)


def triu_forward(x, k):
    return np.where(_lower(x.shape, k - 1), x.dtype.type(0), x)


def triu_x(out_bar, k):
    return triu_(out_bar, k)


tril_ = structural("tril", tril_forward, tril_x, contiguous=True)
triu_ = structural("triu", triu_forward, triu_x, contiguous=True)


def _check_matrices(input: Any, name: str) -> None:
    if input._spec.ndim < 2:
        raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")


@public(inplace=True)
def tril(input: Any, diagonal: int = 0) -> Any:
    """The lower triangle of matrices, 0 above the ``diagonal``-th diagonal."""
    _check_matrices(input, "tril")
    return Primitive.apply(tril_, (input,), (diagonal,))


@public(inplace=True)
def triu(input: Any, diagonal: int = 0) -> Any:
    """The upper triangle of matrices, 0 below the ``diagonal``-th diagonal."""
    _check_matrices(input, "triu")
    return Primitive.apply(triu_, (input,), (diagonal,))


# -- sliding windows -------------------------------------------------------------------------------


def unfold_forward(x, axis, size, step):
    if not x.ndim:
        return np.lib.stride_tricks.as_strided(x, (size,), (x.itemsize,))
    count = (x.shape[axis] - size) // step + 1
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :], size)
    strides = (*x.strides[:axis], x.strides[axis] * step, *x.strides[axis + 1 :], x.strides[axis])
    return np.lib.stride_tricks.as_strided(x, shape, strides)


def unfold_x(out_bar, x_shape, axis, size, step):
    return folded(out_bar, x_shape, axis, size, step)


def folded_forward(x, shape, axis, size, step):
    out = np.zeros(shape, x.dtype)
    if not shape:
        return out + np.add.reduce(x)
    count = x.shape[axis]
    for k in range(size if count else 0):
        part = slice(k, k + (count - 1) * step + 1, step)
        out[(*(slice(None),) * axis, part)] += x[..., k]
    return out


def folded_x(out_bar, axis, size, step):
    return unfold_(out_bar, axis, size, step)


unfold_ = structural("unfold", unfold_forward, unfold_x, view=True)
#: Windows added up at their places: the transpose of `unfold`.
folded = structural("folded", folded_forward, folded_x, grad_name="UnfoldBackwardBackward0")


@public(method="only")
def unfold(input: Any, dimension: int, size: int, step: int) -> Any:
    """Windows of ``size`` every ``step`` elements along a dimension, as a new last one. A view."""
    axis = wrap_axis(dimension, input.ndim)
    n = input._spec.shape[axis] if input.ndim else 1
    if size < 0:
        raise RuntimeError(f"size is {size} but must be >= 0")
    if size > n:
        raise RuntimeError(f"maximum size for tensor at dimension {axis} is {n} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    return Primitive.apply(unfold_, (input,), (axis, size, step))


# -- sums to a shape -------------------------------------------------------------------------------


@public(method="only")
def sum_to_size(input: Any, *size: Any) -> Any:
    """The sum over the dimensions along which ``size`` would be broadcast to the Tensor's shape."""
    shape, sizes = input._spec.shape, sizes_of(size)
    fits = len(sizes) <= len(shape) and all(
        n in (1, m) for n, m in zip(sizes[::-1], shape[::-1], strict=False)
    )
    if not fits:
        raise RuntimeError(f"size {{{list(sizes)}}} is not expandable to size {{{list(shape)}}}.")
    return input if sizes == shape else sum_to_shape(input, sizes)

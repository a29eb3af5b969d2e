"""The same elements in other shapes: reshape, view, squeeze and their relatives.

All are views, which share memory, where that is possible.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.axes import reduced_axes, wrap_axis
from tapegrad.declaration import BatchedAccess, public
from tapegrad.dtypes import TYPE_NAMES
from tapegrad.primitive import Primitive, structural
from tapegrad.rules.arguments import dtype_name, sizes_of, with_numpy_names

# -- reshape ---------------------------------------------------------------------------------------


def reshape_forward(x, shape):
    return x.reshape(shape)


def reshape_x(out_bar, x_shape):
    return np.reshape(out_bar, x_shape)


def copied_forward(x, shape):
    return x.reshape(shape, copy=True)


reshape_ = structural("view", reshape_forward, reshape_x, view=True)
#: The same of strided memory, under torch's name.
reshape_alias = structural("reshape_alias", reshape_forward, reshape_x, view=True)
#: A reshape that copies, since the strides don't allow a view.
reshape_copy = structural(
    "reshape_copy", copied_forward, reshape_x, grad_name="UnsafeViewBackward0"
)


def _completed(sizes: tuple[int, ...], size: int) -> tuple[int, ...]:
    """Sizes with -1 resolved, checked against the number of elements."""
    count, unknown = 1, None
    for position, n in enumerate(sizes):
        if n >= 0:
            count *= n
        elif n < -1:
            raise RuntimeError(
                f"invalid shape dimension {n} at index {position} of shape {list(sizes)}"
            )
        elif unknown is not None:
            raise RuntimeError("only one dimension can be inferred")
        else:
            unknown = position
    if unknown is None:
        if count == size:
            return sizes
    elif count and size % count == 0:
        return (*sizes[:unknown], size // count, *sizes[unknown + 1 :])
    if unknown is not None and not count and not size:
        raise RuntimeError(
            f"cannot reshape tensor of {size} elements into shape {list(sizes)} because the "
            "unspecified dimension size -1 can be any value and is ambiguous"
        )
    raise RuntimeError(f"shape '{list(sizes)}' is invalid for input of size {size}")


def as_shape(input: Any, shape: tuple[int, ...]) -> Any:
    """A view in a shape of as many elements, or a copy where the strides don't allow a view."""
    made = reshape_
    try:
        array = input._array
        if not array.flags.c_contiguous:
            made = reshape_alias if viewable(array, shape) else reshape_copy
    except BatchedAccess:
        pass  # the values will be reshaped, which copies where it has to
    return Primitive.apply(made, (input,), (shape,))


def viewable(array: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether the array can be reshaped without a copy."""
    try:
        array.reshape(shape, copy=False)
    except ValueError:
        return False
    return True


@public(numpy=[np.reshape])
def reshape(input: Any, *sizes: Any, shape: Any = None) -> Any:
    """The same elements in another shape; one size may be -1. A view where that is possible.

    Raises RuntimeError where the number of elements is another.
    """
    return as_shape(input, _completed(sizes_of(sizes, shape), input._spec.size))


def view_dtype_forward(x, dtype):
    return x.view(dtype)


view_dtype = structural("view_dtype", view_dtype_forward, None, view=True)


@public(method="only")
def view(input: Any, *sizes: Any, size: Any = None, dtype: Any = None) -> Any:
    """As `reshape`, but always a view; of a dtype: the same memory read as another dtype.

    Raises RuntimeError where the strides, or the size of the elements, don't allow it. A view in
    another dtype has no derivative.
    """
    if dtype is not None or (len(sizes) == 1 and hasattr(sizes[0], "itemsize")):
        return _in_dtype(input, sizes[0] if dtype is None else dtype)
    shape = _completed(sizes_of(sizes, size), input._spec.size)
    array = input._array
    if not array.flags.c_contiguous and not viewable(array, shape):
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one "
            "dimension spans across two contiguous subspaces). Use .reshape(...) instead."
        )
    return Primitive.apply(reshape_, (input,), (shape,))


def _in_dtype(input: Any, dtype: Any) -> Any:
    old, new = input._spec.dtype.itemsize, dtype.itemsize
    name = TYPE_NAMES[dtype.name]
    if old != new and not input.ndim:
        raise RuntimeError(
            f"self.dim() cannot be 0 to view {dtype_name(input)} as {name} (different "
            "element sizes)"
        )
    if old < new and input._spec.shape[-1] * old % new:
        raise RuntimeError(
            f"self.size(-1) must be divisible by {new // old} to view {dtype_name(input)} as "
            f"{name} (different element sizes), but got {input._spec.shape[-1]}"
        )
    try:
        return Primitive.apply(view_dtype, (input,), (dtype.numpy,))
    except ValueError:
        raise RuntimeError(
            f"self.stride(-1) must be 1 to view {dtype_name(input)} as {name} (different "
            f"element sizes), but got {input.stride(-1)}"
        ) from None


@public(method="only")
def view_as(input: Any, other: Any) -> Any:
    """`view` in the other's shape."""
    return view(input, other._spec.shape)


@public(method="only")
def reshape_as(input: Any, other: Any) -> Any:
    """`reshape` in the other's shape."""
    return reshape(input, other._spec.shape)


@public
def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """The dimensions from ``start_dim`` to ``end_dim`` made one; the Tensor itself if they are."""
    shape = input._spec.shape
    first, last = wrap_axis(start_dim, len(shape)), wrap_axis(end_dim, len(shape))
    if first > last:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if not shape:
        return as_shape(input, (1,))
    if first == last:
        return input
    size = math.prod(shape[first : last + 1])
    return as_shape(input, (*shape[:first], size, *shape[last + 1 :]))


@public(numpy=[np.ravel])
def ravel(input: Any) -> Any:
    """One dimension: a view where that is possible."""
    return as_shape(input.contiguous(), (input._spec.size,))


@public
def unflatten(input: Any, dim: int, sizes: Any) -> Any:
    """A dimension split into several; one size may be -1. A view."""
    shape = input._spec.shape
    axis = wrap_axis(dim, len(shape))
    parts = sizes_of((sizes,))
    if not parts:
        raise RuntimeError("unflatten: sizes must be non-empty")
    if -1 not in parts and math.prod(parts) != shape[axis]:
        raise RuntimeError(
            f"unflatten: Provided sizes {list(parts)} don't multiply up to the size of dim {axis} "
            f"({shape[axis]}) in the input tensor"
        )
    parts = _completed(parts, shape[axis])
    return view(input, (*shape[:axis], *parts, *shape[axis + 1 :]))


# -- dimensions of size 1 --------------------------------------------------------------------------


squeeze_ = structural("squeeze", reshape_forward, reshape_x, view=True)
squeeze_dim = structural(
    "squeeze", reshape_forward, reshape_x, view=True, grad_name="SqueezeBackward1"
)
squeeze_dims = structural(
    "squeeze", reshape_forward, reshape_x, view=True, grad_name="SqueezeBackward2"
)


def insert_forward(x, axis):
    return x[(*(slice(None),) * axis, None, ...)]


insert_ = structural("unsqueeze", insert_forward, reshape_x, view=True)


@public
@with_numpy_names
def unsqueeze(input: Any, dim: int) -> Any:
    """A dimension of size 1 at ``dim``. A view."""
    return Primitive.apply(insert_, (input,), (wrap_axis(dim, input._spec.ndim + 1),))


@public(numpy=[np.expand_dims], module=())
def numpy_expand_dims(input: Any, dim: Any) -> Any:
    """NumPy's `unsqueeze`, of one or several axes."""
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    total = input.ndim + len(dims)
    for axis in sorted([wrap_axis(d, total) for d in dims]):
        input = unsqueeze(input, axis)
    return input


@public(numpy=[np.squeeze])
@with_numpy_names
def squeeze(input: Any, dim: Any = None) -> Any:
    """Without the dimensions of size 1: all, or those of ``dim`` (an int or several). A view."""
    shape = input._spec.shape
    if dim is None:
        made, left = squeeze_, [n for n in shape if n != 1]
    else:
        axes = reduced_axes(dim, len(shape)) if dim != () else ()
        made = squeeze_dim if isinstance(dim, int) else squeeze_dims
        left = [n for i, n in enumerate(shape) if n != 1 or i not in axes]
    return Primitive.apply(made, (input,), (tuple(left),))

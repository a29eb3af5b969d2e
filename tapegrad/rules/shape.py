"""Shapes: the same elements seen otherwise. All are views, which share memory, where possible."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from tapegrad.axes import reduced_axes, wrap_axis
from tapegrad.broadcast import expand as expand_
from tapegrad.declaration import BatchedAccess, public
from tapegrad.dtypes import TYPE_NAMES
from tapegrad.primitive import Primitive, structural
from tapegrad.rules.arguments import dtype_name, sizes_of, with_numpy_names
from tapegrad.size import Size

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


# -- the order of dimensions -----------------------------------------------------------------------


def transpose_forward(x, axes):
    return x.transpose(axes)


def transpose_x(out_bar, axes):
    return np.transpose(out_bar, inverse(axes))


def inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation that undoes another."""
    return tuple([axes.index(i) for i in range(len(axes))])


permute_ = structural("permute", transpose_forward, transpose_x, view=True)
transpose_ = structural(
    "transpose", transpose_forward, transpose_x, view=True, grad_name="TransposeBackward0"
)
t_ = structural("t", transpose_forward, transpose_x, view=True, grad_name="TBackward0")


@public
def permute(input: Any, *axes: Any, dims: Any = None) -> Any:
    """The dimensions in another order. A view."""
    ndim = input._spec.ndim
    order = sizes_of(axes, dims)
    if len(order) != ndim:
        raise RuntimeError(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the "
            f"length of the desired ordering of dimensions i.e. input.dim() = {ndim} is not equal "
            f"to len(dims) = {len(order)}"
        )
    order = tuple([wrap_axis(d, ndim) for d in order])
    if len(set(order)) != ndim:
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return Primitive.apply(permute_, (input,), (order,))


def _swapped(ndim: int, a: int, b: int) -> tuple[int, ...]:
    a, b = wrap_axis(a, ndim), wrap_axis(b, ndim)
    axes = list(range(ndim))
    if ndim:
        axes[a], axes[b] = axes[b], axes[a]
    return tuple(axes)


@public(aliases=("swapdims",))
def transpose(input: Any, dim0: int, dim1: int) -> Any:
    """Two dimensions exchanged. A view."""
    return Primitive.apply(transpose_, (input,), (_swapped(input._spec.ndim, dim0, dim1),))


@public
def swapaxes(input: Any, axis0: int, axis1: int) -> Any:
    """`transpose`, as NumPy calls it."""
    return transpose(input, axis0, axis1)


@public(numpy=[np.swapaxes], module=())
def numpy_swapaxes(input: Any, axis1: int, axis2: int) -> Any:
    """NumPy's `swapaxes`."""
    return transpose(input, axis1, axis2)


@public(numpy=[np.transpose], module=())
def numpy_transpose(input: Any, axes: Any = None) -> Any:
    """`permute`, all dimensions reversed by default."""
    return permute(input, range(input.ndim)[::-1] if axes is None else axes)


def _deprecated(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=3)


@public(name="T", method="property")
def T(input: Any) -> Any:
    """The dimensions reversed. A view. Warns, as torch does, unless there are two."""
    ndim = input._spec.ndim
    if ndim == 0:
        _deprecated(
            "Tensor.T is deprecated on 0-D tensors. This function is the identity in these cases."
        )
    elif ndim != 2:
        _deprecated(
            "The use of `x.T` on tensors of dimension other than 2 to reverse their shape is "
            "deprecated and it will throw an error in a future release. Consider `x.mT` to "
            "transpose batches of matrices or `x.permute(*torch.arange(x.ndim - 1, -1, -1))` to "
            "reverse the dimensions of a tensor."
        )
    return Primitive.apply(permute_, (input,), (tuple(range(ndim - 1, -1, -1)),))


def _matrices(input: Any, name: str) -> Any:
    if input.ndim == 1:
        raise RuntimeError(
            f"tensor.{name} is only supported on matrices or batches of matrices. Got 1-D tensor."
        )
    return transpose(input, -2, -1)


@public(name="mT", method="property")
def mT(input: Any) -> Any:
    """The last two dimensions exchanged. A view. Raises RuntimeError for a vector."""
    if not input.ndim:
        _deprecated(
            "Tensor.mT is deprecated on 0-D tensors. This function is the identity in these cases."
        )
        return input
    return _matrices(input, "mT")


def _conjugated(input: Any, transposed: Any) -> Any:
    return transposed.conj() if input._spec.is_complex else transposed


@public(name="mH", method="property")
def mH(input: Any) -> Any:
    """The conjugate of `mT`."""
    if not input.ndim:
        _deprecated("Tensor.mH is deprecated on 0-D tensors. Consider using x.conj().")
        return _conjugated(input, input)
    return _conjugated(input, _matrices(input, "mH"))


@public(name="H", method="property")
def H(input: Any) -> Any:
    """The conjugate transpose of a matrix. Raises RuntimeError for one or more than two dims."""
    if not input.ndim:
        _deprecated("Tensor.H is deprecated on 0-D tensors. Consider using x.conj().")
        return _conjugated(input, input)
    if input.ndim != 2:
        raise RuntimeError(
            f"tensor.H is only supported on matrices (2-D tensors). Got {input.ndim}-D tensor."
            + (" For batches of matrices, consider using tensor.mH" if input.ndim > 2 else "")
        )
    return _conjugated(input, transpose(input, 0, 1))


@public
def adjoint(input: Any) -> Any:
    """The conjugate of the last two dimensions exchanged."""
    return _conjugated(input, _matrices(input, "adjoint()") if input.ndim else input)


@public
def t(input: Any) -> Any:
    """The transpose of a matrix, a view; a vector as it is."""
    ndim = input._spec.ndim
    if ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {ndim}D")
    return Primitive.apply(t_, (input,), (tuple(range(ndim - 1, -1, -1)),))


@public(aliases=("moveaxis",))
def movedim(input: Any, source: Any, destination: Any) -> Any:
    """Dimensions moved to other places, the rest in order. A view."""
    ndim = input._spec.ndim
    origin, goal = sizes_of((source,)), sizes_of((destination,))
    if len(origin) != len(goal):
        raise RuntimeError(
            f"movedim: Invalid source or destination dims: source ({list(origin)} dims) should "
            f"contain the same number of dims as destination ({list(goal)} dims)"
        )
    origin, goal = (tuple([wrap_axis(d, ndim) for d in dims]) for dims in (origin, goal))
    for name, dims in (("source", origin), ("destination", goal)):
        if len(set(dims)) != len(dims):
            raise RuntimeError(f"movedim: repeated dim in `{name}` ({list(dims)})")
    rest = iter([i for i in range(ndim) if i not in origin])
    axes = tuple([origin[goal.index(i)] if i in goal else next(rest) for i in range(ndim)])
    return Primitive.apply(permute_, (input,), (axes,))


@public(numpy=[np.moveaxis], module=())
def numpy_moveaxis(input: Any, source: Any, destination: Any) -> Any:
    """NumPy's `moveaxis`."""
    return movedim(input, source, destination)


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


# -- broadcasting ----------------------------------------------------------------------------------


@public
def expand(input: Any, *sizes: Any, size: Any = None, implicit: bool = False) -> Any:
    """Dimensions of size 1 repeated without copying; -1 keeps a size, new ones come first.

    A view. Raises RuntimeError where another size would have to change.
    """
    wanted = sizes_of(sizes, size)
    shape = input._spec.shape
    lead = len(wanted) - len(shape)
    if lead < 0:
        raise RuntimeError(
            f"expand(tapegrad.{dtype_name(input)}Tensor{{{list(shape)}}}, size={list(wanted)}): "
            f"the number of sizes provided ({len(wanted)}) must be greater or equal to the number "
            f"of dimensions in the tensor ({len(shape)})"
        )
    new, sizes = wanted[:lead], wanted[lead:]
    if -1 in sizes:
        sizes = tuple([have if n == -1 else n for n, have in zip(sizes, shape)])
    if sizes != shape:
        for i, (n, have) in enumerate(zip(sizes, shape), lead):
            if n != have and (have != 1 or n < 0):
                raise RuntimeError(
                    f"The expanded size of the tensor ({n}) must match the existing size ({have}) "
                    f"at non-singleton dimension {i}.  Target sizes: {list(wanted)}.  Tensor "
                    f"sizes: {list(shape)}"
                )
    for i, n in enumerate(new):
        if n < 0:
            raise RuntimeError(
                f"The expanded size of the tensor ({n}) isn't allowed in a leading, non-existing "
                f"dimension {i}"
            )
    return Primitive.apply(expand_, (input,), (new + sizes,))


@public(method="only")
def expand_as(input: Any, other: Any) -> Any:
    """`expand` to the other's shape."""
    return expand(input, other._spec.shape)


@public
def broadcast_to(input: Any, *sizes: Any, size: Any = None) -> Any:
    """`expand`."""
    return expand(input, *sizes, size=size)


@public(numpy=[np.broadcast_to], module=())
def numpy_broadcast_to(input: Any, shape: Any) -> Any:
    """NumPy's `broadcast_to`."""
    return expand(input, shape)


@public(method=False)
def broadcast_shapes(*shapes: Any) -> Size:
    """The shape to which all broadcast. Raises RuntimeError if there is none."""
    result: list[int] = []  # from the last dimension on
    for position, given in enumerate(shapes):
        shape = (given,) if isinstance(given, int) else tuple(given)
        if any(n < 0 for n in shape):
            raise ValueError("Attempting to broadcast a dimension with negative length!")
        result.extend([1] * (len(shape) - len(result)))
        for k, n in enumerate(reversed(shape)):
            if n != 1 and result[k] not in (1, n):
                raise RuntimeError(
                    f"Attempting to broadcast a dimension of length {n} at {-1 - k}! Mismatching "
                    f"argument at index {position} had {shape}; but expected shape should be "
                    f"broadcastable to {result[::-1]}"
                )
            if n != 1:
                result[k] = n
    return Size(result[::-1])


@public(method=False)
def broadcast_tensors(*tensors: Any) -> tuple[Any, ...]:
    """All expanded to their common shape. Raises RuntimeError if there is none."""
    inputs = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    shape: tuple[int, ...] = ()
    for x in inputs:
        shape = _common_shape(shape, x._spec.shape)
    return tuple([expand(x, shape) for x in inputs])


def _common_shape(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    ndim = max(len(a), len(b))
    out = []
    for axis in range(ndim):
        i, j = axis - ndim + len(a), axis - ndim + len(b)
        m, n = a[i] if i >= 0 else 1, b[j] if j >= 0 else 1
        if m != n and 1 not in (m, n):
            raise RuntimeError(
                f"The size of tensor a ({m}) must match the size of tensor b ({n}) at "
                f"non-singleton dimension {axis}"
            )
        out.append(n if m == 1 else m)
    return tuple(out)

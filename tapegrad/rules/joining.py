"""Joining Tensors, repeating them, turning them round."""

from __future__ import annotations

import itertools
import math
import warnings
from typing import Any

import numpy as np

from tapegrad import dtypes
from tapegrad.axes import wrap_axis
from tapegrad.declaration import public
from tapegrad.primitive import Primitive, structural
from tapegrad.rules.arguments import refuse, sizes_of, with_numpy_names, with_out
from tapegrad.rules.gathering import constant, index_select_
from tapegrad.rules.shape import as_shape, expand, unsqueeze

# -- joining ---------------------------------------------------------------------------------------


def cat_forward(inputs, axis):
    return np.ascontiguousarray(np.concatenate(inputs, axis))


def cat_x(out_bar, shapes, axis, index):
    start = 0
    for shape in shapes[:index]:
        start += shape[axis]
    part = (*[slice(None)] * axis, slice(start, start + shapes[index][axis]))
    return out_bar[part]


cat_ = structural("cat", cat_forward, cat_x, variadic=True)


def _tensors(tensors: Any, name: str) -> list[Any]:
    """The Tensors to join, checked: a list or tuple that isn't empty."""
    if not isinstance(tensors, (list, tuple)):
        raise TypeError(
            f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not "
            f"{type(tensors).__name__}"
        )
    if not tensors:
        if name == "cat":
            raise ValueError("torch.cat(): expected a non-empty list of Tensors")
        raise RuntimeError(f"{name} expects a non-empty TensorList")
    try:
        for x in tensors:
            x._spec  # noqa: B018 - quicker than to ask whether it has one
    except AttributeError:
        pass
    else:
        return list(tensors)
    first = next((x for x in tensors if hasattr(x, "_spec")), None)
    for i, x in enumerate(tensors):
        if not hasattr(x, "_spec") and (first is None or not isinstance(x, np.ndarray)):
            raise TypeError(
                f"expected Tensor as element {i} in argument 0, but got {type(x).__name__}"
            )
    return [x if hasattr(x, "_spec") else constant(first, x) for x in tensors]


def _common(tensors: list[Any]) -> list[Any]:
    """All in their common dtype."""
    first = tensors[0]._spec.dtype
    for x in tensors:
        if x._spec.dtype is not first:
            operands: Any = [(t.dtype, "tensor" if t.ndim else "scalar") for t in tensors]
            dtype = dtypes.result_type(*operands)
            return [t.to(dtype) for t in tensors]
    return tensors


def _check_shapes(parts: list[Any], axis: int) -> None:
    """Raise torch's error unless all sizes but those along ``axis`` are equal."""
    first = parts[0]._spec.shape
    for i, x in enumerate(parts):
        shape = x._spec.shape
        if len(shape) != len(first):
            raise RuntimeError(
                f"Tensors must have same number of dimensions: got {len(first)} and {len(shape)}"
            )
        for d, n in enumerate(shape):
            if d != axis and n != first[d]:
                raise RuntimeError(
                    f"Sizes of tensors must match except in dimension {axis}. Expected size "
                    f"{first[d]} but got size {n} for tensor number {i} in the list."
                )


@public(method=False, aliases=("concat", "concatenate"), numpy=[np.concatenate])
@with_out(promotes=True)
@with_numpy_names
def cat(tensors: Any = None, dim: int = 0, *, input: Any = None) -> Any:
    """Tensors joined along an existing dimension, in their common dtype.

    An empty Tensor of one dimension joins anything. Raises RuntimeError where other sizes differ.
    """
    inputs = _common(_tensors(input if tensors is None else tensors, "cat"))
    spec = inputs[0]._spec
    for x in inputs:
        if x._spec is not spec or spec.shape == (0,):
            break
    else:
        if spec.ndim:
            return Primitive.apply(cat_, tuple(inputs), (wrap_axis(dim, spec.ndim),))
    for i, x in enumerate(inputs):
        if not x._spec.ndim:
            raise RuntimeError(f"zero-dimensional tensor (at position {i}) cannot be concatenated")
    parts = [x for x in inputs if x._spec.shape != (0,)] or inputs[:1]
    axis = wrap_axis(dim, parts[0]._spec.ndim)
    _check_shapes(parts, axis)
    return Primitive.apply(cat_, tuple(parts), (axis,))


def stack_forward(inputs, axis):
    if not axis:
        return np.array(inputs)
    return cat_forward([x[(*(slice(None),) * axis, None)] for x in inputs], axis)


def stack_x(out_bar, axis, index):
    return out_bar[(*[slice(None)] * axis, index)]


stack_ = structural("stack", stack_forward, stack_x, variadic=True)


@public(method=False, numpy=[np.stack])
@with_numpy_names
def stack(tensors: Any = None, dim: int = 0, *, input: Any = None) -> Any:
    """Tensors of one shape joined along a new dimension, in their common dtype."""
    inputs = _tensors(input if tensors is None else tensors, "stack")
    shape = inputs[0]._spec.shape
    axis = wrap_axis(dim, len(shape) + 1)
    for i, x in enumerate(inputs):
        if x._spec.shape != shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and "
                f"{list(x._spec.shape)} at entry {i}"
            )
    return Primitive.apply(stack_, tuple(_common(inputs)), (axis,))


def _at_least(input: Any, ndim: int) -> Any:
    have = input._spec.ndim
    if have >= ndim:
        return input
    if have == 0:
        return as_shape(input, (1,) * ndim)
    if have == 1:
        input = unsqueeze(input, 0)
    return unsqueeze(input, 2) if ndim == 3 else input


def _each(tensors: tuple[Any, ...], ndim: int) -> Any:
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        return tuple([_at_least(x, ndim) for x in tensors[0]])
    made = tuple([_at_least(x, ndim) for x in tensors])
    return made[0] if len(made) == 1 else made


@public(method=False)
def atleast_1d(*tensors: Any) -> Any:
    """With at least one dimension: one Tensor, or a tuple for several or a sequence."""
    return _each(tensors, 1)


@public(method=False)
def atleast_2d(*tensors: Any) -> Any:
    """With at least two dimensions, a new one in front; see `atleast_1d`."""
    return _each(tensors, 2)


@public(method=False)
def atleast_3d(*tensors: Any) -> Any:
    """With at least three dimensions, new ones around; see `atleast_1d`."""
    return _each(tensors, 3)


@public(method=False, numpy=[np.hstack])
def hstack(tensors: Any = None, *, input: Any = None) -> Any:
    """Joined along the second dimension (the first, of vectors)."""
    parts = [_at_least(x, 1) for x in _tensors(input if tensors is None else tensors, "hstack")]
    return cat(parts, 0 if parts[0].ndim == 1 else 1)


@public(method=False, aliases=("row_stack",), numpy=[np.vstack])
def vstack(tensors: Any = None, *, input: Any = None) -> Any:
    """Joined along the first dimension, vectors as rows."""
    return cat([_at_least(x, 2) for x in _tensors(input if tensors is None else tensors, "vstack")])


@public(method=False)
def dstack(tensors: Any) -> Any:
    """Joined along the third dimension."""
    return cat([_at_least(x, 3) for x in _tensors(tensors, "dstack")], 2)


@public(method=False)
def column_stack(tensors: Any) -> Any:
    """Joined along the second dimension, vectors as columns."""
    parts = _tensors(tensors, "column_stack")
    return cat([as_shape(x, (x._spec.size, 1)) if x.ndim <= 1 else x for x in parts], 1)


# -- products of sets, and blocks ------------------------------------------------------------------


def block_diag_forward(inputs):
    rows = [x.shape[0] for x in inputs]
    columns = [x.shape[1] for x in inputs]
    out = np.zeros((sum(rows), sum(columns)), inputs[0].dtype)
    i = j = 0
    for x, m, n in zip(inputs, rows, columns, strict=True):
        out[i : i + m, j : j + n] = x
        i, j = i + m, j + n
    return out


def block_diag_x(out_bar, shapes, index):
    i = sum([m for m, _ in shapes[:index]])
    j = sum([n for _, n in shapes[:index]])
    m, n = shapes[index]
    return out_bar[i : i + m, j : j + n]


block_diag_ = structural(
    "block_diag", block_diag_forward, block_diag_x, variadic=True, grad_name="BlockDiagBackward0"
)


@public(method=False)
def block_diag(*tensors: Any) -> Any:
    """The matrix with these matrices on its diagonal, and 0 elsewhere; vectors count as rows.

    Raises RuntimeError for more than 2 dimensions.
    """
    inputs = _common(_tensors(list(tensors), "block_diag"))
    for i, x in enumerate(inputs):
        if x._spec.ndim > 2:
            raise RuntimeError(
                f"torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {i} has "
                f"{x._spec.ndim} dimensions"
            )
    return Primitive.apply(block_diag_, tuple([_at_least(x, 2) for x in inputs]))


@public(method=False)
def cartesian_prod(*tensors: Any) -> Any:
    """All tuples of one element from each of the vectors, as rows; a single vector as it is.

    Raises RuntimeError for what isn't a vector.
    """
    inputs = _tensors(list(tensors), "cartesian_prod")
    for x in inputs:
        if x._spec.ndim != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(x._spec.shape)}")
    if len(inputs) == 1:
        return inputs[0]
    shape = tuple([x._spec.size for x in inputs])
    columns = []
    for d, x in enumerate(inputs):
        spread = expand(as_shape(x, (*(1,) * d, shape[d], *(1,) * (len(shape) - d - 1))), shape)
        columns.append(as_shape(spread, (math.prod(shape),)))
    return stack(columns, 1)


@public(method=False)
def combinations(input: Any, r: int = 2, with_replacement: bool = False) -> Any:
    """All choices of ``r`` elements of a vector, in order, as rows.

    ``with_replacement``: an element may be chosen again. Raises RuntimeError for what isn't a
    vector and for a negative r.
    """
    if input._spec.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input._spec.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return input[:0].detach()
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    index = np.array(list(choose(range(input._spec.size), r)), np.int64).reshape(-1, r)
    return Primitive.apply(index_select_, (input,), ((index,),))


# -- repeating -------------------------------------------------------------------------------------


def _interleaved(times: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple([k for pair in zip(times, shape, strict=True) for k in pair])


def repeat_forward(x, times):
    shape = (1,) * (len(times) - x.ndim) + x.shape
    # Each dimension n becomes (times, n), and the two are made one.
    out = np.empty(_interleaved(times, shape), x.dtype)
    out[...] = x.reshape(_interleaved((1,) * len(times), shape))
    return out.reshape([t * n for t, n in zip(times, shape, strict=True)])


def repeat_x(out_bar, x_shape, times):
    shape = (1,) * (len(times) - len(x_shape)) + x_shape
    parts = np.reshape(out_bar, _interleaved(times, shape))
    return np.reshape(np.sum(parts, axis=tuple(range(0, 2 * len(times), 2))), x_shape)


repeat_ = structural("repeat", repeat_forward, repeat_x)


def _repeated(input: Any, times: tuple[int, ...]) -> Any:
    if min(times, default=0) < 0:
        shape = (1,) * (len(times) - input.ndim) + input._spec.shape
        sizes = [t * n for t, n in zip(times, shape, strict=True)]
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(sizes)}: {sizes}")
    return Primitive.apply(repeat_, (input,), (times,))


@public(method="only")
def repeat(input: Any, *sizes: Any, repeats: Any = None) -> Any:
    """Copies side by side, ``sizes[i]`` times along dimension i; new dimensions come first."""
    times = sizes_of(sizes, repeats)
    if len(times) < input.ndim:
        raise RuntimeError(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of "
            "tensor"
        )
    return _repeated(input, times)


@public
def tile(input: Any, *sizes: Any, dims: Any = None) -> Any:
    """`repeat`, with missing dims taken as 1."""
    times = sizes_of(sizes, dims)
    return _repeated(input, (1,) * (input.ndim - len(times)) + times)


@public(numpy=[np.tile], module=())
def numpy_tile(input: Any, reps: Any) -> Any:
    """NumPy's `tile`."""
    return tile(input, reps)


def each_forward(x, times, axis):
    return np.repeat(x, times, axis)


def each_x(out_bar, x_shape, times, axis):
    shape = (*x_shape[: axis + 1], times, *x_shape[axis + 1 :])
    return np.sum(np.reshape(out_bar, shape), axis=axis + 1)


each_ = structural("repeat_interleave", each_forward, each_x, grad_name="ViewBackward0")


@public
def repeat_interleave(
    input: Any = None, repeats: Any = None, dim: int | None = None, *,
    output_size: int | None = None,
) -> Any:  # fmt: skip
    """Each element (without ``dim``, of the flattened Tensor) ``repeats`` times in a row.

    ``repeats`` is a number, or a Tensor with one for each element along ``dim``; a single Tensor of
    numbers gives the indices 0, 1, ... so often. Raises RuntimeError where they don't fit.
    """
    if input is None or repeats is None:
        input = repeats if input is None else input
        times = _times(input)
        return constant(input, np.repeat(np.arange(times.size), times))
    if dim is None:
        input = as_shape(input, (input._spec.size,))
    axis = wrap_axis(0 if dim is None else dim, input.ndim)
    if isinstance(repeats, int):
        if repeats < 0:
            raise RuntimeError("Repeats must be non-negative")
        return Primitive.apply(each_, (input,), (repeats, axis))
    if not hasattr(repeats, "_spec"):
        raise TypeError(
            "repeat_interleave(): argument 'repeats' must be an int or a Tensor, not "
            f"{type(repeats).__name__}"
        )
    times, n = _times(repeats), input._spec.shape[axis]
    if times.size not in (1, n):
        raise RuntimeError(
            "repeats must have the same size as input along dim, but got repeats.size(0) = "
            f"{times.size} and input.size({axis}) = {n}"
        )
    index = np.repeat(np.arange(n), times)
    return Primitive.apply(index_select_, (input,), ((*(slice(None),) * axis, index),))


def _times(repeats: Any) -> np.ndarray:
    refuse(repeats, "bfc", "\"repeat_interleave_cpu\" not implemented for '{dtype}'",
           NotImplementedError)  # fmt: skip
    if repeats.ndim > 1:
        raise RuntimeError("repeats must be 0-dim or 1-dim tensor")
    times: np.ndarray = repeats._array.reshape(-1)
    if times.size and times.min() < 0:
        raise RuntimeError("repeats can not be negative")
    return times


# -- turning ---------------------------------------------------------------------------------------


def flip_forward(x, axes):
    turn = [slice(None)] * x.ndim
    for axis in axes if x.ndim else ():
        turn[axis] = slice(None, None, -1)
    return x[tuple(turn)].copy()


def flip_x(out_bar, axes):
    return flip_(out_bar, axes)


flip_ = structural("flip", flip_forward, flip_x)


def _flipped(input: Any, dims: tuple[int, ...]) -> Any:
    axes = tuple([wrap_axis(d, input.ndim) for d in dims])
    for axis in axes:
        if axes.count(axis) > 1:
            raise RuntimeError(f"dim {axis} appears multiple times in the list of dims")
    return Primitive.apply(flip_, (input,), (axes,))


@public
def flip(input: Any, *axes: Any, dims: Any = None) -> Any:
    """The order reversed along ``dims``. A copy."""
    return _flipped(input, sizes_of(axes, dims))


@public(numpy=[np.flip], module=())
def numpy_flip(input: Any, dim: Any = None) -> Any:
    """NumPy's `flip`."""
    return _flipped(input, tuple(range(input.ndim)) if dim is None else sizes_of((dim,)))


@public
def fliplr(input: Any) -> Any:
    """The second dimension reversed. A copy."""
    if input.ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return _flipped(input, (1,))


@public
def flipud(input: Any) -> Any:
    """The first dimension reversed. A copy."""
    if input.ndim < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return _flipped(input, (0,))


def roll_forward(x, shifts, axes):
    return np.roll(x, shifts, axes if axes else None)


def roll_x(out_bar, shifts, axes):
    return roll_(out_bar, tuple([-s for s in shifts]), axes)


roll_ = structural("roll", roll_forward, roll_x, contiguous=True)


@public
def roll(input: Any, shifts: Any, dims: Any = ()) -> Any:
    """Shifted along ``dims``, what leaves at the end coming in at the front (none: flattened)."""
    shifts, axes = sizes_of((shifts,)), sizes_of((() if dims is None else dims,))
    if not shifts:
        raise RuntimeError("`shifts` required")
    if len(axes) != len(shifts) and (axes or len(shifts) != 1):
        raise RuntimeError(
            f"shifts and dimensions must align. shifts: {len(shifts)}, dims:{len(axes)}"
        )
    if axes and not input.ndim:
        raise IndexError(f"Dimension specified as {axes[0]} but tensor has no dimensions")
    axes = tuple([wrap_axis(d, input.ndim) for d in axes])
    return Primitive.apply(roll_, (input,), (shifts, axes))


@public(numpy=[np.roll], module=())
def numpy_roll(input: Any, shift: Any, dim: Any = ()) -> Any:
    """NumPy's `roll`."""
    return roll(input, shift, dim)


def rot90_forward(x, k, axes):
    return np.rot90(x, k, axes).copy()


def rot90_x(out_bar, k, axes):
    return rot90_(out_bar, -k, axes)


rot90_ = structural("rot90", rot90_forward, rot90_x)


@public
def rot90(input: Any, k: int = 1, dims: Any = (0, 1)) -> Any:
    """Turned by 90 degrees ``k`` times in the plane of two dimensions. A copy."""
    given = sizes_of((dims,))
    if len(given) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(given)}")
    if input.ndim < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {input.ndim}")
    a, b = given
    if a == b or abs(a - b) == input.ndim:
        raise RuntimeError(
            f"expected rotation dims to be different, but got dim0 = {a} and dim1 = {b}"
        )
    axes = (wrap_axis(a, input.ndim), wrap_axis(b, input.ndim))
    return Primitive.apply(rot90_, (input,), (k % 4, axes))


# -- grids -----------------------------------------------------------------------------------------


@public(method=False)
def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Any, ...]:
    """Grids of the coordinates of vectors; ``indexing`` is "ij" (the default) or "xy". Views.

    Warns without ``indexing``, as torch does. Raises RuntimeError for other shapes than vectors'
    and for several dtypes.
    """
    inputs = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else tensors
    if not inputs:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    for x in inputs:
        if x.ndim > 1:
            raise RuntimeError(
                f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {x}"
            )
        if x._spec.dtype != inputs[0]._spec.dtype:
            raise RuntimeError("meshgrid expects all tensors to have the same dtype")
    if indexing is None:
        warnings.warn(
            "torch.meshgrid: in an upcoming release, it will be required to pass the indexing "
            "argument.",
            UserWarning,
            stacklevel=2,
        )
    elif indexing not in ("ij", "xy"):
        raise RuntimeError(
            f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}'
        )
    order = list(range(len(inputs)))
    if indexing == "xy" and len(inputs) > 1:
        order[:2] = 1, 0
    shape = tuple([inputs[i]._spec.size for i in order])
    grids = []
    for i, x in enumerate(inputs):
        place = order.index(i)
        wide = (1,) * place + (x._spec.size,) + (1,) * (len(order) - place - 1)
        grids.append(expand(as_shape(x, wide), shape))
    return tuple(grids)

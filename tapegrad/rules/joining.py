"""Tensors joined: concatenated, stacked, as blocks of a matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad import dtypes
from tapegrad.axes import wrap_axis
from tapegrad.declaration import public
from tapegrad.primitive import Primitive, structural
from tapegrad.rules.arguments import with_numpy_names, with_out
from tapegrad.rules.gathering import constant
from tapegrad.rules.shape import as_shape, unsqueeze

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


def tensor_list(tensors: Any, name: str) -> list[Any]:
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
    inputs = _common(tensor_list(input if tensors is None else tensors, "cat"))
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
    inputs = tensor_list(input if tensors is None else tensors, "stack")
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
    parts = [_at_least(x, 1) for x in tensor_list(input if tensors is None else tensors, "hstack")]
    return cat(parts, 0 if parts[0].ndim == 1 else 1)


@public(method=False, aliases=("row_stack",), numpy=[np.vstack])
def vstack(tensors: Any = None, *, input: Any = None) -> Any:
    """Joined along the first dimension, vectors as rows."""
    return cat(
        [_at_least(x, 2) for x in tensor_list(input if tensors is None else tensors, "vstack")]
    )


@public(method=False)
def dstack(tensors: Any) -> Any:
    """Joined along the third dimension."""
    return cat([_at_least(x, 3) for x in tensor_list(tensors, "dstack")], 2)


@public(method=False)
def column_stack(tensors: Any) -> Any:
    """Joined along the second dimension, vectors as columns."""
    parts = tensor_list(tensors, "column_stack")
    return cat([as_shape(x, (x._spec.size, 1)) if x.ndim <= 1 else x for x in parts], 1)


# -- blocks ----------------------------------------------------------------------------------------


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
    inputs = _common(tensor_list(list(tensors), "block_diag"))
    for i, x in enumerate(inputs):
        if x._spec.ndim > 2:
            raise RuntimeError(
                f"torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {i} has "
                f"{x._spec.ndim} dimensions"
            )
    return Primitive.apply(block_diag_, tuple([_at_least(x, 2) for x in inputs]))

"""Dimensions in another order, as views: permute, transpose and their relatives."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from tapegrad.axes import wrap_axis
from tapegrad.declaration import public
from tapegrad.primitive import Primitive, structural
from tapegrad.rules.arguments import sizes_of


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

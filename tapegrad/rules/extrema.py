"""Extrema and the median, with and without the index of the element.

Without an index the elements that share an extremum share its gradient equally, as in torch; with
one the gradient goes to the element at the index. nan counts as larger and as smaller than all.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.axes import reduced_axes, wrap_axis
from tapegrad.broadcast import in_dtype_of
from tapegrad.declaration import public
from tapegrad.primitive import Primitive, select, structural
from tapegrad.rules.arguments import dtype_name, refuse, with_numpy_names, with_out
from tapegrad.rules.clamping import maximum, minimum
from tapegrad.rules.gathering import along_forward, constant
from tapegrad.rules.reductions import kept
from tapegrad.rules.results import named


def amax_forward(x, axis, keepdims):
    return np.maximum.reduce(x, axis, None, None, keepdims)


def amin_forward(x, axis, keepdims):
    return np.minimum.reduce(x, axis, None, None, keepdims)


def shared_x(out_bar, x, out, axis):
    shape = kept(x.shape, axis)
    chosen = (x == np.reshape(out, shape)) | (x != x)
    count = np.sum(chosen, axis=axis, keepdims=True)
    return in_dtype_of(select(chosen, np.reshape(out_bar, shape) / count, 0), out_bar)


amax_ = structural("amax", amax_forward, shared_x, contiguous=True)
amin_ = structural("amin", amin_forward, shared_x, contiguous=True)
max_ = structural("max", amax_forward, shared_x, grad_name="MaxBackward1", contiguous=True)
min_ = structural("min", amin_forward, shared_x, grad_name="MinBackward1", contiguous=True)


def aminmax_forward(x, axis, keepdims):
    return amin_forward(x, axis, keepdims), amax_forward(x, axis, keepdims)


def aminmax_x(out_bar, x, out, axis):
    shares = [
        shared_x(bar, x, value, axis)
        for bar, value in zip(out_bar, out, strict=True)
        if bar is not None
    ]
    return shares[0] + shares[1] if len(shares) > 1 else shares[0]


aminmax_ = structural("aminmax", aminmax_forward, aminmax_x, outputs=2)


def _not_empty(input: Any, axes: tuple[int, ...], name: str, colon: str = "():") -> None:
    for axis in axes:
        if input.ndim and input._spec.shape[axis] == 0:
            raise IndexError(f"{name}{colon} Expected reduction dim {axis} to have non-zero size.")


def _no_dim(
    input: Any, name: str, error: type[Exception] = RuntimeError, more: bool = True
) -> None:
    """Raise torch's error for the extremum of nothing."""
    if not input._spec.size:
        raise error(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0."
            + (" Specify the reduction dim with the 'dim' argument." if more else "")
        )


def _over(made: Any, name: str, input: Any, dim: Any, keepdim: bool) -> Any:
    axes = reduced_axes(dim, input._spec.ndim)
    if not input._spec.size:
        if dim == () or dim is None:
            _no_dim(input, name)
        _not_empty(input, axes, name)
    kernel = f'"{name[1:]}_values_cpu"'
    refuse(input, "c", kernel + " not implemented for '{dtype}'", NotImplementedError)
    return Primitive.apply(made, (input,), (axes, bool(keepdim)))


@public(numpy=[np.amax, np.max])
@with_out
@with_numpy_names
def amax(input: Any, dim: Any = (), keepdim: bool = False) -> Any:
    """The maximum over ``dim``; elements that share it share the gradient.

    Raises IndexError or RuntimeError for an empty dimension, NotImplementedError for complex
    numbers.
    """
    return _over(amax_, "amax", input, dim, keepdim)


@public(numpy=[np.amin, np.min])
@with_out
@with_numpy_names
def amin(input: Any, dim: Any = (), keepdim: bool = False) -> Any:
    """The minimum over ``dim``; see `amax`."""
    return _over(amin_, "amin", input, dim, keepdim)


@public
@with_out
def aminmax(input: Any, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """The minimum and the maximum, over one dimension or all, as ``(min, max)``."""
    if dim is None and not input._spec.size:
        raise RuntimeError(
            "aminmax(): cannot compute aminmax over an empty dimension as the operation has no "
            "identity."
        )
    refuse(input, "c", "aminmax(): not implemented for {dtype}", NotImplementedError)
    axes = reduced_axes(dim, input.ndim)
    _not_empty(input, axes, "aminmax", ":")
    return named("aminmax", ("min", "max"))(*aminmax_(input, axes, bool(keepdim)))


# -- with the index --------------------------------------------------------------------------------


def max_at_forward(x, axis, keepdims, index):
    if x.ndim == 1:
        return taken_forward(x, axis, keepdims, index)
    return np.maximum.reduce(x, axis, None, None, keepdims)


def min_at_forward(x, axis, keepdims, index):
    if x.ndim == 1:
        return taken_forward(x, axis, keepdims, index)
    return np.minimum.reduce(x, axis, None, None, keepdims)


def taken_forward(x, axis, keepdims, index):
    if not axis:
        return x.copy()
    out = along_forward(x, index, axis[0])
    return out if keepdims else out.squeeze(axis)


def chosen_x(out_bar, x_shape, axis, index):
    if not axis:
        return out_bar
    positions = [1] * len(x_shape)
    positions[axis[0]] = x_shape[axis[0]]
    chosen = np.reshape(np.arange(x_shape[axis[0]]), positions) == index
    return select(chosen, np.reshape(out_bar, index.shape), 0)


max_at = structural("max", max_at_forward, chosen_x, contiguous=True)
min_at = structural("min", min_at_forward, chosen_x, contiguous=True)
median_at = structural(
    "median", taken_forward, chosen_x, grad_name="MedianBackward1", contiguous=True
)
nanmedian_at = structural(
    "nanmedian", taken_forward, chosen_x, grad_name="NanmedianBackward1", contiguous=True
)


FIELDS = ("values", "indices")


def _with_index(made: Any, name: str, input: Any, axis: int, keepdim: bool, index: Any) -> Any:
    """The named result of values at an index, which has the dimension kept."""
    ndim = input._spec.ndim
    axes = (axis,) if ndim else ()
    values = Primitive.apply(made, (input,), (axes, bool(keepdim), index))
    # A copy: the record keeps the index, and users may change theirs.
    shown = index.copy() if keepdim or not ndim else index.reshape(values._spec.shape).copy()
    return named(name, FIELDS)(values, constant(input, shown))


def _extremum(name: str, input: Any, dim: Any, keepdim: bool, argument: Any, made: Any) -> Any:
    if dim is None:
        if not input._spec.size:
            _no_dim(input, name)
        refuse(input, "c", '"' + name + "_all\" not implemented for '{dtype}'", NotImplementedError)
        return Primitive.apply(made[0], (input,), (tuple(range(input._spec.ndim)), False))
    axis = wrap_axis(dim, input._spec.ndim)
    _not_empty(input, (axis,), name)
    refuse(input, "c", f"{name}(): does not support complex input")
    x = input._array
    index = argument(x, axis, True) if x.ndim else np.zeros((), np.int64)
    return _with_index(made[1], name, input, axis, keepdim, index)


def _is_number(value: Any, name: str) -> bool:
    if hasattr(value, "_spec"):
        return False
    if not hasattr(value, "__index__"):
        raise TypeError(
            f"{name}(): argument 'dim' must be an int, or 'other' a Tensor, not "
            f"{type(value).__name__}"
        )
    return True


@public
@with_numpy_names
def max(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The maximum of all, or ``(values, indices)`` along ``dim``, or `maximum` of two Tensors."""
    if other is not None or (dim is not None and not _is_number(dim, "max")):
        return maximum(input, dim if other is None else other)
    return _extremum("max", input, dim, keepdim, argmax_forward, (max_, max_at))


@public
@with_numpy_names
def min(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The minimum of all, or ``(values, indices)`` along ``dim``, or `minimum` of two Tensors."""
    if other is not None or (dim is not None and not _is_number(dim, "min")):
        return minimum(input, dim if other is None else other)
    return _extremum("min", input, dim, keepdim, argmin_forward, (min_, min_at))


def argmax_forward(x, axis, keepdims):
    return x.argmax(axis, keepdims=keepdims)


def argmin_forward(x, axis, keepdims):
    return x.argmin(axis, keepdims=keepdims)


argmax_ = structural("argmax", argmax_forward, None, contiguous=True)
argmin_ = structural("argmin", argmin_forward, None, contiguous=True)


def _argument(made: Any, name: str, input: Any, dim: int | None, keepdim: bool) -> Any:
    refuse(input, "c", f"{name}(): does not support complex input")
    refuse(input, "b", f"{name}(): does not support bool input")
    axis = None
    if dim is None:
        if not input._spec.size:
            _no_dim(input, name, IndexError, more=False)
    else:
        axis = wrap_axis(dim, input._spec.ndim)
        _not_empty(input, (axis,), name)
    if not input._spec.ndim:
        axis = None
    return Primitive.apply(made, (input,), (axis, bool(keepdim)))


@public(numpy=[np.argmax])
@with_numpy_names
def argmax(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The index of the maximum, int64: in the flattened Tensor, or along ``dim``.

    Raises IndexError for an empty dimension, RuntimeError for bools and complex numbers.
    """
    return _argument(argmax_, "argmax", input, dim, keepdim)


@public(numpy=[np.argmin])
@with_numpy_names
def argmin(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The index of the minimum, int64; see `argmax`."""
    return _argument(argmin_, "argmin", input, dim, keepdim)


# -- the mode --------------------------------------------------------------------------------------


mode_at = structural("mode", taken_forward, chosen_x, contiguous=True)


@public
@with_numpy_names
def mode(input: Any, dim: int = -1, keepdim: bool = False) -> Any:
    """``(values, indices)`` along ``dim``: the most frequent element, the least if several are.

    The index is that of its last occurrence. Raises NotImplementedError for complex numbers.
    """
    axis = wrap_axis(dim, input._spec.ndim)
    refuse(input, "c", "\"mode\" not implemented for '{dtype}'", NotImplementedError)
    _not_empty(input, (axis,), "mode")
    x = input._array
    index = _mode_index(x, axis) if x.ndim else np.zeros((), np.int64)
    return _with_index(mode_at, "mode", input, axis, keepdim, index)


def _mode_index(x: np.ndarray, axis: int) -> np.ndarray:
    order = np.argsort(x, axis, kind="stable")
    ordered = np.moveaxis(np.take_along_axis(x, order, axis), axis, 0)
    positions = np.arange(len(ordered)).reshape([-1] + [1] * (x.ndim - 1))
    new = np.ones(ordered.shape, np.bool_)
    new[1:] = ordered[1:] != ordered[:-1]
    # How far each element is into its run of equal ones; the first to be farthest ends the run.
    length = positions - np.maximum.accumulate(np.where(new, positions, 0), 0)
    last = np.moveaxis(np.argmax(length, 0, keepdims=True), 0, axis)
    return np.take_along_axis(order, last, axis)


# -- the median ------------------------------------------------------------------------------------


def median_forward(x, axis):
    flat = x.reshape(-1)
    if not flat.size:
        return x.dtype.type(np.nan if x.dtype.kind == "f" else np.iinfo(x.dtype).min)
    ordered = np.sort(flat)  # nan comes last
    return ordered[-1] if ordered[-1] != ordered[-1] else ordered[(flat.size - 1) // 2]


def nanmedian_forward(x, axis):
    return median_forward(x[x == x], axis)


def nanmedian_x(out_bar, x, out):
    chosen = x == out
    return select(chosen, out_bar / np.maximum(np.sum(chosen), 1), 0)


median_ = structural("median", median_forward, shared_x)
nanmedian_ = structural("nanmedian", nanmedian_forward, nanmedian_x)


def _median(name: str, made: Any, input: Any, dim: int | None, keepdim: bool, skip: bool) -> Any:
    if input._spec.dtype.kind in "bc":
        raise NotImplementedError(f"\"median_cpu\" not implemented for '{dtype_name(input)}'")
    if dim is None:
        return Primitive.apply(made[0], (input,), (tuple(range(input._spec.ndim)),))
    axis = wrap_axis(dim, input._spec.ndim)
    _not_empty(input, (axis,), name)
    x = input._array
    index = _median_index(x, axis, skip) if x.ndim else np.zeros((), np.int64)
    return _with_index(made[1], name, input, axis, keepdim, index)


def _median_index(x: np.ndarray, axis: int, skip: bool) -> np.ndarray:
    order = np.argsort(x, axis, kind="stable")
    middle = (x.shape[axis] - 1) // 2
    if x.dtype.kind != "f":
        return np.take(order, [middle], axis)
    nans = np.add.reduce(x != x, axis, np.int64, None, True)
    valid = x.shape[axis] - nans
    # The first nan comes after all else, as the sort is stable.
    position = np.maximum(valid - 1, 0) // 2 if skip else np.where(nans > 0, valid, middle)
    return np.take_along_axis(order, position, axis)


@public
@with_numpy_names
def median(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower median: of all, or ``(values, indices)`` along ``dim``; nan if any element is."""
    return _median("median", (median_, median_at), input, dim, keepdim, skip=False)


@public
@with_numpy_names
def nanmedian(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The `median` of what isn't nan."""
    return _median("nanmedian", (nanmedian_, nanmedian_at), input, dim, keepdim, skip=True)

"""Copies side by side, of a whole Tensor or of each element: repeat, tile, repeat_interleave."""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.axes import wrap_axis
from tapegrad.declaration import public
from tapegrad.primitive import Primitive, structural
from tapegrad.rules.arguments import refuse, sizes_of
from tapegrad.rules.gathering import constant, index_select_
from tapegrad.rules.shape import as_shape


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

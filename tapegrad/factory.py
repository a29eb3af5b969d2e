"""What the functions that make Tensors share: their arguments, checked, and the leaf at the end."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from tapegrad import devices, dtypes
from tapegrad.fromdata import cast_numbers, overflow_message
from tapegrad.layouts import check_layout
from tapegrad.modes import modes, switch
from tapegrad.spec import spec_of
from tapegrad.tape import tape
from tapegrad.tensor import Tensor

__all__ = [
    "allocate",
    "check_options",
    "filled",
    "integer",
    "leaf",
    "made",
    "numpy_dtype",
    "shape_from",
]

new = Tensor.__new__


def leaf(array: np.ndarray, requires_grad: bool = False) -> Tensor:
    """A new Tensor over an array of a supported dtype."""
    out = new(Tensor)
    out._array = array
    out._spec = spec_of(array)
    if not switch.plain and modes.inference:
        out._spec = out._spec.as_inference
    out._place = None
    if requires_grad:
        if array.dtype.kind not in "fc":
            raise RuntimeError(
                "Only Tensors of floating point and complex dtype can require gradients"
            )
        out._place = tape.new_leaf(out)
    return out


def check_options(
    function: str, out: Any = None, layout: Any = None, device: Any = None, pin: Any = False
) -> None:
    """Raise what torch raises for a device that isn't there, and for what tapegrad doesn't have."""
    if out is not None:
        raise NotImplementedError(
            f"{function}(out=...) is not supported: use what it returns, or out.copy_(...)"
        )
    devices.check_device(device, function)
    check_layout(layout, function)
    if pin:
        raise RuntimeError(
            "pin_memory=True requires a CUDA or other accelerator backend; no pinned memory "
            "allocator is available on this system."
        )


def numpy_dtype(dtype: Any, function: str) -> np.dtype[Any]:
    """The NumPy dtype of an argument ``dtype=``; None is the default dtype."""
    if dtype is None:
        return dtypes.get_default_dtype().numpy
    return dtypes.as_dtype(dtype, function).numpy


def shape_from(function: str, sizes: tuple[Any, ...], size: Any = None) -> tuple[int, ...]:
    """A shape given as one int or Tensor each, as one sequence, or by the keyword ``size``."""
    if size is not None:
        sizes = (size,)
    elif not sizes:
        raise TypeError(f'{function}() missing 1 required positional arguments: "size"')
    if isinstance(sizes[0], (tuple, list)):
        if len(sizes) > 1:
            raise TypeError(f"{function}() takes 1 positional argument but {len(sizes)} were given")
        sizes = tuple(sizes[0])
        nested = True
    else:
        nested = False
    for n in sizes:
        if type(n) is not int or n < 0:
            return _checked_shape(function, sizes, nested)
    return sizes


def _checked_shape(function: str, sizes: tuple[Any, ...], nested: bool) -> tuple[int, ...]:
    shape = []
    for i, n in enumerate(sizes):
        try:
            if isinstance(n, bool) or getattr(n, "ndim", None):
                raise TypeError
            shape.append(operator.index(n))
        except TypeError:
            got = type(n).__name__ if type(n).__module__ != "numpy" else f"numpy.{type(n).__name__}"
            if nested or i:
                raise TypeError(
                    f"{function}(): argument 'size' failed to unpack the object at pos {i + 1} "
                    f'with error "type must be tuple of ints,but got {got}"'
                ) from None
            raise TypeError(
                f"{function}(): argument 'size' (position 1) must be tuple of ints, not {got}"
            ) from None
    for n in shape:
        if n < 0:
            if function == "zeros":
                raise RuntimeError("zeros: Dimension size must be non-negative.")
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: {shape}")
    return tuple(shape)


def allocate(shape: tuple[int, ...], dtype: np.dtype[Any], make: Any = np.empty) -> np.ndarray:
    """``make(shape, dtype)``, with torch's error for a shape beyond all memory."""
    try:
        return make(shape, dtype)
    except ValueError:
        raise overflowed(shape) from None


def overflowed(shape: tuple[int, ...]) -> RuntimeError:
    """torch's error for a shape beyond all memory."""
    return RuntimeError(f"Storage size calculation overflowed with sizes={list(shape)}")


def made(
    function: str, make: Any, sizes: Any, size: Any, dtype: Any, requires_grad: bool
) -> Tensor:
    """``make(shape, dtype)`` as a Tensor: what ``zeros`` and the like come to.

    One function instead of four: for small Tensors calls are what costs.
    """
    shape = shape_from(function, sizes, size)
    wanted = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype, function)
    try:
        array = make(shape, wanted.numpy)
    except ValueError:
        raise overflowed(shape) from None
    if requires_grad or not switch.plain:
        return leaf(array, requires_grad)
    out = new(Tensor)
    out._array = array
    out._spec = spec_of(array)
    out._place = None
    return out


def filled(shape: tuple[int, ...], value: Any, dtype: dtypes.dtype) -> np.ndarray:
    """A new array of one value. Raises torch's error if it is out of the dtype's range."""
    if type(value) in (float, int) and -100 < value < 100 and dtype.is_signed:
        array = allocate(shape, dtype.numpy)
        array.fill(value)
        return array
    try:
        number = cast_numbers(np.array(value), dtype, c_name=True)
    except (TypeError, ValueError):
        raise RuntimeError(overflow_message(dtype, c_name=True)) from None
    if dtype.is_floating_point and np.isinf(number) and not math.isinf(value):
        raise RuntimeError(overflow_message(dtype, c_name=True))
    array = allocate(shape, dtype.numpy)
    array[...] = number
    return array


def integer(value: Any, function: str, argument: str) -> int:
    """An argument that must be an int. Raises torch's TypeError for all else."""
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(
            f"{function}(): argument {argument} must be int, not {type(value).__name__}"
        ) from None

"""Tensors made after the pattern of another: ``zeros_like``, ``Tensor.new_zeros`` and the like.

The ``..._like`` functions take the pattern's shape and dtype, the ``new_...`` methods its dtype.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad import dtypes
from tapegrad.creation import tensor, warn_copy
from tapegrad.declaration import by_sample
from tapegrad.factory import (
    allocate,
    check_options,
    filled,
    leaf,
    numpy_dtype,
    shape_from,
)
from tapegrad.fromdata import number_of
from tapegrad.storage import memory_order
from tapegrad.tensor import Tensor

__all__ = [
    "empty_like",
    "empty_permuted",
    "empty_strided",
    "full_like",
    "new_empty",
    "new_empty_strided",
    "new_full",
    "new_ones",
    "new_tensor",
    "new_zeros",
    "ones_like",
    "zeros_like",
]


def array_like(function: str, input: Any, dtype: Any, memory_format: Any = None) -> np.ndarray:
    """Memory of the input's shape, order in memory and (if ``dtype`` is None) dtype, not set."""
    if not isinstance(input, Tensor):
        raise TypeError(
            f"{function}(): argument 'input' (position 1) must be Tensor, not "
            f"{type(input).__name__}"
        )
    array = input._array
    wanted = array.dtype if dtype is None else numpy_dtype(dtype, function)
    contiguous = repr(memory_format) == "tapegrad.contiguous_format"
    if contiguous or array.flags.c_contiguous:
        return np.empty(array.shape, wanted)
    axes = memory_order(array)
    return np.empty([array.shape[i] for i in axes], wanted).transpose(np.argsort(axes))


@by_sample
def zeros_like(
    input: Tensor,
    *,
    memory_format: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """Zeros of the input's shape, and its dtype unless one is given."""
    if layout is not None or device is not None or pin_memory:
        check_options("zeros_like", None, layout, device, pin_memory)
    array = array_like("zeros_like", input, dtype, memory_format)
    array.fill(0)
    return leaf(array, requires_grad)


@by_sample
def ones_like(
    input: Tensor,
    *,
    memory_format: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """Ones of the input's shape, and its dtype unless one is given."""
    if layout is not None or device is not None or pin_memory:
        check_options("ones_like", None, layout, device, pin_memory)
    array = array_like("ones_like", input, dtype, memory_format)
    array.fill(1)
    return leaf(array, requires_grad)


@by_sample
def empty_like(
    input: Tensor,
    *,
    memory_format: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """Memory that isn't set, of the input's shape, and its dtype unless one is given."""
    if layout is not None or device is not None or pin_memory:
        check_options("empty_like", None, layout, device, pin_memory)
    return leaf(array_like("empty_like", input, dtype, memory_format), requires_grad)


@by_sample
def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    memory_format: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """One value in the input's shape, and its dtype unless one is given.

    Raises RuntimeError if the value is out of the dtype's range.
    """
    if layout is not None or device is not None or pin_memory:
        check_options("full_like", None, layout, device, pin_memory)
    array = array_like("full_like", input, dtype, memory_format)
    value = number_of(fill_value, "full_like", "'fill_value' (position 2)")
    array[...] = filled((), value, dtypes.from_numpy(array.dtype))
    return leaf(array, requires_grad)


def empty_strided(
    size: Any,
    stride: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Memory that isn't set, with strides (in elements) that may overlap."""
    check_options("empty_strided", None, layout, device, pin_memory)
    shape, steps = shape_from("empty_strided", (tuple(size),)), tuple(stride)
    if len(shape) != len(steps):
        raise RuntimeError(
            f"mismatch in length of strides and shape. Got {len(steps)} strides and {len(shape)} "
            "sizes"
        )
    if any(step < 0 for step in steps):
        raise RuntimeError(f"as_strided: Negative strides are not supported, got {list(steps)}")
    wanted = numpy_dtype(dtype, "empty_strided")
    last = sum((n - 1) * step for n, step in zip(shape, steps, strict=True))
    memory = np.empty(last + 1 if math.prod(shape) else 0, wanted)
    strides = tuple(step * wanted.itemsize for step in steps)
    return leaf(np.ndarray(shape, wanted, memory, 0, strides), requires_grad)


def empty_permuted(
    size: Any,
    physical_layout: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """Memory that isn't set; its dimensions lie in the order ``physical_layout``, outer first."""
    check_options("empty_permuted", None, layout, device, pin_memory)
    shape, order = shape_from("empty_permuted", (tuple(size),)), tuple(physical_layout)
    if len(order) != len(shape):
        raise RuntimeError(
            "Number of dimensions in size does not match the length of the physical_layout; i.e. "
            f"len(size) = {len(shape)} is not equal to len(physical_layout) = {len(order)}"
        )
    for i, dim in enumerate(order):
        if not 0 <= dim < len(shape):
            raise RuntimeError(
                f"Dimension out of range (expected to be between 0 and {len(shape) - 1}, but got "
                f"{dim} at index {i}).  NB: negative dims not currently supported; file an issue "
                "if you want it."
            )
        if dim in order[:i]:
            raise RuntimeError("Duplicate dim not allowed")
    memory = allocate(tuple(shape[dim] for dim in order), numpy_dtype(dtype, "empty_permuted"))
    return leaf(memory.transpose([order.index(i) for i in range(len(order))]), requires_grad)


# -- methods ---------------------------------------------------------------------------------------


def _wanted(input: Tensor, dtype: Any, function: str) -> np.dtype[Any]:
    return input._spec.dtype if dtype is None else numpy_dtype(dtype, function)


def new_zeros(
    input: Tensor,
    *sizes: Any,
    size: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """Zeros of another size, with the Tensor's dtype unless one is given."""
    check_options("new_zeros", None, layout, device, pin_memory)
    shape = shape_from("new_zeros", sizes, size)
    array = allocate(shape, _wanted(input, dtype, "new_zeros"), np.zeros)
    return leaf(array, requires_grad)


def new_ones(
    input: Tensor,
    *sizes: Any,
    size: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """Ones of another size, with the Tensor's dtype unless one is given."""
    check_options("new_ones", None, layout, device, pin_memory)
    shape = shape_from("new_ones", sizes, size)
    array = allocate(shape, _wanted(input, dtype, "new_ones"), np.ones)
    return leaf(array, requires_grad)


def new_empty(
    input: Tensor,
    *sizes: Any,
    size: Any = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """Memory of another size that isn't set, with the Tensor's dtype unless one is given."""
    check_options("new_empty", None, layout, device, pin_memory)
    shape = shape_from("new_empty", sizes, size)
    return leaf(allocate(shape, _wanted(input, dtype, "new_empty")), requires_grad)


def new_empty_strided(
    input: Tensor,
    size: Any,
    stride: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """`empty_strided`, with the Tensor's dtype unless one is given."""
    return empty_strided(size, stride, dtype=dtype or input.dtype, layout=layout, device=device,
                         requires_grad=requires_grad, pin_memory=pin_memory)  # fmt: skip


def new_full(
    input: Tensor,
    size: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """One value in another size, with the Tensor's dtype unless one is given."""
    check_options("new_full", None, layout, device, pin_memory)
    shape = shape_from("new_full", (tuple(size),))
    value = number_of(fill_value, "new_full", "'fill_value' (position 2)")
    wanted = dtypes.from_numpy(_wanted(input, dtype, "new_full"))
    return leaf(filled(shape, value, wanted), requires_grad)


def new_tensor(
    input: Tensor,
    data: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """`tapegrad.tensor` of the data, with the Tensor's dtype unless one is given."""
    check_options("new_tensor", None, layout, device, pin_memory)
    if isinstance(data, Tensor):
        warn_copy("tensor.new_tensor(sourceTensor)")
        data = data._array
    return tensor(data, dtype=input.dtype if dtype is None else dtype, requires_grad=requires_grad)

"""`make_tensor`, as torch.testing has it: random Tensors of any dtype."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from tapegrad import devices, dtypes, limits, random
from tapegrad.layouts import memory_format as MemoryFormat
from tapegrad.tensor import Tensor, from_array

__all__ = ["make_tensor"]


def make_tensor(
    *shape: Any,
    dtype: dtypes.dtype,
    device: Any = None,
    low: float | None = None,
    high: float | None = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    exclude_zero: bool = False,
    memory_format: MemoryFormat | None = None,
) -> Tensor:
    """A Tensor of random numbers, uniform in [low, high).

    Args:
        shape: ints, or a sequence of them.
        dtype: the dtype.
        device: the CPU.
        low, high: the range, narrowed to what the dtype can hold. By default [-9, 9) for floating
            and complex dtypes, of which it bounds both parts, integers in [-9, 10) or, unsigned,
            [0, 10), and both bools.
        requires_grad: whether it is to be differentiated.
        noncontiguous: every second element of memory twice as large, if it has two or more.
        exclude_zero: zeros become 1, or the smallest normal number.
        memory_format: the layout; not together with ``noncontiguous``.

    Raises:
        ValueError: ``low`` not below ``high``, nan, a range that the dtype can't hold,
            ``requires_grad`` for a dtype that has no gradients, both layouts.

    >>> import tapegrad
    >>> make_tensor(2, 3, dtype=tapegrad.float32).shape
    tapegrad.Size([2, 3])
    """
    devices.check_device(device)
    kind = dtypes.as_dtype(dtype, "make_tensor")
    if len(shape) == 1 and isinstance(shape[0], Sequence):
        shape = tuple(shape[0])
    floating = kind.is_floating_point or kind.is_complex
    if noncontiguous and memory_format is not None:
        raise ValueError(
            "The parameters `noncontiguous` and `memory_format` are mutually exclusive, but got "
            f"{noncontiguous=} and {memory_format=}"
        )
    if requires_grad and not floating:
        raise ValueError(
            "`requires_grad=True` is not supported for boolean and integral dtypes, but got "
            f"{dtype=}"
        )
    strided = noncontiguous and math.prod(shape) > 1
    stored = (*shape[:-1], 2 * shape[-1]) if strided else shape
    least, most = _range(kind, low, high)
    if floating:
        array = _uniform(stored, kind, least, most)
    else:
        bounds = math.ceil(least), math.ceil(most)
        array = random.integers(*bounds, stored, kind.numpy, None)
    if strided:
        array = array[..., 1::2]
    made = from_array(array)
    if memory_format is not None:
        made = made.clone(memory_format=memory_format)
    if exclude_zero:
        array = made._array
        array[array == 0] = limits.finfo(kind).tiny if floating else 1
    return made.requires_grad_(requires_grad) if floating else made


def _range(kind: dtypes.dtype, low: Any, high: Any) -> tuple[float, float]:
    """The range asked for, within what the dtype can hold."""
    least: float
    most: float
    if kind is dtypes.bool_:
        least, most = 0, 2
    elif kind.is_floating_point or kind.is_complex:
        least, most = limits.finfo(kind).min, limits.finfo(kind).max
    else:
        least = limits.iinfo(kind).min
        most = limits.iinfo(kind).max + (kind is not dtypes.int64)  # its end must be an int64
    floating = kind.is_floating_point or kind.is_complex
    defaults = (0, 2) if kind is dtypes.bool_ else (-9, 9 if floating else 10)
    low = defaults[0] if low is None else low
    high = defaults[1] if high is None else high
    if math.isnan(low) or math.isnan(high):
        raise ValueError(f"`low` and `high` cannot be NaN, but got {low=} and {high=}")
    if low == high and floating:
        warnings.warn(
            "Passing `low==high` to `torch.testing.make_tensor` for floating or complex types is "
            "deprecated since 2.1 and will be removed in 2.3. Use `torch.full(...)` instead.",
            FutureWarning,
            stacklevel=3,
        )
    elif low >= high:
        raise ValueError(f"`low` must be less than `high`, but got {low} >= {high}")
    elif high < least or low >= most:
        raise ValueError(
            f"The value interval specified by `low` and `high` is [{low}, {high}), but {kind} only "
            f"supports [{least}, {most})"
        )
    return min(max(low, least), most), min(max(high, least), most)


def _uniform(shape: tuple[int, ...], kind: dtypes.dtype, low: float, high: float) -> np.ndarray:
    if high - low >= limits.finfo(kind).max:  # the width itself must be finite
        return random.uniform(shape, kind.numpy, None, low / 2, high / 2) * 2
    return random.uniform(shape, kind.numpy, None, low, high)

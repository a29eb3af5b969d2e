"""Tensors of numbers in order: ``arange``, ``linspace``, ``eye``, the indices of triangles.

    >>> import tapegrad
    >>> tapegrad.arange(0, 1, 0.25)
    tensor([0.0000, 0.2500, 0.5000, 0.7500])
    >>> tapegrad.linspace(0, 1, 3)
    tensor([0.0000, 0.5000, 1.0000])

They take the arguments of `tapegrad.creation`.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from tapegrad import dtypes
from tapegrad.dtypes import TYPE_NAMES, quiet
from tapegrad.factory import check_options, integer, leaf, numpy_dtype
from tapegrad.fromdata import number_of, overflow_message, quiet_cast
from tapegrad.outs import write_out
from tapegrad.random import names
from tapegrad.tensor import Tensor
from tapegrad.variates import affine, scale

__all__ = ["arange", "eye", "linspace", "logspace", "range", "tril_indices", "triu_indices"]


def arange(
    start: Any = None,
    end: Any = None,
    step: Any = 1,
    *,
    out: Tensor | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """``start, start + step, ...`` as far as below ``end``; ``arange(end)`` starts at 0.

    Without ``dtype`` it is int64 if all three are integers, else the default dtype. Raises
    RuntimeError for a step of 0, or of the wrong sign, and for bounds that aren't finite, and
    ValueError for a step that is 0 as an integer of the dtype.
    """
    if out is not None:
        if dtype not in (None, out.dtype):
            raise RuntimeError(
                f"dtype {TYPE_NAMES[dtype.name]} does not match dtype of out parameter "
                f"({TYPE_NAMES[out.dtype.name]})"
            )
        write_out("arange", out, arange(start, end, step, dtype=out.dtype), [])
        return out
    if layout is not None or device is not None or pin_memory:
        check_options("arange", None, layout, device, pin_memory)
    if end is None:
        if start is None:
            raise TypeError('arange() missing 1 required positional arguments: "end"')
        end = number_of(start, "arange", "'end' (position 1)")
        start = 0
    else:
        start = number_of(0 if start is None else start, "arange", "'start' (position 1)")
        end = number_of(end, "arange", "'end' (position 2)")
    step = number_of(step, "arange", "'step' (position 3)")
    common = dtype is None and type(end) is type(start) is type(step) is int
    if common and start == 0 and step == 1 and 0 <= end < 2**63:
        return leaf(np.arange(end), requires_grad)
    whole = isinstance(start, int) and isinstance(end, int) and isinstance(step, int)
    if dtype is None:
        wanted = np.dtype(np.int64) if whole else dtypes.get_default_dtype().numpy
    else:
        wanted = numpy_dtype(dtype, "arange")
    n = _length(start, end, step, wanted)
    return leaf(_steps(start, step, n, wanted), requires_grad)


def _length(start: Any, end: Any, step: Any, dtype: np.dtype[Any]) -> int:
    """How many numbers an arange has. Raises torch's errors."""
    if complex in (type(start), type(end), type(step)):
        raise RuntimeError(overflow_message(dtypes.float64, c_name=True))
    if dtype.kind not in "iuf":
        name = {"b": "Bool", "c": "ComplexFloat" if dtype.itemsize == 8 else "ComplexDouble"}
        raise NotImplementedError(f"\"arange_cpu\" not implemented for '{name[dtype.kind]}'")
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if not (math.isfinite(start) and math.isfinite(end)):
        raise RuntimeError(f"unsupported range: {start:g} -> {end:g}")
    if (end < start) if step > 0 else (end > start):
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    if dtype == np.int64:
        # torch rounds all three first.
        start, end, step = int(start), int(end), int(step)
        for value in (start, end):
            if not -(2**63) <= value < 2**63:
                raise RuntimeError(overflow_message(dtypes.int64, c_name=True))
        if step == 0:
            raise ValueError("step must be nonzero")
        return -((start - end) // step)
    return math.ceil((end - start) / step)


def _steps(start: Any, step: Any, n: int, dtype: np.dtype[Any]) -> np.ndarray:
    if dtype.kind in "iu":
        start, step = int(start), int(step)
        if dtype == np.int64:
            return np.arange(start, start + n * step, step) if n else np.empty(0, dtype)
        return quiet_cast(start + step * np.arange(n), dtype)
    index = np.arange(n, dtype=np.float64)
    if float(start).is_integer() and float(step).is_integer():
        numbers = index if step == 1 else index * step  # exact, below 2**53
        if start != 0:
            numbers += start
    else:
        # torch rounds as its compiled loop comes: it takes two vectors of numbers at a time, each
        # counted from its first, which has the dtype; then the rest one by one.
        width = 4 if dtype.itemsize == 8 else 8
        whole = n - n % (2 * width)
        within = index % width
        within[whole:] = 0
        if dtype.itemsize == 8:
            first: Any = affine(index - within, step, start)
            return affine(within, step, first)
        first = (index - within) * step + start  # rounded to the dtype it doesn't matter how
        first[:whole] = quiet_cast(first[:whole], dtype)
        numbers = within * step + first
    return numbers if dtype == np.float64 else quiet_cast(numbers, dtype)


def range(
    start: Any = 0,
    end: Any = None,
    step: Any = 1,
    *,
    out: Tensor | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """Deprecated, as in torch: `arange` with the end included, in the default dtype."""
    warnings.warn(
        "torch.range is deprecated and will be removed in a future release because its behavior "
        "is inconsistent with Python's range builtin. Instead, use torch.arange, which produces "
        "values in [start, end).",
        UserWarning,
        stacklevel=2,
    )
    check_options("range", out, layout, device, pin_memory)
    if end is None:
        start, end = 0, start
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (end < start) if step > 0 else (end > start):
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    n = math.floor((end - start) / step) + 1
    return leaf(_steps(start, step, n, numpy_dtype(dtype, "range")), requires_grad)


def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    out: Tensor | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """``steps`` numbers evenly spaced from ``start`` to ``end``, both included.

    Without ``dtype`` it is the default dtype, or the complex one if a bound is complex. Raises
    RuntimeError for negative steps.
    """
    if out is not None or layout is not None or device is not None or pin_memory:
        check_options("linspace", out, layout, device, pin_memory)
    array = _spaced("linspace", start, end, steps, dtype)
    return leaf(array, requires_grad)


def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: Any = 10.0,
    *,
    out: Tensor | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """``base`` to the powers of `linspace`: evenly spaced on a logarithmic scale."""
    check_options("logspace", out, layout, device, pin_memory)
    array = _spaced("logspace", start, end, steps, dtype, number_of(base, "logspace", "'base'"))
    return leaf(array, requires_grad)


def _spaced(
    function: str, start: Any, end: Any, steps: Any, dtype: Any, base: Any = None
) -> np.ndarray:
    dims = getattr(start, "ndim", 0), getattr(end, "ndim", 0)
    if dims != (0, 0):
        raise RuntimeError(
            f"{function} only supports 0-dimensional start and end tensors, but got start with "
            f"{dims[0]} dimension(s) and end with {dims[1]} dimension(s)."
        )
    start = number_of(start, function, "'start' (position 1)")
    end = number_of(end, function, "'end' (position 2)")
    n = integer(steps, function, "'steps' (position 3)")
    if n < 0:
        raise RuntimeError("number of steps must be non-negative")
    inferred = dtypes.get_default_dtype()
    if complex in (type(start), type(end), type(base)):
        inferred = dtypes.get_default_complex_dtype()
    wanted = inferred if dtype is None else dtypes.as_dtype(dtype, function)
    if inferred.is_complex and not wanted.is_complex:
        raise RuntimeError(
            f"torch.{function}(): inferred dtype {inferred!r} can't be safely cast to passed dtype "
            f"{wanted!r}"
        )
    numpy = wanted.numpy
    if numpy.kind in "iu":
        work, start, end = np.dtype(np.float64), int(start), int(end)
    elif numpy.kind == "b":
        work = np.dtype(np.float64)
    else:
        work = numpy
    values = quiet(_linear, work.type(start), work.type(end), n, work)
    if base is not None:
        values = quiet(np.power, work.type(base), values)
    return values if work == numpy else quiet_cast(values, numpy)


def _linear(start: Any, end: Any, n: int, dtype: np.dtype[Any]) -> np.ndarray:
    """Evenly spaced numbers, counted from both ends to the middle, so that both are exact."""
    if n < 2:
        return np.full(n, start, dtype)
    step = (end - start) / dtype.type(n - 1)
    half = n // 2
    index = np.arange(n)
    values = np.empty(n, dtype)
    first, last = values[:half], values[half:]
    first[...], last[...] = index[:half], index[n - half - 1 :: -1]
    for part, by, near in ((first, step, start), (last, -step, end)):
        if dtype.char in "fd":
            scale(part, by, near)
        else:
            part[...] = part * by + near
    return values


def eye(
    n: int,
    m: int | None = None,
    *,
    out: Tensor | None = None,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    """The identity matrix of n rows and m columns (None: n)."""
    if out is not None or layout is not None or device is not None or pin_memory:
        check_options("eye", out, layout, device, pin_memory)
    rows = integer(n, "eye", "'n' (position 1)")
    columns = rows if m is None else integer(m, "eye", "'m' (position 2)")
    for name, count in (("n", rows), ("m", columns)):
        if count < 0:
            raise RuntimeError(f"{name} must be greater or equal to 0, got {count}")
    return leaf(np.eye(rows, columns, dtype=numpy_dtype(dtype, "eye")), requires_grad)


def tril_indices(
    row: int,
    col: int,
    offset: int = 0,
    *,
    dtype: Any = None,
    device: Any = None,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """The indices of a lower triangle, row by row: int64 of shape (2, n), rows and columns.

    ``offset`` moves the diagonal up to which it reaches. Raises RuntimeError for negative sizes.
    """
    check_options("tril_indices", None, layout, device, pin_memory)
    return _triangle("tril_indices", np.tril, row, col, offset, dtype)


def triu_indices(
    row: int,
    col: int,
    offset: int = 0,
    *,
    dtype: Any = None,
    device: Any = None,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """The indices of an upper triangle, as `tril_indices`."""
    check_options("triu_indices", None, layout, device, pin_memory)
    return _triangle("triu_indices", np.triu, row, col, offset, dtype)


def _triangle(function: str, part: Any, row: Any, col: Any, offset: Any, dtype: Any) -> Tensor:
    rows = integer(row, function, "'row' (position 1)")
    columns = integer(col, function, "'col' (position 2)")
    for name, count in (("row", rows), ("col", columns)):
        if count < 0:
            raise RuntimeError(f"{name} must be non-negative, got{count}")
    wanted = np.dtype(np.int64) if dtype is None else numpy_dtype(dtype, function)
    if wanted.kind not in "iu":
        raise NotImplementedError(f"\"{function}\" not implemented for '{names(wanted)[0]}'")
    inside = part(np.ones((rows, columns), bool), integer(offset, function, "'offset'"))
    return leaf(np.stack(np.nonzero(inside)).astype(wanted))

"""Large arrays, forward: an elementwise operation's inner loop, shared between threads."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tapegrad import buffers
from tapegrad.kernels.innerloop import inner_loop
from tapegrad.kernels.native import ufunc_loop
from tapegrad.kernels.parts import LOOP, LOOP_DATA, LOOP_FIELDS, LOOP_STEPS, SHARED_ELEMENTS, STARTS
from tapegrad.kernels.pool import run_without_gil
from tapegrad.kernels.tools import LOOP_PARTS, tools
from tapegrad.primitive import Primitive

__all__ = ["large_forward"]


@functools.cache
def _loop_of(primitive: Primitive, dtype: np.dtype[Any]) -> tuple[Any, ...] | None:
    """The loop, what it is given as data, and the dtype of the result; None if there is none."""
    result = dtype if any(primitive.bound) else np.dtype(bool)
    ufunc = primitive.scalar or primitive.forward
    if isinstance(ufunc, np.ufunc):
        found = ufunc_loop(ufunc, f"{dtype.char * primitive.arity}->{result.char}")
        return None if found is None else (*found, result)
    if primitive.scalar is None or result is not dtype:
        return None
    compiled = inner_loop(primitive, dtype)
    return compiled.address, 0, result, compiled  # which owns the code


def large_forward(primitive: Primitive, arrays: tuple[np.ndarray, ...]) -> np.ndarray | None:
    """The result of an elementwise primitive; None where it is for NumPy.

    The arrays are of one dtype, float32 or float64 (but for a condition), and of one shape or 0-d;
    they have no gaps, and their elements one order in memory.
    """
    if primitive.arity != len(arrays) or len(arrays) > 3:
        return None
    largest = max(arrays[primitive.condition :], key=_ndim)
    dtype, shape = largest.dtype, largest.shape
    if not largest.flags.c_contiguous:
        return _in_order(primitive, arrays, largest)
    for i, x in enumerate(arrays):
        wanted = np.bool_ if i < primitive.condition else dtype
        alike = x.dtype == wanted and x.flags.c_contiguous and x.flags.aligned
        if not alike or (x.ndim and x.shape != shape):
            return None
    found = _loop_of(primitive, dtype) if dtype.char in "fd" and dtype.isnative else None
    if found is None:
        return None
    loop, data, result = found[:3]
    out = buffers.empty(shape, result)
    operands = (*arrays, out)
    given = np.zeros(LOOP_FIELDS, np.int64)
    given[LOOP], given[LOOP_DATA] = loop, data
    for i, x in enumerate(operands):
        given[STARTS + i] = x.ctypes.data
        given[LOOP_STEPS + i] = x.itemsize if x.ndim else 0
    run_without_gil(
        int(tools()[LOOP_PARTS]), out.size, given.ctypes.data, out.size // SHARED_ELEMENTS
    )
    return out


def _in_order(
    primitive: Primitive, arrays: tuple[np.ndarray, ...], largest: np.ndarray
) -> np.ndarray | None:
    """The same for arrays such as a transposed matrix: with the slow dimensions first."""
    order = np.argsort(np.negative(largest.strides), kind="stable")
    if not largest.transpose(order).flags.c_contiguous:
        return None
    turned = tuple(x.transpose(order) if x.ndim == order.size else x for x in arrays)
    out = large_forward(primitive, turned)
    return None if out is None else out.transpose(np.argsort(order))


def _ndim(x: np.ndarray) -> int:
    return x.ndim

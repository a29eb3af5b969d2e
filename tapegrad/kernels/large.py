"""Large arrays, forward and in place: an elementwise operation's inner loop, shared by threads."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numba import carray, types

from tapegrad import buffers, threads
from tapegrad.fused import fused
from tapegrad.kernels.innerloop import inner_loop
from tapegrad.kernels.native import (
    call_ufunc_loop,
    pointer_to,
    ufunc_loop,
)
from tapegrad.kernels.parts import LOOP, LOOP_DATA, LOOP_FIELDS, LOOP_STEPS, STARTS
from tapegrad.kernels.pool import kept_code, run_without_gil
from tapegrad.kernels.tools import LOOP_PARTS, tools
from tapegrad.primitive import Primitive
from tapegrad.threads import SHARED_ELEMENTS

__all__ = ["large_forward", "write_in_place"]


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
        if x.ndim and x.shape != shape and not primitive.condition:
            return _broadcast(primitive, arrays) if len(arrays) == 2 else None
        if not alike or (x.ndim and x.shape != shape):
            return None
    found = _loop_of(primitive, dtype) if dtype.char in "fd" and dtype.isnative else None
    if found is None:
        return None
    loop, data, result = found[:3]
    out = buffers.empty(shape, result)
    _run(loop, data, (*arrays, out))
    return out


def _run(loop: int, data: int, operands: tuple[np.ndarray, ...]) -> None:
    """Run an inner loop over operands without gaps, of which the last one is the result."""
    given = np.zeros(LOOP_FIELDS, np.int64)
    given[LOOP], given[LOOP_DATA] = loop, data
    for i, x in enumerate(operands):
        given[STARTS + i] = x.ctypes.data
        given[LOOP_STEPS + i] = x.itemsize if x.ndim else 0
    n = operands[-1].size
    run_without_gil(int(tools()[LOOP_PARTS]), n, given.ctypes.data, n // SHARED_ELEMENTS)


@functools.cache
def _float_loop(ufunc: np.ufunc, kind: str) -> tuple[int, int] | None:
    return ufunc_loop(ufunc, f"{kind}{kind}->{kind}")


def write_in_place(ufunc: np.ufunc, array: np.ndarray, operand: Any) -> bool:
    """``ufunc(array, operand, array)`` of reals, an array or a number; False: it is for NumPy.

    The operand shares all of the array's memory or none.
    """
    dtype = array.dtype
    other = operand if type(operand) is np.ndarray else np.array(operand, dtype)
    kernel = fused("looped", array, other)
    found = _float_loop(ufunc, dtype.char)
    if kernel is None or found is None or (other.ndim and other.shape != array.shape):
        return False
    kernel(array.size, array, other, *found, other.itemsize if other.ndim else 0)
    return True


def _in_order(
    primitive: Primitive, arrays: tuple[np.ndarray, ...], largest: np.ndarray
) -> np.ndarray | None:
    """The same for arrays such as a transposed matrix: with the slow dimensions first."""
    order = np.argsort(np.negative(largest.strides), kind="stable")
    if not largest.transpose(order).flags.c_contiguous:
        return None
    if any(x.ndim not in (0, order.size) for x in arrays):
        return None
    turned = tuple(x.transpose(order) if x.ndim else x for x in arrays)
    out = large_forward(primitive, turned)
    return None if out is None else out.transpose(np.argsort(order))


# -- broadcast -------------------------------------------------------------------------------------

#: Shorter rows are left to NumPy, which takes as long for each as this does.
SHORT = 16

# What rows are told: a loop and its data; the elements of a row, and the rows of a block; where
# each operand begins, and its bytes from block to block, from row to row and within a row.
CODE, CLOSURE, INNER, ROWS, FIRST = range(5)
BLOCK_STEPS, ROW_STEPS, STEPS, FIELDS = 7, 10, 13, 16


def _rows(begin: int, end: int, at: int) -> None:
    f = carray(pointer_to(at, types.int64(0)), FIELDS)
    steps = (f[STEPS], f[STEPS + 1], f[STEPS + 2])
    for k in range(begin, end):
        block, row = k // f[ROWS], k % f[ROWS]
        x = f[FIRST] + block * f[BLOCK_STEPS] + row * f[ROW_STEPS]
        y = f[FIRST + 1] + block * f[BLOCK_STEPS + 1] + row * f[ROW_STEPS + 1]
        out = f[FIRST + 2] + block * f[BLOCK_STEPS + 2] + row * f[ROW_STEPS + 2]
        call_ufunc_loop(f[CODE], f[CLOSURE], f[INNER], (x, y, out), steps)


def _broadcast(primitive: Primitive, arrays: tuple[np.ndarray, ...]) -> np.ndarray | None:
    """Of two arrays broadcast against each other: NumPy takes three times as long for each row."""
    x, y = arrays
    dtype = x.dtype
    if dtype != y.dtype or not (x.flags.aligned and y.flags.aligned):
        return None
    found = _loop_of(primitive, dtype) if dtype.char in "fd" and dtype.isnative else None
    try:
        shape = np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        return None
    if found is None or math.prod(shape) * dtype.itemsize <= threads.LARGE_BYTES:
        return None
    loop, data, result = found[:3]
    x, y = np.broadcast_to(x, shape), np.broadcast_to(y, shape)
    sizes, steps = _merged(shape, x.strides, y.strides, result.itemsize)
    if not 2 <= len(sizes) <= 3 or sizes[-1] < SHORT:
        return None
    if len(sizes) == 2:
        sizes, steps = [1, *sizes], [(0, 0, 0), *steps]
    out = buffers.empty(shape, result)
    starts = [operand.ctypes.data for operand in (x, y, out)]
    fields = np.array([loop, data, sizes[2], sizes[1], *starts, *sum(steps, ())], np.int64)
    others = out.size // SHARED_ELEMENTS
    run_without_gil(kept_code("broadcast", _rows), sizes[0] * sizes[1], fields.ctypes.data, others)
    return out


def _merged(
    shape: tuple[int, ...], x: tuple[int, ...], y: tuple[int, ...], itemsize: int
) -> tuple[list[int], list[tuple[int, int, int]]]:
    """Sizes, and the strides of two operands and a result, of as few dimensions as there can be."""
    sizes: list[int] = []
    steps: list[tuple[int, int, int]] = []
    inner = 1
    for n, of_x, of_y in zip(reversed(shape), reversed(x), reversed(y), strict=True):
        if n == 1:
            continue
        if steps and (of_x, of_y) == (steps[0][0] * sizes[0], steps[0][1] * sizes[0]):
            sizes[0] *= n
        else:
            sizes.insert(0, n)
            steps.insert(0, (of_x, of_y, inner * itemsize))
        inner *= n
    return sizes, steps


def _ndim(x: np.ndarray) -> int:
    return x.ndim

"""Large arrays, forward: an elementwise operation's inner loop, shared between threads."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import carray, types

from tapegrad import buffers, threads
from tapegrad.kernels.cache import source_cache
from tapegrad.kernels.innerloop import inner_loop
from tapegrad.kernels.native import call_ufunc_loop, compile_native, pointer_to, ufunc_loop
from tapegrad.primitive import Primitive

__all__ = ["large_forward"]

# CFUNCTYPE: the GIL is let go of meanwhile.
_LOOP = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)


@functools.cache
def _loop_of(primitive: Primitive, dtype: np.dtype[Any]) -> tuple[Any, ...] | None:
    """The loop, what it is given as data, and the dtype of the result; None if there is none."""
    result = dtype if any(primitive.bound) else np.dtype(bool)
    ufunc = primitive.scalar or primitive.forward
    if isinstance(ufunc, np.ufunc):
        found = ufunc_loop(ufunc, f"{dtype.char * primitive.arity}->{result.char}")
        return None if found is None else (_LOOP(found[0]), found[1], result)
    if primitive.scalar is None or result is not dtype:
        return None
    compiled = inner_loop(primitive, dtype)
    return _LOOP(compiled.address), 0, result, compiled  # which owns the code


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
    operands = (*arrays, out)
    starts = [x.ctypes.data for x in operands]
    steps = [x.itemsize if x.ndim else 0 for x in operands]
    work = functools.partial(_over_part, loop, data, starts, steps, operands)
    if out.nbytes <= threads.LARGE_BYTES:
        work(0, out.size)
    else:
        threads.share(out.size, work)
    return out


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

LOOP, CLOSURE, INNER, ROWS, STARTS, BLOCK_STEPS, ROW_STEPS, STEPS, FIELDS = (
    *(0, 1, 2, 3, 4, 7, 10, 13, 16),
)


def _rows(begin: int, end: int, at: int) -> None:
    f = carray(pointer_to(at, types.int64(0)), FIELDS)
    steps = (f[STEPS], f[STEPS + 1], f[STEPS + 2])
    for k in range(begin, end):
        block, row = k // f[ROWS], k % f[ROWS]
        x = f[STARTS] + block * f[BLOCK_STEPS] + row * f[ROW_STEPS]
        y = f[STARTS + 1] + block * f[BLOCK_STEPS + 1] + row * f[ROW_STEPS + 1]
        out = f[STARTS + 2] + block * f[BLOCK_STEPS + 2] + row * f[ROW_STEPS + 2]
        call_ufunc_loop(f[LOOP], f[CLOSURE], f[INNER], (x, y, out), steps)


@functools.cache
def _rows_natively() -> tuple[Any, Any]:
    signature = types.void(*[types.int64] * 3)
    compiled = compile_native(_rows, signature, source_cache("broadcast", _rows))
    return ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(compiled.address), compiled


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
    address = ctypes.cast(loop, ctypes.c_void_p).value
    fields = np.array([address, data, sizes[2], sizes[1], *starts, *sum(steps, ())], np.int64)
    run, alive = _rows_natively()[0], (x, y, out, fields, found)
    work = functools.partial(_over_rows, run, fields.ctypes.data, alive)
    threads.share(sizes[0] * sizes[1], work)
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


def _over_rows(run: Callable[..., None], at: int, alive: Any, begin: int, end: int) -> None:
    run(begin, end, at)


def _ndim(x: np.ndarray) -> int:
    return x.ndim


def _over_part(
    loop: Callable[..., None], data: int, starts: list[int], steps: list[int],
    operands: tuple[np.ndarray, ...], begin: int, end: int,
) -> None:  # fmt: skip
    """Run the loop over a part; ``operands`` are alive meanwhile, whatever interrupts others."""
    pointers = [start + begin * step for start, step in zip(starts, steps, strict=True)]
    count = len(pointers)
    args = (ctypes.c_int64 * count)(*pointers)
    dimensions = (ctypes.c_int64 * 1)(end - begin)
    strides = (ctypes.c_int64 * count)(*steps)
    loop(ctypes.addressof(args), ctypes.addressof(dimensions), ctypes.addressof(strides), data)

"""Forward functions as inner loops, such as ufuncs have, for primitives that aren't ufuncs.

    void loop(char **args, npy_intp *dimensions, npy_intp *steps, void *data)

What the loop does to each element is the option ``scalar`` of the primitive's declaration. The
result is a new array: it shares no memory with an operand.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import carray, types

from tapegrad.kernels import vectormath
from tapegrad.kernels.cache import KernelCache
from tapegrad.kernels.native import apart, compile_native, load64, pointer_to
from tapegrad.kernels.scalars import on_scalars, stamp
from tapegrad.primitive import Primitive

__all__ = ["compile_loop", "inner_loop"]

_OF_ONE = """\
def {name}(args, dimensions, steps, data):
    n = load64(dimensions)
    x, out, d_x, d_out = load64(args), load64(args + 8), load64(steps), load64(steps + 8)
    if d_x == size and d_out == size:
        X = carray(pointer_to(x, real(0)), n)
        OUT = carray(pointer_to(out, real(0)), n)
        apart(out, x)
        for i in range(n):
            OUT[i] = function(X[i])
    else:
        for i in range(n):
            x_i = carray(pointer_to(x + i * d_x, real(0)), 1)[0]
            carray(pointer_to(out + i * d_out, real(0)), 1)[0] = function(x_i)
"""

_OF_TWO = """\
def {name}(args, dimensions, steps, data):
    n = load64(dimensions)
    x, y, out = load64(args), load64(args + 8), load64(args + 16)
    d_x, d_y, d_out = load64(steps), load64(steps + 8), load64(steps + 16)
    if d_x == size and d_out == size and (d_y == size or d_y == 0):
        X = carray(pointer_to(x, real(0)), n)
        Y = carray(pointer_to(y, real(0)), n)
        OUT = carray(pointer_to(out, real(0)), n)
        apart(out, x, y)
        if d_y == size:
            for i in range(n):
                OUT[i] = function(X[i], Y[i])
        elif n > 0:
            y_0 = Y[0]
            for i in range(n):
                OUT[i] = function(X[i], y_0)
    else:
        for i in range(n):
            x_i = carray(pointer_to(x + i * d_x, real(0)), 1)[0]
            y_i = carray(pointer_to(y + i * d_y, real(0)), 1)[0]
            carray(pointer_to(out + i * d_out, real(0)), 1)[0] = function(x_i, y_i)
"""

# The first one may be a condition. There are no gaps: a step is that of the dtype, or 0.
_OF_THREE = """\
def {name}(args, dimensions, steps, data):
    n = load64(dimensions)
    x, y, z, out = load64(args), load64(args + 8), load64(args + 16), load64(args + 24)
    d_x, d_y, d_z = load64(steps), load64(steps + 8), load64(steps + 16)
    X = carray(pointer_to(x, first(0)), n)
    Y = carray(pointer_to(y, real(0)), n)
    Z = carray(pointer_to(z, real(0)), n)
    OUT = carray(pointer_to(out, real(0)), n)
    apart(out, x, y, z)
    if n == 0:
        return
    y_0, z_0 = Y[0], Z[0]
    if d_x == 0:
        for i in range(n):
            OUT[i] = function(X[0], Y[i if d_y else 0], Z[i if d_z else 0])
    elif d_y == size and d_z == size:
        for i in range(n):
            OUT[i] = function(X[i], Y[i], Z[i])
    elif d_y == size:
        for i in range(n):
            OUT[i] = function(X[i], Y[i], z_0)
    elif d_z == size:
        for i in range(n):
            OUT[i] = function(X[i], y_0, Z[i])
    else:
        for i in range(n):
            OUT[i] = function(X[i], y_0, z_0)
"""
_SOURCES = {1: _OF_ONE, 2: _OF_TWO, 3: _OF_THREE}


def inner_loop(primitive: Primitive, dtype: np.dtype[Any]) -> Any:
    """The compiled loop of a primitive of up to three inputs, for float32 or float64."""
    if isinstance(primitive.scalar, str):
        function, mark = vectormath.of_one[primitive.scalar], vectormath.stamp()
    else:
        written = primitive.forward if primitive.scalar is True else primitive.scalar
        function, mark = on_scalars(written, dtype), stamp(written)
    arity, condition = primitive.arity, primitive.condition
    return compile_loop(primitive.name, function, arity, dtype, mark, condition)


def compile_loop(
    what: str, function: Any, arity: int, dtype: np.dtype[Any], mark: bytes,
    condition: bool = False,
) -> Any:  # fmt: skip
    """The loop around a function that Numba knows; ``mark`` is a digest of its code."""
    name = f"{what}_{dtype.name}_{mark.hex()[:16]}"
    source = _SOURCES[arity].format(name=name)
    real = numba.float32 if dtype == np.float32 else numba.float64
    space = {
        "__name__": __name__,
        "apart": apart,
        "carray": carray,
        "function": function,
        "load64": load64,
        "pointer_to": pointer_to,
        "real": real,
        "size": dtype.itemsize,
        "first": numba.boolean if condition else real,
        "first_size": 1 if condition else dtype.itemsize,
    }
    exec(compile(source, f"<inner loop of {what}>", "exec"), space)
    cache = KernelCache(f"{what}-{dtype.name}", source.encode(), mark)
    signature = types.void(*[types.int64] * 4)
    return compile_native(space[name], signature, cache, fastmath=False)

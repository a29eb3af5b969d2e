"""Machine code that Python calls by C's convention; fused functions of small arrays among it.

`ctypes` takes a microsecond for a call of five operands, which is more than a small array takes.
What is for large arrays is left to the function in Python that `kernels.fused` has for it, which
lets go of the GIL.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import carray, types

from tapegrad.kernels.cache import source_cache
from tapegrad.kernels.native import (
    DIMENSIONS,
    NDIM,
    VECTOR,
    as_float,
    as_int,
    bits_of,
    call,
    call_object,
    compile_native,
    error_occurred,
    held,
    keep_forever,
    load32,
    load64,
    pointer_to,
    store64,
    tuple_get,
    tuple_size,
    vector,
)
from tapegrad.kernels.pool import pool, share
from tapegrad.threads import LARGE_BYTES, SHARED_BYTES

__all__ = ["FLAGS", "INT", "REAL", "Definition", "native_call", "new_function"]

#: METH_FASTCALL | METH_KEYWORDS: ``function(self, args, count, names)``.
FLAGS = 0x80 | 0x02


class Definition(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


_new_function = ctypes.pythonapi.PyCMethod_New
_new_function.restype = ctypes.py_object
_new_function.argtypes = [ctypes.c_void_p, ctypes.py_object, ctypes.py_object, ctypes.c_void_p]


def new_function(definition: int, self: Any) -> Any:
    """The function of a `Definition` at an address, which is called with ``self``."""
    return _new_function(definition, self, "tapegrad", None)


# -- fused functions -------------------------------------------------------------------------------

# Fields; those from OPERANDS on are the kinds of all operands: the bytes of an array's element, or
# one of the others.
NONE, WORK, FALLBACK, RUN, TOOLS, POOL, COUNT, OPERANDS = range(8)
INT, REAL = 0, -1


def _call(self: int, args: int, count: int, names: int) -> int:
    """Run a fused function on ``count, *operands``; None, or 0 with an exception set."""
    fields = carray(pointer_to(as_int(self), types.int64(1)), OPERANDS + VECTOR)
    named = tuple_size(names) if names != 0 else 0
    usual = named == 0 or (named == 1 and tuple_get(names, 0) == fields[WORK])
    if not usual or count != fields[COUNT] + 1:
        return call_object(fields[FALLBACK], args, count, names)
    parts, operands = as_int(load64(args)), args + 8
    values = vector()
    largest = types.int64(0)
    for i in range(count - 1):
        kind, value = fields[OPERANDS + i], load64(operands + 8 * i)
        if kind == INT:
            value = as_int(value)
        elif kind == REAL:
            value = bits_of(as_float(value))
        else:
            nbytes = kind
            for k in range(load32(value + NDIM)):
                nbytes *= load64(load64(value + DIMENSIONS) + 8 * k)
            largest = max(largest, nbytes)
        store64(values + 8 * i, value)
    store64(values + 8 * (count - 1), fields[TOOLS])
    work = as_int(load64(args + 8 * count)) if named == 1 else largest
    if error_occurred() != 0:
        return 0
    if max(work, largest) > LARGE_BYTES:
        return call_object(fields[FALLBACK], args, count, names)
    if work < SHARED_BYTES:
        call(fields[RUN], (types.int64(0), parts, values))
    else:
        share(fields[POOL], fields[RUN], parts, values, work // SHARED_BYTES)
    return held(fields[NONE])


@functools.cache
def _definition() -> Definition:
    compiled = compile_native(
        _call, types.int64(*[types.int64] * 4), source_cache("fused-call", _call)
    )
    definition = Definition(b"fused", compiled.address, FLAGS, None)
    keep_forever((compiled, definition))
    return definition


def native_call(
    run: int, kinds: list[int], tools: int, in_python: Callable[..., None]
) -> Callable[..., None]:
    """A function of ``count, *operands`` for the code at an address; others go to ``in_python``.

    The kinds of operands are the bytes of an array's element, `INT` or `REAL`. The code gets
    their values at an address, and after them ``tools``. It lives as long as the process.
    """
    assert len(kinds) < VECTOR
    known = id(None), id(sys.intern("work")), id(in_python)
    first = *known, run, tools, int(pool().ctypes.data), len(kinds)
    fields = np.array([*first, *kinds], np.int64)
    keep_forever((fields, in_python))
    own = ctypes.addressof(_definition())
    return new_function(own, fields.ctypes.data)

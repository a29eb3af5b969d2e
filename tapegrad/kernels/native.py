"""Numba at the level of addresses: loads, calls through pointers, CPython's C API, compilation.

What is read by offset (NumPy's public ``PyArrayObject_fields``, a reference count) is probed once;
if the probe fails, nothing native is used.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir
import numpy as np
from numba import types
from numba.core.ccallback import CFunc
from numba.extending import intrinsic, overload

from tapegrad.kernels.cache import KernelCache
from tapegrad.primitive import select

__all__ = ["call", "compile_native", "load32", "load64", "pointer_to", "probe"]

I64 = types.int64
_I64 = ir.IntType(64)

# Offsets in PyArrayObject_fields, after the object's head (16 bytes): data, nd, dimensions,
# strides, base, descr, flags. The layout is part of NumPy's public ABI.
DATA, NDIM, DIMENSIONS, STRIDES, FLAGS = 16, 24, 32, 40, 64
C_CONTIGUOUS = 0x1

list_get = types.ExternalFunction("PyList_GetItem", I64(I64, I64))
list_set = types.ExternalFunction("PyList_SetItem", types.int32(I64, I64, I64))
tuple_get = types.ExternalFunction("PyTuple_GetItem", I64(I64, I64))
tuple_size = types.ExternalFunction("PyTuple_Size", I64(I64))
tuple_set = types.ExternalFunction("PyTuple_SetItem", types.int32(I64, I64, I64))
as_int = types.ExternalFunction("PyLong_AsLongLong", I64(I64))
incref = types.ExternalFunction("Py_IncRef", types.void(I64))
allocate = types.ExternalFunction("PyMem_RawMalloc", I64(I64))
release = types.ExternalFunction("PyMem_RawFree", types.void(I64))


@intrinsic
def load64(typingctx: Any, address: Any) -> Any:
    """The 64-bit integer at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(builder.inttoptr(arguments[0], _I64.as_pointer()))

    return I64(I64), generate


@intrinsic
def load32(typingctx: Any, address: Any) -> Any:
    """The 32-bit integer at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], ir.IntType(32).as_pointer())
        return builder.sext(builder.load(pointer), _I64)

    return I64(I64), generate


@intrinsic
def call(typingctx: Any, function: Any, arguments: Any) -> Any:
    """Call the kernel at an address with a tuple of integers."""
    signature = types.void(I64, arguments)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        count = len(signature.args[1])
        kind = ir.FunctionType(ir.VoidType(), [_I64] * count)
        pointer = builder.inttoptr(values[0], kind.as_pointer())
        builder.call(pointer, [builder.extract_value(values[1], i) for i in range(count)])
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def pointer_to(typingctx: Any, address: Any, scalar: Any) -> Any:
    """An address as a pointer to scalars of the type of ``scalar``."""
    pointed = types.CPointer(scalar)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return pointed(I64, scalar), generate


@overload(select)
def _select(condition: Any, x: Any, y: Any) -> Any:
    def chosen(condition: Any, x: Any, y: Any) -> Any:
        return x if condition else y

    return chosen


def compile_native(
    function: Callable[..., Any], signature: Any, cache: KernelCache, **options: Any
) -> Any:
    """Compile a function of integers to one that can be called by its address."""
    compiled = CFunc(
        function,
        (signature.args, signature.return_type),
        locals={},
        options={"error_model": "numpy", "nopython": True, **options},
    )
    compiled._cache = cache  # type: ignore[attr-defined]
    compiled.compile()
    return compiled


def probe() -> bool:
    """Whether arrays and reference counts lie in memory where the native loop looks for them."""

    def word(address: int) -> int:
        return ctypes.c_int64.from_address(address).value

    if ctypes.sizeof(ctypes.c_void_p) != 8 or tuple.__basicsize__ not in (24, 32):
        return False
    array = np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1)[1:]
    at = id(array)
    if word(at + DATA) != array.ctypes.data:
        return False
    if ctypes.c_int32.from_address(at + NDIM).value != array.ndim:
        return False
    sizes = word(at + DIMENSIONS)
    if tuple(word(sizes + 8 * i) for i in range(array.ndim)) != array.shape:
        return False
    strides = word(at + STRIDES)
    if tuple(word(strides + 8 * i) for i in range(array.ndim)) != array.strides:
        return False
    whole = np.arange(6.0).reshape(2, 3)
    flags = [ctypes.c_int32.from_address(id(a) + FLAGS).value for a in (array, whole)]
    if [bool(f & C_CONTIGUOUS) for f in flags] != [False, True]:
        return False
    lonely: list[tuple[Any, ...]] = [(object(), 1, [])]
    return ctypes.c_int32.from_address(id(lonely[0])).value == 1

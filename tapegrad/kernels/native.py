"""Numba at the level of addresses: loads, calls through pointers, CPython's C API, compilation.

What is read by offset (NumPy's public ``PyArrayObject_fields``, a reference count) is probed once;
if the probe fails, nothing native is used.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir
import numpy as np
from numba import types
from numba.core import cgutils
from numba.core.ccallback import CFunc
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import intrinsic, overload, register_jitable

from tapegrad.kernels.cache import KernelCache
from tapegrad.primitive import select

__all__ = [
    "apart",
    "api_function",
    "call",
    "compile_native",
    "keep_forever",
    "load32",
    "load64",
    "offset_of",
    "pointer_to",
    "probe",
    "ufunc_loop",
    "word",
]

I64 = types.int64
_I64 = ir.IntType(64)

#: Where an object's type stands.
TYPE = 8

# Offsets in PyArrayObject_fields, after the object's head (16 bytes): data, nd, dimensions,
# strides, base, descr, flags. The layout is part of NumPy's public ABI.
DATA, NDIM, DIMENSIONS, STRIDES, BASE, DESCR, FLAGS = 16, 24, 32, 40, 48, 56, 64
C_CONTIGUOUS, ALIGNED = 0x1, 0x100

list_set = types.ExternalFunction("PyList_SetItem", types.int32(I64, I64, I64))
list_set_slice = types.ExternalFunction("PyList_SetSlice", types.int32(I64, I64, I64, I64))
tuple_set = types.ExternalFunction("PyTuple_SetItem", types.int32(I64, I64, I64))
as_int = types.ExternalFunction("PyLong_AsLongLong", I64(I64))
as_float = types.ExternalFunction("PyFloat_AsDouble", types.float64(I64))
incref = types.ExternalFunction("Py_IncRef", types.void(I64))
decref = types.ExternalFunction("Py_DecRef", types.void(I64))
list_append = types.ExternalFunction("PyList_Append", types.int32(I64, I64))
tuple_new = types.ExternalFunction("PyTuple_New", I64(I64))
dict_get = types.ExternalFunction("PyDict_GetItem", I64(I64, I64))
dict_set = types.ExternalFunction("PyDict_SetItem", types.int32(I64, I64, I64))
dict_size = types.ExternalFunction("PyDict_Size", I64(I64))
set_add = types.ExternalFunction("PySet_Add", types.int32(I64, I64))
set_size = types.ExternalFunction("PySet_Size", I64(I64))
set_contains = types.ExternalFunction("PySet_Contains", types.int32(I64, I64))
thread_identity = types.ExternalFunction("PyThread_get_thread_ident", I64())
start_thread = types.ExternalFunction("PyThread_start_new_thread", I64(I64, I64))
lock_acquire = types.ExternalFunction("PyThread_acquire_lock", types.int32(I64, types.int32))
lock_acquire_timed = types.ExternalFunction(
    "PyThread_acquire_lock_timed", types.int32(I64, I64, types.int32)
)
lock_release = types.ExternalFunction("PyThread_release_lock", types.void(I64))
if hasattr(os, "sched_yield"):
    yield_processor = types.ExternalFunction("sched_yield", types.int32())
else:

    @register_jitable
    def yield_processor() -> None:
        """Nothing: there is no such function here."""


as_object = types.ExternalFunction("PyLong_FromLongLong", I64(I64))
weakly_held = types.ExternalFunction("PyWeakref_GetObject", I64(I64))
slice_unpack = types.ExternalFunction("PySlice_Unpack", types.int32(I64, I64, I64, I64))
slice_adjust = types.ExternalFunction("PySlice_AdjustIndices", I64(I64, I64, I64, I64))
error_matches = types.ExternalFunction("PyErr_ExceptionMatches", types.int32(I64))
error_occurred = types.ExternalFunction("PyErr_Occurred", I64())
clear_error = types.ExternalFunction("PyErr_Clear", types.void())
next_of = types.ExternalFunction("PyIter_Next", I64(I64))
new_object = types.ExternalFunction("PyType_GenericAlloc", I64(I64, I64))
untrack = types.ExternalFunction("PyObject_GC_UnTrack", types.void(I64))
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
def apart(typingctx: Any, written: Any, *read: Any) -> Any:
    """Promise LLVM that nothing is reached from the first address and from one of the others.

    So a loop over short arrays is vectorised where they lie beside each other, too.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(1)])
        assume = cgutils.get_or_insert_function(builder.module, kind, "llvm.assume")
        addresses = [arguments[0], *cgutils.unpack_tuple(builder, arguments[1])]
        first, *others = [builder.inttoptr(a, ir.IntType(8).as_pointer()) for a in addresses]
        for other in others:
            promise = builder.call(assume, [ir.IntType(1)(1)])
            both = ", ".join(f"{p.type} {p.get_reference()}" for p in (first, other))
            # A bundle of operands: llvmlite knows none, but it writes attributes at their place.
            set.add(promise.attributes, f'["separate_storage"({both})]')
        return context.get_dummy_value()

    return types.void(I64, types.StarArgTuple(read)), generate


# A record is read by some thirty small steps, each of which would be a call of CPython's C API: a
# quarter of the time of the backward loop. So tuples, lists and small ints are read where they lie,
# which `probe` has looked up.

#: Where a tuple's items begin, where a list has the address of its items, and where both have their
#: number; an int has its sign and number of digits there, and then the digits.
ITEMS, LIST_ITEMS, COUNT, DIGITS = tuple.__basicsize__, 24, 16, 24
#: From Python 3.12 on the sign stands beside the number of digits.
TAGGED = sys.version_info >= (3, 12)


def _loaded(builder: Any, address: Any, offset: Any) -> Any:
    pointer = builder.inttoptr(builder.add(address, offset), _I64.as_pointer())
    return builder.load(pointer)


# (Intrinsics: inlined by Numba they would double the time to compile what uses them.)


@intrinsic
def tuple_get(typingctx: Any, items: Any, index: Any) -> Any:
    """An item of a tuple, borrowed."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        offset = builder.add(_I64(ITEMS), builder.mul(_I64(8), values[1]))
        return _loaded(builder, values[0], offset)

    return I64(I64, I64), generate


@intrinsic
def tuple_size(typingctx: Any, items: Any) -> Any:
    """The number of items of a tuple."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _loaded(builder, values[0], _I64(COUNT))

    return I64(I64), generate


@intrinsic
def list_get(typingctx: Any, items: Any, index: Any) -> Any:
    """An item of a list, borrowed."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        first = _loaded(builder, values[0], _I64(LIST_ITEMS))
        return _loaded(builder, first, builder.mul(_I64(8), values[1]))

    return I64(I64, I64), generate


@intrinsic
def own_int(typingctx: Any, value: Any) -> Any:
    """An int of at most 64 bits that is nothing else, as tapegrad's own are (`as_int`: any)."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        count = _loaded(builder, values[0], _I64(COUNT))
        if TAGGED:
            # 3 bits of flags: 0 positive, 1 zero, 2 negative.
            small = builder.icmp_unsigned("<", count, _I64(16))
            sign = builder.sub(_I64(1), builder.and_(count, _I64(3)))
        else:
            small = builder.icmp_unsigned("<", builder.add(count, _I64(1)), _I64(3))
            sign = count
        result = cgutils.alloca_once(builder, _I64)
        with builder.if_else(small, likely=True) as (then, otherwise):
            with then:
                at = builder.inttoptr(
                    builder.add(values[0], _I64(DIGITS)), ir.IntType(32).as_pointer()
                )
                digits = builder.zext(builder.load(at), _I64)
                builder.store(builder.mul(sign, digits), result)
            with otherwise:
                kind = ir.FunctionType(_I64, [_I64])
                function = cgutils.get_or_insert_function(builder.module, kind, "PyLong_AsLongLong")
                builder.store(builder.call(function, values), result)
        return builder.load(result)

    return I64(I64), generate


@intrinsic
def bits_of(typingctx: Any, x: Any) -> Any:
    """The bits of a float64, as an integer."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.bitcast(values[0], _I64)

    return I64(types.float64), generate


@intrinsic
def float_of(typingctx: Any, bits: Any) -> Any:
    """The float64 of these bits."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.bitcast(values[0], ir.DoubleType())

    return types.float64(I64), generate


@intrinsic
def store64(typingctx: Any, address: Any, value: Any) -> Any:
    """Put a 64-bit integer at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[1], builder.inttoptr(arguments[0], _I64.as_pointer()))
        return context.get_dummy_value()

    return types.void(I64, I64), generate


@intrinsic
def held(typingctx: Any, reference: Any) -> Any:
    """The reference itself, after ``Py_IncRef``: for functions that take a reference over."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [_I64])
        function = cgutils.get_or_insert_function(builder.module, kind, "Py_IncRef")
        builder.call(function, values)
        return values[0]

    return I64(I64), generate


@intrinsic
def call_object(typingctx: Any, function: Any, args: Any, count: Any, names: Any) -> Any:
    """Call a Python object by `PyObject_Vectorcall`; a new reference, or 0 with an exception."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _vectorcall(builder, *values)

    return I64(I64, I64, I64, I64), generate


@intrinsic
def call_with_self(
    typingctx: Any, function: Any, self: Any, args: Any, values: Any, count: Any, names: Any
) -> Any:
    """The same with ``self`` before the arguments, of which ``values`` lie at ``args``."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        function, self, args, values, count, names = given
        stack = builder.alloca(_I64, builder.add(values, _I64(1)))
        builder.store(self, stack)
        source = builder.inttoptr(args, _I64.as_pointer())
        cgutils.raw_memcpy(builder, builder.gep(stack, [_I64(1)]), source, values, _I64(8))
        count = builder.add(count, _I64(1))
        return _vectorcall(builder, function, builder.ptrtoint(stack, _I64), count, names)

    return I64(*[I64] * 6), generate


#: How many values `vector` has room for.
VECTOR = 32


@intrinsic
def vector(typingctx: Any) -> Any:
    """The address of room for some values on the stack."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.ptrtoint(cgutils.alloca_once(builder, _I64, VECTOR), _I64)

    return I64(), generate


def _vectorcall(builder: Any, *arguments: Any) -> Any:
    kind = ir.FunctionType(_I64, [_I64] * 4)
    function = cgutils.get_or_insert_function(builder.module, kind, "PyObject_Vectorcall")
    return builder.call(function, arguments)


@intrinsic
def call_ufunc_loop(
    typingctx: Any, function: Any, data: Any, n: Any, arrays: Any, strides: Any
) -> Any:
    """Run the inner loop of a ufunc, at an address, over n elements of the arrays."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        count = len(signature.args[3])
        given = [
            _stacked(builder, [builder.extract_value(values[k], i) for i in range(count)])
            for k in (3, 4)
        ]
        kind = ir.FunctionType(ir.VoidType(), [_I64] * 4)
        loop = builder.inttoptr(values[0], kind.as_pointer())
        builder.call(loop, [given[0], _stacked(builder, [values[2]]), given[1], values[1]])
        return context.get_dummy_value()

    return types.void(I64, I64, I64, arrays, strides), generate


@intrinsic
def call_new_array(typingctx: Any, function: Any, arguments: Any) -> Any:
    """NumPy's ``PyArray_NewFromDescr``, at an address: a new array, or 0 with an exception."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = ir.FunctionType(_I64, [_I64] * 8)
        make = builder.inttoptr(values[0], kind.as_pointer())
        return builder.call(make, [builder.extract_value(values[1], i) for i in range(8)])

    return I64(I64, arguments), generate


def _stacked(builder: Any, values: Any) -> Any:
    """The address of a piece of the stack that holds the values."""
    stack = cgutils.alloca_once(builder, _I64, len(values))
    for i, value in enumerate(values):
        builder.store(value, builder.gep(stack, [_I64(i)]))
    return builder.ptrtoint(stack, _I64)


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
def call_structural(typingctx: Any, function: Any, arguments: Any) -> Any:
    """Call the structural kernel at an address with a tuple of integers."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = ir.FunctionType(_I64, [_I64] * 7)
        pointer = builder.inttoptr(values[0], kind.as_pointer())
        return builder.call(pointer, [builder.extract_value(values[1], i) for i in range(7)])

    return I64(I64, arguments), generate


@intrinsic
def copy_bytes(typingctx: Any, to: Any, source: Any, count: Any) -> Any:
    """Copy memory from one address to another."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointers = [builder.inttoptr(v, _I64.as_pointer()) for v in values[:2]]
        cgutils.raw_memcpy(builder, *pointers, values[2], _I64(1))
        return context.get_dummy_value()

    return types.void(I64, I64, I64), generate


@intrinsic
def pointer_to(typingctx: Any, address: Any, scalar: Any) -> Any:
    """An address as a pointer to scalars of the type of ``scalar``."""
    pointed = types.CPointer(scalar)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return pointed(I64, scalar), generate


@intrinsic
def like(typingctx: Any, zero: Any, value: Any) -> Any:
    """A number in the type of another one."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return context.cast(builder, values[1], signature.args[1], signature.return_type)

    return zero(zero, value), generate


@intrinsic
def size_of(typingctx: Any, zero: Any) -> Any:
    """The bytes of a number of a real type."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _I64(zero.bitwidth // 8)

    return I64(zero), generate


@overload(select)
def _select(condition: Any, x: Any, y: Any) -> Any:
    def chosen(condition: Any, x: Any, y: Any) -> Any:
        return x if condition else y

    return chosen


if hasattr(os, "register_at_fork"):
    # Who compiled at a fork isn't in the child process to let go of the lock, nor to go on.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


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


def keep_forever(thing: Any) -> None:
    """Keep an object until the process ends: code that may run last of all has its address.

    Being in a module's dictionary isn't enough: that is emptied while user's objects still live.
    """
    increment = ctypes.pythonapi.Py_IncRef
    increment.restype, increment.argtypes = None, [ctypes.py_object]
    increment(thing)


def word(address: int) -> int:
    """The 64-bit integer at an address, for Python."""
    return ctypes.c_int64.from_address(address).value


def offset_of(kind: Any, slot: str) -> int:
    """Where the objects of a class have a slot."""
    thing: Any = kind.__new__(kind)
    mark = object()
    setattr(thing, slot, mark)
    (offset,) = [i for i in range(16, kind.__basicsize__, 8) if word(id(thing) + i) == id(mark)]
    return offset


def api_function(number: int) -> int:
    """The address of a function of NumPy's C API, by its number in the table."""
    umath = importlib.import_module("numpy._core._multiarray_umath")  # which has no types
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return word(pointer(umath._ARRAY_API, None) + 8 * number)


def ufunc_loop(ufunc: Any, kinds: str) -> tuple[int, int] | None:
    """The inner loop of a ufunc for operands of some kinds ("dd->d"), and what it is given.

    None if there is none, or if PyUFuncObject isn't laid out as in NumPy's public header: after
    four counts the loops, their data, the number of loops, a name and the kinds.
    """
    if not isinstance(ufunc, np.ufunc) or kinds not in ufunc.types:
        return None
    counts = (ctypes.c_int32 * 4).from_address(id(ufunc) + 16)
    loops, data, _, _, table = (word(id(ufunc) + 32 + 8 * i) for i in range(5))
    if list(counts)[:3] != [ufunc.nin, ufunc.nout, ufunc.nargs]:
        return None
    index = ufunc.types.index(kinds)
    found = ctypes.string_at(table + index * ufunc.nargs, ufunc.nargs)
    loop = word(loops + 8 * index)
    if [np.dtype(kind).num for kind in kinds.replace("->", "")] != list(found) or not loop:
        return None
    return loop, word(data + 8 * index)


def _functions() -> list[str]:
    """The functions of CPython that are called: one that is missing would end the process."""
    things = globals().values()
    named = [t.symbol for t in things if isinstance(t, types.ExternalFunction)]
    return [*named, "PyObject_Vectorcall"]


def probe() -> bool:
    """Whether arrays and reference counts lie in memory where the native loop looks for them."""
    if ctypes.sizeof(ctypes.c_void_p) != 8 or tuple.__basicsize__ not in (24, 32):
        return False
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return False
    if any(not hasattr(ctypes.pythonapi, name) for name in _functions()):
        return False
    array = np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1)[1:]
    at = id(array)
    if word(at + DATA) != array.ctypes.data:
        return False
    if ctypes.c_int32.from_address(at + NDIM).value != array.ndim:
        return False
    if word(at + TYPE) != id(np.ndarray) or word(at + DESCR) != id(array.dtype):
        return False
    dimensions = word(at + DIMENSIONS)
    if tuple(word(dimensions + 8 * i) for i in range(array.ndim)) != array.shape:
        return False
    strides = word(at + STRIDES)
    if tuple(word(strides + 8 * i) for i in range(array.ndim)) != array.strides:
        return False
    whole = np.arange(6.0).reshape(2, 3)
    flags = [ctypes.c_int32.from_address(id(a) + FLAGS).value for a in (array, whole)]
    if [bool(f & C_CONTIGUOUS) for f in flags] != [False, True] or not flags[1] & ALIGNED:
        return False
    items: Any = (object(), [object(), 1])
    if [word(id(items) + ITEMS + 8 * i) for i in range(2)] != list(map(id, items)):
        return False
    if word(id(items) + COUNT) != 2 or word(id(items[1]) + COUNT) != 2:
        return False
    if word(word(id(items[1]) + LIST_ITEMS) + 8) != id(items[1][1]):
        return False
    for number in (0, 1, -1, 10_000, -10_000, (1 << 30) - 1):
        sign = (number > 0) - (number < 0)
        count = word(id(number) + COUNT)
        if TAGGED:  # the third bit marks an int that lives forever, from Python 3.14 on
            count, sign = count & ~4, abs(sign) << 3 | 1 - sign
        digits = ctypes.c_uint32.from_address(id(number) + DIGITS).value
        if count != sign or digits != abs(number):
            return False
    lonely: list[tuple[Any, ...]] = [(object(), 1, [])]
    return ctypes.c_int32.from_address(id(lonely[0])).value == 1

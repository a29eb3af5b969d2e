"""The short recording paths, natively: `recording.unary` and `recording.binary`, as machine code.

    z = x * y       Tensor.__mul__ is a method in C, which runs NumPy's inner loop for two Tensors
                    of one spec (or a Tensor and a number) and appends the record

What it does is what those functions do, step by step, through CPython's C API; in every other case
(another type, spec or mode, memory that isn't contiguous) it calls them. One function is compiled,
and cached like every kernel; a method of it is a trampoline of three instructions that adds the
address of the operator's own fields.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from typing import Any

from numba import carray, types

from tapegrad.kernels.cache import KernelCache
from tapegrad.kernels.layout import (
    ARRAY_SLOT,
    AS_BOOL_SLOT,
    BYTES,
    CONSTANTS_SLOT,
    DESCR_32,
    DESCR_64,
    DESCR_BOOL,
    FLOAT,
    INT,
    LIMIT,
    NDARRAY,
    NEW_ARRAY,
    NONE,
    NUMBER_SLOT,
    PAUSED,
    PLACE_SLOT,
    PLAIN,
    RECORDS,
    SERIALS,
    SHARED_FIELDS,
    SHORT_SLOT,
    SPEC_SLOT,
    SWEEP,
    TENSOR,
    TRUE,
    ZERO,
)
from tapegrad.kernels.native import (
    ALIGNED,
    C_CONTIGUOUS,
    DATA,
    DESCR,
    DIMENSIONS,
    FLAGS,
    NDIM,
    STRIDES,
    TYPE,
    as_float,
    as_int,
    call_new_array,
    call_object,
    call_ufunc_loop,
    call_with_self,
    compile_native,
    decref,
    dict_get,
    dict_size,
    held,
    incref,
    list_append,
    load32,
    load64,
    new_object,
    next_of,
    pointer_to,
    store64,
    thread_identity,
    tuple_new,
    tuple_set,
    tuple_size,
    untrack,
)
from tapegrad.spec import CONSTANTS, SMALL_BYTES
from tapegrad.tape import SWEEP_BYTES

__all__ = ["compile_forward"]

# Fields of an operator.
(
    SHARED,  # address of what all operators share
    FALLBACK,  # id of the function in Python
    ARITY,
    CODE,  # id of the primitive's number
    SWAPPED,  # the method's own Tensor is the operand on the right
    NUMBERS,  # the other operand may be a number
    RULED,  # there is a derivative for the own Tensor
    RULED_OTHER,
    AS_BOOL,  # the result is one of bools, and no record is made
    LOOP_32,  # address of the ufunc's inner loop for float32
    DATA_32,  # what that loop is given
    LOOP_64,
    DATA_64,
    SAVES_X_FOR_X,
    SAVES_Y_FOR_X,
    SAVES_OUT_FOR_X,
    SAVES_X_FOR_Y,
    SAVES_Y_FOR_Y,
    SAVES_OUT_FOR_Y,
) = range(19)
OPERATOR_FIELDS = 19


def _forward(operator: int, self: int, args: int, count: int, names: int) -> int:
    """Run an operator on ``self`` (0: a function's call) and ``count`` arguments at ``args``.

    Returns a new reference, or 0 with an exception set.
    """
    one = types.int64(1)
    op = carray(pointer_to(operator, one), OPERATOR_FIELDS)
    shared = carray(pointer_to(op[SHARED], one), SHARED_FIELDS)
    arity = op[ARITY]
    none = shared[NONE]
    x = y = x_array = y_array = spec = descr = types.int64(0)
    x_place = y_place = none
    own = 1 if self != 0 else 0
    ready = count + own == arity and names == 0
    recording = load64(shared[PLAIN]) == shared[TRUE]
    if not recording:
        paused = load64(shared[PAUSED])
        ready = ready and paused != none
        recording = ready and as_int(paused) != thread_identity()
    if ready:
        x = self if self != 0 else load64(args)
        ready = load64(x + TYPE) == shared[TENSOR]
    if ready:
        spec = load64(x + shared[SPEC_SLOT])
        x_array = load64(x + shared[ARRAY_SLOT])
        x_place = load64(x + shared[PLACE_SLOT])
        descr = load64(x_array + DESCR)
        ready = load64(spec + shared[SHORT_SLOT]) == shared[TRUE] and (
            descr == shared[DESCR_32] or descr == shared[DESCR_64]
        )
    number = False  # whether y is one of which no array is kept
    if ready and arity == 2:
        y = load64(args + 8 * (1 - own))
        kind = load64(y + TYPE)
        if kind == shared[TENSOR]:
            ready = load64(y + shared[SPEC_SLOT]) == spec and op[SWAPPED] == 0
            y_array = load64(y + shared[ARRAY_SLOT])
            y_place = load64(y + shared[PLACE_SLOT])
            ready = ready and load64(y_array + DESCR) == descr
        elif op[NUMBERS] != 0 and (kind == shared[FLOAT] or kind == shared[INT]):
            y_array = dict_get(load64(spec + shared[CONSTANTS_SLOT]), y)
            # A number that isn't kept: Python keeps it, or (as 0) it is made an array each time.
            number = y_array == 0
            kept = dict_size(load64(spec + shared[CONSTANTS_SLOT]))
            ready = not number or y == shared[ZERO]
            if number and kind == shared[FLOAT]:
                ready = kept >= CONSTANTS or as_float(y) == 0
        else:
            ready = False
    itemsize = types.int64(4 if descr == shared[DESCR_32] else 8)
    n = types.int64(1)
    ndim = x_stride = y_stride = types.int64(0)
    if ready:
        # Vectors may have any stride, arrays of more dimensions are one run of memory.
        ndim = load32(x_array + NDIM)
        dimensions = load64(x_array + DIMENSIONS)
        for i in range(ndim):
            n *= load64(dimensions + 8 * i)
        flags = load32(x_array + FLAGS)
        if ndim > 0:
            x_stride = load64(load64(x_array + STRIDES)) if ndim == 1 else itemsize
        if y_array != 0:
            y_flags = load32(y_array + FLAGS)
            if load32(y_array + NDIM) > 0:
                y_stride = load64(load64(y_array + STRIDES)) if ndim == 1 else itemsize
                flags &= y_flags
            else:
                flags &= y_flags | C_CONTIGUOUS
        ready = flags & ALIGNED != 0 and (ndim == 1 or flags & C_CONTIGUOUS != 0)
    loop = op[LOOP_32] if itemsize == 4 else op[LOOP_64]
    closure = op[DATA_32] if itemsize == 4 else op[DATA_64]
    ready = ready and loop != 0  # or Python compiles it
    out_spec = spec
    out_descr = descr
    if ready and op[AS_BOOL] != 0:
        out_spec = load64(spec + shared[AS_BOOL_SLOT])
        out_descr = shared[DESCR_BOOL]
        ready = out_spec != none  # or Python makes it
    if op[RULED] == 0:
        x_place = none
    if op[RULED_OTHER] == 0:
        y_place = none
    if not ready:
        if self == 0:
            return call_object(op[FALLBACK], args, count, names)
        values = count + (tuple_size(names) if names != 0 else 0)
        return call_with_self(op[FALLBACK], self, args, values, count, names)

    # Held from here on: an allocation may run the cycle collector, and that anything.
    incref(x_array)
    incref(x_place)
    incref(y_place)
    incref(out_spec)
    if number:
        incref(descr)
        y_array = call_new_array(shared[NEW_ARRAY], (shared[NDARRAY], descr, 0, 0, 0, 0, 0, 0))
        if y_array == 0:
            return 0
        if itemsize == 4:
            carray(pointer_to(load64(y_array + DATA), types.float32(0)), 1)[0] = as_float(y)
        else:
            carray(pointer_to(load64(y_array + DATA), types.float64(0)), 1)[0] = as_float(y)
    elif arity == 2:
        incref(y_array)
    incref(out_descr)
    dimensions = load64(x_array + DIMENSIONS)
    array = call_new_array(
        shared[NEW_ARRAY], (shared[NDARRAY], out_descr, ndim, dimensions, 0, 0, 0, 0)
    )
    if array == 0:
        return 0
    out_size = types.int64(1) if op[AS_BOOL] != 0 else itemsize
    if op[SWAPPED]:
        x_array, y_array = y_array, x_array
        x_place, y_place = y_place, x_place
        x_stride, y_stride = y_stride, x_stride
    x_data = load64(x_array + DATA)
    data = load64(array + DATA)
    if arity == 1:
        call_ufunc_loop(loop, closure, n, (x_data, data), (x_stride, out_size))
    else:
        y_data = load64(y_array + DATA)
        call_ufunc_loop(loop, closure, n, (x_data, y_data, data), (x_stride, y_stride, out_size))

    out = new_object(shared[TENSOR], 0)
    if out == 0:
        return 0
    store64(out + shared[ARRAY_SLOT], array)
    store64(out + shared[SPEC_SLOT], out_spec)
    for_x = recording and x_place != none
    for_y = recording and y_place != none
    if not (for_x or for_y):
        decref(x_array)
        if arity == 2:
            decref(y_array)
        store64(out + shared[PLACE_SLOT], held(none))
        decref(x_place)
        decref(y_place)
        return out
    record = tuple_new(5 + 2 * arity)
    serial = next_of(shared[SERIALS])
    if serial == 0 or record == 0:
        return 0
    incref(serial)
    store64(out + shared[PLACE_SLOT], serial)
    tuple_set(record, 0, serial)
    tuple_set(record, 1, held(op[CODE]))
    tuple_set(record, 2, held(load64(spec + shared[NUMBER_SLOT])))
    tuple_set(record, 3, held(none))
    tuple_set(record, 4, x_place)
    if (for_x and op[SAVES_X_FOR_X]) or (for_y and op[SAVES_X_FOR_Y]):
        tuple_set(record, 4 + arity, x_array)
    else:
        tuple_set(record, 4 + arity, held(none))
        decref(x_array)
    if arity == 2:
        tuple_set(record, 5, y_place)
        if (for_x and op[SAVES_Y_FOR_X]) or (for_y and op[SAVES_Y_FOR_Y]):
            tuple_set(record, 7, y_array)
        else:
            tuple_set(record, 7, held(none))
            decref(y_array)
    else:
        decref(y_place)
    saved = none
    if (for_x and op[SAVES_OUT_FOR_X]) or (for_y and op[SAVES_OUT_FOR_Y]):
        saved = array
    tuple_set(record, 4 + 2 * arity, held(saved))
    # Numbers and arrays: nothing that the collector has to follow.
    untrack(record)
    appended = list_append(shared[RECORDS], record)
    decref(record)
    if appended != 0:
        return 0
    if n * itemsize > SMALL_BYTES:
        shared[BYTES] += (arity + 1) * n * itemsize
    if as_int(serial) > as_int(load64(shared[LIMIT])) or shared[BYTES] > SWEEP_BYTES:
        shared[BYTES] = 0
        swept = call_object(shared[SWEEP], 0, 0, 0)
        if swept == 0:
            decref(out)
            return 0
        decref(swept)
    return out


def compile_forward() -> Any:
    """The compiled function, from the cache where it is there."""
    module = sys.modules[__name__]
    native = sys.modules["tapegrad.kernels.native"]
    layout = sys.modules["tapegrad.kernels.layout"]
    source = "".join(map(inspect.getsource, (module, native, layout)))
    cache = KernelCache("forward", hashlib.sha256(source.encode()).digest())
    return compile_native(_forward, types.int64(*[types.int64] * 5), cache)

"""Elementwise functions of three inputs, natively, as `kernels.forward` runs those of two.

The inputs are Tensors of one spec, or numbers; the first one may be a condition. Whatever else
there is, such as a shape to broadcast, is Python's.
"""

from __future__ import annotations

from typing import Any

from numba import carray, types

from tapegrad.kernels.cache import source_cache
from tapegrad.kernels.layout import (
    ARRAY_SLOT,
    CONSTANTS_SLOT,
    DESCR_32,
    DESCR_64,
    DESCR_BOOL,
    DETACHED_SLOT,
    FLOAT,
    INT,
    NBYTES_SLOT,
    NDARRAY,
    NEW_ARRAY,
    NONE,
    NUMBER_SLOT,
    PLACE_SLOT,
    RECORDS,
    SERIALS,
    SHAPE_SLOT,
    SHARED_FIELDS,
    SHORT_SLOT,
    SPEC_SLOT,
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
    TYPE,
    as_float,
    as_int,
    call_new_array,
    call_object,
    call_ufunc_loop,
    compile_native,
    decref,
    dict_get,
    held,
    list_append,
    load32,
    load64,
    new_object,
    next_of,
    pointer_to,
    store64,
    tuple_get,
    tuple_new,
    tuple_set,
    untrack,
    vector,
)
from tapegrad.kernels.spreading import has_shape
from tapegrad.kernels.steps import OTHERWISE, RECORDING, is_settled, mode_of, sweep_if_due
from tapegrad.spec import SMALL_BYTES

__all__ = ["compile_ternary"]

# Fields of an operator; sets of inputs are bits.
(
    SHARED,  # address of what all operators share
    FALLBACK,  # id of the function in Python
    CODE,  # id of the primitive's number
    CONDITION,  # 1 if the first input is one of bools
    RULED,  # the inputs for which there is a derivative
    SAVES_FOR_X,  # what is saved for each input: inputs, and 8 the result
    SAVES_FOR_Y,
    SAVES_FOR_Z,
    LOOP_32,  # address of the inner loop for float32
    DATA_32,  # what that loop is given
    LOOP_64,
    DATA_64,
) = range(12)
OPERATOR_FIELDS = 12


def _ternary(operator: int, self: int, args: int, count: int, names: int) -> int:
    """Run an operator on three arguments; a new reference, or 0 with an exception set."""
    one = types.int64(1)
    op = carray(pointer_to(operator, one), OPERATOR_FIELDS)
    shared = carray(pointer_to(op[SHARED], one), SHARED_FIELDS)
    none = shared[NONE]
    mode = mode_of(shared)
    ready = count == 3 and names == 0 and mode != OTHERWISE
    first = at = types.int64(0)  # the first Tensor of those that aren't a condition
    for i in range(op[CONDITION], 3 if ready else 0):
        x = load64(args + 8 * i)
        if first == 0 and load64(x + TYPE) == shared[TENSOR]:
            first, at = x, i
    ready = first != 0 and load64(first + shared[SPEC_SLOT]) != 0
    spec = shape = descr = itemsize = types.int64(0)
    if ready:
        spec = load64(load64(first + shared[SPEC_SLOT]) + shared[DETACHED_SLOT])
        shape = load64(spec + shared[SHAPE_SLOT])
        array = load64(first + shared[ARRAY_SLOT])
        descr = load64(array + DESCR) if array != 0 else array
        itemsize = types.int64(4 if descr == shared[DESCR_32] else 8)
        ready = load64(spec + shared[SHORT_SLOT]) == shared[TRUE]
        ready = ready and (descr == shared[DESCR_32] or descr == shared[DESCR_64])
    loop = op[LOOP_32] if itemsize == 4 else op[LOOP_64]
    closure = op[DATA_32] if itemsize == 4 else op[DATA_64]
    ready = ready and loop != 0  # without a loop Python compiles it
    # Of each input its array (0: one is to be made), its place and its step.
    arrays, places, steps = vector(), vector(), vector()
    mask = types.int64(0)
    for i in range(3 if ready else 0):
        x = load64(args + 8 * i)
        kind = load64(x + TYPE)
        array = types.int64(0)
        place = none
        step = itemsize
        if kind == shared[TENSOR]:
            array, place = load64(x + shared[ARRAY_SLOT]), load64(x + shared[PLACE_SLOT])
            wanted = descr
            if i < op[CONDITION]:
                wanted, step = shared[DESCR_BOOL], types.int64(1)
            ready = ready and array != 0 and place != 0 and load64(x + shared[SPEC_SLOT]) != 0
            ready = ready and is_settled(shared, x) and load64(array + TYPE) == shared[NDARRAY]
            ready = ready and load64(array + DESCR) == wanted and has_shape(array, shape)
            # A person can set an array's shape: the spec has to know it.
            own = load64(load64(x + shared[SPEC_SLOT]) + shared[DETACHED_SLOT]) if ready else spec
            ready = ready and (own == spec or has_shape(array, load64(own + shared[SHAPE_SLOT])))
            flags = load32(array + FLAGS) if ready else types.int64(0)
            ready = ready and flags & C_CONTIGUOUS != 0 and flags & ALIGNED != 0
            if place != none and op[RULED] >> i & 1 != 0:
                mask |= one << i
        elif i >= op[CONDITION] and (kind == shared[FLOAT] or kind == shared[INT]):
            array = dict_get(load64(spec + shared[CONSTANTS_SLOT]), x)
            # Zeros aren't kept, since there are two of them.
            zero = x == shared[ZERO] or (kind == shared[FLOAT] and as_float(x) == 0)
            ready = ready and (array != 0 or zero)
            step = types.int64(0)
        else:
            ready = False
        store64(arrays + 8 * i, array)
        store64(places + 8 * i, place)
        store64(steps + 8 * i, step)
    if not ready:
        return call_object(op[FALLBACK], args, count, names)

    # Held from here on: an allocation may run the cycle collector, and that anything.
    kept = tuple_new(7)  # the arrays, their places, the result's
    if kept != 0:
        untrack(kept)  # the collector needn't see it before it is whole
    for i in range(3 if kept != 0 else 0):
        array = load64(arrays + 8 * i)
        if array != 0:
            tuple_set(kept, i, held(array))
        tuple_set(kept, 3 + i, held(load64(places + 8 * i)))
    whole = kept != 0
    for i in range(3 if whole else 0):
        if load64(arrays + 8 * i) == 0:
            array = call_new_array(
                shared[NEW_ARRAY], (shared[NDARRAY], held(descr), 0, 0, 0, 0, 0, 0)
            )
            whole = whole and array != 0
            if array != 0:
                data = load64(array + DATA)
                value = as_float(load64(args + 8 * i))
                if itemsize == 4:
                    carray(pointer_to(data, types.float32(0)), 1)[0] = value
                else:
                    carray(pointer_to(data, types.float64(0)), 1)[0] = value
                tuple_set(kept, i, array)
    out = types.int64(0)
    if whole:
        like = tuple_get(kept, at)
        array = call_new_array(
            shared[NEW_ARRAY],
            (shared[NDARRAY], held(descr), load32(like + NDIM), load64(like + DIMENSIONS),
             0, 0, 0, 0),
        )  # fmt: skip
        if array != 0:
            tuple_set(kept, 6, array)
            n = as_int(load64(spec + shared[NBYTES_SLOT])) // itemsize
            data = (
                load64(tuple_get(kept, 0) + DATA), load64(tuple_get(kept, 1) + DATA),
                load64(tuple_get(kept, 2) + DATA), load64(array + DATA),
            )  # fmt: skip
            along = (load64(steps), load64(steps + 8), load64(steps + 16), itemsize)
            call_ufunc_loop(loop, closure, n, data, along)
            out = new_object(shared[TENSOR], 0)
    if mode != RECORDING:
        mask = types.int64(0)
    record = serial = types.int64(0)
    if out != 0 and mask != 0:
        record = tuple_new(11)
        serial = next_of(shared[SERIALS])
    if out == 0 or (mask != 0 and (record == 0 or serial == 0)):
        # Out of memory, with an exception set. What is 0 is let go of, too.
        decref(kept)
        decref(record)
        decref(serial)
        decref(out)
        return 0
    array = tuple_get(kept, 6)
    store64(out + shared[ARRAY_SLOT], held(array))
    store64(out + shared[SPEC_SLOT], held(spec))
    if mask == 0:
        store64(out + shared[PLACE_SLOT], held(none))
        decref(kept)
        return out
    store64(out + shared[PLACE_SLOT], held(serial))
    saves = types.int64(0)
    for i in range(3):
        if mask >> i & 1 != 0:
            saves |= op[SAVES_FOR_X + i]
    tuple_set(record, 0, serial)
    tuple_set(record, 1, held(op[CODE]))
    tuple_set(record, 2, held(load64(spec + shared[NUMBER_SLOT])))
    tuple_set(record, 3, held(none))
    for i in range(3):
        tuple_set(record, 4 + i, held(tuple_get(kept, 3 + i) if mask >> i & 1 != 0 else none))
        tuple_set(record, 7 + i, held(tuple_get(kept, i) if saves >> i & 1 != 0 else none))
    tuple_set(record, 10, held(array if saves & 8 != 0 else none))
    # Numbers and arrays: nothing that the collector has to follow.
    untrack(record)
    appended = list_append(shared[RECORDS], record)
    number_of = as_int(serial)
    decref(record)
    decref(kept)
    nbytes = as_int(load64(spec + shared[NBYTES_SLOT]))
    if nbytes > SMALL_BYTES:
        nbytes *= 4  # small arrays don't count, as in the short paths
    if appended != 0 or not sweep_if_due(shared, number_of, nbytes):
        decref(out)
        return 0
    return out


def compile_ternary() -> Any:
    """The compiled function, from the cache where it is there."""
    cache = source_cache("ternary", _ternary)
    return compile_native(_ternary, types.int64(*[types.int64] * 5), cache)

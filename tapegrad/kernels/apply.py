"""`recording.apply` for structural primitives, natively: what stands around the forward function.

The forward function itself is Python's and NumPy's. Whatever isn't usual (a view whose base has
moved on, several outputs, inference mode, an exception) is left to `apply`.
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
    AS_ARRAY,
    BYTES,
    CODE_SLOT,
    DIFFERENTIABLE_SLOT,
    FLOATING_POINT_ERROR,
    FORWARD_SLOT,
    LIMIT,
    MARK_VIEW,
    NBYTES_SLOT,
    NDARRAY,
    NONE,
    NUMBER_SLOT,
    PAUSED,
    PLACE_SLOT,
    PLAIN,
    PLANS_SLOT,
    RECORDS,
    RUNTIME_WARNING,
    SERIALS,
    SHAPE_SLOT,
    SHARED_FIELDS,
    SPEC_OF,
    SPEC_SLOT,
    SPECS,
    SWEEP,
    TENSOR,
    TRUE,
    USUAL_SLOT,
    VIEW_SLOT,
)
from tapegrad.kernels.native import (
    DESCR,
    DIMENSIONS,
    NDIM,
    TYPE,
    VECTOR,
    as_int,
    as_object,
    call_object,
    clear_error,
    compile_native,
    decref,
    dict_get,
    error_matches,
    held,
    list_append,
    load32,
    load64,
    new_object,
    next_of,
    pointer_to,
    store64,
    thread_identity,
    tuple_get,
    tuple_new,
    tuple_set,
    tuple_size,
    untrack,
    vector,
)
from tapegrad.kernels.views import is_settled
from tapegrad.spec import SMALL_BYTES
from tapegrad.tape import SWEEP_BYTES

__all__ = ["compile_apply"]

# Fields: those of an operator of which there is one.
SHARED, FALLBACK = range(2)

#: More inputs or parameters are left to Python.
MOST = VECTOR // 2


def _apply(fields: int, self: int, args: int, count: int, names: int) -> int:
    """Run ``apply(primitive, inputs, params)``; a new reference, or 0 with an exception set."""
    one = types.int64(1)
    op = carray(pointer_to(fields, one), 2)
    shared = carray(pointer_to(op[SHARED], one), SHARED_FIELDS)
    none = shared[NONE]
    true = shared[TRUE]
    ready = (count == 2 or count == 3) and names == 0
    recording = load64(shared[PLAIN]) == true
    if not recording:
        paused = load64(shared[PAUSED])
        ready = ready and paused != none
        recording = ready and as_int(paused) != thread_identity()
    if not ready:
        return call_object(op[FALLBACK], args, count, names)
    primitive = load64(args)
    inputs = load64(args + 8)
    params = load64(args + 16) if count == 3 else types.int64(0)
    n = tuple_size(inputs)
    given = tuple_size(params) if params != 0 else types.int64(0)
    ready = load64(primitive + shared[USUAL_SLOT]) == true and n <= MOST and given <= MOST
    mask = types.int64(0)
    nbytes = types.int64(0)
    if ready:
        for i in range(n):
            x = tuple_get(inputs, i)
            if load64(x + TYPE) != shared[TENSOR]:
                ready = False
                break
            spec = load64(x + shared[SPEC_SLOT])
            if not is_settled(shared, x):
                ready = False
                break
            if load64(x + shared[PLACE_SLOT]) != none:
                mask |= one << i
            nbytes += as_int(load64(spec + shared[NBYTES_SLOT]))
    if not ready:
        return call_object(op[FALLBACK], args, count, names)

    # The arguments: held by a tuple, since what is called may do anything.
    arrays = tuple_new(n + given)
    places = tuple_new(n)
    stack = vector()
    for i in range(n):
        x = tuple_get(inputs, i)
        array = held(load64(x + shared[ARRAY_SLOT]))
        tuple_set(arrays, i, array)
        tuple_set(places, i, held(load64(x + shared[PLACE_SLOT])))
        store64(stack + 8 * i, array)
    for i in range(given):
        value = held(tuple_get(params, i))
        tuple_set(arrays, n + i, value)
        store64(stack + 8 * (n + i), value)
    array = call_object(load64(primitive + shared[FORWARD_SLOT]), stack, n + given, 0)
    if array != 0 and load64(array + TYPE) != shared[NDARRAY]:
        store64(stack, array)
        result = array
        array = call_object(shared[AS_ARRAY], stack, 1, 0)
        decref(result)
    if array == 0:
        decref(arrays)
        decref(places)
        if error_matches(shared[FLOATING_POINT_ERROR]) or error_matches(shared[RUNTIME_WARNING]):
            # Of NumPy, if the user's settings make it raise: Python runs it again without.
            clear_error()
            return call_object(op[FALLBACK], args, count, names)
        return 0

    # The spec of the result: `spec_of`.
    ndim = load32(array + NDIM)
    dimensions = load64(array + DIMENSIONS)
    shape = tuple_new(ndim)
    for i in range(ndim):
        tuple_set(shape, i, as_object(load64(dimensions + 8 * i)))
    key = tuple_new(2)
    tuple_set(key, 0, shape)
    tuple_set(key, 1, held(load64(array + DESCR)))
    spec = dict_get(shared[SPECS], key)
    decref(key)
    if spec != 0:
        spec = held(spec)
    else:
        store64(stack, array)
        spec = call_object(shared[SPEC_OF], stack, 1, 0)
        if spec == 0:
            decref(array)
            decref(arrays)
            decref(places)
            return 0
    out = new_object(shared[TENSOR], 0)
    store64(out + shared[ARRAY_SLOT], array)
    store64(out + shared[SPEC_SLOT], spec)

    swept = one
    plan = none
    if recording and mask != 0 and load64(spec + shared[DIFFERENTIABLE_SLOT]) == true:
        number = as_object(mask)
        plan = dict_get(load64(primitive + shared[PLANS_SLOT]), number)
        decref(number)
        if plan == 0:
            # The first record of its kind: Python makes the plan.
            store64(out + shared[PLACE_SLOT], held(none))
            decref(out)
            decref(arrays)
            decref(places)
            return call_object(op[FALLBACK], args, count, names)
    if plan == none:
        store64(out + shared[PLACE_SLOT], held(none))
    else:
        candidates = tuple_new(n + 2)
        tuple_set(candidates, 0, held(none))
        for i in range(n):
            tuple_set(candidates, i + 1, held(tuple_get(arrays, i)))
        tuple_set(candidates, n + 1, held(array))
        store64(stack, candidates)
        saved = call_object(tuple_get(plan, 1), stack, 1, 0)
        decref(candidates)
        dropped = tuple_get(plan, 0)
        kept = tuple_new(given + n)
        for i in range(given):
            tuple_set(kept, i, held(tuple_get(params, i)))
        for i in range(n):
            of_input = load64(tuple_get(inputs, i) + shared[SPEC_SLOT])
            tuple_set(kept, given + i, held(load64(of_input + shared[SHAPE_SLOT])))
        record = tuple_new(5 + 2 * n)
        serial = next_of(shared[SERIALS])
        store64(out + shared[PLACE_SLOT], held(serial))
        tuple_set(record, 0, serial)
        tuple_set(record, 1, held(load64(primitive + shared[CODE_SLOT])))
        tuple_set(record, 2, held(load64(spec + shared[NUMBER_SLOT])))
        tuple_set(record, 3, kept)
        for i in range(n):
            place = tuple_get(places, i)
            for j in range(tuple_size(dropped)):
                if as_int(tuple_get(dropped, j)) == i:
                    place = none
            tuple_set(record, 4 + i, held(place))
        for i in range(n + 1):
            tuple_set(record, 4 + n + i, held(tuple_get(saved, i)))
        decref(saved)
        # The collector has nothing to find from here: numbers, arrays and tuples of numbers.
        untrack(record)
        list_append(shared[RECORDS], record)
        decref(record)
        nbytes += as_int(load64(spec + shared[NBYTES_SLOT]))
        if nbytes > SMALL_BYTES:
            shared[BYTES] += nbytes
        if as_int(serial) > as_int(load64(shared[LIMIT])) or shared[BYTES] > SWEEP_BYTES:
            shared[BYTES] = 0
            swept = call_object(shared[SWEEP], 0, 0, 0)
            if swept != 0:
                decref(swept)
    decref(arrays)
    decref(places)
    if swept != 0 and load64(primitive + shared[VIEW_SLOT]) == true:
        store64(stack, out)
        store64(stack + 8, primitive)
        store64(stack + 16, tuple_get(inputs, 0))
        made = params if params != 0 else tuple_new(0)
        store64(stack + 24, made)
        swept = call_object(shared[MARK_VIEW], stack, 4, 0)
        if swept != 0:
            decref(swept)
        if params == 0:
            decref(made)
    if swept == 0:
        decref(out)
        return 0
    return out


def compile_apply() -> Any:
    """The compiled function, from the cache where it is there."""
    module = sys.modules[__name__]
    names = ("native", "layout", "views")
    parts = [module, *(sys.modules[f"tapegrad.kernels.{name}"] for name in names)]
    source = "".join(map(inspect.getsource, parts))
    cache = KernelCache("apply", hashlib.sha256(source.encode()).digest())
    return compile_native(_apply, types.int64(*[types.int64] * 5), cache)

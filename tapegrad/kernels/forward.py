"""The short recording paths, natively: `recording.unary` and `recording.binary`, as machine code.

    z = x * y       Tensor.__mul__ is a method in C, which runs NumPy's inner loop for two Tensors
                    of one spec (or a Tensor and a number) and appends the record

What it does is what those functions do, step by step, through CPython's C API; in every other case
(another type, dtype or mode, shapes or strides that aren't rows) it calls them. One function is
compiled, and cached like every kernel; a method of it is a trampoline of three instructions that
adds the address of the operator's own fields.
"""

from __future__ import annotations

from typing import Any

from numba import carray, types
from numba.extending import register_jitable

from tapegrad.kernels.cache import source_cache
from tapegrad.kernels.layout import (
    ARRAY_SLOT,
    AS_BOOL_SLOT,
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
    SPECS,
    TENSOR,
    TRUE,
    ZERO,
)
from tapegrad.kernels.native import (
    DATA,
    DESCR,
    DIMENSIONS,
    NDIM,
    TYPE,
    VECTOR,
    as_float,
    call_new_array,
    call_object,
    call_ufunc_loop,
    call_with_self,
    clear_error,
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
    own_int,
    pointer_to,
    store64,
    tuple_get,
    tuple_new,
    tuple_set,
    tuple_size,
    untrack,
    vector,
)
from tapegrad.kernels.spreading import (
    FULL,
    ONE,
    OTHER,
    common_shape,
    form_of,
    has_shape,
    split_rows,
    steps_of,
)
from tapegrad.kernels.steps import OTHERWISE, RECORDING, is_settled, mode_of, sweep_if_due
from tapegrad.spec import CONSTANTS, SMALL_BYTES

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


@register_jitable
def is_short(shared: Any, spec: Any, array: Any, descr: Any) -> Any:
    """Whether an operand is one of these loops: real, not large, an array as its spec says.

    The spec knows its shape; but nobody may have an array's shape changed under a loop.
    """
    short = (
        load64(array + TYPE) == shared[NDARRAY]
        and load64(spec + shared[SHORT_SLOT]) == shared[TRUE]
        and load64(array + DESCR) == descr
        and (descr == shared[DESCR_32] or descr == shared[DESCR_64])
    )
    return short and has_shape(array, load64(spec + shared[SHAPE_SLOT]))


@register_jitable
def spec_of_both(shared: Any, x_shape: Any, y_shape: Any, descr: Any) -> Any:
    """The spec of what two operands are broadcast to, if there is one and it is short; else 0."""
    spec = types.int64(0)
    shape = common_shape(x_shape, y_shape)
    key = tuple_new(2) if shape != 0 else types.int64(0)
    if key != 0:
        tuple_set(key, 0, shape)
        tuple_set(key, 1, held(descr))
        spec = dict_get(shared[SPECS], key)
        decref(key)
    else:
        decref(shape)
        clear_error()
    if spec != 0 and load64(spec + shared[SHORT_SLOT]) != shared[TRUE]:
        spec = types.int64(0)
    return spec


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
    mode = mode_of(shared)
    ready = count + own == arity and names == 0 and mode != OTHERWISE
    if ready:
        x = self if self != 0 else load64(args)
        ready = load64(x + TYPE) == shared[TENSOR]
    if ready:
        spec = load64(x + shared[SPEC_SLOT])
        x_array = load64(x + shared[ARRAY_SLOT])
        x_place = load64(x + shared[PLACE_SLOT])
        ready = spec != 0 and x_array != 0 and x_place != 0 and is_settled(shared, x)
    if ready:
        spec = load64(spec + shared[DETACHED_SLOT])
        descr = load64(x_array + DESCR)
        ready = is_short(shared, spec, x_array, descr)
    x_spec = y_spec = spec
    largest = x_array  # has the shape of the result, if that isn't one of both
    shape_of_both = types.int64(0)
    number = False  # whether y is one of which no array is kept
    x_form = y_form = types.int64(FULL)
    rows = types.int64(1)
    if ready and arity == 2:
        y = load64(args + 8 * (1 - own))
        kind = load64(y + TYPE)
        if kind == shared[TENSOR]:
            y_spec = load64(y + shared[SPEC_SLOT])
            y_array = load64(y + shared[ARRAY_SLOT])
            y_place = load64(y + shared[PLACE_SLOT])
            ready = y_spec != 0 and y_array != 0 and y_place != 0 and op[SWAPPED] == 0
            ready = ready and is_settled(shared, y)
            if ready:
                y_spec = load64(y_spec + shared[DETACHED_SLOT])
                ready = is_short(shared, y_spec, y_array, descr)
            if ready and y_spec != x_spec:
                x_shape = load64(x_spec + shared[SHAPE_SLOT])
                y_shape = load64(y_spec + shared[SHAPE_SLOT])
                y_form, rows = form_of(x_shape, y_shape)
                if y_form == OTHER:
                    y_form = types.int64(FULL)
                    x_form, rows = form_of(y_shape, x_shape)
                    spec, largest = y_spec, y_array
                if x_form == OTHER:
                    spec = spec_of_both(shared, x_shape, y_shape, descr)
                    ready = spec != 0
                if x_form == OTHER and ready:
                    shape_of_both = load64(spec + shared[SHAPE_SLOT])
                    x_form, rows = form_of(shape_of_both, x_shape)
                    y_form, y_rows = form_of(shape_of_both, y_shape)
                    ready = x_form != OTHER and y_form != OTHER
                    ready = ready and (rows == 1 or y_rows == 1 or rows == y_rows)
                    rows = max(rows, y_rows)
        elif op[NUMBERS] != 0 and (kind == shared[FLOAT] or kind == shared[INT]):
            y_array = dict_get(load64(spec + shared[CONSTANTS_SLOT]), y)
            # A number that isn't kept: Python keeps it, or (as 0) it is made an array each time.
            number = y_array == 0
            kept = dict_size(load64(spec + shared[CONSTANTS_SLOT]))
            ready = not number or y == shared[ZERO]
            if number and kind == shared[FLOAT]:
                ready = kept >= CONSTANTS or as_float(y) == 0
            y_form = types.int64(ONE)
        else:
            ready = False
    itemsize = types.int64(4 if descr == shared[DESCR_32] else 8)
    n = types.int64(1)
    ndim = types.int64(0)
    sizes = types.int64(0)
    if ready:
        ndim = load32(largest + NDIM)
        sizes = load64(largest + DIMENSIONS)
        if shape_of_both != 0:
            ndim = tuple_size(shape_of_both)
            sizes = vector()
            ready = ndim <= VECTOR
            for k in range(ndim if ready else 0):
                store64(sizes + 8 * k, own_int(tuple_get(shape_of_both, k)))
        n = own_int(load64(spec + shared[NBYTES_SLOT])) // itemsize
        rows = split_rows(x_array, x_form, rows)
        if y_array != 0:
            rows = split_rows(y_array, y_form, rows)
    loop = op[LOOP_32] if itemsize == 4 else op[LOOP_64]
    closure = op[DATA_32] if itemsize == 4 else op[DATA_64]
    ready = ready and rows > 0 and loop != 0  # without a loop Python compiles it
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
    if number:
        incref(descr)
        y_array = call_new_array(shared[NEW_ARRAY], (shared[NDARRAY], descr, 0, 0, 0, 0, 0, 0))
        if y_array != 0 and itemsize == 4:
            carray(pointer_to(load64(y_array + DATA), types.float32(0)), 1)[0] = as_float(y)
        elif y_array != 0:
            carray(pointer_to(load64(y_array + DATA), types.float64(0)), 1)[0] = as_float(y)
    else:
        incref(y_array)
    incref(out_descr)
    array = call_new_array(
        shared[NEW_ARRAY],
        (shared[NDARRAY], out_descr, ndim, sizes, 0, 0, 0, 0),
    )
    if op[SWAPPED]:
        x_array, y_array = y_array, x_array
        x_place, y_place = y_place, x_place
        x_form, y_form = y_form, x_form
    out = types.int64(0)
    computed = array != 0 and (arity == 1 or (x_array != 0 and y_array != 0))
    if computed:
        out_size = types.int64(1) if op[AS_BOOL] != 0 else itemsize
        inner = n // rows
        data = load64(array + DATA)
        x_data = load64(x_array + DATA)
        x_row, x_step = steps_of(x_array, x_form, inner, itemsize)
        if arity == 1:
            for k in range(rows):
                row = (x_data + k * x_row, data + k * inner * out_size)
                call_ufunc_loop(loop, closure, inner, row, (x_step, out_size))
        else:
            y_data = load64(y_array + DATA)
            y_row, y_step = steps_of(y_array, y_form, inner, itemsize)
            for k in range(rows):
                both = (x_data + k * x_row, y_data + k * y_row, data + k * inner * out_size)
                call_ufunc_loop(loop, closure, inner, both, (x_step, y_step, out_size))
        out = new_object(shared[TENSOR], 0)
    record = serial = mixed = types.int64(0)
    for_x = mode == RECORDING and x_place != none
    for_y = mode == RECORDING and y_place != none
    recorded = out != 0 and (for_x or for_y)
    if recorded:
        record = tuple_new(5 + 2 * arity)
        serial = next_of(shared[SERIALS])
        mixed = tuple_new(2) if x_spec != y_spec else held(none)
    if out == 0 or (recorded and (record == 0 or serial == 0 or mixed == 0)):
        # Out of memory, with an exception set. What is 0 is let go of, too.
        decref(x_array)
        decref(y_array)
        decref(x_place)
        decref(y_place)
        decref(array)
        decref(record)
        decref(serial)
        decref(mixed)
        decref(out)
        return 0
    store64(out + shared[ARRAY_SLOT], array)
    store64(out + shared[SPEC_SLOT], held(out_spec))
    if not recorded:
        store64(out + shared[PLACE_SLOT], held(none))
        decref(x_array)
        decref(y_array)
        decref(x_place)
        decref(y_place)
        return out
    store64(out + shared[PLACE_SLOT], held(serial))
    saves_x = (for_x and op[SAVES_X_FOR_X] != 0) or (for_y and op[SAVES_X_FOR_Y] != 0)
    saves_y = (for_x and op[SAVES_Y_FOR_X] != 0) or (for_y and op[SAVES_Y_FOR_Y] != 0)
    saves_out = (for_x and op[SAVES_OUT_FOR_X] != 0) or (for_y and op[SAVES_OUT_FOR_Y] != 0)
    tuple_set(record, 0, serial)
    tuple_set(record, 1, held(op[CODE]))
    tuple_set(record, 2, held(load64(spec + shared[NUMBER_SLOT])))
    if x_spec != y_spec:
        tuple_set(mixed, 0, held(load64(x_spec + shared[NUMBER_SLOT])))
        tuple_set(mixed, 1, held(load64(y_spec + shared[NUMBER_SLOT])))
    tuple_set(record, 3, mixed)
    tuple_set(record, 4, held(x_place))
    tuple_set(record, 4 + arity, held(x_array if saves_x else none))
    if arity == 2:
        tuple_set(record, 5, held(y_place))
        tuple_set(record, 7, held(y_array if saves_y else none))
    tuple_set(record, 4 + 2 * arity, held(array if saves_out else none))
    # Numbers and arrays: nothing that the collector has to follow.
    untrack(record)
    appended = list_append(shared[RECORDS], record)
    number_of = own_int(serial)
    decref(record)
    decref(x_array)
    decref(y_array)
    decref(x_place)
    decref(y_place)
    nbytes = n * itemsize
    if nbytes > SMALL_BYTES:
        nbytes *= arity + 1  # small arrays don't count, as in the short paths
    if appended != 0 or not sweep_if_due(shared, number_of, nbytes):
        decref(out)
        return 0
    return out


def compile_forward() -> Any:
    """The compiled function, from the cache where it is there."""
    cache = source_cache("forward", _forward)
    return compile_native(_forward, types.int64(*[types.int64] * 5), cache)

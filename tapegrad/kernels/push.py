"""Forward mode natively: tangents pushed along the tape as arrays, as `Pushforward` does in Python.

An adjoint kernel serves here, too: of an elementwise primitive it multiplies with the local
derivative, which is its own transpose. A structural primitive that is linear in an input is called
on the tangent. Whatever else there is (a record that broadcasts, tangents that are Tensors, a rule
that has to be run backward) is left to Python by returning.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import carray, types
from numba.extending import register_jitable

from tapegrad.kernels.adjoint import ARITY
from tapegrad.kernels.cache import source_cache
from tapegrad.kernels.compiled import compiled
from tapegrad.kernels.layout import (
    AS_ARRAY,
    DESCR_32,
    DESCR_64,
    FLOATING_POINT_ERROR,
    NDARRAY,
    NEW_ARRAY,
    RUNTIME_WARNING,
    SHARED_FIELDS,
)
from tapegrad.kernels.loop import BUDGET_ELEMENTS, FOREIGN, RECORD_WORK
from tapegrad.kernels.native import (
    C_CONTIGUOUS,
    DATA,
    DESCR,
    DIMENSIONS,
    FLAGS,
    NDIM,
    TYPE,
    as_object,
    call,
    call_new_array,
    call_object,
    clear_error,
    compile_native,
    decref,
    dict_get,
    dict_set,
    error_matches,
    incref,
    keep_forever,
    list_get,
    load32,
    load64,
    own_int,
    pointer_to,
    set_add,
    set_contains,
    store64,
    tuple_get,
    tuple_size,
    vector,
)
from tapegrad.kernels.spreading import FULL, has_shape, steps_of
from tapegrad.primitive import primitives
from tapegrad.storage import clock
from tapegrad.tape import RELEASED, Record, tape

__all__ = ["TANGENT", "push_natively"]

# What it returns: why it stopped.
DONE, YIELD, PYTHON, NEW_KERNEL, NEW_CALL, ERROR = range(6)

# Fields of the state.
(
    INDEX,  # the record to look at next
    END,  # the one after the last
    BUDGET,  # work left before it yields
    RECORDS,  # id of the list
    NONE,  # id of None
    FREED,  # id of what takes the place of freed values
    DOTS,  # id of the dict of tangents by place
    INPUTS,  # id of the set of places that are given their tangents
    OUTER,  # id of the set of places that depend on more than the inputs
    START,  # places before it are others'; 0 if nobody differentiates the tangents
    LATEST,  # records older than this may have saved what was changed since
    SPECS,  # the tables of the loop, see there
    KERNELS,
    STRUCTURAL,
    CALLS,  # address: for each primitive and input the id of what `how` says, see `_Push`; -1: none
    SHARED,  # address of the fields of `layout`
    ARGUMENT,  # of the reason it stopped: the position of a kernel or of a call
) = range(17)
FIELDS = 17

#: Stands for the tangent among the positions of saved values of a call.
TANGENT = -1


@register_jitable
def _new_like(shared: Any, array: Any) -> Any:
    """A new array of an array's shape and dtype; 0 without memory."""
    descr = load64(array + DESCR)
    incref(descr)
    ndim, dimensions = load32(array + NDIM), load64(array + DIMENSIONS)
    made = call_new_array(shared[NEW_ARRAY], (shared[NDARRAY], descr, ndim, dimensions, 0, 0, 0, 0))
    if made == 0:
        clear_error()
    return made


@register_jitable
def _is_contiguous(shared: Any, array: Any, shape: Any) -> Any:
    return (
        load64(array + TYPE) == shared[NDARRAY]
        and (load32(array + FLAGS) & C_CONTIGUOUS) != 0
        and has_shape(array, shape)
    )


@register_jitable
def _enter(state: Any, place: Any, dot: Any) -> Any:
    """Enter a tangent, whose reference is taken over; False: it couldn't be."""
    key = as_object(place)  # an int of its own: the record's would keep it alive
    done = key != 0 and dict_set(state[DOTS], key, dot) == 0
    if key != 0:
        decref(key)
    decref(dot)
    if not done:
        clear_error()
    return done


@register_jitable
def _elementwise(state: Any, shared: Any, record: Any, arity: Any, spec: Any, row: Any) -> Any:
    """The tangent of an elementwise record's result; 0: Python must make it; -1: a kernel."""
    specs = carray(pointer_to(state[SPECS], types.int64(1)), 1)
    kernels = carray(pointer_to(state[KERNELS], types.int64(1)), 1)
    n = specs[3 * spec]
    dtype = specs[3 * spec + 1]
    shape = specs[3 * spec + 2]
    descr = shared[DESCR_32] if dtype == 0 else shared[DESCR_64]
    itemsize = types.int64(4 if dtype == 0 else 8)
    known = types.int64(0)
    for i in range(arity):
        source = tuple_get(record, 4 + i)
        dot = types.int64(0)
        if source != state[NONE]:
            dot = dict_get(state[DOTS], source)
        if dot != 0:
            if not _is_contiguous(shared, dot, shape) or load64(dot + DESCR) != descr:
                return types.int64(0)
            kernel = kernels[row + 2 * i + dtype]
            if kernel == 0:
                state[ARGUMENT] = row + 2 * i + dtype
                return types.int64(-1)
            if kernel == -1:
                return types.int64(0)
            known = dot
    data_0 = data_1 = data_2 = data_out = types.int64(0)
    stride_0 = stride_1 = stride_2 = stride_out = types.int64(0)
    for j in range(arity + 1):
        saved = tuple_get(record, 4 + arity + j)
        if saved == state[NONE]:
            continue
        ndim = load32(saved + NDIM)  # 0: a number
        strided = ndim > 1 and load32(saved + FLAGS) & C_CONTIGUOUS == 0
        if strided or (ndim > 0 and not has_shape(saved, shape)):
            return types.int64(0)
        data = load64(saved + DATA)
        _, stride = steps_of(saved, FULL, n, itemsize if n == 1 else 0)
        if j == arity:
            data_out, stride_out = data, stride
        elif j == 0:
            data_0, stride_0 = data, stride
        elif j == 1:
            data_1, stride_1 = data, stride
        else:
            data_2, stride_2 = data, stride
    made = _new_like(shared, known)
    add = types.int64(0)
    for i in range(arity if made != 0 else 0):
        source = tuple_get(record, 4 + i)
        dot = types.int64(0)
        if source != state[NONE]:
            dot = dict_get(state[DOTS], source)
        if dot != 0:
            call(
                kernels[row + 2 * i + dtype],
                (n, add, load64(dot + DATA), load64(made + DATA), data_0, data_1, data_2, data_out,
                 stride_0, stride_1, stride_2, stride_out),
            )  # fmt: skip
            add = types.int64(1)
    return made


@register_jitable
def _linear(state: Any, shared: Any, record: Any, arity: Any, index: Any, dot: Any) -> Any:
    """The tangent of a structural record's result, of the one of its input ``index``.

    0: Python must make it; -1: it must say how the function is called; -2: an exception is set.
    """
    calls = carray(pointer_to(state[CALLS], types.int64(1)), 1)
    position = own_int(tuple_get(record, 1)) * ARITY + index
    how = calls[position]
    if how == 0:
        state[ARGUMENT] = position
        return types.int64(-1)
    if how == -1 or load64(dot + TYPE) != shared[NDARRAY]:
        return types.int64(0)
    arguments = vector()
    params = tuple_get(record, 3)
    count = own_int(tuple_get(how, 1))
    given = tuple_size(how) - 2
    for j in range(given):
        saved = own_int(tuple_get(how, 2 + j))
        value = dot if saved == TANGENT else tuple_get(record, 4 + arity + saved)
        store64(arguments + 8 * j, value)
    for j in range(count):
        store64(arguments + 8 * (given + j), tuple_get(params, j))
    # The function may run anything, a backward that releases the record as well.
    incref(record)
    made = call_object(tuple_get(how, 0), arguments, given + count, 0)
    if made != 0 and load64(made + TYPE) != shared[NDARRAY]:
        scalar = made
        store64(arguments, scalar)
        made = call_object(shared[AS_ARRAY], arguments, 1, 0)
        decref(scalar)
    decref(record)
    if made == 0:
        # Floating-point errors are not the user's: Python computes it under an errstate.
        if error_matches(shared[FLOATING_POINT_ERROR]) or error_matches(shared[RUNTIME_WARNING]):
            clear_error()
        else:
            made = types.int64(-2)
    return made


def _push(address: int) -> int:
    one = types.int64(1)
    state = carray(pointer_to(address, one), FIELDS)
    shared = carray(pointer_to(state[SHARED], one), SHARED_FIELDS)
    specs = carray(pointer_to(state[SPECS], one), 1)
    structurals = carray(pointer_to(state[STRUCTURAL], one), 1)
    none = state[NONE]
    while state[INDEX] < state[END]:
        if state[BUDGET] <= 0:
            return YIELD
        record = list_get(state[RECORDS], state[INDEX])
        own = tuple_get(record, 0)
        state[BUDGET] -= RECORD_WORK
        if set_contains(state[INPUTS], own) != 0:
            state[INDEX] += 1
            continue
        size = tuple_size(record)
        arity = (size - 5) // 2
        outer = False
        dots = input_ = types.int64(0)
        last = types.int64(0)
        for i in range(arity):
            source = tuple_get(record, 4 + i)
            if source != none:
                if state[START] != 0 and not outer:
                    # The inputs' own leaves are seen by records that are inputs only.
                    outer = own_int(source) < state[START]
                    outer = outer or set_contains(state[OUTER], source) != 0
                dot = dict_get(state[DOTS], source)
                if dot != 0:
                    dots += 1
                    input_ = i
                    last = dot
        serial = own_int(own)
        if dots == 0:
            if outer:
                key = as_object(serial)
                if key == 0 or set_add(state[OUTER], key) != 0:
                    clear_error()
                    return PYTHON
                decref(key)
            state[INDEX] += 1
            continue
        code = own_int(tuple_get(record, 1))
        spec = own_int(tuple_get(record, 2))
        kind = structurals[code]
        if (
            outer
            or arity > ARITY
            or serial < state[LATEST]
            or tuple_get(record, size - 1) == state[FREED]
        ):
            return PYTHON
        made = types.int64(0)
        if kind != 0 and kind != FOREIGN:
            if dots == 1:
                made = _linear(state, shared, record, arity, input_, last)
                if made == -1:
                    return NEW_CALL
                if made == -2:
                    return ERROR
        elif tuple_get(record, 3) == none and specs[3 * spec + 1] >= 0:
            made = _elementwise(state, shared, record, arity, spec, 2 * ARITY * code)
            if made == -1:
                return NEW_KERNEL
        if made == 0 or not _enter(state, serial, made):
            return PYTHON
        state[BUDGET] -= specs[3 * spec]
        state[INDEX] += 1
    return DONE


class _Push:
    """The compiled function, and how structural primitives are called on tangents.

    That is a tuple: the forward function, how many of the record's parameters it takes, and for
    each input the position of a saved value, or `TANGENT`.
    """

    def __init__(self) -> None:
        self._code = compile_native(_push, types.int64(types.int64), source_cache("push", _push))
        kind = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_int64)  # the GIL stays held
        self.run = kind(self._code.address)
        self.calls = np.zeros(0, np.int64)
        self._address = 0
        self._kept: list[Any] = []  # what the table names, and tables that others may still read

    def table(self) -> int:
        """The address of the calls, with room for all primitives."""
        if self.calls.size < ARITY * len(primitives):
            calls = np.zeros(2 * ARITY * len(primitives), np.int64)
            calls[: self.calls.size] = self.calls
            self._kept.append(self.calls)
            self.calls = calls
            self._address = calls.ctypes.data
        return self._address

    def enter(self, position: int, how: tuple[Any, ...] | None) -> None:
        """Note how a primitive is called, None: it can't be."""
        self._kept.append(how)
        self.calls[position] = -1 if how is None else id(how)


@functools.cache
def _push_code() -> _Push:
    made = _Push()
    keep_forever(made)
    return made


def push_natively(
    index: int,
    end: int,
    dots: dict[int, Any],
    inputs: set[int],
    outer: set[int],
    start: int,
    step: Callable[[Record], None],
    how: Callable[[int, int], tuple[Any, ...] | None],
) -> None:
    """Push tangents along the records from ``index`` to ``end``.

    Args:
        dots: the tangents by place, to which those of results are added.
        inputs: places whose tangents are given.
        outer: places that depend on more than the inputs.
        start: places before it do; 0 if that makes no difference.
        step: pushes along one record in Python.
        how: ``how(code, i)`` says how a primitive that is linear in input i is called.
    """
    code, tables = _push_code(), compiled()
    fields = np.array(
        (
            *(index, end, 0, id(tape.records), id(None), id(RELEASED), id(dots), id(inputs)),
            *(id(outer), start, 0, 0, 0, 0, 0, tables.shared, 0),
        ),
        np.int64,
    )
    address = fields.ctypes.data
    while True:
        fields[SPECS : CALLS + 1] = (*tables.refresh().at, code.table())
        fields[BUDGET] = BUDGET_ELEMENTS
        fields[LATEST] = clock.latest
        reason = code.run(address)
        if reason == DONE:
            break
        if reason == PYTHON:
            step(tape.records[int(fields[INDEX])])
            fields[INDEX] += 1
        elif reason == NEW_KERNEL:
            tables.compile(int(fields[ARGUMENT]))
        elif reason == NEW_CALL:
            position = int(fields[ARGUMENT])
            code.enter(position, how(*divmod(position, ARITY)))

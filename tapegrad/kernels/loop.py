"""The native loop: records in reverse, each run by calling its adjoint kernels. Threaded code.

No Python runs per record. The loop reads the records, which are tuples in a list, through CPython's
stable C API, with the GIL held; whatever it can't do itself (a record without a kernel, a leaf that
it sees for the first time, a hook) it leaves to Python by returning, with all its state in one
array of integers, and is called again. After some milliseconds of work it returns too, so that
signals and other threads have their turn.

An adjoint is a buffer of the loop's own for each pending record; the first contribution to it
stores, later ones add, and it is freed as soon as its record has run. A leaf's is gathered in a new
array, which in the end becomes its gradient.
"""

from __future__ import annotations

from typing import Any

from numba import carray, types
from numba.extending import register_jitable

from tapegrad.kernels.adjoint import ARITY
from tapegrad.kernels.cache import source_cache
from tapegrad.kernels.leaves import (
    BUFFER,
    COLUMNS,
    DEAD,
    DTYPE,
    FILLED,
    PLACE,
    SHAPE,
    SIZE,
    claim_leaf,
    give_gradients,
    hand_over,
)
from tapegrad.kernels.native import (
    C_CONTIGUOUS,
    DATA,
    FLAGS,
    NDIM,
    allocate,
    call_structural,
    compile_native,
    copy_bytes,
    incref,
    list_get,
    load32,
    load64,
    own_int,
    pointer_to,
    release,
    set_contains,
    tuple_get,
    tuple_set,
    tuple_size,
)
from tapegrad.kernels.parts import call_elementwise
from tapegrad.kernels.spreading import (
    COLUMN,
    FULL,
    ONE,
    OTHER,
    ROW,
    form_of,
    has_shape,
    steps_of,
    sum_into,
)

__all__ = ["compile_loop"]

# What the loop returns: why it stopped.
DONE, YIELD, PYTHON, NEW_LEAF, NEW_KERNEL, NO_MEMORY = range(6)

# Fields of the state.
(
    INDEX,  # the record to look at next
    PENDING,  # records that have an adjoint
    BUDGET,  # work left before it yields
    RECORDS,  # id of the list
    NONE,  # id of None
    RELEASED,  # id of what takes the place of freed values
    ADJOINTS,  # address: a buffer for each record, 0 for none, IN_PYTHON for one kept there
    LEAVES,  # address of the leaves' table, see `leaves`
    LEAF_MASK,  # number of its rows - 1
    LEAF_COUNT,  # rows in use
    SPECS,  # address: for each spec its size, dtype (-1: not one for kernels), id of the shape
    KERNELS,  # address: for each primitive, input and dtype a kernel (0: not compiled, -1: none)
    TOOLS,  # address of what structural kernels use
    STRUCTURAL,  # address: for each primitive 0: kernels of rules, 1: structural ones, of any
    # number of inputs 2, -1: none; FOREIGN: kernels of a person's rules
    STOPS,  # address of the descending serials that Python wants to handle, and a last 0
    STOP,  # position in the stops
    RETAIN,  # keep saved values
    LATEST,  # records older than this may have saved what was changed since
    ROOT,  # id of the array that is the first record's adjoint (it counts as pending), or 0
    SHARED,  # address of the fields of `layout`, if the loop may make arrays for leaves; or 0
    GIVES,  # whether those become the gradients of leaves that have none
    HANDED,  # id of the dict of adjoints that they are entered in otherwise
    OWNED,  # id of the set of the places whose adjoints nobody else has
    NEEDED,  # id of the set of places on the way to the targets, or 0: all are
    TARGETS,  # id of the set of the targets, or 0: all leaves are
    ARGUMENT,  # of the reason it stopped: a leaf's place; or a kernel's position
) = range(26)
FIELDS = 26

IN_PYTHON = 1

#: A person's rule may raise or print, for which a thread takes the GIL: who waits for that thread
#: has it.
FOREIGN = 3

#: Rows of singles that are added up one by one.
LONG_SUM = 64

#: Elements, plus RECORD_WORK for each record, that are some 5 ms of work.
BUDGET_ELEMENTS = 200_000
RECORD_WORK = 40


@register_jitable
def shape_of(params: Any, arity: Any, i: Any, structural: Any) -> Any:
    """The shape of an input of a structural record."""
    last = tuple_size(params) - 1
    if structural == 2:
        shape = tuple_get(tuple_get(params, last), i)
    else:
        shape = tuple_get(params, last - arity + 1 + i)
    return shape


def _loop(state_address: int) -> int:
    one = types.int64(1)
    state = carray(pointer_to(state_address, one), FIELDS)
    records = state[RECORDS]
    none = state[NONE]
    index = state[INDEX]
    adjoints = carray(pointer_to(state[ADJOINTS], one), index + 1)
    mask = state[LEAF_MASK]
    leaves = carray(pointer_to(state[LEAVES], one), COLUMNS * (mask + 1))
    specs = carray(pointer_to(state[SPECS], one), 1)
    kernels = carray(pointer_to(state[KERNELS], one), 1)
    structurals = carray(pointer_to(state[STRUCTURAL], one), 1)
    stops = carray(pointer_to(state[STOPS], one), 1)
    # Where the contribution to each input goes, and how many elements it has.
    target_0 = target_1 = target_2 = types.int64(-1)
    size_0 = size_1 = size_2 = types.int64(0)
    if state[ROOT] != 0:
        spec = own_int(tuple_get(list_get(records, index), 2))
        nbytes = specs[3 * spec] * (4 if specs[3 * spec + 1] == 0 else 8)
        adjoints[index] = allocate(max(nbytes, 8))
        if adjoints[index] == 0:
            return NO_MEMORY
        copy_bytes(adjoints[index], load64(state[ROOT] + DATA), nbytes)
        state[ROOT] = 0
    while index >= 0 and state[PENDING] > 0:
        out_bar = adjoints[index]
        if out_bar == 0:
            index -= 1
            continue
        state[INDEX] = index
        if state[BUDGET] <= 0:
            return YIELD
        record = list_get(records, index)
        serial = own_int(tuple_get(record, 0))
        # Two threads can append in another order than they counted: it may be a step back.
        while state[STOP] > 0 and stops[state[STOP] - 1] <= serial:
            state[STOP] -= 1
        while stops[state[STOP]] > serial:
            state[STOP] += 1
        size = tuple_size(record)
        arity = (size - 5) // 2
        spec = own_int(tuple_get(record, 2))
        code = own_int(tuple_get(record, 1))
        dtype = specs[3 * spec + 1]
        structural = structurals[code]
        is_shared = structural != FOREIGN
        if not is_shared:
            structural = types.int64(0)
        if (
            out_bar == IN_PYTHON
            or stops[state[STOP]] == serial
            or serial < state[LATEST]
            or dtype < 0
            or structural < 0
            or arity > ARITY
            or tuple_get(record, size - 1) == state[RELEASED]
            or (state[RETAIN] == 0 and load32(record) != 1)
        ):
            return PYTHON
        n = specs[3 * spec]
        params = tuple_get(record, 3)
        itemsize = 4 if dtype == 0 else 8
        # First see that all is there, so that Python can take over before anything has been done.
        form_0 = form_1 = form_2 = types.int64(FULL)
        rows = types.int64(1)
        if structural != 0:
            for i in range(arity + 1):
                saved = tuple_get(record, 4 + arity + i)
                shape = specs[3 * spec + 2]
                if i < arity:
                    shape = shape_of(params, arity, i, structural)
                if saved != none and not has_shape(saved, shape):
                    return PYTHON
        elif params != none:
            known = n > 0
            shape = specs[3 * spec + 2]
            for i in range(arity):
                number = own_int(tuple_get(params, i))
                form, split = form_of(shape, specs[3 * number + 2])
                if form in (ROW, COLUMN):
                    known = known and (rows == 1 or rows == split)
                    rows = split
                # Long sums of singles are Python's, which adds them as doubles.
                long = form == ROW and dtype == 0 and split > LONG_SUM
                if form == OTHER or long or specs[3 * number + 1] != dtype:
                    known = False
                if i == 0:
                    form_0 = form
                elif i == 1:
                    form_1 = form
                else:
                    form_2 = form
            if not known:
                return PYTHON
        inner = n // rows
        row = 2 * ARITY * code + dtype
        leads = state[NEEDED] == 0
        for i in range(arity):
            target = types.int64(-1)
            m = n
            object_ = tuple_get(record, 4 + i)
            if object_ != none and (
                state[NEEDED] == 0 or set_contains(state[NEEDED], object_) != 0
            ):
                leads = True
                kernel = kernels[row + 2 * i]
                if kernel == 0:
                    state[ARGUMENT] = row + 2 * i
                    return NEW_KERNEL
                if kernel == -1:
                    return PYTHON
                if structural != 0 and (
                    call_structural(kernel, (record, 0, n, 0, 0, 0, state[TOOLS])) == 0
                ):
                    return PYTHON
                # What the input was when it was used: it may have been given other data since.
                shape = specs[3 * spec + 2]
                if structural != 0:
                    shape = shape_of(params, arity, i, structural)
                elif params != none:
                    shape = specs[3 * own_int(tuple_get(params, i)) + 2]
                place = own_int(object_)
                if place < 0:
                    slot = (-place) & mask
                    while leaves[COLUMNS * slot] != 0 and leaves[COLUMNS * slot] != place:
                        slot = (slot + 1) & mask
                    leaf = leaves[COLUMNS * slot : COLUMNS * (slot + 1)]
                    if leaf[PLACE] == 0:
                        shared = state[SHARED]
                        if 2 * (state[LEAF_COUNT] + 1) > mask:
                            shared = types.int64(0)
                        if shared == 0 or not claim_leaf(
                            shared, state[TARGETS], leaf, object_, place, dtype
                        ):
                            state[ARGUMENT] = place
                            return NEW_LEAF
                        state[LEAF_COUNT] += 1
                    target = -2 - slot
                    m = leaf[SIZE]
                    if leaf[BUFFER] == DEAD:
                        target = types.int64(-1)
                    elif leaf[SHAPE] != shape or leaf[DTYPE] != dtype:
                        return PYTHON
                else:
                    # Serials are dense where nothing was swept: guess, else look downwards.
                    guess = index - (serial - place)
                    if guess >= 0 and own_int(tuple_get(list_get(records, guess), 0)) == place:
                        target = guess
                    else:
                        low = max(guess, 0)
                        high = index - 1
                        step = 1
                        while high - step > low and (
                            own_int(tuple_get(list_get(records, high - step), 0)) > place
                        ):
                            high -= step
                            step *= 2
                        low = max(low, high - step)
                        while low < high:
                            middle = (low + high) // 2
                            if own_int(tuple_get(list_get(records, middle), 0)) < place:
                                low = middle + 1
                            else:
                                high = middle
                        if own_int(tuple_get(list_get(records, low), 0)) != place:
                            return PYTHON
                        target = low
                    if adjoints[target] == IN_PYTHON:
                        return PYTHON
                    of_target = own_int(tuple_get(list_get(records, target), 2))
                    m = specs[3 * of_target]
                    if specs[3 * of_target + 1] != dtype or specs[3 * of_target + 2] != shape:
                        return PYTHON
            if i == 0:
                target_0 = target
                size_0 = m
            elif i == 1:
                target_1 = target
                size_1 = m
            else:
                target_2 = target
                size_2 = m
        if not leads:
            return PYTHON
        data_0 = data_1 = data_2 = data_out = types.int64(0)
        next_0 = next_1 = next_2 = types.int64(0)  # from row to row
        next_out = inner * itemsize
        stride_0 = stride_1 = stride_2 = stride_out = types.int64(0)
        ready = True
        for j in range(0 if structural != 0 else arity + 1):
            saved = tuple_get(record, 4 + arity + j)
            if saved == none:
                continue
            if load32(saved + NDIM) > 1 and load32(saved + FLAGS) & C_CONTIGUOUS == 0:
                ready = False
                break
            data = load64(saved + DATA)
            form = types.int64(FULL)
            if j < arity:
                form = form_0 if j == 0 else form_1 if j == 1 else form_2
            step, stride = steps_of(saved, form, inner, itemsize if n == 1 else 0)
            if j == arity:
                data_out, stride_out, next_out = data, stride, step
            elif j == 0:
                data_0, stride_0, next_0 = data, stride, step
            elif j == 1:
                data_1, stride_1, next_1 = data, stride, step
            else:
                data_2, stride_2, next_2 = data, stride, step
        if not ready:
            return PYTHON
        for i in range(arity):
            target = target_0 if i == 0 else target_1 if i == 1 else target_2
            m = size_0 if i == 0 else size_1 if i == 1 else size_2
            add = types.int64(1)
            if target == -1:
                continue
            if target >= 0:
                buffer = adjoints[target]
                if buffer == 0:
                    buffer = allocate(max(m * itemsize, 8))
                    if buffer == 0:
                        return NO_MEMORY
                    adjoints[target] = buffer
                    state[PENDING] += 1
                    add = types.int64(0)
            else:
                leaf = leaves[COLUMNS * (-2 - target) : COLUMNS * (-1 - target)]
                buffer = leaf[BUFFER]
                if leaf[FILLED] == 0:
                    leaf[FILLED] = 1
                    add = types.int64(0)
            if structural != 0:
                arguments = (record, out_bar, n, buffer, m, add, state[TOOLS])
                if call_structural(kernels[row + 2 * i], arguments) == 0:
                    return NO_MEMORY
                state[BUDGET] -= m
            else:
                form = form_0 if i == 0 else form_1 if i == 1 else form_2
                summed = form in (COLUMN, ONE)
                to = allocate(max(n * itemsize, 8)) if summed else buffer
                if to == 0:
                    return NO_MEMORY
                for k in range(rows):
                    to_row = to if form == ROW else to + k * inner * itemsize
                    adds = types.int64(0)
                    if not summed:
                        adds = add if form == FULL or k == 0 else types.int64(1)
                    call_elementwise(
                        state[TOOLS], kernels[row + 2 * i], itemsize, is_shared, inner,
                        (adds, out_bar + k * inner * itemsize, to_row,
                         data_0 + k * next_0, data_1 + k * next_1, data_2 + k * next_2,
                         data_out + k * next_out, stride_0, stride_1, stride_2, stride_out),
                    )  # fmt: skip
                if form == ONE:
                    sum_into(state[TOOLS], dtype, buffer, add, to, n)
                elif form == COLUMN:
                    for k in range(rows):
                        start = to + k * inner * itemsize
                        sum_into(state[TOOLS], dtype, buffer + k * itemsize, add, start, inner)
                if summed:
                    release(to)
        release(out_bar)
        adjoints[index] = 0
        state[PENDING] -= 1
        state[BUDGET] -= n + RECORD_WORK
        index -= 1
        state[INDEX] = index
        if state[RETAIN] == 0:
            for j in range(4 + arity, size):
                if tuple_get(record, j) != none:
                    # From the last one, which everybody looks at: what frees an array may run
                    # anything, a replay of this record as well.
                    for k in range(size - 1, 3 + arity, -1):
                        if k == size - 1 or tuple_get(record, k) != none:
                            incref(state[RELEASED])
                            tuple_set(record, k, state[RELEASED])
                    break
    state[INDEX] = index
    if state[SHARED] != 0 and state[PENDING] == 0:
        if state[GIVES] != 0:
            state[LEAF_COUNT] = give_gradients(state[SHARED], leaves, mask + 1)
        else:
            state[LEAF_COUNT] = hand_over(state[HANDED], state[OWNED], leaves, mask + 1)
    return DONE


def compile_loop() -> Any:
    """The compiled loop, from the cache where it is there."""
    cache = source_cache("loop", _loop)
    return compile_native(_loop, types.int64(types.int64), cache)

"""Leaves in the native loop: their rows in its table, and their gradients.

The table is hashed by place. A leaf that the loop meets gets a row, with a new array in which its
adjoint is gathered; in the end that array becomes its gradient, if it has none yet.
"""

from __future__ import annotations

from typing import Any

from numba import carray, types
from numba.extending import register_jitable

from tapegrad.kernels.layout import (
    ARRAY_SLOT,
    DESCR_32,
    DESCR_64,
    GRAD_SLOT,
    LEAF_TABLE,
    NDARRAY,
    NEW_ARRAY,
    NONE,
    PLACE_SLOT,
    SHAPE_SLOT,
    SHARED_FIELDS,
    SPEC_SLOT,
    SPECIAL_SLOT,
    TENSOR,
    TRUE,
)
from tapegrad.kernels.native import (
    C_CONTIGUOUS,
    DATA,
    DESCR,
    DIMENSIONS,
    FLAGS,
    NDIM,
    TYPE,
    as_object,
    call_new_array,
    clear_error,
    decref,
    dict_get,
    dict_set,
    held,
    incref,
    load32,
    load64,
    new_object,
    pointer_to,
    set_add,
    set_contains,
    store64,
    weakly_held,
)
from tapegrad.threads import LARGE_BYTES

__all__ = ["claim_leaf", "give_gradients", "hand_over"]

# Columns of the table. An empty row has no place; BUFFER is DEAD where nobody wants the gradient;
# ARRAY is the array's address, with a reference of the row's own, if the loop made it; SIZE, DTYPE
# and SHAPE (the id of the spec's tuple) say what a share must be to be gathered there.
PLACE, BUFFER, FILLED, ARRAY, SIZE, DTYPE, SHAPE = range(7)
COLUMNS = 7
DEAD = 1


@register_jitable(inline="always")
def claim_leaf(
    shared_address: Any, targets: Any, row: Any, place_object: Any, place: Any, dtype: Any
) -> Any:
    """Enter a leaf in an empty row, with an array of its own; False: Python must do it."""
    shared = carray(pointer_to(shared_address, types.int64(1)), SHARED_FIELDS)
    reference = dict_get(shared[LEAF_TABLE], place_object)
    leaf = shared[NONE]
    if reference != 0 and (targets == 0 or set_contains(targets, place_object) != 0):
        leaf = weakly_held(reference)
    claimed = True
    n = types.int64(1)
    array = shape = types.int64(0)
    buffer = types.int64(DEAD)
    if leaf != shared[NONE]:
        descr = shared[DESCR_64]
        if dtype == 0:
            descr = shared[DESCR_32]
        data = load64(leaf + shared[ARRAY_SLOT])
        ndim = load32(data + NDIM)
        dimensions = load64(data + DIMENSIONS)
        for i in range(ndim):
            n *= load64(dimensions + 8 * i)
        spec = load64(leaf + shared[SPEC_SLOT])
        shape = load64(spec + shared[SHAPE_SLOT])
        claimed = (
            load64(leaf + TYPE) == shared[TENSOR]
            and load64(spec + shared[SPECIAL_SLOT]) != shared[TRUE]
            and load64(data + DESCR) == descr
            and load32(data + FLAGS) & C_CONTIGUOUS != 0
            and n * (4 if dtype == 0 else 8) <= LARGE_BYTES
        )
        if claimed:
            incref(descr)
            array = call_new_array(
                shared[NEW_ARRAY], (shared[NDARRAY], descr, ndim, dimensions, 0, 0, 0, 0)
            )
            if array == 0:
                clear_error()  # of memory: Python will say so
                claimed = False
            else:
                buffer = load64(array + DATA)
    if claimed:
        row[PLACE] = place
        row[BUFFER] = buffer
        row[FILLED] = 0
        row[ARRAY] = array
        row[SIZE] = n
        row[DTYPE] = dtype
        row[SHAPE] = shape
    return claimed


@register_jitable(inline="always")
def give_gradients(shared_address: Any, leaves: Any, rows: Any) -> Any:
    """Make gradients of the arrays of leaves that have none; returns how many rows are left.

    Python has the rest: leaves that have a gradient, and those that are not what they were.
    """
    shared = carray(pointer_to(shared_address, types.int64(1)), SHARED_FIELDS)
    none = shared[NONE]
    left = types.int64(0)
    for k in range(rows):
        row = leaves[COLUMNS * k : COLUMNS * (k + 1)]
        if row[PLACE] != 0:
            given = False
            if row[ARRAY] != 0 and row[FILLED] != 0:
                # Made first: the cycle collector may run here, and free any leaf.
                gradient = new_object(shared[TENSOR], 0)
                place = as_object(row[PLACE])
                reference = types.int64(0)
                if gradient == 0 or place == 0:
                    clear_error()
                else:
                    reference = dict_get(shared[LEAF_TABLE], place)
                decref(place)
                leaf = none
                if reference != 0:
                    leaf = weakly_held(reference)
                if leaf != none:
                    before = load64(leaf + shared[GRAD_SLOT])
                    spec = load64(leaf + shared[SPEC_SLOT])
                    descr = load64(load64(leaf + shared[ARRAY_SLOT]) + DESCR)
                    if (
                        (before == 0 or before == none)
                        and load64(spec + shared[SHAPE_SLOT]) == row[SHAPE]
                        and load64(spec + shared[SPECIAL_SLOT]) != shared[TRUE]
                        and descr == load64(row[ARRAY] + DESCR)
                    ):
                        store64(gradient + shared[ARRAY_SLOT], row[ARRAY])
                        store64(gradient + shared[SPEC_SLOT], held(spec))
                        store64(gradient + shared[PLACE_SLOT], held(none))
                        store64(leaf + shared[GRAD_SLOT], gradient)
                        if before != 0:
                            decref(before)
                        given = True
                if not given:
                    decref(gradient)
            if given or row[BUFFER] == DEAD:
                row[PLACE] = 0
                row[BUFFER] = 0
                row[FILLED] = 0
                row[ARRAY] = 0
            else:
                left += 1
    return left


@register_jitable(inline="always")
def hand_over(adjoints: Any, owned: Any, leaves: Any, rows: Any) -> Any:
    """Enter the arrays of leaves in a dict, by place; returns how many rows are left, for Python.

    ``owned`` is the set of the places whose arrays nobody else has.
    """
    left = types.int64(0)
    for k in range(rows):
        row = leaves[COLUMNS * k : COLUMNS * (k + 1)]
        if row[PLACE] != 0:
            done = row[BUFFER] == DEAD
            if row[ARRAY] != 0 and row[FILLED] != 0:
                place = as_object(row[PLACE])
                if place != 0 and dict_set(adjoints, place, row[ARRAY]) == 0:
                    done = set_add(owned, place) == 0
                if place != 0:
                    decref(place)
                if done:
                    decref(row[ARRAY])
                else:
                    clear_error()  # of memory: Python will say so
            if done:
                row[PLACE] = 0
                row[BUFFER] = 0
                row[FILLED] = 0
                row[ARRAY] = 0
            else:
                left += 1
    return left

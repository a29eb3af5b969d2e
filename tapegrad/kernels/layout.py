"""Where machine code finds things: one table for the process, whose fields are named here.

The offsets of slots are probed, the addresses are those of this process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.kernels.native import api_function, keep_forever, offset_of
from tapegrad.modes import Switch, switch
from tapegrad.primitive import Primitive
from tapegrad.spec import Spec, spec_of, spec_table
from tapegrad.tape import tape

__all__ = ["SHARED_FIELDS", "make_shared"]

(
    TENSOR,  # ids of types
    FLOAT,
    INT,
    FLOATING_POINT_ERROR,
    RUNTIME_WARNING,
    NDARRAY,
    TUPLE,
    PRIMITIVE,
    VIEW,
    NONE,
    FALSE,
    TRUE,
    ZERO,
    DESCR_32,  # ids of dtypes
    DESCR_64,
    DESCR_BOOL,
    ARRAY_SLOT,  # offsets in a Tensor
    SPEC_SLOT,
    PLACE_SLOT,
    GRAD_SLOT,
    EXTRA_SLOT,
    VIEW_ARRAY_SLOT,  # offsets in a View
    VIEW_BASE_SLOT,
    VIEW_FUNCTION_SLOT,
    VIEW_INFERENCE_SLOT,
    VIEW_PARAMS_SLOT,
    VIEW_PRIMITIVE_SLOT,
    VIEW_RECORDING_SLOT,
    VIEW_SEVERAL_SLOT,
    ROOT_SLOT,
    ROOT_PLACE_SLOT,
    SHORT_SLOT,  # offsets in a Spec
    SPECIAL_SLOT,
    INFERENCE_SLOT,
    DETACHED_SLOT,
    NUMBER_SLOT,
    CONSTANTS_SLOT,
    SHAPE_SLOT,
    NBYTES_SLOT,
    DIFFERENTIABLE_SLOT,
    AS_BOOL_SLOT,
    AS_SPECIAL_SLOT,
    USUAL_SLOT,  # offsets in a Primitive
    FORWARD_SLOT,
    CODE_SLOT,
    PLANS_SLOT,
    VIEW_SLOT,
    VARIADIC_SLOT,
    SEVERAL_SLOT,
    CONTIGUOUS_SLOT,
    PLAIN,  # addresses of the switch's fields
    PAUSED,
    LIMIT,
    RECORDS,  # id of the list
    SERIALS,  # id of the counter
    SWEEP,  # id of the function
    LEAF_TABLE,  # ids of dictionaries
    SPECS,
    AS_ARRAY,  # ids of functions
    AS_CONTIGUOUS,
    SPEC_OF,
    PLAN,
    MARK_VIEW,
    BYTES,  # kept by records since the last sweep, of arrays that are not small
    NEW_ARRAY,  # address of PyArray_NewFromDescr
) = range(65)
SHARED_FIELDS = 65

#: The number of PyArray_NewFromDescr in NumPy's table of functions.
NEW_FROM_DESCR = 94


def make_shared(kind: Any, view_kind: Any, mark_view: Callable[..., None]) -> np.ndarray:
    """The table, for Tensors and views of these types. It lives as long as the process.

    ``mark_view(out, primitive, base, params)`` makes a Tensor a view.
    """
    fields = np.zeros(SHARED_FIELDS, np.int64)
    counter, sweep = tape.next_serial.__self__, tape.sweep  # type: ignore[attr-defined]
    errors = (FloatingPointError, RuntimeWarning)
    kinds = (kind, float, int, *errors, np.ndarray, tuple, Primitive, view_kind)
    things = (*kinds, None, False, True, 0, *map(np.dtype, "fd?"))
    fields[TENSOR : TENSOR + len(things)] = [id(thing) for thing in things]
    for first, owner, slots in (
        (ARRAY_SLOT, kind, ("_array", "_spec", "_place", "_grad", "_extra")),
        (
            VIEW_ARRAY_SLOT,
            view_kind,
            (
                *("array", "base", "function", "inference", "params", "primitive", "recording"),
                *("several", "root", "root_place"),
            ),
        ),
        (
            SHORT_SLOT,
            Spec,
            (
                *("short", "special", "inference", "detached"),
                *("number", "constants", "shape", "nbytes", "differentiable", "as_bool"),
                "as_special",
            ),
        ),
        (
            USUAL_SLOT,
            Primitive,
            ("usual", "forward", "code", "plans", "view", "variadic", "several", "contiguous"),
        ),
    ):
        fields[first : first + len(slots)] = [offset_of(owner, slot) for slot in slots]
    switches = [id(switch) + offset_of(Switch, slot) for slot in ("plain", "paused", "limit")]
    fields[PLAIN : PLAIN + len(switches)] = switches
    tables = (tape.records, counter, sweep, tape.leaves, spec_table)
    known = (*tables, np.asarray, np.ascontiguousarray, spec_of, Primitive.plan, mark_view)
    fields[RECORDS : RECORDS + len(known)] = [id(thing) for thing in known]
    fields[NEW_ARRAY] = api_function(NEW_FROM_DESCR)
    keep_forever((fields, *things, *known))
    return fields

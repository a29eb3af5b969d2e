"""`recording.apply` for structural primitives, natively: what stands around the forward function.

The forward function itself is Python's and NumPy's. Whatever isn't usual (a view whose base has
moved on, several outputs, inference mode, an exception) is left to `apply`.
"""

from __future__ import annotations

from typing import Any

from numba import carray, types
from numba.extending import register_jitable

from tapegrad.kernels.cache import source_cache
from tapegrad.kernels.layout import (
    ARRAY_SLOT,
    AS_ARRAY,
    AS_CONTIGUOUS,
    AS_SPECIAL_SLOT,
    CODE_SLOT,
    CONTIGUOUS_SLOT,
    DIFFERENTIABLE_SLOT,
    EXTRA_SLOT,
    FALSE,
    FLOATING_POINT_ERROR,
    FORWARD_SLOT,
    MARK_VIEW,
    NBYTES_SLOT,
    NDARRAY,
    NONE,
    NUMBER_SLOT,
    PLACE_SLOT,
    PLAN,
    PLANS_SLOT,
    PRIMITIVE,
    RECORDS,
    ROOT_PLACE_SLOT,
    ROOT_SLOT,
    RUNTIME_WARNING,
    SERIALS,
    SEVERAL_SLOT,
    SHAPE_SLOT,
    SHARED_FIELDS,
    SPEC_OF,
    SPEC_SLOT,
    SPECIAL_SLOT,
    SPECS,
    TENSOR,
    TRUE,
    TUPLE,
    USUAL_SLOT,
    VARIADIC_SLOT,
    VIEW,
    VIEW_ARRAY_SLOT,
    VIEW_BASE_SLOT,
    VIEW_FUNCTION_SLOT,
    VIEW_INFERENCE_SLOT,
    VIEW_PARAMS_SLOT,
    VIEW_PRIMITIVE_SLOT,
    VIEW_RECORDING_SLOT,
    VIEW_SEVERAL_SLOT,
    VIEW_SLOT,
)
from tapegrad.kernels.native import (
    BASE,
    C_CONTIGUOUS,
    DESCR,
    DIMENSIONS,
    FLAGS,
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
from tapegrad.kernels.steps import OTHERWISE, RECORDING, is_settled, mode_of, sweep_if_due

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
    mode = mode_of(shared)
    if (count != 2 and count != 3) or names != 0 or mode == OTHERWISE:
        return call_object(op[FALLBACK], args, count, names)
    primitive = load64(args)
    inputs = load64(args + 8)
    params = load64(args + 16) if count == 3 else types.int64(0)
    ready = (
        load64(primitive + TYPE) == shared[PRIMITIVE]
        and load64(inputs + TYPE) == shared[TUPLE]
        and (params == 0 or load64(params + TYPE) == shared[TUPLE])
    )
    variadic = False
    if ready:
        variadic = load64(primitive + shared[VARIADIC_SLOT]) == true
        ready = variadic or load64(primitive + shared[USUAL_SLOT]) == true
    n = given = types.int64(0)
    if ready:
        n = tuple_size(inputs)
        given = tuple_size(params) if params != 0 else types.int64(0)
        ready = n > 0 and n <= MOST and given <= MOST
    mask = types.int64(0)
    nbytes = types.int64(0)
    specs = vector()
    if ready:
        for i in range(n):
            x = tuple_get(inputs, i)
            if load64(x + TYPE) != shared[TENSOR] or load64(x + shared[PLACE_SLOT]) == 0:
                ready = False
                break
            spec = load64(x + shared[SPEC_SLOT])
            if not is_settled(shared, x):
                ready = False
                break
            store64(specs + 8 * i, spec)
            if load64(x + shared[PLACE_SLOT]) != none:
                mask |= one << i
            nbytes += own_int(load64(spec + shared[NBYTES_SLOT]))
    if not ready:
        return call_object(op[FALLBACK], args, count, names)

    # The arguments: held by a tuple, since what is called may do anything.
    arrays = tuple_new(n + given)
    places = tuple_new(n)
    if arrays == 0 or places == 0:
        decref(arrays)
        decref(places)
        return 0
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
    if variadic:
        array = _call_with_all(shared, primitive, arrays, n, given, stack)
    else:
        array = call_object(load64(primitive + shared[FORWARD_SLOT]), stack, n + given, 0)
    if array != 0 and load64(array + TYPE) != shared[NDARRAY]:
        store64(stack, array)
        result = array
        array = call_object(shared[AS_ARRAY], stack, 1, 0)
        decref(result)
    elif (
        array != 0
        and load64(primitive + shared[CONTIGUOUS_SLOT]) == true
        and (load32(array + FLAGS) & C_CONTIGUOUS) == 0
    ):
        store64(stack, array)
        result = array
        array = call_object(shared[AS_CONTIGUOUS], stack, 1, 0)
        decref(result)
    if array == 0:
        decref(arrays)
        decref(places)
        if error_matches(shared[FLOATING_POINT_ERROR]) or error_matches(shared[RUNTIME_WARNING]):
            # Of NumPy, if the user's settings make it raise: Python runs it again without.
            clear_error()
            return call_object(op[FALLBACK], args, count, names)
        return 0
    spec = _spec_of(shared, array, stack)
    out = types.int64(0)
    if spec != 0:
        out = new_object(shared[TENSOR], 0)
    if out == 0:
        decref(spec)
        decref(array)
        decref(arrays)
        decref(places)
        return 0
    store64(out + shared[ARRAY_SLOT], array)
    store64(out + shared[SPEC_SLOT], spec)
    store64(out + shared[PLACE_SLOT], held(none))

    done = True
    if mode == RECORDING and mask != 0 and load64(spec + shared[DIFFERENTIABLE_SLOT]) == true:
        plan = _plan(shared, primitive, mask | (one << n) if variadic else mask, stack)
        done = plan != 0
        if done and plan != none:
            nbytes += own_int(load64(spec + shared[NBYTES_SLOT]))
            done = _record(shared, primitive, plan, arrays, places, specs, out, stack, variadic)
            if done:
                serial = own_int(load64(out + shared[PLACE_SLOT]))
                done = sweep_if_due(shared, serial, nbytes)
        decref(plan)
    decref(arrays)
    decref(places)
    if done and load64(primitive + shared[VIEW_SLOT]) == true:
        made = held(params) if params != 0 else tuple_new(0)
        base = tuple_get(inputs, 0)
        if made == 0:
            done = False
        elif is_simple_view(shared, array, base):
            done = make_view(shared, out, primitive, base, made, mode)
        else:
            store64(stack, out)
            store64(stack + 8, primitive)
            store64(stack + 16, base)
            store64(stack + 24, made)
            marked = call_object(shared[MARK_VIEW], stack, 4, 0)
            decref(marked)
            done = marked != 0
        decref(made)
    if not done:
        decref(out)
        return 0
    return out


@register_jitable
def is_simple_view(shared: Any, array: Any, base: Any) -> Any:
    """Whether an array shares the memory of a Tensor that isn't special itself."""
    shares = array == load64(base + shared[ARRAY_SLOT]) or load64(array + BASE) != 0
    return (
        shares and load64(load64(base + shared[SPEC_SLOT]) + shared[SPECIAL_SLOT]) != shared[TRUE]
    )


@register_jitable
def make_view(shared: Any, out: Any, primitive: Any, base: Any, params: Any, mode: Any) -> Any:
    """`recording.mark_view` for such a base. False with an exception set."""
    view = new_object(shared[VIEW], 0)
    if view != 0:
        recording = shared[TRUE] if mode == RECORDING else shared[FALSE]
        store64(view + shared[VIEW_ARRAY_SLOT], held(load64(base + shared[ARRAY_SLOT])))
        store64(view + shared[VIEW_BASE_SLOT], held(base))
        store64(view + shared[VIEW_FUNCTION_SLOT], held(shared[NONE]))
        store64(view + shared[VIEW_INFERENCE_SLOT], held(shared[FALSE]))
        store64(view + shared[VIEW_PARAMS_SLOT], held(params))
        store64(view + shared[VIEW_PRIMITIVE_SLOT], held(primitive))
        store64(view + shared[VIEW_RECORDING_SLOT], held(recording))
        store64(view + shared[VIEW_SEVERAL_SLOT], held(load64(primitive + shared[SEVERAL_SLOT])))
        store64(view + shared[ROOT_SLOT], held(base))
        store64(view + shared[ROOT_PLACE_SLOT], held(load64(base + shared[PLACE_SLOT])))
        store64(out + shared[EXTRA_SLOT], view)
        spec = load64(out + shared[SPEC_SLOT])
        store64(out + shared[SPEC_SLOT], held(load64(spec + shared[AS_SPECIAL_SLOT])))
        decref(spec)
    return view != 0


@register_jitable
def _call_with_all(
    shared: Any, primitive: Any, arrays: Any, n: Any, given: Any, stack: Any
) -> Any:  # fmt: skip
    """``forward((*arrays), *params)``: a new reference, or 0 with an exception set."""
    array = types.int64(0)
    inputs = tuple_new(n)
    if inputs != 0:
        for i in range(n):
            tuple_set(inputs, i, held(tuple_get(arrays, i)))
        store64(stack, inputs)
        for i in range(given):
            store64(stack + 8 * (1 + i), tuple_get(arrays, n + i))
        array = call_object(load64(primitive + shared[FORWARD_SLOT]), stack, 1 + given, 0)
    decref(inputs)
    return array


@register_jitable
def _spec_of(shared: Any, array: Any, stack: Any) -> Any:
    """The spec of an array: a new reference, or 0 with an exception set."""
    ndim = load32(array + NDIM)
    dimensions = load64(array + DIMENSIONS)
    shape = tuple_new(ndim)
    key = tuple_new(2)
    whole = shape != 0 and key != 0
    if shape != 0:
        for i in range(ndim):
            size = as_object(load64(dimensions + 8 * i))
            whole = whole and size != 0
            tuple_set(shape, i, size)
    spec = types.int64(0)
    if key != 0:
        tuple_set(key, 0, shape)
        tuple_set(key, 1, held(load64(array + DESCR)))
    if whole:
        spec = held(dict_get(shared[SPECS], key))
    if key == 0:
        decref(shape)
    decref(key)
    if whole and spec == 0:
        store64(stack, array)
        spec = call_object(shared[SPEC_OF], stack, 1, 0)
    return spec


@register_jitable
def _plan(shared: Any, primitive: Any, mask: Any, stack: Any) -> Any:
    """What `Primitive.plan` gives: a new reference, or 0 with an exception set."""
    number = as_object(mask)
    plan = types.int64(0)
    if number != 0:
        plan = held(dict_get(load64(primitive + shared[PLANS_SLOT]), number))
        if plan == 0:
            store64(stack, primitive)
            store64(stack + 8, number)
            plan = call_object(shared[PLAN], stack, 2, 0)
    decref(number)
    return plan


@register_jitable
def _record(
    shared: Any, primitive: Any, plan: Any, arrays: Any, places: Any, specs: Any, out: Any,
    stack: Any, variadic: Any,
) -> Any:  # fmt: skip
    """Append the record of ``out`` and give it its place; False with an exception set."""
    none = shared[NONE]
    n = tuple_size(places)
    given = tuple_size(arrays) - n
    spec = load64(out + shared[SPEC_SLOT])
    candidates = tuple_new(n + 2)
    saved = types.int64(0)
    if candidates != 0:
        tuple_set(candidates, 0, held(none))
        for i in range(n):
            tuple_set(candidates, i + 1, held(tuple_get(arrays, i)))
        tuple_set(candidates, n + 1, held(load64(out + shared[ARRAY_SLOT])))
        store64(stack, candidates)
        saved = call_object(tuple_get(plan, 1), stack, 1, 0)
    decref(candidates)
    # The parameters and shapes; the shapes of any number of inputs are a tuple of their own.
    kept = tuple_new(given + (1 if variadic else n))
    shapes = tuple_new(n) if variadic else kept
    record = tuple_new(5 + 2 * n)
    serial = types.int64(0)
    if saved != 0 and kept != 0 and shapes != 0 and record != 0:
        serial = next_of(shared[SERIALS])
    if serial == 0:
        decref(saved)
        decref(kept)
        if variadic:
            decref(shapes)
        decref(record)
        return False
    dropped = tuple_get(plan, 0)
    for i in range(given):
        tuple_set(kept, i, held(tuple_get(arrays, n + i)))
    for i in range(n):
        shape = load64(load64(specs + 8 * i) + shared[SHAPE_SLOT])
        tuple_set(shapes, i if variadic else given + i, held(shape))
    if variadic:
        tuple_set(kept, given, shapes)
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
    # The collector has nothing to find from here: numbers, arrays and tuples of numbers.
    untrack(record)
    appended = list_append(shared[RECORDS], record)
    if appended == 0:
        store64(out + shared[PLACE_SLOT], held(serial))
        decref(none)
    decref(record)
    decref(saved)
    return appended == 0


def compile_apply() -> Any:
    """The compiled function, from the cache where it is there."""
    cache = source_cache("apply", _apply)
    return compile_native(_apply, types.int64(*[types.int64] * 5), cache)

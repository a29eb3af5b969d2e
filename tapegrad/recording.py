"""Recording: running a primitive on Tensors and appending its record to the tape.

`apply` is the whole of it, for every primitive, dtype, shape and mode:

    z = x * y       ->  array = np.multiply(x._array, y._array)
                        record = (place, mul, spec, None, x._place, y._place, x?, y?, None)
                        z = Tensor(array, place)

where ``x?`` is x's array if the rule of an input that wants a derivative names it, and None
otherwise. `tapegrad.shortpaths` writes the same steps out for the common case.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.batched import any_batched, rules
from tapegrad.fused import library
from tapegrad.modes import modes, switch
from tapegrad.operands import (
    check_broadcast,
    check_inference,
    not_implemented,
    promoted,
)
from tapegrad.primitive import Primitive, quietly, structural
from tapegrad.spec import Spec, spec_of
from tapegrad.tape import tape
from tapegrad.tensor import Tensor, View, as_tensor_input, place_of
from tapegrad.threads import LARGE_BYTES

__all__ = ["apply", "elementwise_apply", "mark_view", "record"]

new = Tensor.__new__
ndarray = np.ndarray
_next_serial = tape.next_serial


def apply(primitive: Primitive, inputs: tuple[Any, ...], params: tuple[Any, ...] = ()) -> Any:
    """Run a primitive on Tensors (or numbers and arrays, where it takes them) and record it.

    Raises torch's RuntimeError where shapes don't broadcast, before anything is recorded.
    """
    if primitive.elementwise:
        return elementwise_apply(primitive, inputs)
    if not primitive.usual:
        return _structural(primitive, inputs, params)
    if switch.batched and any_batched(inputs):
        return rules.apply(primitive, inputs, params)
    # The usual structural primitive: the same as `_structural` and `record`, in one loop.
    arrays, places, shapes = [], [], []
    mask, bit = 0, 1
    nbytes = 0
    special = False
    for tensor in inputs:
        if type(tensor) is not Tensor:
            tensor = as_tensor_input(tensor)
        spec = tensor._spec
        if spec.special:
            special = True
            place = place_of(tensor)
        else:
            place = tensor._place
        if place is not None:
            mask |= bit
        bit += bit
        arrays.append(tensor._array)
        places.append(place)
        shapes.append(spec.shape)
        nbytes += spec.nbytes
    array = quietly(primitive.forward, (*arrays, *params))
    if type(array) is not ndarray:
        array = np.asarray(array)
    elif primitive.contiguous and not array.flags.c_contiguous:
        array = np.ascontiguousarray(array)
    out = new(Tensor)
    out._array = array
    spec = out._spec = spec_of(array)
    out._place = None
    if mask and modes.grad and spec.differentiable:
        plan = primitive.plans[mask] if mask in primitive.plans else primitive.plan(mask)
        if plan is not None:
            dropped, pick = plan
            for i in dropped:
                places[i] = None
            saved = pick((None, *arrays, array))
            if special:
                check_inference(inputs, saved)
            serial = out._place = _next_serial()
            fields = (serial, primitive.code, spec.number, (*params, *shapes))
            tape.append((*fields, *places, *saved), nbytes + spec.nbytes)
    elif not switch.plain and modes.inference:
        out._spec = spec.as_inference
    if primitive.view:
        base = inputs[0]
        mark_view(out, primitive, base if isinstance(base, Tensor) else tensor, params)
    return out


def elementwise_apply(primitive: Primitive, inputs: tuple[Any, ...]) -> Tensor:
    """`apply` for an elementwise primitive."""
    if switch.batched and any_batched(inputs):
        return rules.apply(primitive, inputs, ())
    if primitive.check is not None:
        primitive.check(*inputs)
    tensors, arrays, mixed = promoted(primitive, inputs)
    if arrays[-1].dtype.kind in primitive.refuses:
        raise not_implemented(primitive, arrays[-1])
    array = _compute(primitive, arrays)
    if mixed is None:
        for t, a in zip(tensors, arrays):
            if a.ndim == 0 and t._place is None and not t._spec.special:
                continue  # a number, whose own share nobody asks for
            if a.shape != array.shape or a.dtype.kind == "c" != array.dtype.kind:
                mixed = tuple(t._spec.number for t in tensors)
                break
    out = new(Tensor)
    out._array = array
    spec = out._spec = spec_of(array)
    out._place = None
    if modes.grad:
        out._place = record(primitive, tensors, arrays, mixed, spec, array)
    elif modes.inference:
        out._spec = spec.as_inference
    return out


def _structural(primitive: Primitive, inputs: tuple[Any, ...], params: tuple[Any, ...]) -> Any:
    """A structural primitive of any number of inputs or of several outputs."""
    if primitive.arity < 0 and len(inputs) == 1 and type(inputs[0]) in (tuple, list):
        inputs = tuple(inputs[0])
    if switch.batched and any_batched(inputs):
        return rules.apply(primitive, inputs, params)
    tensors = tuple(map(as_tensor_input, inputs))
    arrays = tuple([t._array for t in tensors])
    given = (arrays,) if primitive.arity < 0 else arrays
    result = quietly(primitive.forward, (*given, *params))
    if primitive.outputs > 1:
        return _outputs(primitive, tensors, arrays, params, result)
    array = np.asarray(result)
    out = wrap(array)
    if modes.grad:
        out._place = record(primitive, tensors, arrays, params, out._spec, array)
    return out


def record(
    primitive: Primitive,
    tensors: tuple[Tensor, ...],
    arrays: tuple[np.ndarray, ...],
    params: Any,
    spec: Spec,
    array: Any,
) -> int | None:
    """Append the record of a primitive that has run, if an input asks for it; returns its place."""
    places: list[int | None] = []
    mask = 0
    bit = 1
    nbytes = spec.nbytes
    special = False
    for tensor in tensors:
        if tensor._spec.special:
            special = True
            place = place_of(tensor)
        else:
            place = tensor._place
        if place is not None:
            mask |= bit
        bit += bit
        places.append(place)
        nbytes += tensor._spec.nbytes
    if not mask:
        return None
    if primitive.arity < 0:
        kept = primitive.saves[0]
        inputs = arrays if 0 in kept else (None,) * len(arrays)
        saved = (*inputs, array if 1 in kept else None)
    else:
        plan = primitive.plans[mask] if mask in primitive.plans else primitive.plan(mask)
        if plan is None:
            return None
        dropped, pick = plan
        for i in dropped:
            places[i] = None
        saved = pick((None, *arrays, array))
    if primitive.outputs == 1 and not spec.differentiable:
        return None
    if special:
        check_inference(tensors, saved)
    if not primitive.elementwise:
        shapes = [tensor._spec.shape for tensor in tensors]
        params = (*params, tuple(shapes)) if primitive.arity < 0 else (*params, *shapes)
    place = _next_serial()
    tape.append((place, primitive.code, spec.number, params, *places, *saved), nbytes)
    return place


def _compute(primitive: Primitive, arrays: tuple[np.ndarray, ...]) -> np.ndarray:
    large = arrays[0].nbytes > LARGE_BYTES or arrays[-1].nbytes > LARGE_BYTES
    if len(arrays) == 3:
        large = large or arrays[1].nbytes > LARGE_BYTES
    elif not large and arrays[0].nbytes * arrays[-1].size > LARGE_BYTES:
        large = arrays[0].shape != arrays[-1].shape  # what they are broadcast to may be
    if large and library.forward is not None:
        array = library.forward(primitive, arrays)
        if array is not None:
            return array
    try:
        array = quietly(primitive.forward, arrays)
    except ValueError:
        check_broadcast(arrays)
        raise
    except TypeError as error:
        if "not supported for the input types" not in str(error):
            raise
        raise not_implemented(primitive, arrays[-1]) from None
    return array if type(array) is np.ndarray else np.asarray(array)


# -- several outputs -------------------------------------------------------------------------------


def _output_forward(x: Any, position: int) -> Any:
    return x[position]


def _output_x(out_bar: Any, position: int) -> Any:
    return out_bar


#: The record of one of several outputs: its input is the record that made them all.
output = structural("output", _output_forward, _output_x)


def _outputs(
    primitive: Primitive,
    tensors: tuple[Tensor, ...],
    arrays: tuple[np.ndarray, ...],
    params: tuple[Any, ...],
    results: tuple[Any, ...],
) -> tuple[Tensor, ...]:
    results = tuple(np.asarray(r) for r in results)
    place = None
    if modes.grad:
        place = record(primitive, tensors, arrays, params, spec_of(results[0]), results)
    return wrap_outputs(results, place)


def wrap_outputs(results: tuple[np.ndarray, ...], place: int | None) -> tuple[Tensor, ...]:
    """Tensors over the outputs of the record at ``place``, each with a record of its own."""
    made = tuple(wrap(r) for r in results)
    if place is not None:
        for position, tensor in enumerate(made):
            if tensor._spec.dtype.kind in "fc":
                tensor._place = _next_serial()
                fields = (tensor._place, output.code, tensor._spec.number, (position,), place)
                tape.append((*fields, None, None), 0)
    return made


def wrap_saved(value: Any, place: int | None) -> Any:
    """What a record saved, as a Tensor at its place again: for the rules in a recorded backward."""
    return wrap_outputs(value, place) if type(value) is tuple else wrap(value, place)


def wrap(array: np.ndarray, place: int | None = None) -> Tensor:
    """A Tensor over an array, without any check."""
    out = new(Tensor)
    out._array = array
    out._spec = spec_of(array)
    out._place = place
    if not switch.plain and modes.inference:
        out._spec = out._spec.as_inference
    return out


def mark_view(out: Tensor, primitive: Primitive, base: Tensor, params: tuple[Any, ...]) -> None:
    """Make the result of a view primitive a view of its input, if it shares the memory."""
    array = out._array
    if array is not base._array and array.base is None:
        return  # such as a reshape that had to copy
    if base._spec.inference:
        out._spec = out._spec.as_inference
        return
    out._extra = View(base, primitive, params, modes.grad)
    spec = out._spec  # in inference mode a view of what wasn't made there isn't marked
    out._spec = (spec_of(array) if spec.inference else spec).as_special


Primitive.apply = staticmethod(apply)

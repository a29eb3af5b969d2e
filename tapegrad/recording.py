"""Recording: running a primitive on Tensors and appending its record to the tape.

`apply` is the whole of it, for every primitive, dtype, shape and mode:

    z = x * y       ->  array = np.multiply(x._array, y._array)
                        record = (place, mul, spec, None, x._place, y._place, x?, y?, None)
                        z = Tensor(array, place)

where ``x?`` is x's array if the rule of an input that wants a derivative names it, and None
otherwise. `unary` and `binary` make from a primitive the function that people call: the same steps
written out for the common case (two Tensors of one spec, real, small; no thread in another mode, or
this one under `no_grad`), and `apply` for the rest.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.modes import modes, switch
from tapegrad.operands import (
    as_function,
    as_operator,
    check_broadcast,
    check_inference,
    not_implemented,
    promoted,
)
from tapegrad.primitive import Primitive, structural
from tapegrad.spec import Spec, spec_of
from tapegrad.tape import tape
from tapegrad.tensor import Tensor, View, as_tensor_input, place_of

__all__ = ["apply", "binary", "record", "unary"]

new = Tensor.__new__
ndarray = np.ndarray
_append = tape.records.append
_next_serial = tape.next_serial


def apply(primitive: Primitive, inputs: tuple[Any, ...], params: tuple[Any, ...] = ()) -> Any:
    """Run a primitive on Tensors (or numbers and arrays, where it takes them) and record it.

    Raises torch's RuntimeError where shapes don't broadcast, before anything is recorded.
    """
    if primitive.elementwise:
        return _elementwise(primitive, inputs)
    if primitive.arity < 0 or primitive.outputs > 1:
        return _structural(primitive, inputs, params)
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
    array = _quietly(primitive.forward, (*arrays, *params))
    if type(array) is not ndarray:
        array = np.asarray(array)
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
        _mark_view(out, primitive, base if isinstance(base, Tensor) else tensor, params)
    return out


def _elementwise(primitive: Primitive, inputs: tuple[Any, ...]) -> Tensor:
    if primitive.check is not None:
        primitive.check(*inputs)
    tensors, arrays, mixed = promoted(primitive, inputs)
    if arrays[-1].dtype.kind in primitive.refuses:
        raise not_implemented(primitive, arrays[-1])
    array = _compute(primitive, arrays)
    if mixed is None:
        for a in arrays:
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
    tensors = tuple(map(as_tensor_input, inputs))
    arrays = tuple([t._array for t in tensors])
    given = (arrays,) if primitive.arity < 0 else arrays
    result = _quietly(primitive.forward, (*given, *params))
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


def _quietly(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Call without a floating-point warning or error: torch has none.

    A try costs nothing where an errstate would cost each call; if the user's settings made NumPy
    raise, the call is made again under one.
    """
    try:
        return function(*arguments)
    except (FloatingPointError, RuntimeWarning):
        with np.errstate(all="ignore"):
            return function(*arguments)


def _compute(primitive: Primitive, arrays: tuple[np.ndarray, ...]) -> np.ndarray:
    try:
        array = _quietly(primitive.forward, arrays)
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


def _mark_view(out: Tensor, primitive: Primitive, base: Tensor, params: tuple[Any, ...]) -> None:
    array = out._array
    if array is not base._array and array.base is None:
        return  # such as a reshape that had to copy
    if base._spec.inference:
        out._spec = out._spec.as_inference
        return
    out._extra = View(base, primitive, params, modes.grad)
    spec = out._spec  # in inference mode a view of what wasn't made there isn't marked
    out._spec = (spec_of(array) if spec.inference else spec).as_special


# -- the common case, written out ------------------------------------------------------------------


def _for_scalars(forward: Callable[..., Any]) -> Callable[..., Any]:
    """The forward function for 0-d arrays, of which NumPy makes scalars unless told not to."""
    if isinstance(forward, np.ufunc):
        return functools.partial(forward, out=...)

    def as_array(*arrays: Any) -> np.ndarray:
        return np.asarray(forward(*arrays))

    return as_array


def unary(primitive: Primitive) -> Callable[[Any], Any]:
    """The function of an elementwise primitive of one input."""
    forward = primitive.forward
    forward_scalar = _for_scalars(forward)
    code = primitive.code
    saves = primitive.saves[0]
    saves_x, saves_out = 0 in saves, 1 in saves
    next_serial, append = _next_serial, _append
    recorded = primitive.bound[0] is not None

    def op(input: Any) -> Any:
        if type(input) is Tensor:
            spec = input._spec
            recording = switch.plain
            if spec.plain and recorded and (recording or modes.paused):
                x = input._array
                try:
                    y = forward(x) if spec.ndim else forward_scalar(x)
                except (FloatingPointError, RuntimeWarning):
                    return apply(primitive, (input,))
                out = new(Tensor)
                out._array = y
                out._spec = spec
                place = input._place
                if place is None or not recording:
                    out._place = None
                    return out
                serial = out._place = next_serial()
                append(
                    (
                        serial,
                        code,
                        spec.number,
                        None,
                        place,
                        x if saves_x else None,
                        y if saves_out else None,
                    )
                )
                if serial > switch.limit:
                    tape.sweep()
                return out
            return apply(primitive, (input,))
        return as_function(primitive, (input,))

    return op


def binary(
    primitive: Primitive, *, operator: bool = False, reflected: Primitive | None = None
) -> Callable[[Any, Any], Any]:
    """The function of an elementwise primitive of two inputs.

    ``operator``: for Python's operators; ``reflected``: with the operands swapped, recorded as this
    primitive where the first one is a number.
    """
    unusual = as_operator if operator else as_function
    numbers = operator or "y" in primitive.numbers
    if primitive.bound == (None, None):
        # The short path is for results of the inputs' dtype, and comparisons give bools.
        def compare(input: Any, other: Any) -> Any:
            inputs = (other, input) if reflected else (input, other)
            if type(input) is Tensor and type(other) is Tensor:
                return _elementwise(primitive, inputs)
            return unusual(primitive, inputs)

        return compare
    forward = primitive.forward
    forward_scalar = _for_scalars(forward)
    code = primitive.code
    of_x, of_y = primitive.saves
    x_for_x, y_for_x, out_for_x = 0 in of_x, 1 in of_x, 2 in of_x
    x_for_y, y_for_y, out_for_y = 0 in of_y, 1 in of_y, 2 in of_y
    next_serial, append = _next_serial, _append

    def op(input: Any, other: Any) -> Any:
        if type(input) is Tensor:
            spec = input._spec
            recording = switch.plain
            if spec.plain and (recording or modes.paused):
                x = input._array
                kind = type(other)
                if kind is Tensor:
                    if other._spec is not spec:
                        return apply(primitive, (input, other))
                    y = other._array
                    y_place = other._place
                elif (kind is float or kind is int) and numbers:
                    y = spec.constants.get(other)
                    if y is None:
                        y = spec.constant(other)
                    y_place = None
                else:
                    return unusual(primitive, (input, other))
                try:
                    z = forward(x, y) if spec.ndim else forward_scalar(x, y)
                except (FloatingPointError, RuntimeWarning):
                    return apply(primitive, (input, other))
                out = new(Tensor)
                out._array = z
                out._spec = spec
                x_place = input._place
                if y_place is None or not recording:
                    if x_place is None or not recording:
                        out._place = None
                        return out
                    serial = out._place = next_serial()
                    append((
                        serial, code, spec.number, None, x_place, None,
                        x if x_for_x else None, y if y_for_x else None, z if out_for_x else None,
                    ))  # fmt: skip
                elif x_place is None:
                    serial = out._place = next_serial()
                    append((
                        serial, code, spec.number, None, None, y_place,
                        x if x_for_y else None, y if y_for_y else None, z if out_for_y else None,
                    ))  # fmt: skip
                else:
                    serial = out._place = next_serial()
                    append((
                        serial, code, spec.number, None, x_place, y_place,
                        x if x_for_x or x_for_y else None, y if y_for_x or y_for_y else None,
                        z if out_for_x or out_for_y else None,
                    ))  # fmt: skip
                if serial > switch.limit:
                    tape.sweep()
                return out
            if type(other) is Tensor:
                return apply(primitive, (input, other))
        return unusual(primitive, (input, other))

    if reflected is None:
        return op
    number_first, code_number_first = reflected, reflected.code

    def reflected_op(input: Any, other: Any) -> Any:
        kind = type(other)
        if type(input) is Tensor and (kind is float or kind is int):
            spec = input._spec
            recording = switch.plain
            if spec.plain and (recording or modes.paused):
                y = input._array
                x = spec.constants.get(other)
                if x is None:
                    x = spec.constant(other)
                try:
                    z = forward(x, y) if spec.ndim else forward_scalar(x, y)
                except (FloatingPointError, RuntimeWarning):
                    return apply(number_first, (other, input))
                out = new(Tensor)
                out._array = z
                out._spec = spec
                y_place = input._place
                if y_place is None or not recording:
                    out._place = None
                    return out
                serial = out._place = next_serial()
                append((
                    serial, code_number_first, spec.number, None, None, y_place,
                    x if x_for_y else None, y if y_for_y else None, z if out_for_y else None,
                ))  # fmt: skip
                if serial > switch.limit:
                    tape.sweep()
                return out
        return unusual(primitive if type(other) is Tensor else number_first, (other, input))

    return reflected_op


Primitive.apply = staticmethod(apply)

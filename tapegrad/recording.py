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

from tapegrad import dtypes
from tapegrad.modes import modes, switch
from tapegrad.primitive import Primitive, structural
from tapegrad.spec import Spec, spec_of
from tapegrad.tape import tape
from tapegrad.tensor import Tensor, View, as_tensor_input, place_of

__all__ = ["apply", "binary", "mark_view", "record", "unary"]

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
    if not primitive.usual:
        return _structural(primitive, inputs, params)
    # The usual structural primitive: the same as `_structural` and `record`, in one loop.
    arrays, places, shapes = [], [], []
    mask, bit = 0, 1
    nbytes = 0
    for tensor in inputs:
        if type(tensor) is not Tensor:
            tensor = as_tensor_input(tensor)
        spec = tensor._spec
        place = place_of(tensor) if spec.special else tensor._place
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
            serial = out._place = _next_serial()
            saved = pick((None, *arrays, array))
            fields = (serial, primitive.code, spec.number, (*params, *shapes))
            tape.append((*fields, *places, *saved), nbytes + spec.nbytes)
    if primitive.view:
        base = inputs[0]
        mark_view(out, primitive, base if isinstance(base, Tensor) else tensor, params)
    return out


def _elementwise(primitive: Primitive, inputs: tuple[Any, ...]) -> Tensor:
    tensors, arrays, mixed = _promoted(primitive, inputs)
    array = _compute(primitive, arrays)
    if mixed is None:
        for a in arrays:
            if a.shape != array.shape or a.dtype.kind == "c" != array.dtype.kind:
                mixed = tuple(t._spec.number for t in tensors)
                break
    out = new(Tensor)
    out._array = array
    spec = out._spec = spec_of(array)
    out._place = record(primitive, tensors, arrays, mixed, spec, array) if modes.grad else None
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
    for tensor in tensors:
        place = place_of(tensor) if tensor._spec.special else tensor._place
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
        _check_broadcast(arrays)
        raise
    return array if type(array) is np.ndarray else np.asarray(array)


def _check_broadcast(arrays: tuple[np.ndarray, ...]) -> None:
    """Raise torch's error if the shapes don't broadcast."""
    for a in arrays:
        for b in arrays:
            for k in range(1, min(a.ndim, b.ndim) + 1):
                m, n = a.shape[-k], b.shape[-k]
                if m != n and m != 1 and n != 1:
                    dim = max(a.ndim, b.ndim) - k
                    raise RuntimeError(
                        f"The size of tensor a ({m}) must match the size of tensor b ({n}) at "
                        f"non-singleton dimension {dim}"
                    )


_NUMBERS = (bool, int, float, complex)
_promotions: dict[Any, np.dtype[Any]] = {}


def _promoted(
    primitive: Primitive, inputs: tuple[Any, ...]
) -> tuple[tuple[Tensor, ...], tuple[np.ndarray, ...], tuple[int, ...] | None]:
    """The inputs as Tensors, and their arrays in the dtype in which torch computes.

    Third, if an array had to be cast, the specs that the inputs had.
    """
    first = inputs[0]
    if type(first) is Tensor and first._spec.dtype.kind in "fc" and not primitive.condition:
        # Real or complex Tensors of one dtype: nothing to promote.
        dtype = first._spec.dtype
        for x in inputs:
            if type(x) is not Tensor or x._spec.dtype is not dtype:
                break
        else:
            return inputs, tuple([x._array for x in inputs]), None
    tensors = [x if isinstance(x, Tensor) else as_tensor_input(x, number=True) for x in inputs]
    start = 1 if primitive.condition else 0
    key = tuple(
        [
            (t._spec.dtype, 2 if type(x) in _NUMBERS else 1 if t._spec.ndim == 0 else 0)
            for t, x in zip(tensors[start:], inputs[start:], strict=True)
        ]
    )
    full_key = (key, primitive.floating, dtypes.get_default_dtype())
    wanted = _promotions.get(full_key)
    if wanted is None:
        wanted = _promotions[full_key] = _promotion(key, primitive.floating)
    arrays = []
    mixed = False
    for i, tensor in enumerate(tensors):
        array = tensor._array
        if i < start:
            if array.dtype != np.bool_:
                raise RuntimeError(
                    f"{primitive.name} expected condition to be a boolean tensor, but got a tensor "
                    f"with dtype {tensor.dtype}"
                )
        elif array.dtype != wanted:
            if tensor is inputs[i] or isinstance(inputs[i], np.ndarray):
                array = array.astype(wanted)
            else:
                array = np.array(inputs[i]).astype(
                    wanted
                )  # a number, whose own dtype is the default one
            mixed = mixed or tensor._place is not None
        arrays.append(array)
    specs = tuple(t._spec.number for t in tensors) if mixed else None
    return tuple(tensors), tuple(arrays), specs


def _promotion(key: Any, floating: bool) -> np.dtype[Any]:
    categories: tuple[dtypes.Category, ...] = ("tensor", "scalar", "number")
    operands = [(dtypes.from_numpy(d), categories[c]) for d, c in key]
    result = dtypes.result_type(*operands)
    if floating and not (result.is_floating_point or result.is_complex):
        result = dtypes.get_default_dtype()
    return result.numpy


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
    return out


def mark_view(out: Tensor, primitive: Primitive, base: Tensor, params: tuple[Any, ...]) -> None:
    """Make the result of a view primitive a view of its input, if it shares the memory."""
    array = out._array
    if array is not base._array and array.base is None:
        return  # such as a reshape that had to copy
    out._extra = View(base, primitive, params, modes.grad)
    out._spec = out._spec.as_special


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
            if spec.plain and recorded and (recording or not (modes.grad or switch.watched)):
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

    return op


def binary(primitive: Primitive, reflected: bool = False) -> Callable[[Any, Any], Any]:
    """The function of an elementwise primitive of two inputs (``reflected``: with them swapped)."""
    if primitive.bound == (None, None):
        # The short path is for results of the inputs' dtype, and comparisons give bools.
        def compare(input: Any, other: Any) -> Any:
            return apply(primitive, (other, input) if reflected else (input, other))

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
            if spec.plain and (recording or not (modes.grad or switch.watched)):
                x = input._array
                kind = type(other)
                if kind is Tensor:
                    if other._spec is not spec:
                        return apply(primitive, (input, other))
                    y = other._array
                    y_place = other._place
                elif kind is float or kind is int:
                    y = spec.constants.get(other)
                    if y is None:
                        y = spec.constant(other)
                    y_place = None
                else:
                    return apply(primitive, (input, other))
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
        return apply(primitive, (input, other))

    if not reflected:
        return op

    def reflected_op(input: Any, other: Any) -> Any:
        kind = type(other)
        if type(input) is Tensor and (kind is float or kind is int):
            spec = input._spec
            recording = switch.plain
            if spec.plain and (recording or not (modes.grad or switch.watched)):
                y = input._array
                x = spec.constants.get(other)
                if x is None:
                    x = spec.constant(other)
                try:
                    z = forward(x, y) if spec.ndim else forward_scalar(x, y)
                except (FloatingPointError, RuntimeWarning):
                    return apply(primitive, (other, input))
                out = new(Tensor)
                out._array = z
                out._spec = spec
                y_place = input._place
                if y_place is None or not recording:
                    out._place = None
                    return out
                serial = out._place = next_serial()
                append((
                    serial, code, spec.number, None, None, y_place,
                    x if x_for_y else None, y if y_for_y else None, z if out_for_y else None,
                ))  # fmt: skip
                if serial > switch.limit:
                    tape.sweep()
                return out
        return apply(primitive, (other, input))

    return reflected_op


Primitive.apply = staticmethod(apply)

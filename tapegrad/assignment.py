"""Assignment: ``x[...] = v``, ``x.copy_(v)``, ``x.fill_(v)``, ``x.zero_()``, and their derivatives.

Assigning writes only the part that the index selects. To the tape it is a new value of the whole,
"x with this part replaced", that saves nothing: the adjoint of ``x`` is that of the result with
zeros at the part, the adjoint of ``v`` is the part, summed and cast to what ``v`` was.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.batched import any_batched, rules
from tapegrad.broadcast import cast, sum_to_shape
from tapegrad.declaration import public
from tapegrad.dtypes import number_dtype
from tapegrad.inplace import check_memory, check_overlap, check_writable, move, refuse_several
from tapegrad.modes import modes, switch
from tapegrad.primitive import Primitive, structural
from tapegrad.recording import record, wrap
from tapegrad.rules.indexing import alias_, explained, getitem_one, parse_index, put
from tapegrad.spec import spec_of
from tapegrad.storage import stamp
from tapegrad.tape import tape
from tapegrad.tensor import View, from_array, view_of

CASTS = (bool, int, float, complex, np.generic)


# -- rules -----------------------------------------------------------------------------------------


def copy_forward(x, y):
    return np.broadcast_to(y, x.shape).astype(x.dtype)


def copy_x(out_bar):
    return zeros_(out_bar)


def copy_y(out_bar, y_shape):
    return out_bar if out_bar.shape == y_shape else sum_to_shape(out_bar, y_shape)


def zeros_forward(x):
    return np.zeros(x.shape, x.dtype)


#: Zeros like ``x``: the adjoint of what has been overwritten.
zeros_ = structural("zeros_like", zeros_forward, copy_x)
copied_ = structural("copy", copy_forward, copy_x, copy_y, grad_name="CopyBackwards")
# torch names the derivatives of `fill` by whether it is in place, and by what fills.
filled_ = structural("fill", copy_forward, copy_x, copy_y, grad_name="FillBackward1")
filled_number = structural("fill", copy_forward, copy_x, None)
refilled_ = structural("fill_", copy_forward, copy_x, copy_y, grad_name="FillBackward3")
refilled_number = structural("fill_", copy_forward, copy_x, None, grad_name="FillBackward2")
zeroed_ = structural("zero", copy_forward, copy_x, None)


# -- writing ---------------------------------------------------------------------------------------


def as_value(value: Any, dtype: np.dtype[Any], what: str = "assign") -> Any:
    """A value to assign, as a Tensor; a number in the dtype that it is assigned to."""
    if hasattr(value, "_spec"):
        return value
    if isinstance(value, CASTS):
        return wrap(as_number(value, dtype))
    if isinstance(value, np.ndarray):
        return from_array(value)
    raise TypeError(f"can't {what} a {type(value).__name__} to a tapegrad.{dtype.name} tensor")


def as_number(value: Any, dtype: np.dtype[Any]) -> np.ndarray:
    """A Python number as a 0-d array. Raises RuntimeError for a complex one where none can be."""
    if isinstance(value, np.generic):
        value = value.item()
    if number_dtype(value).is_complex and dtype.kind != "c":
        if value.imag:
            raise RuntimeError(f"value cannot be converted to type {dtype.name} without overflow")
        value = value.real
    return np.array(value).astype(dtype)


def overwrite(target: Any, value: Any, primitive: Primitive | None = None) -> Any:
    """Set all elements of ``target``, recorded as ``primitive`` if the old ones had a place.

    Without a primitive, ``target`` is a part of something that gets the record.
    """
    if switch.batched and any_batched((target, value)):
        return rules.copy(target, value)
    array, source = target._array, value._array
    wanted = source.shape
    if wanted == array.shape:
        check_overlap(array, source)
    elif wanted:
        _check_expands(source, array)
    check_memory(array)
    recording = modes.grad and (value._place is not None or target._place is not None)
    place = None
    if recording:
        refuse_several(view_of(target))
        if source.dtype != array.dtype:
            value = cast(value, array.dtype, source.dtype)
        spec = target._spec
        if target._place is not None or wanted != array.shape or primitive is not None:
            chosen = copied_ if primitive is None else primitive
            whole = wrap(array, target._place)
            place = record(chosen, (whole, value), (array, value._array), (), spec, array)
        else:
            place = value._place
    if source.dtype.kind == "c" and array.dtype.kind != "c":
        source = source.real
    array[...] = source
    stamp(array, tape.next_serial(), True)
    if modes.grad:
        move(target, place)
    return target


def set_all(target: Any, number: np.ndarray, primitive: Primitive) -> Any:
    """`overwrite` by a number, which takes less where nothing has to be recorded."""
    if switch.batched or target._spec.special or target._place is not None:
        return overwrite(target, wrap(number), primitive)
    array = target._array
    check_memory(array)
    array[...] = number
    stamp(array, tape.next_serial(), True)
    return target


def _check_expands(source: np.ndarray, target: np.ndarray) -> None:
    """Raise torch's error unless an array can be expanded to the target's shape."""
    sizes, wanted, ndim = source.shape, target.shape, target.ndim
    if len(sizes) > ndim:
        raise RuntimeError(
            f"expand(tapegrad.{target.dtype.name}{{{list(sizes)}}}, size={list(wanted)}): "
            f"the number of sizes provided ({ndim}) must be greater or equal to the "
            f"number of dimensions in the tensor ({len(sizes)})"
        )
    for k in range(1, len(sizes) + 1):
        if sizes[-k] not in (1, wanted[-k]):
            raise RuntimeError(
                f"The expanded size of the tensor ({wanted[-k]}) must match the existing "
                f"size ({sizes[-k]}) at non-singleton dimension {ndim - k}.  Target "
                f"sizes: {list(wanted)}.  Tensor sizes: {list(sizes)}"
            )


@public(name="__setitem__", method="only")
def setitem(input: Any, index: Any, value: Any) -> None:
    """``input[index] = value``, in place: only the part is written.

    ``value`` is a number, a Tensor or an array that broadcasts to the part; a Tensor of another
    dtype is cast where the part is a view. Raises RuntimeError for a value that doesn't fit and for
    a leaf that requires grad, IndexError for what is out of range.
    """
    items = index if type(index) is tuple else (index,)
    if switch.batched and any_batched((input, value, *items)):
        rules.set_items(input, items, value)
        return
    shape = input._spec.shape
    basic: Any
    if type(index) is int:
        primitive, basic, arrays = getitem_one, (index, ...), None
    else:
        primitive, basic, arrays = parse_index(index, input._spec.ndim)
    value = as_value(value, input._spec.dtype)
    sizes = value._spec.shape
    if sizes[:1] == (1,):  # leading dimensions of size 1 don't count
        while sizes[:1] == (1,):
            sizes = sizes[1:]
        value = value.reshape(sizes)
    target = input
    if basic is not None and primitive is not alias_:
        try:
            target = part_of(input, primitive, basic)
        except IndexError as error:
            raise explained(error, shape, index) from None
    check_writable(target if arrays is None else input)
    if arrays is None:
        if primitive is alias_:
            overwrite(input, value, copied_ if value._spec.ndim else refilled_)
        else:
            overwrite(target, value)
        return
    try:
        put_in_place(target, arrays, value)
    except IndexError as error:
        raise explained(error, shape, index) from None


def part_of(input: Any, primitive: Primitive, basic: tuple[Any, ...]) -> Any:
    """The part to write to, as a view that isn't recorded: the whole will be."""
    part = wrap(input._array[basic], None)
    if input._spec.inference:
        part._spec = part._spec.as_inference
        return part
    part._extra = View(input, primitive, (basic,), True)
    spec = part._spec
    part._spec = (spec_of(part._array) if spec.inference else spec).as_special
    return part


def put_in_place(target: Any, arrays: tuple[Any, ...], value: Any) -> None:
    """Assign to the elements that arrays and masks select."""
    array, source = target._array, value._array
    if source.dtype != array.dtype:
        raise RuntimeError(
            f"Index put requires the source and destination dtypes match, got {target.dtype} for "
            f"the destination and {value.dtype} for the source."
        )
    check_memory(array)
    try:
        array[arrays] = source
    except ValueError:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(source.shape)} cannot be broadcast to "
            f"indexing result of shape {list(array[arrays].shape)}"
        ) from None
    stamp(array, tape.next_serial())
    if not modes.grad:
        return
    view = view_of(target)
    whole_place = target._place
    if view is not None and whole_place is None and view.base._place is not None:
        # A part made by `part_of` has no place yet: that of the base's part.
        whole_place = Primitive.apply(view.primitive, (view.base,), view.params)._place
    place = None
    if whole_place is not None or value._place is not None:
        whole = wrap(array, whole_place)
        both = (array, source)
        place = record(put, (whole, value), both, (arrays,), whole._spec, array)
    move(target, place)


@public(name="copy_", method="only")
def copy(input: Any, other: Any, non_blocking: bool = False) -> Any:
    """Copy the elements of ``other``, broadcast and cast, into this Tensor. Returns it."""
    src = as_value(other, input._spec.dtype, "copy")
    check_writable(input)
    return overwrite(input, src, copied_)


@public(name="fill_", method="only")
def fill_in_place(input: Any, value: Any) -> Any:
    """Set every element to a number or a 0-d Tensor. Returns the Tensor itself."""
    check_writable(input)
    if type(value) in (float, int):
        return set_all(input, as_number(value, input._spec.dtype), refilled_number)
    filled = refilled_ if hasattr(value, "_spec") else refilled_number
    return overwrite(input, as_fill(input, value), filled)


def as_fill(input: Any, value: Any) -> Any:
    """The value of `fill`, checked."""
    value = as_value(value, input._spec.dtype, "fill")
    if value._spec.ndim:
        raise RuntimeError(
            "fill_ only supports 0-dimension value tensor but got tensor with "
            f"{value._spec.ndim} dimensions."
        )
    return value


@public
def fill(input: Any, value: Any) -> Any:
    """A Tensor like ``input`` with every element set to a number or a 0-d Tensor."""
    filled = filled_ if hasattr(value, "_spec") else filled_number
    return filled(input, as_fill(input, value))


@public(name="zero_")
def zero(input: Any) -> Any:
    """Set every element to 0. Returns the Tensor itself."""
    check_writable(input)
    return set_all(input, np.zeros((), input._spec.dtype), zeroed_)

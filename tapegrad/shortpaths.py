"""The short recording paths: an elementwise primitive as the function that people call.

`unary` and `binary` write the steps of `recording.apply` out for the common case (two Tensors of
one spec, real, small; no thread in another mode, or this one under `no_grad`), and leave the rest
to it. Once the native loop is loaded, machine code stands for each of them
(`tapegrad.kernels.forward`), which comes back to them for what it doesn't do.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tapegrad import recording
from tapegrad.modes import modes, switch
from tapegrad.operands import as_function, as_operator
from tapegrad.outs import into_out
from tapegrad.primitive import Primitive
from tapegrad.recording import elementwise_apply
from tapegrad.spec import Spec, spec_for
from tapegrad.tape import tape
from tapegrad.tensor import Tensor

__all__ = ["ShortPath", "binary", "short_paths", "ternary", "unary"]

new = Tensor.__new__
BOOL = np.dtype(bool)
_append = tape.records.append
_next_serial = tape.next_serial


class ShortPath(NamedTuple):
    """What machine code has to know of a function to stand for it.

    ``swapped``: the method's own Tensor is the operand on the right; ``numbers``: the other operand
    may be a Python number; ``become(run)`` makes the function call ``run`` instead of ``short``.
    """

    primitive: Primitive
    short: Callable[..., Any]
    become: Callable[[Callable[..., Any]], None]
    swapped: bool = False
    numbers: bool = True


#: By the functions that `unary` and `binary` made.
short_paths: dict[Callable[..., Any], ShortPath] = {}


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

    def short(input: Any, *, out: Any = None) -> Any:
        if out is not None:
            return into_out(short, (input,), {"out": out})
        if type(input) is Tensor:
            spec = input._spec
            records = switch.plain
            if spec.plain and recorded and (records or (modes.paused and not switch.watched)):
                x = input._array
                try:
                    y = forward(x) if spec.ndim else forward_scalar(x)
                except (FloatingPointError, RuntimeWarning):
                    return recording.apply(primitive, (input,))
                out = new(Tensor)
                out._array = y
                out._spec = spec
                place = input._place
                if place is None or not records:
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
            if not recorded:
                _note_bool(spec)
            return recording.apply(primitive, (input,))
        return as_function(primitive, (input,))

    run: Callable[..., Any] = short

    def op(input: Any, *, out: Any = None) -> Any:
        return run(input) if out is None else run(input, out=out)

    def become(function: Callable[[Any], Any]) -> None:
        nonlocal run
        run = function

    return _noted(op, ShortPath(primitive, short, become))


def binary(
    primitive: Primitive, *, operator: bool = False, reflected: Primitive | None = None
) -> Callable[[Any, Any], Any]:
    """The function of an elementwise primitive of two inputs.

    ``operator``: for Python's operators; ``reflected``: with the operands swapped, recorded as this
    primitive where the first one is a number.
    """
    unusual = as_operator if operator else as_function
    numbers = operator or "y" in primitive.numbers
    if None in primitive.bound:
        # Such as comparisons, whose results are bools.
        def long_path(input: Any, other: Any, *, out: Any = None) -> Any:
            if out is not None:
                return into_out(long_path, (input, other), {"out": out})
            inputs = (other, input) if reflected else (input, other)
            if type(input) is Tensor:
                spec = input._spec
                _note_bool(spec)
                kind = type(other)
                if kind is Tensor:
                    if switch.plain:
                        return elementwise_apply(primitive, inputs)
                    return recording.apply(primitive, inputs)
                _note_number(spec, other)
            return unusual(primitive, inputs)

        if reflected:
            return long_path
        return _of_two(primitive, long_path, numbers=numbers)
    forward = primitive.forward
    forward_scalar = _for_scalars(forward)
    code = primitive.code
    of_x, of_y = primitive.saves
    x_for_x, y_for_x, out_for_x = 0 in of_x, 1 in of_x, 2 in of_x
    x_for_y, y_for_y, out_for_y = 0 in of_y, 1 in of_y, 2 in of_y
    next_serial, append = _next_serial, _append

    def short(input: Any, other: Any, *, out: Any = None) -> Any:
        if out is not None:
            return into_out(short, (input, other), {"out": out})
        if type(input) is Tensor:
            spec = input._spec
            records = switch.plain
            if spec.plain and (records or (modes.paused and not switch.watched)):
                x = input._array
                kind = type(other)
                if kind is Tensor:
                    if other._spec is not spec:
                        return recording.apply(primitive, (input, other))
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
                    return recording.apply(primitive, (input, other))
                out = new(Tensor)
                out._array = z
                out._spec = spec
                x_place = input._place
                if y_place is None or not records:
                    if x_place is None or not records:
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
                return recording.apply(primitive, (input, other))
            if numbers:
                _note_number(spec, other)
        return unusual(primitive, (input, other))

    if reflected is None:
        return _of_two(primitive, short, numbers=numbers)
    number_first, code_number_first = reflected, reflected.code

    def reflected_short(input: Any, other: Any) -> Any:
        kind = type(other)
        if type(input) is Tensor and (kind is float or kind is int):
            spec = input._spec
            records = switch.plain
            if spec.plain and (records or (modes.paused and not switch.watched)):
                y = input._array
                x = spec.constants.get(other)
                if x is None:
                    x = spec.constant(other)
                try:
                    z = forward(x, y) if spec.ndim else forward_scalar(x, y)
                except (FloatingPointError, RuntimeWarning):
                    return recording.apply(number_first, (other, input))
                out = new(Tensor)
                out._array = z
                out._spec = spec
                y_place = input._place
                if y_place is None or not records:
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
            _note_number(spec, other)
        return unusual(primitive if type(other) is Tensor else number_first, (other, input))

    return _of_two(number_first, reflected_short, swapped=True)


def ternary(primitive: Primitive) -> Callable[[Any, Any, Any], Any]:
    """The function of an elementwise primitive of three inputs: only machine code is short."""

    def short(input: Any, second: Any, third: Any, *, out: Any = None) -> Any:
        if out is not None:
            return into_out(short, (input, second, third), {"out": out})
        return recording.apply(primitive, (input, second, third))

    run: Callable[..., Any] = short

    def op(input: Any, second: Any, third: Any, *, out: Any = None) -> Any:
        return run(input, second, third) if out is None else run(input, second, third, out=out)

    def become(function: Callable[[Any, Any, Any], Any]) -> None:
        nonlocal run
        run = function

    return _noted(op, ShortPath(primitive, short, become))


def _note_bool(spec: Spec) -> None:
    """Let machine code find the spec of bools that go with a Tensor's."""
    if spec.as_bool is None:
        spec.as_bool = spec_for(spec.shape, BOOL)


def _note_number(spec: Spec, number: Any) -> None:
    """Let machine code find the array of a number beside a Tensor."""
    kept = spec.constants
    if type(number) in (float, int) and spec.detached.short and number not in kept:
        spec.constant(number)


def _of_two(
    primitive: Primitive, short: Callable[..., Any], **options: bool
) -> Callable[[Any, Any], Any]:
    run = short

    def op(input: Any, other: Any, *, out: Any = None) -> Any:
        return run(input, other) if out is None else run(input, other, out=out)

    def become(function: Callable[[Any, Any], Any]) -> None:
        nonlocal run
        run = function

    return _noted(op, ShortPath(primitive, short, become, **options))


def _noted(op: Callable[..., Any], path: ShortPath) -> Callable[..., Any]:
    path.short.__qualname__ = path.primitive.name  # Python's TypeErrors name it
    short_paths[op] = path
    return op

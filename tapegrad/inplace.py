"""In-place operations: on leaves, on values that a record made, and through views.

An in-place operation computes its result as any other, gives the result's place to the Tensor, and
copies the result into the Tensor's memory, which it *stamps* (`tapegrad.storage`). Where the Tensor
is a view, its base gets a record "the base with this part replaced", and so on up to the root;
views of the root derive their places again when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.batched import any_batched, rules
from tapegrad.broadcast import expand
from tapegrad.fused import library
from tapegrad.modes import modes, switch
from tapegrad.primitive import Primitive, primitives, structural
from tapegrad.recording import record, wrap
from tapegrad.shortpaths import short_paths
from tapegrad.storage import owner, repeats, stamp
from tapegrad.tape import tape
from tapegrad.tensor import Tensor, View, check_base, place_of, view_of
from tapegrad.threads import SHARED_ELEMENTS

__all__ = [
    "check_memory",
    "check_overlap",
    "check_writable",
    "in_place",
    "refuse_several",
    "write",
]


def in_place(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The in-place method of an operator: ``x.mul_(y)`` from ``mul``."""
    in_one_step = _one_step(function)
    checks = name not in OVERLAPPING

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if switch.batched and any_batched((self, *args)):
            return rules.change(function, self, args, kwargs)
        check_writable(self)
        if checks:
            for operand in (*args, *kwargs.values()) if kwargs else args:
                if type(operand) is Tensor and operand is not self:
                    check_overlap(self._array, operand._array)
        recorded = modes.grad and _any_recorded((self, *args, *kwargs.values()))
        if in_one_step is not None and not (recorded or kwargs) and _fits(in_one_step, self, args):
            _compute(in_one_step, self._array, args[0])
            return self
        source = self
        if recorded:
            # The record may save the old value, which is about to be overwritten.
            source = wrap(self._array.copy(), place_of(self))
        result = function(source, *args, **kwargs)
        if result is NotImplemented:
            return result
        _check_result(self, result)
        write(self, result)
        return self

    # Less than functools.wraps does: there are hundreds of methods to make at import.
    method.__wrapped__ = function  # type: ignore[attr-defined]
    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"`{function.__name__}`, in place. Returns the Tensor itself."
    return method


def _one_step(function: Callable[..., Any]) -> np.ufunc | None:
    """The ufunc that an operator comes to on floats, which can write where it reads."""
    path = short_paths.get(function)
    if path is not None:
        ufunc = path.primitive.forward
    elif function.__name__ in WITH_OPTIONS:
        ufunc = next(p.forward for p in primitives if p.name == function.__name__)
    else:
        return None
    return ufunc if isinstance(ufunc, np.ufunc) and "ff->f" in ufunc.types else None


#: Functions that do what the primitive of that name does, unless they are given an option.
WITH_OPTIONS = frozenset({"add", "sub", "div"})


#: Methods whose operands may share a part of the memory that is written to.
OVERLAPPING = frozenset(
    """
    addbmm_ addmm_ addmv_ addr_ baddbmm_ index_fill_ masked_fill_ masked_scatter_
    """.split()  # noqa: SIM905 - readable so
)
#: What gives integers of integers, whatever they are.
WHOLE = (np.add, np.subtract, np.multiply)
#: Larger numbers may be no int64.
LONG = 1 << 62
#: Larger numbers may be infinite in float32, and raise an error before anything is computed.
HUGE = 1e38


def _fits(ufunc: np.ufunc, target: Tensor, operands: tuple[Any, ...]) -> bool:
    """Whether a ufunc of ``target`` and its one operand gives a result of the same kind.

    And nothing has to be recorded: the place of a view may be another than it knows.
    """
    spec = target._spec
    kinds = "fdl" if ufunc in WHOLE else "fd"
    if len(operands) != 1 or spec.dtype.char not in kinds or (spec.special and modes.grad):
        return False
    operand = operands[0]
    if type(operand) is Tensor:
        given = operand._spec
        if given.special and modes.grad:
            return False
        return given.shape == spec.shape and given.dtype is spec.dtype
    if spec.dtype.char == "l":
        return type(operand) is int and abs(operand) < LONG
    return type(operand) in (float, int) and abs(operand) < HUGE


def _compute(ufunc: np.ufunc, array: np.ndarray, operand: Any) -> None:
    """Put the result where the first operand is, without an array between: a step of SGD."""
    check_memory(array)
    stamp(array, tape.next_serial(), True)
    if type(operand) is Tensor:
        operand = operand._array
    large = array.size > 2 * SHARED_ELEMENTS and array.dtype.char in "fd"
    shared = library.in_place if large else None
    if shared is not None and shared(ufunc, array, operand):
        return
    try:  # noqa: SIM105 - `suppress` takes longer than a small array
        ufunc(array, operand, array)
    except (FloatingPointError, RuntimeWarning):
        pass  # raised at the end, when all is computed


def _any_recorded(values: tuple[Any, ...]) -> bool:
    for value in values:  # noqa: SIM110 - `any` takes three times as long
        if isinstance(value, Tensor) and value._place is not None:
            return True
    return False


def check_writable(target: Tensor) -> None:
    """Raise torch's error if ``target`` can't be changed in place."""
    if not target._spec.special:
        if target._place is not None and target._place < 0 and modes.grad:
            raise _of_leaf()
        return
    if target._spec.inference and not modes.inference:
        raise RuntimeError(
            "Inplace update to inference tensor outside InferenceMode is not allowed. You can make "
            "a clone to get a normal tensor before doing inplace update."
        )
    view = view_of(target)
    if view is not None and not target._array.flags.writeable:
        _release(target._array, view)
    if not modes.grad:
        return
    place = place_of(target)
    if view is not None and view.root._place is not None and view.recording:
        refuse_several(view)
        check_base(view)
    if place is not None and place < 0:
        raise _of_leaf()
    if view is not None:
        if view.function is not None:
            raise RuntimeError(
                f"Output 0 of {view.function} is a view and is being modified inplace. This view "
                "was created inside a custom Function (or because an input was returned as-is) and "
                "the autograd logic to handle view+inplace would override the custom backward "
                "associated with the custom Function, leading to incorrect gradients. This "
                "behavior is forbidden. You can fix this by cloning the output of the custom "
                "Function."
            )
        root = view.root._place
        if root is not None and root < 0 and view.recording:
            raise RuntimeError(
                "a view of a leaf Variable that requires grad is being used in an in-place "
                "operation."
            )
        if root is not None and not view.recording:
            made, now = (
                ("inference", "in normal mode")
                if view.inference
                else ("no_grad", "with grad mode enabled")
            )
            raise RuntimeError(
                f"A view was created in {made} mode and is being modified inplace {now}. Make the "
                "view within the same mode, or clone() it first."
            )


def _of_leaf() -> RuntimeError:
    return RuntimeError(
        "a leaf Variable that requires grad is being used in an in-place operation."
    )


def refuse_several(view: View | None) -> None:
    """Raise torch's error for one of several views that one function made, or a view of it."""
    if view is not None and view.several:
        primitive = view.primitive
        name = primitive.grad_name.partition("Backward")[0]
        number = view.params[-1] if primitive.several else 0
        raise RuntimeError(
            f"Output {number} of {name} is a view and is being modified inplace. This view is the "
            "output of a function that returns multiple views. Such functions do not allow the "
            "output views to be modified inplace. You should replace the inplace operation by an "
            "out-of-place one."
        )


def _check_result(target: Tensor, result: Tensor) -> None:
    if result._spec.shape != target._spec.shape:
        raise RuntimeError(
            f"output with shape {list(target.shape)} doesn't match the broadcast shape "
            f"{list(result.shape)}"
        )
    given, wanted = result._spec.dtype, target._spec.dtype
    if given is not wanted and not np.can_cast(given, wanted, "same_kind"):
        raise RuntimeError(
            f"result type {result.dtype} can't be cast to the desired output type {target.dtype}"
        )


def write(target: Tensor, result: Tensor) -> None:
    """Make ``target`` hold the value of ``result``, and have its place."""
    array = target._array
    check_memory(array)
    if modes.grad and result._place is not None:
        refuse_several(view_of(target))
    stamp(array, tape.next_serial(), True)
    array[...] = result._array
    if not modes.grad:
        return
    if result._spec.dtype != target._spec.dtype:
        result = result.to(target.dtype)
    move(target, result._place)


def check_memory(array: np.ndarray) -> None:
    if array.flags.carray:
        return  # writeable, and without gaps
    if not array.flags.writeable or (repeats(array) and array.size):
        raise _of_shared_memory()


def _of_shared_memory() -> RuntimeError:
    return RuntimeError(
        "unsupported operation: more than one element of the written-to tensor refers to a single "
        "memory location. Please clone() the tensor before performing the operation."
    )


def _release(array: np.ndarray, view: View | None) -> None:
    """Let a part of what `expand` gave, which NumPy takes to be read-only, be written to.

    Only what it doesn't repeat; and not what its owner made read-only.
    """
    while view is not None and view.primitive is not expand:
        view = view_of(view.base)
    if view is not None and view.root._array.flags.writeable and not repeats(array):
        array.setflags(write=True)


def check_overlap(target: np.ndarray, operand: np.ndarray) -> None:
    """Raise torch's error if an operand has a part of the memory that is written to.

    All of it is well, element by element; what has gaps isn't looked at, as in torch.
    """
    if target is operand or (target.base is None and operand.base is None):
        return
    if owner(target) is not owner(operand) or not (target.size and operand.size):
        return
    (low, high), (first, last) = _bounds(target), _bounds(operand)
    if high - low != target.nbytes or last - first != operand.nbytes:
        return
    same = (low, high, target.shape) == (first, last, operand.shape)
    if same and _steps(target) == _steps(operand):
        return
    if low < last and first < high:
        raise RuntimeError(
            "unsupported operation: some elements of the input tensor and the written-to tensor "
            "refer to a single memory location. Please clone() the tensor before performing the "
            "operation."
        )


def _bounds(array: np.ndarray) -> tuple[int, int]:
    """The first byte's address, and that after the last."""
    steps = [(n - 1) * step for n, step in zip(array.shape, array.strides, strict=True)]
    address = array.__array_interface__["data"][0]
    low = address + sum(step for step in steps if step < 0)
    return low, address + sum(step for step in steps if step > 0) + array.itemsize


def _steps(array: np.ndarray) -> list[int]:
    return [step for n, step in zip(array.shape, array.strides, strict=True) if n > 1]


def move(target: Tensor, place: int | None) -> None:
    """Give ``target`` a new place, and each base that it is a view of a record of the change."""
    view = view_of(target)
    if view is None:
        target._place = place
        return
    root = view.root
    while view is not None:
        base = view.base
        base_place = base._place
        if place is None and base_place is None:
            return
        if repeats(target._array):  # elements that `expand` repeated have no place each
            raise _of_shared_memory()
        part = wrap(target._array, place)
        whole = wrap(base._array, base_place)
        place = record(
            replaced,
            (whole, part),
            (whole._array, part._array),
            (view.primitive, view.params),
            whole._spec,
            whole._array,
        )
        target, view = base, view_of(base)
    root._place = place


def _replaced_forward(x: Any, y: Any, primitive: Primitive, params: tuple[Any, ...]) -> Any:
    whole = x.copy()
    part = primitive.forward(whole, *params)
    if primitive is expand and not repeats(part):
        part.setflags(write=True)
    part[...] = y
    return whole


def _replaced_x(out_bar: Any, y_shape: Any, primitive: Primitive, params: tuple[Any, ...]) -> Any:
    zeros = np.zeros(y_shape, getattr(out_bar.dtype, "numpy", out_bar.dtype))
    return replaced(out_bar, zeros, primitive, params)


def _replaced_y(out_bar: Any, primitive: Primitive, params: tuple[Any, ...]) -> Any:
    return primitive(out_bar, *params)


#: The base with the part that a view primitive selects replaced by ``y``.
replaced = structural(
    "copy_slices", _replaced_forward, _replaced_x, _replaced_y, grad_name="CopySlices"
)

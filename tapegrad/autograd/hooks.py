"""Hooks on Tensors and records, and ``retain_grad``: notes beside the tape, keyed by place.

A note goes with its record. The walk looks at notes only if there are any.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from tapegrad.recording import wrap
from tapegrad.tape import tape
from tapegrad.tensor import Tensor, place_of

__all__ = ["RemovableHandle", "note", "register_hook", "retain_grad"]


class RemovableHandle:
    """What registering a hook returns: ``remove()`` takes the hook away. A context manager too."""

    _next_id = 0

    def __init__(self, hooks: OrderedDict[int, Any]) -> None:
        self._hooks = weakref.ref(hooks)
        self.id = RemovableHandle._next_id
        RemovableHandle._next_id += 1

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        hooks = self._hooks()
        if hooks is not None:
            hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


class Hooks(OrderedDict[int, Callable[..., Any]]):
    """Hooks in the order of their registration."""

    def register(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Add a hook."""
        handle = RemovableHandle(self)
        self[handle.id] = hook
        return handle


def note(place: int, kind: str, make: Callable[[], Any] = Hooks) -> Any:
    """The note of that kind at a place, made if there is none."""
    notes = tape.notes.setdefault(place, {})
    if kind not in notes:
        notes[kind] = make()
    return notes[kind]


def register_hook(tensor: Tensor, hook: Callable[[Tensor], Any]) -> RemovableHandle:
    """Call ``hook(grad)`` whenever the gradient of ``tensor`` is computed.

    What the hook returns, if not None, takes the gradient's place. Raises RuntimeError if the
    Tensor does not require grad.
    """
    place = place_of(tensor)
    if place is None:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    handle: RemovableHandle = note(place, "hooks").register(hook)
    if place < 0:
        _forget_with(tensor, place)
    return handle


def register_post_accumulate_grad_hook(
    tensor: Tensor, hook: Callable[[Tensor], Any]
) -> RemovableHandle:
    """Call ``hook(tensor)`` after a gradient was accumulated in the leaf ``tensor``."""
    place = place_of(tensor)
    if place is None:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    if place > 0:
        raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
    handle: RemovableHandle = note(place, "after").register(hook)
    _forget_with(tensor, place)
    return handle


def _forget_with(tensor: Tensor, place: int) -> None:
    weakref.finalize(tensor, tape.notes.pop, place, None).atexit = False


def retain_grad(tensor: Tensor) -> None:
    """Keep the gradient of a Tensor that is no leaf in its ``grad``. On a leaf it does nothing."""
    place = place_of(tensor)
    if place is None:
        raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
    if place > 0:
        note(place, "retain", lambda: weakref.ref(tensor))


def retains_grad(tensor: Tensor) -> bool:
    """Whether `retain_grad` was called on a Tensor that is no leaf."""
    place = place_of(tensor)
    return place is not None and place > 0 and "retain" in tape.notes.get(place, ())


def _call(hooks: Hooks, gradient: Tensor) -> Tensor:
    for hook in list(hooks.values()):
        result = hook(gradient)
        if result is None:
            continue
        if not isinstance(result, Tensor):
            raise TypeError("hooks must return a Tensor or None, but got " + type(result).__name__)
        if result._spec.shape != gradient._spec.shape:
            raise RuntimeError(
                f"hook {getattr(hook, '__name__', hook)!r} has changed the size of value: "
                f"{list(gradient.shape)} to {list(result.shape)}"
            )
        gradient = result
    return gradient


def run_hooks(place: int, adjoint: Any) -> Any:
    """Run what was noted at a record's place; called by the walk."""
    notes = tape.notes[place]
    gradient = adjoint if isinstance(adjoint, Tensor) else wrap(adjoint)
    if "hooks" in notes:
        gradient = _call(notes["hooks"], gradient)
    if "retain" in notes:
        tensor = notes["retain"]()
        if tensor is not None:
            before = getattr(tensor, "_grad", None)
            if isinstance(adjoint, Tensor):
                tensor._grad = gradient if before is None else before + gradient
            else:
                array = np.array(gradient._array)
                tensor._grad = wrap(array if before is None else before._array + array)
    return gradient if isinstance(adjoint, Tensor) else gradient._array


def run_leaf_hooks(place: int, value: Any, after: bool = False) -> Any:
    """Run the hooks of a leaf: on its gradient, or (``after``) on itself once it has it."""
    notes = tape.notes.get(place, {})
    if after:
        for hook in list(notes.get("after", {}).values()):
            if hook(value) is not None:
                raise RuntimeError("Tensor post accumulate grad hooks should return None.")
        return value
    if "hooks" not in notes:
        return value
    gradient = value if isinstance(value, Tensor) else wrap(value)
    gradient = _call(notes["hooks"], gradient)
    return gradient if isinstance(value, Tensor) else gradient._array

"""Hooks on Tensors and records, and ``retain_grad``: notes beside the tape, keyed by place.

A note goes with its record. The walk looks at notes only if there are any.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tapegrad.modes import settle
from tapegrad.recording import wrap
from tapegrad.replay import Replay
from tapegrad.tape import INPUTS, PLACE, arity, tape, unshared
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
    notes = tape.notes.setdefault(unshared(place), {})
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


def register_node_hook(
    place: int, kind: str, hook: Callable[..., Any], leaf: Any = None
) -> RemovableHandle:
    """Register a hook of a record, or of the ``AccumulateGrad`` node of a leaf."""
    handle: RemovableHandle = note(place, kind).register(hook)
    if leaf is not None:
        _forget_with(leaf, place)
    return handle


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
    settle()
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
    if "hooks" not in notes and "retain" not in notes:
        return adjoint
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


def run_leaf_hooks(place: int, value: Any) -> Any:
    """Run the hooks of a leaf on its gradient; called once the walk has all of it."""
    notes = tape.notes.get(place, {})
    if "hooks" not in notes:
        return value
    gradient = value if isinstance(value, Tensor) else wrap(value)
    gradient = _call(notes["hooks"], gradient)
    return gradient if isinstance(value, Tensor) else gradient._array


def before_accumulation(place: int, adjoint: Any) -> Any:
    """Run the prehooks of an ``AccumulateGrad`` node."""
    hooks = tape.notes.get(place, {}).get("prehooks")
    return run_prehooks(hooks, adjoint, not isinstance(adjoint, Tensor)) if hooks else adjoint


def after_accumulation(place: int, tensor: Tensor, adjoint: Any) -> None:
    """Run what waits for a gradient to be in ``tensor.grad``."""
    notes = tape.notes.get(place, {})
    for hook in list(notes.get("after", {}).values()):
        if hook(tensor) is not None:
            raise RuntimeError("Tensor post accumulate grad hooks should return None.")
    if "posthooks" in notes:
        run_posthooks(notes["posthooks"], (), adjoint)


# -- hooks of records ------------------------------------------------------------------------------


def _tensors(values: Any) -> tuple[Tensor | None, ...]:
    return tuple(v if v is None or isinstance(v, Tensor) else wrap(v) for v in values)


def _replaced(result: Any, given: tuple[Any, ...], what: str) -> tuple[Any, ...]:
    """What a hook of a record returned, checked: Tensors in the places of those given."""
    if result is None:
        return given
    if isinstance(result, Tensor):
        result = (result,)
    if not isinstance(result, tuple):
        raise TypeError(f"expected dict or tuple, but got {type(result).__name__}")
    if len(result) != len(given):
        raise RuntimeError(
            f"hook has returned an incorrect number of values (got {len(result)}, but expected "
            f"{len(given)}) for {what}"
        )
    return result


def run_prehooks(hooks: Hooks, out_bar: Any, arrays: bool) -> Any:
    """Run ``hook(grad_outputs)`` on the adjoint of a record, or the list of its outputs'."""
    settle()
    several = type(out_bar) is list
    given = _tensors(out_bar if several else [out_bar])
    for hook in list(hooks.values()):
        given = _replaced(hook(given), given, "grad_outputs")
    values = [v._array if arrays and v is not None else v for v in given]
    return values if several else values[0]


def run_posthooks(hooks: Hooks, shares: Any, out_bar: Any) -> tuple[Tensor | None, ...]:
    """Run ``hook(grad_inputs, grad_outputs)`` on what a record gives to its inputs."""
    settle()
    grad_outputs = _tensors(out_bar if type(out_bar) is list else [out_bar])
    given = _tensors(shares)
    for hook in list(hooks.values()):
        given = _replaced(hook(given, grad_outputs), given, "grad_inputs")
    return given


# -- hooks of several Tensors ----------------------------------------------------------------------


class _Local(threading.local):
    """The backward passes that the calling thread is in, innermost last."""

    def __init__(self) -> None:
        self.walks: list[Replay] = []


local = _Local()


class MultiHandle:
    """What registering a hook of several Tensors returns."""

    def __init__(self, handles: tuple[RemovableHandle, ...]) -> None:
        self.handles = handles

    def remove(self) -> None:
        """Take the hook away."""
        for handle in self.handles:
            handle.remove()

    def __enter__(self) -> MultiHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def register_multi_grad_hook(
    tensors: Sequence[Tensor], fn: Callable[..., Any], *, mode: str = "all"
) -> MultiHandle:
    """Call ``fn`` once in each backward pass that computes gradients of the Tensors.

    With ``mode="all"``, ``fn(grads)`` is called when all of them that the pass computes are there,
    with None for the others; with ``"any"``, ``fn(grad)`` with the first of them. It returns
    nothing. Raises ValueError for another mode, RuntimeError for a Tensor that does not require
    grad.
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    tensors = tuple(tensors)
    places = [place_of(t) for t in tensors]
    keys = [None if p is None else unshared(p) for p in places]
    passes: weakref.WeakKeyDictionary[Replay, _Pass] = weakref.WeakKeyDictionary()

    def hook(i: int, gradient: Tensor) -> None:
        walk = local.walks[-1]
        state = passes.get(walk)
        if state is None:
            state = passes[walk] = _Pass(walk, keys)
        state.grads[i] = gradient
        state.missing -= 1
        if mode == "all" and state.missing == 0:
            fn(state.grads)
        elif mode == "any" and not state.called:
            state.called = True
            fn(gradient)

    return MultiHandle(
        tuple(register_hook(t, functools.partial(hook, i)) for i, t in enumerate(tensors))
    )


class _Pass:
    """What a hook of several Tensors knows of one backward pass."""

    def __init__(self, walk: Replay, places: Sequence[int | None]) -> None:
        self.grads: list[Tensor | None] = [None] * len(places)
        reached = _reached(walk)
        self.missing = sum(place in reached for place in places)
        self.called = False


def _reached(walk: Replay) -> set[int]:
    """The places that a backward pass gives an adjoint to."""
    reached = {place for place, _ in walk._roots}
    needed, targets = walk.needed, walk.targets
    for index in range(walk.start, -1, -1):
        record = walk.tape.records[index]
        if record[PLACE] in reached:
            reached.update(
                place
                for place in record[INPUTS : INPUTS + arity(record)]
                if place is not None and (needed is None or place in needed)
            )
    if targets is not None:
        reached = {place for place in reached if place > 0 or place in targets}
    return reached

"""What a `tapes.Tape` notes beside the records, so that it can be run again on other values.

A record has what backward needs, which isn't enough to compute its result again, and what runs
under `no_grad` or on detached values has no record at all. So while a trace is on, each call of
`Primitive.apply` in its thread is noted as a *step*: the primitive, the *slots* of its inputs and
results, its parameters. A slot stands for a value: that of a Tensor with a place, or of one array.

What happens to values outside of primitives isn't repeated. Where a value is read by Python or
NumPy (``bool(x)``, ``x.item()``, ``x.numpy()``, a function such as ``argsort`` that looks at its
input) a *guard* is noted, which holds if the value, or its truth, is the same again. What can't be
checked (in-place changes, random numbers, user's Functions, gradients taken without
``create_graph``) makes a note of why the trace can't be run again.

Reads are seen by putting a property in the place of ``Tensor._array``, for as long as any trace is
on: nothing is paid by those who have none.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tapegrad import recording
from tapegrad.autograd import engine
from tapegrad.loading import native
from tapegrad.modes import unwatch, watch
from tapegrad.primitive import Primitive, primitives
from tapegrad.random import Generator
from tapegrad.spec import Spec
from tapegrad.tape import CODE, Record, tape, unshared
from tapegrad.tensor import Tensor, place_of

__all__ = ["Guard", "Step", "Trace", "detach"]

_slot = vars(Tensor)["_array"]  # the descriptor, behind the property
_get: Callable[[Tensor], np.ndarray] = _slot.__get__


def _none(*_: object) -> None:
    """Stands for `detach` among the primitives of steps."""


detach: Any = _none


@dataclass(frozen=True)
class Step:
    """One call: the primitive (or `detach`), what it is given, and the slots of its results."""

    primitive: Any
    inputs: tuple[int, ...]
    params: tuple[Any, ...]
    outputs: tuple[int, ...]
    serial: int


@dataclass(frozen=True)
class Guard:
    """A value that was read: it holds for another one if ``how`` of both is the same."""

    slot: int
    how: Callable[[np.ndarray], Any]
    value: Any
    reader: str
    serial: int

    def check(self, array: np.ndarray) -> None:
        """Raise RuntimeError unless the reader would read the same now."""
        found = self.how(array)
        if not np.array_equal(found, self.value, equal_nan=_has_nan(self.value)):
            before, now = (
                ("values", "others")
                if isinstance(found, np.ndarray) and found.ndim
                else (self.value, found)
            )
            raise RuntimeError(
                f"tape.replay(): {self.reader} read {before} when the tape was recorded, and would "
                f"read {now} now, so that the code might go another way. Run the code again."
            )


def _has_nan(value: Any) -> bool:
    return np.asarray(value).dtype.kind in "fc"


class Trace:
    """The steps and guards of one thread, from `start` to `stop`."""

    def __init__(self) -> None:
        self.steps: list[Step | Guard] = []
        #: What slots have from outside: Tensors, arrays, numbers.
        self.given: dict[int, Any] = {}
        self.specs: list[Spec | None] = []
        self.refusal = ""
        self._by_place: dict[int, int] = {}
        #: Slot, and whether it has a place, by the id of an array that may have gone.
        self._by_array: dict[int, tuple[weakref.ref[np.ndarray], int, bool]] = {}
        self._detached: dict[int, int] = {}
        self._after_backward = False

    def find(self, tensor: Tensor) -> int | None:
        """The slot of a Tensor's value, if it has one."""
        place = place_of(tensor)
        if place is not None:
            return self._by_place.get(place)
        reference, slot, placed = self._by_array.get(id(_get(tensor)), (None, 0, False))
        if reference is None or reference() is not _get(tensor):
            return None
        return self._without_place(slot) if placed else slot

    def slot(self, value: Any) -> int:
        """The slot of an input; a new one if the value comes from outside."""
        if not isinstance(value, Tensor):
            return self._new(None, value)
        slot = self.find(value)
        if slot is None:
            if self._after_backward and value._place is None:
                self.refuse("a value first used after a backward pass, which may come from it")
            slot = self._new(value._spec, value)
            self._know(value, slot)
        return slot

    def aliases(self, tensor: Tensor) -> list[int]:
        """The slots of what came from outside and shares the array of a Tensor, detached."""
        own, array = self.find(tensor), _get(tensor)
        return [
            slot
            for slot, value in self.given.items()
            if slot != own and isinstance(value, Tensor) and _get(value) is array
        ]

    def refuse(self, reason: str) -> None:
        """Note why the trace can't be run again, if there isn't a reason yet."""
        self.refusal = self.refusal or reason

    def add(
        self, primitive: Primitive, inputs: tuple[Any, ...], params: tuple[Any, ...], result: Any
    ) -> None:
        """Note a step."""
        if primitive.arity < 0 and len(inputs) == 1 and type(inputs[0]) in (tuple, list):
            inputs = tuple(inputs[0])
        slots = [self.slot(value) for value in inputs]
        results = result if isinstance(result, tuple) else (result,)
        if all(r._place is None for r in results) and results[0]._spec.differentiable:
            slots = [
                self._without_place(s) if isinstance(x, Tensor) and x._place is not None else s
                for s, x in zip(slots, inputs, strict=True)
            ]
        outputs = tuple(self._new(r._spec) for r in results)
        for r, slot in zip(results, outputs, strict=True):
            self._know(r, slot)
        self.steps.append(Step(primitive, tuple(slots), params, outputs, tape.next_serial()))

    def read(self, tensor: Tensor, how: Callable[[np.ndarray], Any], reader: str) -> None:
        """Note a guard."""
        slot = self.slot(tensor)
        value = how(_get(tensor))
        self.steps.append(Guard(slot, how, value, reader, tape.next_serial()))

    def reset_to(self, position: int) -> None:
        """Forget the steps after a position of the tape."""
        self.steps = [step for step in self.steps if step.serial <= position]

    def _new(self, spec: Spec | None, given: Any = None) -> int:
        self.specs.append(spec)
        slot = len(self.specs) - 1
        if given is not None:
            self.given[slot] = given
        return slot

    def _know(self, tensor: Tensor, slot: int) -> None:
        array, place = _get(tensor), tensor._place
        if place is not None:
            self._by_place[unshared(place)] = slot  # which doesn't keep the record
        self._by_array[id(array)] = (weakref.ref(array), slot, place is not None)

    def _without_place(self, slot: int) -> int:
        if slot not in self._detached:
            made = self._detached[slot] = self._new(self.specs[slot])
            self.steps.append(Step(detach, (slot,), (), (made,), tape.next_serial()))
        return self._detached[slot]

    # -- on and off --------------------------------------------------------------------------------

    def start(self) -> None:
        """Note what this thread does from now on."""
        _local.traces.append(self)
        _begin()

    def stop(self) -> None:
        """Note no more."""
        _local.traces.remove(self)
        _end()


class _Local(threading.local):
    """The traces of this thread; ``within``: a noted call is under way."""

    def __init__(self) -> None:
        self.traces: list[Trace] = []
        self.within = 0


_local = _Local()
_lock = threading.RLock()
_active = 0
_before: dict[str, Any] = {}


def _begin() -> None:
    global _active
    with _lock:
        _active += 1
        watch()
        if _active > 1:
            return
        _before.update(
            apply=recording.apply,
            native=Primitive.apply,
            draw=Generator._begin,
            run=engine.run_walk,
        )
        recording.apply = _apply
        Primitive.apply = staticmethod(_apply)
        Generator._begin = _begin_draw  # type: ignore[method-assign]
        engine.run_walk = _run
        tape.watchers.append(_watch)
        Tensor._array = property(_read, _write)  # type: ignore[assignment]


def _end() -> None:
    global _active
    with _lock:
        _active -= 1
        unwatch()
        if _active:
            return
        Tensor._array = _slot
        tape.watchers.remove(_watch)
        engine.run_walk = _before["run"]
        Generator._begin = _before["draw"]  # type: ignore[method-assign]
        recording.apply = _before["apply"]
        Primitive.apply = staticmethod(_before["native"])


def _again() -> None:
    """The native loop was loaded, and has put machine code in the place of ``Primitive.apply``."""
    with _lock:
        if _active:
            _before["native"] = Primitive.apply
            Primitive.apply = staticmethod(_apply)


native.when_loaded.append(_again)


def _apply(primitive: Primitive, inputs: tuple[Any, ...], params: tuple[Any, ...] = ()) -> Any:
    _local.within += 1
    try:
        result = _before["apply"](primitive, inputs, params)
    finally:
        _local.within -= 1
    for trace in _local.traces:
        trace.add(primitive, inputs, params, result)
    return result


def _watch(record: Record) -> Record:
    """A record that no noted call has made: of what isn't repeated."""
    if _local.traces and not _local.within:
        name = primitives[record[CODE]].grad_name
        for trace in _local.traces:
            trace.refuse(f"{name}, recorded by a change in place or a custom Function")
    return record


def _begin_draw(self: Generator) -> None:
    for trace in _local.traces:
        trace.refuse("random numbers; draw them outside, and pass them as inputs")
    _before["draw"](self)


def _run(roots: Any, retain: bool, wrapping: Any, *args: Any, **kwargs: Any) -> Any:
    if wrapping is None:
        for trace in _local.traces:
            trace._after_backward = True
    return _before["run"](roots, retain, wrapping, *args, **kwargs)


# -- reads -----------------------------------------------------------------------------------------

#: Who reads arrays to compute a primitive, or to tell of layouts and for printing.
_MACHINERY = (
    *("recording", "shortpaths", "operands", "tracing", "tapes", "sparse", "printing"),
    *("broadcast", "conversion", "extending", "methods", "replay", "kernels", "autograd"),
    "rules.shape",
)
_IN_PLACE = ("inplace", "filling", "assignment", "reshaping")
_UNSEEN = {"__repr__", "__format__", "_version", "__init__", "check_base"}


def _copy(array: np.ndarray) -> np.ndarray:
    return array.copy()


def _truth(array: np.ndarray) -> bool:
    return bool(array.item())


def _as_int(array: np.ndarray) -> int:
    return int(array.item().real)


def _read(self: Tensor) -> np.ndarray:
    traces = _local.traces
    if traces and not _local.within:
        frame = sys._getframe(1)
        module = frame.f_globals.get("__name__", "")
        if module.startswith("tapegrad."):
            module = module[9:]
            if module.startswith(_MACHINERY):
                return _get(self)
            if module.startswith(_IN_PLACE):
                for trace in traces:
                    trace.refuse("a change in place")
                return _get(self)
            function = frame.f_code.co_name
            if module == "tensor" and function in _UNSEEN:
                return _get(self)
        else:
            function = frame.f_code.co_name
        _local.within += 1  # what looks at the value is not to be looked at
        try:
            how: Callable[[np.ndarray], Any] = _copy
            if module == "tensor":
                if function == "__bool__":
                    function, how = "bool", _truth
                elif function == "_number":
                    function = frame.f_locals["kind"].__name__
                    how = _as_int if function == "int" else _copy
            reader = f"{function}() at {_user_line(frame)}"
            for trace in traces:
                trace.read(self, how, reader)
        finally:
            _local.within -= 1
    return _get(self)


def _write(self: Tensor, array: np.ndarray) -> None:
    _slot.__set__(self, array)


def _user_line(frame: Any) -> str:
    while frame is not None and frame.f_globals.get("__name__", "").startswith("tapegrad."):
        frame = frame.f_back
    return "?" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"

"""Recording modes: is this thread recording?  They are per thread, as in torch.

    with no_grad():        # the tape is paused
        y = x * 2

The recording path asks one question, `switch.plain`: is every thread of the process in the default
mode? Only if it isn't does an operation look at its own thread's modes, which costs more.
"""

from __future__ import annotations

import functools
import inspect
import os
import threading
from collections.abc import Callable
from typing import Any, Self, TypeVar, overload

__all__ = [
    "enable_grad",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "set_grad_enabled",
]

F = TypeVar("F", bound=Callable[..., Any])


class _ThreadModes(threading.local):
    """``paused``: nothing is recorded, and nothing marked as made in inference mode.

    ``mark`` ends with a thread that has been in another mode than the default one.
    """

    grad = True
    inference = False
    paused = False
    mark: _Mark | None = None


class _Mark:
    """What a thread leaves behind at its end: another one may be given the same identity."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()

    def __del__(self) -> None:
        if _other:  # None at the interpreter's end
            with _lock:
                _other.pop(self.thread, None)
                _set_switch()


class Switch:
    """State that every operation reads.

    ``plain``: no thread is in another mode than the default one and nothing watches the tape.
    ``paused``: otherwise the identity of the one thread that is in another mode, if that is
    ``no_grad`` and nothing watches; else None.
    ``watched``: something watches the tape, as many things as ``watchers`` counts.
    ``limit``: the serial past which the next record sweeps the tape.
    ``batched``: how many calls of vmap are running, in all threads.
    """

    __slots__ = ("batched", "limit", "paused", "plain", "watched", "watchers")

    def __init__(self) -> None:
        self.plain = True
        self.paused: int | None = None
        self.watched = False
        self.watchers = 0
        self.limit = 0
        self.batched = 0


switch = Switch()
modes = _ThreadModes()
_other: dict[int, bool] = {}  # threads in another mode, and whether it is just no_grad
_lock = threading.RLock()  # a mark may go while its thread's child process holds it
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )


def set_modes(grad: bool, inference: bool) -> None:
    """Set the calling thread's modes."""
    with _lock:
        modes.grad = grad
        modes.inference = inference
        modes.paused = not grad and not inference
        me = threading.get_ident()
        _other.pop(me, None)
        if not grad or inference:
            _other[me] = not inference
            if modes.mark is None:
                modes.mark = _Mark()
        _set_switch()


def _change_modes(wanted: tuple[bool, bool]) -> None:
    """Set the modes, unless they are the usual ones and were: within others' recording, say."""
    if not (wanted == RECORDING == (modes.grad, modes.inference)):
        set_modes(*wanted)


#: The usual modes: with recording, without inference mode.
RECORDING = (True, False)


def _set_switch() -> None:
    switch.plain = not _other and not switch.watched
    only = next(iter(_other), None)
    alone = len(_other) == 1 and not switch.watched and only is not None and _other[only]
    switch.paused = only if alone else None


def settle() -> None:
    """Make known a mode that was set by assignment, before the user's code runs in it."""
    if switch.plain and not modes.grad:
        set_modes(modes.grad, modes.inference)


def watch() -> None:
    """Send every operation through the long path, which logs its thread, until `unwatch`."""
    with _lock:
        switch.watchers += 1
        switch.watched = True
        _set_switch()


def unwatch() -> None:
    """Undo one call of `watch`."""
    with _lock:
        switch.watchers -= 1
        switch.watched = switch.watchers > 0
        _set_switch()


def count_batched(change: int) -> None:
    """Note that a call of vmap begins (1) or ends (-1)."""
    with _lock:
        switch.batched += change


def is_grad_enabled() -> bool:
    """Whether the calling thread records operations."""
    return modes.grad


def is_inference_mode_enabled() -> bool:
    """Whether the calling thread is within `inference_mode`."""
    return modes.inference


class _ModeContext:
    """A context manager that is a decorator too, of functions and of generator functions."""

    _saved: list[tuple[bool, bool]]

    def _wanted(self) -> tuple[bool, bool]:
        raise NotImplementedError

    def _again(self) -> _ModeContext:
        return type(self)()

    def __enter__(self) -> None:
        # A list: one object may be entered again within itself.
        self.__dict__.setdefault("_saved", []).append((modes.grad, modes.inference))
        _change_modes(self._wanted())

    def __exit__(self, *exception: object) -> None:
        _change_modes(self._saved.pop())

    def __call__(self, function: F) -> F:
        if inspect.isgeneratorfunction(function):
            return self._wrap_generator(function)

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]

    def _wrap_generator(self, function: F) -> F:
        """The mode holds while the generator runs, and not for its consumer between two values."""

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            generator = function(*args, **kwargs)
            step: Callable[[], Any] = functools.partial(next, generator)
            try:
                while True:
                    try:
                        with self._again():
                            value = step()
                    except StopIteration as stop:
                        return stop.value
                    try:
                        step = functools.partial(generator.send, (yield value))
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        step = functools.partial(generator.throw, error)
            finally:
                with self._again():
                    generator.close()

        return wrapper  # type: ignore[return-value]


class no_grad(_ModeContext):
    """Pause the tape: a context manager, and a decorator with or without parentheses.

    >>> import tapegrad
    >>> x = tapegrad.ones(2, requires_grad=True)
    >>> with tapegrad.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    @overload
    def __new__(cls, function: None = None) -> Self: ...
    @overload
    def __new__(cls, function: Callable[..., Any]) -> Any: ...
    def __new__(cls, function: Any = None) -> Any:
        if function is not None:
            return super().__new__(cls)(function)
        return super().__new__(cls)

    def _wanted(self) -> tuple[bool, bool]:
        return False, modes.inference


class enable_grad(_ModeContext):
    """Record again within `no_grad`: a context manager and a decorator."""

    @overload
    def __new__(cls, function: None = None) -> Self: ...
    @overload
    def __new__(cls, function: Callable[..., Any]) -> Any: ...
    def __new__(cls, function: Any = None) -> Any:
        if function is not None:
            return super().__new__(cls)(function)
        return super().__new__(cls)

    def _wanted(self) -> tuple[bool, bool]:
        # Within inference mode nothing records, as in torch.
        return not modes.inference, modes.inference


class set_grad_enabled(_ModeContext):
    """Set recording on or off, at once; as a context manager it is put back at the end."""

    def __init__(self, mode: bool) -> None:
        self.mode = bool(mode)
        self.prev = (modes.grad, modes.inference)
        set_modes(self.mode and not modes.inference, modes.inference)

    def _again(self) -> _ModeContext:
        return set_grad_enabled(self.mode)

    def __enter__(self) -> None:
        self.__dict__.setdefault("_saved", []).append(self.prev)
        set_modes(*self._wanted())

    def __call__(self, function: F) -> F:
        set_modes(*self.prev)  # as a decorator it changes nothing by itself
        return super().__call__(function)

    def _wanted(self) -> tuple[bool, bool]:
        return self.mode and not modes.inference, modes.inference


class set_multithreading_enabled:
    """torch's switch for backward passes on several devices, in one thread each: without effect.

    A backward pass runs in the thread that asks for it. A context manager, and a plain call.
    """

    def __init__(self, mode: bool) -> None:
        self.mode = mode

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        pass


class inference_mode(_ModeContext):
    """As `no_grad`, and what is made within is marked (``x.is_inference()``).

    Outside, a marked Tensor serves as a constant: RuntimeError is raised if it is to require grad,
    is changed in place, or would have to be saved for backward; ``clone()`` makes an ordinary one.
    A view is marked if its base is. ``inference_mode(False)`` leaves the mode. A context manager
    and a decorator.

    >>> import tapegrad
    >>> with tapegrad.inference_mode():
    ...     y = tapegrad.ones(2) * 3
    >>> y.is_inference(), (y + 1).is_inference()
    (True, False)
    """

    def __new__(cls, mode: Any = True) -> Any:
        self = super().__new__(cls)
        if callable(mode):
            self.mode = True
            return self(mode)
        return self

    def __init__(self, mode: bool = True) -> None:
        self.mode = bool(mode)

    def _again(self) -> _ModeContext:
        return inference_mode(self.mode)

    def _wanted(self) -> tuple[bool, bool]:
        return (False, True) if self.mode else (True, False)

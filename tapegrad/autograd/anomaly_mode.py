"""Anomaly mode: where in the forward pass an error of the backward pass comes from.

Within it every record gets a note of the stack that made it, and backward runs in Python, where
each adjoint is looked at.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from tapegrad.autograd.graph import name_of
from tapegrad.autograd.walk import Walk, observers
from tapegrad.modes import unwatch, watch
from tapegrad.tape import INPUTS, PLACE, Record, arity, tape, unshared

__all__ = ["detect_anomaly", "is_anomaly_check_nan_enabled", "is_anomaly_enabled"]
__all__ += ["set_detect_anomaly"]

_PACKAGE = os.path.dirname(os.path.dirname(__file__))


class _Anomaly:
    """Whether the mode is on, in all threads; the observer of backward passes."""

    def __init__(self) -> None:
        self.enabled = False
        self.check_nan = True
        #: The record that runs, by name and stack, and which of its inputs was given a share last.
        self.running: tuple[str, dict[str, Any]] | None = None
        self.cursor = 0
        self.record: Record = ()

    def set(self, enabled: bool, check_nan: bool) -> None:
        self.check_nan = check_nan
        if enabled == self.enabled:
            return
        self.enabled = enabled
        if enabled:
            observers.append(self)
            tape.watchers.append(_note_stack)
            watch()
        else:
            unwatch()
            tape.watchers.remove(_note_stack)
            observers.remove(self)

    @contextlib.contextmanager
    def step(self, walk: Walk, record: Record) -> Iterator[None]:
        """Tell where the record comes from if it raises."""
        before = self.running, self.cursor, self.record
        notes = tape.notes.get(record[PLACE], {})
        name = name_of(record[PLACE])
        self.running, self.cursor, self.record = (name, notes), 0, record
        try:
            yield
        except Exception:
            warnings.warn(_report(name, notes), UserWarning, stacklevel=_frames_within())
            raise
        finally:
            self.running, self.cursor, self.record = before

    def share(self, walk: Walk, place: int, share: Any) -> None:
        """Raise if a share has a nan."""
        if self.running is None:
            return  # the adjoint of a root
        inputs = self.record[INPUTS : INPUTS + arity(self.record)]
        index = inputs.index(place, self.cursor) if place in inputs[self.cursor :] else 0
        self.cursor = index + 1
        array = getattr(share, "_array", share)
        if self.check_nan and np.isnan(array).any():
            raise RuntimeError(
                f"Function '{self.running[0]}' returned nan values in its {index}th output."
            )


_anomaly = _Anomaly()


def _frames_within() -> int:
    """How many frames up the user's code is, for a warning's stacklevel."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame.f_code.co_filename):
        level, frame = level + 1, frame.f_back
    return level


def _is_ours(filename: str) -> bool:
    return filename.startswith(_PACKAGE) or filename == contextlib.__file__


def _note_stack(record: Record) -> Record:
    import traceback  # which takes a while, and is wanted here only

    stack = traceback.StackSummary.extract(
        traceback.walk_stack(sys._getframe(1)), lookup_lines=False
    )
    stack.reverse()
    notes = tape.notes.setdefault(unshared(record[PLACE]), {})
    notes["stack"] = stack
    if _anomaly.running is not None:
        notes["induced_by"] = _anomaly.running
    return record


def _report(name: str, notes: dict[str, Any]) -> str:
    if "stack" not in notes:
        return (
            f"Error detected in {name}. No forward pass information available. Enable detect "
            "anomaly during forward pass for more information."
        )
    lines = [
        f"Error detected in {name}. Traceback of forward call that caused the error:\n",
        _formatted(notes["stack"]),
    ]
    while "induced_by" in notes:
        name, notes = notes["induced_by"]
        lines.append(
            f"\n\nPrevious calculation was induced by {name}. Traceback of forward call that "
            f"induced the previous calculation:\n{_formatted(notes.get('stack', ()))}"
        )
    return "".join(lines)


def _formatted(stack: Any) -> str:
    """The user's frames of a stack, as in a traceback."""
    import traceback

    frames = [frame for frame in stack if not _is_ours(frame.filename)]
    return "".join(traceback.StackSummary.from_list(frames).format())


class set_detect_anomaly:
    """Switch anomaly mode on or off, at once; as a context manager it is put back at the end.

    See `detect_anomaly`.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = _anomaly.enabled, _anomaly.check_nan
        _anomaly.set(bool(mode), check_nan)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        _anomaly.set(*self._before)


class detect_anomaly:
    """Find what is wrong in a backward pass.

    An operation recorded in this context notes the stack of its call. If its derivative raises, a
    warning shows that stack; and with ``check_nan``, a nan in a gradient raises RuntimeError, which
    names the operation. It makes everything slow.

    >>> import tapegrad
    >>> import warnings
    >>> x = tapegrad.zeros(1, requires_grad=True)
    >>> with warnings.catch_warnings(action="ignore"), tapegrad.autograd.detect_anomaly():
    ...     (x.sqrt() * 0).backward()
    Traceback (most recent call last):
    RuntimeError: Function 'SqrtBackward0' returned nan values in its 0th output.
    """

    def __init__(self, check_nan: bool = True) -> None:
        self.check_nan = check_nan
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should "
            "only be enabled for debugging.",
            stacklevel=2,
        )

    def __enter__(self) -> None:
        self._before = _anomaly.enabled, _anomaly.check_nan
        _anomaly.set(True, self.check_nan)

    def __exit__(self, *exception: object) -> None:
        _anomaly.set(*self._before)


def is_anomaly_enabled() -> bool:
    """Whether anomaly mode is on."""
    return _anomaly.enabled


def is_anomaly_check_nan_enabled() -> bool:
    """Whether anomaly mode looks for nan."""
    return _anomaly.check_nan

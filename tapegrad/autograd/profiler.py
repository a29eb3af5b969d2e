"""A profile of operators: how often each ran, for how long, forward and backward, and its bytes.

While a `profile` is on, every operation takes the long recording path through a timed `apply`, and
backward passes run in Python, each record of them timed by an observer. Both are slower than what
runs without it: compare rows with each other, not with a clock.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tapegrad import recording
from tapegrad.autograd.graph import name_of
from tapegrad.autograd.walk import Walk, observers
from tapegrad.modes import modes, set_modes, unwatch, watch
from tapegrad.primitive import Primitive, primitives
from tapegrad.tape import CODE, INPUTS, PLACE, Record, tape
from tapegrad.tensor import Tensor

__all__ = ["EventList", "FunctionEvent", "FunctionEventAvg", "profile", "record_function"]


@dataclass
class FunctionEvent:
    """One run of an operator, or of a `record_function` block; times are in microseconds."""

    name: str
    key: str  # the operator, also where its derivative ran
    start: float
    thread: int
    is_backward: bool = False
    end: float = 0.0
    children_time: float = 0.0
    bytes: int = 0
    input_shapes: list[Any] = field(default_factory=list)

    @property
    def cpu_time_total(self) -> float:
        """How long it took."""
        return self.end - self.start

    @property
    def self_cpu_time_total(self) -> float:
        """How long it took without what ran within it."""
        return self.cpu_time_total - self.children_time


@dataclass
class FunctionEventAvg:
    """All runs of one operator. Forward ones are counted; times are in microseconds."""

    key: str
    count: int = 0
    cpu_time_total: float = 0.0
    self_cpu_time_total: float = 0.0
    backward_count: int = 0
    backward_time_total: float = 0.0
    bytes: int = 0
    input_shapes: list[Any] = field(default_factory=list)

    @property
    def cpu_time(self) -> float:
        """The average time of a forward run."""
        return self.cpu_time_total / self.count if self.count else 0.0

    def add(self, event: FunctionEvent) -> None:
        """Count one more event."""
        if event.is_backward:
            self.backward_count += 1
            self.backward_time_total += event.self_cpu_time_total
        else:
            self.count += 1
            self.cpu_time_total += event.cpu_time_total
            self.self_cpu_time_total += event.self_cpu_time_total
            self.bytes += event.bytes


class EventList(list[Any]):
    """A list of events, or of their averages, that prints as a table."""

    def key_averages(self, group_by_input_shape: bool = False) -> EventList:
        """The events of each operator (and, if asked, each set of input shapes) together."""
        averages: dict[Any, FunctionEventAvg] = {}
        for event in self:
            shapes = str(event.input_shapes) if group_by_input_shape else ""
            if (event.key, shapes) not in averages:
                averages[event.key, shapes] = FunctionEventAvg(
                    event.key, input_shapes=event.input_shapes if group_by_input_shape else []
                )
            averages[event.key, shapes].add(event)
        return EventList(averages.values())

    def total_average(self) -> FunctionEventAvg:
        """All of them together."""
        total = FunctionEventAvg("Total")
        for row in self:
            if isinstance(row, FunctionEvent):
                total.add(row)
                continue
            for name in ("count", "cpu_time_total", "self_cpu_time_total", "bytes"):
                setattr(total, name, getattr(total, name) + getattr(row, name))
            total.backward_count += row.backward_count
            total.backward_time_total += row.backward_time_total
        return total

    def table(
        self,
        sort_by: str | None = None,
        row_limit: int = 100,
        max_name_column_width: int = 55,
        header: str | None = None,
        **_ignored: Any,
    ) -> str:
        """The averages as a table.

        ``sort_by`` is a field of `FunctionEventAvg`, such as "self_cpu_time_total" or "count".
        """
        rows = self if all(isinstance(r, FunctionEventAvg) for r in self) else self.key_averages()
        if sort_by is not None:
            if sort_by not in (*FunctionEventAvg.__dataclass_fields__, "cpu_time"):
                raise ValueError(f"can't sort by {sort_by!r}: it is no field of FunctionEventAvg")
            rows = EventList(sorted(rows, key=lambda row: getattr(row, sort_by), reverse=True))
        total = rows.total_average()
        whole = total.self_cpu_time_total + total.backward_time_total
        titles = ["Name", "# of Calls", "Self CPU", "CPU total", "CPU time avg"]
        titles += ["# of Backward", "Backward", "Total %", "Bytes"]
        shapes = any(row.input_shapes for row in rows)
        lines = [titles + ["Input Shapes"] * shapes]
        for row in rows[:row_limit] if row_limit >= 0 else rows:
            own = row.self_cpu_time_total + row.backward_time_total
            lines.append([
                _shortened(row.key, max_name_column_width), str(row.count),
                _time(row.self_cpu_time_total), _time(row.cpu_time_total), _time(row.cpu_time),
                str(row.backward_count), _time(row.backward_time_total),
                f"{100 * own / whole:.1f}%" if whole else "0.0%", _bytes(row.bytes),
            ] + [str(row.input_shapes)] * shapes)  # fmt: skip
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        rule = "  ".join("-" * width for width in widths)
        text = ["  ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)) for line in lines]
        text = [*([header] if header else []), rule, text[0], rule, *text[1:], rule]
        text.append(f"Self CPU time total: {_time(whole)}")
        return "\n".join(text)

    def __str__(self) -> str:
        return self.table()

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """Write the events as a JSON file that chrome://tracing and Perfetto show."""
        events = [
            {
                "name": event.name,
                "cat": "backward" if event.is_backward else "cpu_op",
                "ph": "X",
                "ts": event.start,
                "dur": event.cpu_time_total,
                "pid": os.getpid(),
                "tid": event.thread,
                "args": {"bytes": event.bytes, "Input Dims": event.input_shapes},
            }
            for event in self
        ]
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"traceEvents": events}, file)


def _shortened(name: str, width: int) -> str:
    return name if len(name) <= width else name[: width - 3] + "..."


def _time(microseconds: float) -> str:
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if microseconds >= size:
            return f"{microseconds / size:.3f}{unit}"
    return f"{microseconds:.3f}us"


def _bytes(count: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count} B"


# -- recording -------------------------------------------------------------------------------------


class _Local(threading.local):
    """The events of this thread that are under way, innermost last."""

    def __init__(self) -> None:
        self.open: list[FunctionEvent] = []


_local = _Local()
_active: profile | None = None


class profile:
    """A context in which operators are profiled; afterwards it has their table.

    >>> import tapegrad
    >>> x = tapegrad.ones(10, requires_grad=True)
    >>> with tapegrad.autograd.profiler.profile() as prof:
    ...     (x * x).sum().backward()
    >>> sorted((row.key, row.count, row.backward_count) for row in prof.key_averages())
    [('mul', 1, 1), ('sum', 1, 1)]

    Args:
        enabled: False does nothing.
        record_shapes: note the shapes of the inputs.
        profile_memory: accepted; the bytes of results are always counted.
        others: those for other devices are accepted and ignored.
    """

    def __init__(
        self, enabled: bool = True, *, record_shapes: bool = False, profile_memory: bool = False,
        **_ignored: Any,
    ) -> None:  # fmt: skip
        self.enabled = enabled
        self.record_shapes = record_shapes
        self.function_events: EventList | None = None
        self._events = EventList()

    def __enter__(self) -> profile:
        global _active
        if not self.enabled:
            return self
        if _active is not None:
            raise RuntimeError("Profiler is already enabled on this thread")
        if self.function_events is not None:
            raise RuntimeError("Profiler context manager is not reentrant")
        _active = self
        observers.append(self)
        watch()
        set_modes(modes.grad, modes.inference)
        # The latter may be machine code by now, which isn't timed.
        self._before, self._timed = Primitive.apply, self._apply
        recording.apply = self._timed
        Primitive.apply = staticmethod(self._timed)
        return self

    def __exit__(self, *exception: object) -> None:
        global _active
        if not self.enabled:
            return
        recording.apply = _plain_apply
        if Primitive.apply is self._timed:
            Primitive.apply = staticmethod(self._before)
        unwatch()
        set_modes(modes.grad, modes.inference)
        observers.remove(self)
        _active = None
        self.function_events = EventList(sorted(self._events, key=lambda event: event.start))

    # -- while it is on ----------------------------------------------------------------------------

    def _apply(
        self, primitive: Primitive, inputs: tuple[Any, ...], params: tuple[Any, ...] = ()
    ) -> Any:
        with self.event(primitive.name) as event:
            result = _plain_apply(primitive, inputs, params)
        if not primitive.view:
            results = result if isinstance(result, tuple) else (result,)
            event.bytes = sum(r._spec.nbytes for r in results)
        if self.record_shapes:
            event.input_shapes = [list(x.shape) for x in inputs if isinstance(x, Tensor)]
        return result

    @contextlib.contextmanager
    def event(self, name: str, key: str = "", is_backward: bool = False) -> Iterator[FunctionEvent]:
        """Time what runs in this context."""
        now = time.perf_counter_ns() / 1e3
        event = FunctionEvent(name, key or name, now, threading.get_ident(), is_backward)
        _local.open.append(event)
        try:
            yield event
        finally:
            event.end = time.perf_counter_ns() / 1e3
            _local.open.pop()
            if _local.open:
                _local.open[-1].children_time += event.cpu_time_total
            self._events.append(event)

    def step(self, walk: Walk, record: Record) -> contextlib.AbstractContextManager[Any]:
        """Time one record of a backward pass."""
        primitive = primitives[record[CODE]]
        if primitive.is_output:
            maker = tape.record(record[INPUTS])
            primitive = primitive if maker is None else primitives[maker[CODE]]
        return self.event(name_of(record[PLACE]), primitive.name, is_backward=True)

    def share(self, walk: Walk, place: int, share: Any) -> None:
        """Nothing: adjoints aren't of interest here."""

    # -- afterwards --------------------------------------------------------------------------------

    def _done(self) -> EventList:
        if self.function_events is None:
            raise RuntimeError("Profiler didn't finish running")
        return self.function_events

    def key_averages(self, group_by_input_shape: bool = False) -> EventList:
        """See `EventList.key_averages`. Raises RuntimeError before the context has ended."""
        return self._done().key_averages(group_by_input_shape)

    def total_average(self) -> FunctionEventAvg:
        """See `EventList.total_average`."""
        return self._done().total_average()

    def table(self, *args: Any, **kwargs: Any) -> str:
        """See `EventList.table`."""
        return self._done().table(*args, **kwargs)

    def export_chrome_trace(self, path: str | os.PathLike[str]) -> None:
        """See `EventList.export_chrome_trace`."""
        self._done().export_chrome_trace(path)

    @property
    def self_cpu_time_total(self) -> float:
        """The time of all operators, forward and backward, in microseconds."""
        total = self.total_average()
        return total.self_cpu_time_total + total.backward_time_total

    def __str__(self) -> str:
        return "" if self.function_events is None else str(self.function_events)


_plain_apply = recording.apply


class record_function:
    """Give a name to a part of the program in a `profile`: a context manager and a decorator."""

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name = name
        self._open: list[contextlib.AbstractContextManager[Any]] = []

    def __enter__(self) -> record_function:
        context: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        if _active is not None:
            context = _active.event(self.name)
        context.__enter__()
        self._open.append(context)
        return self

    def __exit__(self, *exception: Any) -> None:
        self._open.pop().__exit__(*exception)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with record_function(self.name):
                return function(*args, **kwargs)

        return wrapper

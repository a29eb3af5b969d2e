"""The Wengert tape: a list of records, one for each operation, in the order in which they ran.

    >>> import tapegrad
    >>> x = tapegrad.tensor([1., 2.], requires_grad=True)
    >>> y = (x * x).sum()
    >>> print(tapegrad.tape.history(y))
    x1 : float32[2]   leaf
    v1 : float32[2] = mul(x1, x1)
    v2 : float32[]  = sum(v1)

A record is data, a flat tuple:

    (place, code, spec, params, *places of the n inputs, *saved inputs, saved result)

``code`` is the primitive's number, ``spec`` the number of the result's shape and dtype, and what
the rules don't need is saved as None.

A *place* says where a value comes from: a positive int is the serial of the record that made it, a
negative one the number of a leaf, None a constant. It is the int *object* that counts: the record,
later records that use the value, and the Tensors that hold it all refer to the one int that the
counter made, so its reference count tells whether anybody can still ask for the record. When the
list has grown enough, `Tape.sweep` drops from the end every record whose place nobody else refers
to. Tuples of numbers and arrays are nothing that Python's cycle collector has to follow, and no
record refers to another, so a chain of any length is freed without recursion.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
import weakref
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from tapegrad.modes import switch, unwatch, watch
from tapegrad.spec import SMALL_BYTES

if TYPE_CHECKING:
    from tapegrad.stats import TapeStats

__all__ = ["ALIVE", "RELEASED", "Record", "Tape", "tape"]

Record = tuple[Any, ...]

#: Stands where a saved value was, once backward has freed it.
RELEASED = "released"

PLACE, CODE, SPEC, PARAMS, INPUTS = 0, 1, 2, 3, 4

#: A sweep after so many records, or after so many bytes of arrays that are not small.
SWEEP_RECORDS = 10_000
SWEEP_BYTES = 64 << 20

#: Serials start beyond the ints that Python keeps for itself: each must be an object of its own.
FIRST_SERIAL = 10_000

_place = itemgetter(PLACE)


def unshared(place: int) -> int:
    """An equal int that is another object: a key that doesn't keep the record of a place alive."""
    return (place << 1) >> 1


def arity(record: Record) -> int:
    """How many inputs a record has."""
    return (len(record) - 5) >> 1


class Position(int):
    """An end of the tape. While it lives, records after it are known by their threads."""

    def __new__(cls, serial: int) -> Position:
        watch()
        return super().__new__(cls, serial)

    def __del__(self) -> None:
        unwatch()


class Tape:
    """A Wengert list, and what belongs to it. The process has one, `tapegrad.tape`."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.next_serial = itertools.count(FIRST_SERIAL).__next__
        self._next_leaf = itertools.count(FIRST_SERIAL).__next__
        #: The leaves' Tensors, by place.
        self.leaves: dict[int, weakref.ref[Any]] = {}
        #: What hooks, retain_grad and anomaly traces know of a place; it goes with its record.
        self.notes: dict[int, dict[str, Any]] = {}
        #: While `switch.watched`, each is called with a new record and returns what to append.
        self.watchers: list[Callable[[Record], Record]] = []
        self._threads: dict[int, int] = {}
        self._resets: list[tuple[int, int]] = []
        self._lock = threading.RLock()
        #: The threads that are in a replay, by what stands for it: see `begin_replay`.
        self.replays: dict[Any, int] = {}
        #: The sweep's inner loop, compiled; set once Numba has been loaded for a replay.
        self.native_sweep: Callable[[list[Record], int, int], int] | None = None
        #: Places of records that are noted and not yet in the list.
        self._arriving: set[int] = set()
        self._bytes = 0
        self._swept = 0  # records that have survived a sweep stand before this index
        self._full = 2 * SWEEP_RECORDS
        switch.limit = FIRST_SERIAL + SWEEP_RECORDS

    # -- recording ---------------------------------------------------------------------------------

    def append(self, record: Record, nbytes: int) -> None:
        """Append a record that keeps ``nbytes`` bytes of arrays alive (the long path)."""
        if nbytes > SMALL_BYTES:
            self._bytes += nbytes
        if switch.watched:
            self._append_watched(record)
        else:
            self.records.append(record)
        if record[PLACE] > switch.limit or self._bytes > SWEEP_BYTES:
            self.sweep()

    def _append_watched(self, record: Record) -> None:
        place = unshared(record[PLACE])
        self._arriving.add(place)  # or a sweep would forget what is noted of it
        try:
            self._threads[place] = threading.get_ident()
            for watcher in tuple(self.watchers):
                record = watcher(record)
            self.records.append(record)
        finally:
            self._arriving.discard(place)

    def new_leaf(self, tensor: Any) -> int:
        """A place for a leaf Tensor."""
        place = -self._next_leaf()
        leaves = self.leaves

        def forget(_: object) -> None:
            leaves.pop(place, None)

        leaves[place] = weakref.ref(tensor, forget)
        return place

    def leaf(self, place: int) -> Any | None:
        """The leaf Tensor of a negative place, if it still lives."""
        reference = self.leaves.get(place)
        return None if reference is None else reference()

    def index(self, place: int) -> int | None:
        """Where the record of a place stands in the list, None if it was dropped."""
        records = self.records
        last = len(records) - 1  # other threads may append meanwhile
        if last >= 0 and records[last][PLACE] == place:
            return last
        i = bisect_left(records, place, key=_place)
        if i < len(records) and records[i][PLACE] == place:
            return i
        # Two threads can append in another order than they counted; bisection may then miss.
        for i in range(len(records) - 1, -1, -1):
            if records[i][PLACE] == place:
                return i
        return None

    def after(self, serial: int) -> int:
        """Where the records that are newer than a serial begin in the list."""
        return bisect_right(self.records, serial, key=_place)

    def record(self, place: int) -> Record | None:
        """The record of a place, None if it was dropped."""
        with self._lock:
            i = self.index(place)
            return None if i is None else self.records[i]

    # -- lifetime ----------------------------------------------------------------------------------

    def sweep(self, full: bool = False) -> None:
        """Drop every record that no live Tensor depends on.

        It runs by itself as the tape grows: over the records that are new since the last sweep, and
        over all of them when the list has doubled.
        """
        if not self._lock.acquire(blocking=False):
            return  # another thread is at it
        swept = False
        try:
            switch.limit = self.records[-1][PLACE] + SWEEP_RECORDS if self.records else 0
            if switch.limit == 0:
                switch.limit = self.next_serial() + SWEEP_RECORDS
            if self.replays:
                return  # a replay walks the list by index; the next sweep comes soon enough
            # What frees an array may run anything: it neither sweeps nor resets meanwhile.
            swept = True
            self.replays[self] = threading.get_ident()
            self._bytes = 0
            full = full or len(self.records) > self._full
            self._drop_dead(0 if full else min(self._swept, len(self.records)))
            self._swept = len(self.records)
            if full:
                self._full = 2 * self._swept + 2 * SWEEP_RECORDS
        finally:
            if swept:
                self.replays.pop(self, None)
            self._lock.release()

    def _drop_dead(self, start: int) -> None:
        records = self.records
        end = len(records)
        if self.native_sweep is not None:
            if self.native_sweep(records, start, end):
                self._drop_notes()
            return
        part = records[start:end]
        if min(map(sys.getrefcount, map(_place, part)), default=ALIVE) >= ALIVE:
            return
        # Only this range: other threads may append meanwhile. Who looks a record up waits.
        del records[start:end]
        kept: list[Record] = []
        keep, take, getrefcount = kept.append, part.pop, sys.getrefcount
        record: Record = ()
        try:
            # From the end, so that dropping a record frees the places that only it refers to.
            while part:
                record = take()
                if getrefcount(record[PLACE]) > _DEAD:
                    keep(record)
        except BaseException:
            if record and not (kept and kept[-1] is record):
                keep(record)
            raise
        finally:
            kept.reverse()
            records[start:start] = part + kept
            self._drop_notes()

    def _drop_notes(self) -> None:
        """Forget what was noted of records that are gone."""
        tables = [table for table in (self.notes, self._threads) if table]
        if tables:
            # Other threads record and note meanwhile: what they noted first is looked up last.
            noted = [list(table) for table in tables]
            alive = self._arriving.copy()
            alive.update(map(_place, self.records))
            for table, places in zip(tables, noted, strict=True):
                for place in [p for p in places if p > 0 and p not in alive]:
                    table.pop(place, None)

    def begin_replay(self, replay: Any) -> None:
        """Until ``tape.replays.pop(replay, None)`` no thread moves a record.

        This goes into a ``try`` and that into its ``finally``, as it stands there: an interrupt may
        come in any function of Python's, and without the end no record was ever dropped again.
        """
        with self._lock:
            self.replays[replay] = threading.get_ident()

    def _after_fork(self) -> None:
        """In a child process, where other threads are no more."""
        me = threading.get_ident()
        self.replays = {r: thread for r, thread in self.replays.items() if thread == me}
        self._lock.release()

    # -- positions ---------------------------------------------------------------------------------

    def position(self) -> Position:
        """The current end of the tape, to `reset_to` later.

        As long as a position lives every operation notes its thread, which makes recording some
        times slower.
        """
        return Position(self.next_serial())

    def reset_to(self, position: Position | int, places: Iterable[int] | None = None) -> None:
        """Drop the calling thread's records after ``position``, with all that they saved.

        Only those at ``places``, if these are given.

        A Tensor that such a record made can't be used in a recorded operation or in ``backward``
        again: both raise RuntimeError. Raises TypeError for what isn't a `position`, RuntimeError
        within a replay of the same thread, and waits for those of others.
        """
        if places is None and not isinstance(position, Position):
            raise TypeError(
                f"tape.reset_to() takes what tape.position() gave, not {type(position).__name__}"
            )
        me = threading.get_ident()
        if me in list(self.replays.values()):
            raise RuntimeError("tape.reset_to() can't be called while backward is running")
        while not self._reset(me, position, places):
            time.sleep(1e-3)  # a replay of another thread walks the list

    def _reset(self, me: int, position: int, places: Iterable[int] | None) -> bool:
        with self._lock:
            if self.replays:
                return False
            end = self.next_serial()
            threads = self._threads
            if places is None:
                places = [p for p, thread in threads.items() if thread == me]
            dropped = {p for p in places if p > position}
            end_index = len(self.records)
            kept = [r for r in self.records[:end_index] if r[PLACE] not in dropped]
            self.records[:end_index] = kept
            for place in dropped:
                threads.pop(place, None)
                self.notes.pop(place, None)
            self._swept = min(self._swept, len(self.records))
            self._resets.append((unshared(position), end))  # a Position may go now
            return True

    def was_reset(self, place: int) -> bool:
        """Whether `reset_to` dropped the record of a place."""
        return any(a < place < b for a, b in self._resets) and self.record(place) is None

    # -- reading -----------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.records)

    def stats(self) -> TapeStats:
        """How much the tape holds: records, live and dead ones, bytes saved, by operator."""
        from tapegrad.stats import stats_of

        with self._lock:
            return stats_of(list(self.records))

    def history(self, *tensors: Any) -> str:
        """The records that Tensors depend on, as a Wengert list. Raises TypeError for others."""
        from tapegrad.wengert import wengert_list

        for tensor in tensors:
            if not hasattr(tensor, "_place"):
                raise TypeError(f"tape.history() takes Tensors, not {type(tensor).__name__}")
        with self._lock:
            wanted = {t._place for t in tensors}
            first = dict.fromkeys(t._place for t in tensors if t._place and t._place < 0)
            chosen = []
            for record in reversed(self.records):
                if record[PLACE] in wanted:
                    wanted.update(record[INPUTS : INPUTS + arity(record)])
                    chosen.append(record)
            return wengert_list(self, chosen[::-1], first)

    def __str__(self) -> str:
        from tapegrad.wengert import wengert_list

        with self._lock:
            return wengert_list(self, list(self.records))

    def __repr__(self) -> str:
        return f"<tape with {len(self.records)} records>"


def _calibrate() -> tuple[int, int]:
    """The reference counts that a dead place shows in the two ways that a sweep reads it.

    They differ between versions of Python, so the very expressions of the sweep are run on a
    record that nothing refers to.
    """
    getrefcount = sys.getrefcount
    probe: list[Any] = [(itertools.count(FIRST_SERIAL).__next__(), 0)]
    mapped = min(map(getrefcount, map(_place, probe)))
    record = probe.pop()
    looked_up = getrefcount(record[PLACE])
    return mapped + 1, looked_up


#: See `_calibrate`.
ALIVE, _DEAD = _calibrate()

#: The process's tape. A child process gets it whole, whatever other threads were about to do.
tape = Tape()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=tape._lock.acquire,
        after_in_parent=tape._lock.release,
        after_in_child=tape._after_fork,
    )

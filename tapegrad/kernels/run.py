"""Running a replay natively: the Python side of `tapegrad.kernels.loop`."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from tapegrad.contributions import added, check_share
from tapegrad.kernels import leaves, loop
from tapegrad.kernels.blocks import run_blocks
from tapegrad.kernels.compiled import compiled, dtype_code, is_for_python
from tapegrad.replay import Replay
from tapegrad.spec import Spec, specs
from tapegrad.storage import clock
from tapegrad.tape import CODE, PLACE, RELEASED, SPEC, Record, tape
from tapegrad.threads import LARGE_BYTES

__all__ = ["walk_natively"]

#: A walk has room for so many records at first; it is kept for other replays if it has no more than
#: MOST_ROOM, and at most so many are kept. (Zeros that nobody writes to cost no memory.)
ROOM, MOST_ROOM = 1 << 15, 1 << 20
KEPT = 8

_malloc = ctypes.pythonapi.PyMem_RawMalloc
_malloc.restype, _malloc.argtypes = ctypes.c_int64, [ctypes.c_int64]
_free = ctypes.pythonapi.PyMem_RawFree
_free.restype, _free.argtypes = None, [ctypes.c_int64]
_decref = ctypes.pythonapi.Py_DecRef
_decref.restype, _decref.argtypes = None, [ctypes.c_int64]


_idle: list[_NativeWalk] = []


def walk_natively(replay: Replay, index: int) -> None:
    """Go on with a replay at the record ``index``."""
    walk = replay.begun or _idle_walk()
    try:
        walk.start(replay, index)
        walk.go()
    except BaseException:
        walk.give_up(index)
        raise
    walk.end()


def walk_alone(index: int, adjoint: np.ndarray, retain: bool) -> _NativeWalk | None:
    """Run a replay of one root, a plain number, that gives leaves their gradients.

    Returns None if machine code could do all of it; else the walk as far as it went, with which a
    replay goes on (``Replay.begun``).
    """
    walk = _idle_walk()
    try:
        done = walk.run_alone(index, adjoint, retain)
    except BaseException:
        walk.give_up(index)
        raise
    if not done:
        return walk
    walk.end()
    return None


def _idle_walk() -> _NativeWalk:
    try:
        return _idle.pop()
    except IndexError:
        return _NativeWalk()


class _NativeWalk:
    """The state of a replay, shared with the loop; used again for the next one.

    The adjoint of a record is either in a buffer of the loop's, whose address is in ``table``, or
    in the replay's dictionary, where Python keeps it; then the table says IN_PYTHON.
    """

    replay: Any  # a Replay, while there is one

    def __init__(self) -> None:
        self.table = np.zeros(ROOM, np.int64)
        self.leaf_table = np.zeros(leaves.COLUMNS * 64, np.int64)
        self.buffers: dict[int, np.ndarray] = {}  # of leaves whose arrays Python made
        self.stops = np.zeros(1, np.int64)
        self._stopping = self._attached = self._began = False
        self._alone = False  # the fields are those of `run_alone`
        self._tables: Any = None
        self.fields = np.zeros(loop.FIELDS, np.int64)
        self.address = self.fields.ctypes.data
        # Its items are read and set faster than an array's.
        state = self.state = memoryview(self.fields)  # type: ignore[arg-type]
        state[loop.RECORDS] = id(tape.records)
        state[loop.NONE] = id(None)
        state[loop.RELEASED] = id(RELEASED)
        state[loop.ADJOINTS] = self.table.ctypes.data
        state[loop.STOPS] = self.stops.ctypes.data
        state[loop.TOOLS] = compiled().tools.ctypes.data
        self._set_leaf_table()

    def run_alone(self, index: int, adjoint: np.ndarray, retain: bool) -> bool:
        """See `walk_alone`: whether it is done."""
        state = self.state
        if not self._alone:
            if self._stopping:
                self._no_stops()
            state[loop.STOP] = 0
            state[loop.SHARED] = compiled().shared
            state[loop.GIVES] = True
            state[loop.NEEDED] = state[loop.TARGETS] = 0
            self._alone = True
        self._make_room(index)
        state[loop.INDEX] = index
        state[loop.RETAIN] = retain
        state[loop.ROOT] = id(adjoint)
        state[loop.PENDING] = 1  # until the loop has taken it over
        reason = self._call(compiled())
        self._began = True
        return reason == loop.DONE and not state[loop.PENDING] and not state[loop.LEAF_COUNT]

    def _make_room(self, index: int) -> None:
        if index >= self.table.size:
            self.table = np.zeros(index + index // 2, np.int64)
            self.state[loop.ADJOINTS] = self.table.ctypes.data

    def _no_stops(self) -> None:
        self._stopping = False
        self.stops = np.zeros(1, np.int64)
        self.state[loop.STOPS] = self.stops.ctypes.data

    def start(self, replay: Replay, index: int) -> None:
        """Take a replay over at the record ``index``, with the adjoints that it has so far."""
        self.replay = replay
        state = self.state
        self.noted = -1  # how many places had notes when the stops were set
        if self._began:
            state[loop.HANDED] = id(replay.leaves)
            state[loop.OWNED] = id(replay.owned)
            return
        self._alone = False
        self._make_room(index)
        state[loop.INDEX] = index
        state[loop.RETAIN] = replay.retain
        state[loop.STOP] = 0
        state[loop.SHARED] = 0 if replay.leaves else compiled().shared
        state[loop.GIVES] = replay.gives
        state[loop.HANDED] = id(replay.leaves)
        state[loop.OWNED] = id(replay.owned)
        state[loop.NEEDED] = 0 if replay.needed is None else id(replay.needed)
        state[loop.TARGETS] = 0 if replay.targets is None else id(replay.targets)
        if self._stopping or replay.hook is not None or replay.targets is not None:
            self._set_stops()
        pending = replay.adjoints
        if len(pending) == 1:
            ((place, adjoint),) = pending.items()
            record = replay.tape.records[index]
            here = record[PLACE] == place and _is_plain(adjoint, specs[record[SPEC]])
            if here and not is_for_python(record[CODE]):
                state[loop.ROOT] = id(adjoint)
                state[loop.PENDING] = 1  # until the loop has taken it over
                return
        self._attach()
        replay.adjoints = {}
        for place, adjoint in pending.items():
            at = None if place < 0 else replay.tape.index(place)
            if type(adjoint) is list or (
                at is not None and is_for_python(replay.tape.records[at][CODE])
            ):
                replay.adjoints[place] = adjoint
                self._mark(place)
            else:
                self.add(place, adjoint, place in replay.owned)
        replay.owned.difference_update([p for p in pending if p not in replay.adjoints])

    def _attach(self) -> None:
        """Let the replay's steps in Python reach the loop's adjoints."""
        replay = self.replay
        self._attached = True
        replay.add = self.add
        replay.mark = self._mark

    def _set_stops(self) -> None:
        replay = self.replay
        if len(replay.tape.notes) == self.noted:
            return
        self.noted = len(replay.tape.notes)
        places = set(replay.tape.notes) if replay.hook is not None else set()
        if replay.targets is not None:
            places |= replay.targets
        stops = sorted((p for p in places if p > 0), reverse=True)
        self._stopping = bool(stops)
        if len(stops) + 1 != self.stops.size:
            self.stops = np.zeros(len(stops) + 1, np.int64)
            self.state[loop.STOPS] = self.stops.ctypes.data
        self.stops[:-1] = stops
        self.state[loop.STOP] = 0

    def go(self) -> None:
        """Call the loop until it is done, and do what it leaves to Python."""
        code = compiled()
        replay, state = self.replay, self.state
        records = replay.tape.records
        while True:
            reason = self._call(code)
            if reason == loop.DONE:
                break
            if replay.adjoints and not self._attached:
                replay.adjoints = {}  # the root's, which the loop has taken over
                replay.owned.clear()
            if reason == loop.NEW_LEAF:
                self.new_leaf(state[loop.ARGUMENT])
            elif reason == loop.NEW_KERNEL:
                code.compile(state[loop.ARGUMENT])
            elif reason == loop.NO_MEMORY:
                raise MemoryError
            elif reason == loop.PYTHON:
                self._step(state[loop.INDEX], records)
        replay.adjoints = {}
        if state[loop.PENDING]:
            raise replay.gone()
        if state[loop.LEAF_COUNT]:
            self._collect_leaves()

    def _call(self, code: Any) -> int:
        """Call the loop; why it stopped."""
        state = self.state
        tables = code.refresh()
        if tables is not self._tables:
            state[loop.SPECS], state[loop.KERNELS], state[loop.STRUCTURAL] = tables.at
            self._tables = tables  # last: an exception may come anywhere
        state[loop.BUDGET] = loop.BUDGET_ELEMENTS
        state[loop.LATEST] = clock.latest
        reason: int = code.loop(self.address)
        return reason

    def _step(self, index: int, records: list[Record]) -> None:
        """Let Python run a record."""
        if not self._attached:
            self._attach()
        record = records[index]
        self.state[loop.INDEX] = index - 1
        if specs[record[SPEC]].nbytes <= LARGE_BYTES or not run_blocks(self, index):
            self.drop(index, record[PLACE], keep=True)
            self.replay.step(index, record)
        if self._stopping or self.replay.tape.notes:
            self._set_stops()

    def end(self) -> None:
        """Leave the replay; from now on the walk is there for others."""
        self._leave()
        if len(_idle) < KEPT and self.table.size <= MOST_ROOM:
            _idle.append(self)

    def give_up(self, index: int) -> None:
        """Free what is left after an exception.

        It may have come anywhere, if it is an interrupt, and left the state half changed: nobody
        uses the walk again.
        """
        part = self.table[: index + 1]
        for address in part[part > loop.IN_PYTHON].tolist():
            _free(address)
        self._leave()

    def _leave(self) -> None:
        """Give the replay back its own ways, and let go of the arrays of leaves."""
        self._began = False
        if self._attached:
            self._attached = False
            for name in ("add", "mark"):  # the instance's: the class has its own
                self.replay.__dict__.pop(name, None)
        state = self.state
        if state[loop.LEAF_COUNT]:
            rows = self.leaf_table.reshape(-1, leaves.COLUMNS)
            for address in rows[:, leaves.ARRAY].tolist():
                if address:
                    _decref(address)
            rows[:] = 0
            state[loop.LEAF_COUNT] = 0
            self.buffers = {}
        self.replay = None

    # -- leaves ------------------------------------------------------------------------------------

    def _keep_leaves_in_python(self) -> None:
        """Let the loop make no more arrays for leaves in this replay."""
        self.state[loop.SHARED] = 0
        self._alone = False  # the next one sets it again

    def _set_leaf_table(self) -> None:
        self.state[loop.LEAVES] = self.leaf_table.ctypes.data
        self.state[loop.LEAF_MASK] = self.leaf_table.size // leaves.COLUMNS - 1

    def row(self, place: int) -> np.ndarray:
        """The row of a leaf; an empty one if it has none."""
        rows = self.leaf_table.reshape(-1, leaves.COLUMNS)
        mask = len(rows) - 1
        slot = -place & mask
        while rows[slot, leaves.PLACE] not in (0, place):
            slot = (slot + 1) & mask
        return rows[slot]

    def new_leaf(self, place: int) -> None:
        """Give a leaf a buffer, which becomes its gradient."""
        state = self.state
        if 2 * (state[loop.LEAF_COUNT] + 1) > state[loop.LEAF_MASK]:
            old = self.leaf_table.reshape(-1, leaves.COLUMNS)
            self.leaf_table = np.zeros(2 * self.leaf_table.size, np.int64)
            for row in old[old[:, leaves.PLACE] != 0]:
                self.row(int(row[leaves.PLACE]))[:] = row
            self._set_leaf_table()
        state[loop.LEAF_COUNT] += 1
        replay = self.replay
        leaf: Any = replay.tape.leaf(place)
        unwanted = leaf is None or (replay.targets is not None and place not in replay.targets)
        if unwanted:
            self.row(place)[:] = (place, leaves.DEAD, 0, 0, 0, 0, 0)
            return
        before = replay.leaves.get(place)
        spec = leaf._spec
        if before is None:
            buffer = np.empty(spec.shape, spec.dtype)
        elif place in replay.owned and before.flags.c_contiguous:
            buffer = before
        else:
            buffer = np.array(before, order="C")
        replay.leaves[place] = self.buffers[place] = buffer
        replay.owned.add(place)
        row = (buffer.ctypes.data, before is not None, 0, buffer.size)
        # If it was given other data since it was used, Python will find that out.
        same = buffer.shape == spec.shape and buffer.dtype == spec.dtype
        self.row(place)[:] = (place, *row, dtype_code(spec) if same else -1, id(spec.shape))

    def _collect_leaves(self) -> None:
        """Hand the adjoints of leaves to the replay that the loop hasn't given away."""
        replay = self.replay
        rows = self.leaf_table.reshape(-1, leaves.COLUMNS)
        for row in rows[rows[:, leaves.PLACE] != 0]:
            place, _, filled, address = row.tolist()[:4]
            if address and filled:
                replay.leaves[place] = _object_at(address)
                replay.owned.add(place)
            elif not filled:
                replay.leaves.pop(place, None)

    # -- adjoints ----------------------------------------------------------------------------------

    def _mark(self, place: int) -> int:
        index = self.replay.tape.index(place)
        if index is None or index >= self.table.size:
            raise self.replay.gone(place)
        if not self.table[index]:
            self.table[index] = loop.IN_PYTHON
            self.state[loop.PENDING] += 1
        return index

    def add(self, place: int, share: Any, fresh: bool) -> None:
        """As `Replay.add`, for a share that Python computed."""
        replay = self.replay
        if place < 0:
            row = self.row(place)
            if row[leaves.PLACE] == 0:
                # From now on Python meets the leaves first: it may have a share already.
                self._keep_leaves_in_python()
                type(replay).add(replay, place, share, fresh)
            elif row[leaves.BUFFER] != leaves.DEAD:
                address = int(row[leaves.ARRAY])
                buffer = _object_at(address) if address else self.buffers[place]
                check_share(share, buffer.shape)
                if row[leaves.FILLED]:
                    added(buffer, share, buffer)
                else:
                    buffer[...] = share
                    row[leaves.FILLED] = 1
            return
        index = self._mark(place)
        address = int(self.table[index])
        record = replay.tape.records[index]
        spec = specs[record[SPEC]]
        check_share(share, spec.shape)
        if address > loop.IN_PYTHON:
            buffer = _view(address, spec)
            added(buffer, share, buffer)
        elif (
            place in replay.adjoints
            or share.dtype != spec.dtype
            or dtype_code(spec) < 0
            or is_for_python(record[CODE])
        ):
            type(replay).add(replay, place, share, fresh)
        else:
            address = _malloc(max(spec.nbytes, 8))
            if not address:
                raise MemoryError
            self.table[index] = address
            _view(address, spec)[...] = share

    def drop(self, index: int, place: int, keep: bool = False) -> None:
        """The record has no adjoint in the loop any more: it has run, or Python keeps it."""
        address = int(self.table[index])
        if address > loop.IN_PYTHON:
            if keep:
                spec = specs[self.replay.tape.records[index][SPEC]]
                self.replay.adjoints[place] = _view(address, spec).copy()
                self.replay.owned.add(place)
        elif not keep:
            del self.replay.adjoints[place]
            self.replay.owned.discard(place)
        self.table[index] = 0
        self.state[loop.PENDING] -= 1
        if address > loop.IN_PYTHON:
            _free(address)  # last: an interrupt in between must not have it freed again

    def gathered(self, place: int) -> tuple[Any, bool, bool]:
        """The adjoint that Python keeps; whether it may be changed; whether it has shares."""
        replay = self.replay
        held = replay.adjoints if place > 0 else replay.leaves
        if place < 0:
            row = self.row(place)
            if row[leaves.PLACE] != 0:
                address = int(row[leaves.ARRAY])
                array = _object_at(address) if address else self.buffers[place]
                return array, True, bool(row[leaves.FILLED])
        before = held.get(place)
        return before, place in replay.owned, before is not None

    def put(self, place: int, array: np.ndarray) -> None:
        """Let an array be the adjoint of a place: the one that was `gathered`, or a new one."""
        replay = self.replay
        if place > 0:
            self._mark(place)
            replay.adjoints[place] = array
        else:
            row = self.row(place)
            if row[leaves.PLACE] != 0:
                row[leaves.FILLED] = 1
                return
            # From now on Python meets the leaves first: it has a share already.
            self._keep_leaves_in_python()
            replay.leaves[place] = array
        replay.owned.add(place)


def _is_plain(array: Any, spec: Spec) -> bool:
    """Whether the loop can copy the array: it is one of small reals, in one run of memory."""
    return (
        type(array) is np.ndarray
        and array.dtype is spec.dtype
        and array.shape == spec.shape
        and spec.short
        and array.flags.c_contiguous
    )


def _view(address: int, spec: Spec) -> np.ndarray:
    memory: Any = (ctypes.c_char * spec.nbytes).from_address(address)
    return np.frombuffer(memory, spec.dtype).reshape(spec.shape)


def _object_at(address: int) -> Any:
    return ctypes.cast(address, ctypes.py_object).value

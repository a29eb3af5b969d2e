"""Running a replay natively: the Python side of `tapegrad.kernels.loop`."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from tapegrad.kernels import loop
from tapegrad.kernels.adjoint import ARITY, DTYPES, adjoint_kernel
from tapegrad.kernels.native import probe
from tapegrad.kernels.sweep import native_sweep
from tapegrad.primitive import primitives
from tapegrad.replay import Replay
from tapegrad.spec import Spec, specs
from tapegrad.storage import clock
from tapegrad.tape import PLACE, RELEASED, tape

__all__ = ["available", "walk_natively"]

#: Larger arrays are left to Python: there the overhead doesn't count, NumPy's loops release the
#: GIL, and the adjoint's memory is an array's own.
BIG_BYTES = 1 << 20

_malloc = ctypes.pythonapi.PyMem_RawMalloc
_malloc.restype, _malloc.argtypes = ctypes.c_int64, [ctypes.c_int64]
_free = ctypes.pythonapi.PyMem_RawFree
_free.restype, _free.argtypes = None, [ctypes.c_int64]


class _Compiled:
    """What is compiled in this process: the loop, and the kernels with a table of addresses."""

    def __init__(self) -> None:
        self.works = probe()
        if self.works:
            self._loop = loop.compile_loop()  # kept alive: it owns the code
            # PYFUNCTYPE: the GIL stays held.
            kind = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
            self.loop = kind(self._loop.address)
            tape.native_sweep = native_sweep()
        self.kernels: list[Any] = []
        self.addresses = np.zeros(0, np.int64)
        self.specs = np.zeros(0, np.int64)

    def refresh(self) -> None:
        """Bring the tables up to the present number of primitives and specs."""
        wanted = 2 * ARITY * len(primitives)
        if self.addresses.size < wanted:
            grown = np.zeros(wanted, np.int64)
            grown[: self.addresses.size] = self.addresses
            first = self.addresses.size // (2 * ARITY)
            for code, primitive in enumerate(primitives[first:], first):
                if not primitive.native:
                    grown[2 * ARITY * code : 2 * ARITY * (code + 1)] = -1
            self.addresses = grown
        known = self.specs.size // 2
        if known < len(specs):
            new = [x for spec in specs[known:] for x in (spec.size, _dtype_code(spec))]
            self.specs = np.concatenate([self.specs, np.array(new, np.int64)])

    def compile(self, position: int) -> None:
        """Compile the kernel at a position of the table, or note that there is none."""
        code, rest = divmod(position, 2 * ARITY)
        index, dtype = divmod(rest, 2)
        kernel = adjoint_kernel(primitives[code], index, DTYPES[dtype])
        self.kernels.append(kernel)
        self.addresses[position] = -1 if kernel is None else kernel.address


def _dtype_code(spec: Spec) -> int:
    return DTYPES.index(spec.dtype) if spec.dtype in DTYPES and spec.nbytes <= BIG_BYTES else -1


_compiled: _Compiled | None = None


def compiled() -> _Compiled:
    """The process's compiled code; made at the first call."""
    global _compiled
    if _compiled is None:
        _compiled = _Compiled()
    return _compiled


def available() -> bool:
    """Whether the native loop can be used on this machine."""
    return compiled().works


def walk_natively(replay: Replay, index: int) -> None:
    """Go on with a replay at the record ``index``."""
    run = _NativeWalk(replay, index)
    try:
        run.go()
    finally:
        run.free()


class _NativeWalk:
    """The state of one replay, shared with the loop.

    The adjoint of a record is either in a buffer of the loop's, whose address is in ``table``, or
    in the replay's dictionary, where Python keeps it; then the table says IN_PYTHON.
    """

    def __init__(self, replay: Replay, index: int) -> None:
        self.replay = replay
        self.table = np.zeros(index + 1, np.int64)
        self.state = np.zeros(loop.FIELDS, np.int64)
        self.buffers: dict[int, np.ndarray] = {}  # of leaves
        self.leaf_table = np.zeros(3 * 64, np.int64)
        self.leaf_count = 0
        state = self.state
        state[loop.INDEX] = index
        state[loop.RECORDS] = id(replay.tape.records)
        state[loop.NONE] = id(None)
        state[loop.RELEASED] = id(RELEASED)
        state[loop.ADJOINTS] = self.table.ctypes.data
        state[loop.RETAIN] = replay.retain
        self.stops = np.zeros(0, np.int64)
        self.noted = -1  # how many places had notes when the stops were set
        self._set_stops()
        pending, replay.adjoints = replay.adjoints, {}
        self.python_add = replay.add
        replay.add = self.add  # type: ignore[method-assign]
        replay.mark = self._mark  # type: ignore[method-assign,assignment]
        for place, adjoint in pending.items():
            if type(adjoint) is list:
                replay.adjoints[place] = adjoint
                self._mark(place)
            else:
                self.add(place, adjoint, place in replay.owned)
        replay.owned.difference_update(pending)

    def _set_stops(self) -> None:
        replay = self.replay
        if len(replay.tape.notes) == self.noted:
            return
        self.noted = len(replay.tape.notes)
        places = set(replay.tape.notes) if replay.hook is not None else set()
        if replay.targets is not None:
            places |= replay.targets
        stops = sorted((p for p in places if p > 0), reverse=True)
        if len(stops) + 1 != self.stops.size:
            self.stops = np.array([*stops, 0], np.int64)
            self.state[loop.STOPS] = self.stops.ctypes.data
            self.state[loop.STOP] = 0

    def go(self) -> None:
        """Call the loop until it is done, and do what it leaves to Python."""
        code = compiled()
        replay, state = self.replay, self.state
        records = replay.tape.records
        address = state.ctypes.data
        while True:
            code.refresh()
            # Held here: another thread may put larger tables in their places.
            table_of_specs, addresses = code.specs, code.addresses
            state[loop.SPECS] = table_of_specs.ctypes.data
            state[loop.KERNELS] = addresses.ctypes.data
            state[loop.LEAVES] = self.leaf_table.ctypes.data
            state[loop.LEAF_MASK] = self.leaf_table.size // 3 - 1
            state[loop.BUDGET] = loop.BUDGET_ELEMENTS
            state[loop.LATEST] = clock.latest
            reason = code.loop(address)
            if reason == loop.NEW_LEAF:
                self.new_leaf(int(state[loop.ARGUMENT]))
            elif reason == loop.NEW_KERNEL:
                code.compile(int(state[loop.ARGUMENT]))
            elif reason == loop.PYTHON:
                index = int(state[loop.INDEX])
                record = records[index]
                self._to_python(index, record[PLACE])
                state[loop.INDEX] = index - 1
                replay.step(index, record)
                self._set_stops()
            elif reason == loop.DONE:
                break
        if state[loop.PENDING]:
            raise replay.gone()
        for place, buffer in self.buffers.items():
            if self.leaf_table[3 * self._slot(place) + 2]:
                replay.leaves[place] = buffer
                replay.owned.add(place)
            else:
                replay.leaves.pop(place, None)

    def free(self) -> None:
        """Free the loop's buffers and give the replay back its own ways."""
        del self.replay.add, self.replay.mark  # the instance's: the class has its own
        if self.state[loop.PENDING]:
            for address in self.table[self.table > loop.IN_PYTHON].tolist():
                _free(address)

    # -- leaves ------------------------------------------------------------------------------------

    def _slot(self, place: int) -> int:
        mask = self.leaf_table.size // 3 - 1
        slot = -place & mask
        while self.leaf_table[3 * slot] not in (0, place):
            slot = (slot + 1) & mask
        return slot

    def new_leaf(self, place: int) -> None:
        """Give a leaf a buffer, which becomes its gradient."""
        if 2 * (self.leaf_count + 1) > self.leaf_table.size // 3:
            old = self.leaf_table.reshape(-1, 3)
            self.leaf_table = np.zeros(2 * self.leaf_table.size, np.int64)
            for row in old[old[:, 0] != 0]:
                slot = self._slot(int(row[0]))
                self.leaf_table[3 * slot : 3 * slot + 3] = row
        self.leaf_count += 1
        replay = self.replay
        leaf: Any = replay.tape.leaf(place)
        unwanted = leaf is None or (replay.targets is not None and place not in replay.targets)
        slot = self._slot(place)
        if unwanted:
            row = (place, loop.DEAD, 0)
        else:
            before = replay.leaves.get(place)
            if before is None:
                buffer = np.empty(leaf._spec.shape, leaf._spec.dtype)
            elif place in replay.owned and before.flags.c_contiguous:
                buffer = before
            else:
                buffer = np.array(before, order="C")
            replay.leaves[place] = self.buffers[place] = buffer
            replay.owned.add(place)
            row = (place, buffer.ctypes.data, before is not None)
        self.leaf_table[3 * slot : 3 * slot + 3] = row

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
            if place not in self.buffers:
                self.python_add(place, share, fresh)
                return
            filled = 3 * self._slot(place) + 2
            buffer = self.buffers[place]
            if self.leaf_table[filled]:
                np.add(buffer, share, out=buffer)
            else:
                buffer[...] = share
                self.leaf_table[filled] = 1
            return
        index = self._mark(place)
        address = int(self.table[index])
        if address > loop.IN_PYTHON:
            buffer = _view(address, share)
            np.add(buffer, share, out=buffer)
        elif place in replay.adjoints or share.dtype not in DTYPES or share.nbytes > BIG_BYTES:
            self.python_add(place, share, fresh)
        else:
            self.table[index] = address = _malloc(max(share.nbytes, 8))
            _view(address, share)[...] = share

    def _to_python(self, index: int, place: int) -> None:
        """Move the adjoint of a record from the loop to the replay."""
        address = int(self.table[index])
        self.table[index] = 0
        self.state[loop.PENDING] -= 1
        if address > loop.IN_PYTHON:
            spec = specs[self.replay.tape.records[index][2]]
            buffer = np.empty(spec.shape, spec.dtype)
            ctypes.memmove(buffer.ctypes.data, address, spec.nbytes)
            _free(address)
            self.replay.adjoints[place] = buffer
            self.replay.owned.add(place)


def _view(address: int, like: np.ndarray) -> np.ndarray:
    memory: Any = (ctypes.c_char * like.nbytes).from_address(address)
    return np.frombuffer(memory, like.dtype).reshape(like.shape)

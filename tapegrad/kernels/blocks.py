"""Large arrays, backward: a run of elementwise records, replayed block by block.

The adjoint of a large array needs not be written to memory if all that it is for can be done while
it is in the cache: for each block of elements the kernels of all records of a run are called, one
after the other, and only the adjoints that leave the run are arrays. Blocks are shared between
threads.

A run begins at a record whose adjoint is complete, and takes in the records below it as long as
they are elementwise ones of the same shape and dtype: all shares of their adjoints come from the
run, or have been given before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, types

from tapegrad import buffers, threads
from tapegrad.contributions import check_saved
from tapegrad.kernels import leaves
from tapegrad.kernels.adjoint import ARITY
from tapegrad.kernels.compiled import compiled
from tapegrad.kernels.native import (
    allocate,
    call,
    copy_bytes,
    pointer_to,
    release,
)
from tapegrad.kernels.pool import kept_code, run_without_gil
from tapegrad.primitive import primitives
from tapegrad.spec import specs
from tapegrad.storage import clock
from tapegrad.tape import CODE, INPUTS, PARAMS, PLACE, RELEASED, SPEC, Record

__all__ = ["run_blocks"]

#: A block of each array, of which some twenty are in the cache at once.
BLOCK_BYTES = 1 << 15
#: A run has at most so many records, and looks for them among so many.
MOST_RECORDS, MOST_SEEN = 64, 1024
#: Elements times kernels after which signals have their turn: some 30 ms of work.
MOST_WORK = 1 << 26

# A step of the program: a kernel's address and whether it adds, then for each of out_bar, x_bar
# and the saved x, y, z, out the address of the first element and the bytes from element to element
# of the whole array. Where these are 0 and `LOCAL` says so, the address is an offset in the
# thread's own memory, which holds a block.
KERNEL, ADD, LOCAL, BASES, MOVES, STRIDES = 0, 1, 2, 3, 9, 15
STEP_FIELDS = 19


# What a run is told: the address of the program and its number of steps; elements, of each array
# and of a block; the first block; slots, bytes and values of constants, and whether there was
# memory.
PROGRAM, STEPS, SIZE, BLOCK, FIRST, SLOTS, CONSTANTS, LACKING = range(8)


def _blocks(begin: int, end: int, at: int) -> None:
    """Run the program over some blocks; see `Run.go`."""
    one = types.int64(1)
    given = carray(pointer_to(at, one), LACKING + 1)
    steps = carray(pointer_to(given[PROGRAM], one), given[STEPS] * STEP_FIELDS)
    local = allocate(max(given[SLOTS] * BLOCK_BYTES, one))
    if local == 0:
        given[LACKING] = 1
        return
    if given[CONSTANTS] != 0:
        copy_bytes(local, given[CONSTANTS], given[SLOTS] * BLOCK_BYTES)
    for b in range(given[FIRST] + begin, given[FIRST] + end):
        first = b * given[BLOCK]
        m = min(given[BLOCK], given[SIZE] - first)
        for s in range(given[STEPS]):
            step = steps[s * STEP_FIELDS : (s + 1) * STEP_FIELDS]
            out_bar = step[BASES] + first * step[MOVES]
            x_bar = step[BASES + 1] + first * step[MOVES + 1]
            if step[LOCAL] & 1:
                out_bar += local
            if step[LOCAL] & 2:
                x_bar += local
            call(
                step[KERNEL],
                (m, step[ADD], out_bar, x_bar,
                 step[BASES + 2] + first * step[MOVES + 2],
                 step[BASES + 3] + first * step[MOVES + 3],
                 step[BASES + 4] + first * step[MOVES + 4],
                 step[BASES + 5] + first * step[MOVES + 5],
                 step[STRIDES], step[STRIDES + 1], step[STRIDES + 2], step[STRIDES + 3]),
            )  # fmt: skip
    release(local)


class Run:
    """The steps of a run over arrays of one shape and dtype; adjoints are known by their places."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = shape, dtype
        self.size = int(np.prod(shape))
        self.block = BLOCK_BYTES // dtype.itemsize
        self.program: list[int] = []
        #: The arrays in it: without the GIL another thread may let go of the records.
        self.kept: list[Any] = []
        self._whole: dict[int, np.ndarray] = {}
        self._local: dict[int, int] = {}
        self._filled: set[int] = set()
        self._free: list[int] = []
        self._slots = 0
        self._constants: dict[int, Any] = {}  # by their slots

    def put(self, place: int, adjoint: np.ndarray, filled: bool) -> None:
        """Let an adjoint be a contiguous array, which may have shares already."""
        self._whole[place] = adjoint
        if filled:
            self._filled.add(place)

    def knows(self, place: int) -> bool:
        """Whether an adjoint has a share, or room."""
        return place in self._whole or place in self._local

    def put_constant(self, place: int, value: Any) -> None:
        """Let a complete adjoint be the same number everywhere."""
        slot = self._local[place] = self._new_slot()
        self._constants[slot] = value

    def _new_slot(self) -> int:
        if self._free:
            return self._free.pop()
        self._slots += 1
        return self._slots - 1

    def step(self, kernel: int, place: int, source: int, saved: list[Any]) -> None:
        """A kernel that gives ``source`` its share of the adjoint of ``place``."""
        if not self.knows(source):
            self._local[source] = self._new_slot()
        bases, moves = [], []
        local = 0
        for bit, p in ((1, place), (2, source)):
            array = self._whole.get(p)
            if array is None:
                local |= bit
                bases.append(self._local[p] * BLOCK_BYTES)
                moves.append(0)
            else:
                bases.append(array.ctypes.data)
                moves.append(self.dtype.itemsize)
        strides = []
        for x in saved:
            size = 0 if x is None or not x.ndim else x.itemsize
            bases.append(0 if x is None else x.ctypes.data)
            moves.append(size)
            strides.append(size)
        self.kept.append(saved)
        self.program += [kernel, int(source in self._filled), local, *bases, *moves, *strides]
        self._filled.add(source)

    def done(self, place: int) -> None:
        """The record of this place has had its steps."""
        slot = self._local.get(place)
        if slot is not None and slot not in self._constants:
            self._free.append(slot)

    def go(self) -> None:
        """Run the steps over all blocks."""
        program = np.array(self.program, np.int64)
        steps = program.size // STEP_FIELDS
        blocks = -(-self.size // self.block)
        at_once = max(threads.get_num_threads(), MOST_WORK // (self.block * steps))
        constants = np.empty((self._slots if self._constants else 0, self.block), self.dtype)
        for slot, value in self._constants.items():
            constants[slot] = value
        values = constants.ctypes.data if self._constants else 0
        first = (program.ctypes.data, steps, self.size, self.block)
        for start in range(0, blocks, at_once):
            some = min(at_once, blocks - start)
            given = np.array([*first, start, self._slots, values, 0], np.int64)
            run_without_gil(kept_code("blocks", _blocks), some, given.ctypes.data, others=some)
            if given[LACKING]:
                raise MemoryError


class Planner:
    """Finds the run that begins at a record, for a native walk that has come to it."""

    def __init__(self, walk: Any, index: int) -> None:
        self.walk, self.replay, self.index = walk, walk.replay, index
        self.records = self.replay.tape.records
        record = self.records[index]
        self.spec = specs[record[SPEC]]
        #: The order of elements in memory, the slow dimensions first, once an array told it.
        self.order: Any = None
        #: Positions and kernels of the run's records; places of those that get shares from it.
        self.found: list[tuple[int, list[Any]]] = []
        self.wanted = {record[PLACE]}

    def find(self) -> bool:
        """Gather the records; False if there is no run."""
        pending = self.walk.table
        for index in range(self.index, max(self.index - MOST_SEEN, -1), -1):
            record = self.records[index]
            place = record[PLACE]
            if pending[index] or place in self.wanted:
                kernels = self._kernels(record, index)
                if kernels is None or len(self.found) == MOST_RECORDS:
                    break
                self.wanted.discard(place)
                self.found.append((index, kernels))
                arity = len(kernels)
                self.wanted.update(
                    p for p, k in zip(record[INPUTS : INPUTS + arity], kernels) if k and p > 0
                )
            if not self.wanted:
                break
        return bool(self.found)

    def _kernels(self, record: Record, index: int) -> list[Any] | None:
        """The addresses of a record's kernels, 0 where no share is wanted; None: not of the run."""
        primitive = primitives[record[CODE]]
        replay, spec, n = self.replay, specs[record[SPEC]], primitive.arity
        if (
            not primitive.native
            or n > ARITY
            or record[PARAMS] is not None
            or spec.shape != self.spec.shape
            or spec.dtype != self.spec.dtype
            or record[-1] is RELEASED
            or record[PLACE] in replay.tape.notes
            or (replay.targets is not None and record[PLACE] in replay.targets)
        ):
            return None
        if record[PLACE] < clock.latest:
            check_saved(record)
        for x in record[INPUTS + n :]:
            if x is not None and not (
                x.flags.aligned
                and (x.ndim == 0 or (x.shape == spec.shape and self._is_in_order(x)))
                and (x.dtype == spec.dtype or (primitive.condition and x.dtype == bool))
            ):
                return None
        kernels: list[Any] = []
        for i, source in enumerate(record[INPUTS : INPUTS + n]):
            if source is None or primitive.bound[i] is None or self._unwanted(source):
                kernels.append(0)
                continue
            address = compiled().kernel(record[CODE], i, spec.dtype)
            if address is None or not self._takes(source):
                return None
            if source < 0 and not self._is_usual_order():
                return None  # leaves have buffers in C's order
            kernels.append(address)
        return kernels if any(kernels) else None  # its way ends here: it keeps what it saved

    def _is_in_order(self, x: np.ndarray) -> bool:
        if self.order is None:
            self.order = np.argsort(np.negative(x.strides), kind="stable")
            if x.flags.c_contiguous:  # whatever the strides of dimensions of size 1 are
                self.order = np.arange(x.ndim)
        return x.transpose(self.order).flags.c_contiguous

    def _is_usual_order(self) -> bool:
        if self.order is None:
            self.order = np.arange(self.spec.ndim)
        return bool((np.diff(self.order) > 0).all())

    def _unwanted(self, source: int) -> bool:
        """Whether a place gets no share: it isn't on the way, or the leaf is gone."""
        needed = self.replay.needed
        if needed is not None and source not in needed:
            return True
        return source < 0 and self.walk.row(source)[leaves.BUFFER] == leaves.DEAD

    def _takes(self, source: int) -> bool:
        """Whether what is at a place has the shape and dtype that it had when it was used."""
        tape = self.replay.tape
        if source < 0:
            leaf = tape.leaf(source)
            spec = None if leaf is None else leaf._spec
        else:
            record = tape.record(source)
            if record is None:
                raise self.replay.gone(source)
            spec = specs[record[SPEC]]
        return spec is not None and (
            spec.shape == self.spec.shape and spec.dtype == self.spec.dtype
        )

    def run(self) -> None:
        """Run the records that were found, as `Replay.step` would one after the other."""
        replay, walk, records = self.replay, self.walk, self.records
        run = Run(self.spec.shape, self.spec.dtype)
        self._is_usual_order()  # from here on there is one
        inside = {records[index][PLACE] for index, _ in self.found}
        ended: dict[int, np.ndarray] = {}  # adjoints that leave the run
        for index, kernels in self.found:
            record = records[index]
            place = record[PLACE]
            if index == self.index:
                self._put_root(run, place)
            elif not run.knows(place):  # all its shares were given before
                run.put(place, *self._gathered(place))
            saved = saved_values(record, len(kernels))
            for kernel, source in zip(kernels, record[INPUTS:]):
                if not kernel:
                    continue
                leaves_it = source not in inside
                if not run.knows(source) and (leaves_it or source in replay.adjoints):
                    array, filled = self._gathered(source)
                    run.put(source, array, filled)
                    if leaves_it:
                        ended[source] = array
                run.step(kernel, place, source, saved)
            run.done(place)
        run.go()
        for index, _ in self.found:
            record = records[index]
            if walk.table[index]:
                walk.drop(index, record[PLACE])
            if not replay.retain:
                replay.release(index, record)
        for source, array in ended.items():
            walk.put(source, array)

    def _put_root(self, run: Run, place: int) -> None:
        adjoint = self.replay.adjoints[place]
        if not any(adjoint.strides):
            run.put_constant(place, adjoint[(0,) * adjoint.ndim])
        else:
            run.put(place, adjoint if self._is_in_order(adjoint) else self._copy(adjoint), True)

    def _gathered(self, place: int) -> tuple[np.ndarray, bool]:
        """An array for the adjoint of a place, to be changed, and whether it has shares."""
        before, own, filled = self.walk.gathered(place)
        if before is not None and own and self._is_in_order(before):
            return before, filled
        return self._copy(before if filled else None), filled

    def _copy(self, adjoint: np.ndarray | None) -> np.ndarray:
        """A new array in the run's order, with these values if there are some."""
        shape = tuple([self.spec.shape[k] for k in self.order])
        array = buffers.empty(shape, self.spec.dtype).transpose(np.argsort(self.order))
        if adjoint is not None:
            array[...] = adjoint
        return array


def run_blocks(walk: Any, index: int) -> bool:
    """Replay a run of large records from ``index`` on; False if that is for Python's steps."""
    planner = Planner(walk, index)
    if not planner.find():
        return False
    planner.run()
    return True


def saved_values(record: Record, arity: int) -> list[Any]:
    """What a record saved, in the order of the kernels' arguments."""
    values = list(record[INPUTS + arity :])
    return [*values[:arity], *[None] * (ARITY - arity), values[arity]]

"""The threads that share work with the one that has it: machine code, and asleep without the GIL.

What they run is any code ``run(begin, end, at)`` over a part of a range, as fused functions are. A
thread that has work puts it in the pool's table with a number of tickets, one for each part, wakes
the others and takes tickets itself until none is left; then it waits for the parts that others have
taken. A thread that comes too late finds no ticket, and isn't waited for; nor is there any waiting
for the pool: one that finds it taken does its work alone. So this may be called with the GIL held,
from the native loop, as well as without.

After its last part a thread looks for more for a while before it sleeps: work comes in sequences,
and to wake a thread takes longer than a small product.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir
import numpy as np
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic, register_jitable

from tapegrad import threads
from tapegrad.kernels.cache import source_cache
from tapegrad.kernels.native import (
    I64,
    call,
    compile_native,
    keep_forever,
    load64,
    lock_acquire,
    lock_acquire_timed,
    lock_release,
    pointer_to,
    start_thread,
    yield_processor,
)

__all__ = ["kept_code", "others_of", "pool", "run_without_gil", "share"]

#: Parts of the work for each thread, so that none waits long for another.
PARTS = 4
#: How often a thread looks for work, or for the end of others' parts, before it sleeps: some 300
#: microseconds, since to wake one takes 30 to 150 (the more on a virtual machine). And how long it
#: sleeps if it waits for others, in microseconds.
SPINS, NAP = 6_000, 50
#: How often it looks before it lets other threads have the processor, if some wait for it: else one
#: that only looks could keep another one, of the same work, from it for milliseconds.
LOOKS = 32

#: What CPython gives for a thread that can't be started, in the bits that a C long has anywhere.
NO_THREAD = 0xFFFFFFFF

#: So many threads there may be beside the calling one.
MOST = 127

# Fields of the table, of which others than the owner write those that have a line of the cache for
# themselves: the work; the tickets (how many there are left, from which on, and in the upper half
# a number that no other work has); how many parts are done; whether somebody has the pool; how many
# threads may run, and how many do; the code that they run, and that shares work; a lock that is
# never free, to sleep at. A row for each thread follows: whether it sleeps, at which lock, its
# number, and the table.
RUN, COUNT, GIVEN, AT = range(4)
TICKETS, DONE, BUSY, LIMIT, RUNNING, WORKER, SHARE, NEVER = 8, 16, 24, 32, 33, 34, 35, 36
ROWS, ROW = 40, 8
ASLEEP, LOCK, NUMBER, TABLE = range(4)
FIELDS, ALIGNMENT = ROWS + ROW * MOST, 64


def _at(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, ir.IntType(64).as_pointer())


@intrinsic
def seen(typingctx: Any, address: Any) -> Any:
    """What stands at an address that other threads write to."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.load_atomic(_at(builder, given[0]), "seq_cst", 8)

    return I64(I64), generate


@intrinsic
def exchanged(typingctx: Any, address: Any, value: Any) -> Any:
    """What stood at an address, where the value is now."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.atomic_rmw("xchg", _at(builder, given[0]), given[1], "seq_cst")

    return I64(I64, I64), generate


@intrinsic
def count_up(typingctx: Any, address: Any) -> Any:
    """Add one."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        builder.atomic_rmw("add", _at(builder, given[0]), ir.IntType(64)(1), "seq_cst")
        return context.get_dummy_value()

    return types.void(I64), generate


@intrinsic
def replaced(typingctx: Any, address: Any, old: Any, new: Any) -> Any:
    """Whether the old value stood at an address, where the new one is now."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        pointer = _at(builder, given[0])
        pair = builder.cmpxchg(pointer, given[1], given[2], "seq_cst", "seq_cst")
        return builder.extract_value(pair, 1)

    return types.boolean(I64, I64, I64), generate


@intrinsic
def pause(typingctx: Any) -> Any:
    """Tell the processor that this is a loop that waits."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        if platform.machine().lower() in ("x86_64", "amd64"):
            kind = ir.FunctionType(ir.VoidType(), [])
            name = "llvm.x86.sse2.pause"
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [])
        return context.get_dummy_value()

    return types.void(), generate


@register_jitable
def look_again(spins: Any) -> None:
    """What is done between two looks."""
    pause()
    if spins % LOOKS == 0:
        yield_processor()


@register_jitable
def take_parts(pool: Any, first: Any) -> Any:
    """Run parts as long as there are tickets, the first ones or the last; how many it were.

    So the elements that a thread finds in its cache are likely to be its own again.
    """
    table = carray(pointer_to(pool, types.int64(1)), ROWS)
    taken = 0
    while True:
        ticket = seen(pool + 8 * TICKETS)
        i, left = ticket & 0xFFFF, ticket >> 16 & 0xFFFF
        if left == 0:
            return taken
        if not first:
            i += left - 1
        if replaced(pool + 8 * TICKETS, ticket, ticket - (1 << 16) + (1 if first else 0)):
            # Nobody changes the work before this part is done.
            count, parts = table[COUNT], table[GIVEN]
            call(table[RUN], (count * i // parts, count * (i + 1) // parts, table[AT]))
            count_up(pool + 8 * DONE)
            taken += 1


def _work(own: int) -> None:
    """What a thread of the pool does; its row is at the address ``own``."""
    row = carray(pointer_to(own, types.int64(1)), ROW)
    pool = row[TABLE]
    spins = 0
    while True:
        counts = seen(pool + 8 * LIMIT) > row[NUMBER]
        if counts and take_parts(pool, False) > 0:
            spins = 0
        elif spins < SPINS:
            spins += 1
            look_again(spins)
        else:
            exchanged(own + 8 * ASLEEP, 1)
            # Work that has come before that was seen would find nobody to wake.
            some = counts and seen(pool + 8 * TICKETS) & 0xFFFF0000 != 0
            if not some or exchanged(own + 8 * ASLEEP, 0) == 0:
                lock_acquire(row[LOCK], types.int32(1))
            spins = 0


def _share(pool: int, run: int, count: int, at: int, others: int) -> None:
    """Call ``run(begin, end, at)`` for all of ``range(count)``; see `share`."""
    table = carray(pointer_to(pool, types.int64(1)), FIELDS)
    others = min(others, seen(pool + 8 * LIMIT))
    parts = min(count, PARTS * (others + 1))
    if parts < 2 or others < 1 or exchanged(pool + 8 * BUSY, 1) != 0:
        call(run, (types.int64(0), count, at))
        return
    while table[RUNNING] < others:
        row = pool + 8 * (ROWS + ROW * table[RUNNING])
        if start_thread(table[WORKER], row) & NO_THREAD == NO_THREAD:
            others = table[RUNNING]
            exchanged(pool + 8 * LIMIT, others)  # until another number is set
        else:
            table[RUNNING] += 1
    table[RUN], table[COUNT], table[GIVEN], table[AT] = run, count, parts, at
    exchanged(pool + 8 * DONE, 0)
    work = (seen(pool + 8 * TICKETS) >> 32) + 1
    exchanged(pool + 8 * TICKETS, work << 32 | parts << 16)
    for i in range(others):
        row = pool + 8 * (ROWS + ROW * i)
        if seen(row + 8 * ASLEEP) != 0 and exchanged(row + 8 * ASLEEP, 0) == 1:
            lock_release(load64(row + 8 * LOCK))
    take_parts(pool, True)
    spins = 0
    while seen(pool + 8 * DONE) < parts:
        spins += 1
        if spins < SPINS:
            look_again(spins)
        else:
            lock_acquire_timed(table[NEVER], NAP, types.int32(0))
    exchanged(pool + 8 * BUSY, 0)


@functools.cache
def kept_code(name: str, function: Callable[..., None], arguments: int = 3) -> int:
    """The address of a function of integers, compiled; it lives as long as the process."""
    signature = types.void(*[I64] * arguments)
    compiled = compile_native(function, signature, source_cache(name, function))
    keep_forever(compiled)
    return int(compiled.address)


def _locked() -> int:
    """A lock that is taken."""
    api = ctypes.pythonapi
    api.PyThread_allocate_lock.restype = ctypes.c_void_p
    api.PyThread_acquire_lock.argtypes = [ctypes.c_void_p, ctypes.c_int]
    lock = api.PyThread_allocate_lock()
    if not lock:
        raise MemoryError
    api.PyThread_acquire_lock(lock, 1)
    return int(lock)


def _begin(table: np.ndarray) -> None:
    """Fill the table: none of the threads runs."""
    table[:] = 0
    table[WORKER] = kept_code("pool_work", _work, 1)
    table[SHARE] = kept_code("pool_share", _share, 5)
    table[NEVER] = _locked()
    for number, row in enumerate(table[ROWS:].reshape(MOST, ROW)):
        row[[LOCK, NUMBER, TABLE]] = _locked(), number, table.ctypes.data
    _set_limit(table)


def _set_limit(table: np.ndarray) -> None:
    count = 0
    while count != threads.get_num_threads():  # another thread may set it meanwhile
        count = threads.get_num_threads()
        table[LIMIT] = min(count - 1, MOST)


@functools.cache
def pool() -> np.ndarray:
    """The table, which lives as long as the process; code that shares work has its address."""
    memory = np.zeros(FIELDS + ALIGNMENT // 8, np.int64)
    keep_forever(memory)
    first = -memory.ctypes.data % ALIGNMENT // 8
    table = memory[first : first + FIELDS]
    _begin(table)
    threads.when_set.append(functools.partial(_set_limit, table))
    if hasattr(os, "register_at_fork"):
        # In a child process its parent's threads aren't there, and one may have had the pool.
        os.register_at_fork(after_in_child=functools.partial(_begin, table))
    return table


@functools.cache
def _without_gil() -> tuple[Callable[[int, int, int, int, int], None], int]:
    """`_share`, and the address of the table."""
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 5)
    return kind(int(pool()[SHARE])), pool().ctypes.data


def run_without_gil(run: int, count: int, at: int, others: int) -> None:
    """As `share`, for Python."""
    function, table = _without_gil()
    function(table, run, count, at, others)


@register_jitable
def others_of(pool: Any) -> Any:
    """How many threads may share work beside the calling one."""
    return load64(pool + 8 * LIMIT)


@register_jitable
def share(pool: Any, run: Any, count: Any, at: Any, others: Any) -> None:
    """Call the code ``run(begin, end, at)`` for all of ``range(count)``, with the GIL or without.

    Threads take part, of which so many others are woken, if that many may run: as many as there
    are times the work that it takes to wake one. The pool is given by its address.
    """
    call(load64(pool + 8 * SHARE), (pool, run, count, at, others))

"""What is compiled in this process, and the tables by which the native loop finds it."""

from __future__ import annotations

import ctypes
import functools
import threading
from typing import Any

import numpy as np
from numba.core.errors import NumbaError

from tapegrad.kernels import layout, loop
from tapegrad.kernels.adjoint import ARITY, DTYPES, adjoint_kernel
from tapegrad.kernels.native import probe
from tapegrad.kernels.parts import find_parts
from tapegrad.kernels.structural import kernel_of, structural_kernel
from tapegrad.kernels.sweep import native_sweep
from tapegrad.kernels.tools import tools
from tapegrad.kernels.way import native_way
from tapegrad.loading import native
from tapegrad.primitive import primitives
from tapegrad.spec import Spec, specs
from tapegrad.tape import tape
from tapegrad.threads import LARGE_BYTES

__all__ = ["available", "compiled", "dtype_code", "is_for_python"]


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
            native.way = native_way()
        self.kernels: list[Any] = []
        self.tools = tools()
        find_parts()
        self._lock = threading.Lock()
        self._tables = _Tables(0, 0)
        #: The address of `layout`'s table once there is one.
        self.shared = 0
        self._retired: list[_Tables] = []  # a walk may still read them

    def share(self, *known: Any) -> np.ndarray:
        """The table of `layout`, made of what `layout.make_shared` takes."""
        shared = layout.make_shared(*known)
        self.shared = shared.ctypes.data
        return shared

    def refresh(self) -> _Tables:
        """The tables, brought up to the present number of primitives and specs."""
        tables = self._tables
        if tables.primitives != len(primitives) or tables.specs != len(specs):
            with self._lock:
                tables = self._tables
                if not tables.has_room():
                    # Twice the room: what is retired is never more than what is used.
                    self._retired.append(tables)
                    tables = tables.grown()
                tables.fill()
                self._tables = tables
        return tables

    def kernel(self, code: int, index: int, dtype: np.dtype[Any]) -> int | None:
        """The address of the kernel of an input of a primitive; None if there is none."""
        position = 2 * ARITY * code + 2 * index + DTYPES.index(dtype)
        if not self.refresh().addresses[position]:
            self.compile(position)
        address = int(self._tables.addresses[position])
        return None if address == -1 else address

    def compile(self, position: int) -> None:
        """Compile the kernel at a position of the table, or note that there is none."""
        code, rest = divmod(position, 2 * ARITY)
        index, dtype = divmod(rest, 2)
        make = adjoint_kernel if primitives[code].native else structural_kernel
        try:
            kernel = make(primitives[code], index, DTYPES[dtype])
        except NumbaError:  # a rule that only NumPy can run
            kernel = None
        self.kernels.append(kernel)
        with self._lock:
            self._tables.addresses[position] = -1 if kernel is None else kernel.address


class _Tables:
    """What the loop knows of primitives and specs; filled while walks read it."""

    def __init__(self, room: int, room_specs: int) -> None:
        self.addresses = np.zeros(2 * ARITY * room, np.int64)
        self.structural = np.zeros(room, np.int64)
        self.of_specs = np.zeros(3 * room_specs, np.int64)
        #: How many there are of each.
        self.primitives = self.specs = 0
        self.at = tuple(t.ctypes.data for t in (self.of_specs, self.addresses, self.structural))

    def has_room(self) -> bool:
        """Whether `fill` can be called."""
        known = len(specs), len(primitives)
        return 3 * known[0] <= self.of_specs.size and known[1] <= self.structural.size

    def grown(self) -> _Tables:
        """Larger tables of the same content."""
        made = _Tables(2 * len(primitives), 2 * len(specs))
        for old, new in (
            (self.addresses, made.addresses),
            (self.structural, made.structural),
            (self.of_specs, made.of_specs),
        ):
            new[: old.size] = old
        made.primitives, made.specs = self.primitives, self.specs
        return made

    def fill(self) -> None:
        """Enter the primitives and specs that are new."""
        for code in range(self.primitives, min(len(primitives), self.structural.size)):
            self.structural[code] = _kind(code)
            self.primitives = code + 1
        for number in range(self.specs, min(len(specs), self.of_specs.size // 3)):
            spec = specs[number]
            self.of_specs[3 * number : 3 * number + 3] = (
                spec.size,
                dtype_code(spec),
                id(spec.shape),
            )
            self.specs = number + 1


def _kind(code: int) -> int:
    """What the loop has to know of a primitive: see its field ``STRUCTURAL``."""
    primitive = primitives[code]
    if primitive.native:
        rules = [rule for rule in primitive.rules if rule is not None]
        own = all((rule.__module__ or "").startswith("tapegrad.") for rule in rules)
        return 0 if own else loop.FOREIGN
    return -1 if is_for_python(code) else 2 if primitive.arity < 0 else 1


@functools.cache
def is_for_python(code: int) -> bool:
    """Whether a primitive has no kernels at all: the adjoints of its records stay with Python."""
    primitive = primitives[code]
    own = any(kernel_of(primitive, i) is not None for i in range(ARITY))
    return not primitive.native and not own


def dtype_code(spec: Spec) -> int:
    """The number of a spec's dtype for kernels, -1 if there are none for it."""
    return DTYPES.index(spec.dtype) if spec.dtype in DTYPES and spec.nbytes <= LARGE_BYTES else -1


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

"""Vectors of the processor's registers, for code that is built instruction by instruction."""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tapegrad.kernels.vectormath.values import VECTOR_BYTES

__all__ = ["VECTOR_BYTES", "Vectors", "address_of", "number"]


def number(value: int) -> ir.Constant:
    """An integer of 64 bits."""
    return ir.Constant(ir.IntType(64), value)


@intrinsic
def address_of(typingctx: Any, array: Any, index: Any) -> Any:
    """Where an element of a vector stands."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        data = context.make_array(array)(context, builder, given[0]).data
        return builder.ptrtoint(builder.gep(data, [given[1]]), ir.IntType(64))

    return types.int64(array, types.int64), generate


class Vectors:
    """Vectors of a real type, in the code that is being built."""

    def __init__(self, context: Any, builder: Any, zero: Any) -> None:
        self.builder = builder
        self.real = context.get_value_type(zero)
        self.itemsize = zero.bitwidth // 8
        self.lanes = VECTOR_BYTES // self.itemsize
        self.kind = ir.VectorType(self.real, self.lanes)
        self.nothing = ir.Constant(self.kind, None)

    def at(self, address: Any, *offsets: Any) -> Any:
        """A pointer to an element some offsets after an address."""
        pointer = self.builder.inttoptr(address, self.real.as_pointer())
        for offset in offsets:
            pointer = self.builder.gep(pointer, [offset])
        return pointer

    def load(self, pointer: Any) -> Any:
        whole = self.builder.bitcast(pointer, self.kind.as_pointer())
        return self.builder.load(whole, align=self.itemsize)

    def store(self, value: Any, pointer: Any) -> None:
        whole = self.builder.bitcast(pointer, self.kind.as_pointer())
        self.builder.store(value, whole, align=self.itemsize)

    def first(self, count: Any) -> Any:
        """A mask of the first elements."""
        kind = ir.VectorType(ir.IntType(32), self.lanes)
        counted = ir.Constant(kind, list(range(self.lanes)))
        return self.builder.icmp_signed(
            "<", counted, self.everywhere(self.builder.trunc(count, ir.IntType(32)))
        )

    def load_where(self, mask: Any, pointer: Any) -> Any:
        whole = self.kind.as_pointer()
        kind = ir.FunctionType(self.kind, [whole, ir.IntType(32), mask.type, self.kind])
        function = self._intrinsic("masked.load", kind, ".p0")
        pointer = self.builder.bitcast(pointer, whole)
        align = ir.Constant(ir.IntType(32), self.itemsize)
        return self.builder.call(function, [pointer, align, mask, self.nothing])

    def store_where(self, mask: Any, value: Any, pointer: Any) -> None:
        whole = self.kind.as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [self.kind, whole, ir.IntType(32), mask.type])
        function = self._intrinsic("masked.store", kind, ".p0")
        align = ir.Constant(ir.IntType(32), self.itemsize)
        self.builder.call(function, [value, self.builder.bitcast(pointer, whole), align, mask])

    def everywhere(self, scalar: Any) -> Any:
        none = ir.Constant(ir.VectorType(scalar.type, self.lanes), ir.Undefined)
        first = self.builder.insert_element(none, scalar, ir.Constant(ir.IntType(32), 0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, none, mask)

    def zeros(self, count: int) -> list[Any]:
        """Variables for sums, which LLVM keeps in registers."""
        made = [cgutils.alloca_once(self.builder, self.kind) for _ in range(count)]
        for variable in made:
            self.builder.store(self.nothing, variable)
        return made

    def _intrinsic(self, name: str, kind: Any, memory: str = "") -> Any:
        suffix = f"v{self.lanes}f{8 * self.itemsize}{memory}"
        module = self.builder.module
        return cgutils.get_or_insert_function(module, kind, f"llvm.{name}.{suffix}")

    def add_product(self, variable: Any, x: Any, y: Any) -> None:
        before = self.builder.load(variable)
        function = self._intrinsic("fmuladd", ir.FunctionType(self.kind, [self.kind] * 3))
        self.builder.store(self.builder.call(function, [x, y, before]), variable)

    def add(self, variable: Any, x: Any) -> None:
        self.builder.store(self.builder.fadd(self.builder.load(variable), x), variable)

    def halves(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Of two vectors, one after the other, the elements at even places and those at odd."""
        whole = range(2 * self.lanes)
        return self._chosen(x, y, whole[::2]), self._chosen(x, y, whole[1::2])

    def alternating(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Two vectors, one after the other, of which `halves` would make these."""
        order = [k * self.lanes + i for i in range(self.lanes) for k in (0, 1)]
        return self._chosen(x, y, order[: self.lanes]), self._chosen(x, y, order[self.lanes :])

    def _chosen(self, x: Any, y: Any, order: Any) -> Any:
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), list(order))
        return self.builder.shuffle_vector(x, y, mask)

    def maximum(self, x: Any, y: Any) -> Any:
        function = self._intrinsic("maximum", ir.FunctionType(self.kind, [self.kind] * 2))
        return self.builder.call(function, [x, y])

    def total(self, vector: Any) -> Any:
        kind = ir.FunctionType(self.real, [self.real, self.kind])
        function = self._intrinsic("vector.reduce.fadd", kind)
        start = ir.Constant(self.real, -0.0)
        return self.builder.call(function, [start, vector], fastmath=("reassoc", "nsz"))

    def largest(self, vector: Any) -> Any:
        """The largest element, where none is nan."""
        function = self._intrinsic("vector.reduce.fmax", ir.FunctionType(self.real, [self.kind]))
        return self.builder.call(function, [vector], fastmath=("nnan", "nsz"))

"""Functions with a branch, in loops that are vectorised all the same.

    sin = Branching("sin", 2.0**40, usual, beyond)    beyond(x) where |x| is above the limit

Without a branch each element pays for the most difficult one, and with one a loop isn't vectorised.
But a call in it is, if LLVM is told of a function of a vector that does the work of so many calls;
and that one may branch: it looks whether any element is above the limit, which hardly ever is so.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import llvmlite.ir as ir
from numba.core import cgutils

from tapegrad.kernels.vectormath.values import VECTOR_BYTES, Flag, Real, where

__all__ = ["Branching"]

_INDEX = ir.IntType(32)


@dataclass(frozen=True)
class Branching:
    """The formula ``usual(x)``, and ``beyond(x)`` where the absolute value is above the limit."""

    name: str
    limit: float
    usual: Callable[[Real], Real]
    beyond: Callable[[Real], Real]

    def __call__(self, x: Real) -> Real:
        function = self._of_number(x.builder.module, x.value.type)
        return Real(x.builder, x.builder.call(function, [x.value]))

    def _of_number(self, module: Any, kind: Any) -> Any:
        """The function of a number, made where the module has none.

        It calls that of a vector, which calls that of a larger one for numbers above the limit: so
        there is one copy of each, and LLVM doesn't drop those that only its vectoriser will use.
        """
        # LLVM doesn't read its names in the attribute: they must stay when modules become one.
        name = f"{self.name}_{kind}_{zlib.crc32(module.name.encode())}"
        if name in module.globals:
            return module.globals[name]
        function, builder = _begun(module, name, kind)
        counts = [VECTOR_BYTES // 8]
        if kind == ir.FloatType():  # half a vector, too, for what is left at the end of an array
            counts.insert(0, VECTOR_BYTES // 4)
        of_vector = self._one_by_one(module, name, ir.VectorType(kind, counts[0]))
        variants = []
        for count in counts:
            of_vector = self._of_vector(module, name, ir.VectorType(kind, count), of_vector)
            # In OpenMP's notation: of so many values, without a mask.
            variants.append(f"_ZGV_LLVM_N{count}v_{name}({of_vector.name})")
        set.add(function.attributes, f'"vector-function-abi-variant"="{",".join(variants)}"')
        zeros = ir.Constant(ir.VectorType(kind, counts[-1]), None)
        x = builder.insert_element(zeros, function.args[0], _INDEX(0))
        builder.ret(builder.extract_element(builder.call(of_vector, [x]), _INDEX(0)))
        return function

    def _of_vector(self, module: Any, name: str, kind: Any, rest: Any) -> Any:
        """The function of a vector; ``rest`` is one of as many numbers or more."""
        function, builder = _begun(module, f"{name}_{kind.count}", kind)
        x = Real(builder, function.args[0])
        result = self.usual(x)
        above = abs(x) > self.limit
        with builder.if_then(_any(above), likely=False):
            others = builder.call(rest, [_resized(builder, x.value, rest.args[0].type.count)])
            others = Real(builder, _resized(builder, others, kind.count))
            builder.ret(where(above, others, result).value)
        builder.ret(result.value)
        return function

    def _one_by_one(self, module: Any, name: str, kind: Any) -> Any:
        """The function of those elements of a vector that are above the limit."""
        of_one, builder = _begun(module, f"{name}_beyond", kind.element)
        x = Real(builder, of_one.args[0])
        with builder.if_then((abs(x) > self.limit).value):
            builder.ret(self.beyond(x).value)
        builder.ret(x.value)
        function, builder = _begun(module, f"{name}_one_by_one", kind)
        result = function.args[0]
        for i in map(_INDEX, range(kind.count)):
            value = builder.call(of_one, [builder.extract_element(function.args[0], i)])
            result = builder.insert_element(result, value, i)
        builder.ret(result)
        return function


def _begun(module: Any, name: str, kind: Any) -> tuple[Any, Any]:
    """A function from a type to itself, and the builder of what it does."""
    function = ir.Function(module, ir.FunctionType(kind, [kind]), name)
    function.linkage = "internal"
    # A call without effects may be done together with others; and it isn't to be written out in the
    # loop before that.
    for attribute in ("readnone", "nounwind", "noinline"):
        function.attributes.add(attribute)
    return function, ir.IRBuilder(function.append_basic_block())


def _any(flags: Flag) -> Any:
    kind = flags.value.type
    name = f"llvm.vector.reduce.or.v{kind.count}i1"
    signature = ir.FunctionType(kind.element, [kind])
    function = cgutils.get_or_insert_function(flags.builder.module, signature, name)
    return flags.builder.call(function, [flags.value])


def _resized(builder: Any, vector: Any, count: int) -> Any:
    """The first elements, and zeros after them if there are less."""
    kind = vector.type
    order = [min(i, kind.count) for i in range(count)]
    mask = ir.Constant(ir.VectorType(_INDEX, count), order)
    return builder.shuffle_vector(vector, ir.Constant(kind, None), mask)

"""Numbers that write machine code: a formula over them becomes instructions in the caller's loop.

    def cube_plus(x):                      x is a `Real`; nothing is computed here,
        return where(x > 0, x, 1) + x * x  each operation appends an LLVM instruction

There are no branches and no calls (but for those of `branching`), only what LLVM knows to do on
whole vectors: so a loop around such a formula is vectorised wherever its loads and stores can be. A
value may be a vector itself. Numbers are constants of the operand's type, as NumPy's scalars are,
and nothing is reordered or contracted: `fma` is written out where it is meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import llvmlite.ir as ir
import numpy as np
from llvmlite import binding
from numba.core import cgutils

__all__ = [
    "VECTOR_BYTES",
    "Bits",
    "Flag",
    "Real",
    "fast_two_sum",
    "fma",
    "larger",
    "maximum",
    "minimum",
    "polynomial",
    "quotient",
    "smaller",
    "two_product",
    "two_sum",
    "where",
]

_features = binding.get_host_cpu_features()
#: Bytes of a vector register.
VECTOR_BYTES = 64 if _features.get("avx512f") else 32 if _features.get("avx2") else 16

_FLAG = ir.IntType(1)


class _Value:
    """An LLVM value, and the builder of the function that it is in."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder = builder
        self.value = value

    def _like(self, value: Any) -> Any:
        return type(self)(self.builder, value)

    def constant(self, number: Any) -> Any:
        """A number as a value of this type."""
        return number if isinstance(number, _Value) else self._like(self._literal(number))

    def _literal(self, number: Any) -> Any:
        kind = self.value.type
        return ir.Constant(kind, [number] * kind.count if hasattr(kind, "count") else number)

    def _of(self, element: Any) -> Any:
        """The type of as many values of another type."""
        kind = self.value.type
        return ir.VectorType(element, kind.count) if hasattr(kind, "count") else element

    @property
    def element(self) -> Any:
        """The type of one value."""
        return getattr(self.value.type, "element", self.value.type)

    def _two(self, instruction: str, other: Any, swapped: bool = False) -> Any:
        operands = [self.value, self.constant(other).value]
        return self._like(getattr(self.builder, instruction)(*operands[:: -1 if swapped else 1]))

    def __eq__(self, other: Any) -> Flag:  # type: ignore[override]
        return self._compare("==", other)

    def __lt__(self, other: Any) -> Flag:
        return self._compare("<", other)

    def __le__(self, other: Any) -> Flag:
        return self._compare("<=", other)

    def __gt__(self, other: Any) -> Flag:
        return self._compare(">", other)

    def __ge__(self, other: Any) -> Flag:
        return self._compare(">=", other)

    __hash__ = None  # type: ignore[assignment]

    def _compare(self, sign: str, other: Any) -> Flag:
        raise NotImplementedError


class Flag(_Value):
    """True or false."""

    def __and__(self, other: Any) -> Flag:
        return self._two("and_", other)

    def __or__(self, other: Any) -> Flag:
        return self._two("or_", other)

    def __xor__(self, other: Any) -> Flag:
        return self._two("xor", other)

    def __invert__(self) -> Flag:
        return self._like(self.builder.not_(self.value))


class Bits(_Value):
    """An integer of the width of a real number. Comparisons are those of signed numbers."""

    def __add__(self, other: Any) -> Bits:
        return self._two("add", other)

    def __sub__(self, other: Any) -> Bits:
        return self._two("sub", other)

    def __rsub__(self, other: Any) -> Bits:
        return self._two("sub", other, swapped=True)

    def __and__(self, other: Any) -> Bits:
        return self._two("and_", other)

    def __or__(self, other: Any) -> Bits:
        return self._two("or_", other)

    def __lshift__(self, other: Any) -> Bits:
        return self._two("shl", other)

    def __rshift__(self, other: Any) -> Bits:
        return self._two("lshr", other)

    def _compare(self, sign: str, other: Any) -> Flag:
        compared = self.builder.icmp_signed(sign, self.value, self.constant(other).value)
        return Flag(self.builder, compared)

    def real(self) -> Real:
        """The real number that these bits stand for."""
        kind = ir.DoubleType() if self.element.width == 64 else ir.FloatType()
        return Real(self.builder, self.builder.bitcast(self.value, self._of(kind)))

    def narrowed(self) -> Bits:
        """Half of them, the lower ones."""
        kind = ir.IntType(self.element.width // 2)
        return self._like(self.builder.trunc(self.value, self._of(kind)))

    def looked_up(self, name: str, table: np.ndarray) -> Real:
        """The element at this index of a table of float64."""
        kind = ir.ArrayType(ir.DoubleType(), table.size)
        module = self.builder.module
        array = module.globals.get(name) or cgutils.global_constant(
            module, name, ir.Constant(kind, table.tolist())
        )
        at = self.builder.gep(array, [ir.Constant(self.value.type, 0), self.value], inbounds=True)
        return Real(self.builder, self.builder.load(at))


class Real(_Value):
    """A float32 or float64.

    ``short`` says that float32's precision will do.
    """

    def __init__(self, builder: Any, value: Any, short: bool | None = None) -> None:
        super().__init__(builder, value)
        self.short = not self.double if short is None else short

    def _like(self, value: Any) -> Real:
        return Real(self.builder, value, self.short)

    @property
    def double(self) -> bool:
        return isinstance(self.element, ir.DoubleType)

    @property
    def mantissa(self) -> int:
        """How many bits of it are stored."""
        return 52 if self.double else 23

    @property
    def bias(self) -> int:
        """What is added to the exponent."""
        return 1023 if self.double else 127

    @property
    def magic(self) -> float:
        """Added to an integer, it leaves that in the lowest bits."""
        return 1.5 * 2.0**self.mantissa

    def _literal(self, number: Any) -> Any:
        return super()._literal(float(number) if self.double else np.float32(number))

    def _compare(self, sign: str, other: Any) -> Flag:
        compared = self.builder.fcmp_ordered(sign, self.value, self.constant(other).value)
        return Flag(self.builder, compared)

    def __add__(self, other: Any) -> Real:
        return self._two("fadd", other)

    def __sub__(self, other: Any) -> Real:
        return self._two("fsub", other)

    def __mul__(self, other: Any) -> Real:
        return self._two("fmul", other)

    def __truediv__(self, other: Any) -> Real:
        return self._two("fdiv", other)

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other: Any) -> Real:
        return self._two("fsub", other, swapped=True)

    def __rtruediv__(self, other: Any) -> Real:
        return self._two("fdiv", other, swapped=True)

    def __neg__(self) -> Real:
        return self._like(self.builder.fneg(self.value))

    def __abs__(self) -> Real:
        return self.intrinsic("llvm.fabs")

    def intrinsic(self, name: str, *others: Any) -> Real:
        """A function that LLVM knows."""
        operands = [self.value, *(self.constant(other).value for other in others)]
        kind = self.value.type
        signature = ir.FunctionType(kind, [kind] * len(operands))
        count = f"v{kind.count}" if hasattr(kind, "count") else ""
        name = f"{name}.{count}f{64 if self.double else 32}"
        function = cgutils.get_or_insert_function(self.builder.module, signature, name)
        return self._like(self.builder.call(function, operands))

    def rounded(self) -> Real:
        """The nearest integer, of two the even one."""
        return self.intrinsic("llvm.rint")

    def signed(self, other: Real) -> Real:
        """Its absolute value, with the sign of another number."""
        return self.intrinsic("llvm.copysign", other)

    def bits(self) -> Bits:
        """Its bits, as an integer."""
        kind = ir.IntType(64 if self.double else 32)
        return Bits(self.builder, self.builder.bitcast(self.value, self._of(kind)))

    def power_of_two(self) -> Real:
        """2 to this power, an integer for which that is a normal number."""
        return (((self + self.magic).bits() + self.bias) << self.mantissa).real()

    def widened(self, *, short: bool = True) -> Real:
        """A float32 as a float64."""
        return Real(self.builder, self.builder.fpext(self.value, self._of(ir.DoubleType())), short)

    def narrowed(self) -> Real:
        """As a float32."""
        return self._like(self.builder.fptrunc(self.value, self._of(ir.FloatType())))


def where(condition: Flag, x: Any, y: Any) -> Any:
    """``x`` where the condition holds, else ``y``."""
    like = x if isinstance(x, _Value) else y
    values = [like.constant(v).value for v in (x, y)]
    return like._like(condition.builder.select(condition.value, *values))


def minimum(x: Real, bound: float) -> Real:
    """The smaller one; nan if x is."""
    return where(x > bound, bound, x)


def maximum(x: Real, bound: float) -> Real:
    """The larger one; nan if x is."""
    return where(x < bound, bound, x)


def larger(x: Real, y: Real) -> Real:
    """As `numpy.maximum`: nan if one is, and of two zeros the second."""
    return where((x > y) | ~(x == x), x, y)


def smaller(x: Real, y: Real) -> Real:
    """As `numpy.minimum`."""
    return where((x < y) | ~(x == x), x, y)


def fma(x: Real, y: Any, z: Any) -> Real:
    """``x * y + z``, rounded once."""
    return x.intrinsic("llvm.fma", y, z)


def polynomial(x: Real, fits: tuple[Sequence[float], Sequence[float]]) -> Real:
    """One of two polynomials, by the precision that x has (Horner's scheme)."""
    coefficients = fits[x.short]
    result = x.constant(coefficients[-1])
    for c in coefficients[-2::-1]:
        result = fma(result, x, c)
    return result


def two_sum(x: Real, y: Real) -> tuple[Real, Real]:
    """``x + y`` and its rounding error (Knuth)."""
    total = x + y
    part = total - x
    return total, (x - (total - part)) + (y - part)


def fast_two_sum(x: Real, y: Real) -> tuple[Real, Real]:
    """The same where x is the larger one, or 0 (Dekker)."""
    total = x + y
    return total, y - (total - x)


def two_product(x: Real, y: Any) -> tuple[Real, Real]:
    """``x * y`` and its rounding error."""
    product = x * y
    return product, fma(x, y, -product)


def quotient(x: Real, x_low: Real, y: Real, y_low: Real) -> tuple[Real, Real]:
    """``(x + x_low) / (y + y_low)``, for parts that are small, as a sum."""
    inverse = 1 / y
    result = x * inverse
    return result, (fma(-result, y, x) + (x_low - result * y_low)) * inverse

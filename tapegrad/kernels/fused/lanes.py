"""Sums and maxima whose order is free, so that LLVM may take many elements at a time."""

from __future__ import annotations

from typing import Any, TypeAlias

import llvmlite.ir as ir
from numba.extending import intrinsic, register_jitable

__all__ = ["Array", "Indices", "Int", "Real", "added", "larger", "part"]

#: What parameters of a fused function are: see `kernels.fused`.
Array: TypeAlias = Any
Indices: TypeAlias = Any
Int: TypeAlias = Any
Real: TypeAlias = Any


@intrinsic
def added(typingctx: Any, total: Any, x: Any) -> Any:
    """``total + x``, to be reordered with other such additions."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        x = context.cast(builder, given[1], signature.args[1], signature.args[0])
        return builder.fadd(given[0], x, flags=("reassoc", "nsz", "contract"))

    return total(total, x), generate


@intrinsic
def larger(typingctx: Any, x: Any, y: Any) -> Any:
    """The larger of two numbers of one dtype, nan if one is."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kind = given[0].type
        both = ir.FunctionType(kind, [kind, kind])
        declared = builder.module.declare_intrinsic("llvm.maximum", [kind], both)
        return builder.call(declared, given)

    return x(x, y), generate


@register_jitable(inline="always")
def part(x: Any, i: Any, n: Any) -> Any:
    """The ``i``-th run of ``n`` elements."""
    return x[i * n : (i + 1) * n]

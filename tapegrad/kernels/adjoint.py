"""Adjoint kernels: the rule of one input of an elementwise primitive, compiled into a loop.

    for i in range(n):
        x_bar[i] += out_bar[i] * rule(...)      # or =, for the first contribution

The source of the loop is written around the rule, so that it has just the arguments that the rule
names. All kernels have one signature, fourteen integers, and are called through their addresses:

    n, add, out_bar, x_bar, x, y, z, out, and the byte strides of x, y, z, out

``out_bar`` and ``x_bar`` are contiguous, and ``x_bar`` shares no memory with what is read. If all
saved values are contiguous, too, the loop is one that LLVM vectorises.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import carray, types
from numba.core.errors import NumbaError

from tapegrad.kernels.cache import KernelCache
from tapegrad.kernels.native import apart, compile_native, pointer_to
from tapegrad.kernels.scalars import on_scalars, stamp
from tapegrad.primitive import INPUTS, Primitive

__all__ = ["ARITY", "DTYPES", "KERNEL", "adjoint_kernel", "kernel_source"]

#: Kernels serve primitives of up to so many inputs, in these dtypes.
ARITY = 3
DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
KERNEL = types.void(*[types.int64] * 12)

VALUES = (*INPUTS[:ARITY], "out")

_SOURCE = """\
def {name}(n, add, out_bar, x_bar, x, y, z, out, d_x, d_y, d_z, d_out):
    OUT_BAR = carray(pointer_to(out_bar, real(0)), n)
    X_BAR = carray(pointer_to(x_bar, real(0)), n)
{arrays}    apart(x_bar, {read})
    if {contiguous}:
        if add:
            for i in range(n):
                X_BAR[i] += {share_of_arrays}
        else:
            for i in range(n):
                X_BAR[i] = {share_of_arrays}
{constant}    else:
        for i in range(n):
{values}
            if add:
                X_BAR[i] += {share_of_values}
            else:
                X_BAR[i] = {share_of_values}
"""

#: Between the two: values that may be the same for all, as in ``x * 2`` and ``elu(x, alpha)``.
_CONSTANT = """\
    elif {same} and n > 0:
{firsts}
        if add:
            for i in range(n):
                X_BAR[i] += {share}
        else:
            for i in range(n):
                X_BAR[i] = {share}
"""


def kernel_source(primitive: Primitive, index: int, name: str) -> str:
    """The kernel of the rule of input ``index``, in Python, as Numba gets it."""
    rule = primitive.bound[index]
    assert rule is not None
    names = [n for n in VALUES if n in rule.names]
    others = [n for n in names if n in INPUTS and n != INPUTS[index]]
    types_of = {n: _type_of(primitive, n) for n in names}

    def share(value: str, of_others: str) -> str:
        values = {n: (of_others if n in others else value).format(n, n.upper()) for n in names}
        values["out_bar"] = "OUT_BAR[i]"
        product = f"rule({', '.join(values[n] for n in rule.names)})"
        return f"OUT_BAR[i] * {product}" if rule.partial else product

    arrays = [f"{n.upper()} = carray(pointer_to({n}, {types_of[n]}(0)), n)" for n in names]
    firsts = [f"{n}_0 = {n.upper()}[0]" for n in others]
    values = [f"{n}_i = carray(pointer_to({n} + i * d_{n}, {types_of[n]}(0)), 1)[0]" for n in names]
    sizes = [f"d_{n} == {types_of[n]}_size" for n in names]
    same = [f"d_{n} == {0 if n in others else f'{types_of[n]}_size'}" for n in names]
    constant = ""
    if others:
        constant = _CONSTANT.format(
            same=" and ".join(same),
            firsts="\n".join(" " * 8 + line for line in firsts),
            share=share("{1}[i]", "{0}_0"),
        )
    return _SOURCE.format(
        name=name,
        contiguous=" and ".join(sizes) or "True",
        constant=constant,
        arrays="".join(f"    {line}\n" for line in arrays),
        read=", ".join(["out_bar", *names]),
        values="\n".join(" " * 12 + line for line in values or ["pass"]),
        share_of_arrays=share("{1}[i]", "{1}[i]"),
        share_of_values=share("{0}_i", "{0}_i"),
    )


def _type_of(primitive: Primitive, name: str) -> str:
    return "boolean" if primitive.condition and name == "x" else "real"


def adjoint_kernel(primitive: Primitive, index: int, dtype: np.dtype[Any]) -> Any | None:
    """The compiled kernel of input ``index`` of a primitive; None if there can't be one."""
    rule = primitive.bound[index]
    if rule is None or not primitive.native or primitive.arity > ARITY or dtype not in DTYPES:
        return None
    # Numba links by name, across kernels loaded from the cache and compiled now: the name must say
    # which code it is, and the rule is inlined so that it has none of its own.
    mark = stamp(rule.rule)
    name = f"{primitive.name}_{index}_{dtype.name}_{mark.hex()[:16]}"
    source = kernel_source(primitive, index, name)
    space = {
        "__name__": __name__,  # Numba finds a kernel's module again when it loads it
        "carray": carray,
        "pointer_to": pointer_to,
        "apart": apart,
        "rule": on_scalars(rule.rule, dtype),
        "real": numba.float32 if dtype == np.float32 else numba.float64,
        "real_size": dtype.itemsize,
        "boolean": numba.boolean,
        "boolean_size": 1,
    }
    exec(compile(source, f"<adjoint of {primitive.name}>", "exec"), space)
    cache = KernelCache(f"{primitive.name}-{index}-{dtype.name}", source.encode(), mark)
    # No fused multiply-add: a sum of products is rounded as NumPy rounds it, so that a replay gives
    # the same bits whether Python or the native loop runs it.
    try:
        return compile_native(space[name], KERNEL, cache, fastmath=False)
    except NumbaError:
        if primitive.inputs is INPUTS:
            raise
        return None  # a rule of the user's that is for Python

"""Adjoint kernels of structural primitives: beside their rules, for small arrays in the loop.

A kernel has the name of the rule that it stands beside. It gets the record, the adjoint of the
result and its number of elements n, the buffer of the input's adjoint and its number of elements
m, and the address of `tools`, and stores or adds the input's share. Called without a buffer (0, as
all but the record and n are then) it says whether it can; with one it gives 0 only if there is no
memory. A test holds each to its rule.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import carray, types
from numba.extending import register_jitable

from tapegrad.kernels import along, cells, layers, picking, products, reducing, strided, vectormath
from tapegrad.kernels.adjoint import DTYPES
from tapegrad.kernels.cache import KernelCache, fingerprint
from tapegrad.kernels.native import (
    C_CONTIGUOUS,
    DATA,
    FLAGS,
    as_int,
    compile_native,
    like,
    load32,
    load64,
    pointer_to,
    tuple_get,
)
from tapegrad.kernels.parts import find_products
from tapegrad.primitive import Primitive, Share

__all__ = ["KERNELS", "STRUCTURAL", "kernel_of", "rule_name", "structural_kernel"]

STRUCTURAL = types.int64(*[types.int64] * 7)

_SOURCE = """\
def {name}(record, out_bar, n, x_bar, m, add, tools):
    return kernel(real(0), record, out_bar, n, x_bar, m, add, tools)
"""


def sum_all_x(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    if x_bar != 0:
        share = carray(pointer_to(out_bar, zero), 1)[0]
        x = carray(pointer_to(x_bar, zero), m)
        for i in range(m):
            x[i] = x[i] + share if add else share
    return 1


def mean_all_x(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    if x_bar != 0:
        share = like(zero, carray(pointer_to(out_bar, zero), 1)[0] / m) if m > 0 else zero
        x = carray(pointer_to(x_bar, zero), m)
        for i in range(m):
            x[i] = x[i] + share if add else share
    return 1


def reshape_x(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    if x_bar != 0:
        bar = carray(pointer_to(out_bar, zero), m)
        x = carray(pointer_to(x_bar, zero), m)
        for i in range(m):
            x[i] = x[i] + bar[i] if add else bar[i]
    return 1


def bce_logits_x(
    zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
) -> Any:
    x_array = tuple_get(record, 6)
    y_array = tuple_get(record, 7)
    possible = load32(x_array + FLAGS) & load32(y_array + FLAGS) & C_CONTIGUOUS != 0
    if possible and x_bar != 0:
        reduction = as_int(tuple_get(tuple_get(record, 3), 0))
        bar = carray(pointer_to(out_bar, zero), n)
        x = carray(pointer_to(load64(x_array + DATA), zero), m)
        y = carray(pointer_to(load64(y_array + DATA), zero), m)
        gathered = carray(pointer_to(x_bar, zero), m)
        for i in range(m):
            share = bar[i if reduction == 0 else 0]
            if reduction == 1:
                share = like(zero, share / m)
            one = like(zero, 1)
            share = (one / (vectormath.exp(-x[i]) + one) - y[i]) * share
            gathered[i] = gathered[i] + share if add else share
    return 1 if possible else 0


#: The kernels of rules, by the rules' modules and names.
KERNELS: dict[str, Any] = {
    **along.KERNELS,
    **cells.KERNELS,
    **picking.KERNELS,
    **reducing.KERNELS,
    "reductions.sum_all_x": sum_all_x,
    "reductions.mean_all_x": mean_all_x,
    "shape.reshape_x": reshape_x,
    "losses.bce_logits_x": bce_logits_x,
    **layers.KERNELS,
    **products.KERNELS,
    **strided.KERNELS,
}


def rule_name(primitive: Primitive, index: int) -> str:
    """What the kernel of an input is called: the module of its rule, and the rule's name.

    Where one rule gives the shares of all inputs, that of the input is added.
    """
    rule = primitive.bound[index]
    if rule is None:
        return ""
    name = f"{(rule.rule.__module__ or '').rpartition('.')[2]}.{rule.rule.__name__}"
    return f"{name}_{primitive.inputs[index]}" if type(rule) is Share else name


def kernel_of(primitive: Primitive, index: int) -> Callable[..., Any] | None:
    """The kernel that stands beside the rule of an input; None if there is none."""
    variadic = primitive.arity < 0
    if primitive.elementwise or not (variadic or 0 <= index < primitive.arity):
        return None
    rule = primitive.bound[0 if variadic else index]
    if rule is None:
        return None
    if not (rule.rule.__module__ or "").startswith("tapegrad.rules."):
        return None
    kernel = KERNELS.get(rule_name(primitive, 0 if variadic else index))
    return kernel[index] if variadic and kernel is not None else kernel


def structural_kernel(primitive: Primitive, index: int, dtype: np.dtype[Any]) -> Any | None:
    """The compiled kernel of input ``index``, from the cache where it is there."""
    kernel = kernel_of(primitive, index)
    if kernel is None or dtype not in DTYPES:
        return None
    if kernel.__module__ == products.__name__:
        find_products(dtype)
    own = fingerprint(kernel) + vectormath.stamp()
    stamp = hashlib.sha256(own).digest()
    name = f"{kernel.__name__}_{dtype.name}_{stamp.hex()[:16]}"  # see `adjoint_kernel`
    source = _SOURCE.format(name=name)
    space = {
        "__name__": __name__,
        "kernel": register_jitable(inline="always")(kernel),
        "real": numba.float32 if dtype == np.float32 else numba.float64,
    }
    exec(compile(source, f"<adjoint of {primitive.name}>", "exec"), space)
    cache = KernelCache(f"{kernel.__name__}-{dtype.name}", source.encode(), stamp)
    return compile_native(space[name], STRUCTURAL, cache)

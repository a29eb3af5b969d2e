"""What structural kernels are given: products of matrices, sums, and things to compare with."""

from __future__ import annotations

import functools
import hashlib
from typing import Any

import numba
import numpy as np
from numba import carray, types
from numba.extending import register_jitable

from tapegrad import threads
from tapegrad.kernels.cache import KernelCache, fingerprint
from tapegrad.kernels.fused import matrix_products
from tapegrad.kernels.fused.matrix_products import tile_products
from tapegrad.kernels.native import (
    call,
    compile_native,
    keep_forever,
    pointer_to,
    size_of,
    ufunc_loop,
)

__all__ = ["ADD", "ARRAY_KIND", "BOOL", "INT64", "KINDS", "TOOL_FIELDS"]
__all__ += ["find_products", "is_large", "product", "products", "tile", "tools"]

#: Where they stand: the products of two dtypes; NumPy's inner loops of ``add`` with their data; the
#: ids of a few types, of two dtypes and of ndarray; and what is large.
PRODUCTS, ADD, KINDS, INT64, BOOL, ARRAY_KIND, LARGE, TOOL_FIELDS = 0, 2, 6, 10, 11, 12, 13, 14

#: Products of elements in the time that leaving a walk takes, 100 microseconds.
WORTH_LEAVING = 5_500_000


@functools.cache
def tools() -> np.ndarray:
    """What kernels find at ``tools``; the products after `find_products`."""
    loops = [x for kinds in ("ff->f", "dd->d") for x in ufunc_loop(np.add, kinds) or (0, 0)]
    kinds = (slice, int, None, type(...), np.dtype(np.int64), np.dtype(bool), np.ndarray)
    made = np.array([0, 0, *loops, *map(id, kinds), 0], np.int64)

    def set_large() -> None:
        count = threads.get_num_threads()
        saved = 1 - 1 / count  # of the time, by sharing the work
        made[LARGE] = WORTH_LEAVING / saved if count > 1 else np.iinfo(np.int64).max

    set_large()
    threads.when_set.append(set_large)
    keep_forever(made)
    return made


def find_products(dtype: np.dtype[Any]) -> None:
    """Compile the products of a dtype, float32 or float64, or take them from the kernel cache."""
    at = PRODUCTS + dtype.itemsize // 8
    if not tools()[at]:
        tools()[at] = _compiled_product(dtype.name).address


@functools.cache
def _compiled_product(dtype: str) -> Any:
    """`tile_products` of a dtype: compiled once, since kernels are many."""
    own = hashlib.sha256(fingerprint(tile_products) + matrix_products.stamp())
    name = f"products_{dtype}_{own.hexdigest()[:16]}"
    source = (
        f"def {name}(rows, inner, columns, x, x_row, x_step, y, y_row, y_step, there, there_row, "
        "out, out_row):\n"
        "    sizes = (rows, inner, columns)\n"
        "    products(real(0), sizes, x, x_row, x_step, y, y_row, y_step, there, there_row, out, "
        "out_row)\n"
    )
    space = {"__name__": __name__, "products": tile_products, "real": getattr(numba, dtype)}
    exec(compile(source, f"<products of {dtype}>", "exec"), space)
    cache = KernelCache(f"products-{dtype}", source.encode(), own.digest())
    compiled = compile_native(space[name], types.void(*[types.int64] * 13), cache, fastmath=False)
    keep_forever(compiled)
    return compiled


@register_jitable
def is_large(tools: Any, n: Any, other: Any) -> Any:
    """Whether so many products of elements are left to Python, where threads share them."""
    return n * other > carray(pointer_to(tools, types.int64(1)), TOOL_FIELDS)[LARGE]


@register_jitable
def product(
    zero: Any, tools: Any, to: Any, add: Any, sizes: Any, x: Any, x_strides: Any, y: Any,
    y_strides: Any,
) -> None:  # fmt: skip
    """The product of x (rows, inner) and y (inner, columns), stored or added."""
    products(
        zero, tools, to, add, (types.int64(1), *sizes), x, (types.int64(0), *x_strides), y,
        (types.int64(0), *y_strides),
    )  # fmt: skip


@register_jitable
def tile(
    zero: Any, tools: Any, sizes: Any, x: Any, x_strides: Any, y: Any, y_strides: Any, there: Any,
    there_row: Any, out: Any, out_row: Any,
) -> None:  # fmt: skip
    """As `tile_products`, whose compiled code it calls."""
    at = PRODUCTS + size_of(zero) // 8
    call(
        carray(pointer_to(tools, types.int64(1)), TOOL_FIELDS)[at],
        (*sizes, x, *x_strides, y, *y_strides, there, there_row, out, out_row),
    )


@register_jitable
def products(
    zero: Any, tools: Any, to: Any, add: Any, sizes: Any, x: Any, x_strides: Any, y: Any,
    y_strides: Any,
) -> None:  # fmt: skip
    """Those of ``sizes[0]`` pairs, one after the other; the first strides are from pair to pair."""
    count, rows, inner, columns = sizes
    row = columns * types.int64(size_of(zero))
    for i in range(count):
        out = to + i * rows * row
        tile(
            zero, tools, (rows, inner, columns), x + i * x_strides[0], x_strides[1:],
            y + i * y_strides[0], y_strides[1:], out if add else types.int64(0), row, out, row,
        )  # fmt: skip

"""Work in parts, which threads share if there is enough of it: products of matrices, elements.

What is called has the address of `tools`, and works with the GIL held as well as without.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import carray, types
from numba.extending import register_jitable

from tapegrad.kernels.cache import KernelCache, fingerprint
from tapegrad.kernels.fused import matrix_products
from tapegrad.kernels.fused.matrix_products import tile_products
from tapegrad.kernels.native import (
    call,
    call_ufunc_loop,
    compile_native,
    keep_forever,
    load64,
    pointer_to,
    size_of,
    vector,
)
from tapegrad.kernels.pool import kept_code, others_of, share
from tapegrad.kernels.tools import ELEMENT_PARTS, LOOP_PARTS, POOL, PRODUCT_PARTS, PRODUCTS, tools
from tapegrad.threads import SHARED_ELEMENTS

__all__ = ["call_elementwise", "find_parts", "find_products", "product", "products"]
__all__ += ["products_and", "sharing_loop", "tile"]

#: So many products of elements are worth sharing: 20 microseconds or more of one thread's work.
SHARED_PRODUCTS = 1_000_000
#: A part's columns, in bytes; its rows, at least, and a divisor of them; parts for each thread.
WIDE, HIGH, TILE, PARTS = 256, 48, 6, 3


# -- products of matrices --------------------------------------------------------------------------


def find_products(dtype: np.dtype[Any]) -> None:
    """Compile the products of a dtype, float32 or float64, or take them from the kernel cache."""
    at = PRODUCTS + dtype.itemsize // 8
    if not tools()[at]:
        find_parts()
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
def product(
    zero: Any, tools: Any, to: Any, add: Any, sizes: Any, x: Any, x_strides: Any, y: Any,
    y_strides: Any,
) -> None:  # fmt: skip
    """The product of x (rows, inner) and y (inner, columns), stored or added."""
    one, none = types.int64(1), types.int64(0)
    products(
        zero, tools, to, add, (one, one, *sizes), x, (none, none, *x_strides), y,
        (none, none, *y_strides),
    )  # fmt: skip


@register_jitable
def products(
    zero: Any, tools: Any, to: Any, add: Any, sizes: Any, x: Any, x_strides: Any, y: Any,
    y_strides: Any,
) -> None:  # fmt: skip
    """Those of pairs in two dimensions, which the first two sizes and strides are of."""
    there = to if add else types.int64(0)
    row = sizes[4] * types.int64(size_of(zero))
    products_and(zero, tools, to, there, row, sizes, x, x_strides, y, y_strides)


@register_jitable
def tile(
    zero: Any, tools: Any, sizes: Any, x: Any, x_strides: Any, y: Any, y_strides: Any, there: Any,
    there_row: Any, out: Any, out_row: Any,
) -> None:  # fmt: skip
    """As `tile_products`, whose compiled code it calls."""
    call(
        load64(tools + 8 * (PRODUCTS + size_of(zero) // 8)),
        (*sizes, x, *x_strides, y, *y_strides, there, there_row, out, out_row),
    )


# What parts of products are told: the code for a tile and the size of an element; a product's parts
# across and down, and the rows and columns of each; how many products follow one another in the
# second dimension, and their sizes; x and its strides, y and its; what is there, from row to row,
# and where the result goes.
CODE, ITEMSIZE, ACROSS, DOWN, HEIGHT, WIDTH, COUNT, ROWS, INNER, COLUMNS = range(10)
X, Y, THERE, THERE_ROW, OUT, PRODUCT_FIELDS = 10, 15, 20, 21, 22, 23


@register_jitable
def products_and(
    zero: Any, tools: Any, to: Any, there: Any, there_row: Any, sizes: Any, x: Any, x_strides: Any,
    y: Any, y_strides: Any,
) -> None:  # fmt: skip
    """The products plus what is ``there``, unless that is 0."""
    outer, count, rows, inner, columns = sizes
    size = types.int64(size_of(zero))
    high, wide = rows, columns
    pool = load64(tools + 8 * POOL)
    others = min(others_of(pool), outer * count * rows * inner * columns // SHARED_PRODUCTS)
    wanted = PARTS * (others + 1)
    if others > 0 and outer * count < wanted:
        wide = types.int64(WIDE) // size
        across = (columns + wide - 1) // wide
        high = max(types.int64(HIGH), (rows * across + wanted * TILE - 1) // (wanted * TILE) * TILE)
    across, down = (columns + wide - 1) // wide, (rows + high - 1) // high
    code = load64(tools + 8 * (PRODUCTS + size // 8))
    given = vector()
    values = (
        code, size, across, down, high, wide, count, rows, inner, columns, x, *x_strides,
        y, *y_strides, there, there_row, to,
    )  # fmt: skip
    table = carray(pointer_to(given, types.int64(1)), PRODUCT_FIELDS)
    for i in range(PRODUCT_FIELDS):
        table[i] = values[i]
    run, parts = load64(tools + 8 * PRODUCT_PARTS), outer * count * across * down
    share(pool, run, parts, given, others)


def _product_parts(begin: int, end: int, at: int) -> None:
    """Parts of products, as `products_and` describes them."""
    table = carray(pointer_to(at, types.int64(1)), PRODUCT_FIELDS)
    size, across, down = table[ITEMSIZE], table[ACROSS], table[DOWN]
    rows, columns = table[ROWS], table[COLUMNS]
    x, x_outer, x_pair, x_row, x_step = (
        table[X],
        table[X + 1],
        table[X + 2],
        table[X + 3],
        table[X + 4],
    )
    y, y_outer, y_pair, y_row, y_step = (
        table[Y],
        table[Y + 1],
        table[Y + 2],
        table[Y + 3],
        table[Y + 4],
    )
    for i in range(begin, end):
        k, part = i // (across * down), i % (across * down)
        far, near = k // table[COUNT], k % table[COUNT]
        r, c = part % down * table[HEIGHT], part // down * table[WIDTH]
        there, row = table[THERE], k * rows + r
        if there != 0:
            there += row * table[THERE_ROW] + c * size
        call(
            table[CODE],
            (min(rows - r, table[HEIGHT]), table[INNER], min(columns - c, table[WIDTH]),
             x + far * x_outer + near * x_pair + r * x_row, x_row, x_step,
             y + far * y_outer + near * y_pair + c * y_step, y_row, y_step,
             there, table[THERE_ROW], table[OUT] + (row * columns + c) * size, columns * size),
        )  # fmt: skip


# -- elements --------------------------------------------------------------------------------------

# What parts of elements are told: an adjoint kernel and the size of an element, then what a kernel
# is given after the number of elements.
KERNEL, ELEMENT, ADD, BARS, SAVED, STEPS, ELEMENT_FIELDS = 0, 1, 2, 3, 5, 9, 13


@register_jitable
def call_elementwise(
    tools: Any, kernel: Any, size: Any, is_shared: Any, n: Any, arguments: Any
) -> None:
    """Call an adjoint kernel for n elements of so many bytes, which may be shared or not."""
    if n < SHARED_ELEMENTS or not is_shared:
        call(kernel, (n, *arguments))
    else:
        given = vector()
        values = (kernel, size, *arguments)
        table = carray(pointer_to(given, types.int64(1)), ELEMENT_FIELDS)
        for i in range(ELEMENT_FIELDS):
            table[i] = values[i]
        run = load64(tools + 8 * ELEMENT_PARTS)
        share(load64(tools + 8 * POOL), run, n, given, n // SHARED_ELEMENTS)


def _element_parts(begin: int, end: int, at: int) -> None:
    table = carray(pointer_to(at, types.int64(1)), ELEMENT_FIELDS)
    bars, saved, steps = table[BARS:SAVED], table[SAVED:STEPS], table[STEPS:ELEMENT_FIELDS]
    shift = begin * table[ELEMENT]
    call(
        table[KERNEL],
        (end - begin, table[ADD], bars[0] + shift, bars[1] + shift,
         saved[0] + begin * steps[0], saved[1] + begin * steps[1], saved[2] + begin * steps[2],
         saved[3] + begin * steps[3], steps[0], steps[1], steps[2], steps[3]),
    )  # fmt: skip


# What parts of an inner loop are told: the loop and its data; for each of up to four operands where
# it begins and the bytes from element to element.
LOOP, LOOP_DATA, STARTS, LOOP_STEPS, LOOP_FIELDS = 0, 1, 2, 6, 10


def _loop_parts(begin: int, end: int, at: int) -> None:
    """Run a ufunc's inner loop over some elements; it doesn't look at operands that it hasn't."""
    table = carray(pointer_to(at, types.int64(1)), LOOP_FIELDS)
    starts, steps = table[STARTS:LOOP_STEPS], table[LOOP_STEPS:LOOP_FIELDS]
    call_ufunc_loop(
        table[LOOP], table[LOOP_DATA], end - begin,
        (starts[0] + begin * steps[0], starts[1] + begin * steps[1],
         starts[2] + begin * steps[2], starts[3] + begin * steps[3]),
        (steps[0], steps[1], steps[2], steps[3]),
    )  # fmt: skip


def _sharing_loop(args: int, dimensions: int, steps: int, data: int) -> None:
    """An inner loop that runs another one, in parts if there are many elements."""
    n = load64(dimensions)
    loop, loop_data, least = load64(data), load64(data + 8), load64(data + 32)
    if n < least:
        call(loop, (args, dimensions, steps, loop_data))
    else:
        given = vector()
        table = carray(pointer_to(given, types.int64(1)), LOOP_FIELDS)
        table[LOOP], table[LOOP_DATA] = loop, loop_data
        for i in range(4):
            there = i < load64(data + 16)
            table[STARTS + i] = load64(args + 8 * i) if there else 0
            table[LOOP_STEPS + i] = load64(steps + 8 * i) if there else 0
        tools = load64(data + 24)
        run = load64(tools + 8 * LOOP_PARTS)
        share(load64(tools + 8 * POOL), run, n, given, n // least)


def sharing_loop(loop: int, data: int, operands: int, least: int) -> tuple[int, int]:
    """An inner loop, and what it is given, that lets threads share what another one does.

    ``least``: so many elements are worth another thread.
    """
    given = np.array([loop, data, operands, tools().ctypes.data, least], np.int64)
    keep_forever(given)
    return kept_code("sharing-loop", _sharing_loop, 4), given.ctypes.data


@functools.cache
def find_parts() -> None:
    """Compile the code for parts, or take it from the kernel cache."""
    code: dict[int, Callable[..., None]] = {
        PRODUCT_PARTS: _product_parts,
        ELEMENT_PARTS: _element_parts,
        LOOP_PARTS: _loop_parts,
    }
    for at, function in code.items():
        tools()[at] = kept_code("parts", function)

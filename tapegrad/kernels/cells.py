"""Structural kernels of the cells of recurrent layers.

The arguments are those of every structural kernel: see `kernels.structural`. What a step has
between its inputs and its result isn't kept: it is computed anew for the share of each input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import carray
from numba.extending import register_jitable

from tapegrad.kernels.fused.lanes import part, part_at
from tapegrad.kernels.fused.recurrent import (
    add_to,
    copy_to,
    gru_row,
    gru_row_adjoint,
    lstm_cell_row,
    lstm_cell_row_adjoint,
    sigmoid_of,
    slope_of_sigmoid,
)
from tapegrad.kernels.native import (
    C_CONTIGUOUS,
    DATA,
    DIMENSIONS,
    FLAGS,
    NDIM,
    allocate,
    like,
    load32,
    load64,
    pointer_to,
    release,
    size_of,
    tuple_get,
)

__all__ = ["KERNELS"]

#: Hidden sizes that there is room for, beside a row: of activations, states and adjoints.
ROOM = 12


@register_jitable
def lstm_cell_shares(bar: Any, x: Any, y: Any, z: Any, room: Any) -> Any:
    n, zero = bar.size, like(bar[0], 0)
    acts, bars = part(room, 0, 4 * n), part(room, 1, 4 * n)
    c, c_bar, o_bar = part(room, 8, n), part(room, 9, n), part(bars, 3, n)
    copy_to(part_at(acts, 0, 3 * n), x)
    lstm_cell_row(acts, y, c)
    copy_to(c_bar, bar)
    lstm_cell_row_adjoint(c_bar, acts, y, bars)
    for k in range(n):
        o_bar[k] = zero
    return bars, c_bar, c_bar


@register_jitable
def lstm_output_shares(bar: Any, x: Any, y: Any, z: Any, room: Any) -> Any:
    n, zero = bar.size, like(bar[0], 0)
    bars, o, y_bar = part(room, 0, 4 * n), part(room, 4, n), part(room, 5, n)
    o_bar = part(bars, 3, n)
    copy_to(o, part(x, 3, n))
    sigmoid_of(o)
    for k in range(3 * n):
        bars[k] = zero
    for k in range(n):
        o_bar[k] = bar[k] * y[k]
    slope_of_sigmoid(o, o_bar)
    for k in range(n):
        y_bar[k] = bar[k] * o[k]
    return bars, y_bar, y_bar


@register_jitable
def gru_cell_shares(bar: Any, x: Any, y: Any, z: Any, room: Any) -> Any:
    n = bar.size
    bars, own_bars, acts = part(room, 0, 3 * n), part(room, 1, 3 * n), part_at(room, 6 * n, 4 * n)
    h, h_bar = part(room, 10, n), part(room, 11, n)
    gru_row(x, y, acts, z, h)
    copy_to(h_bar, bar)
    gru_row_adjoint(h_bar, acts, z, bars, own_bars)
    return bars, own_bars, h_bar


@register_jitable
def row_of(array: Any, r: Any, rows: Any, zero: Any) -> Any:
    """A row of so many in an array that is in one piece."""
    n = load64(load64(array + DIMENSIONS) + 8 * (load32(array + NDIM) - 1))
    return part(carray(pointer_to(load64(array + DATA), zero), rows * n), r, n)


def share_of_cell(
    name: str, shares: Callable[..., Any], inputs: int, index: int
) -> Callable[..., Any]:
    """The kernel of an input of a cell, whose last input is of the result's shape."""

    def kernel(
        zero: Any, record: Any, out_bar: Any, n: Any, x_bar: Any, m: Any, add: Any, tools: Any
    ) -> Any:
        x, y = tuple_get(record, 4 + inputs), tuple_get(record, 5 + inputs)
        z = tuple_get(record, 3 + 2 * inputs)
        flags = load32(x + FLAGS) & load32(y + FLAGS) & load32(z + FLAGS)
        done = 1 if flags & C_CONTIGUOUS != 0 else 0
        if done == 1 and x_bar != 0 and n > 0:
            size = load64(load64(z + DIMENSIONS) + 8 * (load32(z + NDIM) - 1))
            rows = n // size
            address = allocate(ROOM * size * size_of(zero))
            done = 1 if address != 0 else 0
            if address != 0:
                room = carray(pointer_to(address, zero), ROOM * size)
                bar = carray(pointer_to(out_bar, zero), n)
                to = carray(pointer_to(x_bar, zero), m)
                for r in range(rows):
                    share = shares(
                        part(bar, r, size), row_of(x, r, rows, zero), row_of(y, r, rows, zero),
                        row_of(z, r, rows, zero), room,
                    )[index]  # fmt: skip
                    if add:
                        add_to(part(to, r, m // rows), share)
                    else:
                        copy_to(part(to, r, m // rows), share)
                release(address)
        return done

    kernel.__name__ = name
    return kernel


#: By the rules' modules and names.
KERNELS: dict[str, Callable[..., Any]] = {
    f"recurrent.{name}_adjoint_{x}": share_of_cell(f"{name}_{x}", shares, len(inputs), i)
    for name, shares, inputs in (
        ("lstm_cell", lstm_cell_shares, "xy"),
        ("lstm_output", lstm_output_shares, "xy"),
        ("gru_cell", gru_cell_shares, "xyz"),
    )
    for i, x in enumerate(inputs)
}

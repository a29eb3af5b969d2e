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
def gated(bar: Any, gate: Any, room: Any) -> Any:
    """The adjoint times a gate, of which the sum is given that it is the sigmoid of."""
    share = part(room, 0, bar.size)
    copy_to(share, gate)
    sigmoid_of(share)
    for k in range(bar.size):
        share[k] *= bar[k]
    return share


@register_jitable
def lstm_cell_x(bar: Any, x: Any, y: Any, z: Any, room: Any) -> Any:
    n = bar.size
    acts, bars = part(room, 0, 4 * n), part(room, 1, 4 * n)
    c, c_bar, o_bar = part(room, 8, n), part(room, 9, n), part(bars, 3, n)
    copy_to(part_at(acts, 0, 3 * n), x)
    lstm_cell_row(acts, y, c)
    copy_to(c_bar, bar)
    lstm_cell_row_adjoint(c_bar, acts, y, bars)
    for k in range(n):
        o_bar[k] = like(bar[0], 0)
    return bars


@register_jitable
def lstm_cell_y(bar: Any, x: Any, y: Any, z: Any, room: Any) -> Any:
    return gated(bar, part(x, 1, bar.size), room)


@register_jitable
def lstm_output_x(bar: Any, x: Any, y: Any, z: Any, room: Any) -> Any:
    n = bar.size
    bars, o = part(room, 0, 4 * n), part(room, 4, n)
    o_bar = part(bars, 3, n)
    copy_to(o, part(x, 3, n))
    sigmoid_of(o)
    for k in range(3 * n):
        bars[k] = like(bar[0], 0)
    for k in range(n):
        o_bar[k] = bar[k] * y[k]
    slope_of_sigmoid(o, o_bar)
    return bars


@register_jitable
def lstm_output_y(bar: Any, x: Any, y: Any, z: Any, room: Any) -> Any:
    return gated(bar, part(x, 3, bar.size), room)


@register_jitable
def gru_cell_shares(bar: Any, x: Any, y: Any, z: Any, room: Any) -> Any:
    n = bar.size
    bars, own_bars, acts = part(room, 0, 3 * n), part(room, 1, 3 * n), part_at(room, 6 * n, 4 * n)
    h, h_bar = part(room, 10, n), part(room, 11, n)
    gru_row(x, y, acts, z, h)
    copy_to(h_bar, bar)
    gru_row_adjoint(h_bar, acts, z, bars, own_bars)
    return bars, own_bars


@register_jitable
def gru_cell_x(bar: Any, x: Any, y: Any, z: Any, room: Any) -> Any:
    return gru_cell_shares(bar, x, y, z, room)[0]


@register_jitable
def gru_cell_y(bar: Any, x: Any, y: Any, z: Any, room: Any) -> Any:
    return gru_cell_shares(bar, x, y, z, room)[1]


@register_jitable
def gru_cell_z(bar: Any, x: Any, y: Any, z: Any, room: Any) -> Any:
    gate = part(room, 1, bar.size)
    copy_to(gate, part(x, 1, bar.size))
    add_to(gate, part(y, 1, bar.size))
    return gated(bar, gate, room)


@register_jitable
def row_of(array: Any, r: Any, rows: Any, zero: Any) -> Any:
    """A row of so many in an array that is in one piece."""
    n = load64(load64(array + DIMENSIONS) + 8 * (load32(array + NDIM) - 1))
    return part(carray(pointer_to(load64(array + DATA), zero), rows * n), r, n)


def share_of_cell(share_of_row: Callable[..., Any], inputs: int) -> Callable[..., Any]:
    """The kernel of one input of a cell, whose last input is of the result's shape."""

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
                    share = share_of_row(
                        part(bar, r, size), row_of(x, r, rows, zero), row_of(y, r, rows, zero),
                        row_of(z, r, rows, zero), room,
                    )  # fmt: skip
                    if add:
                        add_to(part(to, r, m // rows), share)
                    else:
                        copy_to(part(to, r, m // rows), share)
                release(address)
        return done

    kernel.__name__ = share_of_row.__name__
    return kernel


#: By the rules' modules and names, and the inputs.
KERNELS: dict[str, Callable[..., Any]] = {
    "recurrent.lstm_cell_adjoint_x": share_of_cell(lstm_cell_x, 2),
    "recurrent.lstm_cell_adjoint_y": share_of_cell(lstm_cell_y, 2),
    "recurrent.lstm_output_adjoint_x": share_of_cell(lstm_output_x, 2),
    "recurrent.lstm_output_adjoint_y": share_of_cell(lstm_output_y, 2),
    "recurrent.gru_cell_adjoint_x": share_of_cell(gru_cell_x, 3),
    "recurrent.gru_cell_adjoint_y": share_of_cell(gru_cell_y, 3),
    "recurrent.gru_cell_adjoint_z": share_of_cell(gru_cell_z, 3),
}

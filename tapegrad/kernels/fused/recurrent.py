"""Recurrent layers and their cells: `rules.ondemand.recurrent` tells what they compute.

Arrays of all steps are (steps, rows, ...), contiguous; the work is some blocks of rows, of which
none waits for another. What is between the products with the recurrent weight is a pass over each
row, in loops over so few arrays that LLVM checks that they lie apart and takes whole vectors.
"""

from __future__ import annotations

from typing import Any

from numba.extending import register_jitable

from tapegrad.fused import BLOCK
from tapegrad.kernels import vectormath as np
from tapegrad.kernels.fused.lanes import Array, Int, Tools, part, part_at
from tapegrad.kernels.fused.vectors import address_of
from tapegrad.kernels.native import like, size_of
from tapegrad.kernels.parts import product


@register_jitable
def rows_of(begin: Any, end: Any, rows: Any) -> Any:
    """The first row of some blocks, and the end of them."""
    return begin * BLOCK, min(end * BLOCK, rows)


@register_jitable
def before(first: Any, states: Any, at: Any, rows: Any, n: Any) -> Any:
    """The state before a step, where row ``at`` of all steps comes after it."""
    return part(first, at, n) if at < rows else part(states, at - rows, n)


@register_jitable
def matrix_product(
    x: Any, y: Any, out: Any, at: Any, add: Any, rows: Any, columns: Any, tools: Any
) -> None:
    """The product of rows, x is the first, and the matrix y (inner, columns), in ``out[at:]``."""
    zero = like(y[0], 0)
    size, inner = size_of(zero), y.size // columns
    product(
        zero, tools, address_of(out, at), add, (rows, inner, columns), address_of(x, 0),
        (inner * size, size), address_of(y, 0), (columns * size, size),
    )  # fmt: skip


@register_jitable
def add_to(to: Any, x: Any) -> None:
    for k in range(to.size):
        to[k] += x[k]


@register_jitable
def copy_to(to: Any, x: Any) -> None:
    for k in range(to.size):
        to[k] = x[k]


@register_jitable
def sigmoid_of(x: Any) -> None:
    # As `sigmoid_forward`: where exp overflows 1 / inf is the right 0.
    one = like(x[0], 1)
    for k in range(x.size):
        x[k] = one / (np.exp(-x[k]) + one)


@register_jitable
def slope_of_sigmoid(y: Any, to: Any) -> None:
    """Times the derivative, of which y is the value."""
    one = like(to[0], 1)
    for k in range(to.size):
        to[k] *= y[k] * (one - y[k])


# -- LSTM ------------------------------------------------------------------------------------------


@register_jitable
def lstm_cell_row(acts: Any, last: Any, c: Any) -> None:
    """The cell. ``acts`` are what the linear maps give, and become i, f and g."""
    n = c.size
    i, f, g = part(acts, 0, n), part(acts, 1, n), part(acts, 2, n)
    sigmoid_of(part_at(acts, 0, 2 * n))
    for k in range(n):
        g[k] = np.tanh(g[k])
    for k in range(n):
        c[k] = f[k] * last[k] + i[k] * g[k]


def lstm(
    begin: Int, end: Int, x: Array, y: Array, z: Array, w: Array, hs: Array, cs: Array,
    acts: Array, steps: Int, rows: Int, n: Int, tools: Tools,
) -> None:  # fmt: skip
    # w is the transposed weight: (n, 4 n).
    begin, end = rows_of(begin, end, rows)
    for t in range(steps):
        first = t * rows + begin
        last = before(y, hs, first, rows, n)
        matrix_product(last, w, acts, 4 * first * n, 0, end - begin, 4 * n, tools)
        for at in range(first, first + end - begin):
            row, c, h = part(acts, at, 4 * n), part(cs, at, n), part(hs, at, n)
            add_to(row, part(x, at, 4 * n))
            lstm_cell_row(row, before(z, cs, at, rows, n), c)
            o = part(row, 3, n)
            sigmoid_of(o)
            for k in range(n):
                h[k] = o[k] * np.tanh(c[k])


@register_jitable
def lstm_cell_row_adjoint(c_bar: Any, acts: Any, last: Any, bars: Any) -> None:
    """Of i, f and g; and ``c_bar`` becomes that of the cell before."""
    n, one = c_bar.size, like(c_bar[0], 1)
    i, f, g = part(acts, 0, n), part(acts, 1, n), part(acts, 2, n)
    i_bar, f_bar, g_bar = part(bars, 0, n), part(bars, 1, n), part(bars, 2, n)
    for k in range(n):
        i_bar[k] = c_bar[k] * g[k]
    for k in range(n):
        f_bar[k] = c_bar[k] * last[k]
    for k in range(n):
        g_bar[k] = c_bar[k] * i[k] * (one - g[k] * g[k])
    for k in range(n):
        c_bar[k] *= f[k]
    slope_of_sigmoid(part_at(acts, 0, 2 * n), part_at(bars, 0, 2 * n))


@register_jitable
def lstm_row_adjoint(h_bar: Any, c_bar: Any, acts: Any, last: Any, c: Any, bars: Any) -> None:
    n, one = c.size, like(c[0], 1)
    o, o_bar = part(acts, 3, n), part(bars, 3, n)
    for k in range(n):
        o_bar[k] = np.tanh(c[k])
    for k in range(n):
        c_bar[k] += h_bar[k] * o[k] * (one - o_bar[k] * o_bar[k])
    for k in range(n):
        o_bar[k] *= h_bar[k]
    slope_of_sigmoid(o, o_bar)
    lstm_cell_row_adjoint(c_bar, acts, last, bars)


def lstm_adjoint(
    begin: Int, end: Int, h_bars: Array, c_bars: Array, cs: Array, acts: Array, z: Array,
    w: Array, bars: Array, h_bar: Array, c_bar: Array, steps: Int, rows: Int, n: Int,
    of_cells: Int, tools: Tools,
) -> None:  # fmt: skip
    # h_bar and c_bar are what later steps give; of_cells: whether c_bars are of all steps.
    begin, end = rows_of(begin, end, rows)
    for t in range(steps - 1, -1, -1):
        first = t * rows + begin
        for r in range(begin, end):
            at = t * rows + r
            of_h, of_c = part(h_bar, r, n), part(c_bar, r, n)
            add_to(of_h, part(h_bars, at, n))
            if of_cells:
                add_to(of_c, part(c_bars, at, n))
            lstm_row_adjoint(
                of_h, of_c, part(acts, at, 4 * n), before(z, cs, at, rows, n), part(cs, at, n),
                part(bars, at, 4 * n),
            )  # fmt: skip
        matrix_product(part(bars, first, 4 * n), w, h_bar, begin * n, 0, end - begin, n, tools)


def lstm_cell(begin: Int, end: Int, x: Array, y: Array, acts: Array, out: Array, n: Int) -> None:
    for r in range(begin, end):
        row = part(acts, r, 3 * n)
        copy_to(row, part_at(x, 4 * r * n, 3 * n))
        lstm_cell_row(row, part(y, r, n), part(out, r, n))


def lstm_output(begin: Int, end: Int, x: Array, y: Array, out: Array, n: Int) -> None:
    for r in range(begin, end):
        h, tanh = part(out, r, n), part(y, r, n)
        copy_to(h, part(x, 4 * r + 3, n))
        sigmoid_of(h)
        for k in range(n):
            h[k] *= tanh[k]


# -- GRU -------------------------------------------------------------------------------------------


@register_jitable
def gru_row(x: Any, hidden: Any, acts: Any, last: Any, h: Any) -> None:
    n = h.size
    r, u, new, own = part(acts, 0, n), part(acts, 1, n), part(acts, 2, n), part(acts, 3, n)
    gates, given = part_at(acts, 0, 2 * n), part(x, 2, n)
    for k in range(2 * n):
        gates[k] = x[k] + hidden[k]
    sigmoid_of(gates)
    copy_to(own, part(hidden, 2, n))
    for k in range(n):
        new[k] = np.tanh(given[k] + r[k] * own[k])
    for k in range(n):
        h[k] = new[k] + u[k] * (last[k] - new[k])


def gru(
    begin: Int, end: Int, x: Array, y: Array, w: Array, bias: Array, hs: Array, acts: Array,
    hidden: Array, steps: Int, rows: Int, n: Int, tools: Tools,
) -> None:  # fmt: skip
    # w is the transposed weight: (n, 3 n); hidden is room for a step's product.
    begin, end = rows_of(begin, end, rows)
    for t in range(steps):
        first = t * rows + begin
        last = before(y, hs, first, rows, n)
        matrix_product(last, w, hidden, 3 * begin * n, 0, end - begin, 3 * n, tools)
        for r in range(begin, end):
            at, own = t * rows + r, part(hidden, r, 3 * n)
            add_to(own, bias)
            last = before(y, hs, at, rows, n)
            gru_row(part(x, at, 3 * n), own, part(acts, at, 4 * n), last, part(hs, at, n))


@register_jitable
def gru_row_adjoint(h_bar: Any, acts: Any, last: Any, bars: Any, own_bars: Any) -> None:
    """``h_bar`` becomes what the state before is given but for the product."""
    n, one = h_bar.size, like(h_bar[0], 1)
    r, u, new, own = part(acts, 0, n), part(acts, 1, n), part(acts, 2, n), part(acts, 3, n)
    r_bar, u_bar, new_bar = part(bars, 0, n), part(bars, 1, n), part(bars, 2, n)
    own_bar = part(own_bars, 2, n)
    for k in range(n):
        u_bar[k] = h_bar[k] * (last[k] - new[k])
    for k in range(n):
        new_bar[k] = h_bar[k] * (one - u[k]) * (one - new[k] * new[k])
    for k in range(n):
        h_bar[k] *= u[k]
    for k in range(n):
        r_bar[k] = new_bar[k] * own[k]
    for k in range(n):
        own_bar[k] = new_bar[k] * r[k]
    gates = part_at(bars, 0, 2 * n)
    slope_of_sigmoid(part_at(acts, 0, 2 * n), gates)
    copy_to(part_at(own_bars, 0, 2 * n), gates)


def gru_adjoint(
    begin: Int, end: Int, h_bars: Array, hs: Array, acts: Array, y: Array, w: Array,
    bars: Array, own_bars: Array, h_bar: Array, steps: Int, rows: Int, n: Int, tools: Tools,
) -> None:  # fmt: skip
    # own_bars are those of the state's linear map.
    begin, end = rows_of(begin, end, rows)
    for t in range(steps - 1, -1, -1):
        first = t * rows + begin
        for r in range(begin, end):
            at, of_h = t * rows + r, part(h_bar, r, n)
            add_to(of_h, part(h_bars, at, n))
            gru_row_adjoint(
                of_h, part(acts, at, 4 * n), before(y, hs, at, rows, n), part(bars, at, 3 * n),
                part(own_bars, at, 3 * n),
            )  # fmt: skip
        own = part(own_bars, first, 3 * n)
        matrix_product(own, w, h_bar, begin * n, 1, end - begin, n, tools)


def gru_cell(
    begin: Int, end: Int, x: Array, y: Array, z: Array, acts: Array, out: Array, n: Int
) -> None:
    for r in range(begin, end):
        row = part(acts, r, 4 * n)
        gru_row(part(x, r, 3 * n), part(y, r, 3 * n), row, part(z, r, n), part(out, r, n))


# -- RNN -------------------------------------------------------------------------------------------


def rnn(
    begin: Int, end: Int, x: Array, y: Array, w: Array, hs: Array, steps: Int, rows: Int, n: Int,
    relu: Int, tools: Tools,
) -> None:  # fmt: skip
    # w is the transposed weight.
    begin, end = rows_of(begin, end, rows)
    count = end - begin
    for t in range(steps):
        first = t * rows + begin
        matrix_product(before(y, hs, first, rows, n), w, hs, first * n, 0, count, n, tools)
        h = part_at(hs, first * n, count * n)
        add_to(h, part_at(x, first * n, count * n))
        if relu:
            for k in range(h.size):
                h[k] = np.maximum(h[k], like(h[0], 0))
        else:
            for k in range(h.size):
                h[k] = np.tanh(h[k])


def rnn_adjoint(
    begin: Int, end: Int, h_bars: Array, hs: Array, w: Array, bars: Array, h_bar: Array,
    steps: Int, rows: Int, n: Int, relu: Int, tools: Tools,
) -> None:  # fmt: skip
    begin, end = rows_of(begin, end, rows)
    size = (end - begin) * n
    of_h, one = part_at(h_bar, begin * n, size), like(h_bar[0], 1)
    for t in range(steps - 1, -1, -1):
        start = (t * rows + begin) * n
        h, bar = part_at(hs, start, size), part_at(bars, start, size)
        add_to(of_h, part_at(h_bars, start, size))
        if relu:
            for k in range(size):
                bar[k] = of_h[k] if h[k] > 0 else like(one, 0)
        else:
            for k in range(size):
                bar[k] = of_h[k] * (one - h[k] * h[k])
        matrix_product(bar, w, h_bar, begin * n, 0, end - begin, n, tools)

"""Whole sequences of recurrent layers: `rules.ondemand.recurrent` tells what they compute.

Arrays of all steps are (steps, rows, ...), contiguous; the work is some of the rows. The products
with the recurrent weight are small ones or BLAS's, as everywhere; what is between them is a pass
over each row, in loops over so few arrays that LLVM checks that they lie apart and takes whole
vectors.
"""

from __future__ import annotations

from typing import Any

from numba.extending import register_jitable

from tapegrad.kernels import vectormath as np
from tapegrad.kernels.fused.lanes import Array, Int, Tools, part, part_at
from tapegrad.kernels.fused.vectors import address_of
from tapegrad.kernels.native import like, size_of
from tapegrad.kernels.tools import product


@register_jitable
def matrix_product(x: Any, y: Any, out: Any, at: Any, rows: Any, columns: Any, tools: Any) -> None:
    """The product of rows at an address and the matrix y (inner, columns), put to ``out[at:]``."""
    zero = like(y[0], 0)
    size, inner = size_of(zero), y.size // columns
    product(
        zero, tools, address_of(out, at), 0, (rows, inner, columns), x, (inner * size, size),
        address_of(y, 0), (columns * size, size),
    )  # fmt: skip


@register_jitable
def sigmoid_of_sum(x: Any, to: Any) -> None:
    # As `sigmoid_forward`: where exp overflows 1 / inf is the right 0.
    one = like(to[0], 1)
    for k in range(to.size):
        to[k] = one / (np.exp(-(x[k] + to[k])) + one)


@register_jitable
def slope_of_sigmoid(y: Any, to: Any) -> None:
    """Times the derivative, of which y is the value."""
    one = like(to[0], 1)
    for k in range(to.size):
        to[k] *= y[k] * (one - y[k])


# -- LSTM ------------------------------------------------------------------------------------------


@register_jitable
def lstm_row(x: Any, acts: Any, before: Any, c: Any, h: Any) -> None:
    n = c.size
    sigmoid_of_sum(part_at(x, 0, 2 * n), part_at(acts, 0, 2 * n))
    i, f, g, o = part(acts, 0, n), part(acts, 1, n), part(acts, 2, n), part(acts, 3, n)
    new = part(x, 2, n)
    for k in range(n):
        g[k] = np.tanh(new[k] + g[k])
    sigmoid_of_sum(part(x, 3, n), o)
    for k in range(n):
        c[k] = f[k] * before[k] + i[k] * g[k]
    for k in range(n):
        h[k] = o[k] * np.tanh(c[k])


def lstm(
    begin: Int, end: Int, x: Array, y: Array, z: Array, w: Array, hs: Array, cs: Array,
    acts: Array, steps: Int, rows: Int, n: Int, tools: Tools,
) -> None:  # fmt: skip
    # w is the transposed weight: (n, 4 n).
    for t in range(steps):
        first = t * rows + begin
        before = address_of(y, begin * n) if t == 0 else address_of(hs, (first - rows) * n)
        matrix_product(before, w, acts, 4 * first * n, end - begin, 4 * n, tools)
        for r in range(first, first + end - begin):
            last = part(z, r, n) if t == 0 else part(cs, r - rows, n)
            lstm_row(part(x, r, 4 * n), part(acts, r, 4 * n), last, part(cs, r, n), part(hs, r, n))


@register_jitable
def lstm_row_adjoint(h_bar: Any, c_bar: Any, acts: Any, before: Any, c: Any, bars: Any) -> None:
    """``c_bar`` becomes that of the cell before."""
    n, one = c.size, like(c[0], 1)
    i, f, g, o = part(acts, 0, n), part(acts, 1, n), part(acts, 2, n), part(acts, 3, n)
    i_bar, f_bar = part(bars, 0, n), part(bars, 1, n)
    g_bar, o_bar = part(bars, 2, n), part(bars, 3, n)
    for k in range(n):
        o_bar[k] = np.tanh(c[k])
    for k in range(n):
        c_bar[k] += h_bar[k] * o[k] * (one - o_bar[k] * o_bar[k])
    for k in range(n):
        o_bar[k] *= h_bar[k]
    for k in range(n):
        i_bar[k] = c_bar[k] * g[k]
    for k in range(n):
        f_bar[k] = c_bar[k] * before[k]
    for k in range(n):
        g_bar[k] = c_bar[k] * i[k] * (one - g[k] * g[k])
    for k in range(n):
        c_bar[k] *= f[k]
    slope_of_sigmoid(part_at(acts, 0, 2 * n), part_at(bars, 0, 2 * n))
    slope_of_sigmoid(o, o_bar)


@register_jitable
def add_to(to: Any, x: Any) -> None:
    for k in range(to.size):
        to[k] += x[k]


def lstm_adjoint(
    begin: Int, end: Int, h_bars: Array, c_bars: Array, cs: Array, acts: Array, z: Array,
    w: Array, bars: Array, h_bar: Array, c_bar: Array, steps: Int, rows: Int, n: Int,
    of_cells: Int, tools: Tools,
) -> None:  # fmt: skip
    # h_bar and c_bar are what later steps give; of_cells: whether c_bars are of all steps.
    count = end - begin
    size = count * n
    for step in range(steps):
        first = (steps - 1 - step) * rows + begin
        add_to(part_at(h_bar, begin * n, size), part_at(h_bars, first * n, size))
        if of_cells:
            add_to(part_at(c_bar, begin * n, size), part_at(c_bars, first * n, size))
        for r in range(begin, end):
            at = first - begin + r
            last = part(z, r, n) if at < rows else part(cs, at - rows, n)
            lstm_row_adjoint(
                part(h_bar, r, n), part(c_bar, r, n), part(acts, at, 4 * n), last,
                part(cs, at, n), part(bars, at, 4 * n),
            )  # fmt: skip
        matrix_product(address_of(bars, 4 * first * n), w, h_bar, begin * n, count, n, tools)


# -- GRU -------------------------------------------------------------------------------------------


@register_jitable
def gru_row(x: Any, hidden: Any, bias: Any, acts: Any, before: Any, h: Any) -> None:
    n = h.size
    gates = part_at(acts, 0, 2 * n)
    for k in range(2 * n):
        gates[k] = hidden[k] + bias[k]
    sigmoid_of_sum(part_at(x, 0, 2 * n), gates)
    r, u, new, own = part(acts, 0, n), part(acts, 1, n), part(acts, 2, n), part(acts, 3, n)
    last, shift, given = part(hidden, 2, n), part(bias, 2, n), part(x, 2, n)
    for k in range(n):
        own[k] = last[k] + shift[k]
    for k in range(n):
        new[k] = np.tanh(given[k] + r[k] * own[k])
    for k in range(n):
        h[k] = new[k] + u[k] * (before[k] - new[k])


def gru(
    begin: Int, end: Int, x: Array, y: Array, w: Array, bias: Array, hs: Array, acts: Array,
    hidden: Array, steps: Int, rows: Int, n: Int, tools: Tools,
) -> None:  # fmt: skip
    # w is the transposed weight: (n, 3 n); hidden is room for a step's product.
    for t in range(steps):
        first = t * rows + begin
        before = address_of(y, begin * n) if t == 0 else address_of(hs, (first - rows) * n)
        matrix_product(before, w, hidden, 3 * begin * n, end - begin, 3 * n, tools)
        for r in range(begin, end):
            at = first - begin + r
            last = part(y, r, n) if t == 0 else part(hs, at - rows, n)
            gru_row(
                part(x, at, 3 * n), part(hidden, r, 3 * n), bias, part(acts, at, 4 * n), last,
                part(hs, at, n),
            )  # fmt: skip


@register_jitable
def gru_row_adjoint(h_bar: Any, acts: Any, before: Any, bars: Any, own_bars: Any) -> None:
    """``h_bar`` becomes what the state before is given but for the product."""
    n, one = h_bar.size, like(h_bar[0], 1)
    r, u, new, own = part(acts, 0, n), part(acts, 1, n), part(acts, 2, n), part(acts, 3, n)
    r_bar, u_bar, new_bar = part(bars, 0, n), part(bars, 1, n), part(bars, 2, n)
    own_bar = part(own_bars, 2, n)
    for k in range(n):
        u_bar[k] = h_bar[k] * (before[k] - new[k])
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
    copy = part_at(own_bars, 0, 2 * n)
    for k in range(2 * n):
        copy[k] = gates[k]


def gru_adjoint(
    begin: Int, end: Int, h_bars: Array, hs: Array, acts: Array, y: Array, w: Array,
    bars: Array, own_bars: Array, h_bar: Array, share: Array, steps: Int, rows: Int, n: Int,
    tools: Tools,
) -> None:  # fmt: skip
    # own_bars are those of the state's linear map; share is room for a product.
    count = end - begin
    size = count * n
    for step in range(steps):
        first = (steps - 1 - step) * rows + begin
        add_to(part_at(h_bar, begin * n, size), part_at(h_bars, first * n, size))
        for r in range(begin, end):
            at = first - begin + r
            last = part(y, r, n) if at < rows else part(hs, at - rows, n)
            gru_row_adjoint(
                part(h_bar, r, n), part(acts, at, 4 * n), last, part(bars, at, 3 * n),
                part(own_bars, at, 3 * n),
            )  # fmt: skip
        bars_at = address_of(own_bars, 3 * first * n)
        matrix_product(bars_at, w, share, begin * n, count, n, tools)
        add_to(part_at(h_bar, begin * n, size), part_at(share, begin * n, size))

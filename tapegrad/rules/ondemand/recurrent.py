"""Recurrent layers: LSTM (Hochreiter & Schmidhuber 1997), GRU (Cho 2014), RNN; and their cells.

For a whole sequence there is a primitive. It is given what the linear map of the input makes of all
steps, (steps, rows, gates * size), since that is one product; the first states (rows, size); and
the weight of the linear map of the state, (gates * size, size). It gives the states after each
step, (steps, rows, size), and what its rule needs besides: the activations, which may be
differentiated like any result. The rule goes the steps back: it finds the adjoint of what a step's
activations are functions of, hands on what the state before is given, and in the end has the
weight's share as one product.

The primitives of a cell are what a step does after its two linear maps. They save their inputs, so
that what they give may be changed in place.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.dtypes import promote_types
from tapegrad.fused import BLOCK, fused
from tapegrad.primitive import select, structural
from tapegrad.products import matrix_product
from tapegrad.rules.exponential import sigmoid
from tapegrad.rules.linear import linear
from tapegrad.rules.reductions import sum_
from tapegrad.rules.trigonometric import tanh


def parts(x, count):
    """The last dimension in so many equal parts."""
    n = x.shape[-1] // count
    return [x[..., k * n : (k + 1) * n] for k in range(count)]


def are_arrays(*values):
    """Whether none is a Tensor, so that there may be machine code for them."""
    return all(type(x) is np.ndarray for x in values)


def zeros_of(value):
    return np.zeros(tuple(value.shape), getattr(value.dtype, "numpy", value.dtype))


def bar_or_zeros(bar, value):
    """The adjoint of a result; zeros if it has none."""
    return zeros_of(value) if bar is None else bar


def weight_bar(bars, h, hs):
    """The share of the weight by which the states before each step were multiplied."""
    first = matrix_product(np.swapaxes(bars[0], 0, 1), h)
    if len(bars) == 1:
        return first
    later = np.reshape(bars[1:], (-1, bars.shape[-1]))
    states = np.reshape(hs[:-1], (-1, h.shape[-1]))
    return first + matrix_product(np.swapaxes(later, 0, 1), states)


def blocks_of(h):
    """The parts of the work, of which threads take some."""
    return -(-len(h) // BLOCK)


def in_one_piece(*arrays):
    return [np.ascontiguousarray(x) for x in arrays]


# -- LSTM: c' = f c + i g, h' = o tanh(c') ---------------------------------------------------------


def lstm_forward(x, h, c, weight):
    x, h, c, turned = in_one_piece(x, h, c, weight.T)
    hs, cs = np.empty((2, len(x), *h.shape), x.dtype)
    acts = np.empty_like(x)
    kernel = fused("lstm", x, h, c, turned)
    if kernel is not None:
        kernel(blocks_of(h), x, h, c, turned, hs, cs, acts, len(x), *h.shape)
        return hs, cs, acts
    with np.errstate(all="ignore"):
        for t in range(len(x)):
            i, f, g, o = parts(x[t] + h @ turned, 4)
            i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
            c = f * c + i * g
            h = o * np.tanh(c)
            hs[t], cs[t], acts[t] = h, c, np.concatenate((i, f, g, o), -1)
    return hs, cs, acts


def lstm_adjoint(out_bar, h, c, weight, out):
    h_bars, c_bars, acts_bars = out_bar
    hs, cs, acts = out
    steps, rows, n = hs.shape
    h_bars = bar_or_zeros(h_bars, hs)
    if are_arrays(h_bars, acts) and acts_bars is None:
        of_cells = c_bars is not None
        given = in_one_piece(h_bars, c_bars if of_cells else h_bars, cs, acts, c, weight)
        kernel = fused("lstm_adjoint", *given)
        if kernel is not None:
            bars, (h_bar, c_bar) = np.empty_like(acts), np.zeros((2, rows, n), acts.dtype)
            kernel(blocks_of(h), *given, bars, h_bar, c_bar, steps, rows, n, of_cells)
            return bars, h_bar, c_bar, weight_bar(bars, h, hs)
    c_bars, acts_bars = bar_or_zeros(c_bars, cs), bar_or_zeros(acts_bars, acts)
    i, f, g, o = parts(acts, 4)
    slopes = np.concatenate((i * (1 - i), f * (1 - f), 1 - g * g, o * (1 - o)), -1)
    tanhs = np.tanh(cs)
    through = o * (1 - tanhs * tanhs)
    h_bar = c_bar = 0
    back: list[Any] = []
    for t in reversed(range(steps)):
        h_bar = h_bars[t] + h_bar
        c_bar = h_bar * through[t] + c_bars[t] + c_bar
        before = cs[t - 1] if t else c
        bar = np.concatenate((c_bar * g[t], c_bar * before, c_bar * i[t], h_bar * tanhs[t]), -1)
        back.append((bar + acts_bars[t]) * slopes[t])
        c_bar = c_bar * f[t]
        h_bar = np.matmul(back[-1], weight)
    bars = np.stack(back[::-1])
    return bars, h_bar, c_bar, weight_bar(bars, h, hs)


#: The states, the cells, and the activations i, f, g and o.
lstm_ = structural(
    "lstm", lstm_forward, shares=lstm_adjoint, inputs=("x", "h", "c", "weight"), outputs=3,
    grad_name="MkldnnRnnLayerBackward0",
)  # fmt: skip


def lstm_cell_forward(x, y):
    kernel = fused("lstm_cell", x, y)
    if kernel is None:
        i, f, g, _ = parts(x, 4)
        return sigmoid(f) * y + sigmoid(i) * np.tanh(g)
    n = y.shape[-1]
    acts, out = np.empty(3 * y.size, y.dtype), np.empty_like(y)
    kernel(y.size // n, x, y, acts, out, n, work=x.nbytes)
    return out


def lstm_cell_adjoint(out_bar, x, y):
    i, f, g, o = parts(x, 4)
    i, f, g = sigmoid(i), sigmoid(f), np.tanh(g)
    i_bar = out_bar * g * i * (1 - i)
    f_bar = out_bar * y * f * (1 - f)
    g_bar = out_bar * i * (1 - g * g)
    return np.concatenate((i_bar, f_bar, g_bar, zeros_of(o)), -1), out_bar * f


#: The cell, of what the linear maps give, (..., 4 * size), and the cell before.
lstm_cell_ = structural(
    "lstm_cell", lstm_cell_forward, shares=lstm_cell_adjoint, inputs=("x", "y"),
    grad_name="AddBackward0",
)  # fmt: skip


def lstm_output_forward(x, y):
    kernel = fused("lstm_output", x, y)
    if kernel is None:
        return sigmoid(parts(x, 4)[3]) * y
    n = y.shape[-1]
    out = np.empty_like(y)
    kernel(y.size // n, x, y, out, n, work=x.nbytes)
    return out


def lstm_output_adjoint(out_bar, x, y):
    *others, o = parts(x, 4)
    o = sigmoid(o)
    o_bar = out_bar * y * o * (1 - o)
    return np.concatenate((*map(zeros_of, others), o_bar), -1), out_bar * o


#: The output, of the same and the tanh of the cell.
lstm_output_ = structural(
    "lstm_output", lstm_output_forward, shares=lstm_output_adjoint, inputs=("x", "y"),
    grad_name="MulBackward0",
)  # fmt: skip


# -- GRU: n = tanh(x_n + r (W h + b)_n), h' = n + z (h - n) ----------------------------------------


def gru_activations(x, y):
    """r, z and n, and what r is multiplied by, of what the linear maps give."""
    r, z, new = parts(x, 3)
    own_r, own_z, own = parts(y, 3)
    r = sigmoid(r + own_r)
    return r, sigmoid(z + own_z), np.tanh(new + r * own), own


def gru_step_adjoint(h_bar, before, acts, acts_bars):
    """The adjoints of what the linear maps give; and of the state before, but for its own map."""
    r, z, new, own = acts
    r_bar, z_bar, new_bar, own_bar = acts_bars
    new_bar = (h_bar * (1 - z) + new_bar) * (1 - new * new)
    z_bar = (h_bar * (before - new) + z_bar) * z * (1 - z)
    r_bar = (new_bar * own + r_bar) * r * (1 - r)
    own_bar = new_bar * r + own_bar
    bars = np.concatenate((r_bar, z_bar, new_bar), -1)
    return bars, np.concatenate((r_bar, z_bar, own_bar), -1), h_bar * z


def gru_forward(x, h, weight, bias):
    x, h, turned, bias = in_one_piece(x, h, weight.T, bias)
    steps, (rows, n) = len(x), h.shape
    hs, acts = np.empty((steps, rows, n), x.dtype), np.empty((steps, rows, 4 * n), x.dtype)
    kernel = fused("gru", x, h, turned, bias)
    if kernel is not None:
        room = np.empty((rows, 3 * n), x.dtype)
        kernel(blocks_of(h), x, h, turned, bias, hs, acts, room, steps, rows, n)
        return hs, acts
    with np.errstate(all="ignore"):
        for t in range(steps):
            r, z, new, own = gru_activations(x[t], h @ turned + bias)
            h = new + z * (h - new)
            hs[t], acts[t] = h, np.concatenate((r, z, new, own), -1)
    return hs, acts


def gru_adjoint(out_bar, h, weight, out):
    h_bars, acts_bars = out_bar
    hs, acts = out
    steps, rows, n = hs.shape
    h_bars = bar_or_zeros(h_bars, hs)
    if are_arrays(h_bars, acts) and acts_bars is None:
        given = in_one_piece(h_bars, hs, acts, h, weight)
        kernel = fused("gru_adjoint", *given)
        if kernel is not None:
            bars, own_bars = np.empty((2, steps, rows, 3 * n), acts.dtype)
            h_bar: Any = np.zeros((rows, n), acts.dtype)
            kernel(blocks_of(h), *given, bars, own_bars, h_bar, steps, rows, n)
            return bars, h_bar, weight_bar(own_bars, h, hs), sum_(own_bars, (0, 1), False)
    acts_bars = bar_or_zeros(acts_bars, acts)
    h_bar = 0
    back: list[Any] = []
    own_back: list[Any] = []
    for t in reversed(range(steps)):
        bars, own_bars, h_bar = gru_step_adjoint(
            h_bars[t] + h_bar, hs[t - 1] if t else h, parts(acts[t], 4), parts(acts_bars[t], 4)
        )
        back.append(bars)
        own_back.append(own_bars)
        h_bar = h_bar + np.matmul(own_bars, weight)
    bars, own_bars = np.stack(back[::-1]), np.stack(own_back[::-1])
    return bars, h_bar, weight_bar(own_bars, h, hs), sum_(own_bars, (0, 1), False)


#: The states; and the activations r, z and n, and what r is multiplied by.
gru_ = structural(
    "gru", gru_forward, shares=gru_adjoint, inputs=("x", "h", "weight", "bias"), outputs=2,
    grad_name="StackBackward0",
)  # fmt: skip


def gru_cell_forward(x, y, z):
    kernel = fused("gru_cell", x, y, z)
    if kernel is None:
        _, update, new, _ = gru_activations(x, y)
        return new + update * (z - new)
    n = z.shape[-1]
    acts, out = np.empty(4 * z.size, z.dtype), np.empty_like(z)
    kernel(z.size // n, x, y, z, acts, out, n, work=x.nbytes)
    return out


def gru_cell_adjoint(out_bar, x, y, z):
    return gru_step_adjoint(out_bar, z, gru_activations(x, y), (0, 0, 0, 0))


#: The state, of what the linear maps give, (..., 3 * size) each, and the state before.
gru_cell_ = structural(
    "gru_cell", gru_cell_forward, shares=gru_cell_adjoint, inputs=("x", "y", "z"),
    grad_name="AddBackward0",
)  # fmt: skip


# -- RNN: h' = tanh(x + W h), or relu --------------------------------------------------------------


def rnn_forward(x, h, weight, relu):
    x, h, turned = in_one_piece(x, h, weight.T)
    hs = np.empty((len(x), *h.shape), x.dtype)
    kernel = fused("rnn", x, h, turned)
    if kernel is not None:
        kernel(blocks_of(h), x, h, turned, hs, len(x), *h.shape, relu)
        return hs
    with np.errstate(all="ignore"):
        for t in range(len(x)):
            h = x[t] + h @ turned
            h = hs[t] = np.maximum(h, 0) if relu else np.tanh(h)
    return hs


def rnn_adjoint(out_bar, h, weight, out, relu):
    steps, rows, n = out.shape
    if are_arrays(out_bar, out):
        given = in_one_piece(out_bar, out, weight)
        kernel = fused("rnn_adjoint", *given)
        if kernel is not None:
            bars = np.empty_like(out)
            h_bar: Any = np.zeros((rows, n), out.dtype)
            kernel(blocks_of(h), *given, bars, h_bar, steps, rows, n, relu)
            return bars, h_bar, weight_bar(bars, h, out)
    h_bar = 0
    back: list[Any] = []
    for t in reversed(range(steps)):
        h_bar = out_bar[t] + h_bar
        back.append(select(out[t] > 0, h_bar, 0.0) if relu else h_bar * (1 - out[t] * out[t]))
        h_bar = np.matmul(back[-1], weight)
    bars = np.stack(back[::-1])
    return bars, h_bar, weight_bar(bars, h, out)


rnn_ = structural(
    "rnn", rnn_forward, shares=rnn_adjoint, inputs=("x", "h", "weight"),
    grad_name="StackBackward0",
)  # fmt: skip


# -- for those who change it -----------------------------------------------------------------------


def states_forward(x):
    return x.copy()


def states_x(out_bar):
    return out_bar


#: States that may be changed in place: those that the rules read stay as they are.
states_ = structural("states", states_forward, states_x, grad_name="StackBackward0")


# -- for `nn` --------------------------------------------------------------------------------------


def run_layer(mode: str, x: Any, states: Any, weight: Any, bias: Any) -> tuple[Any, Any]:
    """The states after each step, and a tuple of the last ones.

    Args:
        mode: LSTM, GRU, RNN_TANH or RNN_RELU.
        x: the linear map of the input at each step, (steps, rows, gates * size).
        states: the first state (rows, size); of an LSTM the first cell, too.
        weight: of the linear map of the state; ``bias``: its bias, or None (only of a GRU).
    """
    if mode == "LSTM":
        hs, cs, _ = lstm_(x, *states, weight)
        return hs, (hs[-1], cs[-1])
    if mode == "GRU":
        if bias is None:
            bias = np.zeros(weight._spec.shape[:1], weight._spec.dtype)
        hs, _ = gru_(x, *states, weight, bias)
    else:
        hs = rnn_(x, *states, weight, mode == "RNN_RELU")
    return hs, (hs[-1],)


def run_cell(mode: str, x: Any, states: Any, weight: Any, bias: Any) -> tuple[Any, ...]:
    """The states after one step, the output first: as `run_layer`, without the steps.

    Here every mode may have a bias.
    """
    own = linear(states[0], weight, bias)
    if mode == "GRU":
        return (gru_cell_(x, own, states[0]),)
    gates = x + own
    if mode == "LSTM":
        before = states[1]
        if before.dtype != gates.dtype:
            dtype = promote_types(before.dtype, gates.dtype)
            before, gates = before.to(dtype), gates.to(dtype)
        cell = lstm_cell_(gates, before)
        return lstm_output_(gates, tanh(cell)), cell
    return (tanh(gates) if mode == "RNN_TANH" else gates.relu(),)

"""Recurrent layers over whole sequences: LSTM (Hochreiter & Schmidhuber 1997), GRU (Cho 2014), RNN.

A primitive is given what the linear map of the input makes of all steps, (steps, rows, gates *
size), since that is one product; the first states (rows, size); and the weight of the linear map of
the state, (gates * size, size). It gives the states after each step, (steps, rows, size), and what
its rule needs besides: the activations, which may be differentiated like any result.

The rule goes the steps back: it finds the adjoint of what a step's activations are functions of,
hands on what the state before is given, and in the end has the weight's share as one product.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.fused import fused
from tapegrad.primitive import select, structural
from tapegrad.rules.exponential import sigmoid_forward
from tapegrad.rules.reductions import sum_


def parts(x, count):
    """The last dimension in so many equal parts."""
    n = x.shape[-1] // count
    return [x[..., k * n : (k + 1) * n] for k in range(count)]


def bar_or_zeros(bar, value):
    """The adjoint of a result; zeros if it has none."""
    if bar is not None:
        return bar
    return np.zeros(tuple(value.shape), getattr(value.dtype, "numpy", value.dtype))


def weight_bar(bars, h, hs):
    """The share of the weight by which the states before each step were multiplied."""
    first = np.matmul(np.swapaxes(bars[0], 0, 1), h)
    if len(bars) == 1:
        return first
    later = np.reshape(bars[1:], (-1, bars.shape[-1]))
    return first + np.matmul(np.swapaxes(later, 0, 1), np.reshape(hs[:-1], (-1, h.shape[-1])))


def in_one_piece(*arrays):
    return [np.ascontiguousarray(x) for x in arrays]


# -- LSTM: c' = f c + i g, h' = o tanh(c') ---------------------------------------------------------


def lstm_forward(x, h, c, weight):
    x, h, c, turned = in_one_piece(x, h, c, weight.T)
    hs, cs = np.empty((2, len(x), *h.shape), x.dtype)
    acts = np.empty_like(x)
    kernel = fused("lstm", x, h, c, turned)
    if kernel is not None:
        # One share of work: BLAS has threads of its own.
        kernel(len(h), x, h, c, turned, hs, cs, acts, len(x), *h.shape, work=1)
        return hs, cs, acts
    with np.errstate(all="ignore"):
        for t in range(len(x)):
            i, f, g, o = parts(x[t] + h @ turned, 4)
            i, f, g, o = sigmoid_forward(i), sigmoid_forward(f), np.tanh(g), sigmoid_forward(o)
            c = f * c + i * g
            h = o * np.tanh(c)
            hs[t], cs[t], acts[t] = h, c, np.concatenate((i, f, g, o), -1)
    return hs, cs, acts


def lstm_adjoint(out_bar, x, h, c, weight, out, *shapes):
    """The shares of all inputs at once: of arrays in machine code, where it is there."""
    h_bars, c_bars, acts_bars = out_bar
    hs, cs, acts = out
    steps, rows, n = hs.shape
    h_bars = bar_or_zeros(h_bars, hs)
    arrays = type(h_bars) is type(acts) is np.ndarray and acts_bars is None
    if arrays:
        of_cells = c_bars is not None
        given = in_one_piece(h_bars, c_bars if of_cells else h_bars, cs, acts, c, weight)
        kernel = fused("lstm_adjoint", *given)
        if kernel is not None:
            bars, (h_bar, c_bar) = np.empty_like(acts), np.zeros((2, rows, n), acts.dtype)
            kernel(rows, *given, bars, h_bar, c_bar, steps, rows, n, of_cells, work=1)
            return bars, h_bar, c_bar, weight_bar(bars, h, hs)
    i, f, g, o = parts(acts, 4)
    slopes = np.concatenate((i * (1 - i), f * (1 - f), 1 - g * g, o * (1 - o)), -1)
    tanh = np.tanh(cs)
    through = o * (1 - tanh * tanh)
    h_bar = c_bar = None
    back: list[Any] = []
    for t in reversed(range(steps)):
        h_bar = h_bars[t] if h_bar is None else h_bars[t] + h_bar
        share = h_bar * through[t] if c_bars is None else h_bar * through[t] + c_bars[t]
        c_bar = share if c_bar is None else share + c_bar
        before = cs[t - 1] if t else c
        bar = np.concatenate((c_bar * g[t], c_bar * before, c_bar * i[t], h_bar * tanh[t]), -1)
        back.append((bar if acts_bars is None else bar + acts_bars[t]) * slopes[t])
        c_bar = c_bar * f[t]
        h_bar = np.matmul(back[-1], weight)
    bars = np.stack(back[::-1])
    return bars, h_bar, c_bar, weight_bar(bars, h, hs)


def lstm_x(out_bar, h, c, weight, out):
    return lstm_adjoint(out_bar, None, h, c, weight, out)[0]


def lstm_h(out_bar, h, c, weight, out):
    return lstm_adjoint(out_bar, None, h, c, weight, out)[1]


def lstm_c(out_bar, h, c, weight, out):
    return lstm_adjoint(out_bar, None, h, c, weight, out)[2]


def lstm_weight(out_bar, h, c, weight, out):
    return lstm_adjoint(out_bar, None, h, c, weight, out)[3]


#: The states, the cells, and the activations i, f, g and o.
lstm_ = structural(
    "lstm", lstm_forward, lstm_x, lstm_h, lstm_c, lstm_weight, outputs=3, together=lstm_adjoint,
    inputs=("x", "h", "c", "weight"), grad_name="MkldnnRnnLayerBackward0",
)  # fmt: skip


# -- GRU: n = tanh(x_n + r (W h + b)_n), h' = n + z (h - n) ----------------------------------------


def gru_forward(x, h, weight, bias):
    x, h, turned, bias = in_one_piece(x, h, weight.T, bias)
    steps, (rows, n) = len(x), h.shape
    hs, acts = np.empty((steps, rows, n), x.dtype), np.empty((steps, rows, 4 * n), x.dtype)
    kernel = fused("gru", x, h, turned, bias)
    if kernel is not None:
        room = np.empty((rows, 3 * n), x.dtype)
        kernel(rows, x, h, turned, bias, hs, acts, room, steps, rows, n, work=1)
        return hs, acts
    with np.errstate(all="ignore"):
        for t in range(steps):
            own_r, own_z, own = parts(h @ turned + bias, 3)
            r, z, new = parts(x[t], 3)
            r, z = sigmoid_forward(r + own_r), sigmoid_forward(z + own_z)
            new = np.tanh(new + r * own)
            h = new + z * (h - new)
            hs[t], acts[t] = h, np.concatenate((r, z, new, own), -1)
    return hs, acts


def gru_adjoint(out_bar, x, h, weight, bias, out, *shapes):
    """As `lstm_adjoint`."""
    h_bars, acts_bars = out_bar
    hs, acts = out
    steps, rows, n = hs.shape
    h_bars = bar_or_zeros(h_bars, hs)
    if type(h_bars) is type(acts) is np.ndarray and acts_bars is None:
        given = in_one_piece(h_bars, hs, acts, h, weight)
        kernel = fused("gru_adjoint", *given)
        if kernel is not None:
            bars, own_bars = np.empty((2, steps, rows, 3 * n), acts.dtype)
            h_bar, room = np.zeros((2, rows, n), acts.dtype)
            kernel(rows, *given, bars, own_bars, h_bar, room, steps, rows, n, work=1)
            return bars, h_bar, weight_bar(own_bars, h, hs), sum_(own_bars, (0, 1), False)
    r, z, new, own = parts(acts, 4)
    r_slope, z_slope, new_slope = r * (1 - r), z * (1 - z), 1 - new * new
    h_bar = None
    back: list[Any] = []
    own_back: list[Any] = []
    for t in reversed(range(steps)):
        h_bar = h_bars[t] if h_bar is None else h_bars[t] + h_bar
        before = hs[t - 1] if t else h
        z_bar, new_bar = h_bar * (before - new[t]), h_bar * (1 - z[t])
        if acts_bars is not None:
            r_more, z_more, new_more, own_more = parts(acts_bars[t], 4)
            z_bar, new_bar = z_bar + z_more, new_bar + new_more
        new_bar = new_bar * new_slope[t]
        r_bar, own_bar = new_bar * own[t], new_bar * r[t]
        if acts_bars is not None:
            r_bar, own_bar = r_bar + r_more, own_bar + own_more
        r_bar, z_bar = r_bar * r_slope[t], z_bar * z_slope[t]
        back.append(np.concatenate((r_bar, z_bar, new_bar), -1))
        own_back.append(np.concatenate((r_bar, z_bar, own_bar), -1))
        h_bar = h_bar * z[t] + np.matmul(own_back[-1], weight)
    bars, own_bars = np.stack(back[::-1]), np.stack(own_back[::-1])
    return bars, h_bar, weight_bar(own_bars, h, hs), sum_(own_bars, (0, 1), False)


def gru_x(out_bar, h, weight, out):
    return gru_adjoint(out_bar, None, h, weight, None, out)[0]


def gru_h(out_bar, h, weight, out):
    return gru_adjoint(out_bar, None, h, weight, None, out)[1]


def gru_weight(out_bar, h, weight, out):
    return gru_adjoint(out_bar, None, h, weight, None, out)[2]


def gru_bias(out_bar, h, weight, out):
    return gru_adjoint(out_bar, None, h, weight, None, out)[3]


#: The states; and the activations r, z and n, and what r is multiplied by.
gru_ = structural(
    "gru", gru_forward, gru_x, gru_h, gru_weight, gru_bias, outputs=2, together=gru_adjoint,
    inputs=("x", "h", "weight", "bias"), grad_name="StackBackward0",
)  # fmt: skip


# -- RNN: h' = tanh(x + W h), or relu --------------------------------------------------------------


def rnn_forward(x, h, weight, relu):
    turned = weight.T
    hs = np.empty((len(x), *h.shape), x.dtype)
    with np.errstate(all="ignore"):
        for t in range(len(x)):
            h = np.matmul(h, turned, out=hs[t])
            h += x[t]
            if relu:
                np.maximum(h, 0, out=h)
            else:
                np.tanh(h, out=h)
    return hs


def rnn_adjoint(out_bar, x, h, weight, out, relu, *shapes):
    """As `lstm_adjoint`, over NumPy's functions."""
    h_bar = None
    back: list[Any] = []
    for t in reversed(range(len(out))):
        h_bar = out_bar[t] if h_bar is None else out_bar[t] + h_bar
        back.append(select(out[t] > 0, h_bar, 0.0) if relu else h_bar * (1 - out[t] * out[t]))
        h_bar = np.matmul(back[-1], weight)
    bars = np.stack(back[::-1])
    return bars, h_bar, weight_bar(bars, h, out)


def rnn_x(out_bar, h, weight, out, relu):
    return rnn_adjoint(out_bar, None, h, weight, out, relu)[0]


def rnn_h(out_bar, h, weight, out, relu):
    return rnn_adjoint(out_bar, None, h, weight, out, relu)[1]


def rnn_weight(out_bar, h, weight, out, relu):
    return rnn_adjoint(out_bar, None, h, weight, out, relu)[2]


rnn_ = structural(
    "rnn", rnn_forward, rnn_x, rnn_h, rnn_weight, together=rnn_adjoint,
    inputs=("x", "h", "weight"), grad_name="StackBackward0",
)  # fmt: skip


# -- for those who change it -----------------------------------------------------------------------


def states_forward(x):
    return x.copy()


def states_x(out_bar):
    return out_bar


#: States that may be changed in place: those that the rules read stay as they are.
states_ = structural("states", states_forward, states_x, grad_name="StackBackward0")


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

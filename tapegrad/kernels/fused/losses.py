"""Losses of each element: see `rules.losses`.

In adjoints ``each`` says whether the elements have each their own ``bar``, or one for all.
"""

from __future__ import annotations

from tapegrad.kernels import vectormath as np
from tapegrad.kernels.fused.lanes import Array, Int, Real
from tapegrad.kernels.native import like


def bce_logits(begin: Int, end: Int, x: Array, y: Array, out: Array) -> None:
    one = like(x[0], 1)
    for i in range(begin, end):
        out[i] = np.softplus(-x[i]) + (one - y[i]) * x[i]


def bce_logits_x(
    begin: Int, end: Int, bar: Array, x: Array, y: Array, x_bar: Array, each: Int
) -> None:
    one = like(x[0], 1)
    # (With a step in the index LLVM vectorises neither.)
    if each:
        for i in range(begin, end):
            x_bar[i] = (one / (np.exp(-x[i]) + one) - y[i]) * bar[i]
    else:
        share = bar[0]
        for i in range(begin, end):
            x_bar[i] = (one / (np.exp(-x[i]) + one) - y[i]) * share


def bce_x(begin: Int, end: Int, bar: Array, x: Array, y: Array, x_bar: Array, each: Int) -> None:
    one, least = like(x[0], 1), like(x[0], 1e-12)
    if each:
        for i in range(begin, end):
            x_bar[i] = bar[i] * (x[i] - y[i]) / np.maximum((one - x[i]) * x[i], least)
    else:
        share = bar[0]
        for i in range(begin, end):
            x_bar[i] = share * (x[i] - y[i]) / np.maximum((one - x[i]) * x[i], least)


def huber(begin: Int, end: Int, x: Array, y: Array, out: Array, delta: Real, scale: Real) -> None:
    half = like(x[0], 0.5)
    for i in range(begin, end):
        size = abs(x[i] - y[i])
        near = np.minimum(size, delta)
        out[i] = near * (size - half * near) / scale


def huber_x(
    begin: Int, end: Int, bar: Array, x: Array, y: Array, x_bar: Array, each: Int, delta: Real,
    scale: Real,
) -> None:  # fmt: skip
    if each:
        for i in range(begin, end):
            slope = np.minimum(np.maximum(x[i] - y[i], -delta), delta)
            x_bar[i] = bar[i] * (slope / scale)
    else:
        share = bar[0]
        for i in range(begin, end):
            slope = np.minimum(np.maximum(x[i] - y[i], -delta), delta)
            x_bar[i] = share * (slope / scale)

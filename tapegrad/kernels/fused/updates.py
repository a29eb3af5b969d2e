"""Updates of parameters by their gradients, of all in one call: see `optim.optimizer`.

A table has a row for each parameter: how many elements, and the ids of its array, its gradient's
and those of its state. The elements of all, one after the other, are done in equal parts.
"""

from __future__ import annotations

import math
from typing import Any

from numba import carray
from numba.extending import register_jitable

from tapegrad.kernels.fused.lanes import Indices, Int, Real
from tapegrad.kernels.native import DATA, load64, pointer_to, size_of


@register_jitable
def run_of(table: Any, at: Any, start: Any, count: Any, zero: Any) -> Any:
    """Some elements of the array whose id is at a position in the table."""
    address = load64(table[at] + DATA) + start * size_of(zero)
    return carray(pointer_to(address, zero), count)


@register_jitable
def descend(x: Any, g: Any, sign: Any, decay: Any, lr: Any) -> None:
    for i in range(len(x)):
        share = g[i] * sign
        share = x[i] * decay + share if decay != 0 else share
        x[i] -= lr * share


@register_jitable
def descend_on(
    x: Any, g: Any, b: Any, sign: Any, decay: Any, lr: Any, momentum: Any, fresh: Any, nesterov: Any
) -> None:
    for i in range(len(x)):
        share = g[i] * sign
        share = x[i] * decay + share if decay != 0 else share
        kept = b[i] * momentum + share * fresh
        b[i] = kept
        x[i] -= lr * (share + momentum * kept if nesterov else kept)


@register_jitable
def step_by_moments(
    x: Any, g: Any, m: Any, v: Any, sign: Any, decay: Any, kept: Any, means: Any, scale: Any,
    eps: Any, rate: Any,
) -> None:  # fmt: skip
    for i in range(len(x)):
        share = g[i] * sign
        share = x[i] * decay + share if decay != 0 else share
        first = m[i] + (share - m[i]) * means[0]
        second = v[i] * means[1] + share * share * means[2]
        m[i] = first
        v[i] = second
        x[i] = x[i] * kept - first / (math.sqrt(second) / scale + eps) * rate


def sgd_update(
    begin: Int, end: Int, table: Indices, columns: Int, parts: Int, total: Int, lr: Real,
    momentum: Real, fresh: Real, decay: Real, sign: Real, nesterov: Int,
) -> None:  # fmt: skip
    for part in range(begin, end):
        low, high = total * part // parts, total * (part + 1) // parts
        start = 0
        for row in range(0, len(table), columns):
            stop = start + table[row]
            at, count = max(low - start, 0), min(high, stop) - max(low, start)
            start = stop
            if count <= 0:
                continue
            x, g = run_of(table, row + 1, at, count, lr), run_of(table, row + 2, at, count, lr)
            if momentum == 0:
                descend(x, g, sign, decay, lr)
            else:
                b = run_of(table, row + 3, at, count, lr)
                descend_on(x, g, b, sign, decay, lr, momentum, fresh, nesterov)


def adam_update(
    begin: Int, end: Int, table: Indices, columns: Int, parts: Int, total: Int, rate: Real,
    fresh1: Real, beta2: Real, fresh2: Real, scale: Real, eps: Real, decay: Real, kept: Real,
    sign: Real,
) -> None:  # fmt: skip
    means = (fresh1, beta2, fresh2)
    for part in range(begin, end):
        low, high = total * part // parts, total * (part + 1) // parts
        start = 0
        for row in range(0, len(table), columns):
            stop = start + table[row]
            at, count = max(low - start, 0), min(high, stop) - max(low, start)
            start = stop
            if count <= 0:
                continue
            x, g = run_of(table, row + 1, at, count, rate), run_of(table, row + 2, at, count, rate)
            m, v = run_of(table, row + 3, at, count, rate), run_of(table, row + 4, at, count, rate)
            step_by_moments(x, g, m, v, sign, decay, kept, means, scale, eps, rate)

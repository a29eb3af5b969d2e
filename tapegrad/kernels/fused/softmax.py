"""Softmax and its logarithm along the last axis: see `rules.softmax`."""

from __future__ import annotations

from typing import Any

from numba.extending import register_jitable

from tapegrad.kernels import vectormath as np
from tapegrad.kernels.fused.lanes import Array, Indices, Int, added, larger, part, rank, ranked_as
from tapegrad.kernels.native import like


def softmax(begin: Int, end: Int, x: Array, out: Array, n: Int) -> None:
    for i in range(begin, end):
        row, to = part(x, i, n), part(out, i, n)
        # Of nan it doesn't matter what it is: the sum is nan anyway.
        highest = rank(row[0])
        for j in range(n):
            highest = larger(highest, row[j])
        most = ranked_as(highest)
        total = like(row[0], 0)
        for j in range(n):
            to[j] = np.exp(row[j] - most)
            total = added(total, to[j])
        for j in range(n):
            to[j] /= total


@register_jitable
def softmax_row(row: Any, y: Any, to: Any, add: Any) -> None:
    """The adjoint of a row of softmax: stored, or added."""
    total = like(row[0], 0)
    for j in range(len(row)):
        total = added(total, row[j] * y[j])
    for j in range(len(row)):
        share = (row[j] - total) * y[j]
        to[j] = to[j] + share if add else share


def softmax_x(begin: Int, end: Int, bar: Array, out: Array, x_bar: Array, n: Int) -> None:
    for i in range(begin, end):
        softmax_row(part(bar, i, n), part(out, i, n), part(x_bar, i, n), False)


def log_softmax(begin: Int, end: Int, x: Array, out: Array, n: Int) -> None:
    for i in range(begin, end):
        row, to = part(x, i, n), part(out, i, n)
        highest = rank(row[0])
        for j in range(n):
            highest = larger(highest, row[j])
        most = ranked_as(highest)
        total = like(row[0], 0)
        for j in range(n):
            to[j] = row[j] - most
            total = added(total, np.exp(to[j]))
        total = np.log(total)
        for j in range(n):
            to[j] -= total


@register_jitable
def log_softmax_row(row: Any, y: Any, to: Any, add: Any) -> None:
    """The adjoint of a row of log_softmax: stored, or added."""
    total = like(row[0], 0)
    for j in range(len(row)):
        total = added(total, row[j])
    for j in range(len(row)):
        share = row[j] - np.exp(y[j]) * total
        to[j] = to[j] + share if add else share


def log_softmax_x(begin: Int, end: Int, bar: Array, out: Array, x_bar: Array, n: Int) -> None:
    for i in range(begin, end):
        log_softmax_row(part(bar, i, n), part(out, i, n), part(x_bar, i, n), False)


def known_classes(begin: Int, end: Int, target: Indices, found: Indices, ignored: Int) -> None:
    """The least and the greatest class, and how many elements are ``ignored``, of all of them."""
    least, greatest, count = target[0], target[0], 0
    for i in range(target.size):
        least, greatest = min(least, target[i]), max(greatest, target[i])
        count += target[i] == ignored
    found[0], found[1], found[2] = least, greatest, count


def nll(begin: Int, end: Int, x: Array, target: Indices, out: Array, n: Int, by: Int) -> None:
    """The sum of the elements of the classes, negated, over ``by``; in one part."""
    total = 0.0
    for i in range(target.size):
        total -= x[i * n + target[i]]
    out[0] = like(x[0], total / by)

"""The first of many elements in order, see `rules.sorting`; running extrema."""

from __future__ import annotations

from typing import Any

from numba.extending import register_jitable

from tapegrad.kernels.fused.lanes import Array, Indices, Int, part


@register_jitable
def precedes(x: Any, y: Any, descending: Any) -> Any:
    """Whether a number comes before another one; nan is the largest."""
    if descending:
        return x > y or (x != x and y == y)
    return x < y or (y != y and x == x)


def leading(
    begin: Int, end: Int, x: Array, order: Indices, n: Int, k: Int, descending: Int
) -> None:
    """The positions of the first k elements of each row of n, in order; of equal ones the first."""
    for i in range(begin, end):
        row, places = part(x, i, n), order[i * k : (i + 1) * k]
        for j in range(n):
            # `full` places are taken; an element moves up past those that it precedes.
            full = min(j, k)
            if full == k and not precedes(row[j], row[places[k - 1]], descending):
                continue
            at = min(full, k - 1)
            while at > 0 and precedes(row[j], row[places[at - 1]], descending):
                places[at] = places[at - 1]
                at -= 1
            places[at] = j


def running_extrema(begin: Int, end: Int, x: Array, index: Indices, n: Int, largest: Int) -> None:
    """Where the extrema are up to each element of rows of n: the last ones, or the last nan."""
    for i in range(begin, end):
        row, places = part(x, i, n), part(index, i, n)
        at = 0
        for j in range(n):
            best, value = row[at], row[j]
            attained = value >= best if largest else value <= best
            at = j if attained or value != value else at
            places[j] = at

"""Sums over leading dimensions: see `broadcast`."""

from __future__ import annotations

from tapegrad.kernels.fused.lanes import Array, Int
from tapegrad.kernels.native import like


def column_sums(begin: Int, end: Int, x: Array, parts: Array, rows: Int, n: Int, per: Int) -> None:
    """``parts[i]``: the sum of the i-th ``per`` rows of n elements."""
    for i in range(begin, end):
        to = parts[i * n : (i + 1) * n]
        for k in range(n):
            to[k] = like(x[0], 0)
        r, last = i * per, min((i + 1) * per, rows)
        while r + 4 <= last:
            four = x[r * n : (r + 4) * n]
            for k in range(n):
                to[k] += (four[k] + four[n + k]) + (four[2 * n + k] + four[3 * n + k])
            r += 4
        while r < last:
            one = x[r * n : (r + 1) * n]
            for k in range(n):
                to[k] += one[k]
            r += 1

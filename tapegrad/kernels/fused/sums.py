"""Sums over leading dimensions, and over the last ones: see `tapegrad.sums`. Running sums."""

from __future__ import annotations

from tapegrad.kernels.fused.lanes import Array, Int, Real, part, part_at, squares_of, total_of
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


def row_sums(begin: Int, end: Int, x: Array, parts: Array, n: Int, pieces: Int, per: Int) -> None:
    """``parts[i, j]``: the sum of the j-th ``per`` elements of the i-th row of n."""
    for k in range(begin, end):
        row, first = k // pieces, k % pieces * per
        piece = part_at(x, row * n + first, min(per, n - first))
        parts[k] = like(x[0], total_of(piece))


def row_squares(
    begin: Int, end: Int, x: Array, parts: Array, n: Int, pieces: Int, per: Int
) -> None:
    """The same of the squares."""
    zero = like(x[0], 0)
    for k in range(begin, end):
        row, first = k // pieces, k % pieces * per
        piece = part_at(x, row * n + first, min(per, n - first))
        parts[k] = like(zero, squares_of(piece, zero))


def variances(begin: Int, end: Int, x: Array, out: Array, n: Int, divisor: Real) -> None:
    """``out[i]``: the squared distances from the mean in the i-th row of n, added and divided."""
    for i in range(begin, end):
        row = part(x, i, n)
        mean = like(x[0], total_of(row) / n)
        out[i] = like(mean, squares_of(row, mean) / divisor)


def running_sums(begin: Int, end: Int, x: Array, out: Array, n: Int, step: Int) -> None:
    """Along rows of n, with a step of 1 from their first elements, of -1 from their last ones."""
    for i in range(begin, end):
        row, to = part(x, i, n), part(out, i, n)
        k = 0 if step > 0 else n - 1
        total = 0.0
        for _ in range(n):
            total += row[k]
            to[k] = like(row[0], total)
            k += step

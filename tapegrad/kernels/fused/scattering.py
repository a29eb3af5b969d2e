"""Rows added at positions that may repeat, see `rules.positions`; elements taken at positions."""

from __future__ import annotations

from tapegrad.kernels.fused.lanes import Array, Indices, Int, part


def add_rows(
    begin: Int, end: Int, target: Array, index: Indices, rows: Array, n: Int, width: Int,
    shares: Int,
) -> None:  # fmt: skip
    # Each share has its own rows of the target, and goes through the index in its order.
    m = len(index)
    for both in range(begin, end):
        block, share = both // shares, both % shares
        low, high = n * share // shares, n * (share + 1) // shares
        start, given = block * n * width, block * m * width
        if width == 1:
            for k in range(m):
                if low <= index[k] < high:
                    target[start + index[k]] += rows[given + k]
            continue
        for k in range(m):
            if low <= index[k] < high:
                to = target[start + index[k] * width : start + (index[k] + 1) * width]
                row = rows[given + k * width : given + (k + 1) * width]
                for j in range(width):
                    to[j] += row[j]


def gathered(
    begin: Int, end: Int, x: Array, index: Indices, out: Array, n: Int, count: Int, width: Int
) -> None:
    """``out[b, i, k] = x[b, index[b, i, k], k]``, for blocks of n and of ``count`` rows."""
    for b in range(begin, end):
        block = part(x, b, n * width)
        places, to = part(index, b, count * width), part(out, b, count * width)
        if width == 1:
            for i in range(count):
                to[i] = block[places[i]]
            continue
        for i in range(0, count * width, width):
            for k in range(width):
                to[i + k] = block[places[i + k] * width + k]

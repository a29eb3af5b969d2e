"""Rows added at positions that may repeat: see `rules.positions`."""

from __future__ import annotations

from tapegrad.kernels.fused.lanes import Array, Indices, Int


def add_rows(
    begin: Int, end: Int, target: Array, index: Indices, rows: Array, n: Int, width: Int,
    shares: Int,
) -> None:  # fmt: skip
    # Each share has its own rows of the target, and goes through the index in its order.
    m = len(index)
    for part in range(begin, end):
        block, share = part // shares, part % shares
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

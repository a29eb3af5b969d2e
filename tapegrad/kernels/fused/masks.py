"""What a mask hides; the mask is repeated over leading dimensions."""

from __future__ import annotations

from tapegrad.kernels import vectormath as np
from tapegrad.kernels.fused.lanes import (
    Array,
    Bools,
    Int,
    Real,
    added,
    larger,
    part,
    rank,
    ranked_as,
)
from tapegrad.kernels.native import like


def masked_fill(begin: Int, end: Int, x: Array, mask: Bools, out: Array, value: Real) -> None:
    n = mask.size
    for i in range(begin, end):
        row, to = part(x, i, n), part(out, i, n)
        for j in range(n):
            to[j] = value if mask[j] else row[j]


def masked_softmax(begin: Int, end: Int, x: Array, hidden: Bools, out: Array, n: Int) -> None:
    """The softmax of rows of n elements over those that aren't hidden; 0 where all are."""
    rows = hidden.size // n
    for i in range(begin, end):
        row, mask, to = part(x, i, n), part(hidden, i % rows, n), part(out, i, n)
        seen = n  # up to here; of a causal mask that is half of it
        while seen > 0 and mask[seen - 1]:
            seen -= 1
        for j in range(seen, n):
            to[j] = like(row[0], 0)
        row, mask, to = row[:seen], mask[:seen], to[:seen]
        if seen == 0:
            continue
        lowest = like(row[0], -np.inf)
        highest = rank(lowest)
        for j in range(seen):
            to[j] = lowest if mask[j] else row[j]
        for j in range(seen):
            highest = larger(highest, to[j])
        most = ranked_as(highest)
        total = like(row[0], 0)
        for j in range(seen):
            to[j] = np.exp(to[j] - most)
            total = added(total, to[j])
        scale = like(total, 1) / total
        for j in range(seen):
            to[j] *= scale

"""Losses of each element: see `rules.losses`."""

from __future__ import annotations

from tapegrad.kernels import vectormath as np
from tapegrad.kernels.fused.lanes import Array, Int
from tapegrad.kernels.native import like


def bce_logits(begin: Int, end: Int, x: Array, y: Array, out: Array) -> None:
    one = like(x[0], 1)
    for i in range(begin, end):
        out[i] = np.softplus(-x[i]) + (one - y[i]) * x[i]

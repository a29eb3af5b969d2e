"""Standardised rows, of which `rules.normalization` tells what they are.

A row is ``pieces`` runs of ``inner`` elements, ``piece`` apart; the next row begins ``row`` later.
The weight and bias of a row are those from ``(r % groups) * own``: one for each element of a run
if ``each``, else one for each run, ``step`` apart. Totals are added up in float64.
"""

from __future__ import annotations

from numba import types

from tapegrad.kernels import vectormath as np
from tapegrad.kernels.fused.lanes import RUN, Array, Int, Real, added, part_at, total_of
from tapegrad.kernels.native import like


def standard(
    begin: Int, end: Int, x: Array, weight: Array, bias: Array, out: Array, centre: Array,
    var: Array, pieces: Int, inner: Int, row: Int, piece: Int, groups: Int, own: Int, step: Int,
    each: Int, eps: Real,
) -> None:  # fmt: skip
    count = types.float64(pieces * inner)
    for r in range(begin, end):
        total = 0.0
        for p in range(pieces):
            at = r * row + p * piece
            total += total_of(x[at : at + inner])
        mean = like(eps, total / count)
        total = 0.0
        for p in range(pieces):
            at = r * row + p * piece
            for start in range(at, at + inner, RUN):
                run = x[start : min(start + RUN, at + inner)]
                squares = like(eps, 0)
                for k in range(run.size):
                    centred = run[k] - mean
                    squares = added(squares, centred * centred)
                total += squares
        centre[r] = mean
        var[r] = like(eps, total / count)
        scale = 1 / np.sqrt(var[r] + eps)
        for p in range(pieces):
            at = r * row + p * piece
            run, to = x[at : at + inner], out[at : at + inner]
            w, b = weight[r % groups * own + p * step :], bias[r % groups * own + p * step :]
            if each:
                for k in range(inner):
                    to[k] = (run[k] - mean) * scale * w[k] + b[k]
            else:
                w_0, b_0 = w[0], b[0]
                for k in range(inner):
                    to[k] = (run[k] - mean) * scale * w_0 + b_0


def standard_x(
    begin: Int, end: Int, bar: Array, x: Array, weight: Array, centre: Array, var: Array,
    x_bar: Array, pieces: Int, inner: Int, row: Int, piece: Int, groups: Int, own: Int, step: Int,
    each: Int, eps: Real,
) -> None:  # fmt: skip
    count = types.float64(pieces * inner)
    for r in range(begin, end):
        mean, scale = centre[r], 1 / np.sqrt(var[r] + eps)
        total, total_along = 0.0, 0.0
        for p in range(pieces):
            at = r * row + p * piece
            own_weight = weight[r % groups * own + p * step :]
            for start in range(0, inner, RUN):
                m = min(RUN, inner - start)
                share, run = part_at(bar, at + start, m), part_at(x, at + start, m)
                to = part_at(x_bar, at + start, m)
                if each:
                    w = part_at(own_weight, start, m)
                    for k in range(m):
                        to[k] = share[k] * w[k]
                else:
                    w_0 = own_weight[0]
                    for k in range(m):
                        to[k] = share[k] * w_0
                bars, along = like(eps, 0), like(eps, 0)
                for k in range(m):
                    bars = added(bars, to[k])
                    along = added(along, to[k] * (run[k] - mean))
                total += bars
                total_along += along
        bars = like(eps, total / count)
        along = like(eps, total_along / count) * (scale * scale)
        for p in range(pieces):
            at = r * row + p * piece
            run, to = x[at : at + inner], x_bar[at : at + inner]
            for k in range(inner):
                to[k] = (to[k] - bars - (run[k] - mean) * along) * scale


def standard_y(
    begin: Int, end: Int, bar: Array, x: Array, centre: Array, var: Array, parts: Array,
    pieces: Int, inner: Int, row: Int, piece: Int, eps: Real,
) -> None:  # fmt: skip
    """``parts[r, p]``: the sum over a run of ``bar`` times the standardised x."""
    for r in range(begin, end):
        mean, scale = centre[r], 1 / np.sqrt(var[r] + eps)
        for p in range(pieces):
            at = r * row + p * piece
            total = 0.0
            for start in range(0, inner, RUN):
                m = min(RUN, inner - start)
                share, run = part_at(bar, at + start, m), part_at(x, at + start, m)
                along = like(eps, 0)
                for k in range(m):
                    along = added(along, share[k] * (run[k] - mean))
                total += along
            parts[r * pieces + p] = like(eps, total) * scale


def standard_y_each(
    begin: Int, end: Int, bar: Array, x: Array, centre: Array, var: Array, parts: Array,
    rows: Int, n: Int, per: Int, eps: Real,
) -> None:  # fmt: skip
    """``parts[i]``: the sum of ``bar`` times the standardised x over the i-th ``per`` rows."""
    for i in range(begin, end):
        to = parts[i * n : (i + 1) * n]
        for k in range(n):
            to[k] = like(eps, 0)
        for r in range(i * per, min((i + 1) * per, rows)):
            mean, scale = centre[r], 1 / np.sqrt(var[r] + eps)
            share, run = bar[r * n : (r + 1) * n], x[r * n : (r + 1) * n]
            for k in range(n):
                to[k] += share[k] * ((run[k] - mean) * scale)

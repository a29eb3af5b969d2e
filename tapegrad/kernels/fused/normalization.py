"""Standardised rows, of which `rules.normalization` tells what they are.

A row is ``pieces`` runs of ``inner`` elements, ``piece`` apart; the next row begins ``row`` later.
The weight and bias of a row are those from ``(r % groups) * own``, one for each run, ``step``
apart. A row of `layer` is one run of n elements, each with a weight; those of rms norm aren't
``centred``. Totals are added up in float64.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import register_jitable

from tapegrad.kernels import vectormath as np
from tapegrad.kernels.fused.lanes import RUN, Array, Int, Real, added, part, part_at, total_of
from tapegrad.kernels.native import like


def standard(
    begin: Int, end: Int, x: Array, weight: Array, bias: Array, out: Array, centre: Array,
    var: Array, pieces: Int, inner: Int, row: Int, piece: Int, groups: Int, own: Int, step: Int,
    eps: Real,
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
            w, b = weight[r % groups * own + p * step], bias[r % groups * own + p * step]
            for k in range(inner):
                to[k] = (run[k] - mean) * scale * w + b


def standard_x(
    begin: Int, end: Int, bar: Array, x: Array, weight: Array, centre: Array, var: Array,
    x_bar: Array, pieces: Int, inner: Int, row: Int, piece: Int, groups: Int, own: Int, step: Int,
    eps: Real,
) -> None:  # fmt: skip
    count = types.float64(pieces * inner)
    for r in range(begin, end):
        mean, scale = centre[r], 1 / np.sqrt(var[r] + eps)
        total, total_along = 0.0, 0.0
        for p in range(pieces):
            at = r * row + p * piece
            w = weight[r % groups * own + p * step]
            for start in range(0, inner, RUN):
                m = min(RUN, inner - start)
                share, run = part_at(bar, at + start, m), part_at(x, at + start, m)
                to = part_at(x_bar, at + start, m)
                for k in range(m):
                    to[k] = share[k] * w
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


@register_jitable
def moments(row: Any, centred: Any, eps: Any) -> Any:
    """The mean of a row, if it is to be centred, and the factor by which it is standardised."""
    n = row.size
    mean = like(eps, total_of(row) / n) if centred else like(eps, 0)
    total = 0.0
    for start in range(0, n, RUN):
        run = part_at(row, start, min(RUN, n - start))
        squares = like(eps, 0)
        for k in range(run.size):
            apart = run[k] - mean
            squares = added(squares, apart * apart)
        total += squares
    return mean, 1 / np.sqrt(like(eps, total / n) + eps)


def layer(
    begin: Int, end: Int, x: Array, weight: Array, bias: Array, out: Array, n: Int, centred: Int,
    eps: Real,
) -> None:  # fmt: skip
    for r in range(begin, end):
        row, to = part(x, r, n), part(out, r, n)
        mean, scale = moments(row, centred, eps)
        for k in range(n):
            to[k] = (row[k] - mean) * scale * weight[k] + bias[k]


@register_jitable
def layer_row(share: Any, row: Any, weight: Any, to: Any, add: Any, centred: Any, eps: Any) -> None:
    """The adjoint of a row: stored, or added."""
    n = row.size
    mean, scale = moments(row, centred, eps)
    total, total_along = 0.0, 0.0
    for start in range(0, n, RUN):
        m = min(RUN, n - start)
        some, run, w = part_at(share, start, m), part_at(row, start, m), part_at(weight, start, m)
        bars, along = like(eps, 0), like(eps, 0)
        for k in range(m):
            own = some[k] * w[k]
            bars = added(bars, own)
            along = added(along, own * (run[k] - mean))
        total += bars
        total_along += along
    bars = like(eps, total / n) if centred else like(eps, 0)
    along = like(eps, total_along / n) * (scale * scale)
    for k in range(n):
        own = (share[k] * weight[k] - bars - (row[k] - mean) * along) * scale
        to[k] = to[k] + own if add else own


def layer_x(
    begin: Int, end: Int, bar: Array, x: Array, weight: Array, x_bar: Array, n: Int, centred: Int,
    eps: Real,
) -> None:  # fmt: skip
    for r in range(begin, end):
        layer_row(part(bar, r, n), part(x, r, n), weight, part(x_bar, r, n), False, centred, eps)


@register_jitable
def weight_row(share: Any, row: Any, to: Any, centred: Any, eps: Any) -> None:
    """Add a row's share of the weight's adjoint."""
    mean, scale = moments(row, centred, eps)
    for k in range(row.size):
        to[k] += share[k] * ((row[k] - mean) * scale)


def layer_y(
    begin: Int, end: Int, bar: Array, x: Array, parts: Array, rows: Int, n: Int, per: Int,
    centred: Int, eps: Real,
) -> None:  # fmt: skip
    """``parts[i]``: the sum of ``bar`` times the standardised x over the i-th ``per`` rows."""
    for i in range(begin, end):
        to = part(parts, i, n)
        for k in range(n):
            to[k] = like(eps, 0)
        for r in range(i * per, min((i + 1) * per, rows)):
            weight_row(part(bar, r, n), part(x, r, n), to, centred, eps)


def columns(
    begin: Int, end: Int, x: Array, centre: Array, scale: Array, bias: Array, out: Array, n: Int
) -> None:
    """Rows of a matrix of which the columns are standardised."""
    for r in range(begin, end):
        row, to = part(x, r, n), part(out, r, n)
        for k in range(n):
            to[k] = (row[k] - centre[k]) * scale[k] + bias[k]


def columns_x(
    begin: Int, end: Int, bar: Array, x: Array, centre: Array, scale: Array, weight: Array,
    shares: Array, along: Array, x_bar: Array, n: Int,
) -> None:  # fmt: skip
    for r in range(begin, end):
        share, row, to = part(bar, r, n), part(x, r, n), part(x_bar, r, n)
        for k in range(n):
            own = share[k] * weight[k] - shares[k] - (row[k] - centre[k]) * along[k]
            to[k] = own * scale[k]

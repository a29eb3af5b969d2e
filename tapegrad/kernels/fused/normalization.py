"""Standardised rows, of which `rules.normalization` tells what they are; and columns.

A row is ``pieces`` runs of ``inner`` elements, ``piece`` apart; the next row begins ``row`` later.
The weight and bias of a row are those from ``(r % groups) * own``, one for each run, ``step``
apart. A row of `layer` is one run of n elements, each with a weight; those of rms norm aren't
``centred``. Totals are added up in float64.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import register_jitable

from tapegrad.fused import COLUMNS
from tapegrad.kernels import vectormath as np
from tapegrad.kernels.fused.lanes import (
    RUN,
    Array,
    Int,
    Real,
    added,
    part,
    part_at,
    room_for,
    squares_of,
    total_of,
)
from tapegrad.kernels.native import like


@register_jitable
def scale_of(var: Any, eps: Any) -> Any:
    return like(eps, 1) / np.sqrt(var + eps)


# -- rows of runs ----------------------------------------------------------------------------------


@register_jitable
def moments_of_runs(x: Any, at: Any, pieces: Any, inner: Any, piece: Any, eps: Any) -> Any:
    """The mean and the variance of the row that begins at ``at``."""
    count = types.float64(pieces * inner)
    total = 0.0
    for p in range(pieces):
        total += total_of(part_at(x, at + p * piece, inner))
    mean = like(eps, total / count)
    total = 0.0
    for p in range(pieces):
        total += squares_of(part_at(x, at + p * piece, inner), mean)
    return mean, like(eps, total / count)


def standard(
    begin: Int, end: Int, x: Array, weight: Array, bias: Array, out: Array, centre: Array,
    var: Array, pieces: Int, inner: Int, row: Int, piece: Int, groups: Int, own: Int, step: Int,
    eps: Real,
) -> None:  # fmt: skip
    for r in range(begin, end):
        centre[r], var[r] = moments_of_runs(x, r * row, pieces, inner, piece, eps)
        mean, scale = centre[r], scale_of(var[r], eps)
        for p in range(pieces):
            at = r * row + p * piece
            run, to = part_at(x, at, inner), part_at(out, at, inner)
            w, b = weight[r % groups * own + p * step], bias[r % groups * own + p * step]
            for k in range(inner):
                to[k] = (run[k] - mean) * scale * w + b


@register_jitable
def sums_along(bar: Any, x: Any, mean: Any) -> Any:
    """The sums of ``bar`` and of ``bar * (x - mean)``, in float64."""
    total, total_along = 0.0, 0.0
    for start in range(0, x.size, RUN):
        m = min(RUN, x.size - start)
        share, run = part_at(bar, start, m), part_at(x, start, m)
        bars, along = like(mean, 0), like(mean, 0)
        for k in range(m):
            bars = added(bars, share[k])
            along = added(along, share[k] * (run[k] - mean))
        total += bars
        total_along += along
    return total, total_along


@register_jitable
def standard_rows(
    begin: Any, end: Any, bar: Any, x: Any, weight: Any, centre: Any, var: Any, x_bar: Any,
    sums: Any, pieces: Any, inner: Any, row: Any, piece: Any, groups: Any, own: Any, step: Any,
    known: Any, eps: Any, add: Any,
) -> None:  # fmt: skip
    """See `standard_adjoint`; the adjoints of x are stored, or added."""
    count = types.float64(pieces * inner)
    for r in range(begin, end):
        if not known:
            centre[r], var[r] = moments_of_runs(x, r * row, pieces, inner, piece, eps)
        mean, scale = centre[r], scale_of(var[r], eps)
        total, total_along = 0.0, 0.0
        for p in range(pieces):
            at = r * row + p * piece
            w = weight[r % groups * own + p * step]
            bars, along = sums_along(part_at(bar, at, inner), part_at(x, at, inner), mean)
            sums[r * pieces + p] = like(eps, along) * scale
            sums[(centre.size + r) * pieces + p] = like(eps, bars)
            total += bars * w
            total_along += along * w
        bars = like(eps, total / count)
        along = like(eps, total_along / count) * (scale * scale)
        for p in range(pieces):
            at = r * row + p * piece
            share, run = part_at(bar, at, inner), part_at(x, at, inner)
            to, w = part_at(x_bar, at, inner), weight[r % groups * own + p * step]
            for k in range(inner):
                mine = (share[k] * w - bars - (run[k] - mean) * along) * scale
                to[k] = to[k] + mine if add else mine


def standard_adjoint(
    begin: Int, end: Int, bar: Array, x: Array, weight: Array, centre: Array, var: Array,
    x_bar: Array, sums: Array, pieces: Int, inner: Int, row: Int, piece: Int, groups: Int,
    own: Int, step: Int, known: Int, eps: Real,
) -> None:  # fmt: skip
    """Also the ``sums`` of each run: of ``bar`` times the standardised x, and after them of bar.

    Mean and variance are given if they are ``known``.
    """
    standard_rows(
        begin, end, bar, x, weight, centre, var, x_bar, sums, pieces, inner, row, piece, groups,
        own, step, known, eps, False,
    )  # fmt: skip


# -- rows with a weight for each element -----------------------------------------------------------

#: So many rows are worked at together, or fewer long ones, of which so many elements stay in the
#: cache: the processor can begin with the next row's sum before it has this one's.
TOGETHER, CACHED = 16, 4096


@register_jitable
def together(n: Any) -> Any:
    return max(1, min(TOGETHER, CACHED // n))


@register_jitable
def moments(
    x: Any, first: Any, means: Any, scales: Any, rows: Any, n: Any, centred: Any, eps: Any
) -> None:
    """The means of rows, if they are to be centred, and the factors that standardise them."""
    for i in range(rows):
        means[i] = like(eps, total_of(part(x, first + i, n)) / n) if centred else like(eps, 0)
    for i in range(rows):
        scales[i] = like(eps, squares_of(part(x, first + i, n), means[i]) / n)
    for i in range(rows):
        scales[i] = scale_of(scales[i], eps)


def layer(
    begin: Int, end: Int, x: Array, weight: Array, bias: Array, out: Array, n: Int, centred: Int,
    eps: Real,
) -> None:  # fmt: skip
    means, scales = room_for(TOGETHER, eps), room_for(TOGETHER, eps)
    for first in range(begin, end, together(n)):
        rows = min(together(n), end - first)
        moments(x, first, means, scales, rows, n, centred, eps)
        for i in range(rows):
            row, to = part(x, first + i, n), part(out, first + i, n)
            mean, scale = means[i], scales[i]
            for k in range(n):
                to[k] = (row[k] - mean) * scale * weight[k] + bias[k]


@register_jitable
def weighted_sums_along(bar: Any, x: Any, weight: Any, mean: Any) -> Any:
    """As `sums_along`, of ``bar * weight``."""
    total, total_along = 0.0, 0.0
    for start in range(0, x.size, RUN):
        m = min(RUN, x.size - start)
        share, run, w = part_at(bar, start, m), part_at(x, start, m), part_at(weight, start, m)
        bars, along = like(mean, 0), like(mean, 0)
        for k in range(m):
            own = share[k] * w[k]
            bars = added(bars, own)
            along = added(along, own * (run[k] - mean))
        total += bars
        total_along += along
    return total, total_along


@register_jitable
def layer_sums(
    bar: Any, x: Any, weight: Any, first: Any, means: Any, scales: Any, bars: Any, alongs: Any,
    rows: Any, n: Any, centred: Any, eps: Any,
) -> None:  # fmt: skip
    """The `moments` of rows, and the means that their adjoints are freed of."""
    moments(x, first, means, scales, rows, n, centred, eps)
    for i in range(rows):
        share, row = part(bar, first + i, n), part(x, first + i, n)
        total, along = weighted_sums_along(share, row, weight, means[i])
        bars[i] = like(eps, total / n) if centred else like(eps, 0)
        alongs[i] = like(eps, along / n) * (scales[i] * scales[i])


@register_jitable
def layer_rows(
    bar: Any, x: Any, weight: Any, x_bar: Any, rows: Any, n: Any, centred: Any, eps: Any, add: Any
) -> None:
    """The adjoints of rows: stored, or added."""
    means, scales = room_for(TOGETHER, eps), room_for(TOGETHER, eps)
    bars, alongs = room_for(TOGETHER, eps), room_for(TOGETHER, eps)
    for first in range(0, rows, together(n)):
        some = min(together(n), rows - first)
        layer_sums(bar, x, weight, first, means, scales, bars, alongs, some, n, centred, eps)
        for i in range(some):
            share, row = part(bar, first + i, n), part(x, first + i, n)
            to, mean, scale = part(x_bar, first + i, n), means[i], scales[i]
            less, along = bars[i], alongs[i]
            for k in range(n):
                own = (share[k] * weight[k] - less - (row[k] - mean) * along) * scale
                to[k] = to[k] + own if add else own


@register_jitable
def weight_rows(
    begin: Any, end: Any, bar: Any, x: Any, to: Any, n: Any, centred: Any, eps: Any
) -> None:
    """The weight's adjoint by some rows."""
    means, scales = room_for(TOGETHER, eps), room_for(TOGETHER, eps)
    for k in range(n):
        to[k] = like(eps, 0)
    for first in range(begin, end, together(n)):
        some = min(together(n), end - first)
        moments(x, first, means, scales, some, n, centred, eps)
        for i in range(some):
            share, row = part(bar, first + i, n), part(x, first + i, n)
            mean, scale = means[i], scales[i]
            for k in range(n):
                to[k] += share[k] * ((row[k] - mean) * scale)


def layer_adjoint(
    begin: Int, end: Int, bar: Array, x: Array, weight: Array, x_bar: Array, y_bars: Array,
    z_bars: Array, rows: Int, n: Int, per: Int, centred: Int, eps: Real,
) -> None:  # fmt: skip
    """The adjoints of x and, of each ``per`` rows, the shares of weight and bias."""
    means, scales = room_for(TOGETHER, eps), room_for(TOGETHER, eps)
    bars, alongs = room_for(TOGETHER, eps), room_for(TOGETHER, eps)
    for p in range(begin, end):
        y_bar, z_bar = part(y_bars, p, n), part(z_bars, p, n)
        for k in range(n):
            y_bar[k] = z_bar[k] = like(eps, 0)
        last = min((p + 1) * per, rows)
        for first in range(p * per, last, together(n)):
            some = min(together(n), last - first)
            layer_sums(bar, x, weight, first, means, scales, bars, alongs, some, n, centred, eps)
            for i in range(some):
                share, row = part(bar, first + i, n), part(x, first + i, n)
                to, mean, scale = part(x_bar, first + i, n), means[i], scales[i]
                less, along = bars[i], alongs[i]
                for k in range(n):
                    apart = row[k] - mean
                    to[k] = (share[k] * weight[k] - less - apart * along) * scale
                    y_bar[k] += share[k] * (apart * scale)
                    z_bar[k] += share[k]


# -- columns ---------------------------------------------------------------------------------------


def columns(
    begin: Int, end: Int, x: Array, weight: Array, bias: Array, out: Array, centre: Array,
    var: Array, rows: Int, n: Int, eps: Real,
) -> None:  # fmt: skip
    """The columns of a matrix of ``rows`` rows and n columns, standardised."""
    totals, scale = room_for(COLUMNS, 0.0), room_for(COLUMNS, eps)
    for start in range(begin * COLUMNS, min(end * COLUMNS, n), COLUMNS):
        m = min(COLUMNS, n - start)
        mean, w, b = part_at(centre, start, m), part_at(weight, start, m), part_at(bias, start, m)
        for k in range(m):
            totals[k] = 0.0
        for r in range(rows):
            row = part_at(x, r * n + start, m)
            for k in range(m):
                totals[k] += row[k]
        for k in range(m):
            mean[k] = like(eps, totals[k] / rows)
            totals[k] = 0.0
        for r in range(rows):
            row = part_at(x, r * n + start, m)
            for k in range(m):
                apart = row[k] - mean[k]
                totals[k] += apart * apart
        for k in range(m):
            var[start + k] = like(eps, totals[k] / rows)
            scale[k] = scale_of(var[start + k], eps) * w[k]
        for r in range(rows):
            row, to = part_at(x, r * n + start, m), part_at(out, r * n + start, m)
            for k in range(m):
                to[k] = (row[k] - mean[k]) * scale[k] + b[k]


def columns_adjoint(
    begin: Int, end: Int, bar: Array, x: Array, weight: Array, centre: Array, var: Array,
    x_bar: Array, sums: Array, rows: Int, n: Int, known: Int, eps: Real,
) -> None:  # fmt: skip
    """Also the ``sums``: of ``bar`` times the standardised x, and after them of ``bar``.

    Mean and variance are always known.
    """
    bars, alongs = room_for(COLUMNS, 0.0), room_for(COLUMNS, 0.0)
    less, along, scale = room_for(COLUMNS, eps), room_for(COLUMNS, eps), room_for(COLUMNS, eps)
    for start in range(begin * COLUMNS, min(end * COLUMNS, n), COLUMNS):
        m = min(COLUMNS, n - start)
        mean = part_at(centre, start, m)
        for k in range(m):
            bars[k] = alongs[k] = 0.0
        for r in range(rows):
            share, row = part_at(bar, r * n + start, m), part_at(x, r * n + start, m)
            for k in range(m):
                bars[k] += share[k]
                alongs[k] += share[k] * (row[k] - mean[k])
        for k in range(m):
            factor = scale_of(var[start + k], eps)
            sums[start + k] = like(eps, alongs[k]) * factor
            sums[n + start + k] = like(eps, bars[k])
            less[k] = like(eps, bars[k] / rows)
            along[k] = like(eps, alongs[k] / rows) * (factor * factor)
            scale[k] = factor * weight[start + k]
        for r in range(rows):
            share, row = part_at(bar, r * n + start, m), part_at(x, r * n + start, m)
            to = part_at(x_bar, r * n + start, m)
            for k in range(m):
                to[k] = (share[k] - less[k] - (row[k] - mean[k]) * along[k]) * scale[k]

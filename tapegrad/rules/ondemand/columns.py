"""Standardised columns, as batch norm of (N, C) has them: in passes over rows that are whole.

These functions stand beside the rules of `normalization`. They return None where those have to do
without: for small matrices and other layouts, and before there is machine code.
"""

from __future__ import annotations

import numpy as np

from tapegrad.fused import fused, partial_sums

#: Smaller matrices NumPy has done sooner.
SMALL = 2048


def over_columns(name, view, axes, affine, *arrays):
    """The fused function, if what is standardised are the columns of a matrix."""
    rest = (1,) * (len(view) - 2)
    columns = (
        len(view) > 1
        and view[2:] == rest
        and axes == (0, *range(2, len(view)))
        and affine == (1, view[1], *rest)
    )
    return fused(name, *arrays) if columns and view[0] * view[1] >= SMALL else None


def totals(name, rows, *arrays):
    """The sums over ``rows``, as doubles, of what the fused function of this name adds up."""
    kernel = fused(name, *arrays)
    assert kernel is not None  # since there is one of this file
    return np.add.reduce(partial_sums(kernel, rows, *arrays), 0, np.float64)


def columns_forward(x, weight, bias, view, axes, affine, eps):
    """The standardised columns, their means and variances."""
    kernel = over_columns("columns", view, axes, affine, x, weight, bias)
    if kernel is None:
        return None
    rows, n = view[:2]
    centre = (totals("column_sums", rows, x) / rows).astype(x.dtype)
    var = (totals("column_products", rows, x, x, centre, centre) / rows).astype(x.dtype)
    out = np.empty_like(x)
    kernel(rows, x, centre, weight / np.sqrt(var + eps), bias, out, n)
    return out, centre.reshape(affine), var.reshape(affine)


def columns_x(bar, x, weight, out, view, axes, affine, eps):
    kernel = over_columns("columns_x", view, axes, affine, bar, x, weight, out[1])
    if kernel is None:
        return None
    rows, n = view[:2]
    scale = 1.0 / np.sqrt(out[2] + eps)
    shares = (totals("column_sums", rows, bar) / rows).astype(x.dtype) * weight
    along = (along_columns(bar, x, out[1], rows) / rows).astype(x.dtype) * weight
    along = np.reshape(along, affine) * (scale * scale)
    x_bar = np.empty_like(x)
    kernel(rows, bar, x, out[1], scale, weight, shares, along, x_bar, n)
    return x_bar


def columns_y(bar, x, out, view, axes, affine, eps):
    if over_columns("columns_x", view, axes, affine, bar, x, out[1]) is None:
        return None
    scale = 1.0 / np.sqrt(out[2].ravel() + eps)
    return (along_columns(bar, x, out[1], view[0]) * scale).astype(x.dtype)


def along_columns(bar, x, centre, rows):
    """The sums of ``bar * (x - centre)``."""
    return totals("column_products", rows, bar, x, np.zeros_like(centre), centre)

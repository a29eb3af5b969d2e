"""Finite differences and their inverse, the trapezoidal rule, along a dimension.

Source: the three-point formulas for unequal steps, Fornberg, "Generation of finite difference
formulas on arbitrarily spaced grids", Mathematics of Computation 51 (1988).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.axes import wrap_axis
from tapegrad.declaration import public
from tapegrad.rules.arguments import refuse, with_numpy_names
from tapegrad.rules.joining import cat
from tapegrad.rules.shape import as_shape


def _part(input: Any, axis: int, start: int | None, stop: int | None) -> Any:
    return input[(*(slice(None),) * axis, slice(start, stop))]


def _check_dims(input: Any, dim: int) -> None:
    if not input._spec.ndim:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")


@public(numpy=[np.diff])
@with_numpy_names
def diff(input: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """The differences of neighbours along ``dim``, ``n`` times; of bools, whether they differ.

    ``prepend`` and ``append`` are joined to the input first. Raises RuntimeError for a 0-d input
    and for a negative n.
    """
    if not input._spec.ndim:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    axis = wrap_axis(dim, input._spec.ndim)
    for x in (prepend, append):
        if x is not None and x._spec.ndim != input._spec.ndim:
            raise RuntimeError("diff expects prepend or append to be the same dimension as input")
    if n == 0:
        return input.clone()  # as in torch, without what would be joined to it
    parts = [x for x in (prepend, input, append) if x is not None]
    out = cat(parts, axis) if len(parts) > 1 else input
    for _ in range(min(n, out._spec.shape[axis])):
        after, before = _part(out, axis, 1, None), _part(out, axis, None, -1)
        out = after ^ before if out._spec.dtype.kind == "b" else after - before
    return out


# -- gradients of samples --------------------------------------------------------------------------


@public(method=False)
def gradient(
    input: Any, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1
) -> tuple[Any, ...]:
    """The derivatives of sampled values, one Tensor for each dimension of ``dim`` (None: all).

    In the interior the formula is of second order, at the edges of order ``edge_order``, 1 or 2.
    ``spacing`` is a step, or one for each dimension, or for each the coordinates, a vector.

    Raises RuntimeError for a spacing that doesn't fit and for dimensions that are too small.
    """
    ndim, shape = input._spec.ndim, input._spec.shape
    spacing = 1 if spacing is None else spacing
    several = isinstance(spacing, (list, tuple))
    if dim is None:
        axes = tuple(range(ndim))
    else:
        dims = (dim,) if isinstance(dim, int) else tuple(dim)
        _check_dims(input, dims[0] if dims else 0)
        axes = tuple([wrap_axis(d, ndim) for d in dims])
    if several and len(spacing) != len(axes):
        raise RuntimeError(
            "torch.gradient expected spacing to be unspecified, a scalar or it's spacing and dim "
            f"arguments to have the same length, but got a spacing argument of length "
            f"{len(spacing)} and a dim argument of length {len(axes)}."
        )
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    for axis in axes:
        if axes.count(axis) > 1:
            raise RuntimeError(f"dim {axis} appears multiple times in the list of dims")
        if shape[axis] < edge_order + 1:
            raise RuntimeError(
                "torch.gradient expected each dimension size to be at least edge_order+1"
            )
    steps = spacing if several else (spacing,) * len(axes)
    return tuple([_slope(input, a, s, edge_order) for a, s in zip(axes, steps, strict=True)])


def _slope(input: Any, axis: int, spacing: Any, edge_order: int) -> Any:
    left, middle, right = (_part(input, axis, *ends) for ends in ((None, -2), (1, -1), (2, None)))
    n = input._spec.shape[axis]
    first, second, last, before = (
        _part(input, axis, *ends) for ends in ((0, 1), (1, 2), (n - 1, n), (n - 2, n - 1))
    )
    if not hasattr(spacing, "_spec"):
        h = spacing
        inner = (right - left) / (2 * h)
        start, end = (second - first) / h, (last - before) / h
        if edge_order == 2:
            third, earlier = _part(input, axis, 2, 3), _part(input, axis, n - 3, n - 2)
            start = (second * 4 - first * 3 - third) / (2 * h)
            end = (last * 3 - before * 4 + earlier) / (2 * h)
        return cat([start, inner, end], axis)
    if spacing._spec.shape != (n,):
        raise RuntimeError(
            f"torch.gradient expected the coordinates of dimension {axis} to be a vector of {n}, "
            f"but got a tensor of shape {list(spacing._spec.shape)}"
        )
    steps = as_shape(diff(spacing), (-1 + n, *(1,) * (input._spec.ndim - 1 - axis)))
    a, b = steps[:-1], steps[1:]
    inner = right * (a / (b * (a + b))) + middle * ((b - a) / (a * b)) - left * (b / (a * (a + b)))
    start, end = (second - first) / steps[:1], (last - before) / steps[-1:]
    if edge_order == 2:
        third, earlier = _part(input, axis, 2, 3), _part(input, axis, n - 3, n - 2)
        start = _edge(first, second, third, steps[:1], steps[1:2])
        end = -_edge(last, before, earlier, steps[-1:], steps[-2:-1])
    return cat([start, inner, end], axis)


def _edge(first: Any, second: Any, third: Any, a: Any, b: Any) -> Any:
    """The slope at the first of three samples, ``a`` and ``b`` apart."""
    return (
        second * ((a + b) / (a * b))
        - first * ((2 * a + b) / (a * (a + b)))
        - third * (a / (b * (a + b)))
    )


# -- the trapezoidal rule --------------------------------------------------------------------------


def _areas(name: str, y: Any, x: Any, dx: Any, dim: int) -> tuple[Any, int]:
    """The areas between neighbours, and the axis."""
    refuse(y, "b", name + ": received a bool input for `y`, but bool is not supported")
    _check_dims(y, dim)
    axis = wrap_axis(dim, y._spec.ndim)
    after, before = _part(y, axis, 1, None), _part(y, axis, None, -1)
    if x is None:
        return (after + before) * (dx / 2), axis
    refuse(x, "b", name + ": received a bool input for `x`, but bool is not supported")
    if x._spec.ndim == 1:
        if x._spec.shape[0] != y._spec.shape[axis]:
            raise RuntimeError(f"{name}: There must be one `x` value for each sample point")
        steps = diff(x)
        steps = as_shape(steps, (*steps._spec.shape, *(1,) * (y._spec.ndim - 1 - axis)))
    else:
        lead = (1,) * (y._spec.ndim - x._spec.ndim)
        steps = diff(as_shape(x, (*lead, *x._spec.shape)), dim=axis)
    return (after + before) * steps / 2, axis


@public(method=False)
def trapezoid(y: Any, x: Any = None, *, dx: Any = 1, dim: int = -1) -> Any:
    """The integral along ``dim`` by the trapezoidal rule, for samples ``dx`` apart or at ``x``.

    ``x`` is a vector or broadcasts to ``y``. Raises RuntimeError for bools.
    """
    areas, axis = _areas("trapezoid", y, x, dx, dim)
    return areas.sum(axis)


@public(method=False)
def trapz(y: Any, x: Any = None, *, dx: Any = 1, dim: int = -1) -> Any:
    """`trapezoid`, by its older name."""
    return trapezoid(y, x, dx=dx, dim=dim)


@public(method=False)
def cumulative_trapezoid(y: Any, x: Any = None, *, dx: Any = 1, dim: int = -1) -> Any:
    """The running integral along ``dim``, one element shorter than ``y``; see `trapezoid`."""
    areas, axis = _areas("cumulative_trapezoid", y, x, dx, dim)
    return areas.cumsum(axis)

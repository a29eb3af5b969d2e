"""Histograms: how many elements fall between edges. They have no derivative."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.rules.arguments import dtype_name, with_out
from tapegrad.rules.gathering import constant
from tapegrad.rules.results import named


def _limits(x: np.ndarray, given: Any, where: str) -> tuple[float, float]:
    """The outer edges: those given, or else the least and the greatest element."""
    if given is not None:
        low, high = given
    elif x.size:
        low, high = float(x.min()), float(x.max())
    else:
        low, high = 0.0, 1.0
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(f"{where} range of [{low:g}, {high:g}] is not finite")
    return (low - 0.5, high + 0.5) if low == high else (low, high)


def _check_dtype(input: Any, name: str, chars: str = "fd") -> None:
    if input._spec.dtype.char not in chars:
        raise NotImplementedError(f"\"{name}\" not implemented for '{dtype_name(input)}'")


@public
@with_out
def histc(input: Any, bins: int = 100, min: Any = 0, max: Any = 0) -> Any:
    """How many elements fall into each of ``bins`` equal bins from ``min`` to ``max``.

    If these are equal, the limits are the least and the greatest element. What lies outside, and
    nan, does not count. In the input's dtype, a real one.

    Raises RuntimeError for limits that are nan, infinite or in the wrong order, and for no bins.
    """
    _check_dtype(input, "histogram_cpu", "efd")
    if bins <= 0:
        raise RuntimeError(f"torch.histogram(): bins must be > 0, but got {bins} for dimension 0")
    dtype = input._spec.dtype
    x = input._array.reshape(-1).astype(np.float64 if dtype.char == "d" else np.float32)
    low, high = _limits(x, None if min == max else (min, max), "torch.histc:")
    if low > high:
        raise RuntimeError("torch.histc: max must be larger than min")
    inside = x[(x >= low) & (x <= high)]
    position = ((inside - low) * (bins / (high - low))).astype(np.int64)
    counts = np.bincount(np.minimum(position, bins - 1), minlength=bins)
    return constant(input, counts.astype(dtype))


@public
@with_out
def histogram(
    input: Any, bins: Any, *, range: Any = None, weight: Any = None, density: bool = False
) -> Any:
    """``(hist, bin_edges)`` of all elements; ``bins`` is their number or a Tensor of their edges.

    A bin holds its left edge, the last one its right edge too.

    Args:
        input: a float32 or float64 Tensor, whose dtype the results have.
        range: the outer edges; by default the least and the greatest element.
        weight: how much each element counts, of the input's shape.
        density: whether the histogram is divided by its integral.

    Raises:
        RuntimeError: no bins, a range that isn't finite or in the wrong order, a weight of another
            shape.
        NotImplementedError: another dtype.
    """
    x = input.reshape(-1, 1)
    weight = None if weight is None else weight.reshape(-1)
    hist, edges = _histogram(x, [bins], range, weight, density)
    result = named("histogram", ("hist", "bin_edges"))
    return result(constant(input, hist), constant(input, edges[0]))


@public(method=False)
def histogramdd(
    input: Any, bins: Any, range: Any = None, weight: Any = None, density: bool = False
) -> Any:
    """``(hist, bin_edges)`` of points, whose coordinates are the last dimension.

    ``bins`` is a number, or for each coordinate a number or a Tensor of edges; ``range`` holds the
    lower and upper limit of each coordinate in turn. For the rest see `histogram`.
    """
    ndim = input._spec.ndim
    if ndim < 2:
        raise RuntimeError("torch.histogramdd: input tensor should have at least 2 dimensions")
    n = input._spec.shape[-1]
    bins = [bins] * n if isinstance(bins, int) else list(bins)
    if len(bins) != n:
        raise RuntimeError(
            "histogramdd: The size of bins must be equal to the innermost dimension of the input."
        )
    if weight is not None:
        if weight._spec.shape != input._spec.shape[:-1]:
            raise _wrong_weight(input, weight)
        weight = weight.reshape(-1)
    hist, edges = _histogram(input.reshape(-1, n), bins, range, weight, density)
    result = named("histogramdd", ("hist", "bin_edges"))
    return result(constant(input, hist), tuple([constant(input, e) for e in edges]))


def _wrong_weight(input: Any, weight: Any) -> RuntimeError:
    return RuntimeError(
        "torch.histogramdd: if weight tensor is provided it should have the same shape as the "
        f"input tensor excluding its innermost dimension, but got input with shape "
        f"{list(input._spec.shape)} and weight with shape {list(weight._spec.shape)}"
    )


def _edges(input: Any, axis: int, bins: Any, limits: Any) -> np.ndarray:
    """The edges of the bins of one coordinate."""
    x = input._array[:, axis]
    if hasattr(bins, "_spec"):
        if bins._spec.ndim != 1:
            raise RuntimeError(
                f"torch.histogramdd: bins tensor should have one dimension, but got "
                f"{bins._spec.ndim} dimensions in the bins tensor for dimension {axis}"
            )
        if bins._spec.dtype != x.dtype:
            raise RuntimeError(
                "torch.histogramdd: input tensor and bins tensors should have the same dtype, but "
                f"got input with dtype {input.dtype} and bins for dimension {axis} with dtype "
                f"{bins.dtype}"
            )
        return bins._array.copy()
    if bins <= 0:
        raise RuntimeError(
            f"torch.histogram(): bins must be > 0, but got {bins} for dimension {axis}"
        )
    low, high = _limits(x, limits, f"torch.histogramdd: dimension {axis}'s")
    if low > high:
        raise RuntimeError(
            f"torch.histogramdd: min should not exceed max, but got min {low:g} max {high:g} for "
            f"dimension {axis}"
        )
    return np.linspace(low, high, bins + 1).astype(x.dtype)


def _histogram(
    input: Any, bins: list[Any], limits: Any, weight: Any, density: bool
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The histogram of the rows of a matrix, and the edges of each column."""
    _check_dtype(input, "histogramdd")
    x, n = input._array, len(bins)
    if limits is not None and len(limits) != 2 * n:
        raise RuntimeError(
            f"torch.histogramdd: for a {n}-dimensional histogram range should have {2 * n} "
            f"elements, but got {len(limits)}"
        )
    if weight is not None and weight._spec.size != len(x):
        raise _wrong_weight(input, weight)
    edges = [
        _edges(input, axis, bins[axis], limits and limits[2 * axis : 2 * axis + 2])
        for axis in range(n)
    ]
    shape = tuple([max(len(e) - 1, 0) for e in edges])
    counted = np.ones(len(x), np.bool_)
    positions = []
    for axis, e in enumerate(edges):
        column = x[:, axis]
        counted &= (column >= e[0]) & (column <= e[-1])
        position = np.searchsorted(e, column, "right") - 1
        positions.append(np.minimum(position, shape[axis] - 1))
    flat = np.ravel_multi_index([p[counted] for p in positions], shape)
    weights = None if weight is None else weight._array[counted]
    hist = np.bincount(flat, weights, math.prod(shape)).reshape(shape).astype(x.dtype)
    if density:
        hist /= hist.sum()
        for axis, e in enumerate(edges):
            hist /= np.diff(e).reshape([-1 if d == axis else 1 for d in range(n)])
    return hist, edges

"""Quantiles: order statistics, interpolated; composed of sorting, gathering and lerp.

Source: the definition by linear interpolation between order statistics, type 7 in Hyndman and Fan,
"Sample quantiles in statistical packages", The American Statistician 50 (1996).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.axes import wrap_axis
from tapegrad.declaration import public
from tapegrad.rules.arguments import dtype_name, with_numpy_names, with_out
from tapegrad.rules.combinations import lerp
from tapegrad.rules.gathering import constant
from tapegrad.rules.permuting import movedim
from tapegrad.rules.shape import as_shape
from tapegrad.rules.sorting import sort

INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


@public
@with_out
@with_numpy_names
def quantile(
    input: Any, q: Any, dim: int | None = None, keepdim: bool = False, *,
    interpolation: str = "linear",
) -> Any:  # fmt: skip
    """The value below which the share ``q`` of the elements lies, along ``dim`` (None: of all).

    ``q`` is a number or a Tensor of the input's dtype with up to one dimension, which becomes the
    result's first. Between two elements ``interpolation`` decides: "linear", "lower", "higher",
    "midpoint" or "nearest". The quantile of what holds a nan is nan.

    Raises RuntimeError for other dtypes than float32 and float64, for an empty input, and for a q
    outside of [0, 1].
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation, skip=False)


@public
@with_out
@with_numpy_names
def nanquantile(
    input: Any, q: Any, dim: int | None = None, keepdim: bool = False, *,
    interpolation: str = "linear",
) -> Any:  # fmt: skip
    """The `quantile` of what isn't nan; nan where all is."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, skip=True)


def _quantile(
    name: str, input: Any, q: Any, dim: Any, keepdim: bool, interpolation: str, skip: bool
) -> Any:
    q = _checked(name, input, q, interpolation)
    ndim = input._spec.ndim
    axis = wrap_axis(0 if dim is None else dim, ndim)
    if not input._spec.size:
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    if dim is None:
        ordered = sort(as_shape(input, (input._spec.size,)), 0).values
        lead = (1,) * ndim
    else:
        ordered = movedim(sort(input, axis).values, axis, -1) if ndim else as_shape(input, (1,))
        shape = input._spec.shape
        lead = (*shape[:axis], 1, *shape[axis + 1 :]) if ndim else ()
    ranks = _ranks(ordered, q, skip)
    values = _interpolated(ordered, ranks, interpolation)
    # The quantiles stand in the last dimension, and belong into the first.
    values = movedim(values, -1, 0)
    shape = lead if keepdim else tuple(ordered._spec.shape[:-1])
    return as_shape(values, (*((q._spec.size,) if q.ndim else ()), *shape))


def _checked(name: str, input: Any, q: Any, interpolation: str) -> Any:
    """``q`` as a Tensor. Raises torch's errors."""
    dtype = input._spec.dtype
    if dtype.name not in ("float32", "float64"):
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
    if not hasattr(q, "_spec"):
        if not 0 <= q <= 1:
            raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q}")
        q = constant(input, np.array(q, dtype))
    if q.ndim > 1:
        raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")
    if q._spec.dtype != dtype:
        raise RuntimeError(
            f"{name}() q tensor must be same dtype as the input tensor, but got {dtype_name(q)}"
        )
    if not ((q._array >= 0) & (q._array <= 1)).all():
        raise RuntimeError(f"{name}() q values must be in the range [0, 1]")
    if interpolation not in INTERPOLATIONS:
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, "
            f"but got {interpolation}"
        )
    return q


def _ranks(ordered: Any, q: Any, skip: bool) -> Any:
    """Where the quantiles stand in the last dimension, which is sorted, nan last: reals."""
    array = ordered._array
    nans = np.count_nonzero(array != array, axis=-1, keepdims=True)
    last = array.shape[-1] - 1
    q = as_shape(q, (q._spec.size,))
    if skip:
        return q * np.maximum(last - nans, 0).astype(array.dtype)
    ranks = q * float(last)
    if not nans.any():
        return ranks
    return constant(q, np.array(last, array.dtype)).where(constant(q, nans > 0), ranks)


def _interpolated(ordered: Any, ranks: Any, interpolation: str) -> Any:
    if interpolation == "lower":
        ranks = ranks.floor()
    elif interpolation == "higher":
        ranks = ranks.ceil()
    elif interpolation == "nearest":
        ranks = ranks.round()
    shape = (*ordered._spec.shape[:-1], ranks._spec.shape[-1])
    position = np.broadcast_to(ranks._array, shape)
    low = ordered.gather(-1, constant(ordered, position.astype(np.int64)))
    if interpolation not in ("linear", "midpoint"):
        return low
    high = ordered.gather(-1, constant(ordered, np.ceil(position).astype(np.int64)))
    return lerp(low, high, 0.5 if interpolation == "midpoint" else ranks - ranks.floor())

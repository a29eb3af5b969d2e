"""Integrals by the trapezoidal rule, and covariances: sums of products of samples."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from tapegrad.primitive import public, wrap_axis
from tapegrad.rules.arguments import dtype_name, with_numpy_names
from tapegrad.rules.conversion import complex_of, imag, real

# -- trapezoids ------------------------------------------------------------------------------------


def _areas(name: str, y: Any, x: Any, dx: Any, dim: int) -> tuple[Any, int]:
    """The areas of the trapezoids between neighbouring samples along a dimension."""
    axis = wrap_axis(dim, y.ndim)
    n = y._spec.shape[axis]
    if y._spec.dtype == np.bool_:
        raise RuntimeError(f"{name}: received a bool input for `y`, but bool is not supported")
    if n == 0:
        return y.narrow(axis, 0, 0), axis
    total = y.narrow(axis, 1, n - 1) + y.narrow(axis, 0, n - 1)
    if x is None:
        return total * (dx / 2), axis
    if x._spec.dtype == np.bool_:
        raise RuntimeError(f"{name}: received a bool input for `x`, but bool is not supported")
    along = x.ndim - 1 if x.ndim < y.ndim and x.ndim == 1 else x.ndim - (y.ndim - axis)
    if x._spec.shape[along] != n:
        raise RuntimeError(f"{name}: There must be one `x` value for each sample point")
    width = x.narrow(along, 1, n - 1) - x.narrow(along, 0, n - 1)
    if x.ndim == 1:
        width = width.reshape([-1] + [1] * (y.ndim - axis - 1))
    return total * width / 2.0, axis


@public(numpy=[np.trapezoid], aliases=("trapz",), method=False)
@with_numpy_names
def trapezoid(y: Any, x: Any = None, *, dx: Any = 1, dim: int = -1) -> Any:
    """The integral along ``dim`` of samples ``y``, at the points ``x`` or ``dx`` apart.

    ``x`` is a vector, or broadcasts with ``y``. Raises RuntimeError for bools.
    """
    areas, axis = _areas("trapezoid", y, x, dx, dim)
    return areas.sum(axis)


@public(method=False)
def cumulative_trapezoid(y: Any, x: Any = None, *, dx: Any = 1, dim: int = -1) -> Any:
    """The running integrals along ``dim``, as `trapezoid`: one fewer than there are samples."""
    areas, axis = _areas("cumulative_trapezoid", y, x, dx, dim)
    return areas.cumsum(axis)


# -- covariances -----------------------------------------------------------------------------------


def _weights(input: Any, name: str, weights: Any, kinds: str, count: int) -> Any:
    if weights is None:
        return None
    if weights.ndim > 1:
        raise RuntimeError(
            f"cov(): expected {name} to have one or fewer dimensions but got {name} with "
            f"{weights.ndim} dimensions"
        )
    if weights._spec.dtype.kind not in kinds:
        kind = "integral" if kinds == "iu" else "floating point"
        raise RuntimeError(f"cov(): expected {name} to have {kind} dtype but got {name} with "
                           f"{dtype_name(weights)} dtype")  # fmt: skip
    if weights._spec.size != count:
        raise RuntimeError(
            f"cov(): expected {name} to have the same numel as there are observations in the "
            f"input but got {weights._spec.size} != {count}"
        )
    if weights._spec.size and (weights._array < 0).any():
        raise RuntimeError(f"cov(): {name} cannot be negative")
    return weights


@public(numpy=[np.cov])
def cov(input: Any, *, correction: int = 1, fweights: Any = None, aweights: Any = None) -> Any:
    """The covariances of variables, the rows of ``input``, of which the columns are observations.

    A matrix, or the variance of a vector. The divisor is the number of observations less
    ``correction``. ``fweights`` (integers) says how often each was made, ``aweights`` how much it
    counts.
    """
    if input.ndim > 2:
        raise RuntimeError(
            "cov(): expected input to have two or fewer dimensions but got an input with "
            f"{input.ndim} dimensions"
        )
    if input._spec.dtype == np.bool_:
        raise RuntimeError("cov(): bool dtype is not supported for input")
    rows = input.reshape(1, -1) if input.ndim < 2 else input
    count = rows._spec.shape[1]
    often = _weights(input, "fweights", fweights, "iu", count)
    much = _weights(input, "aweights", aweights, "f", count)
    weights = often if much is None else much if often is None else often * much
    if rows._spec.dtype.kind not in "fc":
        rows = rows + 0.0
    if weights is None:
        mean, total = rows.mean(1, keepdim=True), count
        centred = weighted = rows - mean
    else:
        total = weights.sum()
        mean = (rows * weights).sum(1, keepdim=True) / total
        centred = rows - mean
        weighted = centred * weights
    if weights is None or much is None or not correction:
        free = total - correction
    else:
        free = total - correction * (weights * much).sum() / total
    if float(free) <= 0:
        warnings.warn("cov(): degrees of freedom is <= 0. Correction should be strictly less than "
                      "the number of observations.", UserWarning, stacklevel=2)  # fmt: skip
        free = free.clamp(min=0) if hasattr(free, "_spec") else 0
    out = np.matmul(weighted, centred.mH.to(weighted.dtype)) / free
    return out.squeeze() if input.ndim < 2 or math.prod(out.shape) == 1 else out


@public(numpy=[np.corrcoef])
def corrcoef(input: Any) -> Any:
    """The correlation coefficients of variables, the rows of ``input``, as `cov`."""
    if input.ndim > 2:
        raise RuntimeError(
            "corrcoef(): expected input to have two or fewer dimensions but got an input with "
            f"{input.ndim} dimensions"
        )
    covariance = cov(input)
    if not covariance.ndim:
        return covariance / covariance
    deviation = covariance.diagonal().sqrt()
    if covariance._spec.is_complex:
        deviation = covariance.diagonal().real.sqrt()
    out = covariance / deviation.unsqueeze(-1) / deviation.unsqueeze(0)
    if not out._spec.is_complex:
        return out.clip(-1, 1)
    return complex_of(real(out).clip(-1, 1), imag(out).clip(-1, 1))

"""Covariances and correlations: sums of products of samples."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.rules.arguments import dtype_name
from tapegrad.rules.conversion import complex_of, imag, real


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

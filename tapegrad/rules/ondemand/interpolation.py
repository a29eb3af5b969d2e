"""Interpolation to another size, in 1 to 3 dimensions: a linear map along each.

Element i of the result lies at ``(i + 1/2) * scale - 1/2`` in the input, or with ``align_corners``
at ``i * (n - 1) / (m - 1)``. Source of the cubic: Keys, *Cubic convolution interpolation for
digital image processing*, 1981, with a = -3/4.
"""

from __future__ import annotations

import math
import warnings
from functools import lru_cache
from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.primitive import Primitive
from tapegrad.rules.ondemand.averaging import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
)
from tapegrad.rules.ondemand.resampling import ALL, AxisMap, resampling

NN = "nn.functional"

MODES = {
    **{("nearest", d): resampling("upsample_nearest", f"UpsampleNearest{d}DBackward0")
       for d in (1, 2, 3)},
    **{("nearest-exact", d): resampling("upsample_nearest", f"UpsampleNearestExact{d}DBackward0")
       for d in (1, 2, 3)},
    ("linear", 1): resampling("upsample_linear", "UpsampleLinear1DBackward0"),
    ("bilinear", 2): resampling("upsample_linear", "UpsampleBilinear2DBackward0"),
    ("trilinear", 3): resampling("upsample_linear", "UpsampleTrilinear3DBackward0"),
    ("bicubic", 2): resampling("upsample_bicubic", "UpsampleBicubic2DBackward0"),
}  # fmt: skip
AREA = {1: adaptive_avg_pool1d, 2: adaptive_avg_pool2d, 3: adaptive_avg_pool3d}
DIMS = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}


@lru_cache(maxsize=256)
def nearest(n: int, m: int, scale: float, exact: bool) -> AxisMap:
    """The element at the place of each result, or (``exact``) nearest to it."""
    i = np.arange(m, dtype=np.float32) + np.float32(0.5 if exact else 0.0)
    source = np.minimum((i * np.float32(scale)).astype(np.int64), n - 1)
    return AxisMap(n, m, [(ALL, source, None)])


@lru_cache(maxsize=256)
def linear(n: int, m: int, scale: float, aligned: bool) -> AxisMap:
    """The two elements around each result, by nearness."""
    place = np.maximum(places(m, scale, aligned), 0)
    left = np.minimum(place.astype(np.int64), n - 1)
    near = np.minimum(place - left, 1)
    right = np.minimum(left + 1, n - 1)
    return AxisMap(n, m, [(ALL, left, 1 - near), (ALL, right, near)])


@lru_cache(maxsize=256)
def cubic(n: int, m: int, scale: float, aligned: bool) -> AxisMap:
    """The four elements around each result, by Keys's kernel."""
    place = places(m, scale, aligned)
    left = np.floor(place).astype(np.int64)
    near = place - left
    taps: list[Any] = []
    for k in (-1, 0, 1, 2):
        taps.append((ALL, np.clip(left + k, 0, n - 1), cubic_weight(np.abs(near - k))))
    return AxisMap(n, m, taps)


def places(m: int, scale: float, aligned: bool) -> np.ndarray:
    """Where the results lie in the input."""
    return np.arange(m) * scale if aligned else (np.arange(m) + 0.5) * scale - 0.5


def cubic_weight(x: Any, a: float = -0.75) -> Any:
    """Keys's kernel at distances of up to 2, of arrays and Tensors."""
    inner = ((a + 2) * x - (a + 3)) * x * x + 1
    outer = ((x - 5) * x + 8) * x * a - 4 * a
    return np.where(x <= 1, inner, outer)


# -- arguments -------------------------------------------------------------------------------------


def _per_dim(value: Any, name: str, dims: int, shape: Any) -> list[Any]:
    if not isinstance(value, (tuple, list)):
        return [value] * dims
    if len(value) != dims:
        what = "output size" if name == "size" else name
        raise ValueError(
            f"Input and {what} must have the same number of spatial dimensions, but got input with "
            f"spatial dimensions of {list(shape)} and {what} of {list(value)}. Please provide "
            f"input tensor in (N, C, d1, d2, ...,dK) format and {what} in (o1, o2, ...,oK) format."
        )
    return list(value)


def _wanted(
    shape: tuple[int, ...], size: Any, scale_factor: Any, recompute: bool
) -> tuple[list[int], list[float | None]]:
    """The sizes of the result, and the scales that were given and are to be used."""
    dims = len(shape)
    if (size is None) == (scale_factor is None):
        raise ValueError(
            "either size or scale_factor should be defined"
            if size is None
            else "only one of size or scale_factor should be defined"
        )
    if size is not None:
        if recompute:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
        sizes = [int(n) for n in _per_dim(size, "size", dims, shape)]
        return sizes, [None] * dims
    factors = [float(f) for f in _per_dim(scale_factor, "scale_factor", dims, shape)]
    sizes = [math.floor(n * f) for n, f in zip(shape, factors, strict=True)]
    return sizes, [None] * dims if recompute else list(factors)


def _axis_map(mode: str, dims: int, n: int, m: int, factor: float | None, aligned: bool) -> AxisMap:
    if aligned:
        scale = (n - 1) / (m - 1) if m > 1 else 0.0
    else:
        scale = 1.0 / factor if factor is not None and factor > 0 else n / m
    # Here torch takes no notice of the scale that was given. ("nearest" in 1 and 3 dimensions does,
    # and its gradient in torch does not; ours is that of the value.)
    kept = mode in ("linear", "bilinear", "trilinear") and n == m
    if kept or (mode == "nearest" and dims == 2 and m in (n, 2 * n)):
        scale = 1.0 if aligned else n / m
    if mode.startswith("nearest"):
        return nearest(n, m, scale, mode == "nearest-exact")
    return (cubic if mode == "bicubic" else linear)(n, m, scale, aligned)


@public(module=NN, method=False)
def interpolate(
    input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
    align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:  # fmt: skip
    """``input`` (N, C, d1, ...) in another size, given by ``size`` or ``scale_factor``.

    ``mode``: "nearest", "nearest-exact", "area" in 1 to 3 dimensions, "linear" in one, "bilinear"
    and "bicubic" in two, "trilinear" in three. Raises ValueError for arguments that exclude each
    other, NotImplementedError for ``antialias`` and for a mode that there isn't.
    """
    if mode in ("nearest", "nearest-exact", "area") and align_corners is not None:
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: linear | bilinear "
            "| bicubic | trilinear"
        )
    dims = input.ndim - 2
    shape = input._spec.shape[2:]
    recompute = bool(recompute_scale_factor) or (mode == "area" and size is None)
    sizes, factors = _wanted(shape, size, scale_factor, recompute)
    if antialias:
        raise NotImplementedError(
            "interpolate(antialias=True) is not supported; average first, with avg_pool2d or "
            "mode='area'"
        )
    if mode == "area" and dims in AREA:
        return AREA[dims](input, sizes)
    if mode in DIMS and 1 <= dims <= 3 and dims != DIMS[mode]:
        raise NotImplementedError(
            f"Got {input.ndim}D input, but {mode} mode needs {DIMS[mode] + 2}D input"
        )
    if (mode, dims) not in MODES:
        raise NotImplementedError(
            "Input Error: Only 3D, 4D and 5D input Tensors supported (got "
            f"{input.ndim}D) for the modes: nearest | linear | bilinear | bicubic | trilinear | "
            f"area | nearest-exact (got {mode})"
        )
    if min((*shape, *sizes)) <= 0 or not input._spec.shape[1]:
        raise RuntimeError(
            "Input and output sizes should be greater than 0, but got input "
            f"{list(input.shape)} and output {sizes}"
        )
    maps = [
        (2 + d, _axis_map(mode, dims, shape[d], sizes[d], factors[d], bool(align_corners)))
        for d in range(dims)
    ]
    return Primitive.apply(MODES[mode, dims], (input,), (tuple(maps),))


def _deprecated(name: str) -> None:
    warnings.warn(
        f"`nn.functional.{name}` is deprecated. Use `nn.functional.interpolate` instead.",
        UserWarning,
        stacklevel=3,
    )


@public(module=NN, method=False)
def upsample(
    input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
    align_corners: bool | None = None,
) -> Any:  # fmt: skip
    """`interpolate`, under a name that is deprecated."""
    _deprecated("upsample")
    return interpolate(input, size, scale_factor, mode, align_corners)


@public(module=NN, method=False)
def upsample_nearest(input: Any, size: Any = None, scale_factor: Any = None) -> Any:
    """`interpolate` with mode "nearest", under a name that is deprecated."""
    _deprecated("upsample_nearest")
    return interpolate(input, size, scale_factor, "nearest")


@public(module=NN, method=False)
def upsample_bilinear(input: Any, size: Any = None, scale_factor: Any = None) -> Any:
    """`interpolate` with mode "bilinear" and aligned corners, under a name that is deprecated."""
    _deprecated("upsample_bilinear")
    return interpolate(input, size, scale_factor, "bilinear", True)

"""Sampling at the points of a grid: the grid's coordinates run from -1 to 1.

Source: Jaderberg et al., *Spatial transformer networks*, 2015. What is sampled is a sum over the
neighbours of each point, composed of operations on Tensors, so all derivatives follow.
"""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.primitive import Primitive
from tapegrad.rules.contraction import einsum
from tapegrad.rules.gathering import constant, masked_fill_
from tapegrad.rules.indexing import ALL
from tapegrad.rules.indexing import index_ as at
from tapegrad.rules.ondemand.interpolation import cubic_weight

NN = ("", "nn.functional")


# -- where the points lie --------------------------------------------------------------------------


def _unnormalised(x: Any, n: int, aligned: bool) -> Any:
    """Coordinates from -1 to 1 as positions along an axis of ``n`` elements."""
    return (x + 1) * ((n - 1) / 2) if aligned else ((x + 1) * n - 1) / 2


def inside(x: np.ndarray, n: int, mode: str, aligned: bool) -> tuple[np.ndarray, np.ndarray]:
    """Positions clipped or reflected into the axis, and the slope (1, -1 or 0) of that."""
    slope = np.ones(x.shape)
    if mode == "reflection":
        low, high = (0.0, n - 1.0) if aligned else (-0.5, n - 0.5)
        span = high - low
        if span == 0:
            return np.zeros_like(x), 0 * slope
        slope = np.where(x < low, -1.0, 1.0)
        offset = np.abs(x - low)
        flipped = np.floor(offset / span) % 2 == 1
        rest = np.fmod(offset, span)
        slope[flipped] *= -1
        x = np.where(flipped, span - rest, rest) + low
    if mode != "zeros":
        slope[(x <= 0) | (x >= n - 1)] = 0
        x = np.clip(x, 0, n - 1)
    return x, slope


def _moved_inside(x: Any, n: int, mode: str, aligned: bool) -> Any:
    """`inside` of a Tensor: where it lies, as a linear function of where it was."""
    if mode == "zeros":
        return x
    place, slope = inside(x._array, n, mode, aligned)
    dtype = x._spec.dtype
    return x * slope.astype(dtype) + (place - slope * x._array).astype(dtype)


# -- what is there ---------------------------------------------------------------------------------


def _values(input: Any, batch: np.ndarray, places: list[np.ndarray]) -> Any:
    """The elements at integer places, channels last; 0 outside."""
    known = np.ones(batch.shape, bool)
    index = []
    for place, n in zip(places, input._spec.shape[2:], strict=True):
        valid = (place >= 0) & (place <= n - 1)  # nan isn't
        known = known & valid
        index.append(np.where(valid, place, 0).astype(np.int64))
    values = Primitive.apply(at, (input,), ((np.broadcast_to(batch, known.shape), ALL, *index),))
    if known.all():
        return values
    hidden = np.broadcast_to(~known[..., None], values._spec.shape)
    return masked_fill_(values, np.zeros((), input._spec.dtype), hidden)


def _neighbours(
    mode: str, points: list[Any], sizes: tuple[int, ...], padding: str, aligned: bool
) -> list[list[tuple[Any, Any]]]:
    """Along each axis the neighbours of the points: their places and weights (None is 1)."""
    axes = []
    for x, n in zip(points, sizes, strict=True):
        if mode != "bicubic":
            x = _moved_inside(x, n, padding, aligned)
        if mode == "nearest":
            axes.append([(np.rint(x._array), None)])
            continue
        base = np.floor(x._array)
        near = x - base
        if mode == "bilinear":
            axes.append([(base, 1 - near), (base + 1, near)])
        else:
            axes.append(
                [
                    (inside(base + k, n, padding, aligned)[0], cubic_weight((near - k).abs()))
                    for k in (-1, 0, 1, 2)
                ]
            )
    return axes


def _check(input: Any, grid: Any, mode: str, padding: str) -> None:
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(
            "nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', "
            f"but got: '{mode}'"
        )
    if padding not in ("zeros", "border", "reflection"):
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or "
            f"'reflection', but got: '{padding}'"
        )
    sizes, shape = input._spec.shape, grid._spec.shape
    if input._spec.dtype != grid._spec.dtype:
        raise RuntimeError(
            "grid_sampler(): expected input and grid to have same dtype, but input has "
            f"{input.dtype} and grid has {grid.dtype}"
        )
    if (
        len(sizes) not in (4, 5)
        or len(shape) != len(sizes)
        or shape[0] != sizes[0]
        or shape[-1] != len(sizes) - 2
    ):
        raise RuntimeError(
            "grid_sampler(): expected 4D or 5D input (N, C, ...) and a grid (N, ..., 2 or 3) with "
            f"as many dimensions, but got input with sizes {list(sizes)} and grid with sizes "
            f"{list(shape)}"
        )
    if mode == "bicubic" and len(sizes) == 5:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    if not all(sizes[2:]):
        raise RuntimeError(
            "grid_sampler(): expected input to have non-empty spatial dimensions, but input has "
            f"sizes {list(sizes)}"
        )


def _aligned(align_corners: bool | None) -> bool:
    if align_corners is None:
        warnings.warn(
            "Default grid_sample and affine_grid behavior has changed to align_corners=False since "
            "1.3.0. Please specify align_corners=True if the old behavior is desired. See the "
            "documentation of grid_sample for details.",
            UserWarning,
            stacklevel=3,
        )
    return bool(align_corners)


@public(module="nn.functional", method=False)
def grid_sample(
    input: Any, grid: Any, mode: str = "bilinear", padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Any:  # fmt: skip
    """``input`` (N, C, H, W) at the points of ``grid`` (N, h, w, 2): (N, C, h, w); or in 3-d.

    A point is (x, y) or (x, y, z), the last dimension first, from -1 to 1: the centres of the
    corner elements with ``align_corners``, their outer edges without. ``mode``: "bilinear",
    "nearest", or "bicubic" in 2-d. Beyond there are "zeros", the "border", or its "reflection".
    Raises ValueError for other modes, RuntimeError for shapes that don't fit.
    """
    _check(input, grid, mode, padding_mode)
    aligned = _aligned(align_corners)
    sizes = input._spec.shape[2:]
    dims = len(sizes)
    points = [_unnormalised(grid[..., dims - 1 - d], n, aligned) for d, n in enumerate(sizes)]
    batch = np.arange(input._spec.shape[0]).reshape(-1, *[1] * dims)
    total: Any = None
    for corner in itertools.product(*_neighbours(mode, points, sizes, padding_mode, aligned)):
        part = _values(input, batch, [place for place, _ in corner])
        for _, weight in corner:
            part = part if weight is None else part * weight.unsqueeze(-1)
        total = part if total is None else total + part
    return total.movedim(-1, 1).contiguous()


@public(module="nn.functional", method=False)
def affine_grid(theta: Any, size: Any, align_corners: bool | None = None) -> Any:
    """The points of an output of ``size`` (N, C, H, W) by ``theta`` (N, 2, 3): (N, H, W, 2).

    In 3-d ``theta`` is (N, 3, 4). For `grid_sample`, with the same ``align_corners``. Raises
    ValueError for shapes that don't fit, NotImplementedError for other dimensions.
    """
    sizes = tuple([int(n) for n in size])
    aligned = _aligned(align_corners)
    if theta._spec.dtype.kind != "f":
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    dims = len(sizes) - 2
    if dims not in (2, 3):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, "
            f"respectively. Got size {size}."
        )
    if theta._spec.shape != (sizes[0], dims, dims + 1):
        raise ValueError(
            f"Expected a batch of {dims}D affine matrices of shape Nx{dims}x{dims + 1} for size "
            f"{size}. Got {theta.shape}."
        )
    if min(sizes) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {size}")
    axes = []
    for n in sizes[2:]:
        along = np.linspace(-1, 1, n) if n > 1 else np.zeros(1)
        axes.append(along if aligned else along * ((n - 1) / n))
    mesh = np.meshgrid(*axes, indexing="ij")
    base = np.stack([*reversed(mesh), np.ones(sizes[2:])], -1).astype(theta._spec.dtype)
    letters = "hwd"[:dims]
    points = constant(theta, base)
    return einsum(f"{letters}k,njk->n{letters}j", points, theta)

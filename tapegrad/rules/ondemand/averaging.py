"""Average pooling, adaptive pooling and power-average pooling.

An average over a box is one of averages along each axis (`tapegrad.rules.ondemand.resampling`).
The adaptive window of output i of m runs from ``floor(i n / m)`` to ``ceil((i + 1) n / m)``.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from tapegrad.declaration import public
from tapegrad.primitive import Primitive
from tapegrad.rules.activations import relu
from tapegrad.rules.arguments import refuse
from tapegrad.rules.gathering import constant
from tapegrad.rules.ondemand.pooling import (
    MAX_POOL,
    max_index,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    pool_geometry,
)
from tapegrad.rules.ondemand.resampling import ALL, AxisMap, resample_, resampling
from tapegrad.rules.ondemand.windows import Sizes, per_dim, positions, symmetric
from tapegrad.rules.reductions import mean

NN = "nn.functional"

AVG_POOL = {
    1: resampling("avg_pool", "SqueezeBackward1"),
    2: resampling("avg_pool", "AvgPool2DBackward0"),
    3: resampling("avg_pool", "AvgPool3DBackward0"),
}
ADAPTIVE_AVG_POOL = {
    1: resampling("adaptive_avg_pool", "SqueezeBackward1"),
    2: resampling("adaptive_avg_pool", "AdaptiveAvgPool2DBackward0"),
    3: resampling("adaptive_avg_pool", "AdaptiveAvgPool3DBackward0"),
}


# -- averages --------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def window_average(
    n: int, count: int, kernel: int, stride: int, pad: int, padding_counts: bool, divide: bool
) -> AxisMap:
    """The averages over windows of an axis, or (without ``divide``) their sums."""
    starts = np.arange(count) * stride - pad
    ends = np.minimum(starts + kernel, n + pad)
    if not padding_counts:
        starts, ends = np.maximum(starts, 0), np.minimum(ends, n)
    taps: list[Any] = []
    parts = positions((n,), (count,), (kernel,), (stride,), ((pad, pad),), (1,))
    for _, source, goal in parts:
        weight = 1.0 / (ends - starts)[goal[1]] if divide else None
        whole = goal[1] == slice(0, count)
        taps.append((ALL if whole else goal[1], source[1], weight))
    weights = 1.0 / (ends - starts) if divide else np.ones(count)
    return AxisMap(n, count, taps, (np.maximum(starts, 0), np.minimum(ends, n), weights))


def _check_floating(name: str, input: Any) -> None:
    refuse(
        input,
        "biu",
        f"\"{name}\" not implemented for '{{dtype}}': make it a floating-point Tensor first",
        NotImplementedError,
    )


def _avg_pool(
    dims: int, input: Any, kernel: Any, stride: Any, padding: Any, ceil: bool,
    padding_counts: bool, divisor: Any,
) -> Any:  # fmt: skip
    counts, kernel, stride, pads, _ = pool_geometry(dims, input, kernel, stride, padding, 1, ceil)
    _check_floating(f"avg_pool{dims}d", input)
    if divisor == 0:
        raise RuntimeError("divisor must be not zero")
    lead = input.ndim - dims
    maps = []
    for d in range(dims):
        n = input._spec.shape[lead + d]
        axis_map = window_average(
            n, counts[d], kernel[d], stride[d], pads[d], bool(padding_counts), divisor is None
        )
        maps.append((lead + d, axis_map))
    out = Primitive.apply(AVG_POOL[dims], (input,), (tuple(maps),))
    return out if divisor is None else out / divisor


@public(module=("", NN), method=False)
def avg_pool1d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:  # fmt: skip
    """The average over windows of ``input`` (N, C, L) or (C, L).

    Padding is of zeros, which count unless ``count_include_pad`` is False. Raises RuntimeError for
    sizes that don't fit.
    """
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


@public(module=NN, method=False)
def avg_pool2d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Any:  # fmt: skip
    """As `avg_pool1d` in two dimensions; ``divisor_override`` is what sums are divided by."""
    return _avg_pool(
        2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


@public(module=NN, method=False)
def avg_pool3d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Any:  # fmt: skip
    """As `avg_pool2d` in three dimensions."""
    return _avg_pool(
        3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


# -- windows of adapted sizes ----------------------------------------------------------------------


def adaptive_bounds(n: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each of ``count`` windows over ``n`` elements begins and ends."""
    i = np.arange(count)
    return i * n // count, -((i + 1) * -n // count)


@lru_cache(maxsize=256)
def adaptive_average(n: int, count: int) -> AxisMap:
    """The averages over windows of adapted sizes."""
    if count and n % count == 0:
        return window_average(n, count, n // count, n // count, 0, True, True)
    starts, ends = adaptive_bounds(n, count)
    taps: list[Any] = []
    for t in range(int((ends - starts).max(initial=0))):
        goal = np.flatnonzero(starts + t < ends)
        taps.append((goal, starts[goal] + t, 1.0 / (ends - starts)[goal]))
    return AxisMap(n, count, taps, (starts, ends, 1.0 / (ends - starts)))


@lru_cache(maxsize=256)
def adaptive_windows(n: int, count: int) -> tuple[AxisMap, int]:
    """The elements of each window side by side, short ones with their last again; their size."""
    starts, ends = adaptive_bounds(n, count)
    longest = int((ends - starts).max())
    source = np.minimum(starts[:, None] + np.arange(longest), ends[:, None] - 1).ravel()
    return AxisMap(n, source.size, [(ALL, source, None)]), longest


def _adapted(dims: int, input: Any, size: Any, name: str) -> Sizes:
    """The output's sizes; None stands for the input's."""
    shape = input._spec.shape
    if len(shape) not in (dims + 1, dims + 2):
        if dims > 1 and len(shape) <= dims:
            raise ValueError(
                f"Input dimension should be at least {dims + 1}, but got {len(shape)} dimensions"
            )
        raise RuntimeError(
            f"{name}(): Expected {dims + 1}D or {dims + 2}D tensor, but got {list(shape)}"
        )
    last = shape[len(shape) - dims :]
    if isinstance(size, int):
        sizes = (size,) * dims
    elif len(size) != dims:
        raise RuntimeError(
            f"{name}(): 'output_size' should contain one int"
            if dims == 1
            else f"{name}(): output_size must be {dims}"
        )
    else:
        sizes = tuple([n if m is None else int(m) for n, m in zip(last, size, strict=True)])
    if min(sizes) < 0:
        raise RuntimeError(
            f"{name}(): elements of output_size must be greater than or equal to 0, but received "
            f"{list(sizes)}"
        )
    if not all(shape[1:] if len(shape) == dims + 2 else shape):
        raise RuntimeError(
            f"{name}(): Expected input to have non-zero size for non-batch dimensions, but input "
            f"has sizes {list(shape)}"
        )
    return sizes


def _adaptive_avg_pool(dims: int, input: Any, size: Any) -> Any:
    sizes = _adapted(dims, input, size, f"adaptive_avg_pool{dims}d")
    _check_floating(f"adaptive_avg_pool{dims}d", input)
    lead = input.ndim - dims
    if dims == 2 and sizes == (1, 1):
        return mean(input, (-1, -2), True)
    maps = [
        (lead + d, adaptive_average(input._spec.shape[lead + d], sizes[d])) for d in range(dims)
    ]
    return Primitive.apply(ADAPTIVE_AVG_POOL[dims], (input,), (tuple(maps),))


def _adaptive_max_pool(dims: int, input: Any, size: Any, indices: bool) -> Any:
    try:
        sizes = _adapted(dims, input, size, f"adaptive_max_pool{dims}d")
    except RuntimeError as error:
        if "greater than or equal" in str(error):
            raise RuntimeError(
                f"Trying to create tensor with negative dimension in output_size {size}"
            ) from None
        raise
    lead = input.ndim - dims
    shape = input._spec.shape[lead:]
    if not all(sizes):
        out = input[(..., *[slice(n) for n in sizes])]
        empty = np.zeros(out._spec.shape, np.int64)
        return (out, constant(input, empty)) if indices else out
    spread = [adaptive_windows(n, m) for n, m in zip(shape, sizes, strict=True)]
    even = all(n % m == 0 for n, m in zip(shape, sizes, strict=True))
    maps = tuple([(lead + d, axis_map) for d, (axis_map, _) in enumerate(spread)])
    windows = input if even else Primitive.apply(resample_, (input,), (maps,))
    kernel = tuple([longest for _, longest in spread])
    params = (sizes, kernel, kernel, symmetric((0,) * dims), (1,) * dims)
    out = Primitive.apply(MAX_POOL[dims], (windows,), params)
    if not indices:
        return out
    index = Primitive.apply(max_index, (windows, out), params)
    if even:
        return out, index
    flat = np.arange(math.prod(shape)).reshape(shape)
    for d, (axis_map, _) in enumerate(spread):
        flat = flat.take(axis_map.taps[0][1], d)
    return out, constant(input, flat.reshape(-1)[index._array])


@public(module=("", NN), method=False)
def adaptive_avg_pool1d(input: Any, output_size: Any) -> Any:
    """Averages over ``output_size`` windows that cover ``input`` (N, C, L) or (C, L).

    Raises RuntimeError for negative sizes.
    """
    return _adaptive_avg_pool(1, input, output_size)


@public(module=NN, method=False)
def adaptive_avg_pool2d(input: Any, output_size: Any) -> Any:
    """As `adaptive_avg_pool1d` in two dimensions; a size None is the input's."""
    return _adaptive_avg_pool(2, input, output_size)


@public(module=NN, method=False)
def adaptive_avg_pool3d(input: Any, output_size: Any) -> Any:
    """As `adaptive_avg_pool1d` in three dimensions; a size None is the input's."""
    return _adaptive_avg_pool(3, input, output_size)


@public(module=NN, method=False)
def adaptive_max_pool1d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima over ``output_size`` windows that cover ``input`` (N, C, L) or (C, L).

    With ``return_indices`` their places too, int64. Raises RuntimeError for negative sizes.
    """
    return _adaptive_max_pool(1, input, output_size, return_indices)


@public(module=NN, method=False)
def adaptive_max_pool2d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """As `adaptive_max_pool1d` in two dimensions; a size None is the input's."""
    return _adaptive_max_pool(2, input, output_size, return_indices)


@public(module=NN, method=False)
def adaptive_max_pool3d(input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """As `adaptive_max_pool1d` in three dimensions; a size None is the input's."""
    return _adaptive_max_pool(3, input, output_size, return_indices)


# -- powers ----------------------------------------------------------------------------------------


def _lp_pool(
    average: Any, largest: Any, input: Any, p: float, kernel: Any, stride: Any, ceil: bool,
    volume: int,
) -> Any:  # fmt: skip
    if math.isinf(p):
        sign = 1 if p > 0 else -1
        return sign * largest(sign * input.abs(), kernel, stride, 0, 1, ceil)
    out = average(input.pow(p), kernel, stride, 0, ceil)
    return (out.sign() * relu(out.abs()) * volume).pow(1.0 / p)


@public(module=NN, method=False)
def lp_pool1d(
    input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Any:
    """``sum(input**p)**(1 / p)`` over windows of (N, C, L) or (C, L); ``p`` is ``norm_type``."""
    volume = math.prod(per_dim(kernel_size, 1, "kernel_size"))
    return _lp_pool(
        avg_pool1d, max_pool1d, input, norm_type, kernel_size, stride, ceil_mode, volume
    )


@public(module=NN, method=False)
def lp_pool2d(
    input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Any:
    """As `lp_pool1d` in two dimensions."""
    volume = math.prod(per_dim(kernel_size, 2, "kernel_size"))
    return _lp_pool(
        avg_pool2d, max_pool2d, input, norm_type, kernel_size, stride, ceil_mode, volume
    )


@public(module=NN, method=False)
def lp_pool3d(
    input: Any, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Any:
    """As `lp_pool1d` in three dimensions."""
    volume = math.prod(per_dim(kernel_size, 3, "kernel_size"))
    return _lp_pool(
        avg_pool3d, max_pool3d, input, norm_type, kernel_size, stride, ceil_mode, volume
    )
